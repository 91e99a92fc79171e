//! Cases 1 to 27: what may be registered, what is refused in which words, and what is kept of it.
//!
//! Never: judges lists or leases.

use serde_json::{Value, json};

use crate::support::Eureka;
use crate::support::eureka::{
    JSON, MY_OWN, XML, document, inside, next_millisecond, now_millis, start, versioned, with, zipped,
};

/// A registration that is refused with this text.
#[track_caller]
fn refused(app: &str, document: &Value, text: &str) {
    let (_daemon, eureka) = start("");
    let answer = eureka.post_to(app, document);
    assert_eq!((answer.status, &*answer.text()), (400, text), "{document}");
    eureka.ask("GET apps/T").empty(404);
}

macro_rules! refusals {
    ($($name:ident: $app:literal, $($document:expr => $text:literal),+;)+) => {$(
        #[test]
        fn $name() {
            $(refused($app, &$document, $text);)+
        }
    )+};
}

refusals! {
    case_003_another_application_in_the_body:
        "T", document("U", "a") => "Mismatched appName, expecting T but was U",
        document("u", "a") => "Mismatched appName, expecting T but was U";
    case_004_no_host_name:
        "T", with(document("T", "a"), &json!({"hostName": null})) => "Missing hostname",
        with(document("T", "a"), &json!({"hostName": ""})) => "Missing hostname";
    case_005_neither_id_nor_host_name:
        "T", with(document("T", "a"), &json!({"hostName": null, "instanceId": null})) => "Missing instanceId",
        with(document("T", "a"), &json!({"hostName": "", "instanceId": ""})) => "Missing instanceId";
    case_006_no_ip_address:
        "T", with(document("T", "a"), &json!({"ipAddr": null})) => "Missing ip address",
        with(document("T", "a"), &json!({"ipAddr": ""})) => "Missing ip address";
    case_007_no_data_center:
        "T", with(document("T", "a"), &json!({"dataCenterInfo": null})) => "Missing dataCenterInfo",
        with(document("T", "a"), &json!({"dataCenterInfo": {"@class": MY_OWN}})) => "Missing dataCenterInfo Name";
}

/// A document that is taken; its members as they are shown afterwards. Null means that there is none.
#[track_caller]
fn taken(document: &Value, shown: &Value) {
    let (_daemon, eureka) = start("");
    eureka.register(document);
    let one = eureka.one("a");
    for (name, value) in shown.as_object().expect("an object") {
        assert_eq!(&one[name], value, "{name}, registered as {document}");
    }
    assert_no_nulls(&one);
}

#[track_caller]
fn assert_no_nulls(value: &Value) {
    match value {
        Value::Null => panic!("a null is shown"),
        Value::Array(values) => values.iter().for_each(assert_no_nulls),
        Value::Object(members) => members.values().for_each(assert_no_nulls),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

macro_rules! accepted {
    ($($name:ident: $($document:expr => $shown:tt),+;)+) => {$(
        #[test]
        fn $name() {
            $(taken(&$document, &json!($shown));)+
        }
    )+};
}

accepted! {
    case_015_spring_with_nulls_numbers_and_a_boolean:
        spring() => {
            "appGroupName": null, "sid": null, "secureHealthCheckUrl": null, "asgName": null,
            "isCoordinatingDiscoveryServer": "false", "lastDirtyTimestamp": "1750000000042", "actionType": "ADDED",
            "metadata": {"management.port": "9001"}, "port": {"$": 9001, "@enabled": "true"},
        };
    case_016_a_port_as_text:
        with(document("T", "a"), &json!({"port": {"$": "8081", "@enabled": true}}))
            => {"port": {"$": 8081, "@enabled": "true"}};
    case_018_amazon_without_an_instance_id_gets_the_effective_one:
        with(document("T", "a"), &json!({"dataCenterInfo": amazon(&json!({"ami-id": "ami-1"}))}))
            => {"dataCenterInfo": {
                "@class": "com.netflix.appinfo.AmazonInfo", "name": "Amazon",
                "metadata": {"instance-id": "a", "ami-id": "ami-1"},
            }};
    case_020_unknown_members_are_passed_over:
        with(document("T", "a"), &json!({
            "colour": "blue", "shape": {"sides": [3, {"deep": null}]}, "list": [1, [2]],
            "vipAddress": "v", "metadata": {"k": "v"}, "status": "STARTING",
        })) => {
            "vipAddress": "v", "metadata": {"k": "v"}, "status": "STARTING", "hostName": "host.test",
            "colour": null, "shape": null, "list": null,
        };
    case_021_a_bare_port_and_a_data_center_without_class:
        with(document("T", "a"), &json!({"port": 8080, "dataCenterInfo": {"name": "MyOwn"}})) => {
            "port": {"$": 8080, "@enabled": "true"}, "dataCenterInfo": {"@class": MY_OWN, "name": "MyOwn"},
        };
    case_022_fargo_with_empty_texts_and_zeros:
        with(document("T", "a"), &json!({
            "overriddenstatus": "", "status": "UP",
            "leaseInfo": {"durationInSecs": 0, "renewalIntervalInSecs": 0, "registrationTimestamp": 0,
                "lastRenewalTimestamp": 0, "evictionTimestamp": 0, "serviceUpTimestamp": 0},
        })) => {"overriddenStatus": "UNKNOWN", "status": "UP"};
    // Section 2.4, what is read of shapes that some client sends.
    the_defaults_of_what_is_not_given:
        document("T", "a") => {
            "status": "UP", "overriddenStatus": "UNKNOWN", "countryId": 1, "actionType": "ADDED",
            "port": {"$": 7001, "@enabled": "true"}, "securePort": {"$": 7002, "@enabled": "false"},
            "isCoordinatingDiscoveryServer": "false", "metadata": {"@class": "java.util.Collections$EmptyMap"},
            "vipAddress": null, "secureVipAddress": null, "homePageUrl": null, "appGroupName": null,
        };
    shapes_of_ports:
        with(document("T", "a"), &json!({"port": "8080", "securePort": {"$": 443, "@enabled": "true", "x": 1}}))
            => {"port": {"$": 8080, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "true"}};
    shapes_of_statuses:
        with(document("T", "a"), &json!({"status": "starting"})) => {"status": "STARTING"},
        with(document("T", "a"), &json!({"status": "wobbly"})) => {"status": "UNKNOWN"},
        with(document("T", "a"), &json!({"status": ""})) => {"status": "UNKNOWN"},
        with(document("T", "a"), &json!({"status": "UP", "overriddenStatus": "down"}))
            => {"status": "DOWN", "overriddenStatus": "DOWN"};
    shapes_of_metadata:
        with(document("T", "a"), &json!({"metadata": {"n": 1, "b": true, "@class": "x", "t": "text", "nothing": null}}))
            => {"metadata": {"n": "1", "b": "true", "t": "text"}},
        with(document("T", "a"), &json!({"metadata": {"@class": "java.util.Collections$EmptyMap"}}))
            => {"metadata": {"@class": "java.util.Collections$EmptyMap"}};
    shapes_of_numbers:
        with(document("T", "a"), &json!({"countryId": "7", "lastDirtyTimestamp": 42}))
            => {"countryId": 7, "lastDirtyTimestamp": "42"};
    shapes_of_data_centers:
        with(document("T", "a"), &json!({"dataCenterInfo": {
            "@class": "com.netflix.appinfo.MyDataCenterInfo", "name": "MyOwn", "metadata": {"x": "y"}}}))
            => {"dataCenterInfo": {"@class": MY_OWN, "name": "MyOwn"}},
        with(document("T", "a"), &json!({"dataCenterInfo": {"@class": "a.b.C", "name": "Netflix"}}))
            => {"dataCenterInfo": {"@class": MY_OWN, "name": "Netflix"}};
    what_a_client_says_of_the_servers_times_is_passed_over:
        with(document("T", "a"), &json!({"isCoordinatingDiscoveryServer": "true", "actionType": "DELETED"}))
            => {"isCoordinatingDiscoveryServer": "false", "actionType": "ADDED"};
}

/// As Spring's RestTemplate and RestClient send it.
fn spring() -> Value {
    let text = r#"{"instanceId": "a", "app": "T", "appGroupName": null, "ipAddr": "10.20.0.11", "sid": "na",
        "homePageUrl": "http://pay-1:9001/", "statusPageUrl": "http://pay-1:9001/actuator/info",
        "healthCheckUrl": "http://pay-1:9001/actuator/health", "secureHealthCheckUrl": null,
        "vipAddress": "payments", "secureVipAddress": "payments", "countryId": 1,
        "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
        "hostName": "pay-1", "status": "UP", "overriddenStatus": "UNKNOWN",
        "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 90, "registrationTimestamp": 0,
        "lastRenewalTimestamp": 0, "evictionTimestamp": 0, "serviceUpTimestamp": 0},
        "isCoordinatingDiscoveryServer": false, "lastUpdatedTimestamp": 1750000000000,
        "lastDirtyTimestamp": 1750000000042, "actionType": null, "asgName": null,
        "port": {"$": 9001, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
        "metadata": {"management.port": "9001"}}"#;
    serde_json::from_str(text).expect("JSON")
}

fn amazon(metadata: &Value) -> Value {
    json!({"@class": "com.netflix.appinfo.AmazonInfo", "name": "Amazon", "metadata": metadata})
}

#[test]
fn case_001_the_least_is_taken() {
    let (_daemon, eureka) = start("");
    eureka.post(&document("T", "a")).empty(204);
    assert_eq!(eureka.one("a")["instanceId"], "a");
}

#[test]
fn case_002_applications_in_any_letter_case_are_one() {
    let (_daemon, eureka) = start("");
    eureka.post_to("t", &document("T", "a")).empty(204);
    eureka.post_to("T", &document("t", "b")).empty(204);
    let list = eureka.list("apps");
    let applications = list["application"].as_array().expect("a list");
    assert_eq!(applications.len(), 1, "{list}");
    assert_eq!(applications[0]["name"], "T");
    assert_eq!(applications[0]["instance"].as_array().map(Vec::len), Some(2));
    assert_eq!(eureka.one_of("t", "b")["app"], "T");
}

#[test]
fn case_008_json_that_cannot_be_read() {
    let (_daemon, eureka) = start("");
    for accept in ["Accept: application/xml", "Accept: */*"] {
        for body in ["{bad", r#"{"instance":"#, "[]", r#"{"other": {}}"#] {
            let answer = eureka.with(accept).send("POST apps/T", JSON, body);
            assert_eq!((answer.status, answer.header("content-type")), (400, JSON), "{body}");
            assert_eq!(answer.json(), json!({"error": "cannot parse request body"}), "{body}");
        }
    }
}

#[test]
fn case_009_xml_that_cannot_be_read() {
    let (_daemon, eureka) = start("");
    let answer = eureka.send("POST apps/T", XML, "junk");
    assert_eq!((answer.status, answer.header("content-type")), (400, XML));
    assert_eq!(answer.text(), "<error><message>cannot parse request body</message></error>");
}

#[test]
fn case_010_an_empty_body() {
    let (_daemon, eureka) = start("");
    for media in [JSON, XML] {
        assert_eq!(eureka.send("POST apps/T", media, "").status, 400, "{media}");
    }
}

#[test]
fn case_011_other_content_types() {
    let (_daemon, eureka) = start("");
    let body = json!({"instance": document("T", "a")}).to_string();
    for media in ["text/plain", "application/x-www-form-urlencoded", ""] {
        assert_eq!(eureka.send("POST apps/T", media, &body).status, 415, "{media:?}");
    }
    eureka.ask("GET apps/T").empty(404);
}

/// The sample of a registration in XML.
const PAY_2: &str = r#"<instance>
  <instanceId>pay-2</instanceId>
  <hostName>pay-2.shop.test</hostName>
  <app>PAYMENTS</app>
  <ipAddr>10.20.0.12</ipAddr>
  <vipAddress>payments</vipAddress>
  <secureVipAddress>payments</secureVipAddress>
  <status>UP</status>
  <port enabled="true">9001</port>
  <securePort enabled="false">443</securePort>
  <homePageUrl>http://pay-2.shop.test:9001/</homePageUrl>
  <statusPageUrl>http://pay-2.shop.test:9001/info</statusPageUrl>
  <healthCheckUrl>http://pay-2.shop.test:9001/health</healthCheckUrl>
  <dataCenterInfo class="com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"><name>MyOwn</name></dataCenterInfo>
  <leaseInfo><durationInSecs>60</durationInSecs><renewalIntervalInSecs>20</renewalIntervalInSecs></leaseInfo>
  <metadata><build__number>77</build__number></metadata>
</instance>"#;

#[test]
fn case_012_xml_is_taken() {
    let (_daemon, eureka) = start("");
    for media in [XML, "application/xml; charset=UTF-8"] {
        eureka.send("POST apps/PAYMENTS", media, PAY_2).empty(204);
    }
    let one = eureka.one_of("PAYMENTS", "pay-2");
    assert_eq!(one["metadata"], json!({"build_number": "77"}));
    assert_eq!(one["leaseInfo"]["durationInSecs"], 60);
    assert_eq!(one["leaseInfo"]["renewalIntervalInSecs"], 20);
    assert_eq!(one["port"], json!({"$": 9001, "@enabled": "true"}));
    assert_eq!(one["securePort"], json!({"$": 443, "@enabled": "false"}));
    assert_eq!(one["secureVipAddress"], "payments");
}

#[test]
fn xml_is_read_as_leniently_as_it_has_to_be() {
    let (_daemon, eureka) = start("");
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><instance><!-- ours --><hostName>h&amp;&#x31;</hostName>\
        <app>t</app><ipAddr>1.2.3.4</ipAddr><unknown><deep>1</deep></unknown><status>out_of_service</status>\
        <port>81</port><securePort>82</securePort><overriddenStatus>UNKNOWN</overriddenStatus>\
        <dataCenterInfo class=\"whatever\"><name>MyOwn</name></dataCenterInfo>\
        <metadata><a_.0020b>1</a_.0020b><c_d>2</c_d><e><![CDATA[<3>]]></e></metadata></instance>";
    eureka.send("POST apps/T", XML, body).empty(204);
    let one = eureka.one("h&1");
    assert_eq!(one["status"], "OUT_OF_SERVICE");
    assert_eq!(one["port"], json!({"$": 81, "@enabled": "true"}), "ports without the attribute");
    assert_eq!(one["securePort"], json!({"$": 82, "@enabled": "false"}));
    assert_eq!(one["metadata"], json!({"a b": "1", "c_d": "2", "e": "<3>"}));
    assert_eq!(one["dataCenterInfo"], json!({"@class": MY_OWN, "name": "MyOwn"}));
}

#[test]
fn xml_with_entities_of_its_own_or_without_end_is_refused() {
    let (_daemon, eureka) = start("");
    let deep = format!("{}{}", "<a>".repeat(9_000), "</a>".repeat(9_000));
    let entity = "<!DOCTYPE i [<!ENTITY x \"boom\">]><instance><hostName>&x;</hostName></instance>";
    for body in [entity, &deep, &PAY_2[..PAY_2.len() - 4], "<instance></app>"] {
        let answer = eureka.send("POST apps/PAYMENTS", XML, body);
        assert_eq!(answer.status, 400, "{}", &body[..40.min(body.len())]);
    }
    eureka.ask("GET apps/PAYMENTS").empty(404);
}

#[test]
fn case_013_a_compressed_body() {
    let (_daemon, eureka) = start("");
    let coded = eureka.with("Content-Encoding: gzip");
    let body = json!({"instance": document("T", "a")}).to_string();
    coded.send("POST apps/T", JSON, zipped(&body)).empty(204);
    coded.send("POST apps/PAYMENTS", XML, zipped(PAY_2)).empty(204);
    assert_eq!(eureka.one("a")["instanceId"], "a");
    assert_eq!(eureka.one_of("PAYMENTS", "pay-2")["instanceId"], "pay-2");
    assert_eq!(coded.send("POST apps/T", JSON, "not gzip at all").status, 400);
}

#[test]
fn case_014_a_body_in_chunks() {
    let (_daemon, eureka) = start("");
    let body = json!({"instance": document("T", "a")}).to_string();
    let head = eureka.head("POST apps/T", &["Content-Type: application/json", "Transfer-Encoding: chunked"]);
    let (one, two) = body.split_at(17);
    let request = format!("{head}{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
    eureka.raw(request).empty(204);
    assert_eq!(eureka.one("a")["instanceId"], "a");
}

#[test]
fn case_017_the_host_name_is_the_id_of_what_has_none() {
    let (_daemon, eureka) = start("");
    eureka.register(&with(document("T", "a"), &json!({"instanceId": null})));
    let one = eureka.one("host.test");
    assert_eq!(one.get("instanceId"), None);
    assert!(
        !eureka.with("Accept: application/xml").ask("GET apps/T/host.test").text().contains("instanceId")
    );
}

#[test]
fn case_019_amazons_instance_id_is_the_id_of_what_has_none() {
    let (_daemon, eureka) = start("");
    let center = amazon(&json!({"instance-id": "i-1"}));
    eureka.register(&with(document("T", "a"), &json!({"instanceId": null, "dataCenterInfo": center})));
    assert_eq!(eureka.one("i-1")["dataCenterInfo"], center);
    // Old Java clients fail on another order, which is why they send this one as well.
    let ordered =
        r#""dataCenterInfo":{"@class":"com.netflix.appinfo.AmazonInfo","name":"Amazon","metadata":{"#;
    let text = eureka.ask("GET apps/T/i-1").text();
    assert!(text.contains(ordered), "{text}");
    eureka.ask("GET apps/T/host.test").empty(404);
    eureka.ask("PUT apps/T/i-1").empty(200);
}

#[test]
fn case_022_zeros_are_the_default_lease() {
    let (_daemon, eureka) = start("");
    for lease in
        [json!({"durationInSecs": 0, "renewalIntervalInSecs": 0}), json!({"durationInSecs": -1}), json!({})]
    {
        eureka.register(&with(document("T", "a"), &json!({"leaseInfo": lease})));
        let shown = &eureka.one("a")["leaseInfo"];
        assert_eq!(
            (&shown["durationInSecs"], &shown["renewalIntervalInSecs"]),
            (&json!(90), &json!(30)),
            "{lease}"
        );
    }
}

#[test]
fn case_023_character_sets() {
    let (_daemon, eureka) = start("");
    let body = json!({"instance": document("T", "a")}).to_string();
    for (charset, status) in [("utf-8", 204), ("UTF-8", 204), ("ISO-8859-1", 204), ("UTF-16", 415)] {
        let media = format!("application/json; charset={charset}");
        assert_eq!(eureka.send("POST apps/T", &media, &body).status, status, "{charset}");
    }
}

#[test]
fn case_024_a_document_without_version_gets_the_time() {
    let (_daemon, eureka) = start("");
    let before = now_millis();
    eureka.register(&document("T", "a"));
    let version: u64 =
        eureka.one("a")["lastDirtyTimestamp"].as_str().expect("text").parse().expect("a number");
    assert!(before <= version + 2 && version <= now_millis() + 2, "{before} {version}");
}

/// Registers twice with these versions, and answers what is there: metadata and version.
fn twice(first: u64, second: u64) -> (Value, Value) {
    let (_daemon, eureka) = start("");
    eureka.register(&with(versioned("a", first, "UP"), &json!({"metadata": {"from": "first", "one": "1"}})));
    eureka.register(&with(versioned("a", second, "UP"), &json!({"metadata": {"from": "second"}})));
    let one = eureka.one("a");
    (one["metadata"].clone(), one["lastDirtyTimestamp"].clone())
}

#[test]
fn case_025_an_older_document_changes_nothing_and_does_not_fail() {
    assert_eq!(twice(1000, 900), (json!({"from": "first", "one": "1"}), json!("1000")));
}

#[test]
fn case_026_equal_timestamps_second_wins() {
    assert_eq!(twice(1000, 1000), (json!({"from": "second"}), json!("1000")));
    assert_eq!(twice(1000, 1001), (json!({"from": "second"}), json!("1001")));
}

#[test]
fn case_027_registering_again_begins_a_lease_and_keeps_the_time_of_service() {
    let (_daemon, eureka) = start("");
    eureka.register(&versioned("a", 1000, "UP"));
    let first = eureka.one("a");
    next_millisecond();
    eureka.register(&versioned("a", 1001, "UP"));
    let second = eureka.one("a");
    let time = |one: &Value, name: &str| one["leaseInfo"][name].as_u64().expect("a number");
    assert!(
        time(&first, "registrationTimestamp") < time(&second, "registrationTimestamp"),
        "{first} {second}"
    );
    assert_eq!(time(&first, "serviceUpTimestamp"), time(&second, "serviceUpTimestamp"));
    assert_eq!(second["actionType"], "ADDED");
}

#[test]
fn the_time_of_service_begins_when_an_instance_is_first_up() {
    let (_daemon, eureka) = start("");
    eureka.register(&versioned("a", 1000, "STARTING"));
    assert_eq!(eureka.one("a")["leaseInfo"]["serviceUpTimestamp"], 0);
    let before = now_millis();
    eureka.register(&versioned("a", 1001, "UP"));
    let since = eureka.one("a")["leaseInfo"]["serviceUpTimestamp"].as_u64().expect("a number");
    assert!(before <= since + 2, "{before} {since}");
}

#[test]
fn below_api_registrations_are_refused_in_the_words_of_amalgam8() {
    let (_daemon, eureka) = start("");
    let eureka = eureka.at("/api/eureka/default/v2");
    for members in [json!({"hostName": null}), json!({"ipAddr": ""}), json!({"app": "U"})] {
        eureka.post_to("T", &with(document("T", "a"), &members)).refused(400);
    }
    eureka.send("POST apps/T", JSON, "{bad").refused(400);
    eureka.ask("GET apps/T").refused(404);
    eureka.ask("GET apps/T/a").refused(404);
    eureka.ask("GET instances/a").refused(404);

    // A document without a data center is at home.
    eureka.register(&with(document("T", "a"), &json!({"dataCenterInfo": null})));
    let one = inside(&eureka.ask("GET apps/T/a"), "instance");
    assert_eq!(one["dataCenterInfo"], json!({"@class": MY_OWN, "name": "MyOwn"}));
    assert_eq!((&one["overriddenstatus"], &one["appGroupName"]), (&json!("UNKNOWN"), &json!("UNKNOWN")));
}

#[test]
fn accept_is_judged_before_a_registration_is_taken() {
    let (daemon, eureka) = start("");
    let body = json!({"instance": document("T", "a")}).to_string();
    let plain = Eureka::of(&daemon).with("Accept: text/plain");
    plain.send("POST apps/T", JSON, body).empty(406);
    eureka.ask("GET apps/T").empty(404);
}
