//! The page about everything in a namespace (spec eureka section 6.1).
//!
//! Never: longer than about two megabytes, or more than one look at each instance.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;

use super::frame::{Here, filter_form, framed};
use super::html::Html;
use super::lengths::length;
use super::survey::Survey;
use super::{Access, View, instances};
use crate::directory::Preservation;
use crate::model::Status;
use crate::telemetry::Memory;

/// Before that, no full minute of renewals may have been counted.
const FIRST_MINUTES: Duration = Duration::from_secs(120);

/// The page about everything in a namespace.
#[must_use]
pub fn page(view: &View) -> Bytes {
    let preservation = view.directory.preservation();
    let survey = Survey::of(&view.directory, &view.filter);
    let mut html = Html::default();
    write_warnings(&mut html, view, preservation);
    write_status(&mut html, view, preservation);
    write_replicas(&mut html, view);
    write_instances(&mut html, view, &survey);
    write_overrides(&mut html, &survey);
    write_general(&mut html, view);
    framed(view, Here::Overview, &html)
}

/// Those of the Java servers, each when it is true.
fn write_warnings(html: &mut Html, view: &View, preservation: Preservation) {
    let Preservation { is_on, is_preserving, renewals, threshold, .. } = preservation;
    if is_preserving {
        html.markup(
            "<p class=\"alert\" role=\"alert\"><b>Warning:</b> renewals are below the threshold, so instances \
             are kept although their leases ran out. Some of them may be gone.</p>",
        );
    }
    let is_below = 0 < threshold && renewals <= threshold && FIRST_MINUTES <= view.uptime;
    if is_below && !is_on {
        html.markup(
            "<p class=\"warn\"><b>Warning:</b> renewals are below the threshold and self-preservation is off: \
             instances that cannot reach this server, for whatever reason, are removed. Clients that renew \
             less often than twice a minute cause this as well.</p>",
        );
    }
    if !is_on {
        html.markup(
            "<p class=\"note\"><b>Note:</b> self-preservation is off. When the network fails, instances are \
             not protected from expiry.</p>",
        );
    }
}

fn write_status(html: &mut Html, view: &View, preservation: Preservation) {
    let Preservation { is_on, is_preserving, renewals, threshold, expected } = preservation;
    html.markup("<h2>System status</h2><section class=\"card\"><dl class=\"facts\">");
    html.fact("Version", env!("CARGO_PKG_VERSION")).fact("Namespace", &view.namespace);
    html.fact("Environment", "a8registry").fact("Data center", "MyOwn");
    html.markup("<div><dt>Current time</dt><dd>").time(view.now).markup("</dd></div>");
    html.fact("Uptime", length(view.uptime)).fact("Lease expiration enabled", !is_preserving);
    html.fact("Renews threshold", threshold).fact("Renews (last minute)", renewals);
    html.markup("</dl><p><b>Self-preservation</b> ");
    let numbers = format_args!(
        "{} came in the last full minute, and more than {threshold} would be needed from {}",
        counted(renewals, "renewal"),
        counted(expected, "instance expected to renew")
    );
    match (is_on, is_preserving) {
        (true, true) => html
            .markup("keeps every instance just now: ")
            .text(numbers)
            .markup(" before leases end again. It leaves by itself once those who stay silent are no longer expected."),
        (true, false) => html
            .markup("is on and need not act: ")
            .text(numbers)
            .markup("; at that number or below, no instance would be removed."),
        (false, _) => html
            .markup("is off, so a lease that is not renewed in time ends, however few renewals there are: ")
            .text(numbers)
            .markup(" to be above the threshold."),
    };
    html.markup("</p></section>");
}

fn write_replicas(html: &mut Html, view: &View) {
    html.markup("<h2>Replicas</h2><section class=\"card\">");
    if view.replicas.is_empty() {
        html.markup("<p>This server tells no other Eureka server what its clients write.</p></section>");
        return;
    }
    html.markup(
        "<table><thead><tr><th scope=\"col\">Server</th><th scope=\"col\">Reachable</th></tr></thead><tbody>",
    );
    for replica in &view.replicas {
        html.markup("<tr><th scope=\"row\">").link(Some(&replica.url), &replica.url).markup("</th><td>");
        html.markup(match replica.is_available {
            true => "<span class=\"badge up\">available</span>",
            false => "<span class=\"badge down\">unavailable</span>",
        });
        html.markup("</td></tr>");
    }
    html.markup("</tbody></table></section>");
}

fn write_instances(html: &mut Html, view: &View, survey: &Survey) {
    html.markup("<h2>Registered instances</h2>");
    filter_form(html, view, "Application, id, host, virtual address or status");
    if survey.found == 0 {
        write_nobody(html, view);
        return;
    }
    html.markup("<p>").text(counted(survey.found, "instance")).markup(" of ");
    html.text(counted(survey.applications_found, "application"));
    if view.filter.is_empty() {
        html.markup(".");
    } else {
        html.markup(" with \u{201c}").text(view.filter.as_str()).markup("\u{201d}, of ");
        html.text(view.directory.len()).markup(" in all.");
    }
    html.markup(" Only ");
    for status in Status::ALL {
        html.filter_link(status.as_str(), status).markup(" ");
    }
    html.markup("</p>");
    instances::write(html, view, survey);
}

fn write_nobody(html: &mut Html, view: &View) {
    html.markup("<section class=\"card\"><p><b>No instances</b></p>");
    if !view.filter.is_empty() && !view.directory.is_empty() {
        html.markup("<p>None of ")
            .text(view.directory.len())
            .markup(" has all words of the filter.</p></section>");
        return;
    }
    html.markup(
        "<p>This registers one, which leaves again after a minute without a heartbeat:</p><pre><code>",
    );
    html.markup("curl ");
    match view.access {
        Access::Open => {}
        Access::ByToken => {
            html.markup("-H &#39;Authorization: Bearer TOKEN&#39; ");
        }
    }
    html.markup("-H &#39;Content-Type: application/json&#39; ");
    html.text(format_args!(
        "{}/api/v1/instances -d '{}'",
        view.base,
        r#"{"service_name": "hello", "endpoint": {"type": "http", "value": "127.0.0.1:8080"}, "ttl": 60}"#
    ));
    html.markup("</code></pre><p>A Eureka client is given this address: <code>").text(&view.base);
    html.markup("/eureka/</code></p></section>");
}

fn write_overrides(html: &mut Html, survey: &Survey) {
    if survey.overridden.is_empty() {
        return;
    }
    html.markup(
        "<h2>Status overrides</h2><section class=\"card\"><table><thead><tr><th scope=\"col\">Instance</th>\
         <th scope=\"col\">Application</th><th scope=\"col\">Override</th></tr></thead><tbody>",
    );
    let mut listed = 0;
    for instance in &survey.overridden {
        if instances::LISTED_MAX <= html.len() {
            break;
        }
        listed += 1;
        html.markup("<tr><th scope=\"row\">").text(instance.id_in_application()).markup("</th><td>");
        html.filter_link(instance.service.as_str(), instance.application()).markup("</td><td>");
        instances::write_status(html, instance);
        html.markup("</td></tr>");
    }
    html.markup("</tbody></table>");
    let hidden = survey.overridden_found - listed;
    if 0 < hidden {
        html.markup("<p class=\"note\">").text(hidden).markup(" more are not listed.</p>");
    }
    html.markup("</section>");
}

/// What `GET status` says of this server, by the same names (spec eureka section 1.14).
fn write_general(html: &mut Html, view: &View) {
    let counts = view.directory.counts();
    let replicas = |is_wanted: &dyn Fn(bool) -> bool| {
        let urls = view.replicas.iter().filter(|it| is_wanted(it.is_available)).map(|it| it.url.as_str());
        let urls = urls.collect::<Vec<_>>().join(", ");
        if urls.is_empty() { "none".to_owned() } else { urls }
    };
    html.markup("<h2>General info</h2><section class=\"card\"><dl class=\"facts\">");
    html.fact("num-of-cpus", std::thread::available_parallelism().map_or(1, usize::from));
    let Memory { used, total } = Memory::of_system();
    html.fact("total-avail-memory", megabytes(total)).fact("current-memory-usage", megabytes(used));
    html.fact("server-uptime", length(view.uptime));
    html.fact("registered-replicas", replicas(&|_| true));
    html.fact("available-replicas", replicas(&|is_available| is_available));
    html.fact("unavailable-replicas", replicas(&|is_available| !is_available));
    html.fact("Revision", view.directory.tag().revision).fact("Instances", counts.iter().sum::<usize>());
    for (status, count) in Status::ALL.into_iter().zip(counts) {
        html.markup("<div><dt>").text(status).markup("</dt><dd>").text(count).markup("</dd></div>");
    }
    html.markup("</dl></section><h2>Instance info</h2><section class=\"card\"><dl class=\"facts\">");
    html.fact("ipAddr", host(&view.base)).fact("status", Status::Up).markup("</dl></section>");
}

fn megabytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "unknown".to_owned(), |bytes| format!("{}mb", bytes >> 20))
}

/// The host of `http://host:port`.
fn host(base: &str) -> &str {
    let authority = base.split_once("://").map_or(base, |(_, authority)| authority);
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    let host =
        authority.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(authority, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// `1 instance`, `2 instances`; the first word takes the plural.
fn counted<N: Copy + Display + PartialEq + From<u8>>(number: N, name: &str) -> String {
    let (first, rest) = name.split_once(' ').map_or((name, ""), |(first, rest)| (first, rest));
    let plural = if number == N::from(1) { "" } else { "s" };
    let blank = if rest.is_empty() { "" } else { " " };
    format!("{number} {first}{plural}{blank}{rest}")
}
