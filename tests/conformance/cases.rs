//! The cases, in the order of the table's rows. Each gets a cell of its own and says whether the roles' promises are kept.

use super::cell::{Cell, Outcome, Saw, Verdict, Wrote};
use super::faults::*;
use super::people::*;
use super::subject::{Deed, Truth};
use futures::future::BoxFuture;
use releaseclosure::closure::ids::System;
use releaseclosure::closure::snapshot::{Trouble, Unreachable};
use releaseclosure::roles::{Concurrency, Probe};

/// Plays a case in a cell.
pub type Play = for<'a> fn(&'a mut Cell) -> BoxFuture<'a, Outcome>;

/// Fails the case, with what was seen.
macro_rules! ensure {
    ($holds:expr, $($seen:expr),+ $(,)?) => {
        if !$holds {
            let mut seen = format!("not so: {}", stringify!($holds));
            $(seen.push_str(&format!("; {} = {:?}", stringify!($seen), $seen));)+
            return Err(seen);
        }
    };
}
pub(crate) use ensure;

/// The cases, by name.
macro_rules! cases {
    ($($name:literal $case:ident;)*) => {
        /// All of them.
        pub const CASES: &[(&str, Play)] = &[$(($name, |cell| Box::pin($case(cell)))),*];
    };
}

cases! {
    "is read, and changed once" clean;
    "the same write again" again;
    "the same write twice at once" at_once;
    "the request is lost" request_lost;
    "the reply is lost" reply_lost;
    "done, but answered with a 500" error_after;
    "the reply comes too late" slow;
    "a 503" unavailable;
    "a 429 with Retry-After" busy;
    "a 409 of its own" conflict;
    "a 412 of its own" precondition;
    "a web page instead of an answer" page;
    "garbage, or half a reply" garbage;
    "an old reply after the write" stale;
    "somebody writes words before the change" edited;
    "somebody writes words at the moment of the change" edited_at_the_moment;
    "somebody does it by hand before the change" done_by_hand;
    "somebody does it by hand at the moment of the change" done_by_hand_at_the_moment;
    "the milestone is renamed before the change" renamed;
    "the milestone is renamed at the moment of the change" renamed_at_the_moment;
    "two records of one release" duplicates;
    "no record" missing;
    "the record is removed before the change" removed;
    "more than one page of records" crowd;
    "a wrong token" wrong_token;
    "a revoked token" revoked;
    "no permission to write" no_writing;
    "no permission to read" no_reading;
    "moved (301)" moved;
    "archived" archived;
    "locked" locked;
}

/// Why a case of writing is none.
pub const UNWRITTEN: &str = "the role is only read";

/// There is no such thing.
pub fn nothing(why: &str) -> Outcome {
    Ok(Verdict::NoSuchThing(why.to_owned()))
}

/// The product cannot.
pub fn cannot(why: &str) -> Outcome {
    Ok(Verdict::Cannot(why.to_owned()))
}

/// What is true before anything of ours is done.
pub fn untouched(truth: &Truth) -> bool {
    !truth.done && truth.marks == 0 && truth.words
}

/// What is true when it was done once, by us, and nothing else was.
pub fn done_once(truth: &Truth) -> bool {
    truth.done && truth.marks == 1 && truth.words
}

/// Whether it is one of these.
pub fn trouble(why: &Unreachable, troubles: &[Trouble]) -> bool {
    troubles.contains(&why.trouble)
}

/// Reads, writes and reads again; all must be well.
pub async fn finish(cell: &Cell) -> Result<(), String> {
    let look = cell.must_read().await?;
    let order = cell.order(&look)?;
    let wrote = cell.write(order).await;
    ensure!(matches!(&wrote, Wrote::Answered(look) if look.done && cell.shows_ours(&look.marking)), wrote);
    let after = cell.must_read().await?;
    ensure!(after.done && cell.shows_ours(&after.marking), after);
    let truth = cell.truth().await;
    ensure!(done_once(&truth), truth);
    Ok(())
}

/// Read, changed once, and read again.
pub async fn clean(cell: &mut Cell) -> Outcome {
    let found = cell.find().await;
    let probe = cell.probe().await;
    ensure!(probe == Probe::Ready, probe);
    if cell.part.system == System::Intake {
        ensure!(found == Saw::Missing, found);
    } else {
        let read = cell.read().await;
        ensure!(matches!(&found, Saw::Found(look) if !look.done) && found == read, found, read);
        if let Saw::Found(look) = &found {
            cell.agrees(look)?;
        }
    }
    if !cell.writes() {
        ensure!(cell.front().changes() == 0, cell.front().changes());
        return Ok(Verdict::Passes);
    }
    finish(cell).await?;
    ensure!(cell.front().changes() == 1, cell.front().changes());
    Ok(Verdict::Passes)
}

/// The order is one of the first look, as a process would have it that died and came again.
async fn again(cell: &mut Cell) -> Outcome {
    if !cell.writes() {
        return nothing(UNWRITTEN);
    }
    let look = cell.must_read().await?;
    let (first, second) = (cell.order(&look)?, cell.order(&look)?);
    let wrote = cell.write(first).await;
    ensure!(matches!(wrote, Wrote::Answered(_)), wrote);
    let wrote = cell.write(second).await;
    let truth = cell.truth().await;
    ensure!(done_once(&truth), wrote, truth);
    let told_apart = matches!(wrote, Wrote::Conflict | Wrote::Refused | Wrote::Answered(_));
    ensure!(told_apart, wrote);
    Ok(Verdict::Passes)
}

/// Two processes that both believe to be the leader.
async fn at_once(cell: &mut Cell) -> Outcome {
    if !cell.writes() {
        return nothing(UNWRITTEN);
    }
    let look = cell.must_read().await?;
    let (first, second) = (cell.order(&look)?, cell.order(&look)?);
    let wrote = futures::join!(cell.write(first), cell.write(second));
    let truth = cell.truth().await;
    let after = cell.must_read().await?;
    ensure!(after.done && cell.shows_ours(&after.marking), after);
    if cell.place.adds() {
        // Who comes first decides whether the other one still sees it.
        ensure!(truth.done && truth.words && (1..=2).contains(&truth.marks), wrote, truth);
        ensure!(cell.concurrency() == Some(Concurrency::ReadVerifyWrite), cell.concurrency());
        return cannot(
            "it takes no precondition, so that both may be done; the status says `concurrency: ReadVerifyWrite`",
        );
    }
    ensure!(done_once(&truth), wrote, truth);
    if cell.concurrency() == Some(Concurrency::CompareAndSwap) {
        ensure!(cell.front().changes() == 1, wrote, cell.front().changes());
    }
    Ok(Verdict::Passes)
}

async fn duplicates(cell: &mut Cell) -> Outcome {
    match cell.person(Deed::Duplicate).await {
        Err(why) => nothing(why),
        Ok(()) => {
            let found = cell.find().await;
            ensure!(found == Saw::Ambiguous(2), found);
            Ok(Verdict::Passes)
        }
    }
}

async fn missing(cell: &mut Cell) -> Outcome {
    let none = match cell.part.system {
        System::Archive => "none/rv3",
        System::Intake => "none@none@1",
        _ => "999999",
    };
    let read = cell.look(Some(none)).await;
    ensure!(read == Saw::Missing, read);
    if !matches!(cell.part.system, System::Governance | System::Archive | System::Intake) {
        cell.release.id = "r-none".to_owned();
        let found = cell.find().await;
        ensure!(found == Saw::Missing, found);
    }
    Ok(Verdict::Passes)
}

async fn crowd(cell: &mut Cell) -> Outcome {
    match cell.person(Deed::Crowd).await {
        Err(why) => nothing(why),
        Ok(()) => {
            let (found, read) = (cell.find().await, cell.read().await);
            ensure!(matches!(found, Saw::Found(_)) && found == read, found, read);
            Ok(Verdict::Passes)
        }
    }
}
