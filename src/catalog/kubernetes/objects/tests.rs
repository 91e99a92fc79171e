use serde_json::value::RawValue;

use super::*;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON")
}

/// Addresses with a note on each, and ports, of an object of the namespace `shop`.
fn shown(text: &str) -> Vec<(Vec<String>, Vec<(u16, PortKind)>)> {
    let (slice, _) = Slice::read(&raw(text), "shop").expect("it can be read");
    let note = |address: &Address| {
        let end = if address.is_terminating { " ends" } else { "" };
        let pod = address.pod.as_ref().map_or(String::new(), |pod| format!(" {}/{:?}", pod.name, pod.uid));
        format!("{}{pod}{end}", address.text)
    };
    let of_group = |group: &Group| {
        let ports = group.ports.iter().map(|port| (port.number, port.kind)).collect();
        (group.addresses.iter().map(note).collect(), ports)
    };
    slice.map_or(Vec::new(), |slice| slice.groups.iter().map(of_group).collect())
}

const WHOLE: &str = include_str!("../../../../tests/fixtures/kubernetes/endpointslice.json");
const ENDPOINTS: &str = include_str!("../../../../tests/fixtures/kubernetes/endpoints.json");
const POD: &str = include_str!("../../../../tests/fixtures/kubernetes/pod.json");

#[test]
fn a_slice_has_the_addresses_that_serve_and_the_ports_that_can_be_shown() {
    let want = vec![
        "10.1.0.1 web-1/Some(\"d3aff5d1-0000-4000-8000-000000000001\")".to_owned(),
        "10.1.0.2 ends".into(),
        "10.1.0.5".into(),
        "10.1.0.6".into(),
    ];
    let ports =
        vec![(53, PortKind::Udp), (8080, PortKind::Http), (8443, PortKind::Https), (9000, PortKind::Tcp)];
    assert_eq!(shown(WHOLE), [(want, ports)]);
    let (slice, cut) = Slice::read(&raw(WHOLE), "shop").expect("it can be read");
    assert_eq!((slice.expect("it is shown").service.as_str(), cut), ("web", None));
}

#[test]
fn an_endpoints_object_has_its_ready_addresses_subset_by_subset() {
    let first =
        vec!["10.1.0.1 web-1/Some(\"d3aff5d1-0000-4000-8000-000000000001\")".to_owned(), "10.1.0.2".into()];
    let want = [
        (first, vec![(8080, PortKind::Http)]),
        (vec!["2001:db8::3".to_owned()], vec![(53, PortKind::Tcp), (53, PortKind::Udp)]),
    ];
    assert_eq!(shown(ENDPOINTS), want);
}

#[test]
fn what_is_nobodys_or_nowhere_is_not_shown() {
    for text in [
        r#"{"metadata": {"name": "s"}, "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 1}]}"#,
        r#"{"metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "w"}}, "endpoints": null, "ports": null}"#,
        r#"{"metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "w"}}, "endpoints": [], "ports": []}"#,
        r#"{"metadata": {"name": "leader"}}"#,
        r#"{"metadata": {"name": "e"}, "subsets": [{"addresses": [{"ip": "10.0.0.1"}]}, {"ports": [{"port": 1}]}]}"#,
    ] {
        assert_eq!(shown(text), [], "{text}");
    }
    for text in
        [r#"{"metadata": {}, "subsets": []}"#, r#"{"metadata": {"name": "s"}, "endpoints": "many"}"#, r"[]"]
    {
        assert!(Slice::read(&raw(text), "shop").is_err(), "{text}");
    }
}

#[test]
fn a_pod_keeps_labels_and_annotations_and_little_else() {
    let (pod, cut) = Pod::read(&raw(POD), "shop").expect("it can be read");
    let pod = pod.expect("it is kept");
    assert_eq!(&*pod.uid, "d3aff5d1-0000-4000-8000-000000000001");
    assert_eq!(pod.tags, ["app=web".into(), "pod-template-hash=5d4f".into(), "version=v1".into()].into());
    assert_eq!(pod.metadata.as_json(), r#"{"owner":"team \"A\"","prometheus.io/scrape":"true"}"#);
    assert_eq!(cut, None);
    assert!(pod.weight() < 1024, "{}", pod.weight());
}

#[test]
fn the_longest_texts_of_a_pod_are_left_out_when_there_is_no_place_for_all() {
    let long = "x".repeat(1100);
    let labels: Vec<_> = (0..5).map(|nth| format!(r#""l{nth}": "{long}""#)).collect();
    let text = format!(
        r#"{{"metadata": {{"name": "p", "uid": "u", "labels": {{{}, "a": "b"}},
            "annotations": {{"long": "{long}", "b": "2", "a": "1"}}}}}}"#,
        labels.join(",")
    );
    let (pod, cut) = Pod::read(&raw(&text), "shop").expect("it can be read");
    let pod = pod.expect("it is kept");
    assert_eq!(pod.metadata.as_json(), r#"{"a":"1","b":"2"}"#);
    let lengths: Vec<_> = pod.tags.iter().map(|tag| tag.len()).collect();
    assert_eq!(lengths, [3, 1103, 1103, 1103]);
    assert_eq!(cut.as_deref(), Some("pod \"p\": 2 of its 6 labels, 4096 bytes are shown"));
}

#[test]
fn metadata_is_as_long_as_it_may_be() {
    // Seven bytes of JSON around key and value.
    for (length, is_shown) in [(Metadata::AMALGAM8_MAX - 8, true), (Metadata::AMALGAM8_MAX - 7, false)] {
        let text = format!(
            r#"{{"metadata": {{"name": "p", "uid": "u", "annotations": {{"k": "{}"}}}}}}"#,
            "x".repeat(length)
        );
        let (pod, cut) = Pod::read(&raw(&text), "shop").expect("it can be read");
        assert_eq!(pod.expect("it is kept").metadata.as_json().len() == length + 8, is_shown, "{length}");
        assert_eq!(cut.is_none(), is_shown);
    }
}
