//! Jira's own ways: what a setting that does not fit comes to, and where values may stand.

use crate::adapters::jira::{Running, Shop};
use crate::conformance::cell::{Cell, Saw, Wrote};
use crate::conformance::front::On;
use crate::conformance::subject::{Deed, PARTS, Part, Place, Release, settings};
use crate::systems::jira::{CLOSER, Jira};
use releaseclosure::closure::ids::System;
use releaseclosure::closure::snapshot::{Marking, Observation, Progress, Sighting, Trouble};
use releaseclosure::providers::{self, Product, Refused};
use releaseclosure::roles::{Concurrency, Probe, Subject};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const CHECKLIST: Part = PARTS[2];
const APPROVE: Part = PARTS[3];
const ATTACH: Part = PARTS[4];
const QUEUE: Part = PARTS[5];

/// The shop's settings with something else in some places.
fn product(shop: &Shop, changes: &[(&str, Value)]) -> Product {
    let Product::Jira(jira) = shop.product() else { panic!("another product") };
    let mut spec = serde_json::to_value(&jira).expect("settings");
    for (pointer, value) in changes {
        let (above, name) = pointer.rsplit_once('/').expect("a pointer");
        let above = spec.pointer_mut(above).and_then(Value::as_object_mut).expect("it is there");
        if value.is_null() {
            above.remove(name)
        } else {
            above.insert(name.to_owned(), value.clone())
        };
    }
    Product::of_spec(&json!({"jira": spec})).expect("good settings")
}

fn connected(shop: &Shop, product: Product) -> Result<releaseclosure::roles::Connected, Refused> {
    providers::connect(&providers::Settings { product, ..settings(shop, &shop.token(), Duration::from_secs(60)) })
}

async fn probe(shop: &Shop, product: Product, system: System) -> Probe {
    connected(shop, product).expect("good settings").prober.probe(system).await
}

/// What a probe names, and a word of what it says would be right.
async fn is_named(shop: &Shop, changes: &[(&str, Value)], system: System, setting: &str, word: &str) {
    let probe = probe(shop, product(shop, changes), system).await;
    let Probe::Unfit { setting: named, what } = probe else { panic!("{setting}, {word}: {probe:?}") };
    assert_eq!(named, setting, "{what}");
    assert!(what.contains(word), "{setting}: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jira_what_does_not_fit_is_named() {
    let Some(jira) = Jira::cloud().await else { return };
    let running = Running(jira);
    let shop = running.shop(APPROVE, 1).await;
    shop.make(&Release::new("r-0")).await;
    use System::{Checklist, Governance, Queue, Tracker};
    for system in [Governance, Checklist, Tracker, Queue] {
        assert_eq!(probe(&shop, shop.product(), system).await, Probe::Ready);
    }
    for (pointer, value, system, setting, word) in [
        ("/project", json!("NOWHERE"), Tracker, "jira.project", "letters before the number"),
        ("/issueTypes/release", json!("Releases"), Tracker, "jira.issueTypes.release", "Issue types"),
        ("/issueTypes/review", json!("Reviews"), Governance, "jira.issueTypes.review", "Issue types"),
        ("/issueTypes/queue", json!("release"), Queue, "jira.issueTypes.queue", "Issue types"),
        ("/issueTypes/checklist", json!("List"), Checklist, "jira.issueTypes.checklist", "Issue types"),
        // A status of another issue type's workflow, to which no transition leads here.
        ("/statuses/approved", json!("Closed"), Tracker, "jira.statuses.approved", "no transition leads there"),
        ("/statuses/closed", json!("Cleared"), Checklist, "jira.statuses.closed", "no transition leads there"),
        ("/statuses/cleared", json!("cleared"), Queue, "jira.statuses.cleared", "workflow"),
        ("/fields/release", json!("customfield_99999"), Tracker, "jira.fields.release", "number at the end"),
        ("/fields/release", json!("customfield_10109"), Queue, "jira.fields.release", "Short text"),
        ("/fields/release", json!("customfield_10110"), Checklist, "jira.fields.release", "searched"),
        ("/fields/marker", json!("customfield_10109"), Tracker, "jira.fields.marker", "Short text"),
        ("/fields/marker", json!("customfield_99999"), Tracker, "jira.fields.marker", "number at the end"),
        ("/fields/service", Value::Null, Governance, "jira.fields.service", "missing"),
        ("/fields/version", Value::Null, Tracker, "jira.fields.version", "missing"),
        ("/fields/digest", Value::Null, Governance, "jira.fields.digest", "missing"),
    ] {
        is_named(&shop, &[(pointer, value)], system, setting, word).await;
    }
    let elsewhere = json!(format!("{}/jira", shop.front.url()));
    is_named(&shop, &[("/endpoint", elsewhere)], Tracker, "jira.endpoint", "start page").await;

    // The description knows version 3 alone.
    let version_2 = [("/deployment", json!("DataCenter")), ("/endpoint", json!(running.0.url_behind()))];
    is_named(&shop, &version_2, Tracker, "jira.deployment", "Cloud").await;

    for (may, system, word) in [(&CLOSER[..1], Queue, "Transition Issues"), (&CLOSER[..2], Tracker, "Link Issues")] {
        shop.let_do(may).await;
        is_named(&shop, &[], system, "jira.tokenSecretRef", word).await;
        assert_eq!(probe(&shop, shop.product(), Governance).await, Probe::Ready, "what is only read can be read");
    }
    shop.let_do(&[]).await;
    is_named(&shop, &[], Governance, "jira.project", "Browse Projects").await;
    shop.let_do(&CLOSER).await;
    shop.deed("PATCH", &format!("projects/{}", shop.key), json!({"archived": true})).await;
    is_named(&shop, &[], Tracker, "jira.project", "restored").await;
    shop.deed("PATCH", &format!("projects/{}", shop.key), json!({"archived": false, "key": "STORE"})).await;
    is_named(&shop, &[], Governance, "jira.project", "another key").await;
    let made = shop.issue(&Release::new("r-1"), &json!({})).await;
    let tracker = connected(&shop, shop.product()).expect("good settings").tracker.expect("a role");
    for record in [None, Some("SHOP1-1"), Some(made.as_str())] {
        let found = tracker.release(Subject { record, release: "r-1", review_version: "3" }, None).await;
        // A key of the new name is none of the project that is named.
        let misled = matches!(&found, Observation::Unreachable(why) if why.trouble == Trouble::NotUnderstood);
        assert!(misled || (record == Some(&made) && found == Observation::Missing), "{record:?}: {found:?}");
    }

    // A Jira of one's own, of which somebody believes that it is the cloud.
    let Some(jira) = Jira::data_center().await else { return };
    let running = Running(jira);
    let mut shop = running.shop(APPROVE, 1).await;
    is_named(&shop, &[], Tracker, "jira.endpoint", "DataCenter").await;
    shop.deployment = "DataCenter";
    assert_eq!(probe(&shop, shop.product(), Tracker).await, Probe::Ready);
}

#[tokio::test]
async fn jira_settings_that_are_none_are_refused_before_anything_is_sent() {
    let Some(jira) = Jira::data_center().await else { return };
    let mut shop = Running(jira).shop(QUEUE, 1).await;
    shop.deployment = "DataCenter";
    for (pointer, value, setting, rule) in [
        ("/fields/reviewVersion", "property:releaseclosure.review", "jira.fields.reviewVersion", "tells no properties"),
        ("/fields/release", "Release", "jira.fields.release", "customfield_"),
        ("/fields/release", "customfield_x", "jira.fields.release", "customfield_"),
    ] {
        let refused = connected(&shop, product(&shop, &[(pointer, json!(value))])).err();
        let named = matches!(&refused, Some(Refused::Setting { setting: named, rule: right }) if *named == setting && right.contains(rule));
        assert!(named, "{value}: {refused:?}");
    }
    for token in ["", "two words", "caf\u{e9}"] {
        let product = product(&shop, &[("/user", json!("bot@example.test"))]);
        let settings = providers::Settings { product, ..settings(&shop, token, Duration::from_secs(60)) };
        assert_eq!(providers::connect(&settings).err(), Some(Refused::Token), "{token:?}");
    }
    assert_eq!(shop.front.requests(), 0);
}

async fn cell(shop: Shop, part: Part) -> (Arc<Shop>, Cell) {
    let shop = Arc::new(shop);
    let cell = Cell::new(part, shop.clone()).await.expect("a cell");
    (shop, cell)
}

/// A checklist's items are the action items of its description, and its subtasks; in both versions of the API.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jira_a_checklists_items_are_its_action_items_and_subtasks() {
    for deployment in ["Cloud", "DataCenter"] {
        let jira = if deployment == "Cloud" { Jira::cloud().await } else { Jira::data_center().await };
        let Some(jira) = jira else { return };
        let running = Running(jira);
        let (shop, checklist) = cell(Shop { deployment, ..running.shop(CHECKLIST, 1).await }, CHECKLIST).await;
        let look = checklist.must_read().await.expect("it is there");
        checklist.agrees(&look).expect("all is ticked");
        let order = checklist.order(&look).expect("an order");
        let subtasks = json!([{"id": "1", "key": "SHOP-8", "summary": "Sign off", "done": false},
            {"id": "2", "key": "SHOP-9", "summary": "Rehearse", "done": true}]);
        shop.edit(&checklist.made, json!({"description": "- [x] one\n- [ ] two", "subtasks": subtasks})).await;
        let Saw::Found(seen) = checklist.read().await else { panic!("it is there") };
        let Some(Sighting::Checklist(Observation::Found(record, _))) = &seen.sighting else { panic!("a checklist") };
        assert_eq!(record.open_items, ["2 two", "SHOP-8 Sign off"], "{deployment}");
        assert!(checklist.agrees(&seen).is_err(), "an open item is a finding");
        let wrote = checklist.write(order).await;
        assert!(wrote == Wrote::Conflict && checklist.front().changes() == 0, "{wrote:?}");

        // Done otherwise is not done.
        let (shop, queue) = cell(Shop { deployment, ..running.shop(QUEUE, 2).await }, QUEUE).await;
        shop.edit(&queue.made, json!({"status": "Rejected"})).await;
        let Saw::Found(seen) = queue.read().await else { panic!("it is there") };
        let Some(Sighting::Queue(Observation::Found(record, _))) = &seen.sighting else { panic!("an entry") };
        assert_eq!(record.state, Progress::Other("Rejected".to_owned()));
        // Another record's issue type is another record.
        shop.edit(&queue.made, json!({"type": "Release", "status": "In Review"})).await;
        assert_eq!(queue.read().await, Saw::Missing);
        for no_key in
            ["0", "SHOP2-01", "SHOP2-+1", "SHOP2-0", "shop2-1", "SHOP-1", "SHOP2-1/x", "SHOP2-99999999999999999999"]
        {
            assert_eq!(queue.look(Some(no_key)).await, Saw::Missing, "{no_key}");
        }
        let expected = if deployment == "Cloud" { Concurrency::Serialized } else { Concurrency::ReadVerifyWrite };
        assert_eq!(queue.concurrency(), Some(expected));
    }
}

/// The identity in labels, or in issue properties; no mark where none is wanted; and whatever a release is called, it is a text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jira_values_stand_where_the_settings_say() {
    let Some(jira) = Jira::cloud().await else { return };
    let running = Running(jira);
    let shop = running.shop(QUEUE, 1).await;
    let label = [("/fields/release", json!("label:release=")), ("/fields/reviewVersion", json!("label:review="))];
    let property = [
        ("/fields/release", json!("property:com.example.release")),
        ("/fields/reviewVersion", json!("property:review")),
        ("/fields/marker", Value::Null),
    ];
    let [fields, labels, properties] = [&[][..], &label, &property]
        .map(|changes| connected(&shop, product(&shop, changes)).expect("good settings").queue.expect("a role"));
    let ids = ["r-1", "r-1-2", "\"r-1", "r-1\"~OR~project=\"X", "r\\1", "\\", "r-1*", "R-1"];
    let mut made = Vec::new();
    // The record itself is on the last of several pages of what its words find.
    for number in 0..60 {
        shop.issue(&Release::new(&format!("r-1 draft {number}")), &json!({})).await;
    }
    for id in ids {
        let more = json!({"labels": [format!("release={id}"), "review=3", "other"],
            "properties": {"com.example.release": id, "review": 3}});
        made.push(shop.issue(&Release::new(id), &more).await);
    }
    for (release, entry) in ids.into_iter().zip(&made) {
        for (place, queue) in [("fields", &fields), ("labels", &labels), ("properties", &properties)] {
            let subject = Subject { record: None, release, review_version: "3" };
            let found = queue.entry(subject, None).await;
            assert!(
                matches!(&found, Observation::Found(record, _) if record.id == *entry),
                "{place}, {release}: {found:?}"
            );
            let read = queue.entry(Subject { record: Some(entry), ..subject }, None).await;
            assert_eq!(found, read, "{place}, {release}");
            let other = queue.entry(Subject { review_version: "4", ..subject }, None).await;
            assert_eq!(other, Observation::Missing, "{place}, {release}");
        }
    }
    // Two labels are two values, of which neither is the one.
    shop.deed("PATCH", &format!("issues/{}", made[0]), json!({"labels": ["release=r-1", "release=r-2", "review=3"]}))
        .await;
    let subject = Subject { record: None, release: "r-1", review_version: "3" };
    assert_eq!(labels.entry(subject, None).await, Observation::Missing);
}

/// Without a field for it no mark is left, and the connection says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jira_without_a_field_there_is_no_mark() {
    let Some(jira) = Jira::cloud().await else { return };
    let running = Running(jira);
    for (number, (part, role)) in [(APPROVE, System::Tracker), (QUEUE, System::Queue)].into_iter().enumerate() {
        let (shop, mut tracker) = cell(running.shop(part, number).await, part).await;
        tracker.connected =
            connected(&shop, product(&shop, &[("/fields/marker", Value::Null)])).expect("good settings");
        // No screen is needed for it.
        shop.deed("PATCH", &format!("projects/{}", shop.key), json!({"screens": false})).await;
        let abilities = tracker.connected.prober.abilities(role).expect("a role");
        assert_eq!((abilities.marker, abilities.carries.contains(&"closure")), (Some(false), false));
        let look = tracker.must_read().await.expect("it is there");
        let wrote = tracker.write(tracker.order(&look).expect("an order")).await;
        assert!(
            matches!(&wrote, Wrote::Answered(look) if look.done && look.marking == Marking::NotCarried),
            "{wrote:?}"
        );
        let truth = tracker.truth().await;
        assert!(truth.done && truth.words && truth.marks == 0, "{truth:?}");
    }
}

/// A permission that is withdrawn right before the change makes nothing missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jira_what_is_hidden_at_the_moment_of_the_change_is_not_gone() {
    let Some(jira) = Jira::cloud().await else { return };
    let running = Running(jira);
    for (number, part) in [CHECKLIST, APPROVE, ATTACH].into_iter().enumerate() {
        let (_, record) = cell(running.shop(part, number).await, part).await;
        let look = record.must_read().await.expect("it is there");
        record.person_when(On::Write, Deed::WithdrawReading);
        let wrote = record.write(record.order(&look).expect("an order")).await;
        assert!(matches!(&wrote, Wrote::NotApplied(why) if why.trouble == Trouble::Forbidden), "{wrote:?}");
        assert!(!record.truth().await.done);
    }
}

/// What stands under our key is left as somebody made it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jira_a_link_that_somebody_changed_is_not_written_over() {
    let Some(jira) = Jira::cloud().await else { return };
    let running = Running(jira);
    let (shop, attach) = cell(running.shop(ATTACH, 1).await, ATTACH).await;
    let look = attach.must_read().await.expect("it is there");
    let wrote = attach.write(attach.order(&look).expect("an order")).await;
    assert!(matches!(&wrote, Wrote::Answered(look) if look.done), "{wrote:?}");
    let mut links = shop.now(&attach.made).await["links"].clone();
    let ours = links
        .as_array()
        .expect("links")
        .iter()
        .position(|link| link["globalId"].as_str().is_some_and(|id| id.starts_with("releaseclosure=r-2026.11.3@")));
    links[ours.expect("ours")]["object"]["title"] = json!("Somebody's words");
    shop.edit(&attach.made, json!({"links": links})).await;
    let look = attach.must_read().await.expect("it is there");
    assert!(!look.done, "it is the bundle's link no more");
    let wrote = attach.write(attach.order(&look).expect("an order")).await;
    assert!(wrote == Wrote::Refused && attach.front().changes() == 1, "{wrote:?}");
    assert_eq!(shop.now(&attach.made).await["links"], links);

    // A token that is nobody's: a record that is not found is not missing.
    let (_, queue) = cell(running.shop(QUEUE, 2).await, QUEUE).await;
    queue.person(Deed::Revoke).await.expect("a deed");
    let found = queue.find().await;
    assert!(matches!(&found, Saw::Unreachable(why) if why.trouble == Trouble::Unauthorized), "{found:?}");
}
