//! The part of a record that a registration by the Eureka API has besides.
//!
//! Never: more than one spelling of a member; a newer build that needs another adds it to the record.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{DataCenter, Document, Port};

/// Version 1 of a document. What is absent was not said.
#[derive(Serialize, Deserialize)]
pub(super) struct DocumentRecord<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iid: Text<'a>,
    host: Cow<'a, str>,
    ip: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grp: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Text<'a>,
    port: (u16, bool),
    sport: (u16, bool),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    home: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    health: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shealth: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vip: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    svip: Text<'a>,
    country: i32,
    dc: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    dcmd: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    renew: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asg: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sttext: Text<'a>,
}

type Text<'a> = Option<Cow<'a, str>>;

// === impl DocumentRecord ===

impl<'a> DocumentRecord<'a> {
    pub(super) fn of(document: &'a Document) -> Self {
        let Document {
            instance_id,
            host_name,
            ip_addr,
            app_group,
            sid,
            port,
            secure_port,
            home_page_url,
            status_page_url,
            health_check_url,
            secure_health_check_url,
            vip_address,
            secure_vip_address,
            country_id,
            data_center: DataCenter { name, metadata },
            renewal_interval_secs,
            asg_name,
            status_text,
        } = document;
        Self {
            iid: text(instance_id),
            host: Cow::Borrowed(host_name),
            ip: Cow::Borrowed(ip_addr),
            grp: text(app_group),
            sid: text(sid),
            port: (port.number, port.is_enabled),
            sport: (secure_port.number, secure_port.is_enabled),
            home: text(home_page_url),
            page: text(status_page_url),
            health: text(health_check_url),
            shealth: text(secure_health_check_url),
            vip: text(vip_address),
            svip: text(secure_vip_address),
            country: *country_id,
            dc: Cow::Borrowed(name),
            dcmd: metadata.iter().map(|(k, v)| (Cow::Borrowed(&**k), Cow::Borrowed(&**v))).collect(),
            renew: *renewal_interval_secs,
            asg: text(asg_name),
            sttext: text(status_text),
        }
    }

    pub(super) fn into_document(self) -> Arc<Document> {
        let Self {
            iid,
            host,
            ip,
            grp,
            sid,
            port,
            sport,
            home,
            page,
            health,
            shealth,
            vip,
            svip,
            country,
            dc,
            dcmd,
            renew,
            asg,
            sttext,
        } = self;
        let metadata = dcmd.into_iter().map(|(key, value)| (boxed(key), boxed(value))).collect();
        Arc::new(Document {
            instance_id: iid.map(boxed),
            host_name: boxed(host),
            ip_addr: boxed(ip),
            app_group: grp.map(boxed),
            sid: sid.map(boxed),
            port: port_of(port),
            secure_port: port_of(sport),
            home_page_url: home.map(boxed),
            status_page_url: page.map(boxed),
            health_check_url: health.map(boxed),
            secure_health_check_url: shealth.map(boxed),
            vip_address: vip.map(boxed),
            secure_vip_address: svip.map(boxed),
            country_id: country,
            data_center: DataCenter { name: boxed(dc), metadata },
            renewal_interval_secs: renew,
            asg_name: asg.map(boxed),
            status_text: sttext.map(boxed),
        })
    }
}

fn text(text: &Option<Box<str>>) -> Text<'_> {
    text.as_deref().map(Cow::Borrowed)
}

fn boxed(text: Cow<'_, str>) -> Box<str> {
    text.into_owned().into()
}

fn port_of((number, is_enabled): (u16, bool)) -> Port {
    Port { number, is_enabled }
}
