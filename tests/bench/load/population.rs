//! The instances that a run speaks of: all made from their number, spread over a tenth as many services.
//!
//! A fifth of the instances are in wide services of exactly 20; those are the ones that look-ups ask for. The rest
//! share the other services evenly.
//! Never: random, so that every run registers the same.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;

/// Instances of a wide service.
pub(crate) const WIDE: usize = 20;

/// The id that the registry gave, as text.
pub(crate) type Id = [u8; 16];

/// Everything that is registered during one run at one size.
#[derive(Debug)]
pub(crate) struct Population {
    size: usize,
    ids: Vec<Id>,
    newcomers: AtomicUsize,
    walk: AtomicUsize,
    stride: usize,
}

// === impl Population ===

impl Population {
    /// `size` instances, none of which has an id yet.
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size,
            ids: vec![[b'0'; 16]; size],
            newcomers: AtomicUsize::new(size),
            walk: AtomicUsize::new(0),
            stride: stride(size),
        }
    }

    /// Number of instances that stay.
    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// Number of services.
    pub(crate) const fn services(&self) -> usize {
        self.size / 10
    }

    /// The next instance of a walk that meets all of them in a scattered order before it meets one again.
    pub(crate) fn next(&self) -> usize {
        // Kept small, so that the product below does not overflow.
        let step = self.walk.fetch_add(1, Ordering::Relaxed) % self.size;
        step * self.stride % self.size
    }

    /// Number of an instance that was never registered before.
    pub(crate) fn newcomer(&self) -> usize {
        self.newcomers.fetch_add(1, Ordering::Relaxed)
    }

    /// The id of an instance.
    pub(crate) fn id(&self, instance: usize) -> &str {
        std::str::from_utf8(&self.ids[instance]).expect("ids are taken from checked text")
    }

    /// Remembers the ids that were given.
    pub(crate) fn learn(&mut self, ids: impl IntoIterator<Item = (usize, Id)>) {
        for (instance, id) in ids {
            self.ids[instance] = id;
        }
    }

    /// The wide service with this number, counted round and round.
    pub(crate) fn wide(&self, number: usize) -> String {
        name(number % self.wide_services())
    }

    /// The body that registers an instance.
    pub(crate) fn write_registration(&self, instance: usize, out: &mut Vec<u8>) {
        let (service, address) = (self.service(instance), self.address(instance));
        let zone = instance % 3;
        let written = write!(
            out,
            r#"{{"service_name":"{service}","endpoint":{{"type":"http","value":"{address}:8080"}},"#
        )
        .and_then(|()| {
            write!(
                out,
                r#""ttl":86400,"status":"UP","tags":["v1","zone-{zone}"],"metadata":{{"zone":"dc{zone}","version":"1.2.3","weight":"100"}}}}"#
            )
        });
        written.expect("writing to memory does not fail");
    }

    /// The name of an instance's service.
    pub(crate) fn service(&self, instance: usize) -> String {
        name(self.service_of(instance))
    }

    /// The address of an instance.
    pub(crate) fn address(&self, instance: usize) -> Ipv4Addr {
        let [_, a, b, c] = u32::try_from(instance).unwrap_or(u32::MAX).to_be_bytes();
        Ipv4Addr::new(10, a, b, c)
    }

    const fn wide_services(&self) -> usize {
        self.services() / 10
    }

    const fn service_of(&self, instance: usize) -> usize {
        let wide = self.wide_services();
        if instance < wide * WIDE { instance % wide } else { wide + instance % (self.services() - wide) }
    }
}

/// The id in the answer to a registration.
pub(crate) fn id_in(answer: &[u8]) -> anyhow::Result<Id> {
    let key = br#""id":""#;
    let from =
        memchr::memmem::find(answer, key).context("no id in the answer to a registration")? + key.len();
    let id = answer.get(from..from + 16).filter(|id| id.iter().all(u8::is_ascii_hexdigit));
    let id = id.context("the id in the answer to a registration is not 16 hex digits")?;
    Ok(id.try_into()?)
}

fn name(service: usize) -> String {
    format!("svc-{service:05}")
}

/// Near the golden section of the size, and without a common divisor with it.
fn stride(size: usize) -> usize {
    let near = size / 1_000 * 618;
    (near..).find(|stride| divisor(*stride, size) == 1).unwrap_or(1)
}

const fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}
