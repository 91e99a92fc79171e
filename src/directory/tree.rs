//! All chunks of a namespace, in order, as a tree that is never changed in place: a change copies the way
//! from one chunk to the root, and who holds the old root goes on reading it.
//!
//! Never: locks, or knows a revision.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::chunk::{Chunk, Edit, Key};

/// A tree of chunks; all chunks are equally deep.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Leaf(Arc<Chunk>),
    Branch(Arc<[Tree]>),
}

/// Most children of one node. A change copies as many pointers for each level.
const FAN_OUT: usize = 32;

// === impl Tree ===

impl Default for Tree {
    fn default() -> Self {
        Self::Leaf(Arc::default())
    }
}

impl Tree {
    /// The tree after edits, which stand in order and have different keys.
    pub(super) fn edited(&self, edits: &[Edit]) -> Self {
        let mut nodes = self.replaced_by(edits);
        while 1 < nodes.len() {
            nodes = grouped(&nodes);
        }
        let mut root = nodes.pop().unwrap_or_default();
        while let Self::Branch(children) = &root
            && let [only] = &children[..]
        {
            root = only.clone();
        }
        root
    }

    /// Calls `visit` with each chunk, in order.
    pub(super) fn for_each<'a>(&'a self, visit: &mut impl FnMut(&'a Arc<Chunk>)) {
        match self {
            Self::Leaf(chunk) => visit(chunk),
            Self::Branch(children) => children.iter().for_each(|child| child.for_each(visit)),
        }
    }

    /// Calls `visit` with each chunk that may hold instances of a service, given as a JSON string.
    pub(super) fn for_service<'a>(&'a self, service: &[u8], visit: &mut impl FnMut(&'a Arc<Chunk>)) {
        let _ = self.visit_range(&|key| key.service_cmp(service), visit); // breaking off is its way to end
    }

    /// Calls `visit` with each chunk that may hold instances of a service, in any letter case.
    pub(super) fn for_application<'a>(&'a self, name: &[u8], visit: &mut impl FnMut(&'a Arc<Chunk>)) {
        let _ = self.visit_range(&|key| key.application_cmp(name), visit); // breaking off is its way to end
    }

    fn visit_range<'a>(
        &'a self,
        compare: &impl Fn(Key<'_>) -> Ordering,
        visit: &mut impl FnMut(&'a Arc<Chunk>),
    ) -> ControlFlow<()> {
        match self {
            Self::Leaf(_) if self.first_key().is_some_and(|key| compare(key).is_gt()) => {
                ControlFlow::Break(())
            }
            Self::Leaf(chunk) => {
                visit(chunk);
                ControlFlow::Continue(())
            }
            Self::Branch(children) => {
                // The service may begin in the last chunk that begins before it.
                let first = children
                    .partition_point(|child| child.first_key().is_some_and(|key| compare(key).is_lt()));
                children[first.saturating_sub(1)..]
                    .iter()
                    .try_for_each(|child| child.visit_range(compare, visit))
            }
        }
    }

    fn first_key(&self) -> Option<Key<'_>> {
        match self {
            Self::Leaf(chunk) => chunk.first_key(),
            Self::Branch(children) => children.first().and_then(Self::first_key),
        }
    }

    /// The nodes, of this one's height, that this one becomes.
    fn replaced_by(&self, edits: &[Edit]) -> Vec<Self> {
        let children = match self {
            _ if edits.is_empty() => return vec![self.clone()],
            Self::Leaf(chunk) => return chunk.edited(edits).into_iter().map(Self::Leaf).collect(),
            Self::Branch(children) => children,
        };
        let mut edited = Vec::with_capacity(children.len() + 1);
        let mut rest = edits;
        for (at, child) in children.iter().enumerate() {
            let mine = match children.get(at + 1).and_then(Self::first_key) {
                Some(next) => rest.partition_point(|edit| edit.key().cmp(next).is_lt()),
                None => rest.len(),
            };
            let (now, later) = rest.split_at(mine);
            rest = later;
            for node in child.replaced_by(now) {
                push_or_join(&mut edited, node);
            }
        }
        match edited.is_empty() {
            true => vec![],
            false => grouped(&edited),
        }
    }
}

/// Appends a node, or makes one of it and its neighbour when both are small.
fn push_or_join(nodes: &mut Vec<Tree>, node: Tree) {
    let joined = match (nodes.last(), &node) {
        (Some(Tree::Leaf(last)), Tree::Leaf(next)) if last.should_join(next) => {
            Some(Tree::Leaf(Arc::new(last.joined(next))))
        }
        (Some(Tree::Branch(last)), Tree::Branch(next)) if last.len() + next.len() <= FAN_OUT / 2 => {
            Some(Tree::Branch(last.iter().chain(next.iter()).cloned().collect()))
        }
        _ => None,
    };
    match joined {
        Some(joined) => {
            nodes.pop();
            nodes.push(joined);
        }
        None => nodes.push(node),
    }
}

/// Branches of about equal size over nodes.
fn grouped(nodes: &[Tree]) -> Vec<Tree> {
    let groups = nodes.len().div_ceil(FAN_OUT);
    let each = nodes.len().div_ceil(groups);
    nodes.chunks(each).map(|group| Tree::Branch(group.into())).collect()
}
