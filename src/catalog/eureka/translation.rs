//! What an instance of a Eureka server becomes here (spec amalgam8 section 8).
//!
//! Never: decides what is shown; says only what it would be, or why it cannot be.

use crate::model::{CatalogName, Foreign, Instance, Status, Timestamp};
use crate::wire::eureka::registration::{Dialect, Refused, RegistrationBody};

/// Why an instance is left out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Untranslatable {
    /// It breaks a rule that every instance follows.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// Nobody could reach it.
    #[error("a port that is enabled is no number from 0 to 65535")]
    ImpossiblePort,
    /// It would cost too much.
    #[error("it has {got} bytes of texts, at most {max} are taken over")]
    TooLarge { got: usize, max: usize },
}

/// As much metadata as clients of ours may have by default.
const METADATA_MAX: usize = 16 * 1024;
/// All texts of an instance together.
const TEXTS_MAX: usize = 32 * 1024;

/// The instance, as it would be had it been registered here, but with the times of its server.
pub(super) fn translated(body: RegistrationBody, now: Timestamp) -> Result<Instance, Untranslatable> {
    if body.has_impossible_port() {
        return Err(Untranslatable::ImpossiblePort);
    }
    let times = body.times();
    let application = body.application().unwrap_or_default().to_owned();
    let registration = body.into_registration(&application, Dialect::Amalgam8, METADATA_MAX)?;
    let claim = registration.eureka.as_ref();
    let overridden = claim.and_then(|claim| claim.overridden);
    let texts = claim.map_or(0, |claim| claim.document.weight());
    let metadata = registration.metadata.as_ref().map_or(0, |metadata| metadata.as_json().len());
    if TEXTS_MAX < texts + metadata {
        return Err(Untranslatable::TooLarge { got: texts + metadata, max: TEXTS_MAX });
    }
    // Netflix' servers put it ahead by the length of the lease (spec eureka section 2.7).
    let renewed = times.renewed.map(|renewed| renewed.min(now));
    let registered = times.registered.unwrap_or(now).min(now);
    let foreign = Foreign { catalog: CatalogName::Eureka, renewed };
    let found = registration.found(None, foreign, registered);
    let up_since = match found.status {
        Status::Up => times.up_since.or(found.up_since),
        Status::Starting | Status::OutOfService | Status::Down | Status::Unknown => times.up_since,
    };
    Ok(Instance { overridden, up_since, updated_at: times.updated.unwrap_or(registered).min(now), ..found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::eureka::listed::read_list;

    fn now() -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }

    fn of(instance: &str) -> Result<Instance, String> {
        let list = format!(r#"{{"applications":{{"application":{{"name":"A","instance":{instance}}}}}}}"#);
        let mut found = Err("nothing was handed over".to_owned());
        let read = read_list(list.as_bytes(), |listed| {
            let listed = listed.map_err(|error| error.to_string());
            found = listed.and_then(|it| translated(it.body, now()).map_err(|error| error.to_string()));
        });
        read.map_err(|error| error.to_string()).and(found)
    }

    #[test]
    fn instances_are_as_if_registered_here_with_the_times_of_their_server() {
        let found =
            of(r#"{"instanceId":"h:a:80","hostName":"h","app":"A","ipAddr":"10.0.0.1","vipAddress":"a",
            "status":"OUT_OF_SERVICE","overriddenStatus":"OUT_OF_SERVICE","port":{"$":80,"@enabled":"true"},
            "dataCenterInfo":{"@class":"x","name":"MyOwn"},"metadata":{"amalgam8.tags":"v1;far","n":1},
            "leaseInfo":{"durationInSecs":45,"registrationTimestamp":1700000000000,
                "lastRenewalTimestamp":1900000000000},
            "lastUpdatedTimestamp":"1700000000005","lastDirtyTimestamp":"1700000000003"}"#)
            .expect("an instance");
        assert_eq!((found.id.as_str(), found.service.as_str()), ("A:h:a:80", "A"));
        assert_eq!((found.endpoint.value(), found.status), ("h:80", Status::OutOfService));
        assert_eq!(found.overridden, Some(Status::OutOfService));
        assert_eq!((found.ttl.as_secs(), found.up_since), (45, None));
        assert_eq!(found.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["v1", "far"]);
        let times = [found.registered_at, found.updated_at, found.dirty_at].map(Timestamp::as_millis);
        assert_eq!(times, [1_700_000_000_000, 1_700_000_000_005, 1_700_000_000_003]);
        assert_eq!(found.foreign, Some(Foreign { catalog: CatalogName::Eureka, renewed: Some(now()) }));
    }

    #[test]
    fn little_is_needed() {
        let found = of(r#"{"hostName":"h","ipAddr":"10.0.0.1"}"#).expect("an instance");
        assert_eq!((found.id.as_str(), found.endpoint.value()), ("A:h", "h"));
        assert_eq!((found.status, found.metadata, found.registered_at), (Status::Up, None, now()));
    }

    #[test]
    fn what_cannot_be_translated_says_why() {
        let long = "x".repeat(20_000);
        for (more, why) in [
            (r#""ipAddr":"""#.to_owned(), "Missing required field"),
            (r#""ipAddr":"i","dataCenterInfo":{"name":"Moon"}"#.to_owned(), "Unknown dataCenterInfo"),
            (r#""ipAddr":"i","port":{"$":70000,"@enabled":"true"}"#.to_owned(), "no number from 0 to 65535"),
            (
                r#""ipAddr":"i","securePort":{"$":"x","@enabled":true}"#.to_owned(),
                "no number from 0 to 65535",
            ),
            (r#""ipAddr":"i","port":80"#.to_owned(), "wanted an object"),
            (format!(r#""ipAddr":"i","app":"{}""#, &long[..65]), "65 bytes"),
            (format!(r#""ipAddr":"i","metadata":{{"a":"{long}"}}"#), "metadata has"),
            (format!(r#""ipAddr":"{long}","homePageUrl":"{long}""#), "bytes of texts"),
        ] {
            let refused = of(&format!(r#"{{"hostName":"h",{more}}}"#)).expect_err("it cannot be shown");
            assert!(refused.contains(why), "{refused}");
        }
        // A port that does not serve may be anything.
        assert!(of(r#"{"hostName":"h","ipAddr":"i","port":{"$":"x","@enabled":"false"}}"#).is_ok());
    }
}
