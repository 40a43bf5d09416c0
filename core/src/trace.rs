//! The hash chain over a closure's trace, so that a changed status shows against its head.
//!
//! Alignment digest = SHA-256 of {release, review, milestone, evidence, decision, compared};
//! h₀ = SHA-256 of {closureKey, uid, acceptedEvent, playbook, alignment, episode, halts};
//! hᵢ = SHA-256 of {previous: hᵢ₋₁, step: step i as stored}. Canonical JSON (RFC 8785), absent fields absent. The head is
//! h₅.

use super::accepted::Accepted;
use super::ids::Step;
use super::ledger::{Compared, Ledger, Verdict};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// `sha256:` and the SHA-256 of a value as canonical JSON.
#[must_use]
pub fn digest(value: &Value) -> String {
    let mut text = Vec::with_capacity(1024);
    write_canonical(value, &mut text);
    format!("sha256:{}", hex::encode(Sha256::digest(text)))
}

/// RFC 8785: members in order of their names (which here are ASCII, so that bytes order as UTF-16 does), no white
/// space, strings as `serde_json` escapes them, integers only.
fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (position, (name, member)) in members.into_iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_scalar(name, out);
                out.push(b':');
                write_canonical(member, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_canonical(item, out);
            }
            out.push(b']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => write_scalar(value, out),
    }
}

/// What has no members. Neither it nor a `Vec` refuses to be written.
fn write_scalar(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, value);
}

/// A wire type as a JSON value. The types here serialise without fail: they hold texts, integers and lists.
fn value_of(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// The digest of what the systems agreed on.
#[must_use]
pub fn alignment_digest(accepted: &Accepted, decision: Verdict, compared: &[Compared]) -> String {
    digest(&json!({
        "release": value_of(accepted.release()),
        "review": value_of(accepted.review()),
        "milestone": value_of(accepted.milestone()),
        "evidence": value_of(accepted.evidence()),
        "decision": value_of(decision),
        "compared": value_of(compared),
    }))
}

/// The head of the chain over a ledger.
#[must_use]
pub fn head(accepted: &Accepted, uid: &str, ledger: &Ledger) -> String {
    let mut origin = json!({
        "closureKey": accepted.key().as_str(),
        "uid": uid,
        "acceptedEvent": value_of(&accepted.review().accepted_event),
        "episode": ledger.episode,
        "halts": value_of(&ledger.halts),
    });
    if let Some(playbook) = &ledger.playbook {
        origin["playbook"] = value_of(playbook);
    }
    if let Some(alignment) = &ledger.alignment {
        origin["alignment"] = Value::from(alignment.digest.as_str());
    }
    ledger
        .steps
        .iter()
        .fold(digest(&origin), |previous, step| digest(&json!({"previous": previous, "step": value_of(step)})))
}

/// A claim of a trace that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The object has no head: it is not finished.
    #[error("the object is not finished, so its trace has no head yet")]
    NoHead,
    /// The alignment's digest is not that of the spec.
    #[error("the alignment digest {stored} is not that of the object's spec, which is {computed}")]
    Alignment {
        /// As stored.
        stored: String,
        /// As computed.
        computed: String,
    },
    /// The accepted event that the systems agreed on is not that of the spec. The chain covers the spec's alone.
    #[error("the alignment names the accepted event {stored}, and the object's spec {expected}")]
    Event {
        /// As stored.
        stored: String,
        /// As the spec names it.
        expected: String,
    },
    /// A step is not settled, and nobody gave the closure up.
    #[error("the step {0} is not settled, and the closure was not given up")]
    Open(Step),
    /// The head is not that of the steps.
    #[error("the trace digest {stored} is not that of the object's status, which is {computed}")]
    Head {
        /// As stored.
        stored: String,
        /// As computed.
        computed: String,
    },
}

/// Recomputes alignment and chain from a finished object alone, and gives the head. All that is claimed of a ledger
/// follows from it but the time of the alignment: that is the operator's word, and in no digest.
///
/// # Errors
/// The first claim that does not hold.
pub fn verify(accepted: &Accepted, uid: &str, ledger: &Ledger) -> Result<String, Broken> {
    let Some(stored) = &ledger.trace else { return Err(Broken::NoHead) };
    if let Some(alignment) = &ledger.alignment {
        let computed = alignment_digest(accepted, alignment.decision, &alignment.compared);
        if computed != alignment.digest {
            return Err(Broken::Alignment { stored: alignment.digest.clone(), computed });
        }
        let expected = &accepted.review().accepted_event.id;
        if alignment.accepted_event != *expected {
            let stored = alignment.accepted_event.clone();
            return Err(Broken::Event { stored, expected: expected.clone() });
        }
    }
    let open = ledger.steps.iter().find(|step| !step.outcome.is_settled());
    if let Some(open) = open.filter(|_| !ledger.is_given_up()) {
        return Err(Broken::Open(open.name));
    }
    let computed = head(accepted, uid, ledger);
    if computed == stored.digest { Ok(computed) } else { Err(Broken::Head { stored: stored.digest.clone(), computed }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_json_is_that_of_rfc_8785() {
        let value = json!({"b": [1, true, null], "a": "\u{8}\u{1f}\"\\/\u{20ac}\u{7f}", "aa": {"z": 0, "y": {}}});
        let mut text = Vec::new();
        write_canonical(&value, &mut text);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text, "{\"a\":\"\\b\\u001f\\\"\\\\/\u{20ac}\u{7f}\",\"aa\":{\"y\":{},\"z\":0},\"b\":[1,true,null]}");
    }

    #[test]
    fn a_known_value_has_its_known_digest() {
        // printf '{"a":1}' | sha256sum
        assert_eq!(digest(&json!({"a": 1})), "sha256:015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862");
    }
}
