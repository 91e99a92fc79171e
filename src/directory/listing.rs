//! stub
use bytes::Bytes;
/// How a body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// as it is
    Identity,
    /// RFC 1952
    Gzip,
}
/// Instances that fit, as ranges of encoded chunks.
#[derive(Debug)]
pub struct Listing {}
/// A body in pieces of at most about 64 kB: an iterator of `Bytes`, each made when it is asked for.
#[derive(Debug)]
pub struct Frames {}
impl Listing {
    /// Number of instances.
    pub fn len(&self) -> usize {
        unimplemented!()
    }
    /// Whether nothing fits.
    pub fn is_empty(&self) -> bool {
        unimplemented!()
    }
    /// `prefix`, the instances separated by commas, `suffix`.
    pub fn render(self, _prefix: Bytes, _suffix: Bytes, _encoding: Encoding) -> Frames {
        unimplemented!()
    }
}
impl Frames {
    /// Bytes that are still to come; exact from the beginning.
    pub fn remaining(&self) -> u64 {
        unimplemented!()
    }
}
impl Iterator for Frames {
    type Item = Bytes;
    fn next(&mut self) -> Option<Bytes> {
        unimplemented!()
    }
}
