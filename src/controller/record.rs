//! Recording what a pass came to: one status, written only where it says something new, always on the version that it
//! is based on.

use super::context::Context;
use super::events::Happening;
use super::pass::Subject;
use crate::api::conditions::{self, Domain, Stamp, Standing};
use crate::api::release_closure::Envelope;
use crate::api::{ReleaseClosure, ReleaseClosureSpec, ReleaseClosureStatus, parse};
use crate::closure::accepted::Accepted;
use crate::closure::decide::{Brief, Pass};
use crate::closure::ids::Step;
use crate::closure::ledger::{Finding, Ledger, Outcome};
use crate::closure::reason::Reason;
use crate::closure::{checks, observed};
use crate::telemetry::{After, Finish};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use kube::api::{GetParams, PostParams, Request};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;
use tracing::info;

/// Tries to store a fact on an object that others keep changing.
const FACT_TRIES: usize = 5;

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

/// A status in the making.
#[derive(Clone, Debug)]
pub struct Draft {
    /// How it is addressed.
    pub envelope: Envelope,
    /// The core's part.
    pub ledger: Ledger,
    /// Where the closure stands.
    pub standing: Standing,
    /// What is known of the facts.
    pub domain: Domain,
    /// What is stored, and at which version of the object.
    base: ReleaseClosureStatus,
    resource_version: Option<String>,
    /// What was sent, where nobody knows whether it was taken.
    sent: Option<ReleaseClosureStatus>,
}

impl Draft {
    /// Begins from what is stored.
    #[must_use]
    pub fn of(subject: &Subject, status: ReleaseClosureStatus) -> Draft {
        let resource_version = subject.object.metadata.resource_version.clone();
        let (envelope, ledger) = status.clone().split();
        Draft {
            envelope,
            ledger,
            standing: Standing::Unchanged,
            domain: Domain::default(),
            base: status,
            resource_version,
            sent: None,
        }
    }

    /// Whether nothing was ever stored.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.base.conditions.is_empty()
    }

    /// How many steps are settled in what is stored.
    #[must_use]
    pub fn settled(&self) -> usize {
        self.base.steps.iter().filter(|step| step.outcome.is_settled()).count()
    }

    /// It waits.
    pub fn waits(&mut self, reason: Reason, message: String) {
        self.standing = Standing::Waiting { reason, message };
    }

    /// Takes over what a pass has learned and settled.
    pub fn take(&mut self, pass: &Pass, brief: &Brief, standing: Standing) {
        let snapshot = pass.snapshot();
        self.ledger = pass.ledger().clone();
        self.standing = standing;
        self.domain.source_accepted =
            snapshot.governance().map(|review| brief.rules.accepted_states.contains(&review.state));
        self.domain.aligned = match &self.standing {
            Standing::Working | Standing::Closed | Standing::Planned => Some(true),
            _ => None,
        };
        let facts = checks::Facts {
            accepted: &brief.accepted,
            rules: &brief.rules,
            ledger: &self.ledger,
            snapshot,
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        self.domain.steps = Step::ALL.map(|step| match step {
            _ if self.ledger.step(step).outcome.is_settled() => Some(true),
            Step::NotifyCoordinator => Some(false),
            _ => observed::observed(facts, step).map(|state| state.done),
        });
    }

    /// The status as it would be stored.
    fn assemble(&self, subject: &Subject, now: jiff::Timestamp) -> ReleaseClosureStatus {
        let stamp = Stamp { generation: subject.generation, now };
        let mut envelope = self.envelope.clone();
        envelope.observed_generation = subject.generation;
        envelope.last_handled_reconcile_at =
            parse::requested_at(&subject.object).or(envelope.last_handled_reconcile_at);
        envelope.conditions = conditions::of_closure(&self.base.conditions, &self.standing, &self.domain, stamp);
        ReleaseClosureStatus::assemble(envelope, self.ledger.clone())
    }
}

/// Reads a closure from the API server itself. Of its metadata only what a pass needs comes along.
///
/// # Errors
/// The API server gives no answer, or not the kind.
pub async fn read(context: &Context, namespace: &str, name: &str) -> Result<Option<ReleaseClosure>, kube::Error> {
    #[derive(Deserialize)]
    struct Read {
        #[serde(deserialize_with = "super::cache::metadata")]
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

/// Stores what is a fact and not a plan: where the object has changed in the meantime it is read again and, while it is
/// the same object, the fact is stored on it.
///
/// # Errors
/// Superseded where it is another object, or finished.
pub async fn store_fact(context: &Context, subject: &Subject, mut draft: Draft) -> Result<bool, StoreError> {
    for _ in 0..FACT_TRIES {
        match write_surely(context, subject, &mut draft).await {
            Err(StoreError::Superseded) => {}
            other => return other,
        }
        let fresh = read(context, &subject.namespace, &subject.name).await.map_err(StoreError::Api)?;
        let Some(fresh) = fresh.filter(|fresh| fresh.metadata.uid.as_deref() == Some(&subject.uid)) else {
            return Err(StoreError::Superseded);
        };
        let status = fresh.status.unwrap_or_default();
        if status.completion_time.is_some() {
            return Err(StoreError::Superseded);
        }
        if status != draft.base {
            draft.lay_over(status)?;
        }
        draft.resource_version = fresh.metadata.resource_version;
    }
    Err(StoreError::Superseded)
}

/// Writes until the API server has said yes or no: what this process knows, nobody else does. Where a reply was lost, what
/// is stored tells what became of the write.
async fn write_surely(context: &Context, subject: &Subject, draft: &mut Draft) -> Result<bool, StoreError> {
    for tries in 0.. {
        let error = match write(context, subject, draft).await {
            Err(StoreError::Superseded) if draft.sent.is_some() => {
                match read(context, &subject.namespace, &subject.name).await {
                    Ok(fresh) => {
                        return if draft.was_taken(subject, fresh) { Ok(true) } else { Err(StoreError::Superseded) };
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

impl Draft {
    /// Takes over what is stored, where that is what this draft has sent.
    fn was_taken(&mut self, subject: &Subject, fresh: Option<ReleaseClosure>) -> bool {
        let (Some(fresh), Some(sent)) = (fresh, self.sent.take()) else { return false };
        let taken = fresh.metadata.uid.as_deref() == Some(&subject.uid) && fresh.status.as_ref() == Some(&sent);
        if taken {
            self.stored(fresh.metadata.resource_version, sent);
        }
        taken
    }

    /// It is stored as this, at this version of the object.
    fn stored(&mut self, resource_version: Option<String>, status: ReleaseClosureStatus) {
        self.resource_version = resource_version;
        self.envelope.conditions.clone_from(&status.conditions);
        self.base = status;
        self.sent = None;
    }

    /// Puts the settled steps of this draft on a status that somebody else wrote since. A halt that was latched there
    /// stays latched; anything but a settled step is dropped.
    fn lay_over(&mut self, status: ReleaseClosureStatus) -> Result<(), StoreError> {
        let (envelope, theirs) = status.clone().split();
        let mut theirs = theirs.checked().map_err(|_| StoreError::Superseded)?;
        for (their, own) in theirs.steps.iter_mut().zip(&self.ledger.steps) {
            if own.outcome.is_settled() && !their.outcome.is_settled() {
                *their = own.clone();
            }
        }
        if self.standing != Standing::Closed || theirs.halt.is_some() {
            self.standing = Standing::Unchanged;
            self.envelope = envelope;
            self.ledger = theirs;
        }
        self.base = status;
        Ok(())
    }
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
struct Stored {
    metadata: StoredMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredMeta {
    resource_version: String,
}

async fn write(context: &Context, subject: &Subject, draft: &mut Draft) -> Result<bool, StoreError> {
    // The very same is sent again: times are in it.
    let status = draft.sent.clone().unwrap_or_else(|| draft.assemble(subject, context.now()));
    if status == draft.base {
        return Ok(false);
    }
    // Once the term is over another replica is at it, and what was seen here may be old. The version alone does not tell:
    // the other one may not have come to this closure yet.
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
            resource_version: draft.resource_version.as_deref(),
        },
        status: &status,
    };
    let body = serde_json::to_vec(&written).map_err(StoreError::Json)?;
    let path = ReleaseClosure::url_path(&(), Some(&subject.namespace));
    let request = Request::new(path)
        .replace_subresource("status", &subject.name, &PostParams::default(), body)
        .map_err(|error| StoreError::Api(kube::Error::BuildRequest(error)))?;
    let reply = context.client.request::<Stored>(request).await;
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
                draft.sent = Some(status);
            }
            return Err(error);
        }
    };
    context.metrics.status_written();
    draft.stored(Some(stored.metadata.resource_version), status);
    Ok(true)
}

/// Stores that a closure is closed, and tells everybody.
///
/// # Errors
/// As [`store_fact`].
pub async fn close(
    context: &Context,
    subject: &Subject,
    brief: &Brief,
    draft: Draft,
    waited: Option<Duration>,
) -> Result<(), StoreError> {
    let digest = draft.ledger.trace.as_ref().map(|trace| trace.digest.clone()).unwrap_or_default();
    let manual = !draft.ledger.halts.is_empty();
    let steps: Vec<(Step, Outcome)> = draft.ledger.steps.iter().map(|step| (step.name, step.outcome)).collect();
    store_fact(context, subject, draft).await?;

    let metrics = &context.metrics;
    metrics.closure_finished(Finish::Closed, manual);
    for (step, outcome) in &steps {
        metrics.step_settled(step.system(), *outcome);
    }
    let found_done = steps.iter().any(|(_, outcome)| *outcome == Outcome::AlreadyDone);
    if let Some(waited) = waited {
        metrics.resumed(After::Outage, Some(waited));
    }
    if found_done {
        metrics.resumed(After::AlreadyUpdated, None);
        let done = steps.iter().filter(|(_, outcome)| *outcome == Outcome::AlreadyDone);
        let done = done.map(|(step, _)| step.as_str()).collect::<Vec<_>>().join(", ");
        context.events.tell(
            &subject.object,
            Happening::StepAlreadyDone,
            "Skip",
            format!("Found done already: {done}."),
        );
    }
    info!(closure = %brief.accepted.key(), namespace = subject.namespace, name = subject.name, trace = digest, "closed");
    context.events.tell(
        &subject.object,
        Happening::Closed,
        "Close",
        format!("All five steps are done. Trace {digest}."),
    );
    Ok(())
}

/// Tells people that a closure was taken up, and by which event.
pub fn tell_received(context: &Context, subject: &Subject, accepted: &Accepted) {
    let note = format!("Answers event {} for review {}.", accepted.review().accepted_event.id, accepted.review().id);
    context.events.tell(&subject.object, Happening::AcceptedEventReceived, "Receive", note);
}

/// Counts what halted a closure.
pub fn count_findings(context: &Context, findings: &[Finding], written: bool) {
    for finding in findings {
        context.metrics.found(finding.check, finding.reason, !written);
    }
    if let Some(first) = findings.first() {
        context.metrics.halted(first.reason);
    }
}

/// The findings in a sentence each, without any foreign text.
#[must_use]
pub fn describe(findings: &[Finding]) -> String {
    let sentences =
        findings.iter().map(|finding| format!("{} ({} {})", finding.reason.sentence(), finding.system, finding.field));
    sentences.collect::<Vec<_>>().join(" ")
}
