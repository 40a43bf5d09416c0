//! Permissions for writes, come by as the operator does: the record that was read, four others that agree with it, and `verify`.

use super::subject::{Made, Part, Release};
use releaseclosure::closure::accepted::{
    self, Accepted, AcceptedEvent, Evidence, Milestone, OpenItems, Recheck, Records, Review, Rules,
};
use releaseclosure::closure::checks::{self, Facts};
use releaseclosure::closure::decide::{Verified, verify};
use releaseclosure::closure::ids::{Step, System};
use releaseclosure::closure::ledger::{Ledger, Link, Outcome};
use releaseclosure::closure::observed::observed;
use releaseclosure::closure::snapshot::{
    Artifact, BundleRecord, ChecklistRecord, EvidenceLink, Marking, MilestoneRef, Observation, Progress, QueueRecord,
    ReleaseRef, ReviewRecord, Revision, Sighting, Snapshot, TrackerRecord,
};
use std::time::Duration;

/// The closure object's uid.
pub const UID: &str = "3f0c9c1e-uid";

/// A release's closure, and the records of the systems that are not under test.
pub struct Papers {
    part: Part,
    accepted: Accepted,
    rules: Rules,
    release: Release,
}

fn text(text: &str) -> String {
    text.to_owned()
}

impl Papers {
    /// The closure of a release whose record of this part was made.
    pub fn of(part: Part, release: &Release, made: &Made, (approvable, approved): (&str, &str)) -> Papers {
        let review = match part.system {
            System::Governance => made.id.clone(),
            _ => format!("RR-{}", release.id),
        };
        let accepted = Accepted::new(
            accepted::Release {
                id: release.id.clone(),
                service: text(release.service),
                version: text(release.version),
            },
            Review {
                id: review,
                version: text(release.review_version),
                accepted_event: AcceptedEvent { id: text("evt-1"), source: None, time: None },
            },
            Milestone { id: made.milestone.clone().unwrap_or_else(|| text("12")), title: text(release.milestone) },
            Evidence { bundle: release.bundle(), digest: release.digest.clone() },
            Records::default(),
            None,
        )
        .expect("a good spec");
        let rules = Rules {
            accepted_states: vec![text("Accepted")],
            required_artifacts: vec![text("sign-off")],
            open_items: OpenItems::Halt,
            approved_state: text(approved),
            approvable_states: vec![text(approvable)],
            recheck: Recheck::EveryWrite,
            missing_grace: Duration::ZERO,
        };
        Papers { part, accepted, rules, release: release.clone() }
    }

    /// The closure key, which is part of every mark.
    pub fn key(&self) -> &str {
        self.accepted.key().as_str()
    }

    /// Where the evidence is.
    pub fn url(&self) -> String {
        format!("https://archive.example.com/{}", self.release.bundle())
    }

    /// What the checks say of a record, with all others in agreement.
    ///
    /// # Errors
    /// The findings.
    pub fn agrees(&self, seen: &Sighting) -> Result<(), String> {
        let (ledger, snapshot) = self.looks(Some(seen));
        let findings = checks::run(self.facts(&ledger, &snapshot)).findings;
        if findings.is_empty() { Ok(()) } else { Err(format!("{findings:?}")) }
    }

    /// The permission for the part's step, based on this very look at its record.
    ///
    /// # Errors
    /// There is none, and why.
    pub fn order(&self, seen: Option<&Sighting>) -> Result<Verified, String> {
        let step = self.part.step.ok_or("nothing is ever written")?;
        let (ledger, snapshot) = self.looks(seen);
        let facts = self.facts(&ledger, &snapshot);
        verify(facts, UID, step).map_err(|why| format!("{why:?}: {:?}", checks::run(facts).findings))
    }

    /// Whether a look shows the part's step as done, and whose mark it has.
    pub fn state(&self, seen: &Sighting) -> (bool, Marking) {
        let (ledger, snapshot) = self.looks(Some(seen));
        let state = self.part.step.and_then(|step| observed(self.facts(&ledger, &snapshot), step));
        state.map_or((false, Marking::Unmarked), |state| (state.done, state.marking.clone()))
    }

    fn facts<'a>(&'a self, ledger: &'a Ledger, snapshot: &'a Snapshot) -> Facts<'a> {
        let now = "2026-11-22T12:00:00Z".parse().expect("a time");
        Facts { accepted: &self.accepted, rules: &self.rules, ledger, snapshot, now }
    }

    fn looks(&self, seen: Option<&Sighting>) -> (Ledger, Snapshot) {
        let mut ledger = Ledger::default().checked().expect("the five steps");
        let before = self.part.step.map_or(0, Step::index);
        for earlier in &mut ledger.steps[..before] {
            earlier.outcome = Outcome::AlreadyDone;
        }
        let link = Link { rel: text("evidence"), url: self.url() };
        ledger.step_mut(Step::NotifyCoordinator).links = vec![link];
        let mut snapshot = Snapshot::default();
        for sighting in self.others(before) {
            snapshot.take(sighting, 0);
        }
        if let Some(seen) = seen {
            snapshot.take(seen.clone(), 0);
        }
        (ledger, snapshot)
    }

    /// All five records as they are when so many steps are done.
    fn others(&self, done: usize) -> [Sighting; 5] {
        let Papers { accepted, release, rules, .. } = self;
        let at = || Revision(text("1"));
        let of = || ReleaseRef {
            id: release.id.clone(),
            service: Some(text(release.service)),
            version: Some(text(release.version)),
        };
        let milestone =
            || MilestoneRef { id: accepted.milestone().id.clone(), title: accepted.milestone().title.clone() };
        let progress = |step: Step| match step.index() < done {
            true => Progress::Done(text("done")),
            false => Progress::ToDo(text("to do")),
        };
        let review = ReviewRecord {
            id: accepted.review().id.clone(),
            version: text(release.review_version),
            state: rules.accepted_states[0].clone(),
            release: of(),
            milestone: Some(milestone()),
            evidence: Some((release.bundle(), release.digest.clone())),
            accepted_event: None,
        };
        let bundle = BundleRecord {
            bundle: release.bundle(),
            digest: release.digest.clone(),
            release_id: release.id.clone(),
            review_version: text(release.review_version),
            artifacts: vec![Artifact { kind: text("sign-off"), digest: Some(release.digest.clone()) }],
            url: self.url(),
            plaintext_allowed: false,
        };
        let checklist = ChecklistRecord {
            id: text("CHK-1"),
            release_id: release.id.clone(),
            review_version: text(release.review_version),
            state: progress(Step::CloseChecklist),
            open_items: Vec::new(),
            marking: Marking::Unmarked,
        };
        let link = EvidenceLink {
            bundle: release.bundle(),
            digest: release.digest.clone(),
            url: self.url(),
            marking: Marking::Unmarked,
            as_read: String::new(),
        };
        let approved = Step::ApproveTracker.index() < done;
        let tracker = TrackerRecord {
            id: text("REL-1"),
            release: of(),
            state: if approved { rules.approved_state.clone() } else { rules.approvable_states[0].clone() },
            milestone: milestone(),
            evidence: Some(link).filter(|_| Step::AttachEvidence.index() < done).into_iter().collect(),
            marking: Marking::Unmarked,
        };
        let queue = QueueRecord {
            id: text("Q-1"),
            release_id: release.id.clone(),
            review_version: text(release.review_version),
            state: progress(Step::ClearQueueEntry),
            marking: Marking::Unmarked,
        };
        [
            Sighting::Governance(Observation::Found(review, at())),
            Sighting::Archive(Observation::Found(bundle, at())),
            Sighting::Checklist(Observation::Found(checklist, at())),
            Sighting::Tracker(Observation::Found(tracker, at())),
            Sighting::Queue(Observation::Found(queue, at())),
        ]
    }
}
