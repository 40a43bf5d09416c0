//! NATS JetStream: a stream for each cell, in which entries are the last messages of their subjects, and handoffs the only ones.

use crate::conformance::bodies;
use crate::conformance::front::Front;
use crate::conformance::subject::{Adapter, Deed, Made, Part, Place, Release, Server, Truth};
use crate::fault_proxy::Asked;
use crate::systems::nats::Nats;
use async_nats::HeaderMap;
use async_trait::async_trait;
use regex::Regex;
use releaseclosure::closure::ids::System;
use releaseclosure::providers::nats::allow_list;
use releaseclosure::providers::{Product, Secrets};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What people write into an entry.
const WORDS: &str = "Looked at twice. — Kim";
/// What stands in every entry from the beginning, to the letter.
const KEPT: &str = r#""asked":[1.50 ,"\u00e4"]"#;

/// The adapter.
pub struct Streams;

#[async_trait(?Send)]
impl Adapter for Streams {
    fn product(&self) -> &'static str {
        "nats"
    }
    fn against(&self) -> &'static str {
        "nats-server 2.15.2"
    }
    fn systems(&self) -> &'static [System] {
        &[System::Queue, System::Intake]
    }
    fn sends(&self) -> Vec<String> {
        allow_list().iter().map(|row| row.to_string()).collect()
    }
    async fn start(&self) -> Option<Box<dyn Server>> {
        Some(Box::new(Running(Arc::new(Nats::start().await?))))
    }
}

struct Running(Arc<Nats>);

#[async_trait]
impl Server for Running {
    async fn place(&self, part: Part, number: usize) -> Arc<dyn Place> {
        let (stream, prefix) = (format!("CELL-{number}"), format!("closure.c{number}"));
        // A window so short that it cannot be what keeps a handoff from being announced twice.
        self.0.stream(&stream, &[&format!("{prefix}.>")], Duration::from_millis(100)).await;
        let address = self.0.url().trim_start_matches("nats://").to_owned();
        let front = Front::before_nats(&address, |asked| !asked.path.starts_with("$JS.API.")).await;
        Arc::new(Stream { nats: self.0.clone(), front, part, stream, prefix, edits: AtomicUsize::new(0) })
    }
}

struct Stream {
    nats: Arc<Nats>,
    front: Front,
    part: Part,
    stream: String,
    prefix: String,
    /// How often somebody wrote words.
    edits: AtomicUsize,
}

impl Stream {
    async fn put(&self, id: &str, headers: HeaderMap, entry: String) {
        let subject = format!("{}.{id}", self.prefix);
        let sent = self.nats.admin.publish_with_headers(subject, headers, entry.into()).await.expect("sent");
        sent.await.expect("stored");
    }

    /// The last message of an entry.
    async fn last(&self, id: &str) -> String {
        let subject = format!("{}.{id}", self.prefix);
        let messages = self.nats.messages(&self.stream).await;
        messages.into_iter().rfind(|(of, _)| *of == subject).expect("it is there").1
    }

    /// Somebody changes the entry, and keeps what else it holds to the letter.
    async fn edit(&self, id: &str, from: &str, to: &str) {
        let changed = self.last(id).await.replacen(from, to, 1);
        self.put(id, HeaderMap::new(), changed).await;
    }
}

#[async_trait]
impl Place for Stream {
    fn front(&self) -> &Front {
        &self.front
    }
    fn product(&self) -> Product {
        let role = json!({"stream": self.stream, "subjectPrefix": self.prefix});
        let secret = json!({"name": "nats", "key": "key"});
        let name = if self.part.system == System::Queue { "queue" } else { "intake" };
        let nats = json!({"endpoint": self.front.url(), name: role, "userSecretRef": secret, "passwordSecretRef": secret});
        Product::of_spec(&json!({ "nats": nats })).expect("settings")
    }
    fn token(&self) -> String {
        "writer-password".to_owned()
    }
    fn secrets(&self, token: &str) -> Secrets {
        let mut secrets = Secrets::default();
        secrets.insert("user", "writer".into());
        secrets.insert("password", token.into());
        secrets
    }

    async fn make(&self, release: &Release) -> Made {
        if self.part.system == System::Intake {
            return Made { id: String::new(), milestone: None };
        }
        // As the documentation spells it: what is no letter, digit, dash or underscore as =XX.
        let id = format!("{}.{}", release.id.replace('.', "=2E"), release.review_version);
        let entry = format!(
            r#"{{"release":{{"id":"{}"}},{KEPT},"review":{{"version":"{}"}},"state":"Pending","note":""}}"#,
            release.id, release.review_version
        );
        self.put(&id, HeaderMap::new(), entry).await;
        Made { id, milestone: None }
    }

    async fn truth(&self, _release: &Release, made: &Made) -> Truth {
        if self.part.system == System::Intake {
            let marks = self.nats.messages(&self.stream).await.len();
            return Truth { done: marks > 0, marks, words: true };
        }
        let text = self.last(&made.id).await;
        let entry: Value = serde_json::from_str(&text).unwrap_or_default();
        let note = entry["note"] == WORDS.repeat(self.edits.load(Ordering::Relaxed));
        let marks = usize::from(entry["closure"]["key"].is_string());
        Truth { done: entry["state"] == "Cleared", marks, words: note && text.contains(KEPT) }
    }

    async fn person(&self, _release: &Release, made: &Made, deed: Deed) -> Result<(), &'static str> {
        if self.part.system == System::Intake {
            return Err("an intake holds what it was told, and nobody changes that");
        }
        match deed {
            Deed::Edit => {
                self.edit(&made.id, r#""note":""#, &format!(r#""note":"{WORDS}"#)).await;
                self.edits.fetch_add(1, Ordering::Relaxed);
            }
            Deed::DoIt => self.edit(&made.id, r#""state":"Pending""#, r#""state":"Cleared""#).await,
            Deed::Remove => {
                let mut headers = HeaderMap::new();
                headers.insert("KV-Operation", "DEL");
                self.put(&made.id, headers, String::new()).await;
            }
            Deed::Archive => {
                let mut stream = self.nats.admin.get_stream(&self.stream).await.expect("a stream");
                let mut settings = stream.info().await.expect("its settings").config.clone();
                settings.sealed = true;
                self.nats.admin.update_stream(settings).await.expect("sealed");
            }
            Deed::Rename => return Err("the record has no milestone"),
            Deed::Duplicate => return Err("an entry is the last message of one subject"),
            Deed::Crowd => return Err("an entry is asked for by its subject"),
            Deed::Lock => return Err("the product knows no lock of a record"),
            Deed::WithdrawWriting | Deed::WithdrawReading | Deed::Revoke => {
                return Err("users are the server's settings; one that is not let in is the case above");
            }
            Deed::Move | Deed::Own(_) => return Err("the product knows no such thing"),
        }
        Ok(())
    }

    fn not_allowed(&self) -> Vec<String> {
        let hole = Regex::new(r"\\\{[a-z]+\\\}").expect("a pattern");
        let rows: Vec<(Regex, Vec<String>, &str)> = allow_list()
            .iter()
            .map(|row| {
                let filled = regex::escape(row.subject());
                let subject = format!("^{}$", hole.replace_all(&filled, "[A-Za-z0-9=_.-]+"));
                (Regex::new(&subject).expect("a pattern"), row.headers().map(str::to_lowercase).collect(), row.body())
            })
            .collect();
        let on_a_row = |asked: &Asked| {
            let mut sent: Vec<&str> = asked.headers.keys().map(|name| name.as_str()).collect();
            sent.sort_unstable();
            let ours = asked.path.starts_with(&self.prefix) || asked.path.ends_with(&format!(".{}", self.stream));
            ours && rows.iter().any(|(subject, headers, body)| {
                let mut headers: Vec<&str> = headers.iter().map(String::as_str).collect();
                headers.sort_unstable();
                subject.is_match(&asked.path) && sent == headers && is_body(body, &asked.text())
            })
        };
        self.front.other_than(on_a_row)
    }
}

/// Whether this is what a row says that it sends.
fn is_body(row: &str, sent: &str) -> bool {
    if !row.starts_with("the entry as it was read") {
        return bodies::fits(row, sent) || bodies::fits(&row.replace(r#""coordinator":<coordinator>,"#, ""), sent);
    }
    // The entries of this suite, with their state and our mark.
    let entry = r#"{"release":{"id":<id>},"asked":[1.50,"ä"],"review":{"version":<version>},"state":"Cleared","note":<note>,"closure":{"key":<key>,"uid":<uid>}}"#;
    sent.contains(KEPT) && bodies::fits(entry, sent)
}
