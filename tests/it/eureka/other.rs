//! Cases 110 to 115: the server about itself, credentials, and what people see in a browser.
//!
//! Never: judges how a page looks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::eureka::{JSON, document, start, versioned, with};
use crate::support::{Daemon, Eureka, Peer, eventually};

#[test]
fn case_110_the_status_of_the_server() {
    let peer = Peer::agreeing();
    for flags in [String::new(), peer.flag()] {
        let (daemon, eureka) = start(&flags);
        let answer = eureka.ask("GET status");
        let status = answer.ok().json();
        assert_eq!(answer.header("content-type"), JSON);
        for part in ["generalStats", "applicationStats", "instanceInfo"] {
            assert!(status[part].is_object(), "{part} in {status}");
        }
        for name in
            ["environment", "num-of-cpus", "total-avail-memory", "current-memory-usage", "server-uptime"]
        {
            assert!(status["generalStats"][name].is_string(), "{name} in {status}");
        }
        for name in ["registered-replicas", "available-replicas", "unavailable-replicas"] {
            assert!(status["applicationStats"][name].is_string(), "{name} in {status}");
        }
        let replicas = status["applicationStats"]["registered-replicas"].as_str().expect("text");
        assert_eq!(replicas.is_empty(), flags.is_empty(), "{replicas}");
        assert!(status["instanceInfo"]["hostName"].is_string(), "it is not wrapped: {status}");
        assert_eq!(status["instanceInfo"]["instance"], Value::Null);

        let text = Eureka::of(&daemon).ask("GET status").xml("com.netflix.eureka.util.StatusInfo");
        for element in
            ["<generalStats>", "<num-of-cpus>", "<applicationStats>", "<instanceInfo>", "<server-uptime>"]
        {
            assert!(text.contains(element), "{element} in {text}");
        }
        Eureka::of(&daemon).with("Accept: text/plain").ask("GET status").empty(406);
    }
}

#[test]
fn case_111_no_overrides() {
    let (daemon, eureka) = start("");
    for path in ["/eureka/serverinfo/statusoverrides", "/eureka/serverinfo/statusoverrides/"] {
        let answer = eureka.ask(&format!("GET {path}"));
        assert_eq!((answer.ok().text().as_str(), answer.header("content-type")), ("{}", JSON));
    }
    let bare = Eureka::of(&daemon);
    assert_eq!(bare.overrides(), json!({}));
    bare.with("Accept: application/xml").ask("GET /eureka/serverinfo/statusoverrides").empty(406);
}

#[test]
fn case_112_scaling_groups_are_amazons() {
    let (_daemon, eureka) = start("");
    for value in ["ENABLED", "DISABLED"] {
        assert_eq!(eureka.ask(&format!("PUT asg/x/status?value={value}")).status, 400, "{value}");
    }
}

#[test]
fn case_114_with_authentication_on() {
    let (daemon, nobody) = start("--auth_mode trusted");
    let batch = json!({"replicationList": []}).to_string();
    for line in
        ["GET apps", "GET apps/delta", "GET apps/T/a", "GET vips/v", "PUT apps/T/a", "DELETE apps/T/a"]
    {
        let answer = nobody.ask(line);
        assert_eq!(
            (answer.status, answer.header("www-authenticate").starts_with("Basic")),
            (401, true),
            "{line}"
        );
    }
    assert_eq!(nobody.post(&document("T", "a")).status, 401);
    assert_eq!(nobody.send("POST peerreplication/batch/", JSON, &batch).status, 401);

    let header = format!("Authorization: Basic {}", STANDARD.encode("user:acme"));
    let somebody = nobody.with(&header);
    somebody.register(&document("T", "a"));
    somebody.ask("PUT apps/T/a").empty(200);
    assert_eq!(
        somebody.send("POST peerreplication/batch/", JSON, &batch).ok().json(),
        json!({"responseList": []})
    );
    assert_eq!(daemon.client().bearer("acme").ids("/api/v1/services/T"), ["T:a"]);
    for bad in ["Basic", "Basic !!!", "Basic dXNlcg==", "Basic dXNlcjo=", "Digest x"] {
        let answer = nobody.with(&format!("Authorization: {bad}")).ask("GET apps");
        assert_eq!(
            (answer.status, answer.header("www-authenticate").starts_with("Basic")),
            (401, true),
            "{bad}"
        );
    }
}

/// The text of a page in small letters.
fn page(daemon: &Daemon, path: &str) -> String {
    let browser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let answer = daemon.client().with(browser).get(path);
    assert!(answer.ok().header("content-type").starts_with("text/html"), "{path}");
    answer.text().to_lowercase()
}

#[test]
fn case_115_the_dashboard_and_the_last_leases() {
    let daemon = Daemon::start("--min_ttl 1s");
    let eureka = Eureka::of(&daemon).with("Accept: application/json");
    for path in ["/", "/eureka/", "/eureka"] {
        let text = page(&daemon, path);
        for block in [
            "system status",
            "environment",
            "data center",
            "current time",
            "uptime",
            "lease expiration enabled",
            "renews threshold",
            "renews (last min",
            "replicas",
            "no instances",
            "general info",
            "instance info",
            "num-of-cpus",
            "total-avail-memory",
            "current-memory-usage",
            "server-uptime",
            "registered-replicas",
            "unavailable-replicas",
            "available-replicas",
            "ipaddr",
            "status",
        ] {
            assert!(text.contains(block), "{path} lacks {block:?}");
        }
    }
    let linked = json!({"statusPageUrl": "http://pages.test/info", "status": "DOWN"});
    eureka.register(&with(document("SHOP", "id-of-one"), &linked));
    let hostile = json!({"statusPageUrl": "javascript:alert(1)", "metadata": {"k": "<script>"}});
    eureka.register(&with(document("SHOP", "<script>alert(2)</script>"), &hostile));
    eureka.register(&versioned("gone-soon", 1000, "UP"));
    eureka.ask("DELETE apps/T/gone-soon").empty(200);
    for path in ["/", "/eureka/"] {
        let text = page(&daemon, path);
        for shown in ["shop", "id-of-one", "http://pages.test/info", "down", "n/a"] {
            assert!(text.contains(shown), "{path} lacks {shown:?}");
        }
        assert!(!text.contains("<script>alert") && !text.contains("href=\"javascript:"), "{path}");
    }
    for path in ["/lastn", "/eureka/lastn"] {
        let text = eventually("both lists are there", || {
            let text = page(&daemon, path);
            (text.contains("t(gone-soon)") && text.contains("shop(id-of-one)")).then_some(text)
        });
        assert!(text.contains("cancel") && text.contains("regist"), "{path}");
        assert!(2 <= text.matches("t(gone-soon)").count(), "registered and cancelled: {path}");
        assert!(!text.contains("<script>alert"), "{path}");
    }
    // Probes and programs get what they always got.
    let plain = daemon.client().get("/");
    assert!(!plain.ok().header("content-type").starts_with("text/html"));
}

#[test]
fn case_113_lists_have_a_rate_for_whom_nobody_knows() {
    /// Far more than are served in the time that it takes.
    const MANY: usize = 40;
    for (flag, limited, free) in [
        (
            "--eureka_list_rate 1 --eureka_list_burst 2",
            &["apps", "apps/", "apps/delta", "apps/T"][..],
            &["vips/v"][..],
        ),
        ("--eureka_full_list_rate 1 --eureka_list_burst 2", &["apps", "apps/"], &["apps/delta", "apps/T"]),
    ] {
        let (_daemon, eureka) = start(flag);
        eureka.register(&document("T", "a"));
        let statuses = |eureka: &Eureka, paths: &[&str]| -> Vec<u16> {
            let asked = paths.iter().cycle().take(MANY).map(|path| eureka.ask(&format!("GET {path}")));
            asked
                .inspect(|answer| assert!(answer.status != 503 || answer.body.is_empty()))
                .map(|it| it.status)
                .collect()
        };
        let seen = statuses(&eureka, limited);
        assert_eq!((seen[0], seen[1]), (200, 200), "{flag}");
        assert!(MANY / 2 < seen.iter().filter(|status| **status == 503).count(), "{flag}: {seen:?}");
        for name in ["DefaultClient", "DefaultServer"] {
            let known = eureka.with(&format!("DiscoveryIdentity-Name: {name}"));
            assert_eq!(statuses(&known, limited), [200; MANY], "{flag}: {name}");
        }
        assert_eq!(statuses(&eureka, free), [200; MANY], "{flag}");
        for _ in 0..MANY {
            eureka.ask("PUT apps/T/a").empty(200);
            assert_eq!(eureka.ask("GET apps/T/a").status, 200);
        }
    }
}
