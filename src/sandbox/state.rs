//! A sandbox as its own process sees it: what tests look at and turn.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::Error;
use super::connection::Connections;
use super::faults::{Armed, Rule};
use super::held::{HeldRequest, Verdict};
use super::log::Entry;
use super::records::{Role, Version};
use super::seed::{Delivery, Seed, SeedError};
use super::settings::Settings;
use super::state_file;
use super::world::{Counts, World};

/// What a sandbox is started with.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What the systems hold, unless the state file says otherwise.
    pub seed: Seed,
    /// Where the state is kept; none keeps it in memory.
    pub state_file: Option<PathBuf>,
    /// The only bearer token to let in; none lets everybody in.
    pub token: Option<String>,
}

/// The six systems. All methods act at once; none waits for anything but a short lock, and a write to the state file if there is one.
#[derive(Debug)]
pub struct Sandbox {
    world: Mutex<World>,
    pub(super) token: Option<String>,
    pub(super) connections: Connections,
}

impl Sandbox {
    /// A sandbox that goes on from its state file, or starts from its seed.
    pub(super) fn new(config: Config) -> Result<Arc<Sandbox>, Error> {
        let Config { seed, state_file, token } = config;
        let unusable = |error| Error::State { path: state_file.clone().unwrap_or_default(), error };
        let kept = state_file.as_deref().map(state_file::read).transpose().map_err(unusable)?.flatten();
        let mut world = World::default();
        match kept {
            Some(entries) => world = World::restored(entries),
            None => world.reset(seed.complete()?),
        }
        if let Some(path) = &state_file {
            world.keep_in(path.clone()).map_err(unusable)?;
        }
        Ok(Arc::new(Sandbox { world: Mutex::new(world), token, connections: Connections::default() }))
    }

    /// The record, with its revision.
    pub fn record(&self, role: Role, id: &str) -> Option<Version> {
        self.lock().store.get(role, id).map(|record| record.current.clone())
    }

    /// How many records a system holds.
    pub fn len(&self, role: Role) -> usize {
        self.lock().store.len(role)
    }

    /// Stores a record under this id, whatever it looks like.
    pub fn put(&self, role: Role, id: &str, value: Value) {
        self.lock().put(role, id, value);
    }

    /// Merges a patch into a record; false if there is none with this id.
    pub fn edit(&self, role: Role, id: &str, patch: &Value) -> bool {
        self.lock().edit(role, id, patch)
    }

    /// Removes a record; false if there is none with this id. For the intake: forgets the key.
    pub fn remove(&self, role: Role, id: &str) -> bool {
        self.lock().remove(role, id)
    }

    /// Replaces everything the systems hold.
    pub fn reset(&self, seed: Seed) -> Result<(), SeedError> {
        let seed = seed.complete()?;
        self.lock().reset(seed);
        Ok(())
    }

    /// Everything the systems hold.
    pub fn state(&self) -> Seed {
        self.lock().to_seed()
    }

    /// The systems' variants.
    pub fn settings(&self) -> Settings {
        self.lock().settings.clone()
    }

    /// Changes the systems' variants.
    pub fn set_settings(&self, settings: Settings) {
        self.lock().set_settings(settings);
    }

    /// The requests after this sequence number, the oldest first.
    pub fn requests(&self, since: u64) -> Vec<Arc<Entry>> {
        self.lock().log.since(since, usize::MAX)
    }

    /// The sequence number of the newest request.
    pub fn last_request(&self) -> u64 {
        self.lock().log.sequence()
    }

    /// Forgets the requests and their counts.
    pub fn clear_requests(&self) {
        self.lock().log.clear();
    }

    /// How often the systems were asked.
    pub fn counts(&self) -> Counts {
        self.lock().counts()
    }

    /// What the intake was handed, in order, duplicates included.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.lock().deliveries.clone()
    }

    /// The fault rules that are set.
    pub fn faults(&self) -> Vec<Armed> {
        self.lock().faults.list().to_vec()
    }

    /// Sets a rule behind the others, and says its id; or what is wrong with the rule.
    pub fn add_fault(&self, rule: Rule) -> Result<Arc<str>, String> {
        let mut world = self.lock();
        if let Some(id) = &rule.id {
            world.held.let_go(Verdict::Discard, |request| request.fault == *id);
        }
        world.faults.add(rule)
    }

    /// Replaces all rules. If one of them is wrong, none is set.
    pub fn set_faults(&self, rules: Vec<Rule>) -> Result<(), String> {
        let mut world = self.lock();
        world.held.let_go(Verdict::Discard, |_| true);
        world.faults.clear();
        for rule in rules {
            if let Err(problem) = world.faults.add(rule) {
                world.faults.clear();
                return Err(problem);
            }
        }
        Ok(())
    }

    /// Removes a rule and discards what it holds; false if there is no such rule.
    pub fn remove_fault(&self, id: &str) -> bool {
        let mut world = self.lock();
        world.held.let_go(Verdict::Discard, |request| request.fault == id);
        world.faults.remove(id)
    }

    /// Removes all rules and discards what they hold.
    pub fn clear_faults(&self) {
        let mut world = self.lock();
        world.held.let_go(Verdict::Discard, |_| true);
        world.faults.clear();
    }

    /// The requests that are held now, the oldest first.
    pub fn held(&self) -> Vec<HeldRequest> {
        self.lock().held.list()
    }

    /// Lets go of all requests that this rule holds now, and says how many they were. The rule stays.
    pub fn release(&self, fault: &str, verdict: Verdict) -> usize {
        self.lock().held.let_go(verdict, |request| request.fault == fault)
    }

    /// The lock. Whoever holds it must not wait for anything.
    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        // A thread that panicked while it held the lock has not left a record half changed: records are replaced whole.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the state file, if there is one, shows everything that has been done.
    pub(super) fn is_kept(&self) -> bool {
        self.lock().is_kept()
    }
}
