//! What the emulation of the conformance suite cannot say, said as GitHub says it.

use super::*;
use crate::closure::ids::System;
use crate::closure::snapshot::Sighting;
use crate::closure::snapshot::{Marking, Progress, Unreachable};
use crate::providers::http::tests::orders::order_seen;
use crate::providers::http::tests::server::{Act, Seen, Server, page, reply};
use crate::providers::http::tests::{KEY, TOKEN, settings};
use crate::providers::{Settings, connect};
use crate::roles::{Abilities, Concurrency, Probe};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

mod apps;
mod limits;
mod records;
mod writes;

const MEDIA: &str = "application/json; charset=utf-8";
/// The user whose token it is.
const BOT: u64 = 7;

fn at(server: &Server, more: Value) -> Settings {
    let endpoint = format!("http://{}/api/v3", server.address);
    let mut spec = json!({"endpoint": endpoint, "repository": "acme/shop"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut settings = settings(endpoint);
    settings.product = Product::GitHub(Box::new(serde_json::from_value(spec).unwrap()));
    settings
}

fn connected(server: &Server) -> Connected {
    connect(&at(server, json!({"tokenSecretRef": {"name": "github", "key": "token"}}))).unwrap()
}

fn says(status: u16, body: &Value) -> Act {
    reply(status, MEDIA, "", &body.to_string())
}

fn error(status: u16, message: &str) -> Act {
    says(status, &json!({"message": message, "documentation_url": "https://docs.github.com/rest"}))
}

fn subject(record: Option<&str>) -> Subject<'_> {
    Subject { record, release: "r-1", review_version: "3" }
}

/// One that is a record of every role.
fn issue(number: u64) -> Value {
    let labels = ["in-review", "readiness-checklist", "release", "Review-Queue"].map(|name| json!({"name": name}));
    json!({"number": number, "state": "open", "state_reason": null, "title": "Release", "labels": labels,
        "milestone": {"number": 12, "title": "t"}, "comments": 0, "updated_at": "2026-11-22T10:00:00Z",
        "body": "### Release\n\nr-1\n\n### Service\n\npay\"ments\n\n### Version\n\n1\n\n### Review version\n\n3\n"})
}

/// A page of the repository's labels: all that the defaults name.
fn labels() -> Act {
    let names = ["Approved", "in-review", "readiness-checklist", "rejected", "release", "review-queue"];
    says(200, &json!(names.map(|name| json!({"name": name}))))
}

fn with(mut issue: Value, more: Value) -> Value {
    issue.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    issue
}

fn comment(id: u64, author: u64, body: &str) -> Value {
    json!({"id": id, "body": body, "user": {"id": author, "login": "kim", "type": "User"}})
}

/// What is asked for, without where it all begins.
fn asked(seen: &Seen) -> (&str, &str) {
    (seen.method.as_str(), seen.target.strip_prefix("/api/v3").unwrap())
}

fn targets(server: &Server) -> Vec<String> {
    let all = server.seen();
    all.iter()
        .map(|seen| format!("{} {}", asked(seen).0, asked(seen).1.trim_start_matches("/repos/acme/shop")))
        .collect()
}

async fn read_checklist(connected: &Connected) -> Observation<ChecklistRecord> {
    connected.checklist.as_ref().unwrap().checklist(subject(Some("5")), None).await
}

async fn read_tracker(connected: &Connected) -> Observation<TrackerRecord> {
    connected.tracker.as_ref().unwrap().release(subject(Some("5")), None).await
}

fn unreachable<R>(trouble: Trouble, seconds: Option<u64>) -> Observation<R> {
    Observation::Unreachable(Unreachable { trouble, retry_after: seconds.map(Duration::from_secs) })
}
