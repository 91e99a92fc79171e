//! Renewals: by handle, at two to four bytes each, or by key when the receiver does not know the handle yet.
//!
//! An age is in units of eight milliseconds, rounded up: a lease is never taken for longer than it is.
//! Never: a content, or a time of day.

use std::time::Duration;

use super::bytes::{Malformed, Reader, Writer};
use crate::cluster::message::{Age, Key, Stamp};

/// The unit of ages on the wire.
const UNIT_MILLIS: u64 = 8;

/// Leases that were renewed through one member.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Renewals {
    /// [`crate::cluster::message::MemberId::origin`] of the member that their clients told.
    pub(crate) home: u64,
    /// In ascending order of the handle.
    pub(crate) renewals: Vec<(u32, Age)>,
}

/// Leases that were renewed through one member, with what their handles stand for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Binds {
    /// The member that their clients told.
    pub(crate) home: u64,
    pub(crate) binds: Vec<Bind>,
}

/// What a handle stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bind {
    pub(crate) handle: u32,
    pub(crate) key: Key,
    /// The newest that the sender knows.
    pub(crate) stamp: Stamp,
    pub(crate) age: Age,
}

// === impl Renewals ===

impl Renewals {
    /// Most bytes of one, whatever its handle and its age.
    pub(crate) const EACH_MAX: usize = 5 + 10;

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (home, youngest) = (reader.u64()?, reader.varint()?);
        let (mut renewals, mut last) = (Vec::new(), 0);
        while !reader.is_empty() {
            last = reader.handle_after(last)?;
            renewals.push((last, age(youngest.saturating_add(reader.varint()?))));
        }
        Ok(Self { home, renewals })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        let youngest = self.renewals.iter().map(|(_, age)| units(*age)).min().unwrap_or_default();
        writer.u64(self.home);
        writer.varint(youngest);
        let mut last = 0;
        for (handle, age) in &self.renewals {
            writer.varint(u64::from(handle.wrapping_sub(last)));
            writer.varint(units(*age) - youngest);
            last = *handle;
        }
    }
}

// === impl Binds ===

impl Binds {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (home, mut binds) = (reader.u64()?, Vec::new());
        while !reader.is_empty() {
            binds.push(Bind {
                handle: reader.handle()?,
                key: reader.key()?,
                stamp: Stamp { time: reader.u64()?, origin: reader.u64()? },
                age: age(reader.varint()?),
            });
        }
        Ok(Self { home, binds })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u64(self.home);
        for Bind { handle, key, stamp, age } in &self.binds {
            writer.varint(u64::from(*handle));
            writer.key(key);
            writer.u64(stamp.time);
            writer.u64(stamp.origin);
            writer.varint(units(*age));
        }
    }
}

// === impl Bind ===

impl Bind {
    /// Most bytes of one beyond the texts of its key.
    pub(crate) const OVERHEAD: usize = 5 + super::KEY_OVERHEAD + 16 + 10;
}

pub(super) fn units(age: Age) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX).div_ceil(UNIT_MILLIS)
}

pub(super) fn age(units: u64) -> Age {
    Duration::from_millis(units.saturating_mul(UNIT_MILLIS))
}
