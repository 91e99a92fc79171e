//! The published description and the routes agree, in both directions.
//!
//! Never: judges the wording of the description.

use std::collections::{BTreeMap, BTreeSet};

use a8registry::api::Route;
use serde_json::Value;

fn description() -> Value {
    serde_json::from_str(include_str!("../../swagger/registry.json")).expect("the description is JSON")
}

/// Paths and their methods, in capitals.
fn described() -> BTreeMap<String, BTreeSet<String>> {
    const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
    let description = description();
    let paths = description["paths"].as_object().expect("paths");
    let methods = |item: &Value| {
        let members = item.as_object().expect("a path item").keys();
        members.filter(|key| METHODS.contains(&key.as_str())).map(|key| key.to_uppercase()).collect()
    };
    paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

#[test]
fn every_route_is_described_and_every_described_path_is_a_route() {
    let routed: BTreeMap<String, BTreeSet<String>> = Route::ALL
        .into_iter()
        .filter(|route| *route != Route::Nowhere)
        // OPTIONS is the same everywhere and told once, in the introduction.
        .map(|route| {
            let methods = route.allow().split(", ").filter(|method| *method != "OPTIONS").map(Into::into);
            (route.pattern().to_owned(), methods.collect::<BTreeSet<String>>())
        })
        // The Eureka API stands below another root too; other roots are told of in the introduction.
        .flat_map(|(path, methods)| {
            let twin =
                path.strip_prefix("/eureka/v2/").map(|rest| format!("/api/eureka/{{token}}/v2/{rest}"));
            twin.into_iter().chain([path]).map(move |path| (path, methods.clone()))
        })
        .collect();
    assert_eq!(described(), routed);
}

#[test]
fn every_operation_has_an_id_and_describes_its_answers() {
    let description = description();
    let mut ids = BTreeSet::new();
    for (path, methods) in described() {
        for method in methods {
            let operation = &description["paths"][&path][method.to_lowercase()];
            let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no id"));
            assert!(ids.insert(id.to_owned()), "the id {id} stands twice");
            let answers = operation["responses"].as_object().expect("answers");
            assert!(answers.keys().any(|status| status.starts_with('2')), "{method} {path} never succeeds");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn check(root: &Value, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(to)) = members.get("$ref") {
                    let pointer = to.strip_prefix('#').expect("references stay in the document");
                    assert!(root.pointer(pointer).is_some(), "{to} leads nowhere");
                }
                members.values().for_each(|member| check(root, member));
            }
            Value::Array(items) => items.iter().for_each(|item| check(root, item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let description = description();
    check(&description, &description);
}
