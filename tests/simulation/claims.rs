//! What the objects claim, against what the log shows: attribution, traces, ends; and that worlds come to rest.

use super::host::{INITIAL, MAX};
use super::log::{Asked, Doing, Stored};
use super::plan::{CALM, Deed, What};
use super::world::World;
use releaseclosure::closure::decide::Delivery;
use releaseclosure::closure::ledger::{Check, Decision, Outcome, StepRecord};
use releaseclosure::closure::reason::Reason;
use releaseclosure::closure::trace;
use releaseclosure::people;
use releaseclosure::sandbox::{Effect, Role};

const STEPS: [Role; 4] = [Role::Checklist, Role::Tracker, Role::Tracker, Role::Queue];

/// More passes than this over one object are a loop: two minutes of faults and an hour of pauses of up to a minute.
const PASSES_MAX: usize = 200;

pub fn check(world: &World, rested: Option<u64>, say: &mut impl FnMut(&'static str, String)) {
    at_most_once(world, say);
    for object in 0..world.cluster.objects.len() {
        let history: Vec<&Stored> = world.log.stored.iter().filter(|stored| stored.object == object).collect();
        monotone(world, &history, say);
        history.iter().for_each(|stored| remembered(world, stored, say));
        for (position, stored) in history.iter().enumerate() {
            if stored.status.halt.is_some() && (position == 0 || history[position - 1].status.halt.is_none()) {
                justified(world, stored, say);
            }
        }
        if let Some(last) = history.last()
            && last.status.completion_time.is_some()
        {
            finished(world, last, say);
        }
    }
    left_alone(world, say);
    pauses(world, say);
    rests(world, rested, say);
}

/// S3: one effect per key, over all objects, processes and re-creations.
fn at_most_once(world: &World, say: &mut impl FnMut(&'static str, String)) {
    let deliveries = world.sandbox.deliveries();
    for truth in &world.truths {
        let count = deliveries.iter().filter(|delivery| delivery.key == truth.key).count();
        // Where a system said that it did what it did not, and an intake can neither tell keys nor be asked, nobody can know.
        let of_key = |asked: &&Asked| {
            world.truths[world.cluster.objects[world.log.passes[asked.pass].object].truth].key == truth.key
        };
        let lied = world.log.asked.iter().filter(of_key).any(|asked| asked.effect == Effect::Lie);
        if count > 1 && !(lied && world.plan.delivery == Delivery::None) {
            say("S3 at most once", format!("{} was announced {count} times", truth.key));
        }
    }
}

/// S12, and L5's part on statuses: a settled step stays as it is, generations do not go back, and no status is written for a
/// time alone.
fn monotone(world: &World, history: &[&Stored], say: &mut impl FnMut(&'static str, String)) {
    for pair in history.windows(2) {
        let (before, after) = (&pair[0].status, &pair[1].status);
        for (was, is) in before.steps.iter().zip(&after.steps) {
            if was.outcome.is_settled() && was.outcome != is.outcome {
                say(
                    "S12 monotone",
                    format!("{} went from {} to {}", was.name, was.outcome.as_str(), is.outcome.as_str()),
                );
            }
        }
        if after.observed_generation < before.observed_generation {
            say("S12 monotone", "observedGeneration went back".to_owned());
        }
        if before.completion_time.is_some() {
            say("S8 terminal absorbs", "a status was written on a finished object".to_owned());
        }
        let waits = |stored: &Stored| {
            let status = &stored.status;
            let reasons =
                status.conditions.iter().map(|condition| (condition.reason.clone(), condition.message.clone()));
            let waiting = status.retry.as_ref().map(|retry| (retry.waiting_for.clone(), retry.missing_since.len()));
            let steps: Vec<_> = status.steps.iter().map(|step| (step.outcome, step.record.clone())).collect();
            (
                waiting,
                steps,
                status.alignment.as_ref().map(|alignment| alignment.digest.clone()),
                reasons.collect::<Vec<_>>(),
                status.observed_generation,
                status.episode,
                status.halts.len(),
            )
        };
        let clock = world.plan.has(|what| matches!(what, What::Clock { .. }));
        if after.retry.is_some() && waits(pair[0]) == waits(pair[1]) && !clock {
            let at = pair[1].at.1;
            let name = &world.cluster.objects[pair[1].object].uid;
            say("L5 bounded retry", format!("{name} was written at {at} ms to say nothing new"));
        }
    }
}

/// S11: what a process stores holds every change of its pass that was acknowledged until then.
fn remembered(world: &World, stored: &Stored, say: &mut impl FnMut(&'static str, String)) {
    let mine = world.log.asked.iter().filter(|asked| asked.pass == stored.pass && asked.effect == Effect::Apply);
    for asked in mine {
        let (Some(step), Some((heard, ..))) = (asked.step, asked.heard) else { continue };
        let acknowledged = asked.applied && asked.status().is_some_and(|status| (200..300).contains(&status));
        let settled = stored.status.steps.get(step).is_some_and(|it| it.outcome.is_settled());
        if acknowledged && heard < stored.at && !settled {
            let name = &world.cluster.objects[stored.object].uid;
            say("S11 complete trace", format!("{name}: step {} was acknowledged, and stored as open", step + 1));
        }
    }
}

/// L2: a halt has something in the log that a person would halt for.
fn justified(world: &World, stored: &Stored, say: &mut impl FnMut(&'static str, String)) {
    let object = &world.cluster.objects[stored.object];
    let truth = &world.truths[object.truth];
    let Some(halt) = &stored.status.halt else { return };
    // One that was taken over from another object is justified there.
    let elsewhere = |other: &Stored| other.object != stored.object && other.at < stored.at;
    let of = |other: &Stored| other.status.halt.as_ref().is_some_and(|other| other.id == halt.id);
    if world.log.stored.iter().any(|other| elsewhere(other) && of(other)) {
        return;
    }
    // Of two replicas one may have stored it on a status that the other had changed: then its packet alone is there at first.
    let handed = world.log.handed.iter().find(|(at, id, _)| *id == halt.id && *at < stored.at);
    let pass = handed.map_or(stored.pass, |(.., pass)| *pass);
    let mine = || world.log.asked.iter().filter(move |asked| asked.pass == pass);
    for finding in &halt.findings {
        let role = Role::from_name(finding.system.as_str()).expect("a role");
        let holds = match finding.check {
            Check::Notification => {
                let unanswered = mine().all(|asked| {
                    asked.role != Role::Intake || asked.status().is_none_or(|status| status != 200 && status != 404)
                });
                let none = world.plan.delivery == Delivery::None;
                (none || unanswered) && !is_known_to_have_arrived(world, stored)
            }
            Check::Write if finding.reason == Reason::WriteIneffective => {
                let silent = |asked: &Asked| asked.role == role && (asked.stale || asked.effect != Effect::Apply);
                world.log.asked.iter().any(silent)
            }
            Check::Write => mine().any(|asked| {
                asked.role == role
                    && asked.step.is_some()
                    && asked.status().is_some_and(|status| matches!(status, 400 | 422))
            }),
            _ => {
                let gone = mine().any(|asked| {
                    asked.role == role
                        && !asked.target.contains("-probe")
                        && (asked.status() == Some(404) || asked.listed.is_some_and(|count| count != 1))
                });
                let other = mine().filter(|asked| asked.role == role).filter_map(Asked::seen).any(|(shown, _)| {
                    let undone = || {
                        let of = (0..4).filter(|step| STEPS[*step] == role);
                        of.into_iter().any(|step| !truth.is_done(step, shown))
                    };
                    !truth.agrees(role, shown) || (finding.check == Check::C15 && undone())
                });
                let stale = finding.check == Check::C15 && mine().any(|asked| asked.role == role && asked.stale);
                let undone = finding.check != Check::C15 || was_undone(world, object.truth, role);
                let conflict = mine().any(|asked| asked.step == Some(4) && asked.status() == Some(409));
                (gone || other || conflict) && (undone || !stale)
            }
        };
        if !holds {
            say(
                "L2 no false halt",
                format!("{} halted at {} ms for {} in {role}", object.uid, stored.at.1, finding.reason),
            );
        }
    }
}

/// Whether this object's announcement was acknowledged before, to a process that lived to store that.
fn is_known_to_have_arrived(world: &World, halted: &Stored) -> bool {
    let loses = |what: &What| {
        matches!(what, What::Crash(_) | What::StoreFails { .. } | What::ReadFails { .. } | What::SecondHost { .. })
    };
    let acknowledged = world.log.asked.iter().any(|asked| {
        asked.step == Some(4)
            && asked.status().is_some_and(|status| (200..300).contains(&status))
            && asked.sent < halted.at
            && world.log.passes[asked.pass].object == halted.object
    });
    acknowledged && !world.plan.has(loses)
}

/// Whether people undid something on a system, or a system said that something was done that was not.
fn was_undone(world: &World, truth: usize, role: Role) -> bool {
    let undoes = |deed: &Deed| match deed {
        Deed::Undo(step) => STEPS[usize::from(*step)] == role,
        Deed::OddChecklist | Deed::OddTracker | Deed::OddQueue => true,
        _ => false,
    };
    let people = world.log.deeds.iter().any(|done| {
        done.truth == truth
            && match &done.what {
                Doing::Deed(deed) => undoes(deed),
                Doing::Resolve { .. } | Doing::Recreate => true,
            }
    });
    people || world.log.asked.iter().any(|asked| asked.role == role && asked.effect == Effect::Lie)
}

/// S5, S7 and S11 on a finished object.
fn finished(world: &World, last: &Stored, say: &mut impl FnMut(&'static str, String)) {
    let object = &world.cluster.objects[last.object];
    let (_, ledger) = last.status.as_ref().clone().split();
    if let Err(broken) = trace::verify(&object.accepted, &object.uid, &ledger) {
        say("S11 complete trace", format!("{}: {broken}", object.uid));
    }
    if let Err(why) = people::ending(&last.status) {
        say("S11 complete trace", format!("{}: {why}", object.uid));
    }
    let given_up = ledger.is_given_up();
    for (step, record) in ledger.steps.iter().enumerate() {
        if !record.outcome.is_settled() {
            if !given_up {
                say("S7 no early completion", format!("{} is finished and {} is not", object.uid, record.name));
            }
            continue;
        }
        let mut differs = |why: &str| say("S11 complete trace", format!("{}, {}: {why}", object.uid, record.name));
        if step == 4 {
            handoff(world, last, record, &mut differs);
        } else {
            changed(world, last, step, record, &mut differs);
        }
    }
    // Each halt that was released was stored before, and is told as it was: on this object, or, where it was given up by the
    // packet of another one, on that.
    for past in &ledger.halts {
        let of = |stored: &&Stored| {
            let same_key = world.cluster.objects[stored.object].truth == object.truth;
            stored.object == last.object || past.decision == Decision::Abandon && same_key
        };
        let latched = world.log.stored.iter().filter(of).any(|stored| {
            let halt = stored.status.halt.as_ref();
            halt.is_some_and(|halt| halt.id == past.id && halt.cause == past.cause && halt.at == past.at)
        });
        if !latched {
            say("S11 complete trace", format!("{}: halt {} was never stored", object.uid, past.id));
        }
    }
    let event = ledger.alignment.as_ref().map(|alignment| alignment.accepted_event.as_str());
    if event.is_some_and(|event| event != object.accepted.review().accepted_event.id) {
        say("S11 complete trace", format!("{}: another event, {event:?}", object.uid));
    }
}

fn revision(text: &str) -> Option<u64> {
    text.trim_matches('"').parse().ok()
}

/// A step on a record: who did it, on which revision, and what it was before and after.
fn changed(world: &World, last: &Stored, step: usize, record: &StepRecord, differs: &mut impl FnMut(&str)) {
    let object = &world.cluster.objects[last.object];
    let truth = &world.truths[object.truth];
    let role = STEPS[step];
    let pass = |asked: &Asked| world.log.passes[asked.pass].object;
    let own = |asked: &&Asked| asked.step == Some(step) && pass(asked) == last.object;
    let applied: Vec<&Asked> = world.log.asked.iter().filter(own).filter(|asked| asked.applied).collect();
    let lied = world.log.asked.iter().filter(own).any(|asked| asked.effect == Effect::Lie);
    if record.record.as_deref() != Some(truth.id(role)) {
        differs(&format!("the record is {:?}", record.record));
    }
    if lied {
        return;
    }
    let marks = world.plan.markers[[0, 1, 1, 2][step]];
    let before = record.before.as_ref().and_then(|at| revision(&at.revision));
    let after = record.after.as_ref().and_then(|at| revision(&at.revision));
    match record.outcome {
        Outcome::Changed => {
            if applied.is_empty() {
                differs("Changed, and no write of this object took effect");
            }
            let fits = |asked: &&Asked| asked.before.as_ref().map(|(_, revision)| *revision) == before;
            if before.is_some() && !applied.iter().any(fits) {
                differs(&format!("no write found revision {before:?}"));
            }
            let gave = |asked: &&Asked| {
                asked.before.as_ref().map(|at| at.1) == before && asked.after.as_ref().map(|at| at.1) == after
            };
            if before.is_some() && !applied.iter().any(gave) {
                differs(&format!("no write went from revision {before:?} to {after:?}"));
            }
        }
        Outcome::AlreadyDone if !marks => differs("AlreadyDone, where there are no markers"),
        Outcome::AlreadyDone | Outcome::Unconfirmed => {
            let at = last.at;
            let settled = world.log.stored.iter().find(|stored| {
                stored.object == last.object && stored.status.steps.get(step).is_some_and(|it| it.outcome.is_settled())
            });
            let until = settled.map_or(at, |stored| stored.at);
            // A write that took effect left its marker, unless people did away with it.
            let people = world.log.deeds.iter().any(|done| done.truth == object.truth);
            let ours = applied.iter().any(|asked| asked.served.is_some_and(|served| served < until));
            if ours && marks && !people {
                differs("not Changed, and a write of this object took effect");
            }
            if marks && record.outcome == Outcome::Unconfirmed {
                differs("Unconfirmed, where there are markers");
            }
            if record.before.is_some() {
                differs("it names what it was before, and was not changed");
            }
        }
        Outcome::Pending | Outcome::Intended => {}
    }
    // It was done at the revision that the trace names, as some pass over this object has seen it.
    let seen =
        world.log.asked.iter().filter(|asked| asked.role == role && pass(asked) == last.object).filter_map(Asked::seen);
    let mut done = seen.filter(|(shown, revision)| Some(*revision) == after && truth.is_done(step, shown));
    if done.next().is_none() {
        differs(&format!("nobody saw it done at revision {after:?}"));
    }
}

/// The announcement: acknowledged, or a person's word.
fn handoff(world: &World, last: &Stored, record: &StepRecord, differs: &mut impl FnMut(&str)) {
    let object = &world.cluster.objects[last.object];
    let key = &world.truths[object.truth].key;
    let mine = || {
        world
            .log
            .asked
            .iter()
            .filter(|asked| world.log.passes[asked.pass].object == last.object && asked.role == Role::Intake)
    };
    let acknowledged = |codes: &[u16]| mine().any(|asked| asked.status().is_some_and(|status| codes.contains(&status)));
    let word = last.status.halts.iter().any(|halt| halt.handoff.is_some());
    let lied = mine().any(|asked| asked.effect != Effect::Apply);
    // On a person's word there need not have been an intent of this object.
    let named = [&record.record, &record.reference].into_iter().flatten().all(|named| named == key);
    if !named || (record.record.is_none() && record.reference.is_none() && !word) {
        differs("another key");
    }
    let there = world.sandbox.deliveries().iter().any(|delivery| delivery.key == *key);
    if !there && !lied {
        differs("it is finished, and the intake has nothing");
    }
    match record.outcome {
        Outcome::Changed if !acknowledged(&[201]) => differs("Changed, and no 201 was heard"),
        Outcome::AlreadyDone | Outcome::Unconfirmed if !acknowledged(&[200]) && !word => {
            differs("no 200 was heard, and nobody said so")
        }
        _ => {}
    }
}

/// L5: a system that says how long it wants to be left alone is not asked before, by the process that heard it.
fn left_alone(world: &World, say: &mut impl FnMut(&'static str, String)) {
    for asked in &world.log.asked {
        let (Some((heard, ..)), Some(seconds)) = (asked.heard, asked.hold) else { continue };
        let same = |other: &&Asked| (other.host, other.life, other.role) == (asked.host, asked.life, asked.role);
        let early = |other: &&Asked| other.sent > heard && other.sent.1 < heard.1 + 1_000 * seconds;
        if let Some(other) = world.log.asked.iter().filter(same).find(early) {
            let (role, after) = (asked.role, other.sent.1 - heard.1);
            say("L5 bounded retry", format!("{role} asked for {seconds} s, and was asked again after {after} ms"));
        }
    }
}

/// L5: of tries that come to nothing each leaves twice the time to the next, up to the longest pause; jitter takes a quarter
/// at most. Only where something has changed is an object looked at sooner. Of two replicas one may have come on by what the
/// other stored, which then is no news.
fn pauses(world: &World, say: &mut impl FnMut(&'static str, String)) {
    if world.plan.has(|what| matches!(what, What::SecondHost { .. })) {
        return;
    }
    let mut passes: Vec<usize> = (0..world.log.passes.len()).collect();
    let process = |pass: &usize| {
        let entry = &world.log.passes[*pass];
        (entry.host, entry.life, entry.object)
    };
    passes.sort_by_key(process);
    let settled = |stored: &Stored| stored.status.steps.iter().filter(|step| step.outcome.is_settled()).count();
    for passes in passes.chunk_by(|one, other| process(one) == process(other)) {
        let (host, _, object) = process(&passes[0]);
        let truth = world.cluster.objects[object].truth;
        let (mut tries, mut before) = (0_u32, (0, 0));
        for pair in passes.windows(2) {
            let (pass, next) = (&world.log.passes[pair[0]], &world.log.passes[pair[1]]);
            let Some((ended, why)) = pass.ended else { continue };
            let mut history = world.log.stored.iter().filter(|stored| stored.object == object && stored.at < ended);
            let last = history.next_back().filter(|stored| stored.pass == pair[0]).map_or(0, settled);
            let progressed = last > history.next_back().map_or(0, settled);
            // Reasons are those of waits and halts; all else has pauses of its own.
            let waits = why.bytes().all(|byte| byte.is_ascii_alphabetic()) && why.starts_with(char::is_uppercase);
            tries = if !waits || progressed { u32::from(waits) } else { tries + 1 };
            let since = before;
            let woken = |at: &(u64, u64)| *at > since && *at < next.started;
            if tries > 0 && !world.log.woken.iter().any(|(at, on, of)| (*on, *of) == (host, truth) && woken(at)) {
                let plain = INITIAL.saturating_mul(1 << (tries - 1).min(20)).min(MAX).as_millis() as u64;
                let pause = next.started.1 - ended.1;
                if pause < plain * 3 / 4 {
                    let name = &world.cluster.objects[object].uid;
                    say("L5 bounded retry", format!("{name} was tried again {pause} ms after try {tries}, for {why}"));
                }
            }
            before = if matches!(why, "superseded" | "resumed" | "conflict") { before } else { ended };
        }
    }
}

/// L1 and L3: every world comes to rest, all its objects finished, and then nothing happens any more.
fn rests(world: &World, rested: Option<u64>, say: &mut impl FnMut(&'static str, String)) {
    let Some(rested) = rested else {
        let open = world.cluster.living().filter(|(_, object)| object.status.completion_time.is_none());
        let names: Vec<String> = open
            .map(|(_, object)| {
                let why = object
                    .status
                    .conditions
                    .iter()
                    .map(|condition| condition.reason.as_str())
                    .take(2)
                    .collect::<Vec<_>>()
                    .join(", ");
                format!("{} ({why})", object.uid)
            })
            .collect();
        return say("L1 always ends", format!("not finished an hour after the last fault: {}", names.join("; ")));
    };
    // L5: whatever stands against a write is no reason to ask the systems over and over.
    for (object, known) in world.cluster.objects.iter().enumerate() {
        let passes = world.log.passes.iter().filter(|pass| pass.object == object).count();
        if passes > PASSES_MAX {
            say("L5 bounded retry", format!("{passes} passes over {}", known.uid));
        }
    }
    let late = world.log.asked.iter().filter(|asked| asked.sent.1 > rested).count();
    if late > 0 || world.log.stored.iter().any(|stored| stored.at.1 > rested) {
        say("L3 quiet", format!("{late} requests after everything was finished"));
    }
    // L6: without a halt, and with every system back, the longest pause and what a pass takes is all there is to wait for.
    let plain = !world.plan.has(|what| matches!(what, What::Revoked { .. } | What::Watches { .. }));
    let halted = world.log.stored.iter().any(|stored| stored.status.halt.is_some());
    if plain && !halted && !world.plan.tight && rested > CALM + 200_000 {
        say("L6 resumes by itself", format!("it took {} s", (rested - CALM) / 1000));
    }
}
