//! CloudEvents, against a receiver that takes an event only where the standard's own reader does, and none twice where it is said to.

use crate::conformance::front::Front;
use crate::conformance::subject::{Adapter, Deed, Made, Part, Place, Release, Server, Truth};
use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use cloudevents::AttributesReader as _;
use cloudevents::binding::http::to_event;
use releaseclosure::closure::ids::System;
use releaseclosure::providers::Product;
use releaseclosure::providers::cloud_events::allow_list;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const TOKEN: &str = "let-me-in";
const PATH: &str = "/in/box";

/// The adapter.
pub struct Events;

#[async_trait(?Send)]
impl Adapter for Events {
    fn product(&self) -> &'static str {
        "cloudEvents"
    }
    fn against(&self) -> &'static str {
        "a receiver that reads with the standard's own library, and drops what it knows"
    }
    fn sends(&self) -> Vec<String> {
        allow_list().iter().map(|row| row.to_string()).collect()
    }
    fn systems(&self) -> &'static [System] {
        &[System::Intake]
    }
    async fn start(&self) -> Option<Box<dyn Server>> {
        Some(Box::new(Receivers { mode: "Structured", duplicates: "Dropped" }))
    }
}

/// How events are sent, and what the receivers do with one that they know.
pub struct Receivers {
    pub mode: &'static str,
    pub duplicates: &'static str,
}

#[async_trait]
impl Server for Receivers {
    async fn place(&self, _: Part, _: usize) -> Arc<dyn Place> {
        let Receivers { mode, duplicates } = *self;
        let kept = Arc::new(Kept { drops: duplicates == "Dropped", taken: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let app = Router::new().route(PATH, post(take)).with_state(kept.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        let front = Front::before(&format!("http://{address}")).await;
        Arc::new(Receiver { front, kept, task, mode, duplicates })
    }
}

/// What was taken.
struct Kept {
    /// Whether an event that is known is dropped.
    drops: bool,
    /// The source and id of each event.
    taken: Mutex<Vec<(String, String)>>,
}

async fn take(State(kept): State<Arc<Kept>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if token != Some(&format!("Bearer {TOKEN}")) {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(event) = to_event(&headers, body.to_vec()) else { return StatusCode::BAD_REQUEST };
    let (mut taken, event) = (kept.taken.lock().expect("no panic"), (event.source().to_string(), event.id().to_owned()));
    if !kept.drops || !taken.contains(&event) {
        taken.push(event);
    }
    StatusCode::ACCEPTED
}

struct Receiver {
    front: Front,
    kept: Arc<Kept>,
    task: JoinHandle<()>,
    mode: &'static str,
    duplicates: &'static str,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl Place for Receiver {
    fn front(&self) -> &Front {
        &self.front
    }
    fn product(&self) -> Product {
        let events = json!({"endpoint": format!("{}{PATH}", self.front.url()), "mode": self.mode, "duplicates": self.duplicates});
        Product::CloudEvents(Box::new(serde_json::from_value(events).expect("settings")))
    }
    fn token(&self) -> String {
        TOKEN.to_owned()
    }
    async fn make(&self, _: &Release) -> Made {
        Made { id: String::new(), milestone: None }
    }
    async fn truth(&self, _: &Release, _: &Made) -> Truth {
        let marks = self.kept.taken.lock().expect("no panic").len();
        Truth { done: marks > 0, marks, words: true }
    }
    async fn person(&self, _: &Release, _: &Made, deed: Deed) -> Result<(), &'static str> {
        Err(match deed {
            Deed::Revoke | Deed::WithdrawReading | Deed::WithdrawWriting => {
                "the standard leaves tokens to the receiver; a token that is not known is the case above"
            }
            Deed::Move | Deed::Archive | Deed::Lock => "the standard knows no such state",
            _ => "an intake holds what it was told, and nobody changes that",
        })
    }
    fn not_allowed(&self) -> Vec<String> {
        // In binary mode what the standard says stands in headers, which no row tells.
        let attributes: &[&str] = match self.mode {
            "Binary" => &["ce-id", "ce-source", "ce-specversion", "ce-subject", "ce-type"],
            _ => &[],
        };
        let others = self.front.other_than(|asked| {
            let mut sent: Vec<&str> = asked.headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("ce-")).collect();
            sent.sort_unstable();
            sent == if asked.method == "POST" { attributes } else { &[] }
        });
        self.front.not_on(allow_list(), PATH).into_iter().chain(others).collect()
    }
}
