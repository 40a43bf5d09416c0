//! What a pass takes down: records that were found, steps that are done, that the systems agreed, the plan.

use super::*;

impl Pass {
    /// Settles every step that shows as done: proven ones always, since they are facts; found ones only on systems of
    /// which no check says otherwise; none on a stale read.
    pub(super) fn settle(&mut self, brief: &Brief, disagreeing: &[System], stale: &[System], now: Timestamp) {
        for step in Step::ALL {
            let system = step.system();
            if self.ledger.step(step).outcome.is_settled() || stale.contains(&system) {
                continue;
            }
            let facts = self.facts(brief, now);
            let Some(state) = observed::observed(facts, step).filter(|state| state.done) else { continue };
            let before =
                self.answered.as_ref().filter(|(written, _)| *written == step).map(|(_, before)| before.clone());
            let marked = matches!(state.marking, Marking::By(marker)
                if marker.key == brief.accepted.key().as_str() && marker.uid == brief.uid);
            let outcome = match state.marking {
                _ if marked || before.is_some() => Outcome::Changed,
                _ if disagreeing.contains(&system) => continue,
                Marking::NotCarried => Outcome::Unconfirmed,
                Marking::Unmarked | Marking::By(_) => Outcome::AlreadyDone,
            };
            let after = StateAt {
                state: printable(state.word, VALUE_MAX),
                revision: self
                    .snapshot
                    .revision(system)
                    .map_or_else(String::new, |revision| printable(&revision.0, VALUE_MAX)),
            };
            let reference = match step {
                Step::AttachEvidence => self.snapshot.archive().map(|bundle| bundle.url.clone()),
                Step::CloseChecklist | Step::ApproveTracker | Step::ClearQueueEntry | Step::NotifyCoordinator => None,
            };
            let connection = brief.connections[system as usize].clone();
            let record = self.ledger.step_mut(step);
            record.outcome = outcome;
            record.connection = Some(connection);
            record.before = before;
            record.after = Some(after);
            record.reference = reference;
            record.at = Some(now);
            self.ledger.retry = None;
        }
    }

    /// A record once found is read by its id from then on; one that is not the record asked for was not found.
    pub(super) fn remember_records(&mut self, brief: &Brief) {
        for step in &Step::ALL[..4] {
            let (found, named) = (self.snapshot.record_id(step.system()), brief.accepted.record(step.system()));
            if let (Some(id), None) = (found, &self.ledger.step(*step).record)
                && named.is_none_or(|named| named == id)
            {
                let id = id.to_owned();
                self.ledger.step_mut(*step).record = Some(id);
            }
        }
    }

    pub(super) fn align(&mut self, brief: &Brief, now: Timestamp) {
        let named = self.snapshot.governance().and_then(|review| review.accepted_event.clone());
        let accepted_event = named.unwrap_or_else(|| brief.accepted.review().accepted_event.id.clone());
        let compared = observed::compared(&self.snapshot);
        let decision = Verdict::Accepted;
        let digest = trace::alignment_digest(&brief.accepted, decision, &compared);
        let verified_at = match &self.ledger.alignment {
            Some(before) if before.digest == digest => before.verified_at,
            Some(_) | None => now,
        };
        self.ledger.alignment = Some(Alignment { digest, verified_at, decision, accepted_event, compared });
        self.ledger.playbook = Some(brief.playbook.clone());
    }

    pub(super) fn plan(&self, brief: &Brief, now: Timestamp) -> Vec<PlannedStep> {
        let facts = self.facts(brief, now);
        let evidence = brief.accepted.evidence();
        Step::ALL
            .into_iter()
            .map(|step| {
                let state = observed::observed(facts, step);
                let done = state.as_ref().is_some_and(|state| state.done);
                let word = state.as_ref().map_or("not seen", |state| state.word);
                let change = match step {
                    _ if done => format!("none: {word} already"),
                    Step::NotifyCoordinator => format!("announce {}", brief.accepted.key()),
                    Step::AttachEvidence => format!("attach {} with {}", evidence.bundle, evidence.digest),
                    Step::CloseChecklist => format!("state: {word} -> Closed"),
                    Step::ApproveTracker => format!("state: {word} -> {}", brief.rules.approved_state),
                    Step::ClearQueueEntry => format!("state: {word} -> Cleared"),
                };
                PlannedStep {
                    step,
                    action: if done { PlannedAction::Skip } else { PlannedAction::Write },
                    system: step.system(),
                    record: checks::asked_for(facts, step.system())
                        .or(facts.snapshot.record_id(step.system()))
                        .map(str::to_owned),
                    change: printable(&change, 256),
                }
            })
            .collect()
    }
}
