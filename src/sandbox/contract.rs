//! The contract itself: what to reply to a request, and what it changes. No clock, no lock, no socket: the decision is a
//! value, so that a fault can carry out half of it.

use std::sync::Arc;

use axum::http::{Method, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::bodies::{self, Patch};
use super::call::{Call, IDEMPOTENCY_KEY, Target};
use super::feed;
use super::problem::{Code, Problem};
use super::records::{self, Record, Role, Store, Version};
use super::settings::Settings;

/// The longest idempotency key, in bytes: three ids of 128 and what joins them.
const MAX_KEY: usize = 512;

/// What a decision is based on.
pub(super) struct View<'a> {
    pub(super) store: &'a Store,
    pub(super) settings: &'a Settings,
    /// The only token to let in; none lets everybody in.
    pub(super) token: Option<&'a str>,
    pub(super) now: Timestamp,
    /// Show records as they were one revision before. Changes are always checked against the records as they are.
    pub(super) stale: bool,
}

/// A reply, and the change it reports.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) reply: Reply,
    pub(super) change: Option<Change>,
}

impl Decision {
    fn read(reply: Reply) -> Decision {
        Decision { reply, change: None }
    }
}

/// A reply, before it is written out.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// The revision of the one record in the reply.
    pub(super) revision: Option<u64>,
    /// The methods of a path that was asked with another one.
    pub(super) allow: Option<&'static str>,
    pub(super) content: Content,
}

/// What a reply shows.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// One JSON value.
    One(Arc<Value>),
    /// The records of a look-up, and for the feed the next page's cursor.
    Items { items: Vec<Arc<Value>>, next: Option<Value> },
    /// An error.
    Problem(Problem),
}

impl Reply {
    fn ok(content: Content) -> Reply {
        Reply { status: StatusCode::OK, revision: None, allow: None, content }
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Reply {
        Reply { status: problem.status(), revision: None, allow: None, content: Content::Problem(problem) }
    }
}

/// What a request changes.
#[derive(Debug)]
pub(super) enum Change {
    /// A record's next revision.
    Record { role: Role, id: String, value: Value },
    /// One telling of a halt more.
    FollowUp { key: String, received_at: Timestamp, body: Value },
    /// One handoff more.
    Handoff { key: String, received_at: Timestamp, body: Value },
}

/// Decides on a request: every rule of the contract, in the order in which a caller learns of them.
pub(super) fn decide(view: &View<'_>, call: &Call) -> Decision {
    match route(view, call) {
        Ok(decision) => decision,
        Err(Refusal { problem, allow }) => Decision::read(Reply { allow, ..Reply::from(problem) }),
    }
}

struct Refusal {
    problem: Problem,
    allow: Option<&'static str>,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Refusal { problem, allow: None }
    }
}

fn route(view: &View<'_>, call: &Call) -> Result<Decision, Refusal> {
    authorize(view.token, call)?;
    if call.too_large {
        return Err(Problem::new(Code::BodyTooLarge, "a body may have at most 1 MiB").into());
    }
    let target = call.target.as_ref().map_err(Problem::clone)?;
    match (target, call.method.as_str()) {
        (Target::Record(Role::Intake, _), "GET") if !view.settings.intake.lookup => Err(not_allowed(call, "")),
        (Target::Record(role @ (Role::Intake | Role::FollowUp), key), "GET") => Ok(receipt(view, call, *role, key)?),
        (Target::Record(role, id), "GET") => Ok(read(view, call, *role, id)?),
        (Target::Record(role, id), "PATCH") if role.is_written() => Ok(change(view, call, *role, id)?),
        (Target::Record(role, _), _) => Err(not_allowed(call, if role.is_written() { "GET, PATCH" } else { "GET" })),
        (Target::Collection(role @ (Role::Intake | Role::FollowUp)), "POST") => Ok(announce(view, call, *role)?),
        (Target::Collection(Role::Intake | Role::FollowUp), _) => Err(not_allowed(call, "POST")),
        (Target::Collection(Role::Governance), "GET") => Ok(list_reviews(view, call)?),
        (Target::Collection(role), "GET") => Ok(look_up(view, call, *role)?),
        (Target::Collection(_), _) => Err(not_allowed(call, "GET")),
    }
}

fn authorize(token: Option<&str>, call: &Call) -> Result<(), Problem> {
    let Some(token) = token else { return Ok(()) };
    let sent = call.header(&header::AUTHORIZATION).and_then(|value| value.split_once(' '));
    match sent {
        Some((scheme, sent)) if scheme.eq_ignore_ascii_case("bearer") && sent.trim() == token => Ok(()),
        Some(_) => Err(Problem::new(Code::Unauthorized, "the bearer token is not the right one")),
        None => Err(Problem::new(Code::Unauthorized, "a bearer token is needed")),
    }
}

fn not_allowed(call: &Call, allow: &'static str) -> Refusal {
    let problem = Problem::new(Code::MethodNotAllowed, format!("{} is not in the contract for this path", call.method));
    Refusal { problem, allow: Some(allow) }
}

fn read(view: &View<'_>, call: &Call, role: Role, id: &str) -> Result<Decision, Problem> {
    let [] = call.query([])?;
    let record = view.store.get(role, id).ok_or_else(|| missing(role, id))?;
    Ok(Decision::read(shown(view, role, record.version(view.stale))))
}

fn look_up(view: &View<'_>, call: &Call, role: Role) -> Result<Decision, Problem> {
    let (release, version) = if role == Role::Tracker {
        let [release] = call.query(["release"])?;
        (release, None)
    } else {
        let [release, version] = call.query(["release", "reviewVersion"])?;
        (release, Some(version.ok_or_else(|| Problem::new(Code::Malformed, "a look-up needs ?reviewVersion="))?))
    };
    let release = release.ok_or_else(|| Problem::new(Code::Malformed, "a look-up needs ?release="))?;
    let is_asked_for = |record: &&Record| match &version {
        Some(version) => records::text_at(&record.current.value, "review.version") == Some(version),
        None => true,
    };
    let found = view.store.of_release(role, &release).filter(is_asked_for);
    let items = found.map(|record| face(view, role, &record.version(view.stale).value)).collect();
    Ok(Decision::read(Reply::ok(Content::Items { items, next: None })))
}

fn list_reviews(view: &View<'_>, call: &Call) -> Result<Decision, Problem> {
    let [state, after, cursor] = call.query(["state", "acceptedAfter", "cursor"])?;
    let ask = feed::Ask::new(state, after.as_deref(), cursor.as_deref())?;
    let page = feed::page(view.store, &ask, view.settings.governance.page_size, view.stale);
    let next = Some(page.next.map_or(Value::Null, Value::String));
    Ok(Decision::read(Reply::ok(Content::Items { items: page.items, next })))
}

fn change(view: &View<'_>, call: &Call, role: Role, id: &str) -> Result<Decision, Problem> {
    let [] = call.query([])?;
    if call.media_type().as_deref() != Some("application/merge-patch+json") {
        return Err(Problem::new(Code::UnsupportedMediaType, "a change is application/merge-patch+json"));
    }
    let mut patch = bodies::json(&call.body)?;
    let kind = bodies::patch(role, &patch)?;
    let current = &view.store.get(role, id).ok_or_else(|| missing(role, id))?.current;
    check_precondition(call, current)?;
    if let Patch::Evidence = kind {
        bodies::appends_one(face(view, role, &current.value).get("evidence"), &patch["evidence"])?;
    }
    if !view.settings.markers(role) {
        patch = records::without_markers(&patch);
    }
    let mut value = Value::clone(&current.value);
    records::merge(&mut value, &patch);
    let next = Version { value: Arc::new(value.clone()), revision: view.store.next_revision() };
    let change = Change::Record { role, id: id.to_owned(), value };
    Ok(Decision { reply: shown(view, role, &next), change: Some(change) })
}

/// `If-Match` has to name the revision that the change is based on. `*` names none: it would let a change through that is based
/// on no read at all.
fn check_precondition(call: &Call, current: &Version) -> Result<(), Problem> {
    let mut named = false;
    for value in call.headers.get_all(header::IF_MATCH) {
        let tags = value.to_str().unwrap_or_default().split(',').map(str::trim);
        for tag in tags.filter(|tag| !tag.is_empty() && *tag != "*") {
            named = true;
            if tag == current.etag() {
                return Ok(());
            }
        }
    }
    if named {
        Err(Problem::new(Code::PreconditionFailed, "the record has changed since it was read"))
    } else {
        Err(Problem::new(
            Code::PreconditionRequired,
            "a change needs If-Match with the ETag of the record as it was read",
        ))
    }
}

fn announce(view: &View<'_>, call: &Call, role: Role) -> Result<Decision, Problem> {
    let [] = call.query([])?;
    if call.media_type().as_deref() != Some("application/json") {
        return Err(Problem::new(Code::UnsupportedMediaType, "an announcement is application/json"));
    }
    let key = idempotency_key(call)?;
    let body = bodies::json(&call.body)?;
    let (content, has_keys) = match role {
        Role::FollowUp => (bodies::follow_up(key, &body).map(|()| "followUp")?, true),
        _ => (bodies::handoff(key, &body).map(|()| "handoff")?, view.settings.intake.idempotency),
    };
    if let Some(known) = view.store.get(role, key).filter(|_| has_keys) {
        let known = &known.current.value;
        if known.get(content) != Some(&body) {
            return Err(Problem::new(Code::KeyReused, "this key belongs to an announcement with another content"));
        }
        return Ok(Decision::read(Reply::ok(Content::One(Arc::new(receipt_of(known))))));
    }
    let (known_by, received_at) = (key.to_owned(), view.now);
    let change = match role {
        Role::FollowUp => Change::FollowUp { key: known_by, received_at, body },
        _ => Change::Handoff { key: known_by, received_at, body },
    };
    let receipt = json!({"key": key, "receivedAt": view.now.to_string()});
    let reply = Reply { status: StatusCode::CREATED, ..Reply::ok(Content::One(Arc::new(receipt))) };
    Ok(Decision { reply, change: Some(change) })
}

fn idempotency_key(call: &Call) -> Result<&str, Problem> {
    let malformed = |detail: &str| Problem::new(Code::Malformed, detail);
    if call.headers.get_all(IDEMPOTENCY_KEY).iter().count() > 1 {
        return Err(malformed("an announcement has one Idempotency-Key"));
    }
    match call.header(&IDEMPOTENCY_KEY) {
        Some(key) if !key.is_empty() && key.len() <= MAX_KEY => Ok(key),
        Some(_) => Err(malformed("the Idempotency-Key is empty or too long")),
        None => Err(malformed("an announcement needs an Idempotency-Key")),
    }
}

fn receipt(view: &View<'_>, call: &Call, role: Role, key: &str) -> Result<Decision, Problem> {
    let [] = call.query([])?;
    let record = view.store.get(role, key).ok_or_else(|| missing(role, key))?;
    Ok(Decision::read(Reply::ok(Content::One(Arc::new(receipt_of(&record.current.value))))))
}

/// What is said about an announcement that is kept: the first reply, always the same.
fn receipt_of(kept: &Value) -> Value {
    json!({"key": kept.get("key"), "receivedAt": kept.get("receivedAt")})
}

/// The reply that shows a record, with its ETag.
pub(super) fn shown(view: &View<'_>, role: Role, version: &Version) -> Reply {
    let content = Content::One(face(view, role, &version.value));
    Reply { revision: Some(version.revision), ..Reply::ok(content) }
}

/// The record as its system shows it.
fn face(view: &View<'_>, role: Role, value: &Arc<Value>) -> Arc<Value> {
    if view.settings.markers(role) { value.clone() } else { Arc::new(records::without_markers(value)) }
}

fn missing(role: Role, id: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no {id:?} in /{}", role.collection()))
}

/// Whether a request asks for a change.
pub(super) fn is_write(method: &Method) -> bool {
    !matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS")
}
