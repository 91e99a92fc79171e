//! What an instance of a Consul service becomes here.
//!
//! Never: decides what is shown; says only what it would be, or why it cannot be.

use std::net::Ipv6Addr;

use crate::model::{
    CatalogName, Endpoint, EndpointType, Foreign, Instance, InstanceId, Invalid, Metadata, Registration,
    Status, Timestamp,
};
use crate::wire::consul::{Check, Entry};

/// Why an instance is left out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Untranslatable {
    /// It breaks a rule that every instance follows.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Nobody could reach it.
    #[error("its port {0} is no number from 0 to 65535")]
    ImpossiblePort(i64),
    /// It would cost too much.
    #[error("its {what} has {got} bytes, at most {max} are taken over")]
    TooLong { what: &'static str, got: usize, max: usize },
}

/// Consul's own bound on the metadata of a service is 64 pairs of 128 and 512 bytes.
const METADATA_MAX: usize = 64 * 1024;
/// Names of a node and of an instance together.
const ID_MAX: usize = 512;
/// All tags together.
const TAGS_MAX: usize = 16 * 1024;

/// The instance; none for proxies and gateways of Consul's mesh, which are not services themselves.
pub(super) fn translated(entry: &Entry<'_>, now: Timestamp) -> Result<Option<Instance>, Untranslatable> {
    let Entry { node, service, checks } = entry;
    if !service.kind.is_empty() {
        return Ok(None);
    }
    let id = format!("{}:{}", node.node, service.id);
    let tags = service.tags.as_deref().unwrap_or_default();
    bounded("id", id.len(), ID_MAX)?;
    bounded("tags", tags.iter().map(|tag| tag.len() + size_of::<Box<str>>()).sum(), TAGS_MAX)?;
    let metadata = match service.meta.map(|meta| meta.get()) {
        None | Some("null" | "{}") => None,
        Some(meta) => Some(Metadata::from_json(meta, METADATA_MAX)?),
    };
    let host = if service.address.is_empty() { &node.address } else { &service.address };
    let registration = Registration {
        service: service.service.parse()?,
        endpoint: endpoint(host, service.port, |word| tags.iter().any(|tag| tag == word))?,
        status: status(checks.as_deref().unwrap_or_default()),
        tags: tags.iter().map(|tag| tag.as_ref().into()).collect(),
        metadata,
        ttl: None,
        eureka: None,
    };
    let foreign = Foreign { catalog: CatalogName::Consul, renewed: None };
    Ok(Some(registration.found(Some(InstanceId::from_text(&id)), foreign, now)))
}

fn bounded(what: &'static str, got: usize, max: usize) -> Result<(), Untranslatable> {
    if max < got { Err(Untranslatable::TooLong { what, got, max }) } else { Ok(()) }
}

/// Consul does not say how a service is spoken to; tags often do.
fn endpoint(host: &str, port: i64, has_tag: impl Fn(&str) -> bool) -> Result<Endpoint, Untranslatable> {
    let spoken = [("https", EndpointType::Https), ("http", EndpointType::Http), ("udp", EndpointType::Udp)];
    let kind = spoken.into_iter().find(|(word, _)| has_tag(word)).map_or(EndpointType::Tcp, |(_, kind)| kind);
    let port = u16::try_from(port).map_err(|_| Untranslatable::ImpossiblePort(port))?;
    let value = match (port, host.parse::<Ipv6Addr>()) {
        (0, _) => host.to_owned(),
        (port, Ok(_)) => format!("[{host}]:{port}"),
        (port, Err(_)) => format!("{host}:{port}"),
    };
    Ok(Endpoint::new(kind, &value)?)
}

/// Maintenance is told by checks with reserved names, which are critical; then the worst check decides.
fn status(checks: &[Check<'_>]) -> Status {
    let is_maintenance =
        |check: &Check<'_>| check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance:");
    match checks {
        checks if checks.iter().any(is_maintenance) => Status::OutOfService,
        checks if checks.iter().all(|check| matches!(&*check.status, "passing" | "warning")) => Status::Up,
        _ => Status::Down,
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::wire::consul::read_entries;

    fn of(service: &str, checks: &str) -> Result<Option<Instance>, String> {
        let body = format!(
            r#"[{{"Node":{{"ID":"x","Node":"n1","Address":"10.0.0.9","Meta":{{}}}},"Service":{service},"Checks":{checks}}}]"#
        );
        let mut found = Err("nothing was handed over".to_owned());
        let read = read_entries(body.as_bytes(), |entry| {
            let now = Timestamp::from_millis(7);
            found = entry
                .map_err(|error| error.to_string())
                .and_then(|entry| translated(&entry, now).map_err(|error| error.to_string()));
            ControlFlow::Continue(())
        });
        read.map_err(|error| error.to_string()).and(found)
    }

    #[test]
    fn instances_have_what_consul_says() {
        let found = of(
            r#"{"ID":"web-1","Service":"web","Tags":["v1","http"],"Address":"10.1.1.1","Port":8080,
                "Meta":{"zone":"blue", "a":"b"},"Weights":{"Passing":1},"Connect":{},"Kind":""}"#,
            r#"[{"CheckID":"serfHealth","Status":"passing"}]"#,
        )
        .expect("it can be translated")
        .expect("an instance");
        assert_eq!((found.id.as_str(), found.service.as_str()), ("n1:web-1", "web"));
        assert_eq!((found.endpoint.kind(), found.endpoint.value()), (EndpointType::Http, "10.1.1.1:8080"));
        assert_eq!(found.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["v1", "http"]);
        assert_eq!(found.metadata.as_ref().map(Metadata::as_json), Some(r#"{"zone":"blue","a":"b"}"#));
        assert_eq!((found.status, found.ttl.as_secs()), (Status::Up, 0));
        assert_eq!(found.foreign, Some(Foreign { catalog: CatalogName::Consul, renewed: None }));
    }

    #[test]
    fn addresses_are_the_services_or_the_nodes() {
        for (service, want) in [
            (r#""Port":80"#, "10.0.0.9:80"),
            (r#""Port":0"#, "10.0.0.9"),
            (r#""Address":"db.example","Port":0"#, "db.example"),
            (r#""Address":"::1","Port":53"#, "[::1]:53"),
            (r#""Address":"::1""#, "::1"),
        ] {
            let found = of(&format!(r#"{{"ID":"i","Service":"s",{service}}}"#), "null");
            let found = found.expect("it can be translated").expect("an instance");
            assert_eq!((found.endpoint.value(), found.metadata), (want, None));
        }
    }

    #[test]
    fn the_worst_check_decides_and_maintenance_before_all() {
        for (checks, want) in [
            ("null", Status::Up),
            ("[]", Status::Up),
            (r#"[{"CheckID":"a","Status":"passing"},{"CheckID":"b","Status":"warning"}]"#, Status::Up),
            (r#"[{"CheckID":"a","Status":"passing"},{"CheckID":"b","Status":"critical"}]"#, Status::Down),
            (r#"[{"CheckID":"a","Status":"melted"}]"#, Status::Down),
            (r#"[{"CheckID":"_node_maintenance","Status":"critical"}]"#, Status::OutOfService),
            (
                r#"[{"CheckID":"a","Status":"critical"},{"CheckID":"_service_maintenance:i","Status":"critical"}]"#,
                Status::OutOfService,
            ),
        ] {
            let found = of(r#"{"ID":"i","Service":"s"}"#, checks).expect("it can be translated");
            assert_eq!(found.expect("an instance").status, want, "{checks}");
        }
    }

    #[test]
    fn proxies_are_no_instances_and_what_breaks_a_rule_says_which() {
        let proxy = of(r#"{"ID":"i","Service":"s-sidecar-proxy","Kind":"connect-proxy"}"#, "[]");
        assert!(matches!(proxy, Ok(None)), "{proxy:?}");
        let long = "x".repeat(70_000);
        for (service, why) in [
            (r#""Port":70000"#.to_owned(), "no number from 0 to 65535"),
            (r#""Port":-1"#.to_owned(), "no number from 0 to 65535"),
            (format!(r#""Address":"{}""#, &long[..129]), "endpoint.value"),
            (format!(r#""Tags":["{long}"]"#), "tags"),
            (format!(r#""Meta":{{"a":"{long}"}}"#), "metadata"),
        ] {
            let refused = of(&format!(r#"{{"ID":"i","Service":"s",{service}}}"#), "[]");
            let refused = refused.expect_err("it cannot be shown");
            assert!(refused.contains(why), "{refused}");
        }
        let named = format!(r#"{{"ID":"i","Service":"{}"}}"#, &long[..65]);
        assert!(of(&named, "[]").is_err_and(|why| why.contains("service_name")));
        let named = format!(r#"{{"ID":"{}","Service":"s"}}"#, &long[..600]);
        assert!(of(&named, "[]").is_err_and(|why| why.contains("id")));
    }
}
