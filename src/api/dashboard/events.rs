//! The page about who came and went lately (spec eureka section 6.1).
//!
//! Never: longer than about a megabyte, whatever names there are.

use bytes::Bytes;

use super::View;
use super::frame::{Here, filter_form, framed};
use super::html::Html;
use crate::directory::History;
use crate::model::Timestamp;

/// How long each of the two tables may become, in bytes.
const BYTES_MAX: usize = 1 << 19;

/// The page about who came and went: the newest registrations, and the newest leases that ended.
#[must_use]
pub fn last_n(view: &View) -> Bytes {
    let History { registered, gone } = view.directory.history();
    let mut html = Html::default();
    html.markup("<h2>Last leases</h2><p>The newest thousand of each kind since this server started.</p>");
    filter_form(&mut html, view, "Application or id");
    write(&mut html, view, "Cancelled leases", "Deregistered, or not renewed in time; newest first", &gone);
    write(&mut html, view, "Newly registered leases", "Newest first", &registered);
    framed(view, Here::Events, &html)
}

fn write(
    html: &mut Html,
    view: &View,
    title: &'static str,
    caption: &'static str,
    events: &[(Timestamp, Box<str>)],
) {
    html.markup("<section class=\"card\"><h2>").markup(title).markup("</h2><table><caption>").markup(caption);
    html.markup(
        "</caption><thead><tr><th scope=\"col\">Time</th><th scope=\"col\">Lease</th></tr></thead><tbody>",
    );
    let end = html.len() + BYTES_MAX;
    let mut hidden = 0_usize;
    let mut shown = 0_usize;
    for (at, name) in events.iter().filter(|(_, name)| view.filter.passes_text(name)) {
        if end < html.len() {
            hidden += 1;
            continue;
        }
        html.markup("<tr><td>").time(*at).markup("</td><td class=\"code\">").text(name).markup("</td></tr>");
        shown += 1;
    }
    if shown == 0 {
        html.markup("<tr><td colspan=\"2\">None</td></tr>");
    }
    html.markup("</tbody></table>");
    if 0 < hidden {
        html.markup("<p class=\"note\">").text(hidden).markup(" older ones are not shown.</p>");
    }
    html.markup("</section>");
}
