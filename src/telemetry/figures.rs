//! The four figures that the scenario asks for, as they follow from what is stored.
//!
//! They are counted from finished closures and from packets, and from nothing that a process remembers: a counter begins at
//! zero with each process, and what it counted after it was last looked at is lost with it. So they are gauges: of
//! the closures and packets on record. What is deleted is not on record any more.

use super::labels::{After, Finish, check_word, truth};
use crate::closure::ids::{Step, System};
use crate::closure::ledger::{Check, Decision, Finding, Ledger, Outcome, StepRecord};
use crate::closure::reason::Reason;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The systems whose part of a trace is told: those that are written to, and the archive, which is referred to.
pub const TRACED: [System; 5] = [System::Checklist, System::Tracker, System::Archive, System::Queue, System::Intake];

/// What closures waited for systems, as their statuses tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// How many times a closure waited and went on.
    pub times: u64,
    /// For how long all together.
    pub total: Duration,
}

/// The figures, added up over any number of closures and packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    finished: BTreeMap<(Word, bool), u64>,
    halts: BTreeMap<(Reason, bool), u64>,
    findings: BTreeMap<(Check, Reason, bool), u64>,
    traces: BTreeMap<(System, bool), u64>,
    resumes: BTreeMap<Word, Waited>,
}

type Word = &'static str;

impl Figures {
    /// Those of one finished closure. `outages` is what it waited for systems.
    #[must_use]
    pub fn of_finished(finish: Finish, ledger: &Ledger, outages: Waited) -> Figures {
        let mut figures = Figures::default();
        // Whoever resolves a halt has helped, and an abandoned closure has somebody who gave it up.
        let person = !ledger.halts.is_empty();
        figures.finished.insert((finish.as_str(), person), 1);
        if finish == Finish::Closed {
            for system in TRACED {
                figures.traces.insert((system, is_traced(ledger, system)), 1);
            }
            if ledger.steps.iter().any(|step| step.outcome == Outcome::AlreadyDone) {
                figures.resumes.insert(After::AlreadyUpdated.as_str(), Waited { times: 1, total: Duration::ZERO });
            }
        }
        if outages.times > 0 {
            figures.resumes.insert(After::Outage.as_str(), outages);
        }
        let mut halts = Waited::default();
        for past in ledger.halts.iter().filter(|past| past.decision == Decision::Resume) {
            halts.times += 1;
            halts.total += Duration::try_from(past.resolved_at.duration_since(past.at)).unwrap_or_default();
        }
        if halts.times > 0 {
            figures.resumes.insert(After::Halt.as_str(), halts);
        }
        figures
    }

    /// Those of one halt, as its packet tells. `outcomes` is how far its steps were.
    #[must_use]
    pub fn of_halt(cause: Reason, findings: &[Finding], outcomes: impl IntoIterator<Item = Outcome>) -> Figures {
        let mut figures = Figures::default();
        // What others had done is no write of ours; of what cannot be told it is assumed that it is one.
        let untouched = outcomes.into_iter().all(|outcome| matches!(outcome, Outcome::Pending | Outcome::AlreadyDone));
        figures.halts.insert((cause, untouched), 1);
        for finding in findings {
            *figures.findings.entry((finding.check, finding.reason, untouched)).or_default() += 1;
        }
        figures
    }

    /// Adds others to these.
    pub fn add(&mut self, other: &Figures) {
        fn sum<K: Ord + Copy>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            for (key, count) in from {
                *to.entry(*key).or_default() += count;
            }
        }
        let Figures { finished, halts, findings, traces, resumes } = other;
        sum(&mut self.finished, finished);
        sum(&mut self.halts, halts);
        sum(&mut self.findings, findings);
        sum(&mut self.traces, traces);
        for (after, waited) in resumes {
            let sum = self.resumes.entry(after).or_default();
            sum.times += waited.times;
            sum.total += waited.total;
        }
    }

    /// Small sets are told whole, zeros included.
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let count = |found: Option<&u64>| found.copied().unwrap_or(0) as f64;
        let finished = Finish::ALL.iter().flat_map(|finish| [false, true].map(|person| (finish.as_str(), person)));
        let finished = finished.map(|key| {
            let (outcome, person) = key;
            (vec![("outcome", outcome), ("person", truth(person))], count(self.finished.get(&key)))
        });
        gauges(
            encoder,
            "closures_finished",
            "Closures on record that finished, and whether a person helped",
            finished,
        )?;
        let halts = self.halts.iter().map(|((cause, untouched), halts)| {
            (vec![("cause", cause.as_str()), ("before_write", truth(*untouched))], *halts as f64)
        });
        gauges(
            encoder,
            "halts",
            "Halts on record, by the first finding's reason, and whether nothing was written yet",
            halts,
        )?;
        let findings = self.findings.iter().map(|((check, reason, untouched), findings)| {
            let labels =
                vec![("check", check_word(*check)), ("reason", reason.as_str()), ("before_write", truth(*untouched))];
            (labels, *findings as f64)
        });
        gauges(encoder, "findings", "Findings on record, by check, and whether nothing was written yet", findings)?;
        let traces = TRACED.into_iter().flat_map(|system| [false, true].map(|complete| (system, complete)));
        let traces = traces.map(|key| {
            let (system, complete) = key;
            (vec![("system", system.as_str()), ("complete", truth(complete))], count(self.traces.get(&key)))
        });
        let help = "Closed closures on record, by system, and whether its part of the trace tells all that it should";
        gauges(encoder, "traces", help, traces)?;
        let waited = |after: &After| self.resumes.get(after.as_str()).copied().unwrap_or_default();
        let of = |value: fn(Waited) -> f64| {
            After::ALL
                .iter()
                .map(move |after| (vec![("after", after.as_str())], value(waited(after))))
                .collect::<Vec<_>>()
        };
        let help = "How many times finished closures on record got over something and went on";
        gauges(encoder, "resumes", help, of(|waited| waited.times as f64))?;
        let help = "For how many seconds they had waited, all together";
        gauges(encoder, "resumes_waited_seconds", help, of(|waited| waited.total.as_secs_f64()))
    }
}

/// Whether a system's part of a trace tells what was there, what was done, by whom, when and through which connection.
fn is_traced(ledger: &Ledger, system: System) -> bool {
    let told = |step: &StepRecord| {
        let known = matches!(step.outcome, Outcome::Changed | Outcome::AlreadyDone);
        let placed = known && step.connection.is_some() && step.at.is_some();
        match step.name {
            Step::NotifyCoordinator => placed && step.reference.is_some(),
            Step::CloseChecklist | Step::ApproveTracker | Step::AttachEvidence | Step::ClearQueueEntry => {
                let changed = step.outcome != Outcome::Changed || step.before.is_some();
                placed && changed && step.after.is_some() && step.record.is_some()
            }
        }
    };
    match system {
        // Its part is the reference that was attached.
        System::Archive => {
            ledger.steps.iter().any(|step| step.name == Step::AttachEvidence && told(step) && step.reference.is_some())
        }
        system => {
            let mut of_system = ledger.steps.iter().filter(|step| step.system == system).peekable();
            of_system.peek().is_some() && of_system.all(told)
        }
    }
}

/// Writes a family of gauges.
pub(super) fn gauges<K: AsRef<str>, V: AsRef<str>>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = (Vec<(K, V)>, f64)>,
) -> fmt::Result {
    let mut series = series.into_iter().peekable();
    if series.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        if labels.is_empty() {
            return ConstGauge::new(value).encode(family);
        }
        let labels: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
