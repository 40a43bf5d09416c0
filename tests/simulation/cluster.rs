//! The objects as an API server would hold them: uids, generations, versions, statuses written on the version they are based
//! on, packets.

use super::records::Truth;
use super::world::View;
use releaseclosure::api::{ReleaseClosureSpec, ReleaseClosureStatus, parse};
use releaseclosure::closure::accepted::Accepted;
use releaseclosure::closure::halt::Resolution;
use releaseclosure::closure::ledger::Halt;
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct Cluster {
    pub slots: Vec<Slot>,
    pub objects: Vec<Object>,
    pub packets: BTreeMap<String, Packet>,
    version: u64,
}

/// A name; one object after the other may have it.
pub struct Slot {
    pub truth: usize,
    pub created: u64,
    pub object: Option<usize>,
}

pub struct Object {
    pub truth: usize,
    pub uid: String,
    pub created: u64,
    pub generation: i64,
    pub version: u64,
    pub deleted: bool,
    pub spec: Arc<ReleaseClosureSpec>,
    pub accepted: Accepted,
    pub status: Arc<ReleaseClosureStatus>,
}

#[derive(Clone)]
pub struct Packet {
    pub truth: usize,
    pub halt: Halt,
    pub resolution: Option<Resolution>,
}

/// The object has changed, or is gone.
pub struct Superseded;

impl Cluster {
    pub fn new(truths: &[Truth]) -> Cluster {
        let mut slots = Vec::new();
        for (index, truth) in truths.iter().enumerate() {
            let times = [Some(truth.plan.created), truth.plan.twin];
            slots.extend(times.into_iter().flatten().map(|created| Slot { truth: index, created, object: None }));
        }
        let specs = truths.iter().map(Truth::spec);
        let templates = specs.enumerate().map(|(truth, spec)| {
            let accepted = parse::accepted(&spec).expect("a good spec");
            Object {
                truth,
                uid: String::new(),
                created: 0,
                generation: 1,
                version: 0,
                deleted: true,
                spec: Arc::new(spec),
                accepted,
                status: Arc::default(),
            }
        });
        Cluster { objects: templates.collect(), slots, packets: BTreeMap::new(), version: 0 }
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    pub fn create(&mut self, slot: usize, now: u64) {
        let truth = self.slots[slot].truth;
        let version = self.next_version();
        let template = &self.objects[truth];
        let object = Object {
            truth,
            uid: format!("u-{version}"),
            created: now,
            generation: 1,
            version,
            deleted: false,
            spec: template.spec.clone(),
            accepted: template.accepted.clone(),
            status: Arc::default(),
        };
        self.slots[slot].object = Some(self.objects.len());
        self.objects.push(object);
    }

    /// Deletes the first object of a closure and makes another of the same name.
    pub fn recreate(&mut self, truth: usize, now: u64) -> Option<usize> {
        let slot = self.slots.iter().position(|slot| slot.truth == truth)?;
        let old = self.slots[slot].object?;
        self.objects[old].deleted = true;
        self.create(slot, now);
        Some(slot)
    }

    /// Somebody changes the object's metadata, or its spec.
    pub fn touch(&mut self, slot: usize, spec: bool) {
        let version = self.next_version();
        let Some(object) = self.slots[slot].object else { return };
        let finished = self.objects[object].status.completion_time.is_some();
        self.objects[object].version = version;
        self.objects[object].generation += i64::from(spec && !finished);
    }

    pub fn view(&self, slot: usize) -> Option<View> {
        let object = &self.objects[self.slots[slot].object?];
        Some(View {
            uid: object.uid.clone(),
            generation: object.generation,
            created: object.created,
            unfinished: object.status.completion_time.is_none(),
        })
    }

    pub fn store(
        &mut self,
        object: usize,
        version: Option<&str>,
        status: ReleaseClosureStatus,
    ) -> Result<String, Superseded> {
        let known = &self.objects[object];
        if known.deleted || version != Some(known.version.to_string().as_str()) {
            return Err(Superseded);
        }
        let version = self.next_version();
        let known = &mut self.objects[object];
        known.version = version;
        known.status = Arc::new(status);
        Ok(version.to_string())
    }

    /// The packets that hold a closure.
    pub fn holds(&self, truth: usize) -> Vec<&Packet> {
        use releaseclosure::closure::ledger::Decision;
        let of_key = self.packets.values().filter(|packet| packet.truth == truth);
        let resumed = |packet: &&Packet| packet.resolution.as_ref().is_some_and(|it| it.decision == Decision::Resume);
        of_key.filter(|packet| !resumed(packet)).collect()
    }

    /// The objects that there are.
    pub fn living(&self) -> impl Iterator<Item = (usize, &Object)> {
        self.slots.iter().filter_map(|slot| slot.object).map(|index| (index, &self.objects[index]))
    }
}
