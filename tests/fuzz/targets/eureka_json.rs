//! JSON that Eureka's clients and servers send: registrations of both dialects, batches, answers, lists.
//!
//! What is taken is written in every format and read back; an instance of the Amalgam8 API in the same body
//! is written, too.
//! Never: keeps anything from one input to the next.

#![no_main]

#[path = "../instances.rs"]
mod instances;

use a8registry::model::Registration;
use a8registry::wire::amalgam8;
use a8registry::wire::eureka::applications::ApplicationsBody;
use a8registry::wire::eureka::registration::{Dialect, RegistrationBody};
use a8registry::wire::eureka::replication::{BatchAnswer, BatchBody};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for dialect in [Dialect::Netflix, Dialect::Amalgam8] {
        match RegistrationBody::from_json(input, dialect) {
            Ok(body) => check(body, dialect),
            Err(error) => is_short(&error.to_string()),
        }
    }
    match BatchBody::from_json(input) {
        Ok(batch) => {
            let instances = batch.items.into_iter().filter_map(|item| item.instance);
            instances.for_each(|body| check(body, Dialect::Netflix));
        }
        Err(error) => is_short(&error.to_string()),
    }
    if let Err(error) = BatchAnswer::from_json(input) {
        is_short(&error.to_string());
    }
    match ApplicationsBody::from_json(input) {
        Ok(list) => list.instances.into_iter().for_each(|listed| check(listed.body, Dialect::Netflix)),
        Err(error) => is_short(&error.to_string()),
    }
    if let Ok(body) = amalgam8::RegistrationBody::from_json(input)
        && let Ok(registration) = Registration::try_from(body)
    {
        instances::check(registration, Dialect::Amalgam8);
    }
});

fn check(body: RegistrationBody, dialect: Dialect) {
    if let Some(registration) = instances::registration(body, dialect) {
        instances::check(registration, dialect);
    }
}

fn is_short(error: &str) {
    assert!(error.len() <= instances::ERROR_MAX, "{} bytes: {error}", error.len());
}
