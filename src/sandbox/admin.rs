//! The admin API: what tests and curious people see and turn. None of it is part of the contract.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bodies;
use super::contract::Reply;
use super::faults::Rule;
use super::generate::{self, Generate};
use super::held::Verdict;
use super::problem::{Code, Problem};
use super::records::{self, Role, Version};
use super::reply::Rendered;
use super::seed::{self, Seed};
use super::state::Sandbox;

/// The largest body: thousands of records at once.
const MAX_BODY: usize = 256 * 1024 * 1024;

type Shared = State<Arc<Sandbox>>;
type Outcome = Result<Response, Refused>;

/// The routes under `/admin`.
pub(super) fn router(sandbox: Arc<Sandbox>) -> Router {
    Router::new()
        .route("/admin/state", get(state).put(put_state))
        .route("/admin/settings", get(settings).put(put_settings).patch(patch_settings))
        .route("/admin/generate", post(generate_more))
        .route("/admin/records/{role}", get(records_of).post(add_records))
        .route("/admin/records/{role}/{id}", get(record).put(put_record).patch(patch_record).delete(delete_record))
        .route("/admin/handoffs", get(handoffs))
        .route("/admin/requests", get(requests).delete(clear_requests))
        .route("/admin/counts", get(counts))
        .route("/admin/faults", get(faults).put(put_faults).post(add_fault).delete(clear_faults))
        .route("/admin/faults/{id}", delete(delete_fault))
        .route("/admin/faults/{id}/release", post(release))
        .route("/admin/held", get(held))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(sandbox)
}

/// A refusal; shown as a problem document like the contract's.
struct Refused(Problem);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        Rendered::new(&Reply::from(self.0)).into_response()
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        Refused(problem)
    }
}

fn refused(code: Code, detail: impl Into<String>) -> Refused {
    Refused(Problem::new(code, detail))
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body)
        .map_err(|error| refused(Code::NotDocumented, format!("the body does not fit: {error}")))
}

fn role_named(name: &str) -> Result<Role, Refused> {
    Role::from_name(name).ok_or_else(|| refused(Code::NotFound, format!("there is no role {name:?}")))
}

fn ok(body: &impl Serialize) -> Response {
    // What is shown here can always be written as JSON.
    let body = serde_json::to_vec(body).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// The reply to a change, if the state file shows it.
fn done(sandbox: &Sandbox, response: impl IntoResponse) -> Outcome {
    if sandbox.is_kept() {
        Ok(response.into_response())
    } else {
        Err(refused(Code::NotKept, "the change is made, but the state file cannot be written"))
    }
}

async fn state(State(sandbox): Shared) -> Response {
    ok(&sandbox.state())
}

async fn put_state(State(sandbox): Shared, body: Bytes) -> Outcome {
    let seed: Seed = parse(&body)?;
    sandbox.reset(seed).map_err(|error| refused(Code::NotDocumented, error.to_string()))?;
    done(&sandbox, StatusCode::NO_CONTENT)
}

async fn settings(State(sandbox): Shared) -> Response {
    ok(&sandbox.settings())
}

async fn put_settings(State(sandbox): Shared, body: Bytes) -> Outcome {
    sandbox.set_settings(parse(&body)?);
    done(&sandbox, ok(&sandbox.settings()))
}

async fn patch_settings(State(sandbox): Shared, body: Bytes) -> Outcome {
    let patch = bodies::json(&body)?;
    let mut settings = json!(sandbox.settings());
    records::merge(&mut settings, &patch);
    let settings = serde_json::from_value(settings);
    sandbox.set_settings(settings.map_err(|error| refused(Code::NotDocumented, error.to_string()))?);
    done(&sandbox, ok(&sandbox.settings()))
}

async fn generate_more(State(sandbox): Shared, body: Bytes) -> Outcome {
    let wish: Generate = parse(&body)?;
    let made = generate::releases(&wish);
    for role in Role::ALL {
        add_all(&sandbox, role, made.records(role).to_vec())?;
    }
    done(&sandbox, (StatusCode::CREATED, ok(&json!({"added": wish.count}))))
}

async fn records_of(State(sandbox): Shared, Path(role): Path<String>) -> Outcome {
    let role = role_named(&role)?;
    Ok(ok(&sandbox.state().records(role)))
}

async fn add_records(State(sandbox): Shared, Path(role): Path<String>, body: Bytes) -> Outcome {
    let role = role_named(&role)?;
    let added = add_all(&sandbox, role, parse(&body)?)?;
    done(&sandbox, (StatusCode::CREATED, ok(&json!({"added": added}))))
}

/// Adds records, all or none; one that is there already gets a new revision.
fn add_all(sandbox: &Sandbox, role: Role, mut values: Vec<Value>) -> Result<usize, Refused> {
    let mut ids = Vec::with_capacity(values.len());
    for (index, value) in values.iter_mut().enumerate() {
        let id = seed::check(role, index, value).map_err(|error| refused(Code::NotDocumented, error.to_string()))?;
        ids.push(id);
    }
    let added = ids.len();
    for (id, value) in ids.iter().zip(values) {
        sandbox.put(role, id, value);
    }
    Ok(added)
}

/// A record as it is kept, with the ETag it has in the contract.
fn shown(version: &Version) -> Response {
    let mut response = ok(version.value.as_ref());
    response.headers_mut().extend(HeaderValue::from_str(&version.etag()).ok().map(|etag| (header::ETAG, etag)));
    response
}

fn no_record(role: Role, id: &str) -> Refused {
    refused(Code::NotFound, format!("{role} has no {id:?}"))
}

async fn record(State(sandbox): Shared, Path((role, id)): Path<(String, String)>) -> Outcome {
    let role = role_named(&role)?;
    let version = sandbox.record(role, &id).ok_or_else(|| no_record(role, &id))?;
    Ok(shown(&version))
}

/// Stores a record as it is sent, also one that the contract does not allow: how else would a caller meet one.
async fn put_record(State(sandbox): Shared, Path((role, id)): Path<(String, String)>, body: Bytes) -> Outcome {
    let role = role_named(&role)?;
    sandbox.put(role, &id, bodies::json(&body)?);
    let version = sandbox.record(role, &id).ok_or_else(|| no_record(role, &id))?;
    done(&sandbox, shown(&version))
}

async fn patch_record(State(sandbox): Shared, Path((role, id)): Path<(String, String)>, body: Bytes) -> Outcome {
    let role = role_named(&role)?;
    if !sandbox.edit(role, &id, &bodies::json(&body)?) {
        return Err(no_record(role, &id));
    }
    let version = sandbox.record(role, &id).ok_or_else(|| no_record(role, &id))?;
    done(&sandbox, shown(&version))
}

async fn delete_record(State(sandbox): Shared, Path((role, id)): Path<(String, String)>) -> Outcome {
    let role = role_named(&role)?;
    if sandbox.remove(role, &id) { done(&sandbox, StatusCode::NO_CONTENT) } else { Err(no_record(role, &id)) }
}

async fn handoffs(State(sandbox): Shared) -> Response {
    ok(&json!({"deliveries": sandbox.deliveries()}))
}

/// Which requests to show.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Since {
    #[serde(default)]
    since: u64,
    limit: Option<usize>,
}

async fn requests(State(sandbox): Shared, Query(Since { since, limit }): Query<Since>) -> Response {
    let (entries, last) = {
        let world = sandbox.lock();
        (world.log.since(since, limit.unwrap_or(usize::MAX)), world.log.sequence())
    };
    let requests: Vec<_> = entries.iter().map(Arc::as_ref).collect();
    ok(&json!({"requests": requests, "last": last}))
}

async fn clear_requests(State(sandbox): Shared) -> StatusCode {
    sandbox.clear_requests();
    StatusCode::NO_CONTENT
}

async fn counts(State(sandbox): Shared) -> Response {
    ok(&sandbox.counts())
}

async fn faults(State(sandbox): Shared) -> Response {
    ok(&sandbox.faults())
}

async fn put_faults(State(sandbox): Shared, body: Bytes) -> Outcome {
    let rules: Vec<Rule> = parse(&body)?;
    sandbox.set_faults(rules).map_err(|problem| refused(Code::NotDocumented, problem))?;
    Ok(ok(&sandbox.faults()))
}

async fn add_fault(State(sandbox): Shared, body: Bytes) -> Outcome {
    let rule: Rule = parse(&body)?;
    let id = sandbox.add_fault(rule).map_err(|problem| refused(Code::NotDocumented, problem))?;
    Ok((StatusCode::CREATED, ok(&json!({"id": *id}))).into_response())
}

async fn clear_faults(State(sandbox): Shared) -> StatusCode {
    sandbox.clear_faults();
    StatusCode::NO_CONTENT
}

async fn delete_fault(State(sandbox): Shared, Path(id): Path<String>) -> Outcome {
    if sandbox.remove_fault(&id) {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(refused(Code::NotFound, format!("there is no fault rule {id:?}")))
    }
}

/// How to let go; an empty body is a plain release.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Release {
    discard: bool,
}

async fn release(State(sandbox): Shared, Path(id): Path<String>, body: Bytes) -> Outcome {
    let Release { discard } = if body.is_empty() { Release::default() } else { parse(&body)? };
    let verdict = if discard { Verdict::Discard } else { Verdict::Release };
    Ok(ok(&json!({"released": sandbox.release(&id, verdict)})))
}

async fn held(State(sandbox): Shared) -> Response {
    ok(&json!({"held": sandbox.held()}))
}
