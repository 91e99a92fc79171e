//! What a Eureka client says of its instance beyond what every API knows, kept so that a Eureka reader
//! gets back what was sent (spec eureka section 2.3).
//!
//! Never: the spelling of a wire format, times of a lease, or a rule about who wins.

/// What was registered through the Eureka API. Opaque to everything but Eureka's readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The id that the client chose; see [`Document::effective_id`].
    pub instance_id: Option<Box<str>>,
    /// Name under which the instance is reached; never empty.
    pub host_name: Box<str>,
    /// Address under which the instance is reached; never empty.
    pub ip_addr: Box<str>,
    /// Group of applications, in capitals.
    pub app_group: Option<Box<str>>,
    /// A legacy id; `na` and `unknown` are not shown.
    pub sid: Option<Box<str>>,
    /// Port without TLS.
    pub port: Port,
    /// Port with TLS.
    pub secure_port: Port,
    /// Page about the instance.
    pub home_page_url: Option<Box<str>>,
    /// Page about its state.
    pub status_page_url: Option<Box<str>>,
    /// Where its health is asked for.
    pub health_check_url: Option<Box<str>>,
    /// The same with TLS.
    pub secure_health_check_url: Option<Box<str>>,
    /// Virtual addresses, separated by commas.
    pub vip_address: Option<Box<str>>,
    /// Virtual addresses with TLS, separated by commas.
    pub secure_vip_address: Option<Box<str>>,
    /// A legacy number; 1 unless said otherwise.
    pub country_id: i32,
    /// Where the instance runs.
    pub data_center: DataCenter,
    /// How often the client means to renew, in seconds; only shown.
    pub renewal_interval_secs: u32,
    /// Scaling group.
    pub asg_name: Option<Box<str>>,
    /// A status that is none of the five, as it was sent; at most 32 bytes. For Eureka's readers it is
    /// `UNKNOWN`, for Amalgam8's the text (spec amalgam8 section 14, 43).
    pub status_text: Option<Box<str>>,
}

/// A port and whether it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// The number, 0 to 65535.
    pub number: u16,
    /// Whether it serves.
    pub is_enabled: bool,
}

/// Where an instance runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataCenter {
    /// `MyOwn`, `Netflix`, `Amazon`, or a name that only the Amalgam8 routes take.
    pub name: Box<str>,
    /// What the cloud says of the instance; keys in the order of their coming, each once. For Amazon, and
    /// for names that only the Amalgam8 routes take.
    pub metadata: Box<[(Box<str>, Box<str>)]>,
}

/// About what an allocation costs beside its bytes.
pub(crate) const ALLOCATION: usize = 32;

// === impl Document ===

impl Document {
    /// A document with nothing but where the instance is; everything else as a registration without it
    /// would have it (spec eureka section 2.3).
    #[must_use]
    pub fn of_host(host_name: &str, ip_addr: &str) -> Self {
        Self {
            instance_id: None,
            host_name: host_name.into(),
            ip_addr: ip_addr.into(),
            app_group: None,
            sid: None,
            port: Port { number: 7001, is_enabled: true },
            secure_port: Port { number: 7002, is_enabled: false },
            home_page_url: None,
            status_page_url: None,
            health_check_url: None,
            secure_health_check_url: None,
            vip_address: None,
            secure_vip_address: None,
            country_id: 1,
            data_center: DataCenter::my_own(),
            renewal_interval_secs: 30,
            asg_name: None,
            status_text: None,
        }
    }

    /// The id within the application: the chosen one, that of the cloud, or the host's name
    /// (spec eureka section 3.1).
    #[must_use]
    pub fn effective_id(&self) -> &str {
        let chosen = self.instance_id.as_deref().filter(|id| !id.is_empty());
        chosen.or_else(|| self.data_center.instance_id()).unwrap_or(&self.host_name)
    }

    /// Whether one of its virtual addresses is this one, letter for letter (spec eureka section 1.13).
    #[must_use]
    pub fn has_vip(&self, vip: &str) -> bool {
        self.vip_address.as_deref().is_some_and(|list| list.split(',').any(|each| each == vip))
    }

    /// The same for addresses with TLS.
    #[must_use]
    pub fn has_secure_vip(&self, vip: &str) -> bool {
        self.secure_vip_address.as_deref().is_some_and(|list| list.split(',').any(|each| each == vip))
    }

    /// About how many bytes its texts take in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        let optional = [
            &self.instance_id,
            &self.app_group,
            &self.sid,
            &self.home_page_url,
            &self.status_page_url,
            &self.health_check_url,
            &self.secure_health_check_url,
            &self.vip_address,
            &self.secure_vip_address,
            &self.asg_name,
            &self.status_text,
        ];
        let texts = optional.into_iter().flatten().map(|text| text.len() + ALLOCATION).sum::<usize>();
        let cloud = self.data_center.metadata.iter();
        let cloud = cloud.map(|(key, value)| key.len() + value.len() + 2 * ALLOCATION).sum::<usize>();
        size_of::<Self>() + texts + cloud + self.host_name.len() + self.ip_addr.len()
    }
}

// === impl DataCenter ===

impl DataCenter {
    /// Amazon's key for the id of an instance.
    pub const INSTANCE_ID: &'static str = "instance-id";

    /// One's own.
    #[must_use]
    pub fn my_own() -> Self {
        Self { name: "MyOwn".into(), metadata: [].into() }
    }

    /// Whether it is Amazon's.
    #[must_use]
    pub fn is_amazon(&self) -> bool {
        self.name.eq_ignore_ascii_case("Amazon")
    }

    /// A value of the cloud's metadata.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(own, _)| **own == *key).map(|(_, value)| &**value)
    }

    /// The id that the cloud gave: Amazon's `instance-id`, SoftLayer's `getId` (spec amalgam8 section 7).
    fn instance_id(&self) -> Option<&str> {
        let key = match &*self.name {
            name if name.eq_ignore_ascii_case("Amazon") => Self::INSTANCE_ID,
            name if name.eq_ignore_ascii_case("SoftLayer") => "getId",
            _ => return None,
        };
        self.get(key).filter(|id| !id.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud(name: &str, key: &str, value: &str) -> DataCenter {
        DataCenter { name: name.into(), metadata: [(key.into(), value.into())].into() }
    }

    #[test]
    fn the_id_is_the_chosen_one_or_the_clouds_or_the_hosts() {
        let of = |id: Option<&str>, data_center: DataCenter| {
            let instance_id = id.map(Into::into);
            Document { instance_id, data_center, ..Document::of_host("h", "1.2.3.4") }
                .effective_id()
                .to_owned()
        };
        assert_eq!(of(None, DataCenter::my_own()), "h");
        assert_eq!(of(Some(""), DataCenter::my_own()), "h");
        assert_eq!(of(Some("x"), cloud("Amazon", "instance-id", "i-1")), "x");
        assert_eq!(of(None, cloud("Amazon", "instance-id", "i-1")), "i-1");
        assert_eq!(of(None, cloud("amazon", "instance-id", "")), "h");
        assert_eq!(of(None, cloud("SoftLayer", "getId", "987654")), "987654");
        assert_eq!(of(None, cloud("MyOwn", "instance-id", "i-1")), "h");
    }

    #[test]
    fn virtual_addresses_are_compared_whole() {
        let vip_address = Some("v1,v2, v3".into());
        let document = Document { vip_address, ..Document::of_host("h", "1.2.3.4") };
        assert!(document.has_vip("v1") && document.has_vip("v2") && document.has_vip(" v3"));
        assert!(!document.has_vip("v3") && !document.has_vip("V1") && !document.has_secure_vip("v1"));
    }
}
