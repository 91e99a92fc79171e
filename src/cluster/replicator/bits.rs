//! A set of slots, at one bit each.
//!
//! Never: shrinks; it is as large as the largest slot that was ever in it.

/// A set of slots.
#[derive(Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    count: usize,
}

// === impl Bits ===

impl Bits {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn has(&self, slot: u32) -> bool {
        let (word, bit) = place(slot);
        self.words.get(word).is_some_and(|it| it & bit != 0)
    }

    pub(super) fn set(&mut self, slot: u32) {
        let (word, bit) = place(slot);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.count += usize::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    pub(super) fn clear(&mut self, slot: u32) {
        let (word, bit) = place(slot);
        if let Some(it) = self.words.get_mut(word) {
            self.count -= usize::from(*it & bit != 0);
            *it &= !bit;
        }
    }

    pub(super) fn put(&mut self, slot: u32, is_in: bool) {
        match is_in {
            true => self.set(slot),
            false => self.clear(slot),
        }
    }

    /// The first slot from this one on.
    pub(super) fn first_from(&self, slot: u32) -> Option<u32> {
        if self.count == 0 {
            return None;
        }
        let (first, bit) = place(slot);
        let mut mask = !(bit - 1);
        let mut begin = slot - slot % u64::BITS;
        // A part of the words, not all of them but the first: that would count those up to there each time.
        for word in self.words.get(first..)? {
            let found = word & mask;
            if found != 0 {
                return Some(begin + found.trailing_zeros());
            }
            begin += u64::BITS;
            mask = u64::MAX;
        }
        None
    }

    /// All of them in ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let found = self.first_from(next?)?;
            next = found.checked_add(1);
            Some(found)
        })
    }
}

fn place(slot: u32) -> (usize, u64) {
    (usize::try_from(slot / u64::BITS).unwrap_or(usize::MAX), 1 << (slot % u64::BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_found_until_it_is_cleared() {
        let mut bits = Bits::default();
        for slot in [0, 63, 64, 1000] {
            bits.set(slot);
            bits.set(slot);
        }
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 63, 64, 1000]);
        assert_eq!(bits.first_from(65), Some(1000));
        for slot in [0, 1, 64, 1000, 5000] {
            bits.clear(slot);
        }
        assert!(bits.has(63) && !bits.has(64) && !bits.has(9999));
        bits.clear(63);
        assert!(bits.first_from(0).is_none());
    }
}
