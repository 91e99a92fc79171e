//! Self-preservation over a quarter of an hour, on a clock that runs as fast as there is nothing to do.

use tokio_util::sync::CancellationToken;

use super::*;

const JSON: (&str, &str) = ("accept", "application/json");

/// How many instances are listed, and whether leases end at present.
async fn seen(server: &Server) -> (usize, bool) {
    let listed = server.get("/api/v1/instances").await.ids().len();
    let status = server.send("GET /eureka/v2/status", &[JSON], "").await.ok().body.clone();
    let says = |word: &str| {
        let shown = format!(r#""lease-expiration-enabled":"{word}""#);
        memchr::memmem::find(&status, shown.as_bytes()).is_some()
    };
    assert_ne!(says("true"), says("false"), "{status:?}");
    (listed, says("true"))
}

#[tokio::test(start_paused = true)]
async fn self_preservation_ends_by_itself_although_nobody_renews() {
    let leases = LeaseRules { self_preservation: true, ..LeaseRules::default() };
    let (server, reaper) = Choices { leases, ..Choices::default() }.server_and_reaper();
    let stop = CancellationToken::new();
    let watching = async {
        for nth in 0..10 {
            server.register("shop", &format!("10.0.0.{nth}:80"), "").await;
        }
        for minute in 0..15 {
            assert_eq!(seen(&server).await, (10, false), "minute {minute}");
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(seen(&server).await, (0, true));
        // Who comes then is expected again.
        server.register("shop", "10.0.1.1:80", "").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(seen(&server).await, (1, false));
        stop.cancel();
    };
    tokio::join!(reaper.run(stop.clone()), watching);
}
