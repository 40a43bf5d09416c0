//! A world, told: what it was made of, and its log line by line. The story is the whole of a replay, to the byte.

use super::log::{Asked, Doing};
use super::world::World;
use std::fmt::Write as _;

pub fn tell(world: &World) -> String {
    let mut lines: Vec<(u64, u64, String)> = Vec::new();
    for (index, asked) in world.log.asked.iter().enumerate() {
        let who = format!("{}.{} pass {}", asked.host, asked.life, asked.pass);
        lines.push((asked.sent.0, asked.sent.1, format!("{who} #{index} asks {}", question(asked))));
        if let Some((tick, at)) = asked.served {
            let revisions = [&asked.before, &asked.after].map(|at| at.as_ref().map_or(0, |at| at.1));
            let change = if asked.applied { format!(", {} to {}", revisions[0], revisions[1]) } else { String::new() };
            let odd = format!(
                "{}{}",
                if asked.stale { ", stale" } else { "" },
                if asked.effect == releaseclosure::sandbox::Effect::Apply {
                    String::new()
                } else {
                    format!(", {:?}", asked.effect)
                }
            );
            lines.push((tick, at, format!("    #{index} lands{change}{odd}")));
        }
        if let Some(((tick, at), status, whole)) = asked.heard {
            let shown = asked
                .seen()
                .map(|(value, revision)| format!(" revision {revision} {}", brief(value)))
                .unwrap_or_default();
            let whole = if whole { "" } else { ", spoiled" };
            lines.push((tick, at, format!("{who} #{index} hears {}{whole}{shown}", status.unwrap_or_default())));
        }
    }
    for (index, pass) in world.log.passes.iter().enumerate() {
        let object = &world.cluster.objects[pass.object];
        let who = format!("{}.{} pass {index}", pass.host, pass.life);
        lines.push((
            pass.started.0,
            pass.started.1,
            format!("{who} begins over {} of {}", object.uid, world.truths[object.truth].key),
        ));
        if let Some(((tick, at), how)) = pass.ended {
            lines.push((tick, at, format!("{who} ends: {how}")));
        }
    }
    for stored in &world.log.stored {
        let status = serde_json::to_string(&*stored.status).unwrap_or_default();
        let steps: Vec<&str> = stored.status.steps.iter().map(|step| step.outcome.as_str()).collect();
        let halt = stored.status.halt.as_ref().map(|halt| format!(", halted for {}", halt.cause)).unwrap_or_default();
        let line = format!(
            "{}. pass {} stores {} [{}]{halt}\n{:24}{status}",
            stored.host,
            stored.pass,
            world.cluster.objects[stored.object].uid,
            steps.join(" "),
            ""
        );
        lines.push((stored.at.0, stored.at.1, line));
    }
    for done in &world.log.deeds {
        let what = match &done.what {
            Doing::Deed(deed) => format!("{deed:?}"),
            Doing::Resolve { packet, decision } => format!("answer packet {packet}: {decision}"),
            Doing::Recreate => "delete the object and make it again".to_owned(),
        };
        lines.push((done.at.0, done.at.1, format!("people, of {}: {what}", world.truths[done.truth].key)));
    }
    lines.sort();
    let mut story = format!("{:#?}\n", world.plan);
    for (_, at, line) in lines {
        let _ = writeln!(story, "{at:>9} ms  {line}");
    }
    story
}

fn question(asked: &Asked) -> String {
    let condition = asked.if_match.as_deref().map(|tag| format!(" if {tag}")).unwrap_or_default();
    let body = String::from_utf8_lossy(&asked.body);
    format!("{} {}{condition} {body}", asked.method, asked.target)
}

fn brief(value: &serde_json::Value) -> String {
    let state = value["state"].as_str().unwrap_or("-");
    let marker = value.pointer("/closure/uid").and_then(serde_json::Value::as_str).unwrap_or("-");
    format!("{state} by {marker}")
}
