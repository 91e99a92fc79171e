//! A list of applications as another server sends it (spec eureka sections 2.4 and 2.9).
//!
//! Never: merges a list with what is known already.

use super::lists::OneOrMany;
use super::registration::{Dialect, InstanceMembers, Listed, RegistrationBody, scalar_text};
use crate::wire::lenient::{self, Given, Object, Unreadable, members};

/// All instances of another server, or what changed there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationsBody {
    /// `versions__delta`
    pub version: Option<String>,
    /// `apps__hashcode`; empty when it is missing.
    pub hash: String,
    /// In the order of the document.
    pub instances: Vec<ListedInstance>,
}

/// One instance of a list. Its application is [`RegistrationBody::application`]; when it names none, it has
/// that of the application that it stood in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedInstance {
    /// The instance.
    pub body: RegistrationBody,
    /// `actionType`
    pub action: Option<Listed>,
}

#[derive(Default)]
struct Root<'a> {
    applications: Object<'a, ListMembers<'a>>,
}

#[derive(Default)]
struct ListMembers<'a> {
    version: Given<'a>,
    hash: Given<'a>,
    applications: OneOrMany<'a, ApplicationMembers<'a>>,
}

#[derive(Default)]
struct ApplicationMembers<'a> {
    name: Given<'a>,
    instances: OneOrMany<'a, InstanceMembers<'a>>,
}

// === impl ApplicationsBody ===

impl ApplicationsBody {
    /// Reads `{"applications":{...}}`; lists of one element may be the element itself.
    ///
    /// # Errors
    /// When it is not JSON, or a value has a type that cannot be read.
    pub fn from_json(body: &[u8]) -> Result<Self, Unreadable> {
        let root: Object<'_, Root<'_>> = lenient::read(body)?;
        let list = root.members("body")?.unwrap_or_default().applications;
        let list = list.into_members().map_err(|given| given.wrong("applications", "an object"))?;
        let ListMembers { version, hash, applications } = list;
        let mut instances = Vec::new();
        for application in applications.judge("application")?.unwrap_or_default() {
            let ApplicationMembers { name, instances: members } = application;
            let name = scalar_text(name, "name", Dialect::Netflix)?.unwrap_or_default();
            for members in members.judge("instance")?.unwrap_or_default() {
                let mut body = members.judge(Dialect::Netflix)?;
                body.default_application(&name);
                instances.push(ListedInstance { action: body.action(), body });
            }
        }
        let version = scalar_text(version, "versions__delta", Dialect::Netflix)?.map(String::from);
        let hash = scalar_text(hash, "apps__hashcode", Dialect::Netflix)?.map(String::from);
        Ok(Self { version, hash: hash.unwrap_or_default(), instances })
    }
}

members!(Root {
    "applications" => applications,
});

members!(ListMembers {
    "versions__delta" => version,
    "apps__hashcode" => hash,
    "application" => applications,
});

members!(ApplicationMembers {
    "name" => name,
    "instance" => instances,
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Action;

    fn read(json: &str) -> ApplicationsBody {
        ApplicationsBody::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn lists_may_be_their_only_element() {
        let instance = r#"{"hostName":"h","actionType":"MODIFIED"}"#;
        let want = read(&format!(
            r#"{{"applications":{{"versions__delta":"7","apps__hashcode":"UP_1_","application":[{{"name":"A","instance":[{instance}]}}]}}}}"#
        ));
        let single = read(&format!(
            r#"{{"applications":{{"versions__delta":7,"apps__hashcode":"UP_1_","application":{{"name":"A","instance":{instance}}},"other":[1]}}}}"#
        ));
        assert_eq!(single, want);
        assert_eq!((want.version.as_deref(), &*want.hash), (Some("7"), "UP_1_"));
        let [ListedInstance { body, action }] = &*want.instances else { panic!("{want:?}") };
        assert_eq!(body.application(), Some("A"));
        assert_eq!(*action, Some(Listed::Present(Action::Modified)));
    }

    #[test]
    fn empty_lists_and_missing_ones_are_empty() {
        for json in [
            r#"{"applications":{}}"#,
            r#"{"applications":{"versions__delta":null,"apps__hashcode":"","application":[]}}"#,
            r#"{"applications":{"application":null}}"#,
            r#"{"applications":{"application":[{"name":"A"},{"name":"B","instance":[]}]}}"#,
        ] {
            let want = ApplicationsBody { version: None, hash: String::new(), instances: Vec::new() };
            assert_eq!(read(json), want, "{json}");
        }
    }

    #[test]
    fn actions_are_words_in_capitals() {
        for (word, want) in [
            (r#""ADDED""#, Some(Listed::Present(Action::Added))),
            (r#""DELETED""#, Some(Listed::Deleted)),
            (r#""GONE""#, None),
            ("null", None),
            ("5", None),
        ] {
            let body = read(&format!(
                r#"{{"applications":{{"application":{{"name":"A","instance":{{"app":"B","actionType":{word}}}}}}}}}"#
            ));
            let [ListedInstance { body, action }] = &*body.instances else { panic!("{word}") };
            assert_eq!((*action, body.application()), (want, Some("B")), "{word}");
        }
    }

    #[test]
    fn other_documents_are_refused() {
        for json in [
            "",
            "[]",
            "{}",
            r#"{"applications":[]}"#,
            r#"{"applications":{"application":5}}"#,
            r#"{"applications":{"application":[{"instance":[null]}]}}"#,
        ] {
            assert!(ApplicationsBody::from_json(json.as_bytes()).is_err(), "{json}");
        }
    }
}
