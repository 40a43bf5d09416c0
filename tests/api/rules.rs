//! What may change in a closure, and what may not.

use crate::cluster::{Objects, closure, digest, namespace, small_closure};
use serde_json::{Value, json};

const NEW_OBJECT: &str = "a new review version is a new object";

/// Every field of a closure's identity with another value that would be let in at creation.
fn identity() -> Vec<(&'static str, Value)> {
    vec![
        ("/spec/playbookRef/kind", json!("ClusterClosurePlaybook")),
        ("/spec/playbookRef/name", json!("other")),
        ("/spec/release/id", json!("other")),
        ("/spec/release/service", json!("other")),
        ("/spec/release/version", json!("other")),
        ("/spec/review/id", json!("other")),
        ("/spec/review/version", json!("4")),
        ("/spec/review/acceptedEvent/id", json!("other")),
        ("/spec/review/acceptedEvent/source", json!("/other")),
        ("/spec/review/acceptedEvent/time", json!("2026-11-20T10:00:01Z")),
        ("/spec/milestone/id", json!("13")),
        ("/spec/milestone/title", json!("Spring")),
        ("/spec/evidence/bundle", json!("billing/7.2/rv4")),
        ("/spec/evidence/digest", json!(digest('b'))),
        ("/spec/records", json!({})),
        ("/spec/records/tracker", json!("other")),
        ("/spec/records/checklist", json!("other")),
        ("/spec/records/queueEntry", json!("other")),
        ("/spec/coordinator", json!("other")),
    ]
}

const OPTIONAL: [&str; 7] = [
    "/spec/review/acceptedEvent/source",
    "/spec/review/acceptedEvent/time",
    "/spec/records",
    "/spec/records/tracker",
    "/spec/records/checklist",
    "/spec/records/queueEntry",
    "/spec/coordinator",
];

fn parent<'a>(object: &'a mut Value, pointer: &str) -> (&'a mut serde_json::Map<String, Value>, String) {
    let (path, field) = pointer.rsplit_once('/').expect("a pointer");
    let parent = object.pointer_mut(path).expect("the parent is there");
    (parent.as_object_mut().expect("an object"), field.to_owned())
}

#[test]
fn the_list_of_identity_fields_is_complete() {
    fn leaves(path: &str, value: &Value, found: &mut Vec<String>) {
        match value.as_object() {
            Some(fields) => fields.iter().for_each(|(name, value)| leaves(&format!("{path}/{name}"), value, found)),
            None => found.push(path.to_owned()),
        }
    }
    let mut found = Vec::new();
    leaves("/spec", &closure("x")["spec"], &mut found);
    let mut listed: Vec<String> = identity().into_iter().map(|(pointer, _)| pointer.to_owned()).collect();
    listed.retain(|pointer| pointer != "/spec/records");
    found.sort();
    listed.sort();
    assert_eq!(found, listed);
    let definition = releaseclosure::api::crds().remove(0);
    let definition = serde_json::to_value(definition).unwrap();
    let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let known: Vec<&str> = spec.as_object().unwrap().keys().map(String::as_str).collect();
    let free: Vec<&str> =
        known.into_iter().filter(|field| !found.iter().any(|p| p.starts_with(&format!("/spec/{field}")))).collect();
    assert_eq!(free, ["mode", "suspend"], "every other field of the spec is in the example");
}

#[tokio::test]
async fn no_part_of_the_identity_changes() {
    let closures = Objects::of("ReleaseClosure", namespace("identity")).await;
    closures.create(&closure("full")).await.unwrap();
    closures.create(&small_closure("small")).await.unwrap();
    let mut emptied = closure("no-records");
    emptied["spec"]["records"] = json!({});
    closures.create(&emptied).await.unwrap();

    for (pointer, other) in identity() {
        // It is an identity that somebody could have: the value alone is not what is refused.
        let mut another = closure(&format!("as{}", pointer.to_lowercase().replace('/', "-")));
        *another.pointer_mut(pointer).unwrap() = other.clone();
        closures.create(&another).await.unwrap_or_else(|refusal| panic!("{pointer}: {refusal}"));

        let refusal = closures.change("full", |object| *object.pointer_mut(pointer).unwrap() = other).await;
        let refusal = refusal.expect_err(pointer);
        let field = pointer.split('/').nth(2).unwrap();
        assert!(refusal.contains(NEW_OBJECT) && refusal.contains(&format!("spec.{field}")), "{pointer}: {refusal}");
    }
    for pointer in OPTIONAL {
        let removed = closures.change("full", |object| {
            let (parent, field) = parent(object, pointer);
            parent.remove(&field).expect("the field is there");
        });
        assert!(removed.await.expect_err(pointer).contains(NEW_OBJECT), "{pointer} was removed");
        let to = if pointer.starts_with("/spec/records/") { "no-records" } else { "small" };
        let value = closure("x").pointer(pointer).unwrap().clone();
        let added = closures.change(to, |object| {
            let (parent, field) = parent(object, pointer);
            assert!(parent.insert(field, value).is_none(), "the field was there");
        });
        assert!(added.await.expect_err(pointer).contains(NEW_OBJECT), "{pointer} was added");
    }
    closures.change("full", |object| object["spec"]["suspend"] = true.into()).await.expect("suspend may change");
    closures.change("full", |object| object["spec"]["suspend"] = false.into()).await.expect("and back");
}

#[tokio::test]
async fn a_plan_becomes_a_closure_and_nothing_becomes_a_plan() {
    let closures = Objects::of("ReleaseClosure", namespace("modes")).await;
    let mut plan = closure("plan");
    plan["spec"]["mode"] = "Plan".into();
    closures.create(&plan).await.unwrap();
    closures.change("plan", |object| object["spec"]["mode"] = "Close".into()).await.expect("Plan becomes Close");
    let refusal = closures.change("plan", |object| object["spec"]["mode"] = "Plan".into()).await;
    let refusal = refusal.expect_err("Close does not become Plan");
    assert!(refusal.contains("spec.mode changes from Plan to Close only"), "{refusal}");
}

#[tokio::test]
async fn a_finished_closure_is_frozen() {
    let closures = Objects::of("ReleaseClosure", namespace("finished")).await;
    let mut plan = closure("done");
    plan["spec"]["mode"] = "Plan".into();
    closures.create(&plan).await.unwrap();
    let finished = json!({"observedGeneration": 1, "completionTime": "2026-11-20T12:00:00Z"});
    closures.write_status("done", finished.clone()).await.expect("it is finished");
    for (field, value) in [("suspend", json!(true)), ("mode", json!("Close"))] {
        let refusal = closures.change("done", |object| object["spec"][field] = value).await.expect_err(field);
        assert!(refusal.contains("this closure is finished and its spec is frozen"), "{field}: {refusal}");
    }
    closures
        .change("done", |object| object["metadata"]["labels"] = json!({"looked-at": "yes"}))
        .await
        .expect("labels are not part of the spec");
    closures.write_status("done", finished.clone()).await.expect("the same again");
    for other in
        [json!({"observedGeneration": 1}), json!({"observedGeneration": 1, "completionTime": "2026-11-21T12:00:00Z"})]
    {
        let refusal = closures.write_status("done", other).await.expect_err("it is set once");
        assert!(refusal.contains("status.completionTime is set once"), "{refusal}");
    }
}
