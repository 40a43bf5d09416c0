//! Why a pass ends without an end: no answer, a stale look, a record that is not there yet, a write without effect.

use super::*;

impl Pass {
    /// The wait for whatever gave no answer, is stale, or is missing within its grace.
    pub(super) fn unreachable(&mut self, brief: &Brief, stale: &[System], now: Timestamp) -> Option<Decision> {
        let missing = self.systems_that_look(|look| look == Look::Missing);
        let mut troubles: Vec<(System, Unreachable)> = Vec::new();
        for system in System::AUTHORITIES {
            if let Look::Unreachable(why) = self.snapshot.look(system) {
                troubles.push((system, why));
            } else if stale.contains(&system) {
                troubles.push((system, Trouble::Stale.into()));
            }
        }
        if troubles.is_empty() && missing.is_empty() {
            return None;
        }
        let mut systems: Vec<System> =
            troubles.iter().map(|(system, _)| *system).chain(missing.iter().copied()).collect();
        systems.sort_unstable();
        self.begin_wait(systems.clone(), now);
        if let Some(retry) = &mut self.ledger.retry {
            retry.missing_since.retain(|name, _| missing.iter().any(|system| system.as_str() == name));
            for system in missing {
                // A time to come is of a clock that has gone back since: from there the grace would last as long again.
                let since = retry.missing_since.entry(system.as_str().to_owned()).or_insert(now);
                *since = (*since).min(now);
            }
        }
        let reason = troubles.first().map_or(Reason::RecordMissing, |(system, why)| reason_of(*system, why.trouble));
        let retry_after = troubles.iter().filter_map(|(_, why)| why.retry_after).max();
        let unauthorized = troubles
            .iter()
            .filter(|(_, why)| why.trouble == Trouble::Unauthorized)
            .map(|(system, _)| *system)
            .collect();
        if !stale.is_empty()
            && let Some(step) = self.ledger.steps.iter().find(|step| stale.contains(&step.system)).map(|step| step.name)
            && self.count_ineffective(brief, step)
        {
            let (why, observed) = ((Check::Write, Reason::WriteIneffective), "the record as it was before");
            self.ledger.retry = None;
            return Some(Decision::Halt(vec![self.finding(brief, why, step, "the change made", observed)]));
        }
        Some(Decision::Wait(Wait { reason, systems, retry_after, unauthorized }))
    }

    pub(super) fn wait_for(&mut self, system: System, why: Unreachable, now: Timestamp) -> Decision {
        self.begin_wait(vec![system], now);
        let unauthorized = if why.trouble == Trouble::Unauthorized { vec![system] } else { Vec::new() };
        let reason = reason_of(system, why.trouble);
        Decision::Wait(Wait { reason, systems: vec![system], retry_after: why.retry_after, unauthorized })
    }

    pub(super) fn begin_wait(&mut self, waiting_for: Vec<System>, now: Timestamp) {
        let retry = self.ledger.retry.take();
        let (since, missing_since) = match retry {
            Some(old) if old.waiting_for == waiting_for => (old.since, old.missing_since),
            Some(old) => (now, old.missing_since),
            None => (now, BTreeMap::new()),
        };
        self.ledger.retry = Some(Retry { since, waiting_for, missing_since });
    }

    pub(super) fn ineffective(&mut self, brief: &Brief, step: Step, now: Timestamp) -> Decision {
        let system = step.system();
        if self.count_ineffective(brief, step) {
            let reason = Reason::WriteIneffective;
            return Decision::Halt(vec![self.finding(
                brief,
                (Check::Write, reason),
                step,
                "the change made",
                "unchanged",
            )]);
        }
        self.begin_wait(vec![system], now);
        let (systems, unauthorized) = (vec![system], Vec::new());
        Decision::Wait(Wait { reason: Reason::WriteIneffective, systems, retry_after: None, unauthorized })
    }

    /// Counts a pass in which a change did not show; true when that is one too many.
    pub(super) fn count_ineffective(&mut self, brief: &Brief, step: Step) -> bool {
        let before = brief.memory.ineffective.filter(|(other, _)| *other == step).map_or(0, |(_, count)| count);
        self.ineffective = Some((step, before + 1));
        before + 1 >= INEFFECTIVE_MAX
    }
}

fn reason_of(system: System, trouble: Trouble) -> Reason {
    match trouble {
        Trouble::Unauthorized => Reason::ConnectionNotReady,
        Trouble::Forbidden => Reason::forbidden(system),
        Trouble::Unavailable
        | Trouble::TooManyRequests
        | Trouble::NotUnderstood
        | Trouble::HeldBack
        | Trouble::Stale => Reason::unavailable(system),
    }
}
