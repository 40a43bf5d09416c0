//! `verify NAME`: what an auditor asks of a finished closure, from its object alone.

use super::cluster::Place;
use super::error::{Error, word};
use super::{Ending, clean, show};
use crate::api::conditions::{self, READY};
use crate::api::{ReleaseClosure, ReleaseClosureStatus, parse};
use crate::closure::ledger::Ledger;
use crate::closure::reason::Reason;
use crate::closure::trace;
use crate::settings::Verify;
use std::fmt::Write;
use std::path::Path;

/// Recomputes the trace of a closure, compares it with its head, and prints what it says.
///
/// # Errors
/// It is not finished, does not hold, or has another head than the one that was named.
pub async fn verify(verify: &Verify) -> Result<Ending, Error> {
    let closure = match (&verify.file, &verify.name) {
        (Some(file), _) => read(file)?,
        (None, name) => {
            let name = name.as_deref().unwrap_or_default();
            Place::find(&verify.cluster).await?.get("releaseclosure", name).await?
        }
    };
    show(&check(closure, verify.head.as_deref())?);
    Ok(Ending::Done)
}

fn read(file: &Path) -> Result<ReleaseClosure, Error> {
    let failed = |why: String| Error::File { file: file.display().to_string(), why };
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    serde_saphyr::from_str(&text).map_err(|error| failed(error.to_string()))
}

pub(super) fn check(closure: ReleaseClosure, head: Option<&str>) -> Result<String, Error> {
    let name = clean(closure.metadata.name.as_deref().unwrap_or_default());
    let invalid = |why: String| Error::Invalid { name: name.clone(), why };
    let broken = |why: String| Error::Broken { name: name.clone(), why };
    let accepted = parse::accepted(&closure.spec).map_err(|error| invalid(error.to_string()))?;
    let uid = closure.metadata.uid.as_deref().ok_or_else(|| invalid("metadata.uid is missing".to_owned()))?;
    let (_, ledger) = closure.status.clone().unwrap_or_default().split();
    let ledger = ledger.checked().map_err(|error| invalid(error.to_string()))?;
    let computed = trace::verify(&accepted, uid, &ledger).map_err(|error| broken(clean(&error.to_string())))?;
    ending(&closure.status.clone().unwrap_or_default()).map_err(|why| broken(clean(&why)))?;
    match head {
        Some(head) if head != computed => Err(broken(format!(
            "the trace holds, but its head is {computed} and not {}: the status was changed after it was written",
            clean(head)
        ))),
        _ => Ok(report(&name, &closure, &ledger, &computed)),
    }
}

/// Compares what no digest covers, conditions, progress and the completion, with the steps and halts, which the chain
/// covers.
///
/// # Errors
/// What does not follow from them.
pub fn ending(status: &ReleaseClosureStatus) -> Result<(), String> {
    let (_, ledger) = status.clone().split();
    let given_up = ledger.is_given_up();
    if status.completion_time.is_none() {
        return Err("it has a trace, and no completionTime".to_owned());
    }
    if let Some(halt) = &ledger.halt {
        return Err(format!("it is finished, and halted by {}", halt.id));
    }
    let progress = format!("{}/{}", ledger.settled(), ledger.steps.len());
    if status.progress.as_ref() != Some(&progress) {
        return Err(format!(
            "its progress is {}, and its steps say {progress}",
            status.progress.as_deref().unwrap_or("-")
        ));
    }
    let (truth, reason) = if given_up { ("False", Reason::Abandoned) } else { ("True", Reason::Closed) };
    let ready = conditions::find(&status.conditions, READY).map(|ready| (ready.status.as_str(), ready.reason.as_str()));
    if ready != Some((truth, reason.as_str())) {
        return Err(format!("its steps and halts say Ready {truth}, {reason}, and its conditions do not"));
    }
    // Of one that was given up they say what was last seen, which need not be what is settled.
    let claims =
        [conditions::RECONCILING, conditions::STALLED, conditions::ALIGNED].into_iter().chain(conditions::STEPS);
    for kind in claims.filter(|_| !given_up) {
        let so = !matches!(kind, conditions::RECONCILING | conditions::STALLED);
        let told = conditions::find(&status.conditions, kind);
        if told.is_some_and(|told| (told.status == "True") != so) {
            return Err(format!("all its steps are settled, and its condition {kind} says otherwise"));
        }
    }
    Ok(())
}

/// The answers to an auditor's questions, in their order.
fn report(name: &str, closure: &ReleaseClosure, ledger: &Ledger, head: &str) -> String {
    let mut text = format!("{name}: the trace holds\n  head       {head}\n");
    let event = &closure.spec.review.accepted_event;
    let mut line = |label: &str, what: String| {
        let _ = writeln!(text, "  {label:<10} {}", clean(&what));
    };
    line("event", event.source.as_ref().map_or(event.id.clone(), |source| format!("{} from {source}", event.id)));
    if let Some(playbook) = &ledger.playbook {
        line("playbook", format!("{} generation {} {}", playbook.name, playbook.generation, playbook.digest));
    }
    if let Some(alignment) = &ledger.alignment {
        line("alignment", alignment.digest.clone());
        line("verified", format!("{} (the operator's word: in no digest)", alignment.verified_at));
    }
    for halt in &ledger.halts {
        let by = halt.resolved_by.as_deref().unwrap_or("-");
        line("halt", format!("{} {}: {} by {by} at {}", halt.id, halt.cause, word(halt.decision), halt.resolved_at));
    }
    for step in &ledger.steps {
        let state = |state: Option<&crate::closure::ledger::StateAt>| {
            state.map_or_else(|| "?".to_owned(), |at| format!("{}@{}", at.state, at.revision))
        };
        let record = step.record.as_deref().unwrap_or("-");
        let mut what = format!("{} {} {record}", step.name, step.outcome.as_str());
        if step.before.is_some() || step.after.is_some() {
            let _ = write!(what, ", {} to {}", state(step.before.as_ref()), state(step.after.as_ref()));
        }
        if let Some(reference) = &step.reference {
            let _ = write!(what, ", {reference}");
        }
        line("step", what);
    }
    text
}
