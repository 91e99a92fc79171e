//! Bodies as clients send them, and what becomes of them.

use super::*;
use crate::model::{DataCenter, Document, Port, Registration, Status};
use Dialect::{Amalgam8, Netflix};

const MAX: usize = 1024;

/// An instance with these members besides the required ones; they come last, so that they count.
fn json(members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(
        r#"{{"instance":{{"hostName":"h","app":"T","ipAddr":"1.2.3.4","dataCenterInfo":{{"name":"MyOwn"}}{comma}{members}}}}}"#
    )
}

fn xml(elements: &str) -> String {
    format!(
        "<instance><hostName>h</hostName><app>T</app><ipAddr>1.2.3.4</ipAddr><dataCenterInfo><name>MyOwn</name></dataCenterInfo>{elements}</instance>"
    )
}

fn of_json(body: &str, dialect: Dialect) -> Result<Registration, String> {
    let body = RegistrationBody::from_json(body.as_bytes(), dialect).map_err(|e| e.to_string())?;
    body.into_registration("T", dialect, MAX).map_err(|e| e.to_string())
}

fn of_xml(body: &str) -> Result<Registration, String> {
    let body = RegistrationBody::from_xml(body.as_bytes()).map_err(|e| e.to_string())?;
    body.into_registration("T", Netflix, MAX).map_err(|e| e.to_string())
}

fn document(registration: Registration) -> Document {
    registration.eureka.expect("came by the Eureka API").document
}

/// What the notations have in common, told apart by what comes out.
fn check(members: &str, elements: &str, change: impl Fn(&mut Registration, &mut Document)) {
    let mut want = of_json(&json(""), Netflix).expect("is whole");
    let mut claim = want.eureka.take().expect("came by the Eureka API");
    change(&mut want, &mut claim.document);
    want.eureka = Some(claim);
    assert_eq!(of_json(&json(members), Netflix), Ok(want.clone()), "{members}");
    if !elements.is_empty() {
        assert_eq!(of_xml(&xml(elements)), Ok(want), "{elements}");
    }
}

#[test]
fn what_is_missing_has_a_default() {
    let registration = of_json(&json(""), Netflix).unwrap();
    assert_eq!(of_xml(&xml("")), Ok(registration.clone()));
    let Registration { service, endpoint, status, tags, metadata, ttl, eureka } = registration;
    assert_eq!((service.as_str(), endpoint.kind().as_str(), endpoint.value()), ("T", "tcp", "h:7001"));
    assert_eq!(
        (status, tags.len(), metadata, ttl),
        (Status::Up, 0, None, Some(std::time::Duration::from_secs(90)))
    );
    let eureka = eureka.unwrap();
    assert_eq!(eureka.document, Document::of_host("h", "1.2.3.4"));
    assert_eq!((eureka.dirty_at, eureka.overridden), (None, None));
}

#[test]
fn ports_come_in_many_shapes() {
    let port = |number, is_enabled| Port { number, is_enabled };
    for (members, elements, plain, secure, endpoint) in [
        (r#""port":8080"#, "<port>8080</port>", port(8080, true), port(7002, false), "tcp h:8080"),
        (r#""port":"8080""#, "<port> 8080 </port>", port(8080, true), port(7002, false), "tcp h:8080"),
        (
            r#""port":{"$":"8080","@enabled":false}"#,
            r#"<port enabled="false">8080</port>"#,
            port(8080, false),
            port(7002, false),
            "tcp h",
        ),
        (
            r#""port":{"$":8080,"@enabled":"TRUE","other":[1]},"securePort":{"$":443}"#,
            r#"<port other="x" enabled='True'>8080</port><securePort>443</securePort>"#,
            port(8080, true),
            port(443, false),
            "tcp h:8080",
        ),
        (
            r#""securePort":{"$":443,"@enabled":"true"}"#,
            r#"<securePort enabled="true">443</securePort>"#,
            port(7001, true),
            port(443, true),
            "https h:443",
        ),
        (
            r#""port":{"@enabled":"true"}"#,
            r#"<port enabled="true"/>"#,
            port(7001, true),
            port(7002, false),
            "tcp h:7001",
        ),
        (r#""port":{"$":65536}"#, "<port>65536</port>", port(0, false), port(7002, false), "tcp h"),
        (r#""port":{"$":-1}"#, "<port>-1</port>", port(0, false), port(7002, false), "tcp h"),
        (r#""port":null"#, "", port(7001, true), port(7002, false), "tcp h:7001"),
    ] {
        check(members, elements, |registration, document| {
            document.port = plain;
            document.secure_port = secure;
            let (kind, value) = endpoint.split_once(' ').unwrap();
            registration.endpoint = crate::model::Endpoint::new(kind.parse().unwrap(), value).unwrap();
        });
    }
}

#[test]
fn statuses_are_words_in_any_letter_case() {
    for (word, status, text) in [
        ("UP", Status::Up, None),
        ("up", Status::Up, None),
        ("Out_Of_Service", Status::OutOfService, None),
        ("DOWN", Status::Down, None),
        ("", Status::Unknown, None),
        ("UNKNOWN", Status::Unknown, None),
        ("warming", Status::Unknown, Some("warming")),
        (&"S".repeat(32), Status::Unknown, Some(&*"S".repeat(32))),
        (&"S".repeat(33), Status::Unknown, None),
    ] {
        let members = format!(r#""status":"{word}""#);
        check(&members, &format!("<status>{word}</status>"), |registration, document| {
            registration.status = status;
            document.status_text = text.map(Into::into);
        });
    }
    let below_api = |word: &str| of_json(&json(&format!(r#""status":"{word}""#)), Amalgam8);
    assert_eq!(below_api("").unwrap().status, Status::Up);
    assert_eq!(document(below_api("warming").unwrap()).status_text.as_deref(), Some("warming"));
    assert_eq!(below_api(&"S".repeat(33)), Err("status has 33 bytes, at most 32 are allowed".into()));
}

#[test]
fn overrides_are_taken_over_under_both_names() {
    for (members, elements, want) in [
        (
            r#""overriddenStatus":"OUT_OF_SERVICE""#,
            "<overriddenStatus>OUT_OF_SERVICE</overriddenStatus>",
            Some(Status::OutOfService),
        ),
        (r#""overriddenstatus":"down""#, "<overriddenstatus>down</overriddenstatus>", Some(Status::Down)),
        (
            r#""overriddenStatus":"UP","overriddenstatus":"DOWN""#,
            "<overriddenStatus>UP</overriddenStatus><overriddenstatus>DOWN</overriddenstatus>",
            Some(Status::Down),
        ),
        (r#""overriddenStatus":"UNKNOWN""#, "<overriddenStatus>UNKNOWN</overriddenStatus>", None),
        (r#""overriddenStatus":"""#, "<overriddenStatus/>", None),
        (r#""overriddenStatus":"ASLEEP""#, "<overriddenStatus>ASLEEP</overriddenStatus>", None),
        (r#""overriddenStatus":null"#, "", None),
    ] {
        assert_eq!(of_json(&json(members), Netflix).unwrap().eureka.unwrap().overridden, want, "{members}");
        assert_eq!(of_xml(&xml(elements)).unwrap().eureka.unwrap().overridden, want, "{elements}");
    }
}

#[test]
fn numbers_may_be_texts() {
    for (members, elements) in [
        (
            r#""lastDirtyTimestamp":"1750000000042","countryId":"7""#,
            "<lastDirtyTimestamp>1750000000042</lastDirtyTimestamp><countryId>7</countryId>",
        ),
        (
            r#""lastDirtyTimestamp":1750000000042,"countryId":7.0"#,
            "<lastDirtyTimestamp> 1750000000042\n</lastDirtyTimestamp><countryId>7</countryId>",
        ),
    ] {
        for registration in [of_json(&json(members), Netflix), of_xml(&xml(elements))] {
            let claim = registration.unwrap().eureka.unwrap();
            assert_eq!(claim.dirty_at, Some(Timestamp::from_millis(1_750_000_000_042)));
            assert_eq!(claim.document.country_id, 7);
        }
    }
    assert_eq!(&*document(of_json(&json(r#""hostName":5,"sid":true"#), Netflix).unwrap()).host_name, "5");
}

#[test]
fn leases_that_ask_for_nothing_get_the_default() {
    for (members, elements, secs, interval) in [
        (
            r#""durationInSecs":60,"renewalIntervalInSecs":20"#,
            "<durationInSecs>60</durationInSecs><renewalIntervalInSecs>20</renewalIntervalInSecs>",
            60,
            20,
        ),
        (r#""durationInSecs":"60""#, "<durationInSecs> 60 </durationInSecs>", 60, 30),
        (r#""durationInSecs":0,"renewalIntervalInSecs":-5"#, "<durationInSecs>0</durationInSecs>", 90, 30),
        (r#""durationInSecs":-1"#, "<durationInSecs>-1</durationInSecs>", 90, 30),
        (
            r#""registrationTimestamp":5,"renewalTimestamp":[],"evictionTimestamp":"x""#,
            "<evictionTimestamp>x</evictionTimestamp>",
            90,
            30,
        ),
        (r#""durationInSecs":null"#, "<durationInSecs/>", 90, 30),
    ] {
        let members = format!(r#""leaseInfo":{{{members}}}"#);
        check(&members, &format!("<leaseInfo>{elements}</leaseInfo>"), |registration, document| {
            registration.ttl = Some(std::time::Duration::from_secs(secs));
            document.renewal_interval_secs = interval;
        });
    }
    let text = of_json(&json(r#""leaseInfo":{"durationInSecs":"90"}"#), Amalgam8);
    assert_eq!(text, Err(r#"leaseInfo.durationInSecs is the text "90", wanted a whole number"#.into()));
}

#[test]
fn metadata_becomes_texts() {
    for (members, elements, want) in [
        ("{}", r#"<metadata class="java.util.Collections$EmptyMap"/>"#, None),
        (r#"{"@class":"java.util.Collections$EmptyMap"}"#, "<metadata></metadata>", None),
        (
            r#"{"a":1,"b":true,"c":null,"d":"x","e":{"f":[1]}}"#,
            "<metadata><a>1</a><b>true</b><d>x</d><e>{\"f\":[1]}</e></metadata>",
            Some(r#"{"a":"1","b":"true","d":"x","e":"{\"f\":[1]}"}"#),
        ),
        (
            r#"{"my_key":"1","a b":"<","😀":"&"}"#,
            "<metadata><my__key>1</my__key><a_.0020b>&lt;</a_.0020b><_.d83d_.de00><![CDATA[&]]></_.d83d_.de00></metadata>",
            Some(r#"{"my_key":"1","a b":"<","😀":"&"}"#),
        ),
        (
            r#"{"a":"1","b":"2","a":"3"}"#,
            "<metadata><a>1</a><b>2</b><a>3</a></metadata>",
            Some(r#"{"a":"3","b":"2"}"#),
        ),
    ] {
        check(&format!(r#""metadata":{members}"#), elements, |registration, _| {
            registration.metadata = want.map(|json| crate::model::Metadata::from_json(json, MAX).unwrap());
        });
    }
    let below_api = |metadata: &str| {
        let registration = of_json(&json(&format!(r#""metadata":{metadata}"#)), Amalgam8)?;
        Ok::<_, String>(registration.metadata.map(|metadata| metadata.as_json().to_owned()))
    };
    let empty = r#"{"@class":"java.util.Collections$EmptyMap"}"#;
    assert_eq!(below_api(empty), Ok(Some(empty.into())));
    assert_eq!(below_api("{}"), Ok(Some("{}".into())));
    assert_eq!(below_api("null"), Ok(None));
    assert!(below_api("[]").is_err() && below_api(r#""text""#).is_err());
    assert!(of_json(&json(r#""metadata":{"a":"\ud800"}"#), Netflix).is_err());
    let long = format!(r#"{{"k":"{}"}}"#, "m".repeat(MAX));
    assert_eq!(below_api(&long), Err("metadata has 1032 bytes, at most 1024 are allowed".into()));
}

#[test]
fn tags_are_a_part_of_the_metadata() {
    for (text, want) in [
        ("v1;blue", &["v1", "blue"][..]),
        (" v2 , green ; canary ", &["v2", "green", "canary"]),
        ("a,,b", &["a", "", "b"]),
        ("", &[]),
        ("one", &["one"]),
    ] {
        for dialect in [Netflix, Amalgam8] {
            let members = format!(r#""metadata":{{"amalgam8.tags":"{text}","Amalgam8.Tags":"no"}}"#);
            let tags = of_json(&json(&members), dialect).unwrap().tags;
            assert_eq!(tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), want, "{text}");
        }
    }
}

#[test]
fn unknown_members_are_ignored_whatever_they_are() {
    check(
        r#""x":{"y":[{}]},"instanceid":null,"isCoordinatingDiscoveryServer":false,"actionType":5,"sid":null"#,
        "<x a='1'><y><z/></y>text</x><!-- c --><?pi x?>",
        |_, _| {},
    );
}

#[test]
fn data_centers_are_known_by_name() {
    let cloud = |entries: &[(&str, &str)]| DataCenter {
        name: "Amazon".into(),
        metadata: entries.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
    };
    let named = |name: &str| DataCenter { name: name.into(), metadata: [].into() };
    for (object, elements, want) in [
        (
            r#""@class":"com.netflix.appinfo.MyDataCenterInfo","name":"MyOwn""#,
            "<name>MyOwn</name>",
            named("MyOwn"),
        ),
        (r#""@class":5,"name":"Netflix""#, "<name> Netflix </name>", named("Netflix")),
        (
            r#""name":"MyOwn","metadata":{"instance-id":"i"}"#,
            "<name>MyOwn</name><metadata><instance-id>i</instance-id></metadata>",
            named("MyOwn"),
        ),
        (
            r#""metadata":{"instance-id":"i-1","n":5},"name":"amazon""#,
            "<metadata><instance-id>i-1</instance-id><n>5</n></metadata><name>AMAZON</name>",
            cloud(&[("instance-id", "i-1"), ("n", "5")]),
        ),
        (
            r#""name":"Amazon","metadata":{"ami-id":"a","instance-id":""}"#,
            "<name>Amazon</name><metadata><ami-id>a</ami-id></metadata>",
            cloud(&[("instance-id", "h"), ("ami-id", "a")]),
        ),
    ] {
        let members = format!(r#""dataCenterInfo":{{{object}}}"#);
        let got = document(of_json(&json(&members), Netflix).unwrap()).data_center;
        assert_eq!(got, want, "{members}");
        let body = xml("").replace("<name>MyOwn</name>", elements);
        assert_eq!(document(of_xml(&body).unwrap()).data_center, want, "{body}");
    }
}

#[test]
fn netflix_rules_are_judged_in_their_order() {
    for (members, want) in [
        (
            r#""dataCenterInfo":{"name":"Azure"},"hostName":"""#,
            r#"Unknown dataCenterInfo name "Azure", wanted one of Netflix, Amazon, MyOwn"#,
        ),
        (
            r#""dataCenterInfo":{"name":"myown"}"#,
            r#"Unknown dataCenterInfo name "myown", wanted one of Netflix, Amazon, MyOwn"#,
        ),
        (r#""hostName":"","ipAddr":"""#, "Missing instanceId"),
        (r#""hostName":null,"instanceId":"i","ipAddr":"""#, "Missing hostname"),
        (
            r#""hostName":"","dataCenterInfo":{"name":"Amazon","metadata":{"instance-id":"i"}}"#,
            "Missing hostname",
        ),
        (r#""ipAddr":"","app":"""#, "Missing ip address"),
        (r#""app":"","dataCenterInfo":null"#, "Missing appName"),
        (r#""app":"other","dataCenterInfo":null"#, "Mismatched appName, expecting T but was OTHER"),
        (r#""dataCenterInfo":null"#, "Missing dataCenterInfo"),
        (r#""dataCenterInfo":{}"#, "Missing dataCenterInfo Name"),
        (r#""dataCenterInfo":{"name":""}"#, "Missing dataCenterInfo Name"),
    ] {
        assert_eq!(of_json(&json(members), Netflix), Err(want.into()), "{members}");
    }
    let too_long = format!(r#""hostName":"{}""#, "h".repeat(129));
    assert_eq!(
        of_json(&json(&too_long), Netflix),
        Err("endpoint.value has 134 bytes, at most 128 are allowed".into())
    );
    assert_eq!(of_json(&json(r#""app":"t""#), Netflix).unwrap().service.as_str(), "t");
    assert!(of_json(&json(r#""hostName":" ""#), Netflix).is_ok());
}

#[test]
fn bodies_of_netflix_clients_are_one_instance() {
    for body in ["", "null", "[]", "{}", r#"{"instance":null}"#, r#"{"instance":[]}"#, "junk", "{"] {
        assert!(of_json(body, Netflix).is_err(), "{body}");
    }
    let others = json("").replace(r#"{"instance""#, r#"{"other":1,"instance""#);
    assert_eq!(
        of_json(&others, Netflix),
        Err("body is an object with other members, wanted only the member instance".into())
    );
    assert!(of_json(&others, Amalgam8).is_ok());
}

#[test]
fn rules_below_api_are_those_of_the_original() {
    const FIELDS: &str = "Missing required field(s): hostname, application, vipAddress or IPAddress";
    for (body, want) in [
        ("{}".into(), Err(FIELDS)),
        ("null".into(), Err(FIELDS)),
        (r#"{"instance":null}"#.into(), Err(FIELDS)),
        (r#"{"instance":{}}"#.into(), Err(FIELDS)),
        (json(r#""hostName":"""#), Err(FIELDS)),
        (json(r#""ipAddr":null"#), Err(FIELDS)),
        (json(r#""app":"""#), Err(FIELDS)),
        (json(r#""app":"Y""#), Err("Application name mismatch")),
        (json(r#""app":"t""#), Ok("h")),
        (r#"{"instance":{"hostName":"h","ipAddr":"1.1.1.1"}}"#.into(), Ok("h")),
        (json(r#""dataCenterInfo":null"#), Ok("h")),
        (json(r#""dataCenterInfo":{"name":"SoftLayer","metadata":{"getId":987654}}"#), Ok("987654")),
        (json(r#""dataCenterInfo":{"name":"softlayer"}"#), Ok("h")),
        (json(r#""dataCenterInfo":{"name":"Amazon","metadata":{"instance-id":"i-1"}}"#), Ok("i-1")),
        (json(r#""dataCenterInfo":{"name":"Amazon"}"#), Ok("h")),
        (json(r#""dataCenterInfo":{"name":"Azure"},"instanceId":"given""#), Ok("given")),
        (
            json(r#""dataCenterInfo":{"name":"Azure"}"#),
            Err(r#"Unknown dataCenterInfo name "Azure", wanted one of Netflix, Amazon, MyOwn"#),
        ),
        (json(r#""countryId":"1""#), Err(r#"countryId is the text "1", wanted a whole number"#)),
        (json(r#""port":8080"#), Err("port is the number 8080, wanted an object")),
        (json(r#""vipAddress":5"#), Err("vipAddress is the number 5, wanted a text")),
    ] {
        let got =
            of_json(&body, Amalgam8).map(|registration| document(registration).effective_id().to_owned());
        assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{body}");
    }
}

#[test]
fn endpoints_below_api_are_those_of_the_original() {
    for (members, want) in [
        ("", "tcp h"),
        (r#""port":{"$":8080,"@enabled":"true"}"#, "tcp h:8080"),
        (r#""port":{"$":"8081","@enabled":"true"}"#, "tcp h:8081"),
        (r#""port":{"$":8080,"@enabled":true}"#, "tcp h:8080"),
        (r#""port":{"$":8080,"@enabled":"false"}"#, "tcp h"),
        (r#""port":{"$":8080}"#, "tcp h"),
        (r#""port":{"@enabled":"true"}"#, "tcp h"),
        (r#""port":{"$":12345678,"@enabled":"true"}"#, "tcp h"),
        (r#""port":{"$":[],"@enabled":"true"}"#, "tcp h"),
        (r#""port":{"$":80,"@enabled":"true"},"securePort":{"$":443,"@enabled":"true"}"#, "https h:443"),
        (r#""port":{"$":80,"@enabled":"true"},"securePort":{"$":443,"@enabled":"false"}"#, "tcp h:80"),
        (r#""hostName":"::1","port":{"$":80,"@enabled":"true"}"#, "tcp [::1]:80"),
    ] {
        let endpoint = of_json(&json(members), Amalgam8).unwrap().endpoint;
        assert_eq!(format!("{} {}", endpoint.kind().as_str(), endpoint.value()), want, "{members}");
    }
}

#[test]
fn hostile_xml_is_refused() {
    let deep = |depth: usize| xml(&("<x>".repeat(depth) + &"</x>".repeat(depth)));
    assert!(of_xml(&deep(15)).is_ok());
    for body in [
        String::new(),
        "junk".into(),
        "<applications/>".into(),
        "<instance>".into(),
        "<instance></x>".into(),
        "</instance>".into(),
        xml("") + "<instance/>",
        xml("") + "junk",
        xml("<x>"),
        xml("<x></y>"),
        xml("&nbsp;"),
        xml("<sid>&#0;</sid>"),
        xml("<sid>&#xd800;</sid>"),
        xml("<sid>& </sid>"),
        xml("<port enabled=true>1</port>"),
        xml("<port>http</port>"),
        xml("<countryId>x</countryId>"),
        xml("<lastDirtyTimestamp>1e3</lastDirtyTimestamp>"),
        deep(16),
        deep(10_000),
        format!("<!DOCTYPE instance [<!ENTITY a \"b\">]>{}", xml("<sid>&a;</sid>")),
        format!("<!DOCTYPE instance>{}", xml("")),
    ] {
        let error = of_xml(&body).expect_err(&body);
        assert!(error.len() < 300, "{error}");
    }
    assert!(RegistrationBody::from_xml(b"<instance>\xff</instance>").is_err());
    let declared =
        format!("\u{feff}<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n{}\n<!-- end -->\n", xml(""));
    assert!(of_xml(&declared).is_ok());
}

#[test]
fn the_sample_of_the_protocol_is_read() {
    let body = r#"<instance>
  <instanceId>pay-2</instanceId>
  <hostName>pay-2.shop.test</hostName>
  <app>T</app>
  <ipAddr>10.20.0.12</ipAddr>
  <vipAddress>payments</vipAddress>
  <secureVipAddress>payments</secureVipAddress>
  <status>UP</status>
  <port enabled="true">9001</port>
  <securePort enabled="false">443</securePort>
  <homePageUrl>http://pay-2.shop.test:9001/?a=1&amp;b=&#x32;</homePageUrl>
  <dataCenterInfo class="com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"><name>MyOwn</name></dataCenterInfo>
  <leaseInfo><durationInSecs>60</durationInSecs><renewalIntervalInSecs>20</renewalIntervalInSecs></leaseInfo>
  <metadata><build__number>77</build__number></metadata>
</instance>"#;
    let registration = of_xml(body).unwrap();
    assert_eq!(registration.metadata.as_ref().unwrap().as_json(), r#"{"build_number":"77"}"#);
    assert_eq!(registration.endpoint.value(), "pay-2.shop.test:9001");
    let document = document(registration);
    assert_eq!(document.instance_id.as_deref(), Some("pay-2"));
    assert_eq!(document.home_page_url.as_deref(), Some("http://pay-2.shop.test:9001/?a=1&b=2"));
    assert_eq!(document.renewal_interval_secs, 20);
}
