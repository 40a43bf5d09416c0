//! What JetStream answers, and a queue entry as it stands in a message.

use crate::closure::ids::is_id;
use crate::closure::snapshot::{Marker, Marking, Progress, QueueRecord};
use crate::providers::rest::json::{NotTheContract, Object, is_shallow, parse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::fmt;

/// Longest text that is no identifier, in bytes.
const TEXT_MAX: usize = 256;
/// Longest closure key on a marker, in bytes.
const KEY_MAX: usize = 512;
pub(super) const PENDING: &str = "Pending";
pub(super) const CLEARED: &str = "Cleared";

/// An error of JetStream's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Fault {
    pub(super) code: u16,
    pub(super) err_code: u32,
}

impl Fault {
    /// The stream is not there.
    pub(super) const NO_STREAM: u32 = 10_059;
    /// There is no such message.
    pub(super) const NO_MESSAGE: u32 = 10_037;
    /// The consumer is not there.
    pub(super) const NO_CONSUMER: u32 = 10_014;
    /// The message is for another stream.
    pub(super) const OTHER_STREAM: u32 = 10_060;

    /// The subject's last message is another one than was expected. The second is said while one is being stored.
    pub(super) fn is_conflict(self) -> bool {
        matches!(self.err_code, 10_071 | 10_164)
    }
}

/// The last message of a subject.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) sequence: u64,
    pub(super) body: Vec<u8>,
    /// It says that the key was deleted, as key-value buckets do.
    pub(super) deleted: bool,
}

/// Reads the reply to a request for a message.
///
/// # Errors
/// It is none. Else the outcome is the message, or why there is none.
pub(super) fn message(body: &[u8], subject: &str) -> Result<Result<Message, Fault>, NotTheContract> {
    #[derive(Deserialize)]
    struct MessageWire {
        subject: String,
        seq: u64,
        #[serde(default)]
        hdrs: String,
        #[serde(default)]
        data: String,
    }
    #[derive(Deserialize)]
    struct Reply {
        message: Option<Object<MessageWire>>,
        error: Option<Object<Fault>>,
    }
    match parse(body)? {
        Reply { message: Some(Object(wire)), error: None } if wire.subject == subject => {
            let headers = STANDARD.decode(wire.hdrs).map_err(|_| NotTheContract)?;
            let body = STANDARD.decode(wire.data).map_err(|_| NotTheContract)?;
            Ok(Ok(Message { sequence: wire.seq, body, deleted: is_deletion(&headers) }))
        }
        Reply { message: None, error: Some(Object(fault)) } => Ok(Err(fault)),
        Reply { .. } => Err(NotTheContract),
    }
}

fn is_deletion(headers: &[u8]) -> bool {
    String::from_utf8_lossy(headers).lines().filter_map(|line| line.split_once(':')).any(|(name, value)| {
        (name.eq_ignore_ascii_case("KV-Operation") && matches!(value.trim(), "DEL" | "PURGE"))
            || name.eq_ignore_ascii_case("Nats-Marker-Reason")
    })
}

/// A consumer, as far as it matters to a feed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Consumer {
    pub(super) durable_name: String,
    pub(super) ack_policy: String,
    pub(super) deliver_subject: String,
    /// Events that it hands out before the first of them is settled; none or less than one for any number.
    pub(super) max_ack_pending: i64,
}

/// Reads the reply to a request for a consumer.
///
/// # Errors
/// It is none. Else the outcome is the consumer, or why there is none.
pub(super) fn consumer(body: &[u8]) -> Result<Result<Consumer, Fault>, NotTheContract> {
    #[derive(Deserialize)]
    struct Reply {
        config: Option<Object<Consumer>>,
        error: Option<Object<Fault>>,
    }
    match parse(body)? {
        Reply { config: Some(Object(consumer)), error: None } => Ok(Ok(consumer)),
        Reply { config: None, error: Some(Object(fault)) } => Ok(Err(fault)),
        Reply { .. } => Err(NotTheContract),
    }
}

/// What a stream said to a message that was published to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// It is stored, under this sequence.
    Under(u64),
    /// One with its id is stored already.
    Duplicate,
    /// It is not.
    Refused(Fault),
}

/// Reads the acknowledgement of a stream.
///
/// # Errors
/// It is none, or another stream's: then somebody else has answered.
pub(super) fn stored(body: &[u8], stream: &str) -> Result<Stored, NotTheContract> {
    #[derive(Deserialize)]
    struct Ack {
        #[serde(default)]
        stream: String,
        #[serde(default)]
        seq: u64,
        #[serde(default)]
        duplicate: bool,
        error: Option<Object<Fault>>,
    }
    match parse(body)? {
        Ack { error: Some(Object(fault)), .. } => Ok(Stored::Refused(fault)),
        Ack { stream: named, seq, duplicate, error: None } if named == stream && seq > 0 => {
            Ok(if duplicate { Stored::Duplicate } else { Stored::Under(seq) })
        }
        Ack { .. } => Err(NotTheContract),
    }
}

/// A stream's settings, as far as something could be lost by them.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Stream {
    pub(super) subjects: Vec<String>,
    pub(super) retention: String,
    pub(super) discard: String,
    pub(super) storage: String,
    pub(super) max_msgs: i64,
    pub(super) max_bytes: i64,
    /// In nanoseconds; 0 for ever.
    pub(super) max_age: u64,
    pub(super) no_ack: bool,
    pub(super) sealed: bool,
}

impl Default for Stream {
    fn default() -> Self {
        let [retention, discard, storage] = ["limits", "old", "file"].map(str::to_owned);
        let (subjects, max_age, no_ack, sealed) = (Vec::new(), 0, false, false);
        Stream { subjects, retention, discard, storage, max_msgs: -1, max_bytes: -1, max_age, no_ack, sealed }
    }
}

impl Stream {
    /// Whether messages of a subject go there.
    pub(super) fn takes(&self, subject: &str) -> bool {
        self.subjects.iter().any(|pattern| {
            let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
            loop {
                match (pattern.next(), subject.next()) {
                    (Some(">"), Some(_)) | (None, None) => return true,
                    (Some("*"), Some(_)) => {}
                    (Some(wanted), Some(token)) if wanted == token => {}
                    _ => return false,
                }
            }
        })
    }
}

/// Reads the reply to a request for a stream's settings.
///
/// # Errors
/// It is none.
pub(super) fn stream(body: &[u8]) -> Result<Result<Stream, Fault>, NotTheContract> {
    #[derive(Deserialize)]
    struct Reply {
        config: Option<Object<Stream>>,
        error: Option<Object<Fault>>,
    }
    match parse(body)? {
        Reply { config: Some(Object(stream)), error: None } => Ok(Ok(stream)),
        Reply { config: None, error: Some(Object(fault)) } => Ok(Err(fault)),
        Reply { .. } => Err(NotTheContract),
    }
}

/// An entry's members in their order, each as it was read.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

impl Serialize for Members {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// `{release:{id}, review:{version}, state, closure}`, and whatever else people keep there.
///
/// # Errors
/// It is none.
pub(super) fn entry(body: &[u8], id: &str) -> Result<QueueRecord, NotTheContract> {
    #[derive(Deserialize)]
    struct Release {
        id: String,
    }
    #[derive(Deserialize)]
    struct Review {
        version: String,
    }
    #[derive(Deserialize)]
    struct MarkerWire {
        key: String,
        uid: String,
    }
    #[derive(Deserialize)]
    struct EntryWire {
        release: Object<Release>,
        review: Object<Review>,
        state: String,
        #[serde(default)]
        closure: Option<Object<MarkerWire>>,
    }
    let EntryWire { release: Object(release), review: Object(review), state, closure } = parse(body)?;
    let marking = match closure {
        None => Marking::Unmarked,
        Some(Object(MarkerWire { key, uid })) if key.len() <= KEY_MAX && uid.len() <= TEXT_MAX => {
            Marking::By(Marker { key, uid })
        }
        Some(_) => return Err(NotTheContract),
    };
    if !is_id(&release.id) || !is_id(&review.version) || state.len() > TEXT_MAX {
        return Err(NotTheContract);
    }
    let state = match state.as_str() {
        PENDING => Progress::ToDo(state),
        CLEARED => Progress::Done(state),
        _ => Progress::Other(state),
    };
    Ok(QueueRecord { id: id.to_owned(), release_id: release.id, review_version: review.version, state, marking })
}

/// The entry, cleared: what else it holds stays as it was, to the letter.
///
/// # Errors
/// It is none.
pub(super) fn cleared(body: &[u8], marker: &Marker) -> Result<Vec<u8>, NotTheContract> {
    #[derive(Serialize)]
    struct MarkerWire<'a> {
        key: &'a str,
        uid: &'a str,
    }
    if !is_shallow(body) {
        return Err(NotTheContract);
    }
    let mut members: Members = serde_json::from_slice(body).map_err(|_| NotTheContract)?;
    let raw =
        |text: Result<String, serde_json::Error>| text.and_then(RawValue::from_string).map_err(|_| NotTheContract);
    let ours = [
        ("state", raw(serde_json::to_string(CLEARED))?),
        ("closure", raw(serde_json::to_string(&MarkerWire { key: &marker.key, uid: &marker.uid }))?),
    ];
    for (name, value) in ours {
        match members.0.iter_mut().find(|(held, _)| held == name) {
            Some((_, held)) => *held = value,
            None => members.0.push((name.to_owned(), value)),
        }
    }
    serde_json::to_vec(&members).map_err(|_| NotTheContract)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cleared_entry_keeps_what_is_not_ours_to_the_letter() {
        let marker = Marker { key: "r@v@3".into(), uid: "u".into() };
        let read = r#"{"z":1.50,"state":"Pending","who":{"b":[1 ,2],"a":"ä\u00e4"},"release":{"id":"r"}}"#;
        let written = String::from_utf8(cleared(read.as_bytes(), &marker).unwrap()).unwrap();
        let expected = r#"{"z":1.50,"state":"Cleared","who":{"b":[1 ,2],"a":"ä\u00e4"},"release":{"id":"r"},"closure":{"key":"r@v@3","uid":"u"}}"#;
        assert_eq!(written, expected);
    }

    #[test]
    fn a_stream_takes_what_its_patterns_say() {
        let takes = |pattern: &str, subject: &str| {
            Stream { subjects: vec![pattern.to_owned()], ..Stream::default() }.takes(subject)
        };
        for (pattern, subject, expected) in [
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.b", "a.b", true),
            ("a.b.c", "a.b", false),
            ("$KV.q.>", "$KV.q.r.3", true),
            (">", "a", true),
        ] {
            assert_eq!(takes(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn only_the_streams_own_word_is_an_acknowledgement() {
        assert_eq!(stored(br#"{"stream":"S","seq":7}"#, "S"), Ok(Stored::Under(7)));
        assert_eq!(stored(br#"{"stream":"S","seq":7,"duplicate":true}"#, "S"), Ok(Stored::Duplicate));
        let refused = stored(br#"{"error":{"code":400,"err_code":10071,"description":"x"},"stream":"S","seq":0}"#, "S");
        assert!(matches!(refused, Ok(Stored::Refused(fault)) if fault.is_conflict()));
        for other in [r#"{"stream":"T","seq":7}"#, r#"{"stream":"S"}"#, "{}", "", "+ACK", r#"["S",7]"#] {
            assert_eq!(stored(other.as_bytes(), "S"), Err(NotTheContract), "{other}");
        }
    }
}
