//! Members that are listed. Their names are looked up whenever they are dialled.
//!
//! Never: changes.

use futures_util::future::BoxFuture;

use super::{Picture, Seen, Source};
use crate::cluster::config::Place;

/// A list, told once.
#[derive(Debug)]
pub(in crate::cluster) struct FixedMembers {
    places: Vec<Place>,
    is_told: bool,
}

// === impl FixedMembers ===

impl FixedMembers {
    pub(in crate::cluster) fn new(places: Vec<Place>) -> Self {
        Self { places, is_told: false }
    }
}

impl Source for FixedMembers {
    fn next(&mut self) -> BoxFuture<'_, Picture> {
        Box::pin(async {
            if std::mem::replace(&mut self.is_told, true) {
                std::future::pending::<()>().await;
            }
            let seen = self.places.iter().map(|place| Seen { place: place.clone(), id: None }).collect();
            Picture { seen, trouble: None, is_known: true }
        })
    }

    fn withdraw(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn kind(&self) -> &'static str {
        "list"
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_list_is_told_once() {
        let places: Vec<Place> = ["a:1", "[::1]:2"].map(|place| place.parse().unwrap()).into();
        let mut source = FixedMembers::new(places.clone());
        let picture = source.next().await;
        assert!(picture.is_known && picture.trouble.is_none());
        assert_eq!(picture.seen.into_iter().map(|seen| seen.place).collect::<Vec<_>>(), places);
        assert!(tokio::time::timeout(Duration::from_secs(3600), source.next()).await.is_err());
    }
}
