use serde_json::json;
use serde_json::value::RawValue;

use super::*;

/// A world, and what of it is shown: the differences put together.
struct Course {
    world: World,
    shown: BTreeMap<String, Instance>,
}

impl Course {
    fn new() -> Self {
        Self::within(&Room::new(usize::MAX))
    }

    fn within(room: &Room) -> Self {
        Self { world: World::new(room), shown: BTreeMap::new() }
    }

    /// A slice of these addresses, each `ADDRESS` or `ADDRESS=POD/UID`, `!` in front of those that end.
    fn slice(&mut self, name: &str, service: &str, addresses: &str, ports: &[(u16, PortKind)]) {
        let address = |text: &str| {
            let (text, pod) =
                text.split_once('=').map_or((text, None), |(text, pod)| (text, pod.split_once('/')));
            let pod = pod.map(|(name, uid)| PodReference { name: name.into(), uid: Some(uid.into()) });
            let is_terminating = text.starts_with('!');
            Address { text: text.trim_start_matches('!').into(), pod, is_terminating }
        };
        let addresses = addresses.split_whitespace().map(address).collect();
        let ports = ports.iter().map(|(number, kind)| Port { number: *number, kind: *kind }).collect();
        let slice =
            Slice { service: service.parse().expect("a name"), groups: [Group { addresses, ports }].into() };
        assert_eq!(self.world.put_slice(name, Some(slice)), Ok(()));
    }

    fn no_slice(&mut self, name: &str) {
        assert_eq!(self.world.put_slice(name, None), Ok(()));
    }

    fn pod(&mut self, name: &str, uid: &str) {
        let text = json!({"metadata": {"name": name, "uid": uid}}).to_string();
        let (pod, _) = Pod::read(&RawValue::from_string(text).expect("JSON"), "default").expect("a pod");
        assert_eq!(self.world.put_pod(name, pod), Ok(()));
    }

    fn no_pod(&mut self, name: &str) {
        assert_eq!(self.world.put_pod(name, None), Ok(()));
    }

    fn take(&mut self) {
        let Differences { puts, gone, left_out } = self.world.differences(Timestamp::of_system());
        assert_eq!(left_out, Vec::<String>::new());
        for id in gone {
            assert!(self.shown.remove(id.as_str()).is_some(), "{id} was not there");
        }
        for instance in puts {
            self.shown.insert(instance.id.as_str().to_owned(), instance);
        }
    }

    /// What is shown, as `ID SERVICE TYPE VALUE STATUS`; the same as when everything is asked for.
    #[track_caller]
    fn check(&mut self, want: &[&str]) {
        self.take();
        let told = |it: &Instance| {
            let Instance { id, service, endpoint, status, .. } = it;
            format!("{id} {service} {} {} {status}", endpoint.kind().as_str(), endpoint.value())
        };
        let shown: Vec<_> = self.shown.values().map(told).collect();
        assert_eq!(shown, want);
        let mut everything: Vec<_> =
            self.world.everything(Timestamp::of_system()).puts.iter().map(told).collect();
        everything.sort();
        assert_eq!(everything, want);
    }
}

use PortKind::{Http, Https, Tcp, Udp};

use super::super::objects::{Group, PodReference};

#[test]
fn an_address_in_several_slices_is_one_instance() {
    let mut course = Course::new();
    course.slice("a", "web", "10.0.0.1 !10.0.0.2", &[(80, Tcp)]);
    course.slice("b", "web", "!10.0.0.1 10.0.0.2", &[(80, Http)]);
    course.check(&["10.0.0.1-80 web http 10.0.0.1:80 UP", "10.0.0.2-80 web http 10.0.0.2:80 UP"]);
    course.no_slice("b");
    course.check(&["10.0.0.1-80 web tcp 10.0.0.1:80 UP", "10.0.0.2-80 web tcp 10.0.0.2:80 OUT_OF_SERVICE"]);
    course.slice("a", "other", "10.0.0.1", &[(80, Https)]);
    course.check(&["10.0.0.1-80 other https 10.0.0.1:80 UP"]);
    course.no_slice("a");
    course.check(&[]);
}

#[test]
fn who_else_would_have_an_id_has_one_that_says_what_sets_it_apart() {
    let mut course = Course::new();
    course.pod("p", "u");
    course.slice("b", "dns", "10.0.0.1=p/u", &[(53, Udp)]);
    course.check(&["u-53 dns udp 10.0.0.1:53 UP"]);
    course.slice("c", "dns", "10.0.0.1=p/u 2001:db8::1=p/u", &[(53, Tcp)]);
    course.slice("a", "a", "10.0.0.1=p/u", &[(53, Udp)]);
    course.check(&[
        "u-53 a udp 10.0.0.1:53 UP",
        "u-53-dns dns udp 10.0.0.1:53 UP",
        "u-53-dns-2001:db8::1.tcp dns tcp [2001:db8::1]:53 UP",
        "u-53-dns.tcp dns tcp 10.0.0.1:53 UP",
    ]);
    course.no_slice("a");
    course.check(&[
        "u-53 dns tcp 10.0.0.1:53 UP",
        "u-53-2001:db8::1 dns tcp [2001:db8::1]:53 UP",
        "u-53.udp dns udp 10.0.0.1:53 UP",
    ]);
}

#[test]
fn a_pod_counts_until_its_addresses_are_gone() {
    let mut course = Course::new();
    course.slice("a", "web", "10.0.0.1=p/u", &[(80, Tcp)]);
    course.check(&["10.0.0.1-80 web tcp 10.0.0.1:80 UP"]);
    course.pod("p", "other");
    course.check(&["10.0.0.1-80 web tcp 10.0.0.1:80 UP"]);
    course.pod("p", "u");
    course.check(&["u-80 web tcp 10.0.0.1:80 UP"]);
    course.pod("p", "v");
    course.slice("b", "web", "10.0.0.2=p/v", &[(80, Tcp)]);
    course.no_pod("p");
    course.slice("a", "web", "10.0.0.2=p/v", &[(80, Tcp)]);
    course.check(&["v-80 web tcp 10.0.0.2:80 UP"]);
    assert_eq!(course.world.departed.len(), 1);
    course.no_slice("a");
    course.no_slice("b");
    course.check(&[]);
    assert_eq!(course.world.departed.len(), 0);
    let World { services, referrers, claims, .. } = &course.world;
    assert!(services.is_empty() && referrers.is_empty() && claims.is_empty(), "{:?}", course.world);
}

#[test]
fn a_list_takes_away_what_it_does_not_have() {
    let mut course = Course::new();
    course.slice("a", "web", "10.0.0.1", &[(80, Tcp)]);
    course.slice("b", "web", "10.0.0.2", &[(80, Tcp)]);
    course.pod("p", "u");
    assert!(!course.world.is_listed());
    course.world.begin_slices();
    // A list that was begun again.
    course.world.begin_slices();
    course.slice("b", "web", "10.0.0.2", &[(80, Tcp)]);
    course.slice("c", "web", "10.0.0.3", &[(80, Tcp)]);
    course.world.end_slices();
    assert!(!course.world.is_listed());
    course.world.begin_pods();
    course.world.end_pods();
    assert!(course.world.is_listed() && course.world.is_touched() && !course.world.is_empty());
    course.check(&["10.0.0.2-80 web tcp 10.0.0.2:80 UP", "10.0.0.3-80 web tcp 10.0.0.3:80 UP"]);
    assert!(course.world.pods.held.is_empty());
}

#[test]
fn what_has_no_room_is_not_remembered_and_what_goes_makes_room() {
    let room = Room::new(700);
    let mut course = Course::within(&room);
    course.slice("a", "web", "10.0.0.1 10.0.0.2", &[(80, Tcp)]);
    let ports: Box<[Port]> = (1..=u16::MAX).map(|number| Port { number, kind: Tcp }).collect();
    let address = Address { text: "10.0.0.9".into(), pod: None, is_terminating: false };
    let groups = [Group { addresses: [address].into(), ports }].into();
    let many = Slice { service: "many".parse().expect("a name"), groups };
    assert_eq!(course.world.put_slice("b", Some(many)), Err(NoRoom));
    course.check(&["10.0.0.1-80 web tcp 10.0.0.1:80 UP", "10.0.0.2-80 web tcp 10.0.0.2:80 UP"]);
    // In the place of itself there is room.
    course.slice("a", "web", "10.0.0.1 10.0.0.3", &[(80, Tcp)]);
    course.check(&["10.0.0.1-80 web tcp 10.0.0.1:80 UP", "10.0.0.3-80 web tcp 10.0.0.3:80 UP"]);
    drop(course);
    assert!(room.hold((), 700).is_some());
}

#[test]
fn an_update_that_shows_nothing_new_touches_nothing() {
    let mut course = Course::new();
    course.pod("p", "u");
    course.slice("a", "web", "10.0.0.1=p/u", &[(80, Tcp)]);
    course.take();
    course.pod("p", "u");
    course.pod("q", "w");
    course.no_pod("q");
    course.slice("a", "web", "10.0.0.1=p/u", &[(80, Tcp)]);
    assert!(!course.world.is_touched());
    assert!(course.world.departed.is_empty());
}
