//! Faults on request: rules that say which requests meet which misfortune.

use std::sync::Arc;

use axum::http::HeaderValue;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::call::Call;
use super::records::Role;

/// A rule: the requests it matches, and what happens to them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The rule's name, for the log and for releasing what it holds. Given by the sandbox where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Which requests.
    #[serde(rename = "match", default)]
    pub matches: Match,
    /// What happens to them. An action without parameters may be written as its bare name.
    #[serde(deserialize_with = "action")]
    pub action: Action,
}

/// Which requests a rule is about; what is left out matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// Requests to this system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Requests with this method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Requests for this record (or with this handoff key). Look-ups are for no record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// Requests whose body has this field at the top: tells the tracker's two changes apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Only the n-th of these, counted from 1 since the rule was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// The n-th of these and all later ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// At most so many times in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}

/// What happens to a request. "Served" means: decided and, if it is a change, made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Action {
    /// The connection is closed and the request is never served.
    DropBefore {
        /// With a reset instead of an orderly close.
        #[serde(default)]
        reset: bool,
    },
    /// The request is served, and the connection is closed without a reply.
    DropAfter {
        /// With a reset instead of an orderly close.
        #[serde(default)]
        reset: bool,
    },
    /// The request waits, then is served: even if its caller has gone away meanwhile.
    Delay {
        /// How long, in milliseconds.
        milliseconds: u64,
    },
    /// The request is served, and its reply waits.
    DelayAfter {
        /// How long, in milliseconds.
        milliseconds: u64,
    },
    /// The request is not served; this is the reply.
    Status(Injected),
    /// The request is served; this is the reply nevertheless.
    StatusAfter(Injected),
    /// A change is not made, and the reply says that it was. Anything else is served.
    Lie {},
    /// A change is not made, and the reply is a success that shows the record as it still is. Anything else is served.
    Ignore {},
    /// The request is served; the reply is 200 with something that is not JSON.
    Garbage {},
    /// The request is served; half of the reply's body comes, then the connection is closed.
    Truncate {},
    /// The request is served; the reply's body comes byte by byte.
    Tarpit {
        /// How fast; at least 1.
        bytes_per_second: u32,
    },
    /// The request is served; the reply has a further field that makes it at least this large.
    Oversize {
        /// How large, in bytes.
        bytes: u64,
        /// Without a Content-Length, so that only a reader that counts notices in time.
        #[serde(default)]
        chunked: bool,
    },
    /// A read shows the record as it was one revision before, old ETag included. Changes are served.
    Stale {},
    /// The request is served, and right after it a person edits a record: before its caller has the reply.
    Edit(Edit),
    /// The request is not served; the reply points elsewhere.
    Redirect {
        /// The `Location`.
        location: String,
        /// The status; 307 where it is left out.
        #[serde(default = "temporary_redirect")]
        code: u16,
    },
    /// The request is held before it is served, until it is released.
    Hold {},
    /// The request is served, and its reply is held until it is released.
    HoldAfter {},
    /// The request is served; its reply lacks the strong ETag, as behind a proxy that compresses.
    Etag {
        /// What is left of it.
        mode: EtagMode,
    },
}

/// A reply that is not the system's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Injected {
    /// The status, from 200 to 599.
    pub code: u16,
    /// The `Retry-After`: seconds, or a date as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<RetryAfter>,
    /// True: a problem document, as if the system itself said so. False: a web page, as a proxy sends it.
    #[serde(default = "yes")]
    pub problem: bool,
}

/// The two forms of `Retry-After`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RetryAfter {
    /// Seconds.
    Seconds(u64),
    /// An HTTP date, or any other text.
    Text(String),
}

/// What a person does to a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The merge patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Value>,
    /// Or: the record is removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delete: bool,
    /// The system; the request's own where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The record; the request's own where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
}

/// What a proxy makes of an ETag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EtagMode {
    /// Nothing is left.
    None,
    /// It is weak.
    Weak,
}

fn yes() -> bool {
    true
}

fn temporary_redirect() -> u16 {
    307
}

/// `"dropBefore"` is short for `{"dropBefore": {}}`.
fn action<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Action, D::Error> {
    let value = match Value::deserialize(deserializer)? {
        Value::String(name) => serde_json::json!({name: {}}),
        other => other,
    };
    serde_json::from_value(value).map_err(serde::de::Error::custom)
}

/// A rule that is set, with how often it matched and acted.
#[derive(Clone, Debug, Serialize)]
pub struct Armed {
    /// The rule; its `id` is there.
    #[serde(flatten)]
    pub rule: Rule,
    /// How many requests matched since it was set.
    pub seen: u64,
    /// On how many of them it acted.
    pub fired: u64,
    #[serde(skip)]
    name: Arc<str>,
}

/// What happens to one request.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The rule that acts, and how. At most one: the first in the list.
    pub(super) action: Option<(Arc<str>, Action)>,
    /// All edits that follow.
    pub(super) edits: Vec<(Arc<str>, Edit)>,
}

/// The rules that are set, in order.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Vec<Armed>,
    given: u64,
}

impl Faults {
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(super) fn list(&self) -> &[Armed] {
        &self.rules
    }

    /// Checks a rule and sets it behind the others; a rule with the same id is replaced, and counts anew.
    pub(super) fn add(&mut self, mut rule: Rule) -> Result<Arc<str>, String> {
        check(&rule)?;
        let name: Arc<str> = match rule.id.take() {
            Some(id) => Arc::from(id),
            None => {
                self.given += 1;
                Arc::from(format!("fault-{}", self.given))
            }
        };
        self.remove(&name);
        rule.id = Some(name.to_string());
        self.rules.push(Armed { rule, seen: 0, fired: 0, name: name.clone() });
        Ok(name)
    }

    /// False if there is no such rule.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let before = self.rules.len();
        self.rules.retain(|armed| &*armed.name != id);
        self.rules.len() < before
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    /// Counts a request on every rule that matches it, and says what happens to it: the first rule due acts, and edits, which
    /// go with anything, all do.
    pub(super) fn plan(&mut self, call: &Call) -> Plan {
        let mut plan = Plan::default();
        for armed in &mut self.rules {
            if !matches(&armed.rule.matches, call) {
                continue;
            }
            armed.seen += 1;
            if !is_due(armed) {
                continue;
            }
            match &armed.rule.action {
                Action::Edit(edit) => plan.edits.push((armed.name.clone(), edit.clone())),
                action if plan.action.is_none() => plan.action = Some((armed.name.clone(), action.clone())),
                _ => continue,
            }
            armed.fired += 1;
        }
        plan
    }
}

fn matches(wanted: &Match, call: &Call) -> bool {
    let Match { role, method, record, field, nth: _, from: _, times: _ } = wanted;
    let has_field = |name: &String| {
        let body = serde_json::from_slice::<Value>(&call.body);
        body.is_ok_and(|body| body.get(name.as_str()).is_some())
    };
    role.is_none_or(|role| call.role() == Some(role))
        && method.as_deref().is_none_or(|method| call.method.as_str().eq_ignore_ascii_case(method))
        && record.as_deref().is_none_or(|record| call.record() == Some(record))
        && field.as_ref().is_none_or(has_field)
}

fn is_due(armed: &Armed) -> bool {
    let Match { nth, from, times, .. } = armed.rule.matches;
    nth.is_none_or(|nth| armed.seen == nth)
        && from.is_none_or(|from| armed.seen >= from)
        && times.is_none_or(|times| armed.fired < times)
}

/// What can be known to be wrong with a rule before it meets a request.
fn check(rule: &Rule) -> Result<(), String> {
    let Match { nth, from, .. } = rule.matches;
    if nth.is_some() && from.is_some() {
        return Err("match: nth and from exclude each other".to_owned());
    }
    if nth == Some(0) || from == Some(0) {
        return Err("match: requests are counted from 1".to_owned());
    }
    match &rule.action {
        Action::Status(Injected { code, retry_after, problem: _ })
        | Action::StatusAfter(Injected { code, retry_after, problem: _ }) => {
            if !(200..=599).contains(code) {
                return Err("action: code must be from 200 to 599".to_owned());
            }
            match retry_after {
                Some(RetryAfter::Text(text)) if HeaderValue::from_str(text).is_err() => {
                    Err("action: retryAfter is no header value".to_owned())
                }
                Some(RetryAfter::Text(_) | RetryAfter::Seconds(_)) | None => Ok(()),
            }
        }
        Action::Redirect { location, code }
            if HeaderValue::from_str(location).is_err() || !(300..=399).contains(code) =>
        {
            Err("action: location must be a header value, and code from 300 to 399".to_owned())
        }
        Action::Tarpit { bytes_per_second: 0 } => Err("action: bytesPerSecond must be at least 1".to_owned()),
        Action::Edit(Edit { patch, delete, .. }) if patch.is_some() == *delete => {
            Err("action: an edit has either a patch or delete: true".to_owned())
        }
        Action::Edit(Edit { role: Some(_), record: None, .. }) => {
            Err("action: an edit with a role needs a record".to_owned())
        }
        _ => Ok(()),
    }
}
