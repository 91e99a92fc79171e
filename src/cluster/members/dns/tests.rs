//! A name whose answers change, by a name server that is told what to say.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use tokio::net::UdpSocket;

use super::*;

type Answer = Result<BTreeSet<Place>, String>;

#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Vec<Answer>>>);

impl LookUp for Told {
    fn places(&self, _: &DnsName, port: u16) -> BoxFuture<'_, Answer> {
        let answer = self.0.lock().remove(0);
        let answer = answer.map(|places| places.iter().map(|it| Place::new(it.host(), port)).collect());
        Box::pin(std::future::ready(answer))
    }
}

fn places(hosts: &[&str]) -> BTreeSet<Place> {
    hosts.iter().map(|host| Place::new(*host, 1)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_last_good_answer_stays_while_nobody_answers() {
    let told = Told::default();
    *told.0.lock() = vec![
        Err("no answer".into()),
        Ok(places(&["10.0.0.1", "10.0.0.2"])),
        Err("no answer".into()),
        Ok(places(&[])),
    ];
    let mut source = DnsMembers::by(told, "registry.example".parse().unwrap(), 6100);
    let shown = |picture: &Picture| -> Vec<String> {
        picture.seen.iter().map(|seen| seen.place.to_string()).collect()
    };
    let begun = Instant::now();
    let first = source.next().await;
    assert!(!first.is_known && first.trouble.is_some() && first.seen.is_empty());
    let second = source.next().await;
    assert_eq!(shown(&second), ["10.0.0.1:6100", "10.0.0.2:6100"]);
    assert_eq!(begun.elapsed(), EVERY, "it is asked at once and then every few seconds");
    let third = source.next().await;
    assert!(third.trouble.as_ref().is_some_and(|text| text.contains("registry.example")), "{third:?}");
    assert_eq!((shown(&third), third.is_known), (shown(&second), true));
    let fourth = source.next().await;
    assert!(fourth.seen.is_empty() && fourth.trouble.is_none() && fourth.is_known);
}

/// What a name server says to every question.
#[derive(Debug, Clone)]
enum Says {
    Addresses(Vec<[u8; 4]>),
    Services(Vec<(u16, &'static str)>),
    NoSuchName,
    Nothing,
}

/// A name server on loopback: it answers each question with the records that it was told, if they are of that type.
async fn server(says: Arc<Mutex<Says>>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = socket.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut bytes = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
            let says = says.lock().clone();
            if let Some(answer) = answer(&bytes[..length], &says) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    address
}

/// The answer to a question, by RFC 1035 section 4; none when there is to be none.
fn answer(question: &[u8], says: &Says) -> Option<Vec<u8>> {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0)? + 5;
    let asked = u16::from_be_bytes([question[end - 4], question[end - 3]]);
    let mut records: Vec<(u16, Vec<u8>)> = match says {
        Says::Addresses(addresses) => addresses.iter().map(|address| (1, address.to_vec())).collect(),
        Says::Services(services) => services.iter().map(|(port, host)| (33, service(*port, host))).collect(),
        Says::NoSuchName => Vec::new(),
        Says::Nothing => return None,
    };
    records.retain(|(kind, _)| *kind == asked);
    let code = if matches!(says, Says::NoSuchName) { 3 } else { 0 };
    let count = u8::try_from(records.len()).ok()?;
    let mut bytes = [&question[..2], &[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]].concat();
    bytes.extend(&question[12..end]);
    for (kind, data) in records {
        // The name is that of the question.
        bytes.extend([0xc0, 12]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 60]);
        bytes.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        bytes.extend(data);
    }
    Some(bytes)
}

/// A record of RFC 2782.
fn service(port: u16, host: &str) -> Vec<u8> {
    let mut bytes = [[0; 4].as_slice(), &port.to_be_bytes()].concat();
    for label in host.split('.') {
        bytes.push(u8::try_from(label.len()).expect("short"));
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

#[tokio::test]
async fn addresses_and_services_are_asked_for_by_the_kind_of_name() {
    let says = Arc::new(Mutex::new(Says::Addresses(vec![[10, 0, 0, 2], [10, 0, 0, 1]])));
    let dns = SystemDns::at(server(says.clone()).await);
    let ask = async |name: &str| dns.places(&name.parse().expect("a name"), 6100).await;
    let shown = |found: Answer| found.map(|it| it.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(
        shown(ask("registry.example.").await),
        Ok(vec!["10.0.0.1:6100".into(), "10.0.0.2:6100".into()])
    );
    *says.lock() = Says::Services(vec![(7000, "B.example"), (7001, "a.example"), (0, "nobody.example")]);
    let found = shown(ask("_cluster._tcp.registry.example.").await);
    assert_eq!(found, Ok(vec!["a.example:7001".into(), "b.example:7000".into()]));
    *says.lock() = Says::NoSuchName;
    assert_eq!(ask("registry.example.").await, Ok(BTreeSet::new()));
    assert_eq!(ask("_cluster._tcp.registry.example.").await, Ok(BTreeSet::new()));
    *says.lock() = Says::Nothing;
    assert!(ask("registry.example.").await.is_err());
}
