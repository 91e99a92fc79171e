//! Pages from directories that are put together here: expiry in all its states, replicas, and bounds.

use super::*;
use crate::directory::{LeaseRules, LogLimits};
use crate::model::{Clock, Endpoint, EndpointType, Origin, Registration, Status};

fn view(rules: LeaseRules) -> View {
    let clock = Arc::new(Clock::default());
    View {
        namespace: "acme".parse().unwrap(),
        directory: Arc::new(Directory::new(1, Arc::default(), clock, LogLimits::default(), rules)),
        filter: Filter::default(),
        now: Timestamp::of_system(),
        uptime: Duration::from_secs(4000),
        replicas: Vec::new(),
        base: "http://[::1]:8080".to_owned(),
        access: Access::Open,
    }
}

impl View {
    fn place(&self, service: &str, host: &str, status: Status) {
        let asked = Registration {
            service: service.parse().unwrap(),
            endpoint: Endpoint::new(EndpointType::Http, host).unwrap(),
            status,
            tags: [].into(),
            metadata: None,
            ttl: None,
            eureka: None,
        };
        let instance = asked.grant(Duration::from_secs(30), self.now);
        self.directory.place(&instance, None, Origin::Client).unwrap();
    }

    fn page(&self) -> String {
        String::from_utf8(page(self).to_vec()).unwrap()
    }
}

#[track_caller]
fn check(view: &View, texts: &[&str], not: &[&str]) {
    let page = view.page();
    for text in texts {
        assert!(page.contains(text), "{text} in {page}");
    }
    for text in not {
        assert!(!page.contains(text), "{text} not in {page}");
    }
}

#[test]
fn warnings_say_how_expiry_stands() {
    let (few, none) = ("renewals are below the threshold", "self-preservation is off. When");
    let kept = "are kept although their leases ran out";
    let rules = LeaseRules { self_preservation: true, ..LeaseRules::default() };

    let calm = view(rules);
    check(&calm, &["need not act", "enabled</dt><dd>true"], &["Warning", none]);
    calm.place("web", "10.0.0.1:80", Status::Up);
    calm.directory.end_minute();
    let numbers = "0 renewals came in the last full minute, and more than 1 would be needed from 1 instance ";
    check(&calm, &[few, kept, numbers, "keeps every instance", "enabled</dt><dd>false"], &[none]);

    let off = view(LeaseRules::default());
    check(&off, &[none, "Self-preservation</b> is off"], &["Warning"]);
    off.place("web", "10.0.0.1:80", Status::Up);
    check(&off, &[none, few, "enabled</dt><dd>true"], &[kept]);
    let young = View { uptime: Duration::from_secs(119), ..off };
    check(&young, &[none], &[few]);
}

#[test]
fn replicas_are_shown_as_they_are() {
    let alone = view(LeaseRules::default());
    check(&alone, &["tells no other", "registered-replicas</dt><dd>none", "ipAddr</dt><dd>::1<"], &[]);
    let url = |url: &str, is_available| Replica { url: url.to_owned(), is_available };
    let replicas = vec![url("http://up:8761/eureka/", true), url("javascript:\"<b>", false)];
    let among = View { replicas, ..alone };
    let linked = "href=\"http://up:8761/eureka/\">http://up:8761/eureka/</a></th><td><span class=\"badge up\">available";
    let escaped = "javascript:&quot;&lt;b&gt;</th><td><span class=\"badge down\">unavailable";
    let listed = "unavailable-replicas</dt><dd>javascript:&quot;&lt;b&gt;</dd>";
    check(&among, &[linked, escaped, listed], &["<b>\"", "href=\"javascript"]);
}

#[test]
fn who_is_late_is_marked_but_not_who_is_out() {
    let mut view = view(LeaseRules::default());
    view.place("late", "10.0.0.1:80", Status::Up);
    view.place("out", "10.0.0.2:80", Status::OutOfService);
    check(&view, &["0 s ago"], &["ran out<"]);
    view.now = Timestamp::from_millis(view.now.as_millis() + 60_500);
    let late = "<span class=\"late\">1 min 0 s ago</span><small>lease 30 s, ran out</small>";
    let out = "<span>1 min 0 s ago</span><small>lease 30 s, longer while out of service</small>";
    check(&view, &[late, out], &[]);
}

#[test]
fn applications_are_bounded_and_counted() {
    let mut view = view(LeaseRules::default());
    (0..1205).for_each(|nth| view.place(&format!("app-{nth:04}"), "10.0.0.1:80", Status::Up));
    check(
        &view,
        &[
            "1205 instances of 1205 applications",
            "app-0999",
            "205 more applications are not listed",
            "1000 of 1205 instances are shown",
        ],
        &["app-1000"],
    );
    view.filter = Filter::new("APP-12");
    check(&view, &["app-1204", "5 instances of 5 applications with"], &["are shown", "app-0012"]);
    view.filter = Filter::new("nowhere");
    check(&view, &["No instances", "None of 1205"], &["curl"]);
    view.place("App-1204", "10.0.0.3:80", Status::Starting);
    view.filter = Filter::new("app-1204");
    check(&view, &["2 instances of 1 application ", "1 UP", "1 STARTING", "AMIs: n/a (2)"], &[]);
}

#[test]
fn a_page_is_for_who_asks_for_one_by_name() {
    for (accept, want) in [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
        ("application/json, Text/HTML;level=1;q=0.1", true),
        ("*/*", false),
        ("text/*", false),
        ("application/json", false),
        ("text/html;q=0", false),
        ("", false),
    ] {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        assert_eq!(is_browser(&headers), want, "{accept}");
    }
    assert!(!is_browser(&HeaderMap::new()));
}

#[test]
fn the_style_is_the_one_that_the_policy_lets_in() {
    let page = String::from_utf8(welcome().to_vec()).unwrap();
    let (_, rest) = page.split_once("<style>").unwrap();
    let (style, _) = rest.split_once("</style>").unwrap();
    let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    assert!(policy().to_str().unwrap().contains(&hash));
    assert!(!page.contains(" style="), "the policy lets no attribute in");
}
