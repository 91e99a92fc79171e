//! One kind of object of a namespace: listed page by page, then watched, and listed anew when the watch has lost its
//! place.
//!
//! Failures are told and tried again after a wait that grows; a list decides anew which kind of object it asks for.
//! Never: ends, keeps an object, or takes an answer or a line without bound.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use http::{Request, StatusCode};
use k8s_openapi::api::core::v1::{Endpoints, Pod as PodResource};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::api::{ListParams, WatchParams};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};

use super::api_server::{Answering, ApiServer, Failure};
use super::objects::{Event, Followed, Identity, Page, Pod, Refusal, Slice};
use crate::model::Namespace;
use crate::outbound::{Backoff, jittered};

/// What becomes known of the objects.
#[derive(Debug)]
pub(super) enum Told<T> {
    /// All of them follow.
    Listing,
    /// Those were all.
    Listed,
    /// This one is so; none: nothing of it is shown.
    Is(Box<str>, Option<T>),
    /// This one is no more.
    Gone(Box<str>),
    /// Something cannot be shown, and why.
    LeftOut(String),
    /// What was told is still so.
    Alive,
    /// It cannot be followed just now.
    Failed(Failure),
}

/// A kind of object, and how it is asked for.
#[derive(Debug)]
struct Source {
    what: &'static str,
    path: fn(&str) -> String,
    fields: Option<&'static str>,
}

struct Feed<T> {
    server: ApiServer,
    namespace: Namespace,
    /// The first that the API server has and gives us counts.
    sources: &'static [Source],
    source: usize,
    /// Which of them was given last.
    given: Option<usize>,
    /// How often that was refused since.
    refused: u32,
    place: Place,
    told: VecDeque<Told<T>>,
    backoff: Backoff,
    wait: Option<Duration>,
    page: u32,
    /// Attempts since the watch last said something.
    in_vain: u32,
    of: PhantomData<T>,
}

/// Where it stands.
enum Place {
    /// The next page of a list.
    Listing { from: Option<String> },
    /// Everything up to this version is known.
    At { version: String },
    /// The same, and a watch is open.
    Watching { version: String, answering: Box<Answering>, since: Instant, has_heard: bool },
}

const ADDRESSES: &[Source] = &[
    Source {
        what: "a list of EndpointSlices",
        path: |namespace| EndpointSlice::url_path(&(), Some(namespace)),
        fields: None,
    },
    Source {
        what: "a list of Endpoints",
        path: |namespace| Endpoints::url_path(&(), Some(namespace)),
        fields: None,
    },
];
/// Pods that have ended serve nothing, and there may be many.
const PODS: &[Source] = &[Source {
    what: "a list of Pods",
    path: |namespace| PodResource::url_path(&(), Some(namespace)),
    fields: Some("status.phase!=Succeeded,status.phase!=Failed"),
}];
/// Objects on a page of a list.
const PAGE: u32 = 100;
/// The same when they turn out to be large; an object has at most 1.5 MiB in etcd.
const SMALL_PAGE: u32 = 5;
/// Most bytes of a page.
const PAGE_MAX: usize = 16 * 1024 * 1024;
/// Most bytes of a line of a watch, which has one object.
const LINE_MAX: usize = 8 * 1024 * 1024;
/// A watch that ends sooner without a word is a failed one.
const TOO_SHORT: Duration = Duration::from_secs(1);
/// Between a failure and the next attempt.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The same after many.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Failed attempts to watch before everything is listed anew, and refusals before something else is asked for.
const IN_VAIN: u32 = 4;

/// The addresses of a namespace's services.
pub(super) fn addresses(server: ApiServer, namespace: Namespace) -> impl Stream<Item = Told<Slice>> + Send {
    Feed::stream(server, namespace, ADDRESSES)
}

/// The pods of a namespace.
pub(super) fn pods(server: ApiServer, namespace: Namespace) -> impl Stream<Item = Told<Pod>> + Send {
    Feed::stream(server, namespace, PODS)
}

// === impl Feed ===

impl<T: Followed + Send> Feed<T> {
    fn stream(
        server: ApiServer,
        namespace: Namespace,
        sources: &'static [Source],
    ) -> impl Stream<Item = Told<T>> + Send {
        let feed = Self {
            server,
            namespace,
            sources,
            source: 0,
            given: None,
            refused: 0,
            place: Place::Listing { from: None },
            told: VecDeque::new(),
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
            wait: None,
            page: PAGE,
            in_vain: 0,
            of: PhantomData,
        };
        unfold(feed, |mut feed| async { Some((feed.next().await, feed)) })
    }

    async fn next(&mut self) -> Told<T> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return told;
            }
            if let Some(wait) = self.wait.take() {
                sleep(wait).await;
            }
            let place = std::mem::replace(&mut self.place, Place::Listing { from: None });
            self.place = match place {
                Place::Listing { from } => self.list(from).await,
                Place::At { version } => self.watch(version).await,
                Place::Watching { version, mut answering, since, has_heard } => {
                    match answering.line(LINE_MAX).await {
                        Ok(Some(line)) => match self.hear(&line, version) {
                            Some(version) => Place::Watching { version, answering, since, has_heard: true },
                            None => Place::Listing { from: None },
                        },
                        Ok(None) if has_heard || TOO_SHORT < since.elapsed() => Place::At { version },
                        Ok(None) => self.rewatch(version, Failure::Broken("each watch ends at once".into())),
                        // Its time is over, or the connection is dead without a word.
                        Err(Failure::Silent) => Place::At { version },
                        Err(failure @ Failure::TooLong { .. }) => self.relist(failure),
                        Err(failure) => {
                            if has_heard || TOO_SHORT < since.elapsed() {
                                self.in_vain = 0;
                            }
                            self.rewatch(version, failure)
                        }
                    }
                }
            };
        }
    }

    /// Watches again after a while; it is a failure when it was so several times.
    fn rewatch(&mut self, version: String, failure: Failure) -> Place {
        self.in_vain += 1;
        if IN_VAIN <= self.in_vain {
            return self.relist(failure);
        }
        self.wait = Some(self.backoff.next());
        Place::At { version }
    }

    async fn list(&mut self, from: Option<String>) -> Place {
        if from.is_none() {
            self.told.push_back(Told::Listing);
        }
        match self.read_page(from).await {
            Ok(place) => place,
            Err(Failure::Refused { status: StatusCode::FORBIDDEN | StatusCode::NOT_FOUND, .. })
                if self.source + 1 < self.sources.len() && !self.may_be_given_again() =>
            {
                self.source += 1;
                Place::Listing { from: None }
            }
            Err(Failure::TooLong { .. }) if SMALL_PAGE < self.page => {
                self.page = SMALL_PAGE;
                Place::Listing { from: None }
            }
            Err(failure) => self.relist(failure),
        }
    }

    /// Tells of a page.
    async fn read_page(&mut self, from: Option<String>) -> Result<Place, Failure> {
        let Source { what, path, fields } = self.sources[self.source];
        let params = ListParams {
            limit: Some(self.page),
            continue_token: from,
            field_selector: fields.map(str::to_owned),
            ..ListParams::default()
        };
        let request = built(kube::core::Request::new(path(self.namespace.as_str())).list(&params))?;
        let answer = self.server.complete(request, what, PAGE_MAX).await?;
        let page: Page<'_> = parsed(&answer, what)?;
        for object in page.items.unwrap_or_default() {
            self.tell(object);
        }
        if let Some(from) = page.metadata.r#continue.filter(|token| !token.is_empty()) {
            return Ok(Place::Listing { from: Some(from) });
        }
        let version = page.metadata.resource_version.filter(|version| !version.is_empty());
        let version =
            version.ok_or_else(|| Failure::Unreadable { what, why: "it has no version".to_owned() })?;
        self.told.push_back(Told::Listed);
        (self.given, self.refused) = (Some(self.source), 0);
        Ok(Place::At { version })
    }

    /// Whether what is refused is what was given until now: an API server that starts refuses what it will give. Counts
    /// how often that was so.
    fn may_be_given_again(&mut self) -> bool {
        let may = self.given == Some(self.source) && self.refused < IN_VAIN;
        self.refused += u32::from(may);
        may
    }

    async fn watch(&mut self, version: String) -> Place {
        match self.open(&version).await {
            Ok(answering) => {
                self.told.push_back(Told::Alive);
                let answering = Box::new(answering);
                Place::Watching { version, answering, since: Instant::now(), has_heard: false }
            }
            Err(failure) => {
                self.in_vain += 1;
                let is_lost = matches!(
                    failure,
                    Failure::Expired
                        | Failure::Refused { status: StatusCode::FORBIDDEN | StatusCode::NOT_FOUND, .. }
                );
                if is_lost || IN_VAIN <= self.in_vain {
                    return self.relist(failure);
                }
                self.fail(failure);
                Place::At { version }
            }
        }
    }

    async fn open(&mut self, version: &str) -> Result<Answering, Failure> {
        let Source { what, path, fields } = self.sources[self.source];
        let patience = self.server.patience();
        let params = WatchParams {
            timeout: u32::try_from(jittered(patience.watch).as_secs()).ok(),
            field_selector: fields.map(str::to_owned),
            ..WatchParams::default()
        };
        let request = built(kube::core::Request::new(path(self.namespace.as_str())).watch(&params, version))?;
        self.server.begin(request, what, patience.watch_quiet).await
    }

    /// Tells of a line of a watch; none when the watch has lost its place.
    fn hear(&mut self, line: &[u8], version: String) -> Option<String> {
        let what = self.sources[self.source].what;
        if line.trim_ascii().is_empty() {
            return Some(version);
        }
        let heard = parsed::<Event<'_>>(line, what).and_then(|event| match event.r#type.as_str() {
            "ADDED" | "MODIFIED" => {
                let identity = identity(event.object, what)?;
                self.tell(event.object);
                Ok(identity.metadata.resource_version)
            }
            "DELETED" => {
                let identity = identity(event.object, what)?;
                self.told.extend(identity.metadata.name.map(|name| Told::Gone(name.into())));
                Ok(identity.metadata.resource_version)
            }
            "BOOKMARK" => {
                self.told.push_back(Told::Alive);
                Ok(identity(event.object, what)?.metadata.resource_version)
            }
            "ERROR" => Err(Failure::of_watch(event.object, what)),
            _ => Ok(None),
        });
        match heard {
            Ok(newer) => {
                self.in_vain = 0;
                self.backoff.reset();
                Some(newer.filter(|newer| !newer.is_empty()).unwrap_or(version))
            }
            Err(failure) => {
                let _listing = self.relist(failure);
                None
            }
        }
    }

    fn tell(&mut self, object: &RawValue) {
        let what = self.sources[self.source].what;
        let name = match identity(object, what).map(|identity| identity.metadata.name) {
            Ok(Some(name)) => name.into_boxed_str(),
            Ok(None) => return self.told.push_back(Told::LeftOut("an object without a name".to_owned())),
            Err(failure) => return self.told.push_back(Told::LeftOut(failure.to_string())),
        };
        match T::read(object, self.namespace.as_str()) {
            Ok((kept, cut)) => {
                self.told.push_back(Told::Is(name, kept));
                self.told.extend(cut.map(Told::LeftOut));
            }
            Err(why) => {
                self.told.push_back(Told::LeftOut(format!("{name:?} of {what}: {why}")));
                self.told.push_back(Told::Is(name, None));
            }
        }
    }

    /// Everything is asked for anew, after a while.
    fn relist(&mut self, failure: Failure) -> Place {
        self.source = 0;
        self.in_vain = 0;
        match failure {
            // Nothing is wrong: a watch may fall behind.
            Failure::Expired => self.wait = Some(self.backoff.next()),
            failure => self.fail(failure),
        }
        Place::Listing { from: None }
    }

    fn fail(&mut self, failure: Failure) {
        self.told.push_back(Told::Failed(failure));
        self.wait = Some(self.backoff.next());
    }
}

fn identity(object: &RawValue, what: &'static str) -> Result<Identity, Failure> {
    parsed(object.get().as_bytes(), what)
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a [u8], what: &'static str) -> Result<T, Failure> {
    serde_json::from_slice(text).map_err(|error| Failure::Unreadable { what, why: error.to_string() })
}

fn built<E: std::fmt::Display>(request: Result<Request<Vec<u8>>, E>) -> Result<Request<Vec<u8>>, Failure> {
    request.map_err(|error| Failure::Unreachable(error.to_string()))
}

// === impl Failure ===

impl Failure {
    /// What ended a watch.
    fn of_watch(object: &RawValue, what: &'static str) -> Self {
        let refusal: Refusal = serde_json::from_str(object.get()).unwrap_or_default();
        let status = refusal.code.and_then(|code| StatusCode::from_u16(code).ok());
        match status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR) {
            StatusCode::GONE => Self::Expired,
            status => Self::Refused { status, what },
        }
    }
}

#[cfg(test)]
mod tests;
