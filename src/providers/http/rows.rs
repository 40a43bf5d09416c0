//! The allow-list: every request that is ever sent is made from a row of one table, and from nothing else.
//!
//! A row is a method, a path template and a body template. In a path, `{name}` stands for one identifier, percent-encoded
//! into one segment or one query value. In a body, `<name>` stands for one text as a JSON string, but for two lists:
//! `<others,>` for links exactly as they were read, each followed by a comma, and `<links>` for what is announced.
//!
//! **Invariant:** [`Request`] has private fields and one constructor, [`Ask::request`]. No row writes to `/reviews` or
//! `/bundles`, and none names a deployment.

use crate::closure::ids::System;
use crate::closure::ledger::Link;
use crate::closure::snapshot::EvidenceLink;
use crate::providers::meter::Verb;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// One row: what may be sent.
#[derive(Debug)]
pub struct Row {
    name: Ask,
    system: System,
    verb: Verb,
    path: &'static str,
    body: &'static str,
    /// What it is for, for people.
    purpose: &'static str,
}

/// The rows by name, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Review,
    ReviewFeed,
    Bundle,
    Checklist,
    ChecklistsOf,
    CloseChecklist,
    Release,
    ReleasesOf,
    ApproveRelease,
    AttachEvidence,
    QueueEntry,
    QueueEntriesOf,
    ClearQueueEntry,
    Announce,
    AnnounceTo,
    Handoff,
}

/// Fourteen pairs of method and path template; two of them with two body templates.
#[rustfmt::skip]
static ROWS: [Row; 16] = {
    use System::{Archive, Checklist, Governance, Intake, Queue, Tracker};
    use Verb::{Get, Patch, Post};
    const fn row(name: Ask, system: System, verb: Verb, path: &'static str, body: &'static str, purpose: &'static str) -> Row {
        Row { name, system, verb, path, body, purpose }
    }
    [
        row(Ask::Review, Governance, Get, "/reviews/{id}", "", "read the decision"),
        row(Ask::ReviewFeed, Governance, Get, "/reviews?state={state}&acceptedAfter={time}&cursor={cursor}", "", "for feeds"),
        row(Ask::Bundle, Archive, Get, "/bundles/{bundle}", "", "read what the archive holds"),
        row(Ask::Checklist, Checklist, Get, "/checklists/{id}", "", "read it"),
        row(Ask::ChecklistsOf, Checklist, Get, "/checklists?release={release}&reviewVersion={reviewVersion}", "", "find it"),
        row(Ask::CloseChecklist, Checklist, Patch, "/checklists/{id}",
            r#"{"state":"Closed","closure":{"key":<key>,"uid":<uid>}}"#, "close it"),
        row(Ask::Release, Tracker, Get, "/releases/{id}", "", "read it"),
        row(Ask::ReleasesOf, Tracker, Get, "/releases?release={release}", "", "find it"),
        row(Ask::ApproveRelease, Tracker, Patch, "/releases/{id}",
            r#"{"state":"Approved","closure":{"key":<key>,"uid":<uid>}}"#, "set it to approved"),
        row(Ask::AttachEvidence, Tracker, Patch, "/releases/{id}",
            r#"{"evidence":[<others,>{"bundle":<bundle>,"digest":<digest>,"url":<url>,"closure":{"key":<key>,"uid":<uid>}}]}"#,
            "attach the evidence"),
        row(Ask::QueueEntry, Queue, Get, "/queue-entries/{id}", "", "read it"),
        row(Ask::QueueEntriesOf, Queue, Get, "/queue-entries?release={release}&reviewVersion={reviewVersion}", "", "find it"),
        row(Ask::ClearQueueEntry, Queue, Patch, "/queue-entries/{id}",
            r#"{"state":"Cleared","closure":{"key":<key>,"uid":<uid>}}"#, "clear it"),
        row(Ask::Announce, Intake, Post, "/handoffs",
            r#"{"releaseId":<releaseId>,"reviewVersion":<reviewVersion>,"service":<service>,"closureKey":<closureKey>,"links":[<links>]}"#,
            "announce the handoff"),
        row(Ask::AnnounceTo, Intake, Post, "/handoffs",
            r#"{"releaseId":<releaseId>,"reviewVersion":<reviewVersion>,"service":<service>,"closureKey":<closureKey>,"coordinator":<coordinator>,"links":[<links>]}"#,
            "announce it to a coordinator"),
        row(Ask::Handoff, Intake, Get, "/handoffs/{key}", "", "ask for it"),
    ]
};

/// The whole table, for people to read what the operator is able to send.
#[must_use]
pub fn allow_list() -> &'static [Row] {
    &ROWS
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { name: _, system, verb, path, body, purpose } = self;
        write!(f, "{:<11}{:<6}{path}   # {purpose}", system.as_str(), verb.as_str())?;
        if body.is_empty() { Ok(()) } else { write!(f, "\n{:17}{body}", "") }
    }
}

/// What a hole of a template is filled with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fill<'a> {
    Text(&'a str),
    /// Other people's links, each as it was read.
    Others(&'a [EvidenceLink]),
    Links(&'a [Link]),
}

/// A request that the table allows.
#[derive(Debug)]
pub(super) struct Request {
    verb: Verb,
    path: String,
    body: Vec<u8>,
    record: u64,
}

impl Request {
    pub(super) fn verb(&self) -> Verb {
        self.verb
    }
    /// Path and query, below the endpoint.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
    /// Empty for reads.
    pub(super) fn into_body(self) -> Vec<u8> {
        self.body
    }
    /// Tells records apart for the circuit breaker: the same for every request about one record.
    pub(super) fn record(&self) -> u64 {
        self.record
    }
}

impl Ask {
    /// Fills the row's holes. The first fill names the record.
    ///
    /// None when a hole has no fill of its kind, or when a text could not stand in a path; callers check their
    /// identifiers first, so that this is a second lock on the same door.
    pub(super) fn request(self, fills: &[(&str, Fill<'_>)]) -> Option<Request> {
        let row = ROWS.iter().find(|row| row.name == self)?;
        let mut path = String::with_capacity(row.path.len() + 64);
        fill(row.path, ('{', '}'), &mut path, |path, name| match find(fills, name)? {
            Fill::Text(text) if !matches!(text, "" | "." | "..") => {
                percent_encode(text, path);
                Some(())
            }
            Fill::Text(_) | Fill::Others(_) | Fill::Links(_) => None,
        })?;
        let mut body = String::with_capacity(if row.body.is_empty() { 0 } else { row.body.len() + 256 });
        // Bodies hold braces of their own, so their holes are marked otherwise.
        fill(row.body, ('<', '>'), &mut body, |body, name| {
            match find(fills, name)? {
                Fill::Text(text) => push_json(text, body)?,
                Fill::Others(links) => {
                    for link in links {
                        // Whoever reads no text cannot write it back: nothing may be lost silently.
                        if link.as_read.is_empty() {
                            return None;
                        }
                        body.push_str(&link.as_read);
                        body.push(',');
                    }
                }
                Fill::Links(links) => {
                    for (position, Link { rel, url }) in links.iter().enumerate() {
                        body.push_str(if position == 0 { r#"{"rel":"# } else { r#",{"rel":"# });
                        push_json(rel, body)?;
                        body.push_str(r#","url":"#);
                        push_json(url, body)?;
                        body.push('}');
                    }
                }
            }
            Some(())
        })?;
        let mut hasher = DefaultHasher::new();
        row.system.hash(&mut hasher);
        if let Some((_, Fill::Text(text))) = fills.first() {
            text.hash(&mut hasher);
        }
        Some(Request { verb: row.verb, path, body: body.into_bytes(), record: hasher.finish() })
    }
}

fn find<'a>(fills: &[(&str, Fill<'a>)], name: &str) -> Option<Fill<'a>> {
    fills.iter().find(|(filled, _)| *filled == name).map(|(_, fill)| *fill)
}

/// Copies a template, with `write` in the place of every hole.
fn fill(
    template: &str,
    (open, close): (char, char),
    out: &mut String,
    write: impl Fn(&mut String, &str) -> Option<()>,
) -> Option<()> {
    let mut rest = template;
    while let Some((before, hole)) = rest.split_once(open) {
        let (name, after) = hole.split_once(close)?;
        out.push_str(before);
        write(out, name)?;
        rest = after;
    }
    out.push_str(rest);
    Some(())
}

/// Everything but `A–Z a–z 0–9 - . _ ~` as `%XX`, so that a text stays in its segment or query value.
fn percent_encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

fn push_json(text: &str, out: &mut String) -> Option<()> {
    // Identifiers, which are most of what is written, need no escapes.
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return Some(());
    }
    out.push_str(&serde_json::to_string(text).ok()?);
    Some(())
}

#[cfg(test)]
mod tests;
