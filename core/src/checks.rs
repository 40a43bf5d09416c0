//! The checks C1–C16: all of them run, and all findings are reported, in the order of the checks.
//!
//! A check compares what was accepted with what one system says now. A system that was not seen, or a field that its
//! product does not carry, is not compared. An unknown state is a finding, never a guess.

use super::accepted::{Accepted, OpenItems, Rules};
use super::ids::{Step, System};
use super::ledger::{Check, Finding, Ledger, VALUE_MAX, printable};
use super::link;
use super::observed::observed;
use super::reason::Reason;
use super::snapshot::{Look, Marking, MilestoneRef, ReleaseRef, Snapshot};
use jiff::Timestamp;
use std::time::Duration;

/// What the checks look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What was accepted.
    pub accepted: &'a Accepted,
    /// The playbook's rules.
    pub rules: &'a Rules,
    /// What is remembered.
    pub ledger: &'a Ledger,
    /// What the systems say.
    pub snapshot: &'a Snapshot,
    /// The time.
    pub now: Timestamp,
}

/// What the checks found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The disagreements, in the order of the checks.
    pub findings: Vec<Finding>,
    /// Systems that answered with a record as it was before this closure's own change: the read is stale, so nothing
    /// follows from it.
    pub stale: Vec<System>,
}

type CheckFn = fn(Facts<'_>, &mut Report);

/// The table. Its order is the order of findings.
const CHECKS: [CheckFn; 16] = [c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16];

/// Runs every check.
#[must_use]
pub fn run(facts: Facts<'_>) -> Report {
    let mut report = Report::default();
    for check in CHECKS {
        check(facts, &mut report);
    }
    report
}

impl Report {
    fn find(
        &mut self,
        (check, reason): (Check, Reason),
        at: (System, &str),
        field: &str,
        expected: &str,
        observed: &str,
    ) {
        let (system, record) = at;
        self.findings.push(Finding {
            check,
            reason,
            system,
            record: Some(printable(record, super::ids::BUNDLE_MAX)).filter(|record| !record.is_empty()),
            field: field.to_owned(),
            expected: printable(expected, VALUE_MAX),
            observed: printable(observed, VALUE_MAX),
            link: None,
        });
    }

    fn compare(
        &mut self,
        why: (Check, Reason),
        at: (System, &str),
        field: &str,
        expected: &str,
        observed: Option<&str>,
    ) {
        if let Some(observed) = observed
            && observed != expected
        {
            self.find(why, at, field, expected, observed);
        }
    }

    /// `renamed` is the reason where the id is the same and the title is not.
    fn compare_milestone(
        &mut self,
        check: Check,
        renamed: Reason,
        at: (System, &str),
        accepted: &Accepted,
        observed: &MilestoneRef,
    ) {
        let (expected, other) = (accepted.milestone(), (check, Reason::MilestoneMismatch));
        if observed.is_none() {
            self.find(other, at, "milestone.id", &expected.id, "none");
            return;
        }
        self.compare(other, at, "milestone.id", &expected.id, Some(&observed.id));
        let why = if observed.id == expected.id { (check, renamed) } else { other };
        self.compare(why, at, "milestone.title", &expected.title, Some(&observed.title));
    }

    fn compare_release(
        &mut self,
        why: (Check, Reason),
        at: (System, &str),
        accepted: &Accepted,
        observed: &ReleaseRef,
    ) {
        let expected = accepted.release();
        self.compare(why, at, "release.id", &expected.id, Some(&observed.id));
        self.compare(why, at, "release.service", &expected.service, observed.service.as_deref());
        self.compare(why, at, "release.version", &expected.version, observed.version.as_deref());
    }
}

/// C1: the governance state is one of the accepted states.
fn c1(facts: Facts<'_>, report: &mut Report) {
    if let Some(review) = facts.snapshot.governance()
        && !facts.rules.accepted_states.contains(&review.state)
    {
        let why = (Check::C1, Reason::SourceNotAccepted);
        let expected = facts.rules.accepted_states.join(" or ");
        report.find(why, (System::Governance, &review.id), "state", &expected, &review.state);
    }
}

/// C2: the governance review version is the accepted one.
fn c2(facts: Facts<'_>, report: &mut Report) {
    if let Some(review) = facts.snapshot.governance() {
        let why = (Check::C2, Reason::ReviewVersionConflict);
        let expected = &facts.accepted.review().version;
        report.compare(why, (System::Governance, &review.id), "version", expected, Some(&review.version));
    }
}

/// C3: the governance record is of this release.
fn c3(facts: Facts<'_>, report: &mut Report) {
    if let Some(review) = facts.snapshot.governance() {
        let why = (Check::C3, Reason::ReleaseMismatch);
        report.compare_release(why, (System::Governance, &review.id), facts.accepted, &review.release);
    }
}

/// C4: the governance record names this milestone, by id and title.
fn c4(facts: Facts<'_>, report: &mut Report) {
    if let Some(review) = facts.snapshot.governance()
        && let Some(milestone) = &review.milestone
    {
        let at = (System::Governance, review.id.as_str());
        report.compare_milestone(Check::C4, Reason::MilestoneMismatch, at, facts.accepted, milestone);
    }
}

/// C5: the governance record names this evidence.
fn c5(facts: Facts<'_>, report: &mut Report) {
    if let Some(review) = facts.snapshot.governance()
        && let Some((bundle, digest)) = &review.evidence
    {
        let (why, at) = ((Check::C5, Reason::EvidenceMismatch), (System::Governance, review.id.as_str()));
        let expected = facts.accepted.evidence();
        report.compare(why, at, "evidence.bundle", &expected.bundle, Some(bundle));
        report.compare(why, at, "evidence.digest", &expected.digest, Some(digest));
    }
}

/// C6: the tracker record is of this release.
fn c6(facts: Facts<'_>, report: &mut Report) {
    if let Some(record) = facts.snapshot.tracker() {
        let why = (Check::C6, Reason::TrackerReleaseMismatch);
        report.compare_release(why, (System::Tracker, &record.id), facts.accepted, &record.release);
    }
}

/// C7: the tracker record is on this milestone; the same id with another title is a renamed one.
fn c7(facts: Facts<'_>, report: &mut Report) {
    if let Some(record) = facts.snapshot.tracker() {
        let at = (System::Tracker, record.id.as_str());
        report.compare_milestone(Check::C7, Reason::MilestoneRenamed, at, facts.accepted, &record.milestone);
    }
}

/// C8: the tracker state is approvable, or approved already.
fn c8(facts: Facts<'_>, report: &mut Report) {
    if let Some(record) = facts.snapshot.tracker()
        && record.state != facts.rules.approved_state
        && !facts.rules.approvable_states.contains(&record.state)
    {
        let why = (Check::C8, Reason::TrackerStateUnexpected);
        let expected = format!("{} or {}", facts.rules.approvable_states.join(" or "), facts.rules.approved_state);
        report.find(why, (System::Tracker, &record.id), "state", &expected, &record.state);
    }
}

/// C9: the checklist is of this release and review version, open or closed, and its items are done.
fn c9(facts: Facts<'_>, report: &mut Report) {
    let Some(record) = facts.snapshot.checklist() else { return };
    let at = (System::Checklist, record.id.as_str());
    let (release, review) = (facts.accepted.release(), facts.accepted.review());
    let why = (Check::C9, Reason::ChecklistMismatch);
    report.compare(why, at, "release.id", &release.id, Some(&record.release_id));
    report.compare(why, at, "review.version", &review.version, Some(&record.review_version));
    if let super::snapshot::Progress::Other(word) = &record.state {
        report.find((Check::C9, Reason::ChecklistStateUnexpected), at, "state", "Open or Closed", word);
    }
    if facts.rules.open_items == OpenItems::Halt && !record.open_items.is_empty() {
        let open = record.open_items.join(", ");
        report.find((Check::C9, Reason::ChecklistItemsOpen), at, "items.done", "true for every item", &open);
    }
}

/// C10: the bundle is in the archive, of this release and review version, with this digest; its link may be announced.
fn c10(facts: Facts<'_>, report: &mut Report) {
    let (expected, name) = (facts.accepted.evidence(), facts.accepted.evidence().bundle.as_str());
    if facts.snapshot.look(System::Archive) == Look::Missing && !in_grace(facts, System::Archive) {
        let why = (Check::C10, Reason::EvidenceMissing);
        report.find(why, (System::Archive, name), "bundle", name, "not in the archive");
    }
    let Some(bundle) = facts.snapshot.archive() else { return };
    let (why, at) = ((Check::C10, Reason::EvidenceMismatch), (System::Archive, name));
    report.compare(why, at, "bundle", name, Some(&bundle.bundle));
    report.compare(why, at, "digest", &expected.digest, Some(&bundle.digest));
    report.compare(why, at, "release.id", &facts.accepted.release().id, Some(&bundle.release_id));
    report.compare(why, at, "review.version", &facts.accepted.review().version, Some(&bundle.review_version));
    if let Err(rule) = link::is_fit(&bundle.url, bundle.plaintext_allowed) {
        report.find((Check::C10, Reason::EvidenceLinkUnfit), at, "url", rule, &link::without_secrets(&bundle.url));
    }
}

/// C11: every required artifact is in the bundle, with a digest.
fn c11(facts: Facts<'_>, report: &mut Report) {
    let Some(bundle) = facts.snapshot.archive() else { return };
    let (why, at) = ((Check::C11, Reason::ArtifactMissing), (System::Archive, bundle.bundle.as_str()));
    for kind in &facts.rules.required_artifacts {
        let mut of_kind = bundle.artifacts.iter().filter(|artifact| artifact.kind == *kind).peekable();
        if of_kind.peek().is_none() {
            report.find(why, at, "artifacts.kind", kind, "not in the bundle");
        } else if !of_kind.any(|artifact| artifact.digest.as_deref().is_some_and(|digest| !digest.is_empty())) {
            report.find(why, at, "artifacts.digest", &format!("a digest of {kind}"), "none");
        }
    }
}

/// C12: the queue entry is of this release and review version, and pending or cleared.
fn c12(facts: Facts<'_>, report: &mut Report) {
    let Some(record) = facts.snapshot.queue() else { return };
    let at = (System::Queue, record.id.as_str());
    let why = (Check::C12, Reason::QueueEntryMismatch);
    report.compare(why, at, "release.id", &facts.accepted.release().id, Some(&record.release_id));
    report.compare(why, at, "review.version", &facts.accepted.review().version, Some(&record.review_version));
    if let super::snapshot::Progress::Other(word) = &record.state {
        report.find((Check::C12, Reason::QueueEntryStateUnexpected), at, "state", "Pending or Cleared", word);
    }
}

/// C13: nothing carries the mark of another closure where that would be its work that we take for done.
fn c13(facts: Facts<'_>, report: &mut Report) {
    let key = facts.accepted.key();
    let why = (Check::C13, Reason::ConflictingClosure);
    for (step, field) in [
        (Step::CloseChecklist, "closure.key"),
        (Step::ApproveTracker, "closure.key"),
        (Step::AttachEvidence, "evidence.closure.key"),
        (Step::ClearQueueEntry, "closure.key"),
    ] {
        let (Some(state), Some(record)) = (observed(facts, step), facts.snapshot.record_id(step.system())) else {
            continue;
        };
        if let Marking::By(marker) = state.marking
            && marker.key != key.as_str()
            && (state.done || !key.is_same_release(&marker.key))
        {
            report.find(why, (step.system(), record), field, key.as_str(), &marker.key);
        }
    }
    let (Some(record), evidence) = (facts.snapshot.tracker(), facts.accepted.evidence()) else { return };
    let place = facts.snapshot.archive().map(|bundle| bundle.url.as_str());
    for link in record.evidence.iter().filter(|link| link.bundle == evidence.bundle) {
        let at = (System::Tracker, record.id.as_str());
        report.compare(why, at, "evidence.digest", &evidence.digest, Some(&link.digest));
        if let Some(place) = place {
            report.compare(why, at, "evidence.url", place, Some(&link.url));
        }
    }
}

/// C14: each record but the bundle is found, only one, and is the one asked for.
fn c14(facts: Facts<'_>, report: &mut Report) {
    for system in [System::Governance, System::Checklist, System::Tracker, System::Queue] {
        let asked = asked_for(facts, system);
        // A look-up that found no one record has none to show, and none to link to.
        let at = (system, asked.unwrap_or_default());
        let expected = asked.map_or_else(|| format!("one of release {}", facts.accepted.release().id), str::to_owned);
        match facts.snapshot.look(system) {
            Look::Missing if in_grace(facts, system) => {}
            Look::Missing => report.find((Check::C14, Reason::RecordMissing), at, "id", &expected, "no record"),
            Look::Ambiguous(count) => {
                let observed = format!("{count} records");
                report.find((Check::C14, Reason::RecordAmbiguous), at, "id", &expected, &observed);
            }
            Look::Found => {
                if let Some(asked) = asked {
                    let why = (Check::C14, Reason::RecordMismatch);
                    report.compare(why, at, "id", asked, facts.snapshot.record_id(system));
                }
            }
            Look::Unseen | Look::Unreachable(_) => {}
        }
    }
}

/// C15: what was done is still done, on the same record. A record at the revision that it had before our own change is
/// a stale read, from which nothing follows.
fn c15(facts: Facts<'_>, report: &mut Report) {
    let why = (Check::C15, Reason::PartialStateConflict);
    for step in &Step::ALL[..4] {
        let (system, remembered) = (step.system(), facts.ledger.step(*step));
        let (Some(state), Some(record)) = (observed(facts, *step), facts.snapshot.record_id(system)) else { continue };
        if is_stale(facts, system) {
            if !report.stale.contains(&system) {
                report.stale.push(system);
            }
            continue;
        }
        let settled = remembered.outcome.is_settled();
        if settled && let Some(known) = remembered.record.as_deref() {
            report.compare(why, (system, record), "id", known, Some(record));
        }
        let marked = matches!(state.marking, Marking::By(marker) if marker.key == facts.accepted.key().as_str());
        if !state.done && (settled || marked) {
            let field = if *step == Step::AttachEvidence { "evidence.bundle" } else { "state" };
            report.find(why, (system, record), field, &state.wanted, state.word);
        }
    }
}

/// C16: the accepted event that the governance record names is the one this closure answers to.
fn c16(facts: Facts<'_>, report: &mut Report) {
    if let Some(review) = facts.snapshot.governance() {
        let why = (Check::C16, Reason::AcceptanceStale);
        let expected = &facts.accepted.review().accepted_event.id;
        let observed = review.accepted_event.as_deref();
        report.compare(why, (System::Governance, &review.id), "acceptedEvent.id", expected, observed);
    }
}

/// The record that is asked for: the one that was found before, else the one the spec names.
#[must_use]
pub fn asked_for<'a>(facts: Facts<'a>, system: System) -> Option<&'a str> {
    facts.ledger.found_record(system).or_else(|| facts.accepted.record(system))
}

/// Whether a record that was never found is still within its grace period, counted from the pass that missed it first.
/// A record that was found before has none: it is remembered with its step, and where all five have agreed once, each of
/// them was there.
fn in_grace(facts: Facts<'_>, system: System) -> bool {
    if facts.ledger.found_record(system).is_some() || facts.ledger.alignment.is_some() {
        return false;
    }
    let since = facts.ledger.retry.as_ref().and_then(|retry| retry.missing_since.get(system.as_str()));
    let missed = since.map_or(Duration::ZERO, |since| elapsed(*since, facts.now));
    missed < facts.rules.missing_grace
}

/// Time from `since` to `now`; none where the clock went backwards.
#[must_use]
pub fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

/// Whether the record found is at a revision that it had before a change of ours.
fn is_stale(facts: Facts<'_>, system: System) -> bool {
    let Some(revision) = facts.snapshot.revision(system) else { return false };
    facts.ledger.steps.iter().any(|step| {
        step.system == system
            && step.outcome.is_settled()
            && step.before.as_ref().is_some_and(|before| !before.revision.is_empty() && before.revision == revision.0)
    })
}
