//! The table of adapter × role × case: played, printed, and compared with `docs/conformance.md`.

use super::cases::{CASES, Play};
use super::cell::{Cell, Outcome, Verdict};
use super::subject::{Adapter, Part, Server};
use futures::StreamExt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const INTRODUCTION: &str = "# What every adapter passes\n\n\
    One suite for all adapters (`cargo test --test conformance`), each against the real product with a fault proxy in front of it.\n\
    In every cell all that was sent is compared with the adapter's allow-list as well, which stands below its table: nothing else\n\
    may have gone out.\n\n\
    `passes`: the role's promises are kept. A letter: **the product cannot**, and the connection's status says so; below the\n\
    table it says why. `·`: there is no such thing in this role or in this product; where that is the product's, a letter\n\
    says why.\n";

/// Plays every case in every part of an adapter, and sees that the documentation says what came of it.
pub async fn conforms(adapter: &dyn Adapter) {
    let Some(server) = adapter.start().await else { return };
    let (server, parts) = (&*server, adapter.parts());
    let cases: Vec<(&str, Play)> = CASES.iter().chain(adapter.own_cases()).copied().collect();
    let wanted = std::env::var("CONFORMANCE_CASE").ok();
    let cells =
        cases.iter().enumerate().filter(|(_, (name, _))| wanted.as_ref().is_none_or(|wanted| name.contains(wanted)));
    let cells =
        cells.flat_map(|(row, case)| parts.iter().enumerate().map(move |(column, part)| (row, column, *part, *case)));
    let played = futures::stream::iter(cells.map(|(row, column, part, case)| async move {
        let number = row * parts_max() + column;
        ((row, column), cell(server, part, number, case).await)
    }));
    let outcomes: BTreeMap<(usize, usize), Outcome> = played.buffer_unordered(adapter.side_by_side()).collect().await;
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|((row, column), outcome)| {
            let why = outcome.as_ref().err()?;
            Some(format!("{}, {}: {why}", parts[*column].title(), cases[*row].0))
        })
        .collect();
    assert!(failed.is_empty(), "{} of {} cells:\n{}", failed.len(), outcomes.len(), failed.join("\n"));
    if wanted.is_none() {
        let section = section(adapter, &parts, &cases, &outcomes);
        println!("{section}");
        compare(adapter.product(), &section);
    }
}

fn parts_max() -> usize {
    super::subject::PARTS.len()
}

/// One cell. Whatever came of it, nothing may have been sent that is not on the allow-list.
async fn cell(server: &dyn Server, part: Part, number: usize, (case, play): (&str, Play)) -> Outcome {
    let place = server.place(part, number).await;
    let mut cell = Cell::new(part, place.clone()).await?;
    let outcome = if cell.is_blind() { super::blind::play(&mut cell, case, play).await } else { play(&mut cell).await };
    place.front().heal();
    let other = place.not_allowed();
    if other.is_empty() { outcome } else { Err(format!("not on the allow-list: {other:?}")) }
}

/// An adapter's part of the documentation.
fn section(
    adapter: &dyn Adapter,
    parts: &[Part],
    cases: &[(&str, Play)],
    outcomes: &BTreeMap<(usize, usize), Outcome>,
) -> String {
    let heads: Vec<String> = parts.iter().map(|part| part.title()).collect();
    let mut notes: Vec<String> = Vec::new();
    let mut rows = String::new();
    for (row, (name, _)) in cases.iter().enumerate() {
        rows.push_str(&format!("| {name} |"));
        for column in 0..parts.len() {
            let word = match &outcomes[&(row, column)] {
                Ok(Verdict::Passes) => "passes".to_owned(),
                Ok(Verdict::Cannot(why)) => {
                    format!("**{}**", letter(&mut notes, &format!("The product cannot: {why}.")))
                }
                Ok(Verdict::NoSuchThing(why)) if why == super::cases::UNWRITTEN => "·".to_owned(),
                Ok(Verdict::NoSuchThing(why)) => format!("· {}", letter(&mut notes, &format!("No such thing: {why}."))),
                Err(why) => why.clone(),
            };
            rows.push_str(&format!(" {word} |"));
        }
        rows.push('\n');
    }
    let notes: String = notes.iter().enumerate().map(|(place, note)| format!("- {} {note}\n", sign(place))).collect();
    let rule = "---|".repeat(parts.len() + 1);
    format!(
        "## {}\n\nAgainst {}.\n\n| case | {} |\n|{rule}\n{rows}\n{notes}\nEverything that it ever sends:\n\n```text\n{}\n```\n",
        adapter.product(),
        adapter.against(),
        heads.join(" | "),
        adapter.sends().join("\n"),
    )
}

/// The letter of a note, which is made where there is none like it.
fn letter(notes: &mut Vec<String>, note: &str) -> String {
    let place = notes.iter().position(|known| known == note).unwrap_or_else(|| {
        notes.push(note.to_owned());
        notes.len() - 1
    });
    sign(place)
}

fn sign(place: usize) -> String {
    let letter = u8::try_from(place).ok().and_then(|place| b'a'.checked_add(place)).map_or('?', char::from);
    format!("({letter})")
}

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md")
}

/// The sections of the documentation, by product.
pub fn sections() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(document()).unwrap_or_default();
    let sections = text.split("\n## ").skip(1);
    sections
        .filter_map(|section| Some((section.lines().next()?.to_owned(), format!("## {}\n", section.trim_end()))))
        .collect()
}

/// The section must be the documentation's. `UPDATE_CONFORMANCE=1` writes it.
fn compare(product: &str, section: &str) {
    /// Adapters are played side by side, and write one file.
    static WRITER: Mutex<()> = Mutex::new(());
    let _writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    let section = format!("{}\n", section.trim_end());
    let mut sections = sections();
    if std::env::var_os("UPDATE_CONFORMANCE").is_some() {
        sections.insert(product.to_owned(), section.clone());
        let all: Vec<&str> = sections.values().map(String::as_str).collect();
        std::fs::write(document(), format!("{INTRODUCTION}\n{}", all.join("\n"))).expect("it can be written");
    }
    let kept = sections.get(product).map_or("", String::as_str);
    assert_eq!(kept, section, "UPDATE_CONFORMANCE=1 cargo test --test conformance writes it anew");
}

/// What stands in no path, subject, action, header or body, whatever the product's protocol calls it: what takes something away,
/// makes or changes what records are kept in, or changes what a release is to contain.
const NEVER: [&str; 16] = [
    "delete",
    "purge",
    "remove",
    "destroy",
    "rollup",
    "kv-operation",
    "stepdown",
    "restore",
    "create",
    "update",
    "setqueue",
    "movetask",
    "addpermission",
    "moveunfixedissues",
    "fixversion",
    "fixed_version",
];

/// The action that a row names before what it is for, where its protocol has but one path for all of them: `# Action: …`.
pub fn action(row: &str) -> Option<&str> {
    let (action, _) = row.lines().next()?.split_once("   # ")?.1.split_once(": ")?;
    action.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(action)
}

/// No adapter is able to deploy, to approve what others are to approve, or to delete anything but a queue entry.
pub fn sends_nothing_forbidden(adapter: &dyn Adapter) -> Vec<String> {
    adapter.sends().into_iter().filter(|row| is_forbidden(row)).collect()
}

/// Whether a row, as people read it, is able to.
fn is_forbidden(row: &str) -> bool {
    let row = row.to_ascii_lowercase();
    let (line, body) = row.split_once('\n').unwrap_or((&row, ""));
    let line = line.split("   # ").next().unwrap_or_default();
    let mut words = line.split_whitespace();
    let (role, verb, what) = (words.next(), words.next(), words.next().unwrap_or_default());
    let action = action(&row).unwrap_or_default();
    let other = ["deploy", "approv", "dispatch", "merge", "admin"]
        .iter()
        .any(|word| what.contains(word) || action.contains(word));
    let never = NEVER.iter().any(|word| what.contains(word) || action.contains(word) || body.contains(word));
    let deletes = verb.is_some_and(|verb| verb.starts_with("del")) && role != Some("queue");
    // A token that is fetched is no record.
    let signs_in = what.ends_with("/access_tokens");
    // NATS asks and acknowledges by publishing. An event that was taken is no record either.
    let takes_events = what.starts_with("$js.api.consumer.") || what.starts_with("$js.ack.");
    let writes = !signs_in
        && !takes_events
        && !matches!(verb, Some("get" | "head"))
        && matches!(role, Some("governance" | "archive"));
    other || never || deletes || writes
}

#[test]
fn what_is_forbidden_is_found_in_every_protocols_words() {
    for row in [
        "queue      PUB   $JS.API.STREAM.PURGE.{stream}   # clear it",
        "queue      PUB   $JS.API.STREAM.MSG.DELETE.{stream}   # clear it",
        "governance PUB   $JS.API.CONSUMER.DELETE.{stream}.{consumer}   # begin anew",
        "queue      PUB   {prefix}.{entry}   # clear it\n                 Nats-Rollup: all",
        "queue      PUB   {prefix}.{entry}   # clear it\n                 KV-Operation: DEL",
        "intake     POST  /   # DeleteQueue: see that it is there\n                 {\"QueueUrl\":<queue>}",
        "intake     POST  /   # PurgeQueue: see that it is there\n                 {\"QueueUrl\":<queue>}",
        "intake     POST  /   # SetQueueAttributes: make it last\n                 {\"QueueUrl\":<queue>}",
        "tracker    POST  /rest/api/3/version/{id}   # approve it\n                 {\"moveUnfixedIssuesTo\":<version>}",
        "tracker    PATCH /issues/{id}.json   # approve it\n                 {\"issue\":{\"fixed_version_id\":<version>}}",
        "tracker    PATCH /issues/{id}.json   # approve it\n                 {\"fields\":{\"fixVersions\":<version>}}",
        "tracker    DELETE /releases/{id}   # approve it",
        "tracker    POST  /releases/{id}/deployments   # approve it",
        "governance PATCH /reviews/{id}   # read it",
    ] {
        assert!(is_forbidden(row), "{row}");
    }
    for row in [
        "queue      DEL   /entries/{id}   # clear it",
        "intake     POST  /   # GetQueueAttributes: see what may be deleted\n                 {\"QueueUrl\":<queue>}",
        "tracker    PATCH /releases/{id}   # approve it\n                 {\"state\":\"Approved\"}",
    ] {
        assert!(!is_forbidden(row), "{row}");
    }
}
