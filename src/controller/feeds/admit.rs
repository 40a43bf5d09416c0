//! From the id of a review to its closure: read the record, and where it is accepted and nobody has made a closure of it,
//! make one that mirrors it.
//!
//! **Guarantees:** nothing is made but from a record that was read here and now, in a state that the playbook accepts, for a
//! service that it allows. Of one closure key at most one object is made: its name follows from the key, and the API
//! server lets a name in once. Nothing that exists is changed.

use super::super::cache::Unfinished;
use super::super::context::Context;
use super::super::watches;
use crate::api::acceptance_feed::Template;
use crate::api::closure_playbook::ConnectionRef;
use crate::api::parse::{self, Playbook};
use crate::api::release_closure::PlaybookRef;
use crate::api::{FEED, ReleaseClosure, ReleaseClosureSpec, TRACEPARENT};
use crate::closure::accepted::{AcceptedEvent, Evidence, Milestone, Release, Review};
use crate::closure::ids::{ClosureKey, System};
use crate::closure::reason::Reason;
use crate::closure::snapshot::{Observation, ReviewRecord, Trouble, Unreachable};
use crate::feeds::Outcome;
use crate::roles::{Connected, Subject};
use crate::spans::TraceParent;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, PostParams};
use kube::runtime::reflector::ObjectRef;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use tracing::{info, warn};

/// How much of a name is for people's eyes, in characters.
const READABLE_MAX: usize = 60;

/// What became of a hint.
pub(super) struct Admitted {
    /// What became of it.
    pub(super) outcome: Outcome,
    /// The closure that was made, or was there.
    pub(super) closure: Option<String>,
    /// Why the review's record makes no closure, where it is the reason.
    pub(super) why: Option<String>,
    /// Why the feed cannot be used, where that was found out.
    pub(super) trouble: Option<(Reason, String)>,
}

impl From<Outcome> for Admitted {
    fn from(outcome: Outcome) -> Admitted {
        Admitted { outcome, closure: None, why: None, trouble: None }
    }
}

impl Admitted {
    /// The record makes no closure.
    fn none(outcome: Outcome, why: String) -> Admitted {
        Admitted { why: Some(why), ..outcome.into() }
    }
}

/// Which feed it is for.
pub(super) struct For<'a> {
    /// Its namespace, and so that of the closure.
    pub(super) namespace: &'a str,
    /// Its name.
    pub(super) feed: &'a str,
    /// The rules.
    pub(super) playbook: &'a PlaybookRef,
    /// What no record holds.
    pub(super) template: &'a Template,
    /// The span that a closure which is made is linked to.
    pub(super) made_by: Option<TraceParent>,
}

/// The governance system of a feed, and the rules it is read by.
pub(super) struct Authority {
    /// The rules.
    pub(super) playbook: Arc<Playbook>,
    /// The system.
    pub(super) connected: Arc<Connected>,
    /// Its connection.
    connection: ConnectionRef,
}

impl Authority {
    /// The governance system that a playbook names.
    ///
    /// # Errors
    /// It cannot be used, and why.
    pub(super) async fn of(
        context: &Context,
        namespace: &str,
        playbook: &PlaybookRef,
    ) -> Result<Authority, (Reason, String)> {
        let (playbook, _) =
            context.playbooks.rules(namespace, playbook).map_err(|unusable| (unusable.reason, unusable.message))?;
        let connection = playbook.connection(System::Governance).clone();
        let usable = context.connections.usable(namespace, &connection, System::Governance, &playbook).await;
        let usable = usable.map_err(|unusable| (unusable.reason, unusable.message))?;
        Ok(Authority { playbook, connected: usable.connected, connection })
    }

    /// A system that refuses the credentials is left alone until a probe says otherwise.
    pub(super) fn heed(&self, context: &Arc<Context>, namespace: &str, why: Unreachable) {
        if why.trouble == Trouble::Unauthorized {
            watches::probe_soon(context, namespace, &self.connection);
        }
    }
}

/// Makes the closure of a review, or finds it.
pub(super) async fn admit(context: &Arc<Context>, feed: &For<'_>, review: &str) -> Admitted {
    let authority = match Authority::of(context, feed.namespace, feed.playbook).await {
        Ok(authority) => authority,
        Err(trouble) => return Admitted { trouble: Some(trouble), ..Outcome::Unready.into() },
    };
    let Some(governance) = &authority.connected.governance else { return Outcome::Unready.into() };
    let subject = Subject { record: Some(review), release: "", review_version: "" };
    let record = match governance.review(subject, None).await {
        Observation::Found(record, _) => record,
        Observation::Missing | Observation::Ambiguous(_) => return Outcome::Unknown.into(),
        Observation::Unreachable(why) => {
            authority.heed(context, feed.namespace, why);
            return Outcome::Unavailable.into();
        }
    };
    // Another record than the one that was asked for is no answer.
    if record.id != review {
        return Outcome::Unavailable.into();
    }
    if !authority.playbook.rules.accepted_states.contains(&record.state) {
        let why = format!("The record's state is {:?}, which the playbook does not accept.", record.state);
        return Admitted::none(Outcome::NotAccepted, why);
    }
    let spec = match mirror(feed, record) {
        Ok(spec) => spec,
        Err(why) => return Admitted::none(Outcome::Incomplete, why),
    };
    if !authority.playbook.allows_service(&spec.release.service) {
        let why = format!("The playbook closes no reviews of the service {}: see its services.", spec.release.service);
        return Admitted::none(Outcome::NotAllowed, why);
    }
    make(context, feed, spec).await
}

/// The closure that a record asks for.
///
/// # Errors
/// The record lacks what one needs: all of that, for people.
fn mirror(feed: &For<'_>, record: ReviewRecord) -> Result<ReleaseClosureSpec, String> {
    let ReviewRecord { id, version, state: _, release, milestone, evidence, accepted_event } = record;
    let milestone = milestone.filter(|milestone| !milestone.is_none());
    let needed = [
        ("release.service", release.service.is_some()),
        ("release.version", release.version.is_some()),
        ("milestone", milestone.is_some()),
        ("evidence", evidence.is_some()),
    ];
    let (Some(service), Some(released), Some(milestone), Some((bundle, digest))) =
        (release.service, release.version, milestone, evidence)
    else {
        let lacking: Vec<&str> = needed.iter().filter(|(_, there)| !there).map(|(field, _)| *field).collect();
        return Err(format!("The record lacks {}.", lacking.join(", ")));
    };
    // A product that names no event has accepted this version of this review, which is one.
    let event = accepted_event.unwrap_or_else(|| format!("{id}:{version}"));
    let spec = ReleaseClosureSpec {
        playbook_ref: feed.playbook.clone(),
        release: Release { id: release.id, service, version: released },
        review: Review { id, version, accepted_event: AcceptedEvent { id: event, source: None, time: None } },
        milestone: Milestone { id: milestone.id, title: milestone.title },
        evidence: Evidence { bundle, digest },
        records: None,
        coordinator: feed.template.coordinator.clone(),
        mode: feed.template.mode,
        suspend: false,
    };
    match parse::accepted(&spec) {
        Ok(_) => Ok(spec),
        Err(invalid) => Err(format!("The record does not fit: {invalid}.")),
    }
}

async fn make(context: &Arc<Context>, feed: &For<'_>, spec: ReleaseClosureSpec) -> Admitted {
    let namespace = feed.namespace;
    let key = ClosureKey::new(&spec.release.id, &spec.review.id, &spec.review.version);
    // What this process knows to be unfinished need not be asked for.
    if let Some((known, _)) = context.siblings.of_key(namespace, key.as_str()).into_iter().next() {
        context.wake(&[(namespace.to_owned(), key.as_str().to_owned())]);
        return Admitted { closure: Some(known), ..Outcome::Woken.into() };
    }
    match existing(context, namespace, &spec, &key).await {
        Ok(Some(there)) => return there,
        Ok(None) => {}
        Err(error) => return failed(namespace, feed.feed, &error),
    }
    // What the definition does not know would be dropped from it.
    if let Some(why) = context.definitions.outdated() {
        return Admitted { trouble: Some((Reason::SchemaOutdated, why)), ..Outcome::Unready.into() };
    }
    // Once the term is over another replica takes events.
    if context.fence.valid_for().is_zero() {
        return Outcome::Unavailable.into();
    }
    let name = name_of(&spec, &key);
    let mut object = ReleaseClosure::new(&name, spec.clone());
    let made_by = feed.made_by.as_ref().map(|made_by| (TRACEPARENT.to_owned(), made_by.to_string()));
    object.metadata.annotations = Some([(FEED.to_owned(), feed.feed.to_owned())].into_iter().chain(made_by).collect());
    let api: Api<ReleaseClosure> = Api::namespaced(context.client.clone(), namespace);
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => {
            info!(closure = %key, namespace, name, feed = feed.feed, "a closure was made");
            Admitted { closure: Some(name), ..Outcome::Created.into() }
        }
        // Another delivery was faster, of this feed or another.
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            match existing(context, namespace, &spec, &key).await {
                Ok(Some(there)) => there,
                Ok(None) => {
                    let why =
                        format!("Releaseclosure {name}, the name of an accepted review's closure, is of another.");
                    Admitted { trouble: Some((Reason::FeedHindered, why)), ..Outcome::Unready.into() }
                }
                Err(error) => failed(namespace, feed.feed, &error),
            }
        }
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            let why = "The operator may not create releaseclosures in this namespace: apply the component \
                       open-namespace-feeds to it.";
            Admitted { trouble: Some((Reason::FeedHindered, why.to_owned())), ..Outcome::Unready.into() }
        }
        Err(error) => failed(namespace, feed.feed, &error),
    }
}

fn failed(namespace: &str, feed: &str, error: &kube::Error) -> Admitted {
    warn!(%error, namespace, feed, "an event could not be followed up");
    Outcome::Unavailable.into()
}

/// The object of a closure key under whatever name, finished or not, as the API server has it now.
async fn existing(
    context: &Context,
    namespace: &str,
    spec: &ReleaseClosureSpec,
    key: &ClosureKey,
) -> Result<Option<Admitted>, kube::Error> {
    let selector = format!("spec.release.id={},spec.review.id={}", escaped(&spec.release.id), escaped(&spec.review.id));
    let api: Api<Unfinished> = Api::namespaced(context.client.clone(), namespace);
    let mut found = api.list(&ListParams::default().fields(&selector)).await?.items;
    found.retain(|object| object.key() == *key);
    // An unfinished one first: there is something to wake.
    found.sort_by_key(|object| object.status.completion_time.is_some());
    let Some(object) = found.into_iter().next() else { return Ok(None) };
    let name = object.name_any();
    if object.status.completion_time.is_some() {
        return Ok(Some(Admitted { closure: Some(name), ..Outcome::Met.into() }));
    }
    // The receiver lives as long as the controller; without it there is nobody to wake.
    let _ = context.wake.send(ObjectRef::new(&name).within(namespace));
    Ok(Some(Admitted { closure: Some(name), ..Outcome::Woken.into() }))
}

/// A value in a field selector.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

/// A name that follows from the closure key: something for people's eyes, and what tells it from any other.
fn name_of(spec: &ReleaseClosureSpec, key: &ClosureKey) -> String {
    let mut readable = String::new();
    for character in format!("{}-{}", spec.release.id, spec.review.version).to_ascii_lowercase().chars() {
        if character.is_ascii_alphanumeric() {
            readable.push(character);
        } else if !readable.is_empty() && !readable.ends_with('-') {
            readable.push('-');
        }
    }
    readable.truncate(READABLE_MAX);
    let digest = hex::encode(Sha256::digest(key.as_str()));
    let readable = readable.trim_end_matches('-');
    let digest = &digest[..20];
    if readable.is_empty() { format!("review-{digest}") } else { format!("{readable}-{digest}") }
}

#[cfg(test)]
#[path = "admit_tests.rs"]
mod tests;
