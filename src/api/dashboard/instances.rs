//! The instances of a namespace as tables, one for each application.
//!
//! Never: a column that depends on what a client sent.

use std::time::Duration;

use serde_json::{Map, Value};

use super::View;
use super::html::Html;
use super::lengths::length;
use super::survey::{Application, Survey, Tally, ZONE};
use crate::model::{Document, Foreign, Instance, Metadata, Port, Status, Timestamp};

/// From this length on, instances are counted instead of shown. One of them is at most a body of a
/// registration, in which each byte can take six.
const BYTES_MAX: usize = 3 << 19;

/// From this length on, nothing more is listed.
pub(super) const LISTED_MAX: usize = 15 << 17;

const TABLE: &str = "<table class=\"instances\" role=\"table\"><thead role=\"rowgroup\"><tr role=\"row\">\
    <th scope=\"col\" role=\"columnheader\">Instance</th><th scope=\"col\" role=\"columnheader\">Status</th>\
    <th scope=\"col\" role=\"columnheader\">Last heartbeat</th>\
    <th scope=\"col\" role=\"columnheader\">Virtual address</th>\
    <th scope=\"col\" role=\"columnheader\">Zone and tags</th>\
    <th scope=\"col\" role=\"columnheader\">More</th></tr></thead><tbody role=\"rowgroup\">";
const TABLE_END: &str = "</tbody></table>";
const CELL: &str = "<td role=\"cell\">";
const CELL_END: &str = "</td>";

/// All that the survey found.
pub(super) fn write(html: &mut Html, view: &View, survey: &Survey) {
    let (mut shown, mut listed) = (0, 0);
    for application in &survey.applications {
        if LISTED_MAX <= html.len() {
            break;
        }
        shown += write_application(html, view, application);
        listed += 1;
    }
    let hidden = survey.applications_found - listed;
    if 0 < hidden {
        html.markup("<p class=\"note\">").text(hidden);
        html.markup(" more applications are not listed. A filter finds them.</p>");
    }
    if shown < survey.found {
        html.markup("<p class=\"note\">").text(shown).markup(" of ").text(survey.found);
        html.markup(" instances are shown. A filter by application, id, host, virtual address or status");
        html.markup(" finds the others.</p>");
    }
}

/// How many instances were shown.
fn write_application(html: &mut Html, view: &View, application: &Application) -> usize {
    let Application { counts, amis, zones, first, kept } = application;
    let has_room = !kept.is_empty() && html.len() < BYTES_MAX;
    html.markup(if has_room { "<details class=\"app\" open>" } else { "<details class=\"app\">" });
    html.markup("<summary><h3>").text(first.application()).markup("</h3>");
    for (status, count) in Status::ALL.into_iter().zip(counts).filter(|(_, count)| 0 < **count) {
        html.markup(" ");
        badge(html, status, format_args!("{count} {status}"));
    }
    html.markup("<small>");
    write_tally(html, "AMIs", amis);
    html.markup(" \u{b7} ");
    write_tally(html, "Zones", zones);
    html.markup("</small></summary>");
    let mut shown = 0;
    if has_room {
        html.markup(TABLE);
        for (instance, renewed) in kept {
            if BYTES_MAX <= html.len() {
                break;
            }
            write_instance(html, view, instance, *renewed);
            shown += 1;
        }
        html.markup(TABLE_END);
    }
    let hidden = application.len() - shown;
    if 0 < hidden {
        html.markup("<p class=\"note\">").text(hidden).markup(" not shown here. ");
        html.filter_link(first.service.as_str(), "Show this application only").markup("</p>");
    }
    html.markup("</details>");
    shown
}

/// `Zones: east (2), n/a (1)`, as the Java servers have it.
fn write_tally(html: &mut Html, name: &'static str, tally: &Tally) {
    html.markup(name).markup(":");
    for (number, (value, count)) in tally.counts().enumerate() {
        html.markup(if number == 0 { " " } else { ", " }).text(format_args!("{value} ({count})"));
    }
}

fn write_instance(html: &mut Html, view: &View, instance: &Instance, renewed: Timestamp) {
    let document = instance.document.as_deref();
    html.markup("<tr role=\"row\"><th scope=\"row\" role=\"rowheader\">");
    let page = document.and_then(|document| document.status_page_url.as_deref());
    html.link(page, instance.id_in_application());
    html.markup("<small>");
    write_address(html, instance);
    html.markup("</small></th>").markup(CELL);
    write_status(html, instance);
    html.markup(CELL_END).markup(CELL);
    write_lease(html, view, instance, renewed);
    html.markup(CELL_END).markup(CELL);
    write_list(html, "code", instance.vips().filter(|vip| !vip.is_empty()));
    html.markup(CELL_END).markup(CELL);
    if let Some(zone) = document.and_then(|document| document.data_center.get(ZONE)) {
        html.markup("<b>").text(zone).markup("</b> ");
    }
    write_list(html, "tag", instance.tags.iter().map(|tag| &**tag));
    html.markup(CELL_END).markup(CELL).markup("<details><summary>Details</summary><dl>");
    write_details(html, instance);
    html.markup("</dl></details></td></tr>");
}

/// `host:port`, the port with TLS when that is the one that serves.
fn write_address(html: &mut Html, instance: &Instance) {
    match instance.document.as_deref() {
        None => html.text(instance.endpoint.kind().as_str()).markup(" ").text(instance.endpoint.value()),
        Some(Document { host_name, port, secure_port, .. }) => {
            let Port { number, .. } = if port.is_enabled { port } else { secure_port };
            html.text(host_name).markup(":").text(number)
        }
    };
}

pub(super) fn write_status(html: &mut Html, instance: &Instance) {
    badge(html, instance.status, instance.status.as_str());
    if instance.status_shown() != instance.status.as_str() {
        html.markup(" <small>says ").text(instance.status_shown()).markup("</small>");
    }
    if let Some(status) = instance.overridden {
        html.markup(" <small>override: ").text(status).markup("</small>");
    }
}

fn badge(html: &mut Html, status: Status, text: impl std::fmt::Display) {
    html.markup(match status {
        Status::Up => "<span class=\"badge up\">",
        Status::Starting => "<span class=\"badge starting\">",
        Status::OutOfService => "<span class=\"badge out\">",
        Status::Down => "<span class=\"badge down\">",
        Status::Unknown => "<span class=\"badge unknown\">",
    });
    html.text(text).markup("</span>");
}

fn write_lease(html: &mut Html, view: &View, instance: &Instance, renewed: Timestamp) {
    if let Some(Foreign { catalog, renewed }) = instance.foreign {
        html.markup("<span>none</span><small>of the catalog ").text(catalog);
        if let Some(renewed) = renewed {
            html.markup(", renewed there ").time(renewed);
        }
        html.markup("</small>");
        return;
    }
    let age = Duration::from_millis(view.now.as_millis().saturating_sub(renewed.as_millis()));
    let is_late = instance.ttl < age && instance.status.expires();
    html.markup(if is_late { "<span class=\"late\">" } else { "<span>" });
    html.text(length(age)).markup(" ago</span><small>lease ").text(length(instance.ttl));
    if is_late {
        html.markup(", ran out");
    } else if !instance.status.expires() {
        html.markup(", longer while out of service");
    }
    html.markup("</small>");
}

fn write_list<'a>(html: &mut Html, class: &'static str, texts: impl Iterator<Item = &'a str>) {
    for text in texts {
        html.markup("<span class=\"").markup(class).markup("\">").text(text).markup("</span> ");
    }
}

fn write_details(html: &mut Html, instance: &Instance) {
    html.fact("Id", &instance.id);
    if let Some(foreign) = instance.foreign {
        html.fact("Found by", format_args!("the catalog {}", foreign.catalog));
    }
    match instance.document.as_deref() {
        None if instance.foreign.is_some() => {}
        None => {
            html.fact("Registered by", "Amalgam8 API");
        }
        Some(document) => write_document(html, document),
    }
    let begun = if instance.foreign.is_some() { "Found" } else { "Registered" };
    write_moment(html, begun, Some(instance.registered_at));
    write_moment(html, "UP since", instance.up_since);
    write_moment(html, "Changed", Some(instance.updated_at));
    write_moment(html, "Client's version", Some(instance.dirty_at));
    if let Some(metadata) = &instance.metadata {
        write_metadata(html, metadata);
    }
}

fn write_document(html: &mut Html, document: &Document) {
    html.fact("Registered by", "Eureka API").fact("IP address", &document.ip_addr);
    let state = |port: &Port| if port.is_enabled { "" } else { " (off)" };
    html.fact("Port", format_args!("{}{}", document.port.number, state(&document.port)));
    let secure = &document.secure_port;
    html.fact("Port with TLS", format_args!("{}{}", secure.number, state(secure)));
    html.fact("Data center", &document.data_center.name);
    for (name, url) in [
        ("Home page", &document.home_page_url),
        ("Status page", &document.status_page_url),
        ("Health check", &document.health_check_url),
        ("Health check with TLS", &document.secure_health_check_url),
    ] {
        if let Some(url) = url {
            html.markup("<div><dt>").markup(name).markup("</dt><dd>").link(Some(url), url);
            html.markup("</dd></div>");
        }
    }
    if let Some(group) = &document.app_group {
        html.fact("Application group", group);
    }
    if let Some(group) = &document.asg_name {
        html.fact("Scaling group", group);
    }
}

fn write_moment(html: &mut Html, name: &'static str, at: Option<Timestamp>) {
    if let Some(at) = at {
        html.markup("<div><dt>").markup(name).markup("</dt><dd>").time(at).markup("</dd></div>");
    }
}

/// An object by its keys, anything else as JSON.
fn write_metadata(html: &mut Html, metadata: &Metadata) {
    let Ok(entries) = serde_json::from_str::<Map<String, Value>>(metadata.as_json()) else {
        html.fact("Metadata", metadata.as_json());
        return;
    };
    for (key, value) in &entries {
        html.markup("<div class=\"meta\"><dt>").text(key).markup("</dt><dd>");
        match value.as_str() {
            Some(text) => html.text(text),
            None => html.text(value),
        };
        html.markup("</dd></div>");
    }
}
