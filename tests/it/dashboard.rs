//! The pages for people: what they show, to whom, and what becomes of hostile texts in them.
//!
//! Never: judges how a page looks.

use serde_json::{Value, json};

use crate::support::client::instance;
use crate::support::{Answer, Client, Daemon};

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// What a page may be long, in bytes.
const PAGE_MAX: usize = 2 << 20;

fn browser(daemon: &Daemon) -> Client {
    daemon.client().with(BROWSER)
}

/// A page, after a look at what all pages have in common.
#[track_caller]
fn page(client: &Client, path: &str) -> String {
    let answer = client.get(path);
    check_head(answer.ok());
    let text = String::from_utf8(answer.body).expect("UTF-8");
    assert!(text.starts_with("<!DOCTYPE html><html lang=\"en\">") && text.ends_with("</html>"), "{text}");
    assert!(text.len() <= PAGE_MAX, "{} bytes", text.len());
    check_markup(&text);
    text
}

#[track_caller]
fn check_head(answer: &Answer) {
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    let policy = answer.header("content-security-policy");
    for rule in ["default-src 'none'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
}

/// Every tag is one of ours, every attribute has quotes, and nothing can run.
#[track_caller]
fn check_markup(text: &str) {
    const TAGS: &str = "html head meta title style body a header nav h1 h2 h3 main footer section p b span small \
                        form label input button dl div dt dd table caption thead tbody tr th td details summary \
                        time pre code";
    let (head, rest) = text.split_once("<style>").expect("a style");
    let (_, body) = rest.split_once("</style>").expect("its end");
    for piece in [head, body] {
        for tag in piece.split('<').skip(1) {
            let (tag, behind) = tag.split_once('>').unwrap_or_else(|| panic!("an open tag: {tag}"));
            assert!(!behind.contains('>'), "a > in a text: {behind}");
            let name = tag.split(' ').next().unwrap_or_default().trim_start_matches('/');
            assert!(name == "!DOCTYPE" || TAGS.split_whitespace().any(|known| known == name), "<{tag}>");
            assert!(tag.matches('"').count() % 2 == 0, "<{tag}>");
            for attribute in tag.split('"').step_by(2) {
                let attribute = attribute.trim();
                assert!(!attribute.starts_with("on") && !attribute.starts_with("style"), "<{tag}>");
            }
            if let Some((_, href)) = tag.split_once("href=\"") {
                let is_known =
                    ["http://", "https://", "/", "?", "#main"].iter().any(|it| href.starts_with(it));
                assert!(is_known, "<{tag}>");
            }
        }
    }
}

/// A registration by the Eureka API.
fn document(application: &str, id: &str) -> Value {
    json!({"instance": {
        "instanceId": id, "hostName": format!("{id}.example"), "app": application, "ipAddr": "10.1.2.3",
        "status": "UP", "port": {"$": 8443, "@enabled": "true"}, "vipAddress": "vip-of-this",
        "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
        "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 90},
    }})
}

#[track_caller]
fn register(client: &Client, document: &Value) {
    let application = document["instance"]["app"].as_str().expect("a name").replace('<', "%3C");
    let application = application.replace('>', "%3E").replace('"', "%22").replace(' ', "%20");
    let answer = client.send(&format!("POST /eureka/v2/apps/{application}"), &document.to_string());
    assert_eq!(answer.status, 204, "{}", answer.text());
}

#[test]
fn a_browser_is_shown_what_there_is() {
    let daemon = Daemon::start("");
    let browser = browser(&daemon);
    let address = daemon.address();

    // Nobody is there yet.
    let empty = page(&browser, "/");
    for text in ["No instances", "curl ", &format!("http://{address}/eureka/"), "Lease expiration enabled"] {
        assert!(empty.contains(text), "{text} in {empty}");
    }
    assert!(!empty.contains("Authorization"), "nobody needs a token");

    let mut orders = instance("orders", "10.0.0.7:8080");
    orders["tags"] = json!(["blue"]);
    orders["metadata"] = json!({"team": "checkout", "weight": 3});
    let id = browser.register(&orders);
    let mut carts = document("carts", "carts-1");
    carts["instance"]["statusPageUrl"] = json!("https://carts.example/info?a=1&b=2");
    carts["instance"]["metadata"] = json!({"zone": "east"});
    register(&browser, &carts);
    let overridden = browser.put("/eureka/v2/apps/CARTS/carts-1/status?value=OUT_OF_SERVICE", "");
    assert_eq!(overridden.status, 200);

    for path in ["/", "/eureka", "/eureka/", "/eureka/jsp/status.jsp"] {
        let text = page(&browser, path);
        for wanted in [
            "default",
            "orders",
            &id,
            "10.0.0.7:8080",
            "blue",
            "team",
            "checkout",
            "CARTS",
            "carts-1.example:8443",
            "vip-of-this",
            "href=\"https://carts.example/info?a=1&amp;b=2\"",
            "override: OUT_OF_SERVICE",
            "Status overrides",
            "1 UP",
            "1 OUT_OF_SERVICE",
            "east",
            "lease 1 min 30 s",
            "2 instances of 2 applications",
        ] {
            assert!(text.contains(wanted), "{path}: {wanted} in {text}");
        }
    }

    // A filter looks everywhere, letter case aside.
    for (filter, has_orders, has_carts) in [
        ("ORDERS", true, false),
        ("out_of_service", false, true),
        ("Vip-Of", false, true),
        ("example+carts", false, true),
        ("10.0.0.7", true, false),
        ("%2E", true, true),
        ("orders+carts", false, false),
        ("%3Cscript%3E", false, false),
    ] {
        let text = page(&browser, &format!("/?q={filter}"));
        assert_eq!(text.contains("10.0.0.7:8080"), has_orders, "{filter}");
        assert_eq!(text.contains("carts-1.example"), has_carts, "{filter}");
    }

    // Who came and who went.
    browser.delete(&format!("/api/v1/instances/{id}")).ok();
    let text = page(&browser, "/lastn");
    let (gone, came) = text.split_once("Newly registered").expect("two tables");
    assert!(gone.contains(&format!("orders({id})")) && !gone.contains("CARTS(carts-1)"), "{gone}");
    assert!(came.contains(&format!("orders({id})")) && came.contains("CARTS(carts-1)"), "{came}");
    assert!(!page(&browser, "/eureka/lastn?q=cart").contains(&id));

    // Everybody else is answered as ever.
    for accept in ["", "Accept: */*", "Accept: application/json", "Accept: text/html;q=0"] {
        let client = if accept.is_empty() { daemon.client() } else { daemon.client().with(accept) };
        let answer = client.get("/");
        assert!(answer.ok().body.is_empty(), "{accept}");
    }
    let head = browser.send("HEAD /", "");
    check_head(head.ok());
}

#[test]
fn what_clients_say_never_becomes_markup() {
    let daemon = Daemon::start("");
    let browser = browser(&daemon);
    let hostile = "\"><script>alert(1)</script>";
    let mut one = instance(hostile, "'onload=alert(1) \"x\"<img src=x>");
    one["tags"] = json!([hostile, "' onclick='alert(1)"]);
    one["metadata"] = json!({hostile: hostile, "nested": {"<b>": ["</details></td></table>", null]}});
    browser.register(&one);
    let mut two = document("<SCRIPT>", "</td><svg onload=alert(1)>");
    let fields = &mut two["instance"];
    fields["hostName"] = json!("<h1>host");
    fields["vipAddress"] = json!("<iframe src=//evil>");
    fields["statusPageUrl"] = json!("javascript:alert(1)");
    fields["homePageUrl"] = json!("http://x/\" onmouseover=\"alert(1)");
    fields["healthCheckUrl"] = json!("data:text/html,<script>alert(1)</script>");
    fields["metadata"] = json!({"</dl><script>alert(2)</script>": "\u{202e}\u{1}<!--"});
    register(&browser, &two);
    for path in ["/", "/lastn", "/?q=%22%3E%3Cscript", "/lastn?q=%3Csvg", "/?q=%00%01%C3%A4%FF"] {
        let text = page(&browser, path);
        assert!(!text.contains("<script") && !text.contains("href=\"javascript"), "{path}");
    }
    let text = page(&browser, "/");
    for shown in
        ["&lt;SCRIPT&gt;", "alert(1)", "javascript:alert(1)", "&lt;/td&gt;&lt;svg onload=alert(1)&gt;"]
    {
        assert!(text.contains(shown), "{shown} in {text}");
    }
}

#[test]
fn pages_are_bounded() {
    let daemon = Daemon::start("");
    let browser = browser(&daemon);
    let all: Vec<_> = (0..1200)
        .map(|number| {
            let mut one =
                instance(if number < 1100 { "many" } else { "rest" }, &format!("10.0.{number}.1:80"));
            one["metadata"] = json!({"text": "<".repeat(1000)});
            one
        })
        .collect();
    browser.register_many(&all);
    let text = page(&browser, "/");
    assert!(text.contains("1200 instances of 2 applications"));
    assert!(text.contains("1100 UP") && text.contains("100 UP"), "every application is counted");
    assert!(text.contains(" of 1200 instances are shown"), "the rest is counted");
    assert!(text.contains("Show this application only"));
    let text = page(&browser, "/?q=10.0.1199.1");
    assert!(text.contains("1 instance of 1 application") && !text.contains("are shown"));

    // Documents of Eureka's clients are longer still.
    for number in 0..60 {
        let mut one = document(&format!("LONG-{number}"), &format!("{}-{number}", "'".repeat(100)));
        one["instance"]["metadata"] = json!({"text": "'".repeat(16_000)});
        one["instance"]["homePageUrl"] = json!(format!("http://x/{}", "'".repeat(20_000)));
        register(&browser, &one);
        let path = format!("/eureka/apps/LONG-{number}/{}-{number}/status?value=DOWN", "'".repeat(100));
        assert_eq!(browser.put(&path, "").status, 200);
    }
    let text = page(&browser, "/?q=long-");
    assert!(text.contains("60 instances of 60 applications") && text.contains(" of 60 instances are shown"));
    assert!(text.contains("LONG-0") && text.contains("1 not shown here"), "{}", text.len());
    page(&browser, "/lastn");
}

#[test]
fn nobody_is_shown_a_namespace_without_its_token() {
    let daemon = Daemon::start("--auth_mode trusted");
    let browser = browser(&daemon);
    let [acme, globex] = ["acme-corp", "globex-corp"].map(|name| browser.bearer(name));
    acme.register(&instance("billing", "10.0.0.1:80"));
    globex.register(&instance("reactor", "10.0.0.2:80"));

    // Not even the token changes what stands at the root.
    for client in [&browser, &acme] {
        let text = page(client, "/?q=billing");
        assert!(text.contains("href=\"/eureka/\"") && text.contains("password"), "{text}");
        for secret in ["acme", "globex", "billing", "reactor", "10.0.0."] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    for path in ["/eureka", "/eureka/", "/eureka/lastn", "/lastn", "/eureka/?q=billing"] {
        let answer = browser.get(path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").starts_with("Basic"), "{path}");
        assert!(!answer.text().contains("billing"), "{path}");
    }
    // YW55Ym9keTphY21lLWNvcnA= is anybody:acme-corp.
    let by_basic = browser.with("Authorization: Basic YW55Ym9keTphY21lLWNvcnA=");
    for client in [&acme, &by_basic] {
        for path in ["/eureka/", "/eureka/lastn", "/lastn"] {
            let text = page(client, path);
            assert!(text.contains("billing") && text.contains("acme-corp"), "{path}: {text}");
            assert!(!text.contains("reactor") && !text.contains("globex"), "{path}: {text}");
        }
    }
    let empty = page(&browser.bearer("nobody-yet"), "/eureka/");
    assert!(empty.contains("Authorization: Bearer TOKEN") && !empty.contains("billing"), "{empty}");
}
