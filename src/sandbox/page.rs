//! The page for people: what the six systems hold, as it changes.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use serde_json::{Value, json};

use super::records::{self, Record, Role};
use super::state::Sandbox;
use super::world::World;

const PAGE: &str = include_str!("page.html");

/// How many records of a system are shown: the ones that changed last.
const RECORDS: usize = 40;
/// How many requests and deliveries are shown.
const LINES: usize = 60;

/// The page and what it polls.
pub(super) fn router(sandbox: Arc<Sandbox>) -> Router {
    Router::new().route("/", get(page)).route("/admin/view", get(view)).with_state(sandbox)
}

async fn page() -> impl IntoResponse {
    // The page brings everything along and may load nothing else.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";
    ([(header::CONTENT_SECURITY_POLICY, policy), (header::CACHE_CONTROL, "no-store")], Html(PAGE))
}

async fn view(State(sandbox): State<Arc<Sandbox>>) -> impl IntoResponse {
    let view = shown(&sandbox.lock());
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], view.to_string())
}

fn shown(world: &World) -> Value {
    let systems: Vec<_> = Role::ALL.into_iter().map(|role| system(world, role)).collect();
    let deliveries: Vec<_> = world.deliveries.iter().rev().take(LINES).collect();
    let requests: Vec<_> = world.log.last(LINES).iter().map(|entry| line(entry)).collect();
    let (faults, held) = (world.faults.list(), world.held.list());
    json!({
        "systems": systems, "deliveries": deliveries, "delivered": world.deliveries.len(), "requests": requests,
        "requested": world.log.sequence(), "faults": faults, "held": held,
    })
}

fn line(entry: &super::log::Entry) -> Value {
    json!({
        "sequence": entry.sequence, "time": entry.time, "method": entry.method, "path": entry.path, "query": entry.query,
        "status": entry.status, "applied": entry.applied, "fault": entry.fault,
    })
}

fn system(world: &World, role: Role) -> Value {
    let mut records: Vec<_> = world.store.iter(role).collect();
    let newest = |(_, record): &(&Arc<str>, &Record)| Reverse(record.current.revision);
    if records.len() > RECORDS {
        records.select_nth_unstable_by_key(RECORDS, newest);
        records.truncate(RECORDS);
    }
    // By id, so that a row stays where it is while its cells change.
    records.sort_by_key(|(id, _)| *id);
    let rows: Vec<_> = records.into_iter().map(|(id, record)| row(world, role, id, record)).collect();
    json!({"role": role, "total": world.store.len(role), "markers": world.settings.markers(role), "records": rows})
}

fn row(world: &World, role: Role, id: &str, record: &Record) -> Value {
    let value = &record.current.value;
    let face = if world.settings.markers(role) { Arc::clone(value) } else { Arc::new(records::without_markers(value)) };
    let marker = |value: &Value| value.get("closure").filter(|marker| !marker.is_null()).cloned();
    let links = face.get("evidence").and_then(Value::as_array);
    let links = links.map(|links| {
        let shown = links.iter().map(|link| json!({"bundle": link.get("bundle"), "closure": marker(link)}));
        shown.collect::<Vec<_>>()
    });
    let told = |path| records::text_at(&face, path);
    let release = told("release.id").or_else(|| told("handoff.releaseId")).or_else(|| told("followUp.closureKey"));
    json!({
        "id": id, "release": release, "state": face.get("state").or_else(|| face.pointer("/followUp/cause")), "closure": marker(&face), "evidence": links,
        "version": face.get("version").or_else(|| face.pointer("/review/version")),
        "milestone": face.pointer("/milestone/title"), "revision": record.current.revision, "changed": record.changed,
    })
}
