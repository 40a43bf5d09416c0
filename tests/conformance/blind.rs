//! The same cases for an intake that cannot be asked what it has: it is announced to, and probed, and nothing else.

use super::cases::{Play, UNWRITTEN, cannot, done_once, ensure, nothing, trouble, untouched};
use super::cell::{Cell, Outcome, Verdict, Wrote};
use super::front::{Fault, On};
use super::subject::Deed;
use crate::fault_proxy::Gate;
use releaseclosure::closure::decide::Delivery;
use releaseclosure::closure::snapshot::{Trouble, Unreachable};
use releaseclosure::roles::Probe;
use std::time::Duration;

const TWICE: &str = "it takes the same announcement twice, and cannot be asked: the status says `delivery: None`, and where a \
                     reply is lost the closure asks a person";

/// Plays a case, by its name; an adapter's own as it is.
pub async fn play(cell: &mut Cell, case: &str, own: Play) -> Outcome {
    match case {
        "is read, and changed once" => clean(cell).await,
        "the same write again" => again(cell).await,
        "the same write twice at once" => at_once(cell).await,
        "the request is lost" => request_lost(cell).await,
        "the reply is lost" => unheard(cell, Fault::ReplyLost).await,
        "done, but answered with a 500" => unheard(cell, Fault::SaysAfter(500)).await,
        "garbage, or half a reply" => unheard(cell, Fault::Garbage).await,
        "the reply comes too late" => slow(cell).await,
        "a 503" => unavailable(cell).await,
        "a 429 with Retry-After" => busy(cell).await,
        "a 409 of its own" => refused(cell, Fault::Says(409)).await,
        "a 412 of its own" => refused(cell, Fault::Says(412)).await,
        "a web page instead of an answer" => refused(cell, Fault::Page(409)).await,
        "an old reply after the write" | "no record" | "more than one page of records" => nothing("nothing is read"),
        "somebody writes words before the change" | "somebody writes words at the moment of the change" => {
            unheard_of(cell, Deed::Edit).await
        }
        "somebody does it by hand before the change" | "somebody does it by hand at the moment of the change" => {
            nothing("nobody announces by hand")
        }
        "the milestone is renamed before the change" | "the milestone is renamed at the moment of the change" => {
            nothing("the record has no milestone")
        }
        "two records of one release" => unheard_of(cell, Deed::Duplicate).await,
        "the record is removed before the change" => unheard_of(cell, Deed::Remove).await,
        "a wrong token" => wrong_token(cell).await,
        "a revoked token" => revoked(cell).await,
        "no permission to write" => no_writing(cell).await,
        "no permission to read" => nothing(if cell.writes() { "nothing is read" } else { UNWRITTEN }),
        "moved (301)" => moved(cell).await,
        "archived" => archived(cell).await,
        "locked" => unheard_of(cell, Deed::Lock).await,
        _ => own(cell).await,
    }
}

async fn announce(cell: &Cell) -> Result<Wrote, String> {
    Ok(cell.write(cell.order_unseen()?).await)
}

/// Announces, and it arrives once.
async fn finish(cell: &Cell) -> Result<(), String> {
    let wrote = announce(cell).await?;
    ensure!(matches!(wrote, Wrote::Answered(_)), wrote);
    let truth = cell.truth().await;
    ensure!(done_once(&truth), truth);
    Ok(())
}

async fn clean(cell: &Cell) -> Outcome {
    let probe = cell.probe().await;
    ensure!(probe == Probe::Ready, probe);
    let truth = cell.truth().await;
    ensure!(untouched(&truth) && cell.front().changes() == 0, truth);
    finish(cell).await?;
    ensure!(cell.front().changes() == 1, cell.front().changes());
    Ok(Verdict::Passes)
}

async fn again(cell: &Cell) -> Outcome {
    finish(cell).await?;
    is_not_told_twice(cell).await
}

/// Two processes that both believe to be the leader.
async fn at_once(cell: &Cell) -> Outcome {
    let (one, other) = futures::join!(announce(cell), announce(cell));
    ensure!(matches!((&one, &other), (Ok(Wrote::Answered(_)), Ok(Wrote::Answered(_)))), one, other);
    was_not_told_twice(cell).await
}

/// It was told once; told again, it has it once where the status says so, and twice where the status says that.
async fn is_not_told_twice(cell: &Cell) -> Outcome {
    let wrote = announce(cell).await?;
    ensure!(matches!(wrote, Wrote::Answered(_)), wrote);
    was_not_told_twice(cell).await
}

/// It was told twice: likewise.
async fn was_not_told_twice(cell: &Cell) -> Outcome {
    let truth = cell.truth().await;
    match cell.abilities.delivery {
        Some(Delivery::None) => {
            ensure!(truth.marks == 2, truth);
            cannot(TWICE)
        }
        delivery => {
            ensure!(delivery == Some(Delivery::IdempotencyKey) && truth.marks == 1, delivery, truth);
            Ok(Verdict::Passes)
        }
    }
}

async fn request_lost(cell: &Cell) -> Outcome {
    cell.front().on(On::Write, Fault::Lost);
    let wrote = announce(cell).await?;
    ensure!(matches!(wrote, Wrote::Unknown(_) | Wrote::NotApplied(_)), wrote);
    let truth = cell.truth().await;
    ensure!(untouched(&truth), truth);
    finish(cell).await?;
    Ok(Verdict::Passes)
}

/// It arrives, and nobody says so: that is not taken for a no.
async fn unheard(cell: &Cell, fault: Fault) -> Outcome {
    if let Some(why) = cell.front().never(&fault) {
        return nothing(why);
    }
    cell.front().on(On::Write, fault);
    let wrote = announce(cell).await?;
    let truth = cell.truth().await;
    ensure!(truth.marks == 1, truth);
    // Whoever reads nothing but the status has heard it.
    ensure!(matches!(wrote, Wrote::Unknown(_) | Wrote::Answered(_)), wrote);
    is_not_told_twice(cell).await
}

async fn slow(cell: &mut Cell) -> Outcome {
    let token = cell.place.token();
    cell.again(&token, Duration::from_secs(8))?;
    let gate = Gate::default();
    cell.front().on(On::Write, Fault::Slow(gate.clone()));
    let wrote = announce(cell).await?;
    gate.open();
    ensure!(matches!(&wrote, Wrote::Unknown(why) if trouble(why, &[Trouble::Unavailable])), wrote);
    cell.again(&token, Duration::from_secs(60))?;
    is_not_told_twice(cell).await
}

async fn unavailable(cell: &Cell) -> Outcome {
    cell.front().on(On::Write, Fault::Says(503));
    let wrote = announce(cell).await?;
    let away = |why: &Unreachable| trouble(why, &[Trouble::Unavailable]);
    ensure!(matches!(&wrote, Wrote::Unknown(why) | Wrote::NotApplied(why) if away(why)), wrote);
    finish(cell).await?;
    Ok(Verdict::Passes)
}

async fn busy(cell: &Cell) -> Outcome {
    if let Some(why) = cell.front().never(&Fault::Busy(77)) {
        return nothing(why);
    }
    cell.front().on(On::Write, Fault::Busy(77));
    let wrote = announce(cell).await?;
    let held = |wrote: &Wrote| match wrote {
        Wrote::NotApplied(why) => {
            why.trouble == Trouble::TooManyRequests && why.retry_after == Some(Duration::from_secs(77))
        }
        _ => false,
    };
    ensure!(held(&wrote), wrote);
    ensure!(cell.connected.gate.congested() && cell.connected.gate.permit().await.is_err(), "not left alone");
    let truth = cell.truth().await;
    ensure!(untouched(&truth), truth);
    Ok(Verdict::Passes)
}

async fn refused(cell: &Cell, fault: Fault) -> Outcome {
    cell.front().on(On::Write, fault);
    let wrote = announce(cell).await?;
    ensure!(matches!(wrote, Wrote::Conflict | Wrote::Refused | Wrote::NotApplied(_)), wrote);
    let truth = cell.truth().await;
    ensure!(untouched(&truth), truth);
    finish(cell).await?;
    Ok(Verdict::Passes)
}

async fn wrong_token(cell: &mut Cell) -> Outcome {
    cell.again(&"0".repeat(40), Duration::from_secs(60))?;
    locked_out(cell).await
}

async fn revoked(cell: &Cell) -> Outcome {
    if let Err(why) = cell.person(Deed::Revoke).await {
        return nothing(why);
    }
    locked_out(cell).await
}

/// The system does not take the token: it is told once, and then left alone.
async fn locked_out(cell: &Cell) -> Outcome {
    let wrote = announce(cell).await?;
    ensure!(matches!(&wrote, Wrote::NotApplied(why) if trouble(why, &[Trouble::Unauthorized])), wrote);
    let requests = cell.front().requests();
    let held_back = cell.connected.gate.permit().await;
    ensure!(matches!(&held_back, Err(why) if trouble(why, &[Trouble::HeldBack])), held_back.is_ok());
    ensure!(cell.front().requests() == requests, requests, cell.front().requests());
    let truth = cell.truth().await;
    ensure!(untouched(&truth), truth);
    Ok(Verdict::Passes)
}

async fn no_writing(cell: &Cell) -> Outcome {
    if cell.person(Deed::WithdrawWriting).await.is_err() {
        cell.front().on(On::Write, Fault::Says(403));
    }
    let wrote = announce(cell).await?;
    let not_allowed = [Trouble::Forbidden, Trouble::Unauthorized];
    // Not every intake has a word for it: to some it is a refusal like any other.
    let told = match &wrote {
        Wrote::NotApplied(why) => trouble(why, &not_allowed),
        other => *other == Wrote::Refused,
    };
    ensure!(told, wrote);
    let truth = cell.truth().await;
    ensure!(untouched(&truth), truth);
    Ok(Verdict::Passes)
}

async fn moved(cell: &Cell) -> Outcome {
    if let Some(why) = cell.front().never(&Fault::Elsewhere) {
        return nothing(why);
    }
    cell.front().on(On::Write, Fault::Elsewhere);
    let wrote = announce(cell).await?;
    ensure!(matches!(wrote, Wrote::Unknown(_) | Wrote::NotApplied(_)), wrote);
    ensure!(!cell.front().was_followed(), "followed");
    let truth = cell.truth().await;
    ensure!(untouched(&truth), truth);
    Ok(Verdict::Passes)
}

async fn archived(cell: &Cell) -> Outcome {
    if let Err(why) = cell.person(Deed::Archive).await {
        return nothing(why);
    }
    let (probe, wrote) = (cell.probe().await, announce(cell).await?);
    ensure!(matches!(probe, Probe::Unfit { .. }), probe);
    ensure!(matches!(wrote, Wrote::Refused | Wrote::NotApplied(_)), wrote);
    let truth = cell.truth().await;
    ensure!(untouched(&truth), truth);
    Ok(Verdict::Passes)
}

/// What nobody does to this intake; whoever can do it needs a case of its own here.
async fn unheard_of(cell: &Cell, deed: Deed) -> Outcome {
    match cell.person(deed).await {
        Err(why) => nothing(why),
        Ok(()) => Err(format!("{deed:?} has no case for an intake that cannot be asked")),
    }
}
