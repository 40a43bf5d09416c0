//! The cases in which people do something between a look and a write, or to the whole place.

use super::cases::{UNWRITTEN, cannot, done_once, ensure, finish, nothing, trouble, untouched};
use super::cell::{Cell, Outcome, Saw, Verdict, Wrote};
use super::front::{Fault, On};
use super::subject::{Deed, Truth};
use releaseclosure::closure::ids::{Step, System};
use releaseclosure::closure::snapshot::Trouble;
use releaseclosure::roles::{Concurrency, Probe};

pub async fn edited(cell: &mut Cell) -> Outcome {
    if !cell.writes() {
        return nothing(UNWRITTEN);
    }
    let look = cell.must_read().await?;
    let order = cell.order(&look)?;
    if let Err(why) = cell.person(Deed::Edit).await {
        return nothing(why);
    }
    let wrote = cell.write(order).await;
    let truth = cell.truth().await;
    ensure!(truth.words, truth);
    if let Wrote::Answered(_) = wrote {
        ensure!(cell.concurrency() != Some(Concurrency::CompareAndSwap) && done_once(&truth), wrote, truth);
        return Ok(Verdict::Passes);
    }
    ensure!(wrote == Wrote::Conflict && untouched(&truth), wrote, truth);
    finish(cell).await?;
    Ok(Verdict::Passes)
}

pub async fn edited_at_the_moment(cell: &mut Cell) -> Outcome {
    if !cell.writes() {
        return nothing(UNWRITTEN);
    }
    // Once before, to see whether anybody does it at all.
    if let Err(why) = cell.person(Deed::Edit).await {
        return nothing(why);
    }
    let look = cell.must_read().await?;
    cell.person_when(On::Write, Deed::Edit);
    let wrote = cell.write(cell.order(&look)?).await;
    let truth = cell.truth().await;
    match cell.concurrency() {
        Some(Concurrency::CompareAndSwap) => {
            ensure!(wrote == Wrote::Conflict && untouched(&truth), wrote, truth);
            finish(cell).await?;
            Ok(Verdict::Passes)
        }
        _ if truth.words => Ok(Verdict::Passes),
        _ => cannot("between its look and its change the product takes no precondition: words of that moment are lost"),
    }
}

/// What a person wrote where our mark is to stand is not written over, and a person is told; once it is gone the step is done.
pub async fn mark_taken(cell: &mut Cell) -> Outcome {
    if !cell.writes() {
        return nothing(UNWRITTEN);
    }
    if cell.part.step == Some(Step::AttachEvidence) {
        return nothing("the mark of a link stands with the link");
    }
    cell.person(Deed::Own("words in the mark's field")).await?;
    let look = cell.must_read().await?;
    let wrote = cell.write(cell.order(&look)?).await;
    let truth = cell.truth().await;
    ensure!(wrote == Wrote::Refused && untouched(&truth) && cell.front().changes() == 0, wrote, truth);
    cell.person(Deed::Own("the mark's field is emptied")).await?;
    finish(cell).await?;
    Ok(Verdict::Passes)
}

/// Somebody does by hand what the step would do: their deed is not taken for ours.
pub async fn done_by_hand(cell: &mut Cell) -> Outcome {
    if !cell.writes() {
        return nothing(UNWRITTEN);
    }
    let look = cell.must_read().await?;
    let order = cell.order(&look)?;
    if let Err(why) = cell.person(Deed::DoIt).await {
        return nothing(why);
    }
    let wrote = cell.write(order).await;
    let truth = cell.truth().await;
    ensure!(truth.done && truth.marks == 0 && truth.words, wrote, truth);
    let after = cell.must_read().await?;
    ensure!(after.done && !cell.is_ours(&after.marking), after);
    Ok(Verdict::Passes)
}

pub async fn done_by_hand_at_the_moment(cell: &mut Cell) -> Outcome {
    if !cell.writes() {
        return nothing(UNWRITTEN);
    }
    if cell.part.system == System::Intake {
        return nothing("nobody announces by hand");
    }
    let look = cell.must_read().await?;
    cell.person_when(On::Write, Deed::DoIt);
    let wrote = cell.write(cell.order(&look)?).await;
    let truth = cell.truth().await;
    ensure!(truth.done && truth.words, wrote, truth);
    // Where no mark tells whose it is, a yes is taken for ours.
    let guarded = truth.marks == 0 && (cell.place.is_marked() || !matches!(wrote, Wrote::Answered(_)));
    unguarded(cell, guarded, &["state", "evidence"], wrote, truth)
}

/// What happens at the very moment is either refused, or declared as beyond the protection. Some of what a product with a race
/// window declared refuses all the same: a transition that its workflow does not have from the status of that moment.
fn unguarded(cell: &Cell, guarded: bool, fields: &[&str], wrote: Wrote, truth: Truth) -> Outcome {
    let weak = cell.concurrency() != Some(Concurrency::CompareAndSwap);
    let declared = cell.abilities.unguarded.iter().find(|field| fields.contains(field));
    ensure!(weak || guarded != declared.is_some(), wrote, truth, cell.abilities);
    match declared {
        _ if guarded => Ok(Verdict::Passes),
        Some(field) => {
            cannot(&format!("its precondition does not cover `{field}`; the status says `unguarded: [{field}]`"))
        }
        None => {
            let says = cell.concurrency().ok_or("it says nothing of its concurrency")?;
            cannot(&format!("it takes no precondition; the status says `concurrency: {says:?}`"))
        }
    }
}

/// The renamed milestone is seen, and nothing is done on it.
pub async fn renamed(cell: &mut Cell) -> Outcome {
    let look = cell.must_read().await?;
    if let Err(why) = cell.person(Deed::Rename).await {
        return nothing(why);
    }
    let now = cell.must_read().await?;
    ensure!(cell.agrees(&now).is_err(), now);
    if cell.writes() {
        let wrote = cell.write(cell.order(&look)?).await;
        let truth = cell.truth().await;
        ensure!(wrote == Wrote::Conflict && untouched(&truth), wrote, truth);
    }
    Ok(Verdict::Passes)
}

pub async fn renamed_at_the_moment(cell: &mut Cell) -> Outcome {
    if !matches!(cell.part.step, Some(Step::ApproveTracker | Step::AttachEvidence)) {
        return nothing(if cell.writes() { "the record has no milestone" } else { UNWRITTEN });
    }
    let look = cell.must_read().await?;
    cell.person_when(On::Write, Deed::Rename);
    let wrote = cell.write(cell.order(&look)?).await;
    let truth = cell.truth().await;
    ensure!(truth.words, wrote, truth);
    unguarded(cell, untouched(&truth), &["milestone.title"], wrote, truth)
}

pub async fn removed(cell: &mut Cell) -> Outcome {
    let look = cell.must_read().await?;
    if let Err(why) = cell.person(Deed::Remove).await {
        return nothing(why);
    }
    let read = cell.read().await;
    ensure!(read == Saw::Missing, read);
    if cell.writes() {
        let wrote = cell.write(cell.order(&look)?).await;
        ensure!(wrote == Wrote::Conflict, wrote);
    }
    ensure!(cell.front().changes() == 0, cell.front().changes());
    Ok(Verdict::Passes)
}

/// Of an issue tracker: the forms of two roles have the same headings, so that a number that was mixed up would lead to an issue
/// that agrees in all but its label.
pub async fn another_role(cell: &mut Cell) -> Outcome {
    if !cell.writes() {
        return nothing("a review has no label");
    }
    let look = cell.must_read().await?;
    cell.person(Deed::Own("another role's label")).await?;
    let (read, found) = (cell.read().await, cell.find().await);
    ensure!(read == Saw::Missing && found == Saw::Missing, read, found);
    let wrote = cell.write(cell.order(&look)?).await;
    let truth = cell.truth().await;
    ensure!(wrote == Wrote::Conflict && !truth.done && truth.marks == 0, wrote, truth);
    Ok(Verdict::Passes)
}

/// Nobody is led elsewhere.
pub async fn moved(cell: &mut Cell) -> Outcome {
    if let Some(why) = cell.front().never(&Fault::Elsewhere) {
        return nothing(why);
    }
    let look = if cell.writes() { Some(cell.must_read().await?) } else { None };
    let order = look.as_ref().map(|look| cell.order(look)).transpose()?;
    let played = cell.person(Deed::Move).await.is_ok();
    if !played {
        cell.front().on(On::Read, Fault::Elsewhere);
    }
    let read = cell.read().await;
    ensure!(matches!(&read, Saw::Unreachable(why) if trouble(why, &[Trouble::NotUnderstood])), read);
    if let Some(order) = order {
        if !played {
            cell.front().on(On::Write, Fault::Elsewhere);
        }
        let wrote = cell.write(order).await;
        ensure!(matches!(wrote, Wrote::Unknown(_) | Wrote::NotApplied(_)), wrote);
        ensure!(cell.front().changes() == 0, cell.front().changes());
    }
    if played {
        let probe = cell.probe().await;
        ensure!(matches!(probe, Probe::Unfit { .. }), probe);
    }
    ensure!(!cell.front().was_followed(), "followed");
    Ok(Verdict::Passes)
}

/// The connection says that nothing can be changed there. What is read can still be read.
pub async fn archived(cell: &mut Cell) -> Outcome {
    if let Err(why) = cell.person(Deed::Archive).await {
        return nothing(why);
    }
    let (read, probe) = (cell.read().await, cell.probe().await);
    ensure!(matches!(read, Saw::Found(_)), read);
    ensure!(matches!(probe, Probe::Unfit { .. }) == cell.writes(), probe);
    Ok(Verdict::Passes)
}

/// A lock is either no hindrance, or a refusal by which nothing is changed.
pub async fn locked(cell: &mut Cell) -> Outcome {
    if let Err(why) = cell.person(Deed::Lock).await {
        return nothing(why);
    }
    let look = cell.must_read().await?;
    if cell.writes() {
        let wrote = cell.write(cell.order(&look)?).await;
        let truth = cell.truth().await;
        let kept = match &wrote {
            Wrote::Answered(_) => done_once(&truth),
            Wrote::Refused | Wrote::Conflict | Wrote::NotApplied(_) => untouched(&truth),
            Wrote::Unknown(_) => false,
        };
        ensure!(kept, wrote, truth);
    }
    Ok(Verdict::Passes)
}
