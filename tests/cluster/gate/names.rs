//! What the gate calls a request, and which made-up release it is about.

use axum::http::HeaderMap;
use axum::http::request::Parts;
use releaseclosure::sandbox::{PREFIX, Role};
use serde_json::Value;

/// What a request is, and which release it is about.
pub(super) fn read(parts: &Parts, body: &Value) -> (String, Option<usize>) {
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    match path.strip_prefix(PREFIX) {
        Some(rest) => of_a_system(method, rest, &parts.headers, body),
        None => of_the_api_server(method, path, parts.uri.query().unwrap_or_default(), body),
    }
}

fn of_a_system(method: &str, rest: &str, headers: &HeaderMap, body: &Value) -> (String, Option<usize>) {
    let (collection, id) = rest.trim_start_matches('/').split_once('/').unwrap_or((rest.trim_start_matches('/'), ""));
    let role = Role::ALL.into_iter().find(|role| role.collection() == collection).map_or("unknown", Role::name);
    let part = match (method, role, body.get("evidence")) {
        ("PATCH", "tracker", Some(_)) => " evidence",
        ("PATCH", "tracker", None) => " state",
        _ => "",
    };
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
    let named = if id.is_empty() { key } else { id };
    let release = if named.contains("releaseclosure-probe") { None } else { number_in(named) };
    (format!("{method} {role}{part}"), release)
}

fn of_the_api_server(method: &str, path: &str, query: &str, body: &Value) -> (String, Option<usize>) {
    let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if let Some(position) = segments.iter().position(|segment| *segment == "namespaces") {
        segments.drain(..(position + 2).min(segments.len()));
    } else {
        segments.drain(..3.min(segments.len()));
    }
    let (plural, name) = (segments.first().copied().unwrap_or_default(), segments.get(1).copied().unwrap_or_default());
    let verb = match method {
        "GET" if query.contains("watch=") => "WATCH",
        "GET" if name.is_empty() => "LIST",
        other => other,
    };
    let below = segments.get(2).map(|below| format!("/{below}")).unwrap_or_default();
    let text = match (verb, plural) {
        ("POST", "events") => body["regarding"]["name"].as_str().unwrap_or_default(),
        ("POST", "followuppackets") => body["spec"]["release"]["id"].as_str().unwrap_or_default(),
        (_, "releaseclosures") => name,
        _ => "",
    };
    (format!("{verb} {plural}{below}"), number_in(text))
}

/// The number of the made-up release that a text names: five digits, no more and no less.
fn number_in(text: &str) -> Option<usize> {
    let runs = text.split(|c: char| !c.is_ascii_digit());
    runs.filter(|run| run.len() == 5).find_map(|run| run.parse().ok())
}
