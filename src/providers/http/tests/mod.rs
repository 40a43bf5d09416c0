//! The adapter against sockets, in this process. What is not about the wire is tested beside what it is about.

mod fuzz;
mod hostile;
mod limits;
mod lists;
pub(crate) mod orders;
mod reads;
pub(crate) mod server;
#[cfg(feature = "otlp")]
mod spans;
mod tls;
mod writes;

use crate::closure::decide::{Delivery, HandoffBody, Verified};
use crate::closure::ids::Step;
use crate::closure::ledger::Link;
use crate::closure::snapshot::{Trouble, Unreachable};
use crate::providers::meter::Meter;
use crate::providers::{LimitSettings, Product, Secrets, Settings, connect};
use crate::roles::{Connected, Permit, Subject};
use orders::order;
use secrecy::SecretString;
use server::Server;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const TOKEN: &str = "canary-5e1c7ab0";
pub(crate) const KEY: &str = "r-1@RR-2@3";

/// Settings that let a test at its own server, with limits that do not matter.
pub(crate) fn settings(endpoint: String) -> Settings {
    Settings {
        product: Product::Http { endpoint, delivery: Delivery::IdempotencyKey },
        token: Some(SecretString::from(TOKEN)),
        ca_pem: None,
        client_certificate_pem: None,
        secrets: Secrets::default(),
        limits: LimitSettings { requests_per_second: 10_000.0, concurrency: 8, timeout: Duration::from_secs(20) },
        allow_plaintext: true,
        allow_loopback: true,
        meter: Arc::new(Meter::default()),
    }
}

fn at(server: &Server) -> Settings {
    settings(format!("http://{}/closure/v1", server.address))
}

/// With a timeout short enough to be waited for.
fn hasty(server: &Server) -> Settings {
    let mut settings = at(server);
    settings.limits.timeout = Duration::from_millis(400);
    settings
}

fn connected(server: &Server) -> Connected {
    connect(&at(server)).unwrap()
}

fn subject(record: Option<&str>) -> Subject<'_> {
    Subject { record, release: "r-1", review_version: "3" }
}

fn close() -> Verified {
    order(Step::CloseChecklist)
}

fn announce() -> Verified {
    order(Step::NotifyCoordinator)
}

fn handoff(coordinator: Option<&str>) -> HandoffBody {
    HandoffBody {
        release_id: "r-1".into(),
        review_version: "3".into(),
        service: "pay\"ments".into(),
        closure_key: KEY.into(),
        coordinator: coordinator.map(str::to_owned),
        links: vec![
            Link { rel: "evidence".into(), url: "https://archive.example.com/b".into() },
            Link { rel: "tracker".into(), url: "https://tracker.example.com/REL-1".into() },
        ],
    }
}

async fn permit(connected: &Connected) -> Permit {
    connected.gate.permit().await.unwrap()
}

fn trouble(trouble: Trouble) -> Unreachable {
    trouble.into()
}

const REVIEW: &str = r#"{"id":"RR-2","version":"3","state":"Accepted","extra":{"a":[1,2]},
    "release":{"id":"r-1","service":"payments","version":"2026.11.3"},
    "milestone":{"id":"12","title":"2026.11 é"},
    "evidence":{"bundle":"payments/2026.11.3/rv3","digest":"md5:foreign"},"acceptedEvent":{"id":"5f0c"}}"#;
const BUNDLE: &str = r#"{"bundle":"payments/2026.11.3/rv3","digest":"sha256:00","release":{"id":"r-1"},
    "review":{"version":"3"},"artifacts":[{"name":"n","kind":"sign-off","digest":"sha256:11","url":"https://a/1"},
    {"name":"m","kind":"notes","digest":null,"url":"https://a/2"}],"url":"https://archive.example.com/b"}"#;
const CHECKLIST: &str = r#"{"id":"CHK-1","release":{"id":"r-1"},"review":{"version":"3"},"state":"Open",
    "items":[{"id":"i1","title":"t","done":true},{"id":"i2","title":"t","done":false}],"closure":null}"#;
const QUEUE: &str = r#"{"id":"Q-9","release":{"id":"r-1"},"review":{"version":"3"},"state":"Pending","closure":null}"#;
const RELEASE: &str = r#"{"id":"REL-1","release":{"id":"r-1","service":"payments","version":"2026.11.3"},"state":"InReview",
    "milestone":{"id":"12","title":"2026.11"},"evidence":[],"closure":null}"#;
