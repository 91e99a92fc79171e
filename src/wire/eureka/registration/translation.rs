//! What a body becomes in the model (spec eureka sections 1.6 and 2.3, spec amalgam8 section 7).
//!
//! Never: reads a notation.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::{DataCenterBody, Dialect, Number, PortBody, Refused, RegistrationBody};
use crate::model::{
    DataCenter, Document, Endpoint, EndpointType, EurekaClaim, Metadata, Port, Registration, Status,
};
use crate::wire::encoded::push_string;
use crate::wire::eureka::metadata::TAGS;
use crate::wire::lenient::excerpt;

/// Longest status of one's own (spec amalgam8 section 7).
const STATUS_MAX: usize = 32;

/// Lease of who asks for none (spec eureka section 2.7).
const LEASE_DEFAULT: Duration = Duration::from_secs(90);

/// Interval of who says none (spec eureka section 2.7).
const RENEWAL_DEFAULT: u32 = 30;

const PORT: Port = Port { number: 7001, is_enabled: true };
const SECURE_PORT: Port = Port { number: 7002, is_enabled: false };
const NO_PORT: Port = Port { number: 0, is_enabled: false };

/// What everything else is built on: present, and not empty.
struct Required {
    host_name: Box<str>,
    ip_addr: Box<str>,
    app: Box<str>,
    data_center: DataCenter,
}

impl RegistrationBody {
    /// The registration, when it follows the rules. `application` is the one in the path, `metadata_max` the
    /// most bytes that its metadata may have as JSON.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn into_registration(
        mut self,
        application: &str,
        dialect: Dialect,
        metadata_max: usize,
    ) -> Result<Registration, Refused> {
        let Required { host_name, ip_addr, app, data_center } = match dialect {
            Dialect::Netflix => self.required_by_netflix(application)?,
            Dialect::Amalgam8 => self.required_by_amalgam8(application)?,
        };
        let (status, status_text) = status(self.status.take(), dialect)?;
        let [port, secure_port] = ports(self.port, self.secure_port, dialect);
        let endpoint = endpoint(&host_name, port, secure_port)?;
        let tags = tags(self.metadata.as_deref().unwrap_or_default());
        let metadata = metadata(self.metadata.as_deref(), dialect, metadata_max)?;
        let overridden = self.overridden.as_deref().and_then(|word| Status::from_eureka(word.trim()));
        let ttl = self.duration_secs.and_then(|secs| u64::try_from(secs).ok()).filter(|secs| 0 < *secs);
        let interval = self.renewal_interval_secs.filter(|secs| 0 < *secs);
        let mut document = Document {
            instance_id: self.instance_id.filter(|id| !id.is_empty()),
            host_name,
            ip_addr,
            app_group: self.app_group.map(|group| group.to_uppercase().into()),
            sid: self.sid,
            port,
            secure_port,
            home_page_url: self.home_page_url,
            status_page_url: self.status_page_url,
            health_check_url: self.health_check_url,
            secure_health_check_url: self.secure_health_check_url,
            vip_address: self.vip_address,
            secure_vip_address: self.secure_vip_address,
            country_id: self.country_id.and_then(|id| i32::try_from(id).ok()).unwrap_or(1),
            data_center,
            renewal_interval_secs: interval
                .map_or(RENEWAL_DEFAULT, |secs| u32::try_from(secs).unwrap_or(u32::MAX)),
            asg_name: self.asg_name,
            status_text,
        };
        name_in_cloud(&mut document);
        Ok(Registration {
            service: app.parse()?,
            endpoint,
            status,
            tags,
            metadata,
            ttl: Some(ttl.map_or(LEASE_DEFAULT, Duration::from_secs)),
            eureka: Some(EurekaClaim {
                document,
                dirty_at: self.dirty_at,
                overridden: overridden.filter(|status| *status != Status::Unknown),
            }),
        })
    }

    /// In the order of Netflix' server, which does not read a body with an unknown data center.
    fn required_by_netflix(&mut self, application: &str) -> Result<Required, Refused> {
        let data_center = match self.data_center.take() {
            None => Err(Refused::MissingDataCenterInfo),
            Some(body) => match netflix_data_center(body)? {
                Some(data_center) => Ok(data_center),
                None => Err(Refused::MissingDataCenterName),
            },
        };
        let host_name = filled(self.host_name.take());
        let has_own_id = self.instance_id.as_deref().is_some_and(|id| !id.is_empty());
        let in_cloud = data_center.as_ref().ok().filter(|data_center| data_center.is_amazon());
        let in_cloud = in_cloud.and_then(|data_center| data_center.get(DataCenter::INSTANCE_ID));
        if !has_own_id && host_name.is_none() && in_cloud.is_none_or(str::is_empty) {
            return Err(Refused::MissingInstanceId);
        }
        let host_name = host_name.ok_or(Refused::MissingHostname)?;
        let ip_addr = filled(self.ip_addr.take()).ok_or(Refused::MissingIpAddress)?;
        let app = filled(self.app.take()).ok_or(Refused::MissingAppName)?;
        if !app.eq_ignore_ascii_case(application) {
            return Err(Refused::MismatchedAppName {
                expected: application.to_ascii_uppercase().into(),
                got: app.to_ascii_uppercase().into(),
            });
        }
        Ok(Required { host_name, ip_addr, app, data_center: data_center? })
    }

    fn required_by_amalgam8(&mut self, application: &str) -> Result<Required, Refused> {
        let app = self.app.take().unwrap_or_else(|| application.into());
        let host_name = filled(self.host_name.take()).ok_or(Refused::MissingFields)?;
        let app = filled(Some(app)).ok_or(Refused::MissingFields)?;
        let ip_addr = filled(self.ip_addr.take()).ok_or(Refused::MissingFields)?;
        if !app.eq_ignore_ascii_case(application) {
            return Err(Refused::NameMismatch);
        }
        let DataCenterBody { name, metadata } = self.data_center.take().unwrap_or_default();
        let data_center = match filled(name) {
            None => DataCenter::my_own(),
            Some(name) => {
                let has_own_id = self.instance_id.as_deref().is_some_and(|id| !id.is_empty());
                let is_known = ["Amazon", "SoftLayer", "MyOwn", "Netflix"]
                    .into_iter()
                    .any(|known| name.eq_ignore_ascii_case(known));
                if !has_own_id && !is_known {
                    return Err(Refused::UnknownDataCenter { got: excerpt(&name).into() });
                }
                DataCenter { name, metadata: metadata.into() }
            }
        };
        Ok(Required { host_name, ip_addr, app, data_center })
    }
}

fn filled(text: Option<Box<str>>) -> Option<Box<str>> {
    text.filter(|text| !text.is_empty())
}

/// One of three; none without a name. Only Amazon's says more.
fn netflix_data_center(body: DataCenterBody) -> Result<Option<DataCenter>, Refused> {
    let DataCenterBody { name, metadata } = body;
    let Some(name) = filled(name) else { return Ok(None) };
    match &*name {
        "MyOwn" | "Netflix" => Ok(Some(DataCenter { name, metadata: [].into() })),
        amazon if amazon.eq_ignore_ascii_case("Amazon") => {
            Ok(Some(DataCenter { name: "Amazon".into(), metadata: metadata.into() }))
        }
        other => Err(Refused::UnknownDataCenter { got: excerpt(other).into() }),
    }
}

/// Readers expect Amazon's instances to say their id (spec eureka section 1.6).
fn name_in_cloud(document: &mut Document) {
    let key = DataCenter::INSTANCE_ID;
    if document.data_center.is_amazon() && document.data_center.get(key).is_none_or(str::is_empty) {
        let id: Box<str> = document.effective_id().into();
        let mut metadata = std::mem::take(&mut document.data_center.metadata).into_vec();
        metadata.retain(|(own, _)| **own != *key);
        metadata.insert(0, (key.into(), id));
        document.data_center.metadata = metadata.into();
    }
}

/// The status, and the word when it is one of the client's own. A word that is too long for one is not
/// refused by Netflix' server, which knows no such words.
fn status(word: Option<Box<str>>, dialect: Dialect) -> Result<(Status, Option<Box<str>>), Refused> {
    let Some(word) = word else { return Ok((Status::Up, None)) };
    match (Status::from_eureka(word.trim()), dialect) {
        (Some(status), _) => Ok((status, None)),
        (None, Dialect::Amalgam8) if word.is_empty() => Ok((Status::Up, None)),
        (None, Dialect::Amalgam8) if STATUS_MAX < word.len() => {
            Err(Refused::StatusTooLong { got: word.len(), max: STATUS_MAX })
        }
        (None, _) => {
            let is_kept = (1..=STATUS_MAX).contains(&word.len());
            Ok((Status::Unknown, is_kept.then_some(word)))
        }
    }
}

/// Without any word about them, ports are those of Netflix' server, but below `/api/eureka/` there are none.
fn ports(port: Option<PortBody>, secure_port: Option<PortBody>, dialect: Dialect) -> [Port; 2] {
    let granted = |body: Option<PortBody>, default: Port| match (body, dialect) {
        (None, Dialect::Netflix) => default,
        (None, Dialect::Amalgam8) => NO_PORT,
        (Some(PortBody { number, is_enabled }), _) => {
            let is_enabled = is_enabled.unwrap_or(dialect == Dialect::Netflix && default.is_enabled);
            match (number, dialect) {
                (Number::Of(number), _) => Port { number, is_enabled },
                (Number::Absent, Dialect::Netflix) => Port { number: default.number, is_enabled },
                (Number::Absent, Dialect::Amalgam8) | (Number::Impossible, _) => NO_PORT,
            }
        }
    };
    [granted(port, PORT), granted(secure_port, SECURE_PORT)]
}

fn endpoint(host: &str, port: Port, secure_port: Port) -> Result<Endpoint, Refused> {
    let with = |number: u16| match host.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{host}]:{number}"),
        Err(_) => format!("{host}:{number}"),
    };
    Ok(match (secure_port.is_enabled, port.is_enabled) {
        (true, _) => Endpoint::new(EndpointType::Https, &with(secure_port.number)),
        (false, true) => Endpoint::new(EndpointType::Tcp, &with(port.number)),
        (false, false) => Endpoint::new(EndpointType::Tcp, host),
    }?)
}

/// Those in the metadata, between commas or semicolons; an empty text has none.
fn tags(metadata: &[(Box<str>, Box<str>)]) -> Box<[Box<str>]> {
    let text = metadata.iter().find(|(name, _)| **name == *TAGS).map(|(_, text)| &**text);
    match text {
        None | Some("") => [].into(),
        Some(text) => text.split([';', ',']).map(|tag| tag.trim().into()).collect(),
    }
}

/// An object of texts. Netflix' clients have no word for the difference between none and an empty one.
fn metadata(
    entries: Option<&[(Box<str>, Box<str>)]>,
    dialect: Dialect,
    max: usize,
) -> Result<Option<Metadata>, Refused> {
    match (entries, dialect) {
        (None, _) | (Some([]), Dialect::Netflix) => Ok(None),
        (Some(entries), _) => Ok(Some(Metadata::from_json(&object_of(entries), max)?)),
    }
}

fn object_of(entries: &[(Box<str>, Box<str>)]) -> String {
    let mut json = Vec::with_capacity(64);
    json.push(b'{');
    for (nth, (name, text)) in entries.iter().enumerate() {
        if nth != 0 {
            json.push(b',');
        }
        push_string(&mut json, name);
        json.push(b':');
        push_string(&mut json, text);
    }
    json.push(b'}');
    String::from_utf8_lossy(&json).into_owned()
}
