//! Two pages for people, as Eureka's servers have them (spec eureka section 6.1): what there is, and who came and
//! went lately.
//!
//! Plain HTML that loads nothing and runs nothing.
//! Never: text of a client that is not escaped, or a link elsewhere than to a web page.

use std::fmt::{self, Display, Write};

use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use super::refusal::Refusal;
use crate::api::Api;
use crate::api::reply::{self, Wants};
use crate::directory::{Directory, Preservation};
use crate::model::{Document, Namespace, Status, Timestamp};

/// Instances that are shown; more help nobody who looks at a page.
const SHOWN: usize = 2_000;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);

const STYLE: &str = "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}\
    td,th{border:1px solid #bbb;padding:.2em .6em;text-align:left;vertical-align:top}\
    .bad{color:#b00}caption{text-align:left;font-weight:bold;padding:.6em 0}";

/// A text as it stands in HTML, between tags or in quotes.
struct Escaped<'a>(&'a str);

/// The page about everything.
pub(super) fn dashboard(api: &Api, request: &Parts, namespace: &Namespace) -> Result<Response, Refusal> {
    let directory = api.registry().directory(namespace);
    let mut page = Page::new("Registry");
    page.system(api, &directory.preservation());
    page.replicas(api);
    page.instances(&directory);
    page.sent(api, request)
}

/// The page about who came and went.
pub(super) fn last_n(api: &Api, request: &Parts, namespace: &Namespace) -> Result<Response, Refusal> {
    let history = api.registry().directory(namespace).history();
    let mut page = Page::new("Last leases");
    page.events("Last leases that ended", &history.gone);
    page.events("Last leases that began", &history.registered);
    page.sent(api, request)
}

/// A page in the making.
struct Page {
    html: String,
}

// === impl Page ===

impl Page {
    fn new(title: &str) -> Self {
        let title = Escaped(title);
        let mut page = Self { html: String::new() };
        page.add(format_args!(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
             <style>{STYLE}</style></head><body><h1>{title}</h1>\
             <p><a href=\"/eureka/\">Registry</a> <a href=\"/eureka/lastn\">Last leases</a></p>"
        ));
        page
    }

    fn add(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a text cannot fail.
        let _ = self.html.write_fmt(text);
    }

    fn row(&mut self, name: &str, value: impl Display) {
        let value = value.to_string();
        self.add(format_args!("<tr><th>{}</th><td>{}</td></tr>", Escaped(name), Escaped(&value)));
    }

    fn system(&mut self, api: &Api, preservation: &Preservation) {
        let Preservation { is_on, is_preserving, renewals, threshold, expected } = *preservation;
        if is_preserving {
            self.add(format_args!(
                "<p class=\"bad\">Self-preservation: {renewals} renewals in the last minute do not exceed {threshold}, \
                 so that instances are kept although their leases ran out. They may be gone.</p>"
            ));
        } else if is_on {
            self.add(format_args!("<p>Self-preservation is on.</p>"));
        } else {
            self.add(format_args!(
                "<p>Self-preservation is off: whoever stops renewing is gone at the end of its lease.</p>"
            ));
        }
        self.add(format_args!("<table><caption>System status</caption>"));
        self.row("Current time", Timestamp::of_system().rfc3339().escape_ascii());
        self.row("Uptime", format_args!("{} s", api.uptime().as_secs()));
        self.row("Leases end", !is_preserving);
        self.row("Renews threshold", threshold);
        self.row("Renews in the last minute", renewals);
        self.row("Instances expected to renew", expected);
        self.add(format_args!("</table>"));
    }

    fn replicas(&mut self, api: &Api) {
        self.add(format_args!("<table><caption>Replicas</caption>"));
        let replicas = api.replicas();
        for replica in &replicas {
            self.row(&replica.url, if replica.is_available { "available" } else { "unavailable" });
        }
        if replicas.is_empty() {
            self.add(format_args!("<tr><td>none</td></tr>"));
        }
        self.add(format_args!("</table>"));
    }

    fn instances(&mut self, directory: &Directory) {
        let counts = directory.counts();
        self.add(format_args!(
            "<table><caption>Instances</caption>\
             <tr><th>Application</th><th>Instance</th><th>Status</th><th>Last renewal</th></tr>"
        ));
        let mut seen = 0;
        directory.for_each(&mut |instance, renewed| {
            seen += 1;
            if SHOWN < seen {
                return;
            }
            let document = instance.document.as_deref();
            let url = document.and_then(|document: &Document| document.status_page_url.as_deref());
            let id = Escaped(instance.id_in_application());
            self.add(format_args!("<tr><td>{}</td><td>", Escaped(&instance.application())));
            match url.filter(|url| url.starts_with("http://") || url.starts_with("https://")) {
                Some(url) => self.add(format_args!(
                    "<a rel=\"noreferrer\" href=\"{}\">{id}</a>",
                    Escaped(url)
                )),
                None => self.add(format_args!("{id}")),
            }
            let class = if instance.status == Status::Up { "" } else { " class=\"bad\"" };
            let status = Escaped(instance.status_shown());
            let renewed = renewed.rfc3339();
            self.add(format_args!("</td><td{class}>{status}</td><td>{}</td></tr>", renewed.escape_ascii()));
        });
        if seen == 0 {
            self.add(format_args!("<tr><td colspan=\"4\">no instances</td></tr>"));
        }
        self.add(format_args!("</table><p>{seen} instances"));
        for (status, count) in Status::ALL.into_iter().zip(counts).filter(|(_, count)| *count != 0) {
            self.add(format_args!(", {count} {status}"));
        }
        if SHOWN < seen {
            self.add(format_args!("; the first {SHOWN} are shown"));
        }
        self.add(format_args!("</p>"));
    }

    fn events(&mut self, caption: &str, events: &[(Timestamp, Box<str>)]) {
        self.add(format_args!("<table><caption>{}</caption>", Escaped(caption)));
        for (at, name) in events {
            self.add(format_args!("<tr><td>{}</td><td>{}</td></tr>", at.rfc3339().escape_ascii(), Escaped(name)));
        }
        if events.is_empty() {
            self.add(format_args!("<tr><td>none</td></tr>"));
        }
        self.add(format_args!("</table>"));
    }

    fn sent(mut self, api: &Api, request: &Parts) -> Result<Response, Refusal> {
        self.add(format_args!("</body></html>"));
        let body = Bytes::from(self.html);
        let permit = api.permit(body.len())?;
        let mut response = reply::long(body, Wants::coding_of(request), permit);
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().insert(CONTENT_TYPE, HTML);
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
        Ok(response)
    }
}

// === impl Escaped ===

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['<', '>', '&', '"', '\'']) {
            let (plain, special) = rest.split_at(at);
            f.write_str(plain)?;
            let mut special = special.chars();
            f.write_str(match special.next() {
                Some('<') => "&lt;",
                Some('>') => "&gt;",
                Some('&') => "&amp;",
                Some('"') => "&quot;",
                Some(_) | None => "&#39;",
            })?;
            rest = special.as_str();
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_say_stays_text() {
        let text = "a<script>\"x\" & 'y'</script>é";
        assert_eq!(Escaped(text).to_string(), "a&lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/script&gt;é");
    }
}
