//! A list of another server, one instance after the other (spec eureka sections 2.4 and 2.9).
//!
//! Instances are judged by themselves, so that one that cannot be read does not take the others with it, and
//! handed over at once, so that a list costs what its reader keeps of it.
//! Never: keeps an instance, or says what becomes of it.

use std::fmt;
use std::io::Read;
use std::ops::ControlFlow;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::applications::ListedInstance;
use super::registration::{Dialect, InstanceMembers, scalar_text};
use crate::wire::lenient::{self, As, Gap, Given, Key, Object, Unreadable};

/// What a list says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListClaims {
    /// `versions__delta`
    pub version: Option<String>,
    /// `apps__hashcode`
    pub hash: Option<String>,
}

/// Reads `{"applications":{...}}` by the rules of the routes below `/api/eureka/`; lists of one element may be the
/// element itself. An instance that names no application has that of the application that it stands in,
/// where that has its name first.
///
/// # Errors
/// When it is not JSON, is no list of applications, has more than a mebibyte without an instance, cannot be read to its end,
/// or the taker breaks off; some instances may have been handed over by then.
pub fn read_list(
    body: impl Read,
    mut take: impl FnMut(Result<ListedInstance, Unreadable>) -> ControlFlow<()>,
) -> Result<ListClaims, Unreadable> {
    let gap = Gap::default();
    let mut take = |listed| {
        gap.close();
        take(listed)
    };
    let read = lenient::read_elements(body, &gap, Root { take: &mut take })?;
    let (version, hash) = read.ok_or_else(|| Given::Nothing.wrong("applications", "an object"))?;
    let text = |given, field| scalar_text(given, field, Dialect::Netflix).map(|text| text.map(String::from));
    Ok(ListClaims { version: text(version, "versions__delta")?, hash: text(hash, "apps__hashcode")? })
}

type Take<'t> = &'t mut dyn FnMut(Result<ListedInstance, Unreadable>) -> ControlFlow<()>;

/// `versions__delta` and `apps__hashcode`
type Claims<'de> = (Given<'de>, Given<'de>);

struct Root<'t> {
    take: Take<'t>,
}

struct List<'t> {
    take: Take<'t>,
}

struct Applications<'t> {
    take: Take<'t>,
}

struct Application<'t> {
    take: Take<'t>,
}

struct Instances<'t> {
    application: &'t str,
    take: Take<'t>,
}

macro_rules! reads_any {
    ($($reader:ident -> $value:ty),*) => {$(
        impl<'de> DeserializeSeed<'de> for $reader<'_> {
            type Value = $value;
            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
                from.deserialize_any(self)
            }
        }
    )*};
}
reads_any!(Root -> Option<Claims<'de>>, List -> Claims<'de>, Applications -> (), Application -> (), Instances -> ());

impl<'de> Visitor<'de> for Root<'_> {
    type Value = Option<Claims<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with applications")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut claims = None;
        while let Some(key) = object.next_key::<Key<'de>>()? {
            if key.is("applications") {
                claims = Some(object.next_value_seed(List { take: &mut *self.take })?);
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(claims)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = Claims<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("applications in an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut claims = Claims::default();
        while let Some(key) = object.next_key::<Key<'de>>()? {
            if key.is("versions__delta") {
                claims.0 = object.next_value::<As<_>>()?.0;
            } else if key.is("apps__hashcode") {
                claims.1 = object.next_value::<As<_>>()?.0;
            } else if key.is("application") {
                object.next_value_seed(Applications { take: &mut *self.take })?;
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(claims)
    }
}

impl<'de> Visitor<'de> for Applications<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of applications")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Application { take: &mut *self.take })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, only: A) -> Result<(), A::Error> {
        Application { take: self.take }.visit_map(only)
    }
}

impl<'de> Visitor<'de> for Application<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an application in an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut application = Box::default();
        while let Some(key) = object.next_key::<Key<'de>>()? {
            if key.is("name") {
                let name = object.next_value::<As<Given<'de>>>()?.0;
                // What has no name leaves its instances to name themselves.
                application = scalar_text(name, "name", Dialect::Netflix).ok().flatten().unwrap_or_default();
            } else if key.is("instance") {
                object.next_value_seed(Instances { application: &application, take: &mut *self.take })?;
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Instances<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of instances")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(instance) = list.next_element::<Box<RawValue>>()? {
            self.hand_over(instance.get()).map_err(A::Error::custom)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut only: A) -> Result<(), A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = only.next_entry::<String, Box<RawValue>>()? {
            let name = serde_json::to_string(&name).map_err(A::Error::custom)?;
            members.push(format!("{name}:{value}"));
        }
        self.hand_over(&format!("{{{}}}", members.join(","))).map_err(A::Error::custom)
    }
}

// === impl Instances ===

impl Instances<'_> {
    fn hand_over(&mut self, instance: &str) -> Result<(), &'static str> {
        let members = lenient::read::<Object<'_, InstanceMembers<'_>>>(instance.as_bytes())
            .and_then(|it| it.into_members().map_err(|given| given.wrong("instance", "an object")));
        let body = members.and_then(|members| members.judge(Dialect::Amalgam8));
        let taken = (self.take)(body.map(|mut body| {
            body.default_application(self.application);
            ListedInstance { action: body.action(), body }
        }));
        if taken.is_break() { Err("its instances were enough") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::model::{Action, Status, Timestamp};
    use crate::wire::eureka::registration::Listed;

    type Read = (ListClaims, Vec<Result<ListedInstance, Unreadable>>);

    fn read(json: &str) -> Result<Read, Unreadable> {
        let mut taken = Vec::new();
        let claims = read_list(json.as_bytes(), |instance| {
            taken.push(instance);
            ControlFlow::Continue(())
        })?;
        Ok((claims, taken))
    }

    #[test]
    fn lists_may_be_their_only_element_and_versions_numbers() {
        let instance = r#"{"hostName":"h","status":"DOWN","actionType":"MODIFIED"}"#;
        let want = read(&format!(
            r#"{{"applications":{{"versions__delta":"7","apps__hashcode":"DOWN_1_","application":[{{"name":"A","instance":[{instance}]}}]}}}}"#
        ));
        let single = read(&format!(
            r#"{{"applications":{{"application":{{"name":"A","instance":{instance}}},"versions__delta":7,"apps__hashcode":"DOWN_1_","x":[1]}}}}"#
        ));
        assert_eq!(single, want);
        let (claims, taken) = want.expect("a list");
        assert_eq!((claims.version.as_deref(), claims.hash.as_deref()), (Some("7"), Some("DOWN_1_")));
        let [Ok(ListedInstance { body, action })] = &*taken else { panic!("{taken:?}") };
        assert_eq!((body.application(), body.status_counted()), (Some("A"), Status::Down));
        assert_eq!(*action, Some(Listed::Present(Action::Modified)));
    }

    #[test]
    fn what_cannot_be_read_is_alone_in_that() {
        let (claims, taken) = read(
            r#"{"applications":{"application":[{"name":"A","instance":[
                5, {"instanceId":"a","port":7}, {"instanceId":"b"}, {"instanceId":{}}]}, {"name":"B"},
                {"instance":null}, {"name":[],"instance":{"app":"C","hostName":"c"}}]}}"#,
        )
        .expect("a list");
        assert_eq!(claims, ListClaims::default());
        let ids: Vec<_> = taken
            .iter()
            .map(|taken| taken.as_ref().map(|it| it.body.presumed_id().as_str().to_owned()).ok())
            .collect();
        assert_eq!(ids, [None, None, Some("A:b".to_owned()), None, Some("C:c".to_owned())]);
    }

    #[test]
    fn the_past_is_read_in_milliseconds_and_in_seconds() {
        let (_, taken) = read(
            r#"{"applications":{"application":{"name":"A","instance":{"leaseInfo":{
                "registrationTimestamp":1400000000000,"lastRenewalTimestamp":1400000001,
                "serviceUpTimestamp":0},"lastUpdatedTimestamp":"1400000000002"}}}}"#,
        )
        .expect("a list");
        let [Ok(listed)] = &*taken else { panic!("{taken:?}") };
        let times = listed.body.times();
        let at = |millis| Some(Timestamp::from_millis(millis));
        assert_eq!((times.registered, times.renewed), (at(1_400_000_000_000), at(1_400_000_001_000)));
        assert_eq!((times.up_since, times.updated), (None, at(1_400_000_000_002)));
    }

    #[test]
    fn a_body_that_goes_on_without_instances_is_given_up() {
        const MANY: usize = 1_000_000;
        let head: &[u8] = br#"{"applications":{"application":[{"instance":[{}"#;
        for filler in [b' ', b'"', b'['] {
            let endless = head.chain(&b","[..]).chain(std::io::repeat(filler));
            assert!(read_list(endless, |_| ControlFlow::Continue(())).is_err());
        }
        // Long lists are full of them.
        let mut count = 0;
        let long = head.chain(std::io::Cursor::new(",{}".repeat(MANY))).chain(&b"]}]}}"[..]);
        let read = read_list(long, |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        assert_eq!((read, count), (Ok(ListClaims::default()), MANY + 1));
    }

    #[test]
    fn whoever_has_enough_breaks_off() {
        let (list, mut count) = (r#"{"applications":{"application":{"instance":[{},{},{}]}}}"#, 0);
        let read = read_list(list.as_bytes(), |_| {
            count += 1;
            if count < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        assert!(matches!(read, Err(Unreadable::NotJson { why }) if why.contains("enough")));
        assert_eq!(count, 2);
    }

    #[test]
    fn other_documents_are_refused() {
        let deep = format!(r#"{{"applications":{{"application":[{{"instance":{}"#, "[".repeat(100_000));
        for json in [
            "",
            "<html></html>",
            "[]",
            "{}",
            r#"{"applications":null}"#,
            r#"{"applications":[]}"#,
            r#"{"applications":{"application":5}}"#,
            r#"{"applications":{"application":[5]}}"#,
            r#"{"applications":{"application":[{"instance":5}]}}"#,
            r#"{"applications":{}"#,
            r#"{"applications":{}}{}"#,
            &deep,
        ] {
            assert!(read(json).is_err(), "{json:.60}");
        }
    }
}
