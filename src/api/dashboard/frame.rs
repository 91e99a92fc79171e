//! What every page has around it, and the page for who has shown no token.
//!
//! Never: a word about a namespace, but for its name to who was let in.

use bytes::Bytes;

use super::html::Html;
use super::{STYLE, View};

/// Which page it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Here {
    Overview,
    Events,
}

/// A whole page around its main part.
pub(super) fn framed(view: &View, here: Here, main: &Html) -> Bytes {
    let mut html = Html::default();
    begin(
        &mut html,
        match here {
            Here::Overview => "Overview - a8registry",
            Here::Events => "Last leases - a8registry",
        },
    );
    html.markup("<nav aria-label=\"Pages\">").markup(match here {
        Here::Overview => {
            "<a href=\"/eureka/\" aria-current=\"page\">Overview</a><a href=\"/eureka/lastn\">Last leases</a>"
        }
        Here::Events => {
            "<a href=\"/eureka/\">Overview</a><a href=\"/eureka/lastn\" aria-current=\"page\">Last leases</a>"
        }
    });
    html.markup("</nav><span>Namespace <b>").text(&view.namespace).markup("</b></span></header>");
    html.markup("<main id=\"main\">").append(main).markup("</main>");
    html.markup(
        "<footer><a href=\"/eureka/v2/apps\">Applications</a><a href=\"/uptime\">Health</a>\
         <a href=\"/metrics\">Metrics</a><a href=\"/swagger\">API</a></footer></body></html>",
    );
    html.into_text().into()
}

/// The page for who has shown no token: how to get in.
#[must_use]
pub fn welcome() -> Bytes {
    let mut html = Html::default();
    begin(&mut html, "a8registry");
    html.markup(
        "</header><main id=\"main\"><section class=\"card\"><h2>This registry is in operation</h2>\
         <p>What it holds is shown by namespace, and only with a token for it.</p>\
         <p><a href=\"/eureka/\">Show my namespace</a></p>\
         <p>Your browser will ask for a user name and a password. The password is your token; any user name \
         will do. Use https, or the token can be read on its way.</p></section></main></body></html>",
    );
    html.into_text().into()
}

/// The field for a filter.
pub(super) fn filter_form(html: &mut Html, view: &View, label: &'static str) {
    html.markup("<form method=\"get\" role=\"search\"><label for=\"q\">").markup(label);
    html.markup("</label><input id=\"q\" name=\"q\" type=\"search\" maxlength=\"128\" value=\"");
    html.text(view.filter.as_str()).markup("\"><button>Filter</button>");
    if !view.filter.is_empty() {
        html.markup("<a href=\"?\">Show all</a>");
    }
    html.markup("</form>");
}

fn begin(html: &mut Html, title: &'static str) {
    html.markup(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"robots\" content=\"noindex\"><title>",
    );
    html.markup(title).markup("</title><style>").markup(STYLE);
    html.markup(
        "</style></head><body><a class=\"skip\" href=\"#main\">Skip to content</a><header><h1>a8registry</h1>",
    );
}
