//! What the systems hold at the beginning, from a YAML file or from the admin API.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::generate::{self, Generate};
use super::records::Role;
use super::settings::Settings;

/// The whole state of the six systems: what a seed file says, and what `GET /admin/state` shows.
///
/// Records may have fields beyond the contract's; they are kept and shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Seed {
    /// The systems' variants.
    pub settings: Settings,
    /// Made-up releases in addition to the ones below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generate: Option<Generate>,
    /// The governance system's reviews.
    pub reviews: Vec<Value>,
    /// The archive's evidence bundles.
    pub bundles: Vec<Value>,
    /// The checklists.
    pub checklists: Vec<Value>,
    /// The tracker's releases.
    pub releases: Vec<Value>,
    /// The review queue's entries.
    pub queue_entries: Vec<Value>,
    /// Handoffs that the intake has already: `{key, receivedAt, handoff}`.
    pub handoffs: Vec<Value>,
    /// What people were told of halts already: `{key, receivedAt, followUp}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub follow_ups: Vec<Value>,
    /// What the intake was handed, in order, duplicates included. Given back by the sandbox; a seed needs none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<Delivery>,
}

/// One handoff that took effect at the intake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delivery {
    /// The idempotency key it came with.
    pub key: String,
    /// When.
    pub received_at: Timestamp,
    /// What was announced.
    pub handoff: Value,
}

/// Why a seed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// Not YAML, or not of the form of a seed.
    #[error("the seed cannot be read: {0}")]
    Form(String),
    /// A record that is not one.
    #[error("the seed's {list}, {record}: {field} {problem}")]
    Field {
        /// The list the record is in, as the seed calls it.
        list: &'static str,
        /// The record's id, or its place in the list.
        record: String,
        /// The field, as a dotted path.
        field: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two records with one id.
    #[error("the seed's {list} have {record} twice")]
    Duplicate {
        /// The list the records are in, as the seed calls it.
        list: &'static str,
        /// Their id.
        record: String,
    },
}

impl Seed {
    /// Reads a seed from YAML (or JSON, which is YAML).
    pub fn from_yaml(text: &str) -> Result<Seed, SeedError> {
        serde_saphyr::from_str(text).map_err(|error| SeedError::Form(error.to_string()))
    }

    /// The records of a role.
    pub fn records(&self, role: Role) -> &[Value] {
        match role {
            Role::Governance => &self.reviews,
            Role::Archive => &self.bundles,
            Role::Checklist => &self.checklists,
            Role::Tracker => &self.releases,
            Role::Queue => &self.queue_entries,
            Role::Intake => &self.handoffs,
            Role::FollowUp => &self.follow_ups,
        }
    }

    /// The records of a role, to be changed.
    pub fn records_mut(&mut self, role: Role) -> &mut Vec<Value> {
        match role {
            Role::Governance => &mut self.reviews,
            Role::Archive => &mut self.bundles,
            Role::Checklist => &mut self.checklists,
            Role::Tracker => &mut self.releases,
            Role::Queue => &mut self.queue_entries,
            Role::Intake => &mut self.handoffs,
            Role::FollowUp => &mut self.follow_ups,
        }
    }

    /// Makes the releases that `generate` asks for, and checks that every record is one, and has an id of its own.
    pub fn complete(mut self) -> Result<Seed, SeedError> {
        if let Some(wish) = self.generate.take() {
            let made = generate::releases(&wish);
            for role in Role::ALL {
                self.records_mut(role).extend_from_slice(made.records(role));
            }
        }
        for role in Role::ALL {
            let mut ids = HashSet::new();
            for (index, record) in self.records_mut(role).iter_mut().enumerate() {
                let id = check(role, index, record)?;
                if !ids.insert(id.clone()) {
                    return Err(SeedError::Duplicate { list: list(role), record: id });
                }
            }
        }
        Ok(self)
    }
}

/// The role's list, as the seed calls it.
fn list(role: Role) -> &'static str {
    match role {
        Role::Queue => "queueEntries",
        Role::FollowUp => "followUps",
        Role::Governance | Role::Archive | Role::Checklist | Role::Tracker | Role::Intake => role.collection(),
    }
}

/// The texts that a record of the contract has.
fn texts(role: Role) -> &'static [&'static str] {
    match role {
        Role::Governance => &[
            "version",
            "state",
            "release.id",
            "release.service",
            "release.version",
            "milestone.id",
            "milestone.title",
            "evidence.bundle",
            "evidence.digest",
        ],
        Role::Archive => &["digest", "release.id", "review.version", "url"],
        Role::Checklist => &["release.id", "review.version", "state"],
        Role::Tracker => {
            &["release.id", "release.service", "release.version", "state", "milestone.id", "milestone.title"]
        }
        Role::Queue => &["release.id", "review.version", "state"],
        Role::Intake | Role::FollowUp => &["receivedAt"],
    }
}

/// The lists of objects that a record may have, and the texts in each object; a list that is left out is made empty.
fn lists(role: Role) -> Option<(&'static str, &'static [&'static str])> {
    match role {
        Role::Archive => Some(("artifacts", &["name", "kind", "digest", "url"])),
        Role::Checklist => Some(("items", &["id", "title"])),
        Role::Tracker => Some(("evidence", &["bundle", "digest", "url"])),
        Role::Governance | Role::Queue | Role::Intake | Role::FollowUp => None,
    }
}

/// Checks one record, fills in what may be left out, and returns its id.
pub(super) fn check(role: Role, index: usize, record: &mut Value) -> Result<String, SeedError> {
    let id = record.get(role.id_field()).and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned);
    let name = id.clone().unwrap_or_else(|| format!("number {}", index + 1));
    let wrong = |field: &str, problem| SeedError::Field {
        list: list(role),
        record: name.clone(),
        field: field.to_owned(),
        problem,
    };
    if !record.is_object() {
        return Err(wrong("the record", "must be an object"));
    }
    let id = match id {
        Some(id) => id,
        None => {
            return Err(text(record, role.id_field())
                .map_or_else(|problem| wrong(role.id_field(), problem), |()| wrong("id", EMPTY)));
        }
    };
    let content = match role {
        Role::Intake => Some("handoff"),
        Role::FollowUp => Some("followUp"),
        _ => None,
    };
    if let (Some(content), Some(fields)) = (content, record.as_object_mut()) {
        fields.entry("receivedAt").or_insert_with(|| json!(Timestamp::now().to_string()));
        fields.entry(content).or_insert(Value::Null);
    }
    for field in texts(role) {
        text(record, field).map_err(|problem| wrong(field, problem))?;
    }
    if let Some((field, texts)) = lists(role) {
        let entries = record.as_object_mut().map(|fields| fields.entry(field).or_insert_with(|| json!([])));
        let entries = entries.as_deref().and_then(Value::as_array).ok_or_else(|| wrong(field, "must be a list"))?;
        for (index, entry) in entries.iter().enumerate() {
            for name in texts {
                text(entry, name).map_err(|problem| wrong(&format!("{field}[{index}].{name}"), problem))?;
            }
            if role == Role::Checklist && !entry.get("done").is_some_and(Value::is_boolean) {
                return Err(wrong(&format!("{field}[{index}].done"), "must be true or false"));
            }
        }
    }
    Ok(id)
}

const EMPTY: &str = "must not be empty";

/// The text at a dotted path, or what is there instead. Numbers are the usual mistake: YAML takes `3` and `2026.10` for one.
fn text(record: &Value, path: &str) -> Result<(), &'static str> {
    let value = path.split('.').try_fold(record, |value, name| value.get(name));
    match value {
        Some(Value::String(text)) if text.is_empty() => Err(EMPTY),
        Some(Value::String(_)) => Ok(()),
        Some(Value::Number(_) | Value::Bool(_)) => Err("must be a text: put it in quotes"),
        Some(_) => Err("must be a text"),
        None => Err("is missing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(yaml: &str) -> String {
        Seed::from_yaml(yaml).and_then(Seed::complete).expect_err(yaml).to_string()
    }

    #[test]
    fn a_bad_seed_names_the_record_and_the_field() {
        let entry = "release: {id: r}, review: {version: '3'}, state: Pending";
        for (yaml, expected) in [
            (
                "queueEntries: [{id: Q-1, release: {id: r}, state: Pending}]",
                "the seed's queueEntries, Q-1: review.version is missing",
            ),
            (
                "queueEntries: [{id: Q-1, release: {id: r}, review: {version: 3}, state: Pending}]",
                "the seed's queueEntries, Q-1: review.version must be a text: put it in quotes",
            ),
            ("queueEntries: [{release: {id: r}}]", "the seed's queueEntries, number 1: id is missing"),
            ("queueEntries: [{id: '', release: {id: r}}]", "the seed's queueEntries, number 1: id must not be empty"),
            ("reviews: [3]", "the seed's reviews, number 1: the record must be an object"),
            (
                &format!("queueEntries: [{{id: Q, {entry}}}, {{id: Q, {entry}}}]"),
                "the seed's queueEntries have Q twice",
            ),
            (
                "checklists: [{id: C, release: {id: r}, review: {version: '3'}, state: Open, items: [{id: a, title: b}]}]",
                "the seed's checklists, C: items[0].done must be true or false",
            ),
            ("bundles: [{digest: d}]", "the seed's bundles, number 1: bundle is missing"),
        ] {
            assert_eq!(error(yaml), expected);
        }
    }

    #[test]
    fn a_seed_of_another_form_is_refused() {
        for yaml in [
            "review: []",
            "settings: {markers: false}",
            "reviews: {a: b}",
            "reviews: [",
            "settings: {intake: {lookup: perhaps}}",
        ] {
            assert!(error(yaml).starts_with("the seed cannot be read: "), "{yaml}");
        }
    }

    #[test]
    fn what_may_be_left_out_is_filled_in() {
        let yaml = "
            releases:
              - {id: REL-1, release: {id: r, service: s, version: '1'}, state: InReview, milestone: {id: '1', title: t}, board: blue}
            handoffs: [{key: r@a@1}]
            settings: {queue: {markers: false}}";
        let seed = Seed::from_yaml(yaml).and_then(Seed::complete).expect("a good seed");
        assert_eq!(seed.releases[0]["evidence"], json!([]));
        assert_eq!(seed.releases[0]["board"], "blue");
        assert!(seed.handoffs[0]["receivedAt"].is_string());
        assert!(!seed.settings.queue.markers && seed.settings.tracker.markers);
    }
}
