//! The instances of a chunk, in its order, in small blocks that a chunk shares with the one it was made from.
//!
//! A change counts up the references of a few blocks, not of every instance.
//! Never: changes, or knows an encoding.

use std::ops::Range;
use std::sync::Arc;

use crate::model::Instance;

/// Instances in order.
#[derive(Debug, Default)]
pub(super) struct Roster {
    blocks: Box<[Arc<[Arc<Instance>]>]>,
}

/// Puts a roster together out of ranges of others and of new instances.
#[derive(Debug, Default)]
pub(super) struct RosterBuilder {
    blocks: Vec<Arc<[Arc<Instance>]>>,
    loose: Vec<Arc<Instance>>,
}

/// Most instances of one block.
const BLOCK: usize = 16;

// === impl Roster ===

impl Roster {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.blocks.iter().flat_map(|block| block.iter())
    }

    pub(super) fn first(&self) -> Option<&Arc<Instance>> {
        self.blocks.first()?.first()
    }

    pub(super) fn last(&self) -> Option<&Arc<Instance>> {
        self.blocks.last()?.last()
    }
}

// === impl RosterBuilder ===

impl RosterBuilder {
    /// With room for about so many instances.
    pub(super) fn with_capacity(instances: usize) -> Self {
        // Blocks are three quarters full as a rule.
        Self { blocks: Vec::with_capacity(instances.div_ceil(BLOCK * 3 / 4) + 1), loose: Vec::new() }
    }

    pub(super) fn push(&mut self, instance: Arc<Instance>) {
        if self.loose.capacity() == 0 {
            self.loose.reserve_exact(BLOCK);
        }
        self.loose.push(instance);
        if self.loose.len() == BLOCK {
            self.seal();
        }
    }

    pub(super) fn push_range(&mut self, roster: &Roster, range: Range<usize>) {
        let mut begin = 0;
        for block in &roster.blocks {
            let end = begin + block.len();
            let wanted = range.start.clamp(begin, end) - begin..range.end.clamp(begin, end) - begin;
            let is_whole = wanted.len() == block.len();
            if is_whole && BLOCK < self.loose.len() + block.len() {
                self.seal();
            }
            if is_whole && self.loose.is_empty() && BLOCK / 2 < block.len() {
                self.blocks.push(block.clone());
            } else {
                block.get(wanted).unwrap_or_default().iter().for_each(|each| self.push(each.clone()));
            }
            begin = end;
        }
    }

    pub(super) fn finish(mut self) -> Roster {
        self.seal();
        Roster { blocks: self.blocks.into() }
    }

    fn seal(&mut self) {
        if !self.loose.is_empty() {
            self.blocks.push(self.loose.drain(..).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Endpoint, EndpointType, Registration, Status, Timestamp};

    fn instance(nth: usize) -> Arc<Instance> {
        let asked = Registration {
            service: format!("s{nth}").parse().unwrap(),
            endpoint: Endpoint::new(EndpointType::Tcp, "h").unwrap(),
            status: Status::Up,
            tags: [].into(),
            metadata: None,
            ttl: None,
            eureka: None,
        };
        Arc::new(asked.grant(Duration::from_secs(30), Timestamp::default()))
    }

    #[test]
    fn a_roster_holds_what_was_pushed_in_any_pieces() {
        let all: Vec<_> = (0..128).map(instance).collect();
        let mut roster = Roster::default();
        let mut want: Vec<Arc<Instance>> = Vec::new();
        for (nth, instance) in all.iter().enumerate() {
            let at = nth * 7919 % (want.len() + 1);
            let mut builder = RosterBuilder::default();
            builder.push_range(&roster, 0..at);
            builder.push(instance.clone());
            builder.push_range(&roster, at..want.len());
            roster = builder.finish();
            want.insert(at, instance.clone());
            assert!(roster.iter().zip(&want).all(|(a, b)| Arc::ptr_eq(a, b)), "{nth}");
            assert_eq!(roster.iter().count(), want.len());
            assert!(roster.blocks.iter().all(|block| block.len() <= BLOCK));
        }
        assert!(roster.blocks.len() <= 2 * 128 / BLOCK, "{} blocks", roster.blocks.len());
        let mut builder = RosterBuilder::default();
        builder.push_range(&roster, 3..5);
        builder.push_range(&roster, 100..100);
        assert!(builder.finish().iter().zip(&want[3..5]).all(|(a, b)| Arc::ptr_eq(a, b)));
    }
}
