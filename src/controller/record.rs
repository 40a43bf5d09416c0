//! Recording what a pass came to: one status, written only where it says something new, always on the version that it
//! is based on.

use super::context::Context;
use super::draft::{self, Draft, Fresh, Objects, Stored};
use super::events::Happening;
use super::pass::Subject;
use crate::api::{ReleaseClosure, ReleaseClosureSpec, ReleaseClosureStatus, parse};
use crate::closure::accepted::Accepted;
use crate::closure::decide::Brief;
use crate::closure::ledger::Outcome;
use crate::drive::Unstored;
use crate::telemetry::After;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use kube::api::{GetParams, PostParams, Request};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;
use tracing::info;

/// Tries, after the first, of a write that the API server neither takes nor refuses: half a minute in all. Where it is
/// away altogether, the term ends before.
const UNANSWERED_TRIES: u32 = 8;
/// The longest pause between two of them.
const UNANSWERED_PAUSE_MAX: Duration = Duration::from_secs(8);

/// Why a status was not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The object has changed, or is gone, or another replica may be at it: what was decided is not based on it as it is now.
    #[error("the closure changed under the pass")]
    Superseded,
    /// The API server did not take it.
    #[error("the closure's status could not be written")]
    Api(#[source] kube::Error),
    /// It could not be put into JSON.
    #[error("the closure's status could not be put into JSON")]
    Json(#[source] serde_json::Error),
}

/// Reads a closure from the API server itself. Of its metadata only what a pass needs comes along.
///
/// # Errors
/// The API server gives no answer, or not the kind.
pub async fn read(context: &Context, namespace: &str, name: &str) -> Result<Option<ReleaseClosure>, kube::Error> {
    #[derive(Deserialize)]
    struct Read {
        #[serde(deserialize_with = "super::cache::metadata_of_pass")]
        metadata: ObjectMeta,
        spec: ReleaseClosureSpec,
        status: Option<ReleaseClosureStatus>,
    }
    let request = Request::new(ReleaseClosure::url_path(&(), Some(namespace))).get(name, &GetParams::default());
    match context.client.request(request.map_err(kube::Error::BuildRequest)?).await {
        Ok(Read { metadata, spec, status }) => Ok(Some(ReleaseClosure { metadata, spec, status })),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Stores a status where it says something new. Returns whether it did.
///
/// # Errors
/// Superseded where the object has changed since the draft began.
pub async fn store(context: &Context, subject: &Subject, mut draft: Draft) -> Result<bool, StoreError> {
    write(context, subject, &mut draft).await
}

/// Stores the intent: the fence before an announcement. An intent whose storing nobody knows of would be a question to a
/// person, although nothing was announced.
///
/// # Errors
/// As [`store`]; nothing may be announced then.
pub async fn store_intent(context: &Context, subject: &Subject, draft: &mut Draft) -> Result<(), StoreError> {
    write_surely(context, subject, draft).await.map(drop)
}

/// [`draft::store_fact`], for the object of a pass.
///
/// # Errors
/// Superseded where it is another object, or finished.
pub async fn store_fact(context: &Context, subject: &Subject, draft: Draft) -> Result<Stored, StoreError> {
    Ok(draft::store_fact(&Kept { context, subject }, &subject.uid, draft).await?)
}

/// The object of a pass, as the API server keeps it.
struct Kept<'a> {
    context: &'a Context,
    subject: &'a Subject,
}

impl Objects for Kept<'_> {
    type Error = StoreError;

    async fn write(&self, draft: &mut Draft) -> Result<bool, Unstored<StoreError>> {
        write_surely(self.context, self.subject, draft).await.map_err(|error| match error {
            StoreError::Superseded => Unstored::Superseded,
            error => Unstored::Failed(error),
        })
    }

    async fn read(&self) -> Result<Option<Fresh>, StoreError> {
        let Subject { namespace, name, .. } = self.subject;
        let fresh = read(self.context, namespace, name).await.map_err(StoreError::Api)?;
        Ok(fresh.map(Fresh::from))
    }
}

impl From<Unstored<StoreError>> for StoreError {
    fn from(unstored: Unstored<StoreError>) -> StoreError {
        match unstored {
            Unstored::Superseded => StoreError::Superseded,
            Unstored::Failed(error) => error,
        }
    }
}

/// Writes until the API server has said yes or no: what this process knows, nobody else does. Where a reply was lost, what
/// is stored tells what became of the write.
async fn write_surely(context: &Context, subject: &Subject, draft: &mut Draft) -> Result<bool, StoreError> {
    for tries in 0.. {
        let error = match write(context, subject, draft).await {
            Err(StoreError::Superseded) if draft.sent().is_some() => {
                match read(context, &subject.namespace, &subject.name).await {
                    Ok(fresh) => {
                        let taken = draft.was_taken(&subject.uid, fresh.map(Fresh::from));
                        return if taken { Ok(true) } else { Err(StoreError::Superseded) };
                    }
                    Err(error) => error,
                }
            }
            Err(StoreError::Api(error)) => error,
            other => return other,
        };
        if tries == UNANSWERED_TRIES || !is_passing(&error) {
            return Err(StoreError::Api(error));
        }
        info!(namespace = subject.namespace, name = subject.name, %error, "a status was not taken; it is sent again");
        let plain = Duration::from_millis(250 << tries).mul_f64(1.0 - 0.25 * fastrand::f64());
        tokio::time::sleep(plain.max(asked_for(&error)).min(UNANSWERED_PAUSE_MAX)).await;
    }
    Err(StoreError::Superseded)
}

/// Whether the same request may be taken in a moment.
fn is_passing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        kube::Error::BuildRequest(_) => false,
        _ => true,
    }
}

/// How long the API server wants to be left alone, where its reply says so.
fn asked_for(error: &kube::Error) -> Duration {
    let details = if let kube::Error::Api(status) = error { status.details.as_ref() } else { None };
    Duration::from_secs(details.map_or(0, |details| details.retry_after_seconds.into()))
}

/// What is sent to the status subresource, which takes a status and nothing else.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    api_version: Cow<'static, str>,
    kind: Cow<'static, str>,
    metadata: WrittenMeta<'a>,
    status: &'a ReleaseClosureStatus,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenMeta<'a> {
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<&'a str>,
}

/// What of the reply is of interest: the new version.
#[derive(Deserialize)]
struct Reply {
    metadata: ReplyMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReplyMeta {
    resource_version: String,
}

async fn write(context: &Context, subject: &Subject, draft: &mut Draft) -> Result<bool, StoreError> {
    // The very same is sent again: times are in it.
    let status = match draft.sent() {
        Some(sent) => sent.clone(),
        None => {
            let requested_at = parse::requested_at(&subject.object);
            let Some(status) = draft.status(subject.generation, requested_at, context.now()) else { return Ok(false) };
            status
        }
    };
    // A count of what is finished begins before this is written, or after it is counted.
    let counting = if status.completion_time.is_some() { Some(context.tally.change().await) } else { None };
    // Once the term is over another replica is at it, and what was seen here may be old. The version alone does not tell:
    // the other one may not have come to this closure yet. Nothing is waited for between this look and the request.
    if context.fence.valid_for().is_zero() {
        return Err(StoreError::Superseded);
    }
    let written = Written {
        api_version: ReleaseClosure::api_version(&()),
        kind: ReleaseClosure::kind(&()),
        metadata: WrittenMeta {
            name: &subject.name,
            namespace: &subject.namespace,
            uid: &subject.uid,
            resource_version: draft.resource_version(),
        },
        status: &status,
    };
    let body = serde_json::to_vec(&written).map_err(StoreError::Json)?;
    let path = ReleaseClosure::url_path(&(), Some(&subject.namespace));
    let request = Request::new(path)
        .replace_subresource("status", &subject.name, &PostParams::default(), body)
        .map_err(|error| StoreError::Api(kube::Error::BuildRequest(error)))?;
    let reply = context.client.request::<Reply>(request).await;
    let stored = reply.map_err(|error| match error {
        kube::Error::Api(status) if status.is_conflict() || status.is_not_found() => {
            context.metrics.status_conflict();
            StoreError::Superseded
        }
        error => StoreError::Api(error),
    });
    let stored = match stored {
        Ok(stored) => stored,
        Err(error) => {
            if matches!(error, StoreError::Api(_)) {
                if counting.is_some() {
                    context.tally.doubt();
                }
                draft.is_sent(status);
            }
            return Err(error);
        }
    };
    context.metrics.status_written();
    let (before, after) = (draft.base().outages, status.outages);
    if after.count > before.count {
        context
            .metrics
            .resumed(After::Outage, Duration::from_secs(u64::from(after.seconds.saturating_sub(before.seconds))));
    }
    if status.completion_time.is_some() {
        context.tally.finished(&status);
    }
    draft.stored(status, Some(stored.metadata.resource_version));
    Ok(true)
}

/// Stores that a closure is closed, and tells everybody. Where it was halted in the meantime it is not closed, and nobody
/// is told.
///
/// # Errors
/// As [`store_fact`].
pub async fn close(context: &Context, subject: &Subject, brief: &Brief, draft: Draft) -> Result<Stored, StoreError> {
    let digest = draft.ledger.trace.as_ref().map(|trace| trace.digest.clone()).unwrap_or_default();
    let done = draft.ledger.steps.iter().filter(|step| step.outcome == Outcome::AlreadyDone);
    let done = done.map(|step| step.name.as_str()).collect::<Vec<_>>().join(", ");
    let stored = store_fact(context, subject, draft).await?;
    if stored == Stored::Steps {
        return Ok(stored);
    }
    if !done.is_empty() {
        let note = format!("Found done already: {done}.");
        context.events.tell(&subject.object, Happening::StepAlreadyDone, "Skip", note);
    }
    info!(closure = %brief.accepted.key(), namespace = subject.namespace, name = subject.name, trace = digest, "closed");
    context.events.tell(
        &subject.object,
        Happening::Closed,
        "Close",
        format!("All five steps are done. Trace {digest}."),
    );
    Ok(stored)
}

/// Tells people that a closure was taken up, and by which event.
pub fn tell_received(context: &Context, subject: &Subject, accepted: &Accepted) {
    let note = format!("Answers event {} for review {}.", accepted.review().accepted_event.id, accepted.review().id);
    context.events.tell(&subject.object, Happening::AcceptedEventReceived, "Receive", note);
}
