//! Five records that agree, with nothing done yet, and what they agree with. A test changes one thing of it.

use crate::accepted::{
    Accepted, AcceptedEvent, Evidence, Milestone, OpenItems, Recheck, Records, Release, Review, Rules,
};
use crate::checks::{self, Facts, Report};
use crate::decide::{Brief, Delivery, IntakeTerms, Memory};
use crate::ids::{Step, System};
use crate::ledger::{Ledger, ObjectVersion, Outcome, PlaybookVersion, StateAt};
use crate::snapshot::{
    Artifact, BundleRecord, ChecklistRecord, EvidenceLink, Marker, Marking, MilestoneRef, Observation, Progress,
    QueueRecord, ReleaseRef, ReviewRecord, Revision, Sighting, Snapshot, TrackerRecord,
};
use jiff::Timestamp;
use std::time::Duration;

pub(crate) const KEY: &str = "r1@RR-1@3";
pub(crate) const UID: &str = "own-uid";
pub(crate) const URL: &str = "https://archive.example.com/b";

pub(crate) fn text(text: &str) -> String {
    text.to_owned()
}

pub(crate) fn digest(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

pub(crate) fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// So long ago.
pub(crate) fn ago(seconds: u64) -> Timestamp {
    now().checked_sub(Duration::from_secs(seconds)).unwrap()
}

pub(crate) fn object(name: &str) -> ObjectVersion {
    ObjectVersion { name: text(name), uid: format!("{name}-uid"), generation: 1 }
}

pub(crate) fn accepted_with(records: Records, coordinator: Option<&str>) -> Accepted {
    let release = Release { id: text("r1"), service: text("pay"), version: text("1.0") };
    let accepted_event = AcceptedEvent { id: text("e1"), source: None, time: None };
    let review = Review { id: text("RR-1"), version: text("3"), accepted_event };
    let milestone = Milestone { id: text("12"), title: text("2026.11") };
    let evidence = Evidence { bundle: text("b"), digest: digest("a") };
    Accepted::new(release, review, milestone, evidence, records, coordinator.map(text)).unwrap()
}

/// Names all three records that may be named.
pub(crate) fn named() -> Records {
    Records { tracker: Some(text("REL")), checklist: Some(text("CHK")), queue_entry: Some(text("Q")) }
}

pub(crate) fn brief() -> Brief {
    Brief {
        accepted: accepted_with(Records::default(), None),
        rules: Rules {
            accepted_states: vec![text("Accepted"), text("Signed")],
            required_artifacts: vec![text("sign-off")],
            open_items: OpenItems::Halt,
            approved_state: text("Approved"),
            approvable_states: vec![text("InReview"), text("Ready")],
            recheck: Recheck::EveryWrite,
            missing_grace: Duration::ZERO,
        },
        uid: text(UID),
        plan: false,
        playbook: PlaybookVersion { name: text("p"), uid: text("p-uid"), generation: 1, digest: digest("b") },
        connections: System::ALL.map(|system| object(system.as_str())),
        intake: IntakeTerms {
            delivery: Delivery::IdempotencyKey,
            can_look_up: true,
            window: None,
            settling: Duration::from_secs(25),
        },
        memory: Memory::default(),
    }
}

/// Everything a check or a pass looks at.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) brief: Brief,
    pub(crate) ledger: Ledger,
    pub(crate) governance: Observation<ReviewRecord>,
    pub(crate) archive: Observation<BundleRecord>,
    pub(crate) checklist: Observation<ChecklistRecord>,
    pub(crate) tracker: Observation<TrackerRecord>,
    pub(crate) queue: Observation<QueueRecord>,
}

fn found<R>(observation: &mut Observation<R>) -> &mut R {
    match observation {
        Observation::Found(record, _) => record,
        Observation::Missing | Observation::Ambiguous(_) | Observation::Unreachable(_) => panic!("there is a record"),
    }
}

/// By the closure with this key and uid.
pub(crate) fn by(key: &str, uid: &str) -> Marking {
    Marking::By(Marker { key: text(key), uid: text(uid) })
}

/// The link that this closure attaches.
pub(crate) fn link(marking: Marking) -> EvidenceLink {
    EvidenceLink { bundle: text("b"), digest: digest("a"), url: text(URL), marking, as_read: text("{}") }
}

impl World {
    pub(crate) fn new() -> World {
        let release = ReleaseRef { id: text("r1"), service: Some(text("pay")), version: Some(text("1.0")) };
        let milestone = MilestoneRef { id: text("12"), title: text("2026.11") };
        let at = |number: u8| Revision(format!("\"{number}\""));
        let review = ReviewRecord {
            id: text("RR-1"),
            version: text("3"),
            state: text("Accepted"),
            release: release.clone(),
            milestone: Some(milestone.clone()),
            evidence: Some((text("b"), digest("a"))),
            accepted_event: Some(text("e1")),
        };
        let bundle = BundleRecord {
            bundle: text("b"),
            digest: digest("a"),
            release_id: text("r1"),
            review_version: text("3"),
            artifacts: vec![Artifact { kind: text("sign-off"), digest: Some(digest("c")) }],
            url: text(URL),
            plaintext_allowed: false,
        };
        let checklist = ChecklistRecord {
            id: text("CHK"),
            release_id: text("r1"),
            review_version: text("3"),
            state: Progress::ToDo(text("Open")),
            open_items: Vec::new(),
            marking: Marking::Unmarked,
        };
        let tracker = TrackerRecord {
            id: text("REL"),
            release,
            state: text("InReview"),
            milestone,
            evidence: Vec::new(),
            marking: Marking::Unmarked,
        };
        let queue = QueueRecord {
            id: text("Q"),
            release_id: text("r1"),
            review_version: text("3"),
            state: Progress::ToDo(text("Pending")),
            marking: Marking::Unmarked,
        };
        World {
            brief: brief(),
            ledger: Ledger::default().checked().unwrap(),
            governance: Observation::Found(review, at(1)),
            archive: Observation::Found(bundle, at(2)),
            checklist: Observation::Found(checklist, at(3)),
            tracker: Observation::Found(tracker, at(4)),
            queue: Observation::Found(queue, at(5)),
        }
    }

    pub(crate) fn review(&mut self) -> &mut ReviewRecord {
        found(&mut self.governance)
    }
    pub(crate) fn bundle(&mut self) -> &mut BundleRecord {
        found(&mut self.archive)
    }
    pub(crate) fn list(&mut self) -> &mut ChecklistRecord {
        found(&mut self.checklist)
    }
    pub(crate) fn track(&mut self) -> &mut TrackerRecord {
        found(&mut self.tracker)
    }
    pub(crate) fn entry(&mut self) -> &mut QueueRecord {
        found(&mut self.queue)
    }

    /// The record shows the step as done, by whomever.
    pub(crate) fn show_done(&mut self, step: Step, marking: Marking) {
        match step {
            Step::CloseChecklist => {
                (self.list().state, self.list().marking) = (Progress::Done(text("Closed")), marking);
            }
            Step::ApproveTracker => (self.track().state, self.track().marking) = (text("Approved"), marking),
            Step::AttachEvidence => self.track().evidence.push(link(marking)),
            Step::ClearQueueEntry => {
                (self.entry().state, self.entry().marking) = (Progress::Done(text("Cleared")), marking);
            }
            Step::NotifyCoordinator => {}
        }
    }

    /// The first steps show as done, by this closure.
    pub(crate) fn done_by_us(mut self, steps: usize) -> World {
        for step in &Step::ALL[..steps.min(4)] {
            self.show_done(*step, by(KEY, UID));
        }
        self
    }

    /// The first steps are settled in the ledger, each on its record, from the revision `"0"`.
    pub(crate) fn settled(mut self, steps: usize) -> World {
        for step in &Step::ALL[..steps] {
            let record = self.snapshot().record_id(step.system()).map(text);
            let settled = self.ledger.step_mut(*step);
            (settled.outcome, settled.record) = (Outcome::Changed, record);
            settled.before = Some(StateAt { state: text("before"), revision: text("\"0\"") });
        }
        self
    }

    pub(crate) fn sighting(&self, system: System) -> Sighting {
        match system {
            System::Governance => Sighting::Governance(self.governance.clone()),
            System::Archive => Sighting::Archive(self.archive.clone()),
            System::Checklist => Sighting::Checklist(self.checklist.clone()),
            System::Tracker => Sighting::Tracker(self.tracker.clone()),
            System::Queue => Sighting::Queue(self.queue.clone()),
            System::Intake => panic!("the intake has no record"),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        System::AUTHORITIES.iter().for_each(|system| snapshot.take(self.sighting(*system), 0));
        snapshot
    }

    /// Runs `ask` on the facts of this world.
    pub(crate) fn with_facts<T>(&self, ask: impl FnOnce(Facts<'_>) -> T) -> T {
        let snapshot = self.snapshot();
        let Brief { accepted, rules, .. } = &self.brief;
        ask(Facts { accepted, rules, ledger: &self.ledger, snapshot: &snapshot, now: now() })
    }

    pub(crate) fn report(&self) -> Report {
        self.with_facts(checks::run)
    }

    /// The findings, a line each: check, reason, system, record, field, what was expected and what was seen.
    pub(crate) fn findings(&self) -> Vec<String> {
        self.report().findings.iter().map(line).collect()
    }
}

/// A finding in a line.
pub(crate) fn line(finding: &crate::ledger::Finding) -> String {
    let crate::ledger::Finding { check, reason, system, record, field, expected, observed, link: _ } = finding;
    let record = record.as_deref().unwrap_or("-");
    format!("{check:?} {reason} {system} {record} {field}: {expected} -> {observed}")
}
