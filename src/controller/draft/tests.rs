//! A draft meets an object that somebody else wrote in the meantime.

use super::*;
use crate::closure::ids::System;
use crate::closure::ledger::{Check, Outcome};
use std::sync::Mutex;

const UID: &str = "uid-1";

/// One object, on which each write counts as a version.
struct Kept(Mutex<(ReleaseClosureStatus, u64)>);

impl Objects for Kept {
    type Error = std::convert::Infallible;

    async fn write(&self, draft: &mut Draft) -> Result<bool, Unstored<Self::Error>> {
        let Some(status) = draft.status(1, None, Timestamp::UNIX_EPOCH) else { return Ok(false) };
        let mut kept = self.0.lock().unwrap();
        if draft.resource_version() != Some(kept.1.to_string().as_str()) {
            return Err(Unstored::Superseded);
        }
        *kept = (status.clone(), kept.1 + 1);
        draft.stored(status, Some(kept.1.to_string()));
        Ok(true)
    }

    async fn read(&self) -> Result<Option<Fresh>, Self::Error> {
        let (status, version) = self.0.lock().unwrap().clone();
        Ok(Some(Fresh { uid: Some(UID.to_owned()), resource_version: Some(version.to_string()), status }))
    }
}

impl Kept {
    fn draft(&self) -> Draft {
        let (status, version) = self.0.lock().unwrap().clone();
        let mut draft = Draft::of(status, Some(version.to_string()));
        draft.ledger = draft.ledger.checked().unwrap();
        draft
    }

    fn status(&self) -> ReleaseClosureStatus {
        self.0.lock().unwrap().0.clone()
    }
}

fn kept() -> Kept {
    Kept(Mutex::new((ReleaseClosureStatus::default(), 1)))
}

fn halting(mut draft: Draft) -> Draft {
    let finding = Finding {
        check: Check::C4,
        reason: Reason::MilestoneMismatch,
        system: System::Tracker,
        record: None,
        field: "milestone.title".to_owned(),
        expected: "one".to_owned(),
        observed: "another".to_owned(),
        link: None,
    };
    draft.ledger.step_mut(Step::CloseChecklist).outcome = Outcome::Changed;
    draft.latch(UID, vec![finding], Timestamp::UNIX_EPOCH).expect("it halts");
    draft
}

fn closing(mut draft: Draft) -> Draft {
    for step in Step::ALL {
        draft.ledger.step_mut(step).outcome = Outcome::Changed;
    }
    draft.standing = Standing::Closed;
    draft.envelope.completion_time = Some(Timestamp::UNIX_EPOCH);
    draft
}

/// Somebody else stores that it waits.
async fn somebody_else_waits(kept: &Kept) {
    let mut other = kept.draft();
    other.waits(Reason::QueueUnavailable, "Another replica.".to_owned());
    assert_eq!(store_fact(kept, UID, other).await.unwrap(), Stored::Whole);
}

#[tokio::test]
async fn a_halt_is_latched_where_nobody_else_wrote() {
    let kept = kept();
    assert_eq!(store_fact(&kept, UID, halting(kept.draft())).await.unwrap(), Stored::Whole);
    assert!(kept.status().halt.is_some());
}

/// Whoever makes a packet of a halt that is not stored asks a person something that no answer can release.
#[tokio::test]
async fn a_halt_over_a_status_that_was_not_the_last_is_not_latched_and_says_so() {
    let kept = kept();
    let draft = halting(kept.draft());
    somebody_else_waits(&kept).await;
    assert_eq!(store_fact(&kept, UID, draft).await.unwrap(), Stored::Steps);
    let status = kept.status();
    assert!(status.halt.is_none());
    assert_eq!(status.steps[0].outcome, Outcome::Changed);
}

#[tokio::test]
async fn an_end_is_stored_whatever_else_was_written() {
    let kept = kept();
    let draft = closing(kept.draft());
    somebody_else_waits(&kept).await;
    assert_eq!(store_fact(&kept, UID, draft).await.unwrap(), Stored::Whole);
    assert!(kept.status().completion_time.is_some());
}

#[tokio::test]
async fn an_end_does_not_undo_a_halt() {
    let kept = kept();
    let draft = closing(kept.draft());
    assert_eq!(store_fact(&kept, UID, halting(kept.draft())).await.unwrap(), Stored::Whole);
    assert_eq!(store_fact(&kept, UID, draft).await.unwrap(), Stored::Steps);
    let status = kept.status();
    assert!(status.halt.is_some() && status.completion_time.is_none());
    assert!(status.steps.iter().all(|step| step.outcome == Outcome::Changed));
}

/// Two processes that both believe that they lead: one changed the records itself and stored so, the other found them changed
/// and ends first. What the first one knows is not unsaid.
#[tokio::test]
async fn an_end_does_not_unsay_what_another_has_settled() {
    let kept = kept();
    let mut late = closing(kept.draft());
    late.ledger.step_mut(Step::CloseChecklist).outcome = Outcome::Unconfirmed;
    let mut first = kept.draft();
    first.ledger.step_mut(Step::CloseChecklist).outcome = Outcome::Changed;
    first.standing = Standing::Working;
    assert_eq!(store_fact(&kept, UID, first).await.unwrap(), Stored::Whole);

    assert_eq!(store_fact(&kept, UID, late).await.unwrap(), Stored::Steps);
    let status = kept.status();
    let outcomes: Vec<_> = status.steps.iter().map(|step| step.outcome).collect();
    assert_eq!(outcomes, [Outcome::Changed; 5], "the first word stands, and what else was settled is kept");
    assert_eq!(status.completion_time, None, "and the next pass ends it, with a trace over all of that");

    let mut next = closing(kept.draft());
    next.ledger.trace = None;
    assert_eq!(store_fact(&kept, UID, next).await.unwrap(), Stored::Whole);
    assert!(kept.status().completion_time.is_some());
}
