//! Other hands on the same records, and systems that do not do what they say.

use crate::releases::{self, Edit, Release, body};
use crate::stage::{Setup, Stage, outcomes};
use releaseclosure::sandbox::Role;
use serde_json::{Value, json};
use std::time::Duration;

/// The four writes to records in their order: the system, and a field that only this write's body has.
const WRITES: [(Role, &str); 4] =
    [(Role::Checklist, "state"), (Role::Tracker, "state"), (Role::Tracker, "evidence"), (Role::Queue, "state")];

async fn stage(name: &str, releases: usize) -> Stage {
    Stage::with(name, Setup { seed: releases::seed(releases), ..Setup::default() }).await
}

/// What the requests for a change of this system were answered with, in order.
fn answers(stage: &Stage, release: Release, role: Role) -> Vec<u16> {
    let writes =
        release.requests(stage).into_iter().filter(|entry| entry.role == Some(role) && entry.method == "PATCH");
    writes.map(|entry| entry.status.unwrap_or_default()).collect()
}

/// The first steps are changed, the others pending.
fn first(count: usize) -> Vec<&'static str> {
    (0..5).map(|step| if step < count { "Changed" } else { "Pending" }).collect()
}

/// A fault on one write of one release.
fn on_write(stage: &Stage, release: Release, write: usize, action: Value) -> String {
    let (role, field) = WRITES[write];
    let matches = json!({"role": role.name(), "method": "PATCH", "record": release.record(role), "field": field});
    stage.fault(json!({"match": matches, "action": action}))
}

#[tokio::test]
async fn a_harmless_edit_between_look_and_write_is_looked_at_and_survives() {
    let stage = stage("contention-once", 3).await;
    let roles = [Role::Checklist, Role::Tracker, Role::Queue];
    for (index, role) in roles.into_iter().enumerate() {
        let release = Release(index + 1);
        let matches = json!({"role": role.name(), "method": "GET", "record": release.record(role), "nth": 1});
        stage.fault(json!({"match": matches, "action": {"edit": {"patch": {"note": "a person was here"}}}}));
        stage.create(&release.closure(&stage)).await;
    }
    for (index, role) in roles.into_iter().enumerate() {
        let release = Release(index + 1);
        let closure = stage.closed(&release.name()).await;
        assert_eq!(outcomes(&closure), ["Changed"; 5]);
        assert_eq!(stage.record(role, &release.record(role))["note"], "a person was here");
        let mut expected = vec![412, 200];
        expected.extend((role == Role::Tracker).then_some(200));
        assert_eq!(answers(&stage, release, role), expected);
        assert_eq!(release.changes(&stage).len(), 5);
        // Looked at again after the refusal, and what the write rests on is confirmed once more.
        let requests = release.requests(&stage);
        let refused = requests.iter().position(|entry| entry.status == Some(412)).unwrap();
        let written = requests.iter().skip(refused + 1).position(|entry| entry.method == "PATCH").unwrap();
        let between: Vec<_> =
            requests[refused + 1..refused + 1 + written].iter().filter_map(|entry| entry.role).collect();
        assert!(between.contains(&role) && between.contains(&Role::Governance), "{between:?}");
    }
}

#[tokio::test]
async fn three_refusals_in_one_pass_wait_and_the_next_pass_closes() {
    // The second pass comes when it is asked for.
    let policy = json!({"retry": {"initial": "1h", "max": "1h"}});
    let setup = Setup { seed: releases::seed(1), policy, ..Setup::default() };
    let stage = Stage::with("contention-thrice", setup).await;
    let release = Release(1);
    let matches = json!({"role": "checklist", "method": "GET", "record": release.record(Role::Checklist), "times": 3});
    stage.fault(json!({"match": matches, "action": {"edit": {"patch": {"note": "a person is here"}}}}));
    let name = stage.create(&release.closure(&stage)).await;
    let closure = stage.waiting(&name, "RecordContended").await;
    assert_eq!(answers(&stage, release, Role::Checklist), [412; 3]);
    assert_eq!(outcomes(&closure), ["Pending"; 5]);
    assert!(stage.all_packets().await.is_empty());
    stage.patch(&name, json!({"metadata": {"annotations": {"releaseclosure.io/requestedAt": "now"}}})).await;
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    assert_eq!(answers(&stage, release, Role::Checklist), [412, 412, 412, 200]);
}

#[tokio::test]
async fn a_system_that_says_yes_and_changes_nothing_halts_the_third_pass() {
    let stage = stage("contention-ignored", WRITES.len()).await;
    for write in 0..WRITES.len() {
        let release = Release(write + 1);
        on_write(&stage, release, write, json!("ignore"));
        stage.create(&release.closure(&stage)).await;
    }
    for (write, (role, field)) in WRITES.into_iter().enumerate() {
        let release = Release(write + 1);
        let (closure, packet) = stage.halted(&release.name()).await;
        assert_eq!(outcomes(&closure), first(write));
        let found: Vec<_> =
            packet.spec.findings.iter().map(|finding| (finding.reason.as_str(), finding.field.as_str())).collect();
        assert_eq!(found, [("WriteIneffective", field)]);
        assert_eq!(packet.spec.findings[0].record, Some(release.record(role)));
        let tries = release.requests(&stage).into_iter().filter(|entry| entry.fault.is_some());
        assert_eq!(tries.count(), 3, "{role} {field}");
        assert_eq!(release.changes(&stage).len(), write);
    }
    assert_eq!(stage.sandbox().deliveries(), []);
    stage.quiet(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_change_that_takes_effect_at_the_third_try_closes() {
    let stage = stage("contention-late", 1).await;
    let release = Release(1);
    let matches = json!({"role": "queue", "method": "PATCH", "times": 2});
    stage.fault(json!({"match": matches, "action": "ignore"}));
    let name = stage.create(&release.closure(&stage)).await;
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    assert!(stage.all_packets().await.is_empty());
    assert_eq!(answers(&stage, release, Role::Queue), [200; 3]);
}

#[tokio::test]
async fn a_change_that_the_system_itself_refuses_halts_at_once() {
    let stage = stage("contention-refused", 5).await;
    let refused = json!({"status": {"code": 422}});
    for write in 0..WRITES.len() {
        on_write(&stage, Release(write + 1), write, refused.clone());
    }
    stage.fault(json!({"match": {"role": "intake", "method": "POST", "record": Release(5).key()}, "action": refused}));
    for number in 1..=5 {
        stage.create(&Release(number).closure(&stage)).await;
    }
    for number in 1..=5 {
        let release = Release(number);
        let (closure, packet) = stage.halted(&release.name()).await;
        assert_eq!(outcomes(&closure), first(number - 1), "{number}");
        let role = WRITES.get(number - 1).map_or(Role::Intake, |(role, _)| *role);
        let found: Vec<_> =
            packet.spec.findings.iter().map(|finding| (finding.reason.as_str(), finding.system.as_str())).collect();
        assert_eq!(found, [("WriteRejected", role.name())]);
        assert_eq!(packet.spec.findings[0].record, Some(release.record(role)));
        assert_eq!(release.requests(&stage).iter().filter(|entry| entry.status == Some(422)).count(), 1);
    }
    assert_eq!(stage.sandbox().deliveries(), []);
    stage.quiet(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_refusal_by_something_in_between_is_no_refusal() {
    let stage = stage("contention-proxy", 1).await;
    let page = json!({"status": {"code": 422, "problem": false}});
    let fault = on_write(&stage, Release(1), 0, page);
    let name = stage.create(&Release(1).closure(&stage)).await;
    stage.waiting(&name, "ChecklistUnavailable").await;
    stage.sandbox().remove_fault(&fault);
    assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
    assert!(stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn a_lie_about_the_approval_is_found_out_and_never_closes() {
    let stage = stage("contention-lie", 1).await;
    let release = Release(1);
    on_write(&stage, release, 1, json!("lie"));
    let name = stage.create(&release.closure(&stage)).await;
    let (closure, packet) = stage.halted(&name).await;
    assert_eq!(packet.spec.findings[0].system.as_str(), "tracker");
    assert!(closure.status.unwrap().completion_time.is_none());
    assert_eq!(release.changes(&stage), ["CloseChecklist"]);
    assert_eq!(stage.record(Role::Tracker, &release.record(Role::Tracker))["state"], "InReview");
    assert_eq!(stage.sandbox().deliveries(), []);
    stage.quiet(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_stale_read_of_our_own_change_is_waited_out() {
    let stage = stage("contention-stale", 1).await;
    let release = Release(1);
    // The approval is made, and the pass ends at the attachment; the next one sees the record as it was before.
    let record = release.record(Role::Tracker);
    let attach = json!({"role": "tracker", "method": "PATCH", "record": record, "field": "evidence", "nth": 1});
    stage.fault(json!({"match": attach, "action": {"status": {"code": 503}}}));
    let read = json!({"role": "tracker", "method": "GET", "record": record, "nth": 2});
    stage.fault(json!({"id": "stale", "match": read, "action": "stale"}));
    let name = stage.create(&release.closure(&stage)).await;
    let closure = stage.closed(&name).await;
    assert_eq!(outcomes(&closure), ["Changed"; 5]);
    assert!(stage.all_packets().await.is_empty(), "a stale read is no finding");
    let requests = release.requests(&stage);
    let stale = requests.iter().position(|entry| entry.fault.as_deref() == Some("stale")).expect("it was served");
    // Nothing was written on the strength of it.
    let next = requests[stale + 1..].iter().position(|entry| entry.method == "PATCH").unwrap();
    let between = &requests[stale + 1..stale + 1 + next];
    assert!(between.iter().any(|entry| entry.role == Some(Role::Tracker) && entry.fault.is_none()), "{between:?}");
    assert_eq!(release.changes(&stage).len(), 5, "no change is made twice");
}

#[tokio::test]
async fn what_is_not_ours_survives_to_the_letter() {
    let stage = stage("contention-others", 1).await;
    let release = Release(1);
    let others = json!([
        {"bundle": "z/last", "digest": "md5:1", "url": "https://z.example.com/?a=1&b=2#c", "zeta": {"b": [1, 2.5, -0.0, 1e300], "a": null}},
        {"bundle": "a/first", "digest": "", "url": "not a url", "closure": null, "note": "ü \u{2028} \" \\ </script>"},
        {"bundle": "a/first", "digest": "", "url": "not a url", "closure": {"key": "load-9@RR-9@9", "uid": "u", "by": "me"}},
        {"bundle": "m/middle", "digest": "sha256:1", "url": "https://m.example.com", "big": 18_446_744_073_709_551_615_u64, "empty": {}},
    ]);
    let extra = json!({"title": "a title", "labels": ["b", "a"], "custom": {"deep": [{"er": true}]}, "count": 3.0});
    let mut before = Vec::new();
    for role in [Role::Checklist, Role::Tracker, Role::Queue] {
        release.apply(&stage, &Edit::Patch(role, extra.clone()));
        if role == Role::Tracker {
            release.apply(&stage, &Edit::Patch(role, json!({"evidence": others})));
        }
        before.push((role, stage.record(role, &release.record(role))));
    }
    let name = stage.create(&release.closure(&stage)).await;
    stage.closed(&name).await;

    // What was sent has the links byte by byte as they were served, in their order, then ours.
    let requests = release.requests(&stage);
    let attach = requests.iter().find(|entry| body(entry).get("evidence").is_some()).expect("the link is attached");
    let text = String::from_utf8(attach.body.to_vec()).unwrap();
    let served = serde_json::to_string(&others).unwrap();
    let kept = format!("\"evidence\":{},", served.strip_suffix(']').unwrap());
    assert!(text.contains(&kept), "{text}\nlacks\n{kept}");

    for (role, mut expected) in before {
        let now = stage.record(role, &release.record(role));
        if role == Role::Tracker {
            let links = now["evidence"].as_array().unwrap();
            assert_eq!(links[..4], others.as_array().unwrap()[..]);
            assert_eq!((links.len(), &links[4]["bundle"]), (5, &json!("load/00001/rv1")));
        }
        // The state, the marker and the links are all that differs.
        for (field, value) in expected.as_object_mut().unwrap() {
            if matches!(field.as_str(), "state" | "closure" | "evidence") {
                *value = now[field].clone();
            }
        }
        assert_eq!(now, expected, "{role}");
    }
}
