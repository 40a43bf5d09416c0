//! Redmine's own ways: what a setting that does not fit comes to, and what a yes is worth. On the real server.

use crate::adapters::redmine::{Running, Shop};
use crate::conformance::cell::{Cell, Saw, Wrote};
use crate::conformance::subject::{PARTS, Part, Place, Release, settings};
use releaseclosure::closure::ids::System;
use releaseclosure::closure::snapshot::{Observation, Progress, Sighting, Trouble};
use releaseclosure::providers::{self, Product};
use releaseclosure::roles::{Probe, Subject};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const CHECKLIST: Part = PARTS[2];
const APPROVE: Part = PARTS[3];
const ATTACH: Part = PARTS[4];
const QUEUE: Part = PARTS[5];

/// The shop's settings with something else in one place.
fn product(shop: &Shop, pointer: &str, value: &Value) -> Product {
    let Product::Redmine(redmine) = shop.product() else { panic!("another product") };
    let mut spec = serde_json::to_value(&redmine).expect("settings");
    let (above, name) = pointer.rsplit_once('/').expect("a pointer");
    let above = spec.pointer_mut(above).and_then(Value::as_object_mut).expect("it is there");
    if value.is_null() {
        above.remove(name)
    } else {
        above.insert(name.to_owned(), value.clone())
    };
    Product::of_spec(&json!({"redmine": spec})).expect("good settings")
}

async fn probe(shop: &Shop, product: Product, system: System) -> Probe {
    let settings = providers::Settings { product, ..settings(shop, &shop.token(), Duration::from_secs(60)) };
    providers::connect(&settings).expect("good settings").prober.probe(system).await
}

/// What a probe names, and a word of what it says would be right.
async fn is_named(shop: &Shop, product: Product, system: System, setting: &str, word: &str) {
    let probe = probe(shop, product, system).await;
    let Probe::Unfit { setting: named, what } = probe else { panic!("{setting}, {word}: {probe:?}") };
    assert_eq!(named, setting, "{what}");
    assert!(what.contains(word), "{setting}: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redmine_what_does_not_fit_is_named() {
    let Some(running) = Running::start().await else { return };
    let shop = running.shop(APPROVE, 1).await;
    shop.make(&Release::new("r-1")).await;
    assert_eq!(probe(&shop, shop.product(), System::Tracker).await, Probe::Ready);
    let field = |name: &str| Value::from(shop.field(name));
    use System::{Checklist, Governance, Queue, Tracker};
    for (pointer, value, system, setting, word) in [
        ("/project", json!("nowhere"), Tracker, "redmine.project", "identifier"),
        ("/trackers/release", json!("Releases"), Tracker, "redmine.trackers.release", "settings"),
        ("/trackers/review", json!("Reviews"), Governance, "redmine.trackers.review", "settings"),
        ("/trackers/queue", json!("Queue"), Queue, "redmine.trackers.queue", "settings"),
        ("/statuses/approved", json!("approved"), Tracker, "redmine.statuses.approved", "Issue statuses"),
        ("/statuses/closed", json!("Done"), Checklist, "redmine.statuses.closed", "Issue statuses"),
        ("/statuses/closed", json!("Approved"), Checklist, "redmine.statuses.closed", "Issue closed"),
        ("/statuses/cleared", json!("Gone"), Queue, "redmine.statuses.cleared", "Issue statuses"),
        ("/fields/evidence", json!(999), Tracker, "redmine.fields.evidence", "address"),
        ("/fields/evidence", Value::Null, Tracker, "redmine.fields.evidence", "address"),
        // It is there, and not on this tracker.
        ("/fields/evidence", field("bundle"), Tracker, "redmine.fields.evidence", "tick the tracker"),
        // It is there, and not for the key's user.
        ("/fields/marker", field("hidden"), Tracker, "redmine.fields.marker", "role"),
        ("/fields/release", field("unsearchable"), Tracker, "redmine.fields.release", "Used as a filter"),
        ("/fields/service", Value::Null, Governance, "redmine.fields.service", "missing"),
    ] {
        is_named(&shop, product(&shop, pointer, &value), system, setting, word).await;
    }
    let elsewhere = product(&shop, "/endpoint", &json!(format!("{}/login", shop.front.url())));
    is_named(&shop, elsewhere, Tracker, "redmine.endpoint", "start page").await;

    let path = format!("/projects/{}.json", shop.name);
    shop.admin("PUT", &path, json!({"project": {"enabled_module_names": ["wiki"]}})).await;
    is_named(&shop, shop.product(), Tracker, "redmine.project", "Issue tracking").await;
    shop.admin("PUT", &path, json!({"project": {"enabled_module_names": ["issue_tracking"]}})).await;
    let turn = async |how: &str| shop.admin("PUT", &format!("/projects/{}/{how}.json", shop.name), Value::Null).await;
    turn("close").await;
    is_named(&shop, shop.product(), Tracker, "redmine.project", "reopened").await;
    assert_eq!(probe(&shop, shop.product(), Governance).await, Probe::Ready, "what is only read can be read");
    turn("reopen").await;
    turn("archive").await;
    is_named(&shop, shop.product(), Governance, "redmine.project", "unarchived").await;
    turn("unarchive").await;
    assert_eq!(probe(&shop, shop.product(), Tracker).await, Probe::Ready);

    let member = format!("/memberships/{}.json", shop.member);
    let roles = json!({"membership": {"role_ids": [shop.made.id("roles", "reader")]}});
    shop.admin("PUT", &member, roles).await;
    is_named(&shop, shop.product(), Tracker, "redmine.tokenSecretRef", "Edit issues").await;
    assert_eq!(probe(&shop, shop.product(), Governance).await, Probe::Ready);
    shop.admin("DELETE", &member, Value::Null).await;
    is_named(&shop, shop.product(), Governance, "redmine.project", "member").await;
    running.0.run("Setting.rest_api_enabled = '0'").await;
    is_named(&shop, shop.product(), Governance, "redmine.endpoint", "REST web service").await;
}

async fn cell(shop: Shop, part: Part) -> (Arc<Shop>, Cell) {
    let shop = Arc::new(shop);
    let cell = Cell::new(part, shop.clone()).await.expect("a cell");
    (shop, cell)
}

fn forbidden(wrote: &Wrote) -> bool {
    matches!(wrote, Wrote::NotApplied(why) if why.trouble == Trouble::Forbidden)
}

/// A checklist's items are the task list of its description, and its subtasks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redmine_a_yes_is_believed_when_it_shows() {
    let Some(running) = Running::start().await else { return };

    // The subtask is an item; Redmine would say yes, and close nothing.
    let (shop, checklist) = cell(running.shop(CHECKLIST, 1).await, CHECKLIST).await;
    let look = checklist.must_read().await.expect("it is there");
    // Redmine tells the time of a change in seconds: one in the same second as the look would not be seen.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let task = json!({"project_id": shop.project, "tracker_id": shop.made.id("trackers", "queue"), "subject": "Sign off",
        "parent_issue_id": checklist.made.id});
    let task = shop.admin("POST", "/issues.json", json!({"issue": task})).await["issue"]["id"].clone();
    let Saw::Found(seen) = checklist.read().await else { panic!("it is there") };
    let Some(Sighting::Checklist(Observation::Found(record, _))) = &seen.sighting else { panic!("a checklist") };
    assert_eq!(record.open_items, [format!("#{task} Sign off")]);
    assert!(checklist.agrees(&seen).is_err(), "an open item is a finding");
    // An order from before the subtask is none any more: Redmine takes a new subtask for a change of its parent.
    let wrote = checklist.write(checklist.order(&look).expect("an order")).await;
    assert!(wrote == Wrote::Conflict && checklist.front().changes() == 0, "{wrote:?}");
    shop.edit(&checklist.made, json!({"description": "* [x] one\r\n* [ ] two"})).await;
    let Saw::Found(seen) = checklist.read().await else { panic!("it is there") };
    let Some(Sighting::Checklist(Observation::Found(record, _))) = &seen.sighting else { panic!("a checklist") };
    assert_eq!(record.open_items, ["2 two".to_owned(), format!("#{task} Sign off")]);

    // Closed otherwise is not done.
    let (shop, queue) = cell(running.shop(QUEUE, 2).await, QUEUE).await;
    shop.edit(&queue.made, json!({"status_id": shop.made.id("statuses", "Rejected")})).await;
    let Saw::Found(seen) = queue.read().await else { panic!("it is there") };
    let Some(Sighting::Queue(Observation::Found(record, _))) = &seen.sighting else { panic!("an entry") };
    assert_eq!(record.state, Progress::Other("Rejected".to_owned()));

    // A transition that the workflow does not have for the role is not asked for.
    let (shop, tracker) = cell(running.shop(APPROVE, 3).await, APPROVE).await;
    let id = shop.made.id("statuses", "Feedback");
    shop.edit(&tracker.made, json!({"status_id": id})).await;
    let Saw::Found(seen) = tracker.read().await else { panic!("it is there") };
    assert!(!seen.done && tracker.agrees(&seen).is_err(), "the playbook does not name it");
    shop.edit(&tracker.made, json!({"status_id": shop.made.id("statuses", "New")})).await;
    running.0.run("WorkflowTransition.where(tracker: Tracker.find_by_name('Release'), role: Role.find_by_name('Release closer')).delete_all").await;
    let look = tracker.must_read().await.expect("it is there");
    let wrote = tracker.write(tracker.order(&look).expect("an order")).await;
    assert!(forbidden(&wrote) && tracker.front().changes() == 0, "{wrote:?}");

    // A role that may write notes is let in, gets a 204, and nothing is changed: the look after it shows that.
    let (shop, attach) = cell(running.shop(ATTACH, 4).await, ATTACH).await;
    running.0.run("Role.find_by_name('Release reader').add_permission!(:add_issue_notes)").await;
    let look = attach.must_read().await.expect("it is there");
    let roles = json!({"membership": {"role_ids": [shop.made.id("roles", "reader")]}});
    shop.admin("PUT", &format!("/memberships/{}.json", shop.member), roles).await;
    let wrote = attach.write(attach.order(&look).expect("an order")).await;
    assert!(forbidden(&wrote) && attach.front().changes() == 1, "the server said yes: {wrote:?}");
    let truth = attach.truth().await;
    assert!(!truth.done && truth.marks == 0 && truth.words, "{truth:?}");

    // What may not be seen is not what is not there; what is in another project, or of another tracker, is not there.
    shop.edit(&attach.made, json!({"is_private": true})).await;
    let read = attach.read().await;
    assert!(matches!(&read, Saw::Unreachable(why) if why.trouble == Trouble::Forbidden), "{read:?}");
    shop.edit(&attach.made, json!({"is_private": false, "tracker_id": shop.made.id("trackers", "queue")})).await;
    assert_eq!(attach.read().await, Saw::Missing);
    shop.edit(&attach.made, json!({"tracker_id": shop.made.id("trackers", "release")})).await;
    assert!(matches!(attach.read().await, Saw::Found(_)));
    let elsewhere = running.shop(ATTACH, 5).await;
    elsewhere
        .admin(
            "POST",
            &format!("/projects/{}/memberships.json", elsewhere.project),
            json!({"membership": {"user_id": shop.person, "role_ids": [shop.made.id("roles", "closer")]}}),
        )
        .await;
    shop.edit(&attach.made, json!({"project_id": elsewhere.project})).await;
    assert_eq!(attach.read().await, Saw::Missing);
    for not_an_issue in ["REL-1", "01", "+1", "99999999999999999999"] {
        assert_eq!(attach.look(Some(not_an_issue)).await, Saw::Missing, "{not_an_issue}");
    }
}

/// In Redmine's short form these would mean "not", "contains" and "or".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redmine_a_release_id_is_no_expression() {
    let Some(running) = Running::start().await else { return };
    let shop = running.shop(QUEUE, 1).await;
    let ids = ["!r-1", "~r", "r-1|r-2", "*", "r-1", "r-2", "=r-1", "!*"];
    let mut made = Vec::new();
    for id in ids {
        made.push(shop.make_entry(&Release::new(id)).await);
    }
    let settings = settings(&shop, &shop.token(), Duration::from_secs(60));
    let queue = providers::connect(&settings).expect("good settings").queue.expect("a role");
    for (release, entry) in ids.into_iter().zip(made) {
        let found = queue.entry(Subject { record: None, release, review_version: "3" }, None).await;
        assert!(matches!(&found, Observation::Found(record, _) if record.id == entry), "{release}: {found:?}");
    }
    // The field that cannot be searched by is passed over by Redmine, and not by us.
    let product = product(&shop, "/fields/release", &shop.field("unsearchable").into());
    let settings = providers::Settings { product, ..settings };
    let queue = providers::connect(&settings).expect("good settings").queue.expect("a role");
    let found = queue.entry(Subject { record: None, release: "r-1", review_version: "3" }, None).await;
    assert_eq!(found, Observation::Missing);
}
