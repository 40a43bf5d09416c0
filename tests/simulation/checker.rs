//! What must hold in every world, judged from its log of requests and from its objects alone: nothing of the engine is asked.
//! Here: what may be sent, and after what. The names are those of the properties.

use super::log::{Asked, Doing, Moment, Stored};
use super::plan::{Deed, What};
use super::records::Truth;
use super::world::World;
use releaseclosure::closure::accepted::Recheck;
use releaseclosure::sandbox::Role;
use serde_json::Value;

/// A property that does not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub property: &'static str,
    pub what: String,
}

pub type Verdict = Vec<Broken>;

pub const AUTHORITIES: [Role; 5] = [Role::Governance, Role::Archive, Role::Checklist, Role::Tracker, Role::Queue];
const STEPS: [Role; 4] = [Role::Checklist, Role::Tracker, Role::Tracker, Role::Queue];

pub fn check(world: &World, rested: Option<u64>) -> Verdict {
    let mut verdict = Verdict::new();
    let mut say = |property: &'static str, what: String| verdict.push(Broken { property, what });
    for (index, asked) in world.log.asked.iter().enumerate() {
        only_the_table(asked, &mut say);
        if let Some(step) = asked.step {
            write(world, index, asked, step, &mut say);
        }
    }
    bounded_window(world, &mut say);
    terminal(world, &mut say);
    super::claims::check(world, rested, &mut say);
    verdict
}

/// S10: a method and a path of the table, with the very body that belongs to them.
fn only_the_table(asked: &Asked, say: &mut impl FnMut(&'static str, String)) {
    let (path, query) = asked.target.split_once('?').map_or((asked.target.as_str(), ""), |(path, query)| (path, query));
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let names: Vec<&str> =
        query.split('&').filter_map(|pair| pair.split('=').next()).filter(|name| !name.is_empty()).collect();
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    let keys: Vec<&str> =
        body.as_object().map(|fields| fields.keys().map(String::as_str).collect()).unwrap_or_default();
    let marker = |value: &Value| value["key"].is_string() && value["uid"].is_string();
    let fits = match (asked.method, segments.as_slice(), names.as_slice()) {
        ("GET", ["reviews" | "bundles" | "checklists" | "releases" | "queue-entries" | "handoffs", _], []) => {
            asked.body.is_empty()
        }
        ("GET", ["checklists" | "queue-entries"], ["release", "reviewVersion"]) => asked.body.is_empty(),
        ("GET", ["releases"], ["release"]) => asked.body.is_empty(),
        ("PATCH", ["checklists", _], []) => {
            keys == ["closure", "state"] && body["state"] == "Closed" && marker(&body["closure"])
        }
        ("PATCH", ["queue-entries", _], []) => {
            keys == ["closure", "state"] && body["state"] == "Cleared" && marker(&body["closure"])
        }
        ("PATCH", ["releases", _], []) if asked.step == Some(2) => keys == ["evidence"],
        ("PATCH", ["releases", _], []) => {
            keys == ["closure", "state"] && body["state"] == "Approved" && marker(&body["closure"])
        }
        ("POST", ["handoffs"], []) => {
            let known = ["closureKey", "coordinator", "links", "releaseId", "reviewVersion", "service"];
            keys.iter().all(|key| known.contains(key)) && asked.key.as_deref() == body["closureKey"].as_str()
        }
        _ => false,
    };
    if !fits {
        say("S10 forbidden verbs", format!("{} {}", asked.method, asked.target));
    }
}

/// What a pass had seen of a role when something happened: the reply that it heard last.
fn seen(world: &World, pass: usize, role: Role, before: Moment) -> Option<&Asked> {
    let heard = |asked: &&Asked| asked.seen().and(asked.heard).map(|(at, ..)| at).filter(|at| *at < before);
    let of = world.log.asked.iter().filter(|asked| asked.pass == pass && asked.role == role && asked.record.is_some());
    of.filter(|asked| heard(asked).is_some()).max_by_key(|asked| heard(asked))
}

fn write(world: &World, index: usize, asked: &Asked, step: usize, say: &mut impl FnMut(&'static str, String)) {
    let pass = &world.log.passes[asked.pass];
    let truth = &world.truths[world.cluster.objects[pass.object].truth];
    let place = || format!("request {index}, step {} of {}", step + 1, truth.key);
    // S8: nothing is written for an object whose watch has told by then that it is gone or has changed.
    if asked.overtaken {
        say("S8 terminal absorbs", format!("{}: the object was gone or had changed", place()));
    }
    // S1: all five were read in this pass, and what was seen last agrees.
    for role in AUTHORITIES {
        match seen(world, asked.pass, role, asked.sent).and_then(Asked::seen) {
            None => say("S1 validate before write", format!("{}: {role} was not seen in its pass", place())),
            Some((shown, _)) if !truth.agrees(role, shown) => {
                say("S1 validate before write", format!("{}: {role} did not agree", place()));
            }
            Some(_) => {}
        }
    }
    // S4: what comes before is done, as this pass has seen it.
    for (earlier, role) in STEPS.iter().enumerate().take(step) {
        let done = seen(world, asked.pass, *role, asked.sent).and_then(Asked::seen);
        if !done.is_some_and(|(shown, _)| truth.is_done(earlier, shown)) {
            say("S4 order", format!("{}: step {} was not seen done", place(), earlier + 1));
        }
    }
    fresh(world, asked, step, &place, say);
    match step {
        4 => announcement(world, asked, truth, &place, say),
        _ => change(world, asked, step, truth, &place, say),
    }
}

/// What must be looked at again right before a write: after every effect of this pass, other than by the reply to the last one.
fn fresh(
    world: &World,
    asked: &Asked,
    step: usize,
    place: &dyn Fn() -> String,
    say: &mut impl FnMut(&'static str, String),
) {
    let ends = step == 0 || step == 3;
    let source = ends || step == 4 || world.plan.recheck == Recheck::EveryWrite;
    let mine = |other: &&Asked| other.pass == asked.pass && other.step.is_some() && other.sent < asked.sent;
    let last_write = world.log.asked.iter().filter(mine).map(|other| other.sent).max();
    let stored = world.log.stored.iter().filter(|stored| stored.pass == asked.pass && stored.at < asked.sent);
    let last = last_write.max(stored.map(|stored| stored.at).max());
    for (role, wanted) in [(Role::Governance, source), (Role::Archive, ends), (Role::Tracker, ends)] {
        let look = seen(world, asked.pass, role, asked.sent);
        let old = look.is_some_and(|look| last.is_some_and(|last| look.sent < last && Some(look.sent) != last_write));
        if wanted && old {
            say("S2 re-check", format!("{}: the look at {role} is older than the last effect", place()));
        }
    }
}

/// S6: a change names the revision that its pass has seen, and leaves alone what is not its own.
fn change(
    world: &World,
    asked: &Asked,
    step: usize,
    truth: &Truth,
    place: &dyn Fn() -> String,
    say: &mut impl FnMut(&'static str, String),
) {
    let revision = seen(world, asked.pass, asked.role, asked.sent).and_then(Asked::seen).map(|(_, revision)| *revision);
    let named = asked.if_match.as_deref().and_then(|tag| tag.trim_matches('"').parse().ok());
    if named.is_none() || named != revision {
        say("S6 no clobber", format!("{}: If-Match is {:?} and {revision:?} was seen", place(), asked.if_match));
    }
    if asked.record.as_deref() != Some(truth.id(asked.role)) {
        say("S6 no clobber", format!("{}: another record, {:?}", place(), asked.record));
    }
    let (true, Some((before, _)), Some((after, _))) = (asked.applied, &asked.before, &asked.after) else { return };
    let own: &[&str] = if step == 2 { &["evidence"] } else { &["state", "closure"] };
    let marks = world.plan.markers[[0, 1, 1, 2][step]];
    let (before, after) = (&worn(before, marks), &worn(after, marks));
    let (mut was, mut is) = (before.clone(), after.clone());
    for field in own {
        was[*field] = Value::Null;
        is[*field] = Value::Null;
    }
    let links = |value: &Value| value["evidence"].as_array().map_or(0, Vec::len);
    let kept = before["evidence"]
        .as_array()
        .into_iter()
        .flatten()
        .all(|link| after["evidence"].as_array().is_some_and(|links| links.contains(link)));
    if was != is || !kept || (step == 2 && links(after) != links(before) + 1) {
        say("S6 no clobber", format!("{}: it changed more than its own", place()));
    }
    let object = &world.cluster.objects[world.log.passes[asked.pass].object];
    if marks && truth.marker(step, after) != Some(object.uid.as_str()) {
        say("S5 exact attribution", format!("{}: its marker is not on the record", place()));
    }
}

/// A record as its system shows it: without markers where it keeps none.
fn worn(value: &Value, marks: bool) -> Value {
    let mut value = value.clone();
    if !marks {
        value["closure"] = Value::Null;
        for link in value["evidence"].as_array_mut().into_iter().flatten() {
            link["closure"] = Value::Null;
        }
    }
    value
}

/// The intent is stored before an announcement, which says what was accepted.
fn announcement(
    world: &World,
    asked: &Asked,
    truth: &Truth,
    place: &dyn Fn() -> String,
    say: &mut impl FnMut(&'static str, String),
) {
    let object = world.log.passes[asked.pass].object;
    let stored = world.log.stored.iter().rfind(|stored| stored.object == object && stored.at < asked.sent);
    let two = world.plan.has(|what| matches!(what, What::SecondHost { .. }));
    let mut before = world.log.stored.iter().filter(|stored| stored.object == object && stored.at < asked.sent);
    let is_intended =
        |stored: &Stored| stored.status.steps.get(4).is_some_and(|step| step.outcome.as_str() == "Intended");
    // Of two replicas the other may have gone on since.
    if !(if two { before.any(is_intended) } else { stored.is_some_and(is_intended) }) {
        say("S3 intent before announcement", place());
    }
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    let links = body["links"].as_array().map(|links| links.iter().map(|link| link["url"].clone()).collect::<Vec<_>>());
    if body["closureKey"] != *truth.key || links != Some(vec![Value::from(truth.url.as_str())]) {
        say("S11 complete trace", format!("{}: it says something else: {body}", place()));
    }
    let halted = stored.is_some_and(|stored| stored.status.halt.is_some());
    if halted && !two {
        say("S9 nothing announced while halted", place());
    }
}

/// S2: after the source is accepted no more, each process sends at most one write more for an object.
fn bounded_window(world: &World, say: &mut impl FnMut(&'static str, String)) {
    if world.plan.recheck != Recheck::EveryWrite {
        return;
    }
    let leaves =
        |deed: &Deed| matches!(deed, Deed::Reopen | Deed::NewVersion | Deed::OtherEvent | Deed::GovernanceMilestone);
    let of = |truth: usize| world.log.deeds.iter().filter(move |done| done.truth == truth);
    for truth in 0..world.truths.len() {
        for left in of(truth).filter(|done| matches!(&done.what, Doing::Deed(deed) if leaves(deed))) {
            let back = of(truth).find(|done| {
                done.at > left.at && (matches!(&done.what, Doing::Deed(Deed::Reaccept) | Doing::Resolve { .. }))
            });
            let mut late: Vec<(usize, u32, usize)> = Vec::new();
            for asked in world.log.asked.iter().filter(|asked| asked.step.is_some() && asked.sent > left.at) {
                let object = world.log.passes[asked.pass].object;
                let stale = seen(world, asked.pass, Role::Governance, asked.sent).is_some_and(|look| look.stale);
                if world.cluster.objects[object].truth == truth
                    && back.is_none_or(|back| asked.sent < back.at)
                    && !stale
                {
                    late.push((asked.host, asked.life, object));
                }
            }
            late.sort_unstable();
            for pair in late.windows(2).filter(|pair| pair[0] == pair[1]) {
                say("S2 bounded window", format!("{} by process {}.{}", world.truths[truth].key, pair[0].0, pair[0].1));
            }
        }
    }
}

/// S8: a pass that began after a halt or the end was stored asks no system anything.
fn terminal(world: &World, say: &mut impl FnMut(&'static str, String)) {
    for (index, asked) in world.log.asked.iter().enumerate() {
        let pass = &world.log.passes[asked.pass];
        let stored = world.log.stored.iter().rfind(|stored| stored.object == pass.object && stored.at < pass.started);
        if stored.is_some_and(|stored| stored.status.halt.is_some() || stored.status.completion_time.is_some()) {
            say("S8 terminal absorbs", format!("request {index} of a pass over a halted or finished object"));
        }
    }
}
