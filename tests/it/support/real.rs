//! What is told of real systems that somebody else has started, by variables.
//!
//! Never: starts one.

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
