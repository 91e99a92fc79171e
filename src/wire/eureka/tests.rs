//! Instances and lists as they are written, byte for byte.

use super::registration::{Dialect, RegistrationBody};
use super::*;
use crate::model::{Metadata, Registration};
use crate::wire::amalgam8;

const T: u64 = 1_750_000_000_100;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn granted(asked: Registration) -> Instance {
    let ttl = asked.ttl.unwrap_or(std::time::Duration::from_secs(30));
    let instance = asked.grant(ttl, at(T));
    Instance { up_since: (instance.status == Status::Up).then(|| at(T)), ..instance }
}

/// An instance that came by the Eureka API; `dialect` decides what is missing.
fn eureka(json: &str, dialect: Dialect) -> Instance {
    let body = RegistrationBody::from_json(json.as_bytes(), dialect).unwrap();
    let application = body.application().unwrap().to_owned();
    granted(body.into_registration(&application, dialect, 4096).unwrap())
}

fn native(json: &str) -> Instance {
    let body = amalgam8::RegistrationBody::from_json(json.as_bytes()).unwrap();
    granted(Registration::try_from(body).unwrap())
}

fn written(format: Format, instance: &Instance) -> String {
    let mut to = Vec::new();
    let _ = format.push_instance(&mut to, instance, at(1_750_000_120_100), None);
    String::from_utf8(to).unwrap()
}

const PAYMENTS: &str = r#"{"instance":{"instanceId":"pay-1.shop.test:payments:9001","hostName":"pay-1.shop.test","app":"payments","ipAddr":"10.20.0.11","port":{"$":9001,"@enabled":"true"},"securePort":{"$":443,"@enabled":"false"},"dataCenterInfo":{"name":"MyOwn"},"metadata":{"zone":"blue","management.port":"9001"},"homePageUrl":"http://pay-1.shop.test:9001/","statusPageUrl":"http://pay-1.shop.test:9001/actuator/info","healthCheckUrl":"http://pay-1.shop.test:9001/actuator/health","vipAddress":"payments","secureVipAddress":"payments","lastDirtyTimestamp":"1750000000042"}}"#;

const REPORTS: &str = r#"{"instance":{"instanceId":"rep-7","hostName":"rep-7.shop.test","app":"REPORTS","ipAddr":"10.20.0.37","status":"DOWN","port":{"$":8080,"@enabled":"true"},"securePort":{"$":443,"@enabled":"false"},"dataCenterInfo":{"name":"MyOwn"},"vipAddress":"reports","lastDirtyTimestamp":1750000049990}}"#;

const AMAZON: &str = r#"{"instance":{"hostName":"ip-10-20-0-13","app":"PAYMENTS","ipAddr":"10.20.0.13","sid":"s-1","port":{"$":9001,"@enabled":"true"},"securePort":{"$":9443,"@enabled":"true"},"dataCenterInfo":{"name":"Amazon","metadata":{"instance-id":"i-0123abcd","ami-id":"ami-42","availability-zone":"us-east-1c","local-ipv4":"10.20.0.13"}},"appGroupName":"shop","homePageUrl":"http://ip-10-20-0-13:9001/","vipAddress":"payments","lastDirtyTimestamp":"1750000299000","asgName":"payments-v012"}}"#;

#[test]
fn full_json_is_that_of_the_protocol() {
    let want = r#"{"instanceId":"pay-1.shop.test:payments:9001","hostName":"pay-1.shop.test","app":"PAYMENTS","ipAddr":"10.20.0.11","status":"UP","overriddenStatus":"UNKNOWN","port":{"$":9001,"@enabled":"true"},"securePort":{"$":443,"@enabled":"false"},"countryId":1,"dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},"leaseInfo":{"renewalIntervalInSecs":30,"durationInSecs":90,"registrationTimestamp":1750000000100,"lastRenewalTimestamp":1750000120100,"evictionTimestamp":0,"serviceUpTimestamp":1750000000100},"metadata":{"zone":"blue","management.port":"9001"},"homePageUrl":"http://pay-1.shop.test:9001/","statusPageUrl":"http://pay-1.shop.test:9001/actuator/info","healthCheckUrl":"http://pay-1.shop.test:9001/actuator/health","vipAddress":"payments","secureVipAddress":"payments","isCoordinatingDiscoveryServer":"false","lastUpdatedTimestamp":"1750000000100","lastDirtyTimestamp":"1750000000042","actionType":"ADDED"}"#;
    let instance = eureka(PAYMENTS, Dialect::Netflix);
    assert_eq!(written(Format::Json, &instance), want);
    let document = Format::Json.instance_document(&instance, at(1_750_000_120_100));
    assert_eq!(String::from_utf8(document).unwrap(), format!(r#"{{"instance":{want}}}"#));

    let want = r#"{"instanceId":"rep-7","hostName":"rep-7.shop.test","app":"REPORTS","ipAddr":"10.20.0.37","status":"DOWN","overriddenStatus":"UNKNOWN","port":{"$":8080,"@enabled":"true"},"securePort":{"$":443,"@enabled":"false"},"countryId":1,"dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},"leaseInfo":{"renewalIntervalInSecs":30,"durationInSecs":90,"registrationTimestamp":1750000000100,"lastRenewalTimestamp":1750000050000,"evictionTimestamp":1750000190000,"serviceUpTimestamp":0},"metadata":{"@class":"java.util.Collections$EmptyMap"},"vipAddress":"reports","isCoordinatingDiscoveryServer":"false","lastUpdatedTimestamp":"1750000190000","lastDirtyTimestamp":"1750000049990","actionType":"DELETED"}"#;
    let mut to = b"before".to_vec();
    let gone = Some(at(1_750_000_190_000));
    let instance = eureka(REPORTS, Dialect::Netflix);
    let place = Format::Json.push_instance(&mut to, &instance, at(1_750_000_050_000), gone).unwrap();
    assert_eq!(to.get(place..place + 13), Some(&b"1750000050000"[..]));
    assert_eq!(String::from_utf8(to).unwrap(), format!("before{want}"));
}

#[test]
fn changed_instances_say_so() {
    let instance = Instance {
        status: Status::OutOfService,
        overridden: Some(Status::OutOfService),
        action: crate::model::Action::Modified,
        updated_at: at(1_750_000_200_000),
        ..eureka(PAYMENTS, Dialect::Netflix)
    };
    let json = written(Format::Json, &instance);
    for part in [
        r#""status":"OUT_OF_SERVICE","overriddenStatus":"OUT_OF_SERVICE","port""#,
        r#""lastUpdatedTimestamp":"1750000200000","lastDirtyTimestamp":"1750000000042","actionType":"MODIFIED""#,
    ] {
        assert!(json.contains(part), "{part} {json}");
    }
    let below_api = written(Format::JsonAmalgam8, &instance);
    assert!(
        below_api.contains(r#""overriddenStatus":"OUT_OF_SERVICE","overriddenstatus":"OUT_OF_SERVICE","#),
        "{below_api}"
    );
    assert!(below_api.contains(r#""appGroupName":"UNKNOWN","#), "{below_api}");
    assert!(written(Format::Xml, &instance).contains("<status>OUT_OF_SERVICE</status>"));
    assert!(written(Format::XmlVersion1, &instance).contains("<status>DOWN</status>"));
}

#[test]
fn compact_json_is_that_of_the_protocol() {
    let want = r#"{"instanceId":"pay-1.shop.test:payments:9001","app":"PAYMENTS","ipAddr":"10.20.0.11","vipAddress":"payments","secureVipAddress":"payments","dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},"hostName":"pay-1.shop.test","status":"UP","lastUpdatedTimestamp":1750000000100,"actionType":"ADDED","port":{"$":9001,"@enabled":"true"},"securePort":{"$":443,"@enabled":"false"}}"#;
    assert_eq!(written(Format::JsonCompact, &eureka(PAYMENTS, Dialect::Netflix)), want);
    let amazon = written(Format::JsonCompact, &eureka(AMAZON, Dialect::Netflix));
    let cloud = r#""dataCenterInfo":{"@class":"com.netflix.appinfo.AmazonInfo","name":"Amazon","metadata":{"instance-id":"i-0123abcd","availability-zone":"us-east-1c","local-ipv4":"10.20.0.13"}},"#;
    assert!(amazon.contains(cloud), "{amazon}");
    assert!(amazon.contains(r#""actionType":"ADDED","asgName":"payments-v012","port""#), "{amazon}");
}

#[test]
fn full_xml_is_that_of_the_protocol() {
    let want = r#"<applications>
  <versions__delta>1</versions__delta>
  <apps__hashcode>UP_1_</apps__hashcode>
  <application>
    <name>PAYMENTS</name>
    <instance>
      <hostName>ip-10-20-0-13</hostName>
      <app>PAYMENTS</app>
      <ipAddr>10.20.0.13</ipAddr>
      <sid>s-1</sid>
      <status>UP</status>
      <overriddenstatus>UNKNOWN</overriddenstatus>
      <port enabled="true">9001</port>
      <securePort enabled="true">9443</securePort>
      <countryId>1</countryId>
      <dataCenterInfo class="com.netflix.appinfo.AmazonInfo">
        <name>Amazon</name>
        <metadata>
          <instance-id>i-0123abcd</instance-id>
          <ami-id>ami-42</ami-id>
          <availability-zone>us-east-1c</availability-zone>
          <local-ipv4>10.20.0.13</local-ipv4>
        </metadata>
      </dataCenterInfo>
      <leaseInfo>
        <renewalIntervalInSecs>30</renewalIntervalInSecs>
        <durationInSecs>90</durationInSecs>
        <registrationTimestamp>1750000000100</registrationTimestamp>
        <lastRenewalTimestamp>1750000300000</lastRenewalTimestamp>
        <evictionTimestamp>0</evictionTimestamp>
        <serviceUpTimestamp>1750000000100</serviceUpTimestamp>
      </leaseInfo>
      <metadata class="java.util.Collections$EmptyMap"/>
      <appGroupName>SHOP</appGroupName>
      <homePageUrl>http://ip-10-20-0-13:9001/</homePageUrl>
      <vipAddress>payments</vipAddress>
      <isCoordinatingDiscoveryServer>false</isCoordinatingDiscoveryServer>
      <lastUpdatedTimestamp>1750000000100</lastUpdatedTimestamp>
      <lastDirtyTimestamp>1750000299000</lastDirtyTimestamp>
      <actionType>ADDED</actionType>
      <asgName>payments-v012</asgName>
    </instance>
  </application>
</applications>"#;
    let head = ListHead { version: 1, hash: hash_code(&[1, 0, 0, 0, 0]), is_empty: false };
    let mut to = Format::Xml.open_list(&head);
    Format::Xml.open_application(&mut to, "PAYMENTS");
    let amazon = eureka(AMAZON, Dialect::Netflix);
    let place = Format::Xml.push_instance(&mut to, &amazon, at(1_750_000_300_000), None).unwrap();
    assert_eq!(to.get(place..place + 13), Some(&b"1750000300000"[..]));
    to.extend_from_slice(Format::Xml.close_application().as_bytes());
    to.extend(Format::Xml.close_list(&head));
    assert_eq!(String::from_utf8(to).unwrap(), want);
}

#[test]
fn single_documents_begin_at_the_margin() {
    let instance = eureka(REPORTS, Dialect::Netflix);
    let xml = String::from_utf8(Format::XmlCompact.instance_document(&instance, at(T))).unwrap();
    assert!(xml.starts_with("<instance>\n  <instanceId>rep-7</instanceId>\n  <hostName>"), "{xml}");
    assert!(xml.contains("\n  <leaseInfo>\n    <renewalIntervalInSecs>"), "{xml}");
    assert!(xml.ends_with("\n  <actionType>ADDED</actionType>\n</instance>"), "{xml}");
    let open = String::from_utf8(Format::Xml.open_application_document("A&B")).unwrap();
    assert_eq!(open, "<application>\n  <name>A&amp;B</name>\n");
    assert_eq!(Format::Xml.close_application_document(), "</application>");
}

#[test]
fn compact_xml_is_one_line() {
    let want = r#"<instance><instanceId>rep-7</instanceId><app>REPORTS</app><ipAddr>10.20.0.37</ipAddr><vipAddress>reports</vipAddress><dataCenterInfo class="com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"><name>MyOwn</name></dataCenterInfo><hostName>rep-7.shop.test</hostName><status>DOWN</status><lastUpdatedTimestamp>1750000000100</lastUpdatedTimestamp><actionType>ADDED</actionType><port enabled="true">8080</port><securePort enabled="false">443</securePort></instance>"#;
    assert_eq!(written(Format::XmlCompact, &eureka(REPORTS, Dialect::Netflix)), want);
}

#[test]
fn lists_are_objects_around_applications() {
    let list = |format: Format, head: &ListHead, names: &[&str]| {
        let mut to = format.open_list(head);
        for (nth, name) in names.iter().enumerate() {
            if nth != 0 {
                to.extend_from_slice(format.between_applications().as_bytes());
            }
            format.open_application(&mut to, name);
            to.extend_from_slice(format.close_application().as_bytes());
        }
        to.extend(format.close_list(head));
        String::from_utf8(to).unwrap()
    };
    let empty = ListHead { version: 1, hash: String::new(), is_empty: true };
    let full = ListHead { version: -1, hash: "UP_1_".into(), is_empty: false };
    for (format, head, names, want) in [
        (
            Format::Json,
            &empty,
            &[][..],
            r#"{"applications":{"versions__delta":"1","apps__hashcode":"","application":[]}}"#,
        ),
        (
            Format::JsonAmalgam8,
            &full,
            &["A", "B\""],
            r#"{"applications":{"versions__delta":"-1","apps__hashcode":"UP_1_","application":[{"name":"A","instance":[]},{"name":"B\"","instance":[]}]}}"#,
        ),
        (
            Format::JsonCompact,
            &empty,
            &[],
            r#"{"applications":{"application":[],"registeredApplicationsEmpty":true,"versions__delta":"1","apps__hashcode":""}}"#,
        ),
        (
            Format::JsonCompact,
            &full,
            &["A"],
            r#"{"applications":{"application":[{"name":"A","instance":[]}],"registeredApplicationsEmpty":false,"versions__delta":"-1","apps__hashcode":"UP_1_"}}"#,
        ),
        (
            Format::Xml,
            &empty,
            &[],
            "<applications>\n  <versions__delta>1</versions__delta>\n  <apps__hashcode></apps__hashcode>\n</applications>",
        ),
        (
            Format::XmlCompact,
            &full,
            &["A"],
            "<applications><application><name>A</name></application><registeredApplicationsEmpty>false</registeredApplicationsEmpty><versions__delta>-1</versions__delta><apps__hashcode>UP_1_</apps__hashcode></applications>",
        ),
    ] {
        assert_eq!(list(format, head, names), want, "{format:?}");
    }
    let open = String::from_utf8(Format::JsonCompact.open_application_document("A")).unwrap();
    assert_eq!(
        open + Format::JsonCompact.close_application_document(),
        r#"{"application":{"name":"A","instance":[]}}"#
    );
}

#[test]
fn instances_of_the_amalgam8_api_are_instances_of_eureka() {
    let instance = native(
        r#"{"service_name":"shop","endpoint":{"type":"http","value":"http://url.example:81/path"},"tags":["v1","x"],"metadata":{"k":5},"ttl":30}"#,
    );
    let id = &instance.id;
    let want = format!(
        r#"{{"instanceId":"{id}","hostName":"url.example","app":"shop","ipAddr":"url.example","status":"UP","overriddenStatus":"UNKNOWN","port":{{"$":81,"@enabled":"true"}},"securePort":{{"$":443,"@enabled":"false"}},"countryId":1,"dataCenterInfo":{{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"}},"leaseInfo":{{"renewalIntervalInSecs":10,"durationInSecs":30,"registrationTimestamp":1750000000100,"lastRenewalTimestamp":1750000120100,"evictionTimestamp":0,"serviceUpTimestamp":1750000000100}},"metadata":{{"k":"5","amalgam8.tags":"v1,x"}},"appGroupName":"UNKNOWN","homePageUrl":"http://url.example:81/path","vipAddress":"shop","isCoordinatingDiscoveryServer":"false","lastUpdatedTimestamp":"1750000000100","lastDirtyTimestamp":"1750000000100","actionType":"ADDED"}}"#
    );
    assert_eq!(written(Format::Json, &instance), want);
    let secure = native(r#"{"service_name":"safe","endpoint":{"type":"https","value":"safe.example:443"}}"#);
    let json = written(Format::Json, &secure);
    for part in [
        r#""hostName":"safe.example""#,
        r#""port":{"$":0,"@enabled":"false"},"securePort":{"$":443,"@enabled":"true"}"#,
        r#""vipAddress":"safe","secureVipAddress":"safe""#,
        r#""metadata":{"@class":"java.util.Collections$EmptyMap"}"#,
    ] {
        assert!(json.contains(part), "{part} {json}");
    }
    assert!(secure.has_vip("safe") && secure.has_secure_vip("safe") && !secure.has_vip("SAFE"));
    assert!(instance.has_vip("shop") && !instance.has_secure_vip("shop"));
}

#[test]
fn metadata_is_texts_by_name_in_every_format() {
    for (metadata, json, xml) in [
        (r#"{"a":"1","b":""}"#, r#"{"a":"1","b":""}"#, "<a>1</a>\n<b></b>"),
        (r#"{"":"x"}"#, r#"{"":"x"}"#, ""),
        (r#"{"a":null,"@class":"x"}"#, r#"{"@class":"java.util.Collections$EmptyMap"}"#, ""),
        (r#"{"a":[1],"b":true}"#, r#"{"a":"[1]","b":"true"}"#, "<a>[1]</a>\n<b>true</b>"),
        ("7", r#"{"value":"7"}"#, "<value>7</value>"),
        (
            r#"{"my_key":"1","a$b":"2","a b":"3","1x":"4","x/y":"5"}"#,
            r#"{"my_key":"1","a$b":"2","a b":"3","1x":"4","x/y":"5"}"#,
            "<my__key>1</my__key>\n<a_-b>2</a_-b>\n<a_.0020b>3</a_.0020b>\n<_.0031x>4</_.0031x>\n<x_.002fy>5</x_.002fy>",
        ),
        (
            r#"{"t":"<&>\"'\r\n\t\u0001\uffff é"}"#,
            r#"{"t":"<&>\"'\r\n\t\u0001\uffff é"}"#,
            "<t>&lt;&amp;&gt;&quot;&apos;&#xd;\n\t\u{fffd}\u{fffd} é</t>",
        ),
    ] {
        let metadata = Some(Metadata::from_json(metadata, 4096).unwrap());
        let instance =
            Instance { metadata, ..native(r#"{"service_name":"s","endpoint":{"type":"tcp","value":"h"}}"#) };
        let text = written(Format::Json, &instance);
        assert!(text.contains(&format!(r#""metadata":{json},"appGroupName""#)), "{text}");
        let text = written(Format::Xml, &instance);
        let want = match xml {
            "" => "      <metadata class=\"java.util.Collections$EmptyMap\"/>\n".to_owned(),
            _ => {
                let mut to = "      <metadata>\n".to_owned();
                for (nth, line) in xml.split('\n').enumerate() {
                    let is_entry = line.starts_with('<');
                    to += if is_entry {
                        "        "
                    } else if nth != 0 {
                        ""
                    } else {
                        "        "
                    };
                    to += line;
                    to += "\n";
                }
                to + "      </metadata>\n"
            }
        };
        assert!(text.contains(&want), "{want}\n{text}");
    }
}

#[test]
fn names_of_data_centers_are_kept_below_api_only() {
    for (given, kept, shown) in [
        (
            r#"{"name":"Azure","metadata":{"zone":"1"}}"#,
            r#"{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"Azure","metadata":{"zone":"1"}}"#,
            r#"{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"}"#,
        ),
        (
            r#"{"name":"netflix"}"#,
            r#"{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"netflix"}"#,
            r#"{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"Netflix"}"#,
        ),
        (
            r#"{"name":"amazon","metadata":{"instance-id":"i-1"}}"#,
            r#"{"@class":"com.netflix.appinfo.AmazonInfo","name":"amazon","metadata":{"instance-id":"i-1"}}"#,
            r#"{"@class":"com.netflix.appinfo.AmazonInfo","name":"Amazon","metadata":{"instance-id":"i-1"}}"#,
        ),
    ] {
        let instance = eureka(
            &format!(
                r#"{{"instance":{{"instanceId":"i","hostName":"h","app":"a","ipAddr":"1.1.1.1","dataCenterInfo":{given}}}}}"#
            ),
            Dialect::Amalgam8,
        );
        for (format, want) in [(Format::JsonAmalgam8, kept), (Format::Json, shown)] {
            let json = written(format, &instance);
            assert!(json.contains(&format!(r#""dataCenterInfo":{want},"leaseInfo""#)), "{json}");
        }
    }
}

#[test]
fn the_place_of_the_renewal_is_known_when_it_has_13_digits() {
    let instance = native(r#"{"service_name":"s","endpoint":{"type":"tcp","value":"h"}}"#);
    for (format, renewed, has_place) in [
        (Format::Json, T, true),
        (Format::JsonAmalgam8, T, true),
        (Format::Xml, T, true),
        (Format::XmlVersion1, T, true),
        (Format::JsonCompact, T, false),
        (Format::XmlCompact, T, false),
        (Format::Json, 999_999_999_999, false),
        (Format::Xml, 10_000_000_000_000, false),
        (Format::Xml, 0, false),
    ] {
        let mut to = b"x".to_vec();
        let place = format.push_instance(&mut to, &instance, at(renewed), None);
        assert_eq!(place.is_some(), has_place, "{format:?} {renewed}");
        if let Some(place) = place {
            assert_eq!(to.get(place..place + 13), Some(renewed.to_string().as_bytes()));
        }
    }
}

#[test]
fn every_text_comes_back_from_json_and_xml() {
    const HOSTILE: &str = "a\u{1f600}<]]>&amp;\"'\\ \t\n\r\u{7f}\u{85}\u{2028}é_$";
    let mut json = Vec::new();
    crate::wire::encoded::push_string(&mut json, HOSTILE);
    let text = String::from_utf8(json).unwrap();
    let body = format!(
        r#"{{"instance":{{"instanceId":{text},"hostName":"h","app":"a&b","ipAddr":{text},"sid":{text},"vipAddress":{text},"asgName":{text},"homePageUrl":{text},"dataCenterInfo":{{"name":"Amazon","metadata":{{{text}:{text},"instance-id":"i"}}}},"metadata":{{{text}:{text}}}}}}}"#
    );
    let instance = eureka(&body, Dialect::Netflix);
    let want = instance.document.as_deref().unwrap();
    for format in [Format::Json, Format::Xml] {
        let document = format.instance_document(&instance, at(T));
        let body = match format {
            Format::Xml => RegistrationBody::from_xml(&document),
            _ => RegistrationBody::from_json(&document, Dialect::Netflix),
        };
        let back = body.unwrap().into_registration("A&B", Dialect::Netflix, 4096).unwrap();
        assert_eq!(back.metadata, instance.metadata, "{format:?}");
        assert_eq!(back.eureka.unwrap().document, *want, "{format:?}");
    }
}
