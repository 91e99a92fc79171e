//! What a Eureka server says of itself (spec eureka section 1.14).
//!
//! Never: measures anything.

use std::time::Duration;

use super::{Format, json, shown::Shown, xml};
use crate::model::{Instance, Timestamp};
use crate::wire::encoded::push_string;

/// The state of this server.
#[derive(Debug, Clone, Copy)]
pub struct StatusDocument<'a> {
    /// `environment`
    pub environment: &'a str,
    /// `num-of-cpus`
    pub cpus: usize,
    /// `total-avail-memory`, in bytes; shown in whole mebibytes
    pub memory_total: u64,
    /// `current-memory-usage`, in bytes; shown in whole mebibytes and in percent
    pub memory_used: u64,
    /// `server-uptime`
    pub uptime: Duration,
    /// What else there is to say in general: names, which are XML names, and values.
    pub more: &'a [(&'a str, &'a str)],
    /// Addresses of all peers.
    pub peers: &'a [&'a str],
    /// Addresses of those that are available.
    pub available: &'a [&'a str],
    /// Addresses of those that are not.
    pub unavailable: &'a [&'a str],
    /// The server as an instance, and when its lease was last renewed.
    pub instance: Option<(&'a Instance, Timestamp)>,
    /// Whether enough peers are available; absent when nobody said how many that are.
    pub is_healthy: Option<bool>,
}

const ROOT: &str = "com.netflix.eureka.util.StatusInfo";

// === impl StatusDocument ===

impl StatusDocument<'_> {
    /// As JSON, without a member around it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut to = br#"{"generalStats":"#.to_vec();
        push_object(&mut to, &self.general());
        to.extend_from_slice(br#","applicationStats":"#);
        push_object(&mut to, &self.replicas());
        if let Some((instance, renewed)) = self.instance {
            to.extend_from_slice(br#","instanceInfo":"#);
            let _ = json::push_instance(&mut to, Format::Json, instance, renewed, None);
        }
        if let Some(is_healthy) = self.is_healthy {
            to.extend_from_slice(br#","healthy":"#);
            to.extend_from_slice(if is_healthy { b"true" } else { b"false" });
        }
        to.push(b'}');
        to
    }

    /// As XML.
    #[must_use]
    pub fn to_xml(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(2048);
        let mut writer = xml::Writer::new(&mut to, 0);
        writer.open(ROOT);
        let stats: [(&str, &[_]); 2] =
            [("generalStats", &self.general()), ("applicationStats", &self.replicas())];
        for (name, stats) in stats {
            writer.open(name);
            for (name, text) in stats {
                writer.element(name, text);
            }
            writer.close(name);
        }
        if let Some((instance, renewed)) = self.instance {
            writer.open("instanceInfo");
            let _ = xml::push_full(&mut writer, Format::Xml, &Shown::of(instance, renewed, None));
            writer.close("instanceInfo");
        }
        if let Some(is_healthy) = self.is_healthy {
            // The name is misspelt in the protocol.
            writer.element("isHeathly", if is_healthy { "true" } else { "false" });
        }
        writer.close(ROOT);
        to.truncate(to.trim_ascii_end().len());
        to
    }

    /// Names and values of what there is to say in general.
    #[must_use]
    pub fn general(&self) -> Vec<(&str, String)> {
        const MEBIBYTE: u64 = 1 << 20;
        let percent = u128::from(self.memory_used) * 100 / u128::from(self.memory_total.max(1));
        let usual = [
            ("environment", self.environment.into()),
            ("num-of-cpus", self.cpus.to_string()),
            ("total-avail-memory", format!("{}mb", self.memory_total / MEBIBYTE)),
            ("current-memory-usage", format!("{}mb ({percent}%)", self.memory_used / MEBIBYTE)),
            ("server-uptime", uptime(self.uptime)),
        ];
        let more = self.more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        usual.into_iter().chain(more).collect()
    }

    /// Names and values of what there is to say of peers.
    #[must_use]
    pub fn replicas(&self) -> [(&'static str, String); 3] {
        let each_closed = |urls: &[&str]| urls.iter().flat_map(|url| [*url, ","]).collect();
        [
            ("registered-replicas", self.peers.join(", ")),
            ("available-replicas", each_closed(self.available)),
            ("unavailable-replicas", each_closed(self.unavailable)),
        ]
    }
}

/// `HH:MM`, after `1 day ` or `N days ` from the first day on.
fn uptime(uptime: Duration) -> String {
    let minutes = uptime.as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match days {
        0 => format!("{hours:02}:{minutes:02}"),
        1 => format!("1 day {hours:02}:{minutes:02}"),
        days => format!("{days} days {hours:02}:{minutes:02}"),
    }
}

fn push_object(to: &mut Vec<u8>, members: &[(&str, String)]) {
    let mut separator = b'{';
    for (name, text) in members {
        to.push(separator);
        push_string(to, name);
        to.push(b':');
        push_string(to, text);
        separator = b',';
    }
    to.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document<'a>() -> StatusDocument<'a> {
        StatusDocument {
            environment: "test",
            cpus: 4,
            memory_total: 512 << 20,
            memory_used: 128 << 20,
            uptime: Duration::from_secs(26 * 3600 + 35 * 60 + 59),
            more: &[("self-preservation", "false")],
            peers: &["http://peer2:8761/eureka/", "http://peer3:8761/eureka/"],
            available: &["http://peer2:8761/eureka/"],
            unavailable: &["http://peer3:8761/eureka/"],
            instance: None,
            is_healthy: Some(true),
        }
    }

    #[test]
    fn the_document_in_xml() {
        let want = "\
<com.netflix.eureka.util.StatusInfo>
  <generalStats>
    <environment>test</environment>
    <num-of-cpus>4</num-of-cpus>
    <total-avail-memory>512mb</total-avail-memory>
    <current-memory-usage>128mb (25%)</current-memory-usage>
    <server-uptime>1 day 02:35</server-uptime>
    <self-preservation>false</self-preservation>
  </generalStats>
  <applicationStats>
    <registered-replicas>http://peer2:8761/eureka/, http://peer3:8761/eureka/</registered-replicas>
    <available-replicas>http://peer2:8761/eureka/,</available-replicas>
    <unavailable-replicas>http://peer3:8761/eureka/,</unavailable-replicas>
  </applicationStats>
  <isHeathly>true</isHeathly>
</com.netflix.eureka.util.StatusInfo>";
        assert_eq!(String::from_utf8(document().to_xml()).unwrap(), want);
    }

    #[test]
    fn the_document_in_json() {
        let want = r#"{"generalStats":{"environment":"test","num-of-cpus":"4","total-avail-memory":"512mb","current-memory-usage":"128mb (25%)","server-uptime":"1 day 02:35","self-preservation":"false"},"applicationStats":{"registered-replicas":"http://peer2:8761/eureka/, http://peer3:8761/eureka/","available-replicas":"http://peer2:8761/eureka/,","unavailable-replicas":"http://peer3:8761/eureka/,"}}"#;
        let document = StatusDocument { is_healthy: None, ..document() };
        assert_eq!(String::from_utf8(document.to_json()).unwrap(), want);
    }

    #[test]
    fn uptime_is_in_days_hours_and_minutes() {
        for (minutes, want) in
            [(0, "00:00"), (95, "01:35"), (1439, "23:59"), (1440, "1 day 00:00"), (2881, "2 days 00:01")]
        {
            assert_eq!(uptime(Duration::from_secs(60 * minutes)), want);
        }
    }

    #[test]
    fn the_server_itself_is_part_of_both() {
        let asked = crate::model::Registration {
            service: "eureka".parse().unwrap(),
            endpoint: crate::model::Endpoint::new(crate::model::EndpointType::Http, "h:1").unwrap(),
            status: crate::model::Status::Up,
            tags: [].into(),
            metadata: None,
            ttl: None,
            eureka: None,
        };
        let instance = asked.grant(Duration::from_secs(90), Timestamp::default());
        let document = StatusDocument { instance: Some((&instance, Timestamp::default())), ..document() };
        let json: serde_json::Value = serde_json::from_slice(&document.to_json()).unwrap();
        assert_eq!(json["instanceInfo"]["hostName"], "h");
        assert_eq!(json["healthy"], true);
        let xml = String::from_utf8(document.to_xml()).unwrap();
        assert!(xml.contains("  <instanceInfo>\n    <instanceId>"), "{xml}");
        assert!(xml.contains("    <hostName>h</hostName>\n"), "{xml}");
    }
}
