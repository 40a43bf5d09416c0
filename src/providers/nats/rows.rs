//! The allow-list for NATS: which subjects are published to, with which headers and what body. Nothing else is sent but what
//! a connection itself needs (CONNECT, PING, PONG, one subscription to a random inbox).
//!
//! **Invariant:** [`Request`] has private fields and one constructor, [`Row::request`].

use crate::closure::ids::System;
use crate::providers::meter::Verb;
use crate::spans::Protocol;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The stream that no server has: a name with dots is none.
const NO_STREAM: &str = "releaseclosure.no.stream";

/// One row: what may be published.
#[derive(Debug)]
pub struct Row {
    system: System,
    verb: Verb,
    subject: &'static str,
    headers: &'static [(&'static str, &'static str)],
    /// What it holds, for people.
    body: &'static str,
    /// What it is for, for people.
    purpose: &'static str,
}

macro_rules! table {
    ($($name:ident: $system:ident $verb:ident $subject:literal $headers:expr, $body:literal, $purpose:literal;)*) => {
        $(pub(super) static $name: Row = Row {
            system: System::$system,
            verb: Verb::$verb,
            subject: $subject,
            headers: $headers,
            body: $body,
            purpose: $purpose,
        };)*

        /// Every row.
        static TABLE: &[&Row] = &[$(&$name),*];
    };
}

#[rustfmt::skip]
table! {
    EVENTS_CONSUMER: Governance Get "$JS.API.CONSUMER.INFO.{stream}.{consumer}" &[], "", "see that the consumer fits";
    NEXT_EVENT: Governance Get "$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}" &[], r#"{"batch":1,"no_wait":true}"#,
        "for feeds: the next event";
    SETTLE_EVENT: Governance Post "$JS.ACK.{receipt}" &[], "+ACK, +TERM or -NAK",
        "for feeds: its closure is there, there will be none, or it is put off";
    QUEUE_STREAM: Queue Get "$JS.API.STREAM.INFO.{stream}" &[], "", "see that the stream fits";
    QUEUE_PROBE: Queue Patch "{prefix}.releaseclosure-probe" &[("Nats-Expected-Stream", NO_STREAM)], "",
        "see that the user may publish: such a message is always refused";
    ENTRY: Queue Get "$JS.API.STREAM.MSG.GET.{stream}" &[], r#"{"last_by_subj":"<prefix>.<entry>"}"#, "read the entry";
    CLEAR: Queue Patch "{prefix}.{entry}"
        &[("Nats-Expected-Stream", "{stream}"), ("Nats-Expected-Last-Subject-Sequence", "{sequence}")],
        r#"the entry as it was read, but "state":"Cleared" and "closure":{"key":<key>,"uid":<uid>}"#, "clear it";
    INTAKE_STREAM: Intake Get "$JS.API.STREAM.INFO.{stream}" &[], "", "see that the stream fits";
    INTAKE_PROBE: Intake Patch "{prefix}.releaseclosure-probe" &[("Nats-Expected-Stream", NO_STREAM)], "",
        "see that the user may publish: such a message is always refused";
    HANDOFF: Intake Get "$JS.API.STREAM.MSG.GET.{stream}" &[], r#"{"last_by_subj":"<prefix>.<digest>"}"#, "ask for it";
    ANNOUNCE: Intake Post "{prefix}.{digest}"
        &[("Nats-Expected-Last-Subject-Sequence", "0"), ("Nats-Expected-Stream", "{stream}"), ("Nats-Msg-Id", "{key}")],
        r#"{"releaseId":<releaseId>,"reviewVersion":<reviewVersion>,"service":<service>,"closureKey":<closureKey>,"coordinator":<coordinator>,"links":[<links>]}"#,
        "announce the handoff; where no coordinator is named, without the coordinator";
    HALT: Intake Post "{prefix}.{digest}"
        &[("Nats-Expected-Last-Subject-Sequence", "0"), ("Nats-Expected-Stream", "{stream}"), ("Nats-Msg-Id", "{key}")],
        r#"{"haltId":<haltId>,"closureKey":<closureKey>,"packet":<packet>,"namespace":<namespace>,"coordinator":<coordinator?>,"cause":<cause>,"link":<link?>}"#,
        "tell of a halt";
}

/// The whole table, for people to read what the operator is able to send.
#[must_use]
pub fn allow_list() -> &'static [&'static Row] {
    TABLE
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { system, verb: _, subject, headers, body, purpose } = self;
        write!(f, "{:<11}{:<6}{subject}   # {purpose}", system.as_str(), "PUB")?;
        for (name, value) in *headers {
            write!(f, "\n{:17}{name}: {value}", "")?;
        }
        if body.is_empty() { Ok(()) } else { write!(f, "\n{:17}{body}", "") }
    }
}

/// A request that the table allows.
#[derive(Debug)]
pub(super) struct Request {
    system: System,
    verb: Verb,
    template: &'static str,
    subject: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    record: u64,
}

impl Row {
    /// The template of the subject that is published to.
    #[must_use]
    pub fn subject(&self) -> &'static str {
        self.subject
    }

    /// The names of the headers.
    pub fn headers(&self) -> impl Iterator<Item = &'static str> {
        self.headers.iter().map(|(name, _)| *name)
    }

    /// What the body holds; a template but for an entry, and for an acknowledgement.
    #[must_use]
    pub fn body(&self) -> &'static str {
        self.body
    }

    /// Fills the row's holes. `record` tells records apart for the circuit breaker.
    ///
    /// None where a hole has no fill, or one that could not stand there; callers check what they fill in first.
    pub(super) fn request(&self, record: &str, fills: &[(&str, &str)], body: Vec<u8>) -> Option<Request> {
        let subject = fill(self.subject, fills, |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'=' | b'.' | b'$')
        })?;
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| Some((*name, fill(value, fills, |byte| byte.is_ascii_graphic())?)));
        let headers = headers.collect::<Option<_>>()?;
        let mut hasher = DefaultHasher::new();
        (self.system, record).hash(&mut hasher);
        let (system, verb, template) = (self.system, self.verb, self.subject);
        Some(Request { system, verb, template, subject, headers, body, record: hasher.finish() })
    }
}

impl Request {
    pub(super) fn verb(&self) -> Verb {
        self.verb
    }

    pub(super) fn system(&self) -> System {
        self.system
    }

    /// What its row says that it is: nothing that was filled in.
    pub(super) fn protocol(&self) -> Protocol {
        Protocol::Nats { subject: self.template }
    }

    pub(super) fn record(&self) -> u64 {
        self.record
    }

    /// The request as it goes over the line, with the subject that is replied to.
    pub(super) fn into_bytes(self, inbox: &str) -> Vec<u8> {
        let Request { subject, headers, body, .. } = self;
        if headers.is_empty() {
            let mut bytes = format!("PUB {subject} {inbox} {}\r\n", body.len()).into_bytes();
            bytes.extend(body);
            bytes.extend(b"\r\n");
            return bytes;
        }
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("NATS/1.0\r\n{lines}\r\n");
        let lengths = (head.len(), head.len() + body.len());
        let mut bytes = format!("HPUB {subject} {inbox} {} {}\r\n{head}", lengths.0, lengths.1).into_bytes();
        bytes.extend(body);
        bytes.extend(b"\r\n");
        bytes
    }
}

/// Copies a template, with the fills in the places of their holes.
fn fill(template: &str, fills: &[(&str, &str)], fits: impl Fn(u8) -> bool) -> Option<String> {
    let (mut filled, mut rest) = (String::with_capacity(template.len() + 64), template);
    while let Some((before, hole)) = rest.split_once('{') {
        let (name, after) = hole.split_once('}')?;
        let (_, value) = fills.iter().find(|(filled, _)| *filled == name)?;
        if value.is_empty() || !value.bytes().all(&fits) {
            return None;
        }
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_framed_as_its_lengths_say() {
        let fills = [("prefix", "a.b"), ("entry", "r=2E1.3"), ("stream", "S"), ("sequence", "7")];
        let bytes = CLEAR.request("x", &fills, b"{}".to_vec()).unwrap().into_bytes("_INBOX.x");
        let head = "NATS/1.0\r\nNats-Expected-Stream: S\r\nNats-Expected-Last-Subject-Sequence: 7\r\n\r\n";
        let expected = format!("HPUB a.b.r=2E1.3 _INBOX.x {} {}\r\n{head}{{}}\r\n", head.len(), head.len() + 2);
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        let bytes = ENTRY.request("x", &fills, b"{}".to_vec()).unwrap().into_bytes("_INBOX.x");
        assert_eq!(bytes, b"PUB $JS.API.STREAM.MSG.GET.S _INBOX.x 2\r\n{}\r\n");
    }

    #[test]
    fn nothing_that_is_filled_in_leaves_its_place() {
        let request = |entry: &str, sequence: &str| {
            let fills = [("prefix", "a"), ("entry", entry), ("stream", "S"), ("sequence", sequence)];
            CLEAR.request("x", &fills, Vec::new()).is_some()
        };
        assert!(request("r.3", "7"));
        for entry in ["", "*", ">", "a b", "a\r\nPUB x 0", "a\tb", "ä"] {
            assert!(!request(entry, "7"), "{entry:?}");
        }
        assert!(!request("r.3", "7\r\nNats-Rollup: all") && !request("r.3", ""));
    }

    #[test]
    fn the_whole_allow_list_is_the_one_that_was_reviewed() {
        let subjects: Vec<String> =
            allow_list().iter().map(|row| format!("{} {}", row.system.as_str(), row.subject)).collect();
        assert_eq!(
            subjects,
            [
                "governance $JS.API.CONSUMER.INFO.{stream}.{consumer}",
                "governance $JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}",
                "governance $JS.ACK.{receipt}",
                "queue $JS.API.STREAM.INFO.{stream}",
                "queue {prefix}.releaseclosure-probe",
                "queue $JS.API.STREAM.MSG.GET.{stream}",
                "queue {prefix}.{entry}",
                "intake $JS.API.STREAM.INFO.{stream}",
                "intake {prefix}.releaseclosure-probe",
                "intake $JS.API.STREAM.MSG.GET.{stream}",
                "intake {prefix}.{digest}",
                "intake {prefix}.{digest}",
            ]
        );
    }
}
