//! The table: what people did to one release, and what must be found. See `Release::fill` for what stands in braces.

use crate::releases::{Edit, OTHER_DIGEST};
use releaseclosure::sandbox::Role::{self, Archive, Checklist, Governance, Queue, Tracker};
use serde_json::{Value, json};

/// What people did to one release, and what must be found then.
pub struct Row {
    pub what: String,
    pub edits: Vec<Edit>,
    /// In the order of the checks; none: it closes.
    pub found: Vec<Value>,
    /// Whether the spec leaves the record ids out.
    pub look_up: bool,
    /// How many requests a halt takes.
    pub reads: usize,
}

const OTHER_RELEASE: &str = "load-99999@RR-load-99999@7";
const OTHER_VERSION: &str = "load-{n}@RR-load-{n}@{v}0";
const OTHER_REVIEW: &str = "load-{n}@RR-load-99999@{v}";

/// Every row.
pub fn rows() -> Vec<Row> {
    let mut rows = governance();
    rows.extend(archive());
    rows.extend(artifacts());
    rows.extend(checklist());
    rows.extend(tracker());
    rows.extend(queue());
    rows.extend(absent());
    rows.extend(ambiguous());
    rows.extend(markers());
    rows.extend(evidence_links());
    rows.extend(several());
    for (role, check) in [(Governance, "C4"), (Tracker, "C7")] {
        let none = vec![Edit::Set(role, "milestone", json!(null))];
        let finding = found(check, "MilestoneMismatch", role, "milestone.id", "m-{n}", "none");
        rows.push(row(format!("{role} is on no milestone"), none, vec![finding]));
    }
    rows
}

/// A finding, on the system's own record.
fn found(check: &str, reason: &str, role: Role, field: &str, expected: &str, observed: &str) -> Value {
    let record = match role {
        Governance => "RR-load-{n}",
        Archive => "load/{n}/rv1",
        Checklist => "CHK-{n}",
        Tracker => "REL-{n}",
        Queue => "Q-{n}",
        Role::Intake | Role::FollowUp => "{key}",
    };
    let escaped = record.replace('/', "%2F");
    json!({"check": check, "reason": reason, "system": role.name(), "record": record, "field": field,
        "expected": expected, "observed": observed, "link": format!("https://{role}.example.com/{escaped}")})
}

fn row(what: impl Into<String>, edits: Vec<Edit>, found: Vec<Value>) -> Row {
    Row { what: what.into(), edits, found, look_up: false, reads: 5 }
}

/// One field of one system, each with the one finding that must come of it.
fn fields(role: Role, table: &[(&str, &str, &str, &str, &str)]) -> Vec<Row> {
    let rows = table.iter().map(|(field, check, reason, expected, observed)| {
        let patch = field.rsplit('.').fold(json!(observed), |value, name| json!({ name: value }));
        let what = format!("{role} {field} is {observed}");
        row(what, vec![Edit::Patch(role, patch)], vec![found(check, reason, role, field, expected, observed)])
    });
    rows.collect()
}

fn governance() -> Vec<Row> {
    let mut rows = fields(
        Governance,
        &[
            ("state", "C1", "SourceNotAccepted", "Accepted", "Reopened"),
            ("version", "C2", "ReviewVersionConflict", "{v}", "{v}0"),
            ("release.id", "C3", "ReleaseMismatch", "load-{n}", "load-99999"),
            ("release.service", "C3", "ReleaseMismatch", "{service}", "service-99999"),
            ("release.version", "C3", "ReleaseMismatch", "1.0.{i}", "1.0.99999"),
            ("milestone.id", "C4", "MilestoneMismatch", "m-{n}", "m-99999"),
            ("milestone.title", "C4", "MilestoneMismatch", "M {n}", "M 99999"),
            ("evidence.bundle", "C5", "EvidenceMismatch", "load/{n}/rv1", "load/99999/rv1"),
            ("evidence.digest", "C5", "EvidenceMismatch", "{digest}", OTHER_DIGEST),
            ("acceptedEvent.id", "C16", "AcceptanceStale", "evt-{n}", "evt-99999"),
        ],
    );
    let own = found("C14", "RecordMismatch", Governance, "id", "RR-load-{n}", "RR-load-99999");
    rows.push(row(
        "the governance record is another one",
        vec![Edit::Patch(Governance, json!({"id": "RR-load-99999"}))],
        // What is found on it is found on the record that came.
        vec![own],
    ));
    let unnamed = Edit::Patch(Governance, json!({"acceptedEvent": null}));
    rows.push(row("the governance record names no event", vec![unnamed], vec![]));
    rows
}

fn archive() -> Vec<Row> {
    let mut rows = fields(
        Archive,
        &[
            ("bundle", "C10", "EvidenceMismatch", "load/{n}/rv1", "load/99999/rv1"),
            ("digest", "C10", "EvidenceMismatch", "{digest}", OTHER_DIGEST),
            ("release.id", "C10", "EvidenceMismatch", "load-{n}", "load-99999"),
            ("review.version", "C10", "EvidenceMismatch", "{v}", "{v}0"),
        ],
    );
    let (bare, https, short) =
        ("a link without user info, query or fragment", "an https link", "at most 512 printable ASCII characters");
    let too_long = format!("{{url}}/{}", "x".repeat(512));
    // What may hold a credential is not shown.
    for (url, rule, shown) in [
        ("https://reader:secret@archive.example.com/load/{n}", bare, "https://…@archive.example.com/load/{n}"),
        ("https://@archive.example.com/load/{n}", bare, "https://…@archive.example.com/load/{n}"),
        ("{url}?signature=secret", bare, "{url}?…"),
        ("{url}#top", bare, "{url}#…"),
        ("ftp://archive.example.com/load/{n}", https, "ftp://archive.example.com/load/{n}"),
        ("https://archive.example.com/Ä{n}", short, "https://archive.example.com/Ä{n}"),
        ("load {n}", short, "load {n}"),
        ("load/{n}", "a URL", "load/{n}"),
        (too_long.as_str(), short, too_long.as_str()),
    ] {
        rows.push(row(
            format!("the bundle is at {url:.40}"),
            vec![Edit::Patch(Archive, json!({ "url": url }))],
            vec![found("C10", "EvidenceLinkUnfit", Archive, "url", rule, shown)],
        ));
    }
    // These connections are allowed plain http, links included.
    let plain = Edit::Patch(Archive, json!({"url": "http://archive.example.com/load/{n}/rv1"}));
    rows.push(row("the bundle is at a plain http address, as its connection allows", vec![plain], vec![]));
    rows
}

const REQUIRED: [&str; 3] = ["rollback-notes", "sign-off", "review-packet"];

fn artifacts() -> Vec<Row> {
    let artifact = |kind: &str, digest: Value| json!({"name": kind, "kind": kind, "digest": digest, "url": "{url}/a"});
    let mut rows = Vec::new();
    for kind in REQUIRED {
        let others = REQUIRED.iter().filter(|other| **other != kind);
        let others: Vec<Value> = others.map(|other| artifact(other, json!(OTHER_DIGEST))).collect();
        rows.push(row(
            format!("{kind} is not in the bundle"),
            vec![Edit::Patch(Archive, json!({"artifacts": others}))],
            vec![found("C11", "ArtifactMissing", Archive, "artifacts.kind", kind, "not in the bundle")],
        ));
        for nothing in [json!(null), json!("")] {
            let mut all = others.clone();
            all.push(artifact(kind, nothing.clone()));
            let digest = format!("a digest of {kind}");
            rows.push(row(
                format!("{kind} has the digest {nothing}"),
                vec![Edit::Patch(Archive, json!({"artifacts": all}))],
                vec![found("C11", "ArtifactMissing", Archive, "artifacts.digest", &digest, "none")],
            ));
        }
    }
    let of = |kind| found("C11", "ArtifactMissing", Archive, "artifacts.kind", kind, "not in the bundle");
    let none = vec![Edit::Patch(Archive, json!({"artifacts": []}))];
    rows.push(row("the bundle is empty", none, REQUIRED.map(of).to_vec()));
    rows
}

fn checklist() -> Vec<Row> {
    let mut rows = fields(
        Checklist,
        &[
            ("release.id", "C9", "ChecklistMismatch", "load-{n}", "load-99999"),
            ("review.version", "C9", "ChecklistMismatch", "{v}", "{v}0"),
            ("state", "C9", "ChecklistStateUnexpected", "Open or Closed", "Archived"),
            ("id", "C14", "RecordMismatch", "CHK-{n}", "CHK-99999"),
        ],
    );
    let item = |id: &str, done: bool| json!({"id": id, "title": "x", "done": done});
    let open = |state: &str, observed: &str, items: Value| {
        let finding = found("C9", "ChecklistItemsOpen", Checklist, "items.done", "true for every item", observed);
        let edit = Edit::Patch(Checklist, json!({"state": state, "items": items}));
        row(format!("open items of a checklist that is {state}: {observed}"), vec![edit], vec![finding])
    };
    rows.push(open("Open", "sign-off", json!([item("rollback", true), item("sign-off", false)])));
    rows.push(open("Open", "rollback, sign-off", json!([item("rollback", false), item("sign-off", false)])));
    rows.push(open("Closed", "rollback", json!([item("rollback", false)])));
    rows
}

fn tracker() -> Vec<Row> {
    let mut rows = fields(
        Tracker,
        &[
            ("release.id", "C6", "TrackerReleaseMismatch", "load-{n}", "load-99999"),
            ("release.service", "C6", "TrackerReleaseMismatch", "{service}", "service-99999"),
            ("release.version", "C6", "TrackerReleaseMismatch", "1.0.{i}", "1.0.99999"),
            ("milestone.id", "C7", "MilestoneMismatch", "m-{n}", "m-99999"),
            ("milestone.title", "C7", "MilestoneRenamed", "M {n}", "M {n} (renamed)"),
            ("state", "C8", "TrackerStateUnexpected", "InReview or Approved", "Blocked"),
            ("id", "C14", "RecordMismatch", "REL-{n}", "REL-99999"),
        ],
    );
    rows.push(row(
        "the tracker record is on another milestone altogether",
        vec![Edit::Patch(Tracker, json!({"milestone": {"id": "m-99999", "title": "M 99999"}}))],
        vec![
            found("C7", "MilestoneMismatch", Tracker, "milestone.id", "m-{n}", "m-99999"),
            found("C7", "MilestoneMismatch", Tracker, "milestone.title", "M {n}", "M 99999"),
        ],
    ));
    rows
}

fn queue() -> Vec<Row> {
    fields(
        Queue,
        &[
            ("release.id", "C12", "QueueEntryMismatch", "load-{n}", "load-99999"),
            ("review.version", "C12", "QueueEntryMismatch", "{v}", "{v}0"),
            ("state", "C12", "QueueEntryStateUnexpected", "Pending or Cleared", "Escalated"),
            ("id", "C14", "RecordMismatch", "Q-{n}", "Q-99999"),
        ],
    )
}

fn absent() -> Vec<Row> {
    let missing = |role, id| found("C14", "RecordMissing", role, "id", id, "no record");
    let mut rows: Vec<Row> = [
        (Governance, missing(Governance, "RR-load-{n}")),
        (Archive, found("C10", "EvidenceMissing", Archive, "bundle", "load/{n}/rv1", "not in the archive")),
        (Checklist, missing(Checklist, "CHK-{n}")),
        (Tracker, missing(Tracker, "REL-{n}")),
        (Queue, missing(Queue, "Q-{n}")),
    ]
    .into_iter()
    .map(|(role, finding)| row(format!("the {role} record is gone"), vec![Edit::Remove(role)], vec![finding]))
    .collect();
    for role in [Checklist, Tracker, Queue] {
        let finding = looked_up(found("C14", "RecordMissing", role, "id", "one of release load-{n}", "no record"));
        let what = format!("the {role} look-up finds nothing");
        // One request each for the two sources and the empty look-up, two each for the others.
        rows.push(Row { look_up: true, reads: 7, ..row(what, vec![Edit::Remove(role)], vec![finding]) });
    }
    rows
}

fn ambiguous() -> Vec<Row> {
    let rows =
        [(Checklist, "CHK-{n}-b"), (Tracker, "REL-{n}-b"), (Queue, "Q-{n}-b")].into_iter().map(|(role, copy)| {
            let finding =
                looked_up(found("C14", "RecordAmbiguous", role, "id", "one of release load-{n}", "2 records"));
            let what = format!("the {role} look-up finds two");
            Row { look_up: true, reads: 7, ..row(what, vec![Edit::Copy(role, copy)], vec![finding]) }
        });
    rows.collect()
}

/// A look-up that found no one record has none to show.
fn looked_up(mut finding: Value) -> Value {
    let fields = finding.as_object_mut().expect("a finding");
    fields.remove("record");
    fields.remove("link");
    finding
}

/// The three records that carry a marker, with their words for undone and done.
const MARKED: [(Role, &str, &str); 3] =
    [(Checklist, "Open", "Closed"), (Tracker, "InReview", "Approved"), (Queue, "Pending", "Cleared")];

fn markers() -> Vec<Row> {
    let mut rows = Vec::new();
    for (role, undone, done) in MARKED {
        let edit = |state: &str, key: &str| {
            vec![Edit::Patch(role, json!({"state": state, "closure": {"key": key, "uid": "of-another-object"}}))]
        };
        let conflict = |key: &str| vec![found("C13", "ConflictingClosure", role, "closure.key", "{key}", key)];
        for key in [OTHER_RELEASE, "no key at all"] {
            rows.push(row(format!("{role} is {undone} with {key}"), edit(undone, key), conflict(key)));
            rows.push(row(format!("{role} is {done} with {key}"), edit(done, key), conflict(key)));
        }
        for key in [OTHER_VERSION, OTHER_REVIEW] {
            rows.push(row(format!("{role} is {done} with {key}"), edit(done, key), conflict(key)));
            // Not done, it is history.
            rows.push(row(format!("{role} is {undone} with {key}"), edit(undone, key), vec![]));
        }
        rows.push(row(
            format!("{role} is {undone} with this closure's own key"),
            edit(undone, "{key}"),
            vec![found("C15", "PartialStateConflict", role, "state", done, undone)],
        ));
    }
    rows
}

fn evidence_links() -> Vec<Row> {
    let link = |digest: &str, url: &str, key: Option<&str>| {
        let closure = key.map(|key| json!({"key": key, "uid": "of-another-object"}));
        json!({"bundle": "load/{n}/rv1", "digest": digest, "url": url, "closure": closure})
    };
    let attached = |links: Vec<Value>| vec![Edit::Patch(Tracker, json!({"evidence": links}))];
    let conflict = |field, expected, observed| found("C13", "ConflictingClosure", Tracker, field, expected, observed);
    let digest = conflict("evidence.digest", "{digest}", OTHER_DIGEST);
    let url = conflict("evidence.url", "{url}", "{url}/old");
    let mut rows = vec![
        row(
            "a link to this bundle has another digest",
            attached(vec![link(OTHER_DIGEST, "{url}", None)]),
            vec![digest.clone()],
        ),
        row(
            "a link to this bundle leads elsewhere",
            attached(vec![link("{digest}", "{url}/old", None)]),
            vec![url.clone()],
        ),
        row(
            "a link to this bundle has another digest and leads elsewhere",
            attached(vec![link(OTHER_DIGEST, "{url}/old", None)]),
            vec![digest.clone(), url],
        ),
        row(
            "beside the right link there is one with another digest",
            attached(vec![link("{digest}", "{url}", None), link(OTHER_DIGEST, "{url}", None)]),
            vec![digest],
        ),
        row(
            "there is a link to another bundle",
            attached(vec![
                json!({"bundle": "load/99999/rv1", "digest": OTHER_DIGEST, "url": "https://a.example.com/b", "closure": null}),
            ]),
            vec![],
        ),
    ];
    for key in [OTHER_RELEASE, OTHER_VERSION, OTHER_REVIEW] {
        rows.push(row(
            format!("the link is there with {key}"),
            attached(vec![link("{digest}", "{url}", Some(key))]),
            vec![conflict("evidence.closure.key", "{key}", key)],
        ));
    }
    rows
}

/// More than one thing is wrong: all of it is found, in the order of the checks.
fn several() -> Vec<Row> {
    let reopened = || Edit::Patch(Governance, json!({"state": "Reopened", "version": "{v}0"}));
    let (c1, c2) = (
        found("C1", "SourceNotAccepted", Governance, "state", "Accepted", "Reopened"),
        found("C2", "ReviewVersionConflict", Governance, "version", "{v}", "{v}0"),
    );
    let renamed = || Edit::Patch(Tracker, json!({"milestone": {"title": "M 0"}}));
    let c7 = found("C7", "MilestoneRenamed", Tracker, "milestone.title", "M {n}", "M 0");
    let c9 = found("C9", "ChecklistStateUnexpected", Checklist, "state", "Open or Closed", "Void");
    let c10 = found("C10", "EvidenceMissing", Archive, "bundle", "load/{n}/rv1", "not in the archive");
    let c12 = found("C12", "QueueEntryStateUnexpected", Queue, "state", "Pending or Cleared", "Void");
    let void = |role| Edit::Patch(role, json!({"state": "Void"}));
    vec![
        row("two fields of one system", vec![reopened()], vec![c1.clone(), c2.clone()]),
        row("two systems, in the order of the checks", vec![void(Queue), renamed()], vec![c7.clone(), c12.clone()]),
        row(
            "all five systems",
            vec![void(Queue), renamed(), void(Checklist), Edit::Remove(Archive), reopened()],
            vec![c1, c2, c7, c9, c10, c12],
        ),
    ]
}
