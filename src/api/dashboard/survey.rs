//! What a page shows of a namespace's instances, found in one pass.
//!
//! Never: keeps more than a page can show, however many instances there are.

use std::sync::Arc;

use super::Filter;
use crate::directory::Directory;
use crate::model::{Instance, Status, Timestamp};

/// The instances that pass a filter, by application.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The first of them, in the order of their names.
    pub(super) applications: Vec<Application>,
    /// How many there are in all.
    pub(super) applications_found: usize,
    /// How many instances pass.
    pub(super) found: usize,
    /// How many of those are among `applications` one by one.
    pub(super) kept: usize,
    /// The first of those whose status an operator decided.
    pub(super) overridden: Vec<Arc<Instance>>,
    /// How many of those there are in all.
    pub(super) overridden_found: usize,
}

/// The instances of an application that pass a filter.
#[derive(Debug)]
pub(super) struct Application {
    /// How many have each status, in the order of [`Status::ALL`].
    pub(super) counts: [usize; Status::ALL.len()],
    /// How many run from each image.
    pub(super) amis: Tally,
    /// How many are in each zone.
    pub(super) zones: Tally,
    /// The first of all; it names the application.
    pub(super) first: Arc<Instance>,
    /// Those that are shown one by one, each with the time of its last renewal.
    pub(super) kept: Vec<(Arc<Instance>, Timestamp)>,
}

/// How often each of a few values was seen.
#[derive(Debug, Default)]
pub(super) struct Tally {
    seen: Vec<(Box<str>, usize)>,
    others: usize,
}

/// Amazon's key for the zone.
pub(super) const ZONE: &str = "availability-zone";
/// Amazon's key for the image.
const AMI: &str = "ami-id";
/// Most values of one kind that are told apart.
const VALUES_MAX: usize = 16;
/// Most bytes of a value that are looked at; real ones are much shorter.
const VALUE_BYTES_MAX: usize = 64;

/// Most instances that are shown one by one.
pub(super) const INSTANCES_MAX: usize = 1000;
/// Most applications that are shown.
pub(super) const APPLICATIONS_MAX: usize = 1000;
/// Most overrides that are shown.
pub(super) const OVERRIDES_MAX: usize = 200;

// === impl Survey ===

impl Survey {
    pub(super) fn of(directory: &Directory, filter: &Filter) -> Self {
        let mut survey = Self::default();
        let mut last: Option<Arc<Instance>> = None;
        directory.for_each(&mut |instance, renewed| {
            if !filter.passes(instance) {
                return;
            }
            let is_new = last.as_ref().is_none_or(|last| !is_same_application(last, instance));
            if is_new {
                last = Some(instance.clone());
            }
            survey.add(instance, renewed, is_new);
        });
        survey
    }

    /// Adds an instance of the same application as the one before, or of a new one.
    fn add(&mut self, instance: &Arc<Instance>, renewed: Timestamp, is_new: bool) {
        self.found += 1;
        self.applications_found += usize::from(is_new);
        if instance.overridden.is_some() {
            self.overridden_found += 1;
            if self.overridden.len() < OVERRIDES_MAX {
                self.overridden.push(instance.clone());
            }
        }
        if APPLICATIONS_MAX < self.applications_found {
            return;
        }
        if is_new {
            let (counts, amis, zones, kept) = Default::default();
            self.applications.push(Application { counts, amis, zones, first: instance.clone(), kept });
        }
        let Some(application) = self.applications.last_mut() else { return };
        if let Some(count) = application.counts.get_mut(instance.status.position()) {
            *count += 1;
        }
        let cloud = |key| instance.document.as_deref().and_then(|it| it.data_center.get(key));
        application.amis.add(cloud(AMI));
        application.zones.add(cloud(ZONE));
        if self.kept < INSTANCES_MAX {
            self.kept += 1;
            application.kept.push((instance.clone(), renewed));
        }
    }
}

fn is_same_application(a: &Instance, b: &Instance) -> bool {
    a.service.as_str().eq_ignore_ascii_case(b.service.as_str())
}

// === impl Application ===

impl Application {
    pub(super) fn len(&self) -> usize {
        self.counts.iter().sum()
    }
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, value: Option<&str>) {
        let value = value.unwrap_or("n/a");
        let value = value.get(..value.floor_char_boundary(VALUE_BYTES_MAX)).unwrap_or_default();
        let has_room = self.seen.len() < VALUES_MAX;
        match self.seen.iter_mut().find(|(seen, _)| **seen == *value) {
            Some((_, count)) => *count += 1,
            None if has_room => self.seen.push((value.into(), 1)),
            None => self.others += 1,
        }
    }

    /// The values in the order of their coming, and how often each was seen.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, usize)> {
        let others = (0 < self.others).then_some(("others", self.others));
        self.seen.iter().map(|(value, count)| (&**value, *count)).chain(others)
    }
}
