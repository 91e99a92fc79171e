//! What is told of real systems that somebody else has started, by variables.
//!
//! Never: starts one.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::net::SocketAddr;

/// What a variable holds.
#[track_caller]
pub(crate) fn given(variable: &str) -> String {
    env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set, which says where the real system is"))
}

/// The address in a variable with a URL of loopback and no path, such as `http://127.0.0.1:8500`.
#[track_caller]
pub(crate) fn address_in(variable: &str) -> SocketAddr {
    let url = given(variable);
    let address = url.split_once("://").and_then(|(_, rest)| rest.trim_end_matches('/').parse().ok());
    address.unwrap_or_else(|| panic!("{variable} is {url}, wanted a URL such as http://127.0.0.1:8500"))
}

/// Takes over what is wanted, services and addresses, in the place of what there is; those that go, and those that come.
pub(crate) fn exchange(
    has: &mut BTreeSet<(String, String)>,
    wanted: &[(&str, &str)],
) -> [Vec<(String, String)>; 2] {
    let wanted = wanted.iter().map(|(service, at)| ((*service).to_owned(), (*at).to_owned())).collect();
    let had = std::mem::replace(has, wanted);
    [had.difference(has).cloned().collect(), has.difference(&had).cloned().collect()]
}

/// Takes over what is wanted, what each service has at its addresses, in the place of what there is; the services that go,
/// and those that come or change, with whether they were there before.
pub(crate) fn exchange_by_service<T: PartialEq>(
    has: &mut BTreeMap<String, Vec<T>>,
    wanted: &[(&str, &str)],
    at: impl Fn(&str) -> T,
) -> (Vec<String>, Vec<(String, bool)>) {
    let mut by_service = BTreeMap::<_, Vec<_>>::new();
    for (service, address) in wanted {
        by_service.entry((*service).to_owned()).or_default().push(at(address));
    }
    let had = std::mem::replace(has, by_service);
    let gone = had.keys().filter(|name| !has.contains_key(*name)).cloned().collect();
    let new = has.iter().filter(|(name, at)| had.get(*name) != Some(at));
    (gone, new.map(|(name, _)| (name.clone(), had.contains_key(name))).collect())
}
