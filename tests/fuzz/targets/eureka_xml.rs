//! XML that Eureka's clients send. What is taken is written in every format and read back.
//!
//! Never: keeps anything from one input to the next.

#![no_main]

#[path = "../instances.rs"]
mod instances;

use a8registry::wire::eureka::registration::{Dialect, RegistrationBody};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    match RegistrationBody::from_xml(input) {
        Ok(body) => {
            if let Some(registration) = instances::registration(body, Dialect::Netflix) {
                instances::check(registration, Dialect::Netflix);
            }
        }
        Err(error) => {
            let error = error.to_string();
            assert!(error.len() <= instances::ERROR_MAX, "{} bytes: {error}", error.len());
        }
    }
});
