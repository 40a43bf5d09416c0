//! The closure HTTP contract in all six roles, against the sandbox.

use crate::conformance::front::Front;
use crate::conformance::subject::{Adapter, Deed, Made, Part, Place, Release, Server, Truth};
use crate::fault_proxy::Answer;
use async_trait::async_trait;
use releaseclosure::closure::decide::Delivery;
use releaseclosure::closure::ids::{Step, System};
use releaseclosure::providers::Product;
use releaseclosure::providers::http::allow_list;
use releaseclosure::sandbox::{Config, Handle, PREFIX, Role, start};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;

const TOKEN: &str = "let-me-in";
/// What people write that is none of the contract's business.
const WORDS: &str = "Looked at twice. — Kim";

/// The adapter.
pub struct Contract;

#[async_trait(?Send)]
impl Adapter for Contract {
    fn product(&self) -> &'static str {
        "http"
    }
    fn against(&self) -> &'static str {
        "the sandbox, which is the contract's reference implementation"
    }
    fn sends(&self) -> Vec<String> {
        allow_list().iter().map(|row| row.to_string()).collect()
    }
    fn systems(&self) -> &'static [System] {
        &System::ALL
    }
    async fn start(&self) -> Option<Box<dyn Server>> {
        Some(Box::new(Sandboxes))
    }
}

/// One sandbox for each cell.
struct Sandboxes;

#[async_trait]
impl Server for Sandboxes {
    async fn place(&self, part: Part, _number: usize) -> Arc<dyn Place> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let config = Config { token: Some(TOKEN.to_owned()), ..Config::default() };
        let handle = start(config, listener).await.expect("a sandbox");
        let front = Front::before(&handle.url()).await.with_errors(problem);
        Arc::new(Systems { handle, front, part, edits: AtomicUsize::new(0) })
    }
}

/// The contract's own word for an error.
fn problem(status: u16) -> Answer {
    let body = json!({"type": "about:blank", "title": "injected", "status": status, "detail": "injected"});
    Answer::status(status).header("content-type", "application/problem+json").body(body.to_string())
}

struct Systems {
    handle: Handle,
    front: Front,
    part: Part,
    /// How often somebody wrote words.
    edits: AtomicUsize,
}

impl Systems {
    fn role(&self) -> Role {
        match self.part.system {
            System::Governance => Role::Governance,
            System::Archive => Role::Archive,
            System::Checklist => Role::Checklist,
            System::Tracker => Role::Tracker,
            System::Queue => Role::Queue,
            System::Intake => Role::Intake,
        }
    }

    fn record(&self, release: &Release) -> (String, Value) {
        let of = json!({"id": release.id, "service": release.service, "version": release.version});
        let review = json!({"version": release.review_version});
        let milestone = json!({"id": "12", "title": release.milestone});
        let (id, bundle) = (release.id.as_str(), release.bundle());
        let approved = self.part.step == Some(Step::AttachEvidence);
        let url = format!("https://archive.example.com/{bundle}");
        let artifact = json!({"name": "s", "kind": "sign-off", "digest": release.digest, "url": format!("{url}/s")});
        match self.part.system {
            System::Governance => {
                let id = format!("RR-{id}");
                let record = json!({"id": id, "version": release.review_version, "state": "Accepted", "release": of,
                    "milestone": milestone, "evidence": {"bundle": bundle, "digest": release.digest},
                    "acceptedEvent": {"id": "evt-1"}});
                (id, record)
            }
            System::Archive => {
                let record = json!({"bundle": bundle, "digest": release.digest, "release": {"id": id}, "review": review,
                    "artifacts": [artifact], "url": url});
                (bundle, record)
            }
            System::Checklist => {
                let items = json!([{"id": "i", "title": "t", "done": true}]);
                let record = json!({"id": "CHK-1", "release": {"id": id}, "review": review, "state": "Open",
                    "items": items, "closure": null});
                ("CHK-1".to_owned(), record)
            }
            System::Tracker => {
                let state = if approved { "Approved" } else { "InReview" };
                let other = json!({"bundle": "other", "digest": "md5:1", "url": "https://a.example/o", "by": "Kim"});
                let record = json!({"id": "REL-1", "release": of, "state": state, "milestone": milestone,
                    "evidence": [other], "closure": null});
                ("REL-1".to_owned(), record)
            }
            System::Queue => {
                let record = json!({"id": "Q-1", "release": {"id": id}, "review": review, "state": "Pending", "closure": null});
                ("Q-1".to_owned(), record)
            }
            System::Intake => (String::new(), Value::Null),
        }
    }
}

#[async_trait]
impl Place for Systems {
    fn front(&self) -> &Front {
        &self.front
    }
    fn product(&self) -> Product {
        Product::Http { endpoint: format!("{}{PREFIX}", self.front.url()), delivery: Delivery::IdempotencyKey }
    }
    fn token(&self) -> String {
        TOKEN.to_owned()
    }

    async fn make(&self, release: &Release) -> Made {
        let (id, mut record) = self.record(release);
        if self.part.system != System::Intake {
            record["note"] = json!("by hand");
            self.handle.sandbox().put(self.role(), &id, record);
        }
        Made { id, milestone: Some("12".to_owned()) }
    }

    async fn truth(&self, release: &Release, made: &Made) -> Truth {
        let sandbox = self.handle.sandbox();
        if self.part.system == System::Intake {
            let marks = sandbox.deliveries().len() + sandbox.len(Role::FollowUp);
            return Truth { done: marks > 0, marks, words: true };
        }
        let record = sandbox.record(self.role(), &made.id).expect("it is there").value;
        let links = record["evidence"].as_array().cloned().unwrap_or_default();
        let ours = links.iter().filter(|link| link["bundle"] == json!(release.bundle()));
        let ours: Vec<&Value> = ours.collect();
        let other = links.first().is_none_or(|link| link["by"] == "Kim");
        let edits = self.edits.load(Ordering::Relaxed);
        let words = record["note"] == format!("by hand{}", WORDS.repeat(edits)) && other;
        match self.part.step {
            Some(Step::AttachEvidence) => {
                let marks = ours.iter().filter(|link| link["closure"]["key"].is_string()).count();
                Truth { done: !ours.is_empty(), marks, words }
            }
            _ => {
                let done = matches!(record["state"].as_str(), Some("Closed" | "Approved" | "Cleared"));
                Truth { done, marks: usize::from(record["closure"]["key"].is_string()), words }
            }
        }
    }

    async fn person(&self, release: &Release, made: &Made, deed: Deed) -> Result<(), &'static str> {
        let sandbox = self.handle.sandbox();
        if self.part.system == System::Intake {
            return Err("an intake holds what it was told, and nobody changes that");
        }
        let record = |id: &str| sandbox.record(self.role(), id).expect("it is there").value.clone();
        let changed = match deed {
            Deed::Edit => {
                let edits = self.edits.fetch_add(1, Ordering::Relaxed) + 1;
                sandbox.edit(self.role(), &made.id, &json!({"note": format!("by hand{}", WORDS.repeat(edits))}))
            }
            Deed::DoIt => {
                let done = match self.part.step {
                    Some(Step::CloseChecklist) => json!({"state": "Closed"}),
                    Some(Step::ApproveTracker) => json!({"state": "Approved"}),
                    Some(Step::ClearQueueEntry) => json!({"state": "Cleared"}),
                    _ => {
                        let url = format!("https://archive.example.com/{}", release.bundle());
                        let link = json!({"bundle": release.bundle(), "digest": release.digest, "url": url});
                        let mut links = record(&made.id)["evidence"].as_array().cloned().unwrap_or_default();
                        links.push(link);
                        json!({"evidence": links})
                    }
                };
                sandbox.edit(self.role(), &made.id, &done)
            }
            Deed::Rename if matches!(self.part.system, System::Governance | System::Tracker) => {
                sandbox.edit(self.role(), &made.id, &json!({"milestone": {"title": "2026.12"}}))
            }
            Deed::Rename => return Err("the record has no milestone"),
            Deed::Duplicate if self.part.step.is_some() => {
                let mut twin = Value::clone(&record(&made.id));
                twin["id"] = json!("TWIN");
                sandbox.put(self.role(), "TWIN", twin);
                true
            }
            Deed::Duplicate | Deed::Crowd if self.part.step.is_none() => return Err("the record is always named"),
            Deed::Remove => sandbox.remove(self.role(), &made.id),
            Deed::Duplicate | Deed::Crowd => return Err("a look-up of the contract has one page"),
            Deed::Move | Deed::Archive | Deed::Lock | Deed::Own(_) => return Err("the contract knows no such state"),
            Deed::WithdrawWriting | Deed::WithdrawReading | Deed::Revoke => {
                return Err("the contract leaves tokens to the system; a token that is not known is the case above");
            }
        };
        assert!(changed, "{deed:?}: there is no such record");
        Ok(())
    }

    fn not_allowed(&self) -> Vec<String> {
        self.front.not_on(allow_list(), PREFIX)
    }
}
