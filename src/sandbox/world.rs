//! Everything that changes, behind one lock that is held for microseconds and never while anything is waited for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::call::Call;
use super::contract::{self, Change, Reply, View};
use super::faults::{Edit, Faults};
use super::held::Held;
use super::log::{Fate, Log, RoleCounts};
use super::records::{self, Role, Store};
use super::seed::{Delivery, Seed};
use super::settings::Settings;
use super::state_file::Kept;

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
    /// Counts the changes that the state file has to show.
    pub(super) generation: u64,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Effect {
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
    pub(super) fn serve(&mut self, token: Option<&str>, call: &Call, how: &How) -> Reply {
        let now = Timestamp::now();
        let view = View { store: &self.store, settings: &self.settings, token, now, stale: how.stale };
        let mut decision = contract::decide(&view, call);
        let change = match (how.effect, decision.change) {
            (_, None) => None,
            (Effect::Apply, Some(change)) => Some(change),
            (Effect::Lie, Some(_)) => {
                self.store.burn_revision();
                None
            }
            (Effect::Ignore, Some(Change::Record { role, id, .. })) => {
                if let Some(record) = view.store.get(role, &id) {
                    decision.reply = contract::shown(&view, role, &record.current);
                }
                None
            }
            // A handoff that is not taken shows nothing but a receipt.
            (Effect::Ignore, Some(Change::Handoff { .. })) => None,
        };
        let applied = change.is_some();
        if let Some(change) = change {
            self.apply(change, now);
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
        self.store.put(role, id, value, Timestamp::now());
        self.generation += 1;
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
        self.generation += u64::from(removed);
        removed
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
        self.take_deliveries(seed.deliveries);
        self.generation += 1;
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

    /// What the state file holds.
    pub(super) fn to_kept(&self) -> Kept {
        let (settings, records) = (self.settings.clone(), self.store.to_kept());
        Kept { settings, records, deliveries: self.deliveries.clone() }
    }

    /// The world that a state file describes.
    pub(super) fn from_kept(kept: Kept) -> World {
        let Kept { settings, records, deliveries } = kept;
        let mut world = World { settings, store: Store::from_kept(records), ..World::default() };
        world.take_deliveries(deliveries);
        world
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
            Change::Record { role, id, value } => self.store.put(role, &id, value, now),
            Change::Handoff { key, received_at, body } => {
                // The record of a key is its first handoff, also where later ones are taken as well.
                if self.store.get(Role::Intake, &key).is_none() {
                    let record = json!({"key": key, "receivedAt": received_at.to_string(), "handoff": body});
                    self.store.put(Role::Intake, &key, record, now);
                }
                *self.per_key.entry(key.clone()).or_default() += 1;
                self.deliveries.push(Delivery { key, received_at, handoff: body });
            }
        }
        self.generation += 1;
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

    fn take_deliveries(&mut self, deliveries: Vec<Delivery>) {
        self.per_key.clear();
        for delivery in &deliveries {
            *self.per_key.entry(delivery.key.clone()).or_default() += 1;
        }
        self.deliveries = deliveries;
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
