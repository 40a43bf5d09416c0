//! Everything that changes, behind one lock that is held for microseconds and never while anything is waited for.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::call::Call;
use super::contract::{self, Change, Reply, View};
use super::faults::{Edit, Faults};
use super::held::Held;
use super::log::{Fate, Log, RoleCounts};
use super::problem::{Code, Problem};
use super::records::{self, Role, Store};
use super::seed::{Delivery, Seed};
use super::settings::Settings;
use super::state_file::{Entry, Journal};

/// The systems' state, what was asked of them, and the faults that are set.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) deliveries: Vec<Delivery>,
    per_key: HashMap<String, u64>,
    pub(super) log: Log,
    pub(super) faults: Faults,
    pub(super) held: Held,
    /// Where all this is kept, if anywhere.
    journal: Option<Journal>,
}

/// How a request is served: as the contract has it, or with something wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct How {
    pub(super) effect: Effect,
    pub(super) stale: bool,
    /// What the log says was replied.
    pub(super) replied: Replied,
    /// The rule that acts.
    pub(super) fault: Option<Arc<str>>,
    /// What people do right afterwards.
    pub(super) edits: Vec<(Arc<str>, Edit)>,
}

/// What becomes of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It is made.
    #[default]
    Apply,
    /// It is not made, and the reply says that it was.
    Lie,
    /// It is not made, and the reply shows the record as it is.
    Ignore,
}

/// What the caller gets, for the log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Replied {
    /// The reply that was decided on.
    #[default]
    Decided,
    /// Another status.
    Status(u16),
    /// Nothing.
    Nothing,
}

impl World {
    /// Decides on a request, makes the change, and writes it down: one step, as seen by everybody else.
    pub(super) fn serve(&mut self, token: Option<&str>, call: &Call, how: &How, now: Timestamp) -> Reply {
        let view = View { store: &self.store, settings: &self.settings, token, now, stale: how.stale };
        let mut decision = contract::decide(&view, call);
        let change = match (how.effect, decision.change) {
            (_, None) => None,
            (Effect::Apply, Some(change)) => Some(change),
            (Effect::Lie, Some(_)) => {
                self.store.burn_revision();
                if let Some(journal) = &mut self.journal {
                    journal.add(&[Entry::Revision(self.store.revision())]);
                }
                None
            }
            (Effect::Ignore, Some(Change::Record { role, id, .. })) => {
                if let Some(record) = view.store.get(role, &id) {
                    decision.reply = contract::shown(&view, role, &record.current);
                }
                None
            }
            // What is announced and not taken shows nothing but a receipt.
            (Effect::Ignore, Some(Change::Handoff { .. } | Change::FollowUp { .. })) => None,
        };
        let applied = change.is_some();
        if let Some(change) = change {
            self.apply(change, now);
        }
        if applied && !self.is_kept() {
            decision.reply =
                Problem::new(Code::NotKept, "the change is made, but the state file cannot be written").into();
        }
        let status = match how.replied {
            Replied::Decided => Some(decision.reply.status.as_u16()),
            Replied::Status(status) => Some(status),
            Replied::Nothing => None,
        };
        let fault = how.fault.clone().or_else(|| how.edits.first().map(|(id, _)| id.clone()));
        self.log.append(call, now, Fate { status, applied, fault });
        self.people_edit(call, &how.edits);
        decision.reply
    }

    /// Writes down a request that is never served, and lets people do what they do after it.
    pub(super) fn not_served(&mut self, call: &Call, status: Option<u16>, how: &How) {
        let now = Timestamp::now();
        self.log.append(call, now, Fate { status, applied: false, fault: how.fault.clone() });
        self.people_edit(call, &how.edits);
    }

    /// Stores a record, as a person would.
    pub(super) fn put(&mut self, role: Role, id: &str, value: Value) {
        self.store_record(role, id, value, Timestamp::now());
    }

    /// Merges a patch into a record, as a person would; false if there is none with this id.
    pub(super) fn edit(&mut self, role: Role, id: &str, patch: &Value) -> bool {
        let Some(record) = self.store.get(role, id) else { return false };
        let mut value = Value::clone(&record.current.value);
        records::merge(&mut value, patch);
        self.put(role, id, value);
        true
    }

    /// Removes a record; false if there is none with this id.
    pub(super) fn remove(&mut self, role: Role, id: &str) -> bool {
        let removed = self.store.remove(role, id);
        if removed && let Some(journal) = &mut self.journal {
            journal.add(&[Entry::Removed { role, id: id.into() }]);
        }
        removed
    }

    /// Changes the systems' variants.
    pub(super) fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
        if let Some(journal) = &mut self.journal {
            journal.add(&[Entry::Settings(Cow::Borrowed(&self.settings))]);
        }
    }

    /// Replaces records, settings and deliveries by those of a complete seed. Log, faults and revisions go on.
    pub(super) fn reset(&mut self, seed: Seed) {
        self.store.clear();
        let now = Timestamp::now();
        for role in Role::ALL {
            for record in seed.records(role) {
                // A complete seed's records have ids.
                let id = records::text_at(record, role.id_field()).unwrap_or_default();
                self.store.put(role, id, record.clone(), now);
            }
        }
        self.settings = seed.settings;
        self.deliveries.clear();
        self.per_key.clear();
        for delivery in seed.deliveries {
            self.deliver(delivery);
        }
        if let Some(mut journal) = self.journal.take() {
            journal.replace(self.entries());
            self.journal = Some(journal);
        }
    }

    /// The state in the form of a seed, each list in the order of ids.
    pub(super) fn to_seed(&self) -> Seed {
        let mut seed = Seed { settings: self.settings.clone(), deliveries: self.deliveries.clone(), ..Seed::default() };
        for role in Role::ALL {
            let sorted: BTreeMap<_, _> = self.store.iter(role).collect();
            let values = sorted.into_values().map(|record| Value::clone(&record.current.value));
            seed.records_mut(role).extend(values);
        }
        seed
    }

    /// The world that a state file describes.
    pub(super) fn restored(entries: Vec<Entry<'static>>) -> World {
        let mut world = World::default();
        for entry in entries {
            match entry {
                Entry::Settings(settings) => world.settings = settings.into_owned(),
                Entry::Record { role, id, record } => world.store.restore(role, &id, record.into_owned()),
                Entry::Removed { role, id } => drop(world.store.remove(role, &id)),
                Entry::Delivery(delivery) => world.deliver(delivery.into_owned()),
                Entry::Revision(revision) => world.store.restore_revision(revision),
            }
        }
        world
    }

    /// Keeps everything in this file from now on.
    pub(super) fn keep_in(&mut self, path: PathBuf) -> io::Result<()> {
        self.journal = Some(Journal::create(path, self.entries())?);
        Ok(())
    }

    /// Whether everything is kept that is to be kept.
    pub(super) fn is_kept(&self) -> bool {
        self.journal.as_ref().is_none_or(|journal| !journal.has_failed())
    }

    pub(super) fn counts(&self) -> Counts {
        let total = self.deliveries.len() as u64;
        let keys = self.per_key.len() as u64;
        Counts {
            roles: self.log.counts().clone(),
            deliveries: DeliveryCounts { total, keys, duplicates: total - keys, by_key: self.per_key.clone() },
        }
    }

    fn apply(&mut self, change: Change, now: Timestamp) {
        match change {
            Change::Record { role, id, value } => self.store_record(role, &id, value, now),
            Change::Handoff { key, received_at, body } => self.take_handoff(key, received_at, body),
            Change::FollowUp { key, received_at, body } => {
                let record = json!({"key": key, "receivedAt": received_at.to_string(), "followUp": body});
                self.store_record(Role::FollowUp, &key, record, now);
            }
        }
    }

    fn take_handoff(&mut self, key: String, received_at: Timestamp, handoff: Value) {
        // The record of a key is its first handoff, also where later ones are taken as well.
        if self.store.get(Role::Intake, &key).is_none() {
            let record = json!({"key": key, "receivedAt": received_at.to_string(), "handoff": handoff});
            self.store.put(Role::Intake, &key, record, received_at);
        }
        let delivery = Delivery { key, received_at, handoff };
        if let (Some(journal), Some(record)) = (&mut self.journal, self.store.get(Role::Intake, &delivery.key)) {
            let (role, id, record) = (Role::Intake, delivery.key.as_str().into(), Cow::Borrowed(record));
            // In one line: after a restart the key and its delivery are there, or neither is.
            journal.add(&[Entry::Record { role, id, record }, Entry::Delivery(Cow::Borrowed(&delivery))]);
        }
        self.deliver(delivery);
    }

    fn store_record(&mut self, role: Role, id: &str, value: Value, now: Timestamp) {
        self.store.put(role, id, value, now);
        if let (Some(journal), Some(record)) = (&mut self.journal, self.store.get(role, id)) {
            journal.add(&[Entry::Record { role, id: id.into(), record: Cow::Borrowed(record) }]);
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        *self.per_key.entry(delivery.key.clone()).or_default() += 1;
        self.deliveries.push(delivery);
    }

    /// Everything that a state file has to say.
    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let settings = [Entry::Settings(Cow::Borrowed(&self.settings)), Entry::Revision(self.store.revision())];
        let of_role = |role| {
            let records = self.store.iter(role);
            records.map(move |(id, record)| Entry::Record {
                role,
                id: Cow::Borrowed(id),
                record: Cow::Borrowed(record),
            })
        };
        let deliveries = self.deliveries.iter().map(|delivery| Entry::Delivery(Cow::Borrowed(delivery)));
        settings.into_iter().chain(Role::ALL.into_iter().flat_map(of_role)).chain(deliveries)
    }

    fn people_edit(&mut self, call: &Call, edits: &[(Arc<str>, Edit)]) {
        for (_, edit) in edits {
            let role = edit.role.or_else(|| call.role());
            let record = edit.record.as_deref().or_else(|| call.record());
            let (Some(role), Some(record)) = (role, record) else { continue };
            let record = record.to_owned();
            match &edit.patch {
                Some(patch) => drop(self.edit(role, &record, patch)),
                None => drop(self.remove(role, &record)),
            }
        }
    }
}

/// How often each system was asked, and how often the intake was handed something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// By role; `unknown` where the path names none. Roles that were not asked are absent.
    pub roles: BTreeMap<&'static str, RoleCounts>,
    /// The handoffs that took effect.
    pub deliveries: DeliveryCounts,
}

impl Counts {
    /// The requests to all systems together.
    pub fn requests(&self) -> u64 {
        self.roles.values().map(|role| role.reads + role.writes).sum()
    }
}

/// The handoffs that took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryCounts {
    /// All of them.
    pub total: u64,
    /// The different keys among them.
    pub keys: u64,
    /// Those whose key had been there before.
    pub duplicates: u64,
    /// How many for each key.
    pub by_key: HashMap<String, u64>,
}
