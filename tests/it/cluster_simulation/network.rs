//! Connections between members: queues of frames in order, with delay, slowness, silence and loss at their end.

use std::collections::{BTreeMap, VecDeque};

use a8registry::cluster::replicator::Link;
use bytes::Bytes;

/// One connection. Its ends notice for themselves that it is no more.
#[derive(Debug)]
pub(super) struct Connection {
    /// The members at its ends.
    pub(super) ends: [usize; 2],
    pub(super) is_open: [bool; 2],
    pub(super) opened: u64,
    /// When something last came at each end.
    pub(super) heard: [u64; 2],
    /// What is under way to each end.
    pub(super) queues: [Queue; 2],
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    frames: VecDeque<(u64, Bytes)>,
    pub(super) bytes: usize,
    free_at: u64,
}

/// How the network is between each pair of members, for each direction.
#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) connections: BTreeMap<Link, Connection>,
    /// Frames from one to the other come to a standstill.
    pub(super) mute: BTreeMap<(usize, usize), u64>,
    /// Milliseconds that each frame takes by itself.
    pub(super) slow: BTreeMap<(usize, usize), u64>,
    pub(super) delay: BTreeMap<(usize, usize), u64>,
    next: u64,
}

impl Network {
    pub(super) fn open(&mut self, a: usize, b: usize, time: u64) -> Link {
        self.next += 1;
        let link = Link(self.next);
        let (ends, is_open, heard) = ([a, b], [true; 2], [time; 2]);
        let queues = Default::default();
        self.connections.insert(link, Connection { ends, is_open, opened: time, heard, queues });
        link
    }

    pub(super) fn is_mute(&self, from: usize, to: usize, time: u64) -> bool {
        self.mute.get(&(from, to)).is_some_and(|until| time < *until)
    }

    /// Whether a frame could go to and fro.
    pub(super) fn is_cut(&self, a: usize, b: usize, time: u64) -> bool {
        self.is_mute(a, b, time) || self.is_mute(b, a, time)
    }

    pub(super) fn is_slow(&self, a: usize, b: usize) -> bool {
        self.slow.contains_key(&(a, b)) || self.slow.contains_key(&(b, a))
    }

    /// Open connections of a member, with the end that is its.
    pub(super) fn of(&self, member: usize) -> Vec<(Link, usize)> {
        let ends = self.connections.iter().flat_map(|(link, it)| [(*link, 0, it), (*link, 1, it)]);
        let ours = ends.filter(|(_, end, it)| it.ends[*end] == member && it.is_open[*end]);
        ours.map(|(link, end, _)| (link, end)).collect()
    }

    /// Open connections between two members.
    pub(super) fn between(&self, a: usize, b: usize) -> impl Iterator<Item = (Link, &Connection)> {
        let is_it = move |it: &&Connection| it.ends == [a, b] || it.ends == [b, a];
        self.connections.iter().filter(move |(_, it)| is_it(it)).map(|(link, it)| (*link, it))
    }

    pub(super) fn send(&mut self, link: Link, from: usize, frame: Bytes, time: u64) {
        let Some(connection) = self.connections.get_mut(&link) else { return };
        let to = 1 - from;
        let pair = (connection.ends[from], connection.ends[to]);
        if !connection.is_open[to] {
            return;
        }
        let (delay, slow) = (self.delay.get(&pair).copied(), self.slow.get(&pair).copied());
        let queue = &mut connection.queues[to];
        let at = (time + delay.unwrap_or_default()).max(queue.free_at) + slow.unwrap_or_default();
        queue.free_at = at;
        queue.bytes += frame.len();
        queue.frames.push_back((at, frame));
    }

    /// The next frame that has arrived at an end.
    pub(super) fn take(&mut self, link: Link, end: usize, time: u64) -> Option<Bytes> {
        let connection = self.connections.get(&link)?;
        if self.is_mute(connection.ends[1 - end], connection.ends[end], time) {
            return None;
        }
        let connection = self.connections.get_mut(&link)?;
        let queue = &mut connection.queues[end];
        let (_, frame) = queue.frames.pop_front_if(|(at, _)| *at <= time)?;
        queue.bytes -= frame.len();
        connection.heard[end] = time;
        Some(frame)
    }

    /// Whether anything has arrived at an end.
    pub(super) fn has_arrived(&self, link: Link, end: usize, time: u64) -> bool {
        self.connections.get(&link).is_some_and(|it| {
            it.queues[end].frames.front().is_some_and(|(at, _)| *at <= time)
                && !self.is_mute(it.ends[1 - end], it.ends[end], time)
        })
    }

    /// An end lets go; what was under way in both directions is lost.
    pub(super) fn close(&mut self, link: Link, end: usize) {
        if let Some(connection) = self.connections.get_mut(&link) {
            connection.is_open[end] = false;
            connection.queues = Default::default();
            if connection.is_open == [false; 2] {
                self.connections.remove(&link);
            }
        }
    }
}
