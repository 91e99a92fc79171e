//! What another server's clients wrote, in batches (spec eureka sections 1.17, 4.2 and 4.3).
//!
//! Every item is judged by itself, as the single request would be, and has one answer.
//! Never: forwards an item, or fails a batch for one of its items.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;

use super::leases::renewed;
use super::negotiation::{self, Media};
use super::path::Place;
use super::refusal::Refusal;
use crate::api::error::{Doing, status_of};
use crate::api::reply::{self, Wants};
use crate::api::{Api, ApiError, body};
use crate::model::{Namespace, Origin, Status, Update};
use crate::registry::{Beat, Beaten, StoreError};
use crate::wire::eureka::registration::Dialect;
use crate::wire::eureka::replication::{
    BadBatch, BatchAction, BatchAnswer, BatchBody, BatchItem, BatchItemAnswer, Entity,
};
use crate::wire::lenient::excerpt;

/// Items between which others are let work.
const TURN: usize = 64;

/// `POST peerreplication/batch`
pub(super) async fn apply(
    api: &Api,
    request: &Parts,
    place: Place<'_>,
    namespace: &Namespace,
    body: Body,
) -> Result<Response, Refusal> {
    if negotiation::sent(place.root, &request.headers)? != Media::Json {
        return Err(ApiError::MediaType { got: excerpt("application/xml").into() }.into());
    }
    let limits = api.limits();
    let (max, deadline) = (limits.eureka_batch_body, limits.body_deadline);
    let body = body::read_decoded(&request.headers, body, max, deadline).await?;
    let BatchBody { items } = BatchBody::from_json(&body).map_err(|why| match why {
        BadBatch::Unreadable(why) => {
            Refusal::Unreadable { why: ApiError::Unreadable(Doing::Replicate, why), media: Media::Json }
        }
        BadBatch::NoList => ApiError::ListMissing.into(),
    })?;
    let max = limits.eureka_batch_items;
    if max < items.len() {
        return Err(ApiError::TooManyIds { got: items.len(), max }.into());
    }
    let mut answers = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        if at % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
        answers.push(judged(api, namespace, item).await);
    }
    let answer = BatchAnswer { items: answers }.to_json();
    let mut response = reply::whole(StatusCode::OK, answer.into(), Wants::coding_of(request));
    response.headers_mut().insert(CONTENT_TYPE, Media::Json.content_type());
    Ok(response)
}

/// The answer to one item; one that is refused for what is in it is counted, since its sender will not repeat it.
async fn judged(api: &Api, namespace: &Namespace, item: BatchItem) -> BatchItemAnswer {
    let answer = match item.action {
        BatchAction::Register => register(api, namespace, item).await,
        BatchAction::Heartbeat => beat(api, namespace, item).await,
        BatchAction::Cancel => cancel(api, namespace, item).await,
        BatchAction::StatusUpdate => match item.status {
            Some(status) => {
                update(api, namespace, &item, Update::Override { status, dirty_at: item.dirty_at }).await
            }
            None => Err(StatusCode::BAD_REQUEST),
        },
        BatchAction::DeleteStatusOverride => {
            let fallback = item.status.unwrap_or(Status::Unknown);
            update(api, namespace, &item, Update::ClearOverride { fallback, dirty_at: item.dirty_at }).await
        }
    };
    match answer {
        Ok(entity) => {
            let status = if entity.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
            BatchItemAnswer { status: status.as_u16(), entity }
        }
        Err(status) => {
            if status != StatusCode::NOT_FOUND {
                api.eureka_metrics().refused_items.inc();
            }
            BatchItemAnswer { status: status.as_u16(), entity: None }
        }
    }
}

/// Our own instance, for a sender whose copy is older; or the status that says what is wrong.
type Judgement = Result<Option<Entity>, StatusCode>;

async fn register(api: &Api, namespace: &Namespace, item: BatchItem) -> Judgement {
    if api.registry().has_told_of(namespace, &item.application, &item.id) {
        // The sender has it from us, or its client is ours too: not a second one, but a sign of life.
        return beat(api, namespace, BatchItem { dirty_at: None, ..item }).await;
    }
    let BatchItem { application, instance, .. } = item;
    let asked = instance.ok_or(StatusCode::BAD_REQUEST)?;
    let max = api.limits().eureka_metadata;
    let asked = asked.into_registration(&application, Dialect::Netflix, max).map_err(|why| {
        tracing::debug!(%application, %why, "a registration of {application} by a peer is refused: {why}");
        StatusCode::BAD_REQUEST
    })?;
    let registered = api.registry().register(namespace, asked, Origin::Peer).await;
    registered.map(|_| None).map_err(|why| status(&why))
}

async fn beat(api: &Api, namespace: &Namespace, item: BatchItem) -> Judgement {
    let BatchItem { application, id, dirty_at, status: _, overridden, instance: _, action: _ } = item;
    let beat = Beat { application: &application, id: &id, dirty_at, overridden, origin: Origin::Peer };
    match api.registry().beat(namespace, &beat).await {
        Ok(Beaten::Renewed) => Ok(None),
        Ok(Beaten::MustRegister) => Err(StatusCode::NOT_FOUND),
        Ok(Beaten::PeerIsBehind(instance)) => {
            Ok(Some(Entity::Ours { renewed: renewed(api, namespace, &instance), instance }))
        }
        Err(why) => Err(status(&why)),
    }
}

async fn cancel(api: &Api, namespace: &Namespace, item: BatchItem) -> Judgement {
    let id = api.registry().id_of(namespace, &item.application, &item.id);
    let gone = api.registry().deregister(namespace, id.as_str(), Origin::Peer).await;
    gone.map(|_| None).map_err(|why| status(&why))
}

async fn update(api: &Api, namespace: &Namespace, item: &BatchItem, update: Update) -> Judgement {
    let id = api.registry().id_of(namespace, &item.application, &item.id);
    let changed = api.registry().update(namespace, id.as_str(), update, Origin::Peer).await;
    changed.map(|_| None).map_err(|why| status(&why))
}

fn status(why: &StoreError) -> StatusCode {
    match why {
        StoreError::NoSuchInstance | StoreError::ReadOnly { .. } => StatusCode::NOT_FOUND,
        StoreError::NamespaceFull { .. }
        | StoreError::TooManyNamespaces { .. }
        | StoreError::Invalid(_)
        | StoreError::Unavailable => status_of(why),
    }
}
