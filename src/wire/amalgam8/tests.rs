//! What registrations are read as, and which rule refuses the others.

use super::*;

fn read(body: &str) -> Result<Registration, String> {
    let body = RegistrationBody::from_json(body.as_bytes()).map_err(|e| e.to_string())?;
    Registration::try_from(body).map_err(|e| e.to_string())
}

/// A registration of `s` at `http` `h:1` with more members.
fn with(members: &str) -> Result<Registration, String> {
    read(&format!(r#"{{"service_name":"s","endpoint":{{"type":"http","value":"h:1"}}{members}}}"#))
}

fn check_refused(body: &str, want: &str) {
    match read(body) {
        Err(got) => assert!(got.contains(want), "{body}: got {got:?}, wanted {want:?}"),
        Ok(got) => panic!("{body}: read as {got:?}"),
    }
}

#[test]
fn a_whole_registration() {
    let got = with(r#","ttl":60,"status":"starting","tags":["a","","a"],"metadata":{ "k" : 1.50 }"#).unwrap();
    assert_eq!(got.service.as_str(), "s");
    assert_eq!((got.endpoint.kind(), got.endpoint.value()), (EndpointType::Http, "h:1"));
    assert_eq!(got.ttl, Some(Duration::from_secs(60)));
    assert_eq!(got.status, Status::Starting);
    assert_eq!(got.tags.iter().map(|t| &**t).collect::<Vec<_>>(), ["a", "", "a"]);
    assert_eq!(got.metadata.unwrap().as_json(), r#"{"k":1.50}"#);
}

#[test]
fn absent_and_null_are_the_same_but_for_metadata() {
    let absent = with("").unwrap();
    assert_eq!(with(r#","ttl":null,"status":null,"tags":null"#).unwrap(), absent);
    assert_eq!(absent.metadata, None);
    assert_eq!(with(r#","metadata":null"#).unwrap().metadata.unwrap().as_json(), "null");
}

#[test]
fn keys_in_any_letter_case_unknown_keys_and_doubled_keys() {
    let got = read(
        r#"{"SERVICE_NAME":"one","id":"mine","Service_Name":"two","links":{"self":[1,{"a":[]}]},
            "Endpoint":{"TYPE":"tcp","Value":"x","extra":1},"TTL":1,"ttl":2,"\u0074ags":["\u0061"]}"#,
    )
    .unwrap();
    assert_eq!(got.service.as_str(), "two");
    assert_eq!(got.endpoint.value(), "x");
    assert_eq!(got.ttl, Some(Duration::from_secs(2)));
    assert_eq!(&*got.tags[0], "a");
}

#[test]
fn what_is_no_registration() {
    for (body, want) in [
        ("", "EOF"),
        (" \n", "EOF"),
        ("{\"service_name\":", "EOF"),
        ("{\"service_name\":\"s\",}", "trailing comma"),
        ("{'service_name':'s'}", "key must be a string"),
        ("{} {}", "trailing characters"),
        ("{} tail", "trailing characters"),
        ("[]", "body is a list, wanted an object"),
        ("\"text\"", "body is the text \"text\", wanted an object"),
        ("0", "body is the number 0"),
        ("true", "body is true"),
        ("null", "service_name is missing"),
        ("{}", "service_name is missing"),
    ] {
        check_refused(body, want);
    }
    let got = RegistrationBody::from_json(b"{\"service_name\":\"\xff\"}");
    assert_eq!(got, Err(Unreadable::NotUtf8 { valid: 17 }));
}

#[test]
fn wrong_types_are_named_with_their_field() {
    for (member, want) in [
        (r#""service_name":5"#, "service_name is the number 5, wanted a text"),
        (r#""endpoint":"x""#, "endpoint is the text \"x\", wanted an object"),
        (r#""endpoint":[]"#, "endpoint is a list, wanted an object"),
        (r#""endpoint":{"type":5}"#, "endpoint.type is the number 5, wanted a text"),
        (r#""endpoint":{"value":[[]]}"#, "endpoint.value is a list, wanted a text"),
        (r#""ttl":"30""#, "ttl is the text \"30\", wanted a whole number from 0 to 4294967295"),
        (r#""ttl":-1"#, "ttl is the number -1,"),
        (r#""ttl":-0"#, "ttl is the number -0,"),
        (r#""ttl":1.5"#, "ttl is the number 1.5,"),
        (r#""ttl":40.0"#, "ttl is the number 40,"),
        (r#""ttl":-5e-324"#, "ttl is the number -5e-324,"),
        (r#""ttl":1e1"#, "ttl is the number 10,"),
        (r#""ttl":4294967296"#, "ttl is the number 4294967296,"),
        (r#""ttl":1e300"#, "ttl is the number 1e300,"),
        (r#""ttl":{}"#, "ttl is an object,"),
        (r#""status":["UP"]"#, "status is a list, wanted a text"),
        (r#""tags":"one""#, "tags is the text \"one\", wanted a list of texts"),
        (r#""tags":["a",true]"#, "tags is a list that holds true, wanted a list of texts"),
        (r#""tags":{"a":1}"#, "tags is an object"),
    ] {
        check_refused(&format!("{{{member}}}"), want);
        check_refused(&format!(r#"{{"service_name":"s",{member},"tail":[{{}}]}}"#), want);
    }
}

#[test]
fn rules_are_judged_in_the_order_of_the_original() {
    let name = "s".repeat(65);
    let value = "v".repeat(129);
    let metadata = "m".repeat(2000);
    for (body, want) in [
        (r#"{"endpoint":{"type":"x"},"status":"DOWN"}"#.to_owned(), "service_name is missing"),
        (format!(r#"{{"service_name":"{name}"}}"#), "endpoint is missing"),
        (r#"{"service_name":"s","endpoint":null,"status":"DOWN"}"#.into(), "endpoint is missing"),
        (r#"{"service_name":"s","endpoint":{"type":"bogus"}}"#.into(), "endpoint.value is missing"),
        (r#"{"service_name":"s","endpoint":{"type":"","value":"x"}}"#.into(), "endpoint.type is missing"),
        (
            format!(
                r#"{{"service_name":"{name}","endpoint":{{"type":"HTTP","value":"x"}},"status":"DOWN"}}"#
            ),
            "endpoint.type is \"HTTP\"",
        ),
        (
            format!(r#"{{"service_name":"{name}","endpoint":{{"type":"tcp","value":"x"}},"status":"up "}}"#),
            "status is \"up \"",
        ),
        (
            format!(r#"{{"service_name":"{name}","endpoint":{{"type":"tcp","value":"{value}"}}}}"#),
            "service_name has 65 bytes",
        ),
        (
            format!(
                r#"{{"service_name":"s","endpoint":{{"type":"tcp","value":"{value}"}},"metadata":"{metadata}"}}"#
            ),
            "endpoint.value has 129 bytes",
        ),
        (
            format!(
                r#"{{"service_name":"s","endpoint":{{"type":"tcp","value":"x"}},"metadata":"{metadata}"}}"#
            ),
            "metadata has 2002 bytes",
        ),
    ] {
        check_refused(&body, want);
    }
}

#[test]
fn depth_costs_no_stack() {
    let deep = "[".repeat(30_000) + &"]".repeat(30_000);
    assert!(with(&format!(r#","unknown":{deep}"#)).is_ok());
    assert!(with(&format!(r#","metadata":{deep}"#)).unwrap_err().contains("metadata has 60000 bytes"));
    assert!(with(&format!(r#","tags":{deep}"#)).unwrap_err().contains("tags is a list that holds a list"));
    assert!(with(&format!(r#","metadata":{}"#, "[".repeat(100_000))).is_err());
}

#[test]
fn errors_stay_short() {
    let long = "x".repeat(50_000);
    let error = with(&format!(r#","ttl":"{long}""#)).unwrap_err();
    assert!(error.len() < 200, "{error}");
}

#[test]
fn ids_to_renew_come_bare_or_as_a_member() {
    let ids = |body: &str| RenewalsBody::from_json(body.as_bytes()).map(|b| b.ids.join(","));
    assert_eq!(ids(r#"["a","b","a"]"#).as_deref(), Ok("a,b,a"));
    assert_eq!(ids(r#"{"ids":["a","b"]}"#).as_deref(), Ok("a,b"));
    assert_eq!(ids("[]").as_deref(), Ok(""));
    for (body, want) in [
        ("{}", "ids is nothing, wanted a list of texts"),
        ("null", "ids is nothing, wanted a list of texts"),
        ("5", "body is the number 5, wanted an object"),
        (r#"{"ids":"a"}"#, "ids is the text \"a\", wanted a list of texts"),
        ("[1]", "ids is a list that holds the number 1, wanted a list of texts"),
    ] {
        assert_eq!(ids(body).unwrap_err().to_string(), want);
    }
}

#[test]
fn a_status_is_read_but_not_judged() {
    let status = |body: &str| StatusBody::from_json(body.as_bytes()).map(|b| b.status.map(Cow::into_owned));
    assert_eq!(status(r#"{"status":"nonsense"}"#), Ok(Some("nonsense".into())));
    assert_eq!(status("{}"), Ok(None));
    assert!(status(r#"{"status":1}"#).is_err());
}
