//! The cases in which a request, a reply or a token is lost or spoilt.

use super::cases::{UNWRITTEN, cannot, done_once, ensure, finish, nothing, trouble, untouched};
use super::cell::{Cell, Outcome, Saw, Verdict, Wrote};
use super::front::{Fault, On};
use super::subject::Deed;
use crate::fault_proxy::Gate;
use releaseclosure::closure::ids::System;
use releaseclosure::closure::snapshot::{Trouble, Unreachable};
use releaseclosure::roles::Probe;
use std::time::Duration;

pub async fn request_lost(cell: &mut Cell) -> Outcome {
    if !cell.writes() {
        cell.front().on(On::Read, Fault::Lost);
        let read = cell.read().await;
        ensure!(matches!(&read, Saw::Unreachable(why) if trouble(why, &[Trouble::Unavailable])), read);
        return Ok(Verdict::Passes);
    }
    let look = cell.must_read().await?;
    cell.front().on(On::Write, Fault::Lost);
    let wrote = cell.write(cell.order(&look)?).await;
    ensure!(matches!(wrote, Wrote::Unknown(_) | Wrote::NotApplied(_)), wrote);
    let truth = cell.truth().await;
    ensure!(untouched(&truth), truth);
    finish(cell).await?;
    Ok(Verdict::Passes)
}

pub async fn reply_lost(cell: &mut Cell) -> Outcome {
    unheard(cell, Fault::ReplyLost).await
}

pub async fn error_after(cell: &mut Cell) -> Outcome {
    unheard(cell, Fault::SaysAfter(500)).await
}

/// The write is done, and nobody says so.
async fn unheard(cell: &mut Cell, fault: Fault) -> Outcome {
    if !cell.writes() {
        cell.front().on(On::Read, fault);
        let read = cell.read().await;
        ensure!(matches!(&read, Saw::Unreachable(why) if trouble(why, &[Trouble::Unavailable])), read);
        return Ok(Verdict::Passes);
    }
    let look = cell.must_read().await?;
    cell.front().on(On::Write, fault);
    let wrote = cell.write(cell.order(&look)?).await;
    ensure!(matches!(wrote, Wrote::Unknown(_)), wrote);
    is_found_done(cell).await
}

/// It was done, and the next look shows by whom; it is not done twice.
async fn is_found_done(cell: &Cell) -> Outcome {
    let after = cell.must_read().await?;
    ensure!(after.done, after);
    ensure!(cell.shows_ours(&after.marking), after);
    if !cell.place.is_marked() {
        ensure!(cell.abilities.marker == Some(false), cell.abilities);
        let truth = cell.truth().await;
        ensure!(done_once(&truth) && cell.front().changes() == 1, truth, cell.front().changes());
        return cannot(
            "records have no place for a mark, so that nobody can tell who changed them; the status says `marker: false`",
        );
    }
    let truth = cell.truth().await;
    ensure!(done_once(&truth) && cell.front().changes() == 1, truth, cell.front().changes());
    Ok(Verdict::Passes)
}

pub async fn slow(cell: &mut Cell) -> Outcome {
    let token = cell.place.token();
    let look = if cell.writes() { Some(cell.must_read().await?) } else { None };
    // The look before a write is to come in time on a busy machine.
    cell.again(&token, Duration::from_secs(8))?;
    let gate = Gate::default();
    let Some(look) = look else {
        cell.front().on(On::Read, Fault::Slow(gate.clone()));
        let read = cell.read().await;
        gate.open();
        ensure!(matches!(&read, Saw::Unreachable(why) if trouble(why, &[Trouble::Unavailable])), read);
        return Ok(Verdict::Passes);
    };
    cell.front().on(On::Write, Fault::Slow(gate.clone()));
    let wrote = cell.write(cell.order(&look)?).await;
    gate.open();
    ensure!(matches!(&wrote, Wrote::Unknown(why) if trouble(why, &[Trouble::Unavailable])), wrote);
    cell.again(&token, Duration::from_secs(60))?;
    is_found_done(cell).await
}

pub async fn unavailable(cell: &mut Cell) -> Outcome {
    cell.front().on(On::Read, Fault::Says(503));
    let read = cell.read().await;
    ensure!(matches!(&read, Saw::Unreachable(why) if trouble(why, &[Trouble::Unavailable])), read);
    if cell.writes() {
        let look = cell.must_read().await?;
        cell.front().on(On::Write, Fault::Says(503));
        let wrote = cell.write(cell.order(&look)?).await;
        ensure!(matches!(&wrote, Wrote::Unknown(why) if trouble(why, &[Trouble::Unavailable])), wrote);
        finish(cell).await?;
    }
    Ok(Verdict::Passes)
}

/// What a system asks for is heard, and holds the whole connection back.
pub async fn busy(cell: &mut Cell) -> Outcome {
    if let Some(why) = cell.front().never(&Fault::Busy(77)) {
        return nothing(why);
    }
    let held =
        |why: &Unreachable| why.trouble == Trouble::TooManyRequests && why.retry_after == Some(Duration::from_secs(77));
    if cell.writes() {
        let look = cell.must_read().await?;
        cell.front().on(On::Write, Fault::Busy(77));
        let wrote = cell.write(cell.order(&look)?).await;
        ensure!(matches!(&wrote, Wrote::NotApplied(why) if held(why)), wrote);
        let truth = cell.truth().await;
        ensure!(untouched(&truth), truth);
    } else {
        cell.front().on(On::Read, Fault::Busy(77));
        let read = cell.read().await;
        ensure!(matches!(&read, Saw::Unreachable(why) if held(why)), read);
    }
    let requests = cell.front().requests();
    let read = cell.read().await;
    ensure!(matches!(&read, Saw::Unreachable(why) if trouble(why, &[Trouble::HeldBack])), read);
    ensure!(cell.front().requests() == requests && cell.connected.gate.congested(), cell.front().requests(), requests);
    Ok(Verdict::Passes)
}

pub async fn conflict(cell: &mut Cell) -> Outcome {
    refused(cell, 409).await
}

pub async fn precondition(cell: &mut Cell) -> Outcome {
    refused(cell, 412).await
}

/// The system refuses the change in its own words.
async fn refused(cell: &mut Cell, status: u16) -> Outcome {
    if !cell.writes() {
        return nothing(UNWRITTEN);
    }
    let look = cell.must_read().await?;
    cell.front().on(On::Write, Fault::Says(status));
    let wrote = cell.write(cell.order(&look)?).await;
    let told = match &wrote {
        Wrote::Conflict | Wrote::Refused => true,
        // Not every intake has a word for it; then nothing was announced.
        Wrote::NotApplied(_) => cell.part.system == System::Intake,
        Wrote::Answered(_) | Wrote::Unknown(_) => false,
    };
    ensure!(told, wrote);
    let truth = cell.truth().await;
    ensure!(untouched(&truth), truth);
    finish(cell).await?;
    Ok(Verdict::Passes)
}

/// Something on the way has no say in whether there is a record, or whether it was changed.
pub async fn page(cell: &mut Cell) -> Outcome {
    for status in [200, 404] {
        cell.front().on(On::Read, Fault::Page(status));
        let read = cell.read().await;
        ensure!(matches!(&read, Saw::Unreachable(why) if trouble(why, &[Trouble::NotUnderstood])), status, read);
    }
    if cell.writes() {
        let look = cell.must_read().await?;
        cell.front().on(On::Write, Fault::Page(409));
        let wrote = cell.write(cell.order(&look)?).await;
        // That a 4xx has not passed an announcement on is what the engine assumes.
        let told = match &wrote {
            Wrote::Unknown(_) => true,
            Wrote::NotApplied(_) => cell.part.system == System::Intake,
            Wrote::Answered(_) | Wrote::Conflict | Wrote::Refused => false,
        };
        ensure!(told, wrote);
        finish(cell).await?;
    }
    Ok(Verdict::Passes)
}

pub async fn garbage(cell: &mut Cell) -> Outcome {
    if cell.part.system == System::Intake {
        unheard(cell, Fault::Garbage).await?;
        return Ok(Verdict::Passes);
    }
    for fault in [Fault::Garbage, Fault::Torn] {
        cell.front().on(On::Read, fault);
        let read = cell.read().await;
        let said = [Trouble::NotUnderstood, Trouble::Unavailable];
        ensure!(matches!(&read, Saw::Unreachable(why) if trouble(why, &said)), read);
    }
    if cell.writes() {
        return unheard(cell, Fault::Garbage).await;
    }
    Ok(Verdict::Passes)
}

/// A reply from before the write is told from one after it by its revision.
pub async fn stale(cell: &mut Cell) -> Outcome {
    if !cell.writes() {
        return nothing(UNWRITTEN);
    }
    if cell.part.system == System::Intake {
        return nothing("a handoff has no revision; the engine waits before it believes that there is none");
    }
    let before = cell.must_read().await?;
    cell.front().keep_what_was_said();
    let wrote = cell.write(cell.order(&before)?).await;
    ensure!(matches!(wrote, Wrote::Answered(_)), wrote);
    cell.front().on(On::Read, Fault::Stale);
    let old = cell.must_read().await?;
    ensure!(!old.done && old.revision == before.revision && !old.revision.is_empty(), old, before.revision);
    let new = cell.must_read().await?;
    ensure!(new.done && new.revision != before.revision, new, before.revision);
    Ok(Verdict::Passes)
}

pub async fn wrong_token(cell: &mut Cell) -> Outcome {
    cell.again(&"0".repeat(40), Duration::from_secs(60))?;
    locked_out(cell).await
}

pub async fn revoked(cell: &mut Cell) -> Outcome {
    if let Err(why) = cell.person(Deed::Revoke).await {
        return nothing(why);
    }
    locked_out(cell).await
}

/// The system does not take the token: it is asked once, and then left alone.
async fn locked_out(cell: &Cell) -> Outcome {
    let read = cell.read().await;
    ensure!(matches!(&read, Saw::Unreachable(why) if trouble(why, &[Trouble::Unauthorized])), read);
    let requests = cell.front().requests();
    let read = cell.read().await;
    ensure!(matches!(&read, Saw::Unreachable(why) if trouble(why, &[Trouble::HeldBack])), read);
    ensure!(cell.front().requests() == requests, requests, cell.front().requests());
    let probe = cell.probe().await;
    // Where the system says which of several secrets it is, so does the probe.
    let told = match &probe {
        Probe::Failed(why) => trouble(why, &[Trouble::Unauthorized]),
        Probe::Unfit { setting, .. } => setting.ends_with("SecretRef"),
        Probe::Ready | Probe::Told { .. } => false,
    };
    ensure!(told, probe);
    Ok(Verdict::Passes)
}

const NOT_ALLOWED: [Trouble; 2] = [Trouble::Forbidden, Trouble::Unauthorized];

pub async fn no_writing(cell: &mut Cell) -> Outcome {
    if !cell.writes() {
        return nothing(UNWRITTEN);
    }
    let look = cell.must_read().await?;
    let order = cell.order(&look)?;
    let played = cell.person(Deed::WithdrawWriting).await.is_ok();
    if !played {
        // Whoever has tokens without permissions may have a proxy with some.
        cell.front().on(On::Write, Fault::Says(403));
    }
    let wrote = cell.write(order).await;
    ensure!(matches!(&wrote, Wrote::NotApplied(why) if trouble(why, &NOT_ALLOWED)), wrote);
    let truth = cell.truth().await;
    ensure!(untouched(&truth), truth);
    if played {
        let probe = cell.probe().await;
        ensure!(matches!(probe, Probe::Unfit { .. } | Probe::Failed(_)), probe);
    }
    Ok(Verdict::Passes)
}

/// What may not be seen is not what is not there.
pub async fn no_reading(cell: &mut Cell) -> Outcome {
    let played = cell.person(Deed::WithdrawReading).await.is_ok();
    for look in 0..2 {
        if !played {
            cell.front().on(On::Read, Fault::Says(403));
        }
        let read = if look == 0 { cell.read().await } else { cell.find().await };
        ensure!(matches!(&read, Saw::Unreachable(why) if trouble(why, &NOT_ALLOWED)), look, read);
    }
    Ok(Verdict::Passes)
}
