//! Facts that nobody changes, and resolutions that are what they say.

use crate::cluster::{HALT, Objects, await_resolved_by_policy, cluster, digest, eventually, me, namespace, packet};
use crate::roles::may;
use crate::support::controlplane::repository;
use serde_json::{Value, json};

fn resolution(decision: &str) -> Value {
    json!({"decision": decision, "haltId": HALT, "resolvedBy": me()})
}

#[tokio::test]
async fn facts_never_change() {
    let packets = Objects::of("FollowUpPacket", namespace("facts")).await;
    packets.create(&packet("full", "MilestoneRenamed")).await.unwrap();
    let changes = [
        ("closureRef", json!({"name": "other", "uid": "u"})),
        ("closureKey", json!("other@RR-9@3")),
        ("haltId", json!("h-ffffffffffffffffffff")),
        ("haltedAt", json!("2026-11-20T11:00:01Z")),
        ("cause", json!("EvidenceMissing")),
        ("coordinator", json!("other")),
        ("release", json!({"id": "other", "service": "billing", "version": "7.2"})),
        ("review", json!({"id": "RR-9", "version": "4", "acceptedEvent": {"id": "evt-1"}})),
        ("milestone", json!({"id": "12", "title": "Spring"})),
        ("evidence", json!({"bundle": "billing/7.2/rv3", "digest": digest('b')})),
        ("findings", json!([])),
        ("findingsOmitted", json!(1)),
        ("steps", json!([{"name": "CloseChecklist", "outcome": "Changed"}])),
        ("instructions", json!(["Do something else."])),
    ];
    let definition = releaseclosure::api::crds().remove(3);
    let definition = serde_json::to_value(definition).unwrap();
    let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let facts = spec.as_object().unwrap().keys().filter(|field| *field != "resolution");
    assert!(facts.eq(sorted(&changes).iter()), "the list of facts is complete");
    for (fact, value) in changes {
        let refusal = packets.change("full", |object| object["spec"][fact] = value).await.expect_err(fact);
        assert!(refusal.contains(&format!("spec.{fact} is a fact of the halt and never changes")), "{fact}: {refusal}");
    }
    for fact in ["coordinator", "findings", "steps", "instructions"] {
        let removed = packets.change("full", |object| {
            object["spec"].as_object_mut().unwrap().remove(fact);
        });
        assert!(removed.await.expect_err(fact).contains("is a fact of the halt"), "{fact} was removed");
    }
    packets
        .change("full", |object| object["metadata"]["labels"] = json!({"seen": "yes"}))
        .await
        .expect("labels are for people");
}

fn sorted(changes: &[(&str, Value)]) -> Vec<String> {
    let mut names: Vec<String> = changes.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_resolution_comes_later_means_this_halt_and_is_final() {
    let packets = Objects::of("FollowUpPacket", namespace("resolutions")).await;
    let mut resolved = packet("at-once", "MilestoneRenamed");
    resolved["spec"]["resolution"] = resolution("Resume");
    let refusal = packets.create(&resolved).await.expect_err("resolved at creation");
    assert!(refusal.contains("a packet is created without a resolution"), "{refusal}");

    packets.create(&packet("p", "MilestoneRenamed")).await.unwrap();
    let resolve = |value: Value| packets.change("p", |object| object["spec"]["resolution"] = value);
    let mut other_halt = resolution("Resume");
    other_halt["haltId"] = "h-ffffffffffffffffffff".into();
    let refusal = resolve(other_halt).await.expect_err("another halt");
    assert!(refusal.contains("resolution.haltId must be the packet's haltId"), "{refusal}");
    for (field, bad) in [
        ("decision", json!("Retry")),
        ("haltId", json!("h-1")),
        ("handoff", json!("Maybe")),
        ("note", json!("x".repeat(1025))),
    ] {
        let mut wrong = resolution("Resume");
        wrong[field] = bad;
        resolve(wrong).await.expect_err(field);
    }
    for field in ["decision", "haltId"] {
        let mut less = resolution("Abandon");
        less.as_object_mut().unwrap().remove(field);
        resolve(less).await.expect_err(field);
    }
    resolve(resolution("Resume")).await.expect("a resolution as it should be");
    for other in [resolution("Abandon"), json!({"note": "later"}), Value::Null] {
        let refusal = packets.change("p", |object| match other {
            Value::Null => drop(object["spec"].as_object_mut().unwrap().remove("resolution")),
            note if note["decision"].is_null() => object["spec"]["resolution"]["note"] = note["note"].clone(),
            decision => object["spec"]["resolution"] = decision,
        });
        let refusal = refusal.await.expect_err("it is final");
        assert!(refusal.contains("a resolution is final"), "{refusal}");
    }
}

#[tokio::test]
async fn the_handoff_is_told_exactly_where_it_is_asked() {
    let packets = Objects::of("FollowUpPacket", namespace("handoffs")).await;
    let mut number = 0;
    for cause in ["NotificationUncertain", "MilestoneRenamed"] {
        for decision in ["Resume", "Abandon"] {
            for handoff in [None, Some("Delivered"), Some("NotDelivered")] {
                number += 1;
                let name = format!("p{number}");
                packets.create(&packet(&name, cause)).await.unwrap();
                let mut resolution = resolution(decision);
                if let Some(handoff) = handoff {
                    resolution["handoff"] = handoff.into();
                }
                let answer = packets.change(&name, |object| object["spec"]["resolution"] = resolution).await;
                let asked = cause == "NotificationUncertain" && decision == "Resume";
                match answer {
                    Ok(_) => assert_eq!(asked, handoff.is_some(), "{cause} {decision} {handoff:?} was let in"),
                    Err(refusal) => {
                        assert_ne!(asked, handoff.is_some(), "{cause} {decision} {handoff:?}: {refusal}");
                        assert!(
                            refusal.contains("resolution.handoff (Delivered or NotDelivered) is required"),
                            "{refusal}"
                        );
                    }
                }
            }
        }
    }
}

/// One test, because the second policy is for the whole server.
#[tokio::test]
async fn whoever_resolves_does_so_in_their_own_name() {
    let namespace = namespace("names");
    await_resolved_by_policy(namespace).await;
    let args = ["create", "rolebinding", "jo", "--clusterrole=releaseclosure-coordinator", "--user=jo"];
    cluster().kubectl(&[&["-n", namespace], &args[..]].concat());
    let may = async || may("jo", "patch", "releaseclosure.io", "followuppackets", namespace, None).await;
    eventually("jo is bound", may).await;
    let admin = Objects::of("FollowUpPacket", namespace).await;
    let jo = Objects::of_user("FollowUpPacket", namespace, Some("jo")).await;
    admin.create(&packet("by-name", "MilestoneRenamed")).await.unwrap();
    let resolve = |name: &'static str, by: Option<&str>| {
        let mut resolution = json!({"decision": "Resume", "haltId": HALT});
        if let Some(by) = by {
            resolution["resolvedBy"] = by.into();
        }
        jo.change(name, move |object| object["spec"]["resolution"] = resolution)
    };
    for somebody_else in ["kim", "JO", "jo ", "system:admin"] {
        let refusal = resolve("by-name", Some(somebody_else)).await.expect_err(somebody_else);
        assert!(refusal.contains("spec.resolution.resolvedBy must be the user who resolves: jo"), "{refusal}");
    }
    let refusal = resolve("by-name", None).await.expect_err("nobody");
    assert!(refusal.contains("resolvedBy"), "{refusal}");
    resolve("by-name", Some("jo")).await.expect("in her own name");
    admin
        .change("by-name", |object| object["metadata"]["labels"] = json!({"read": "yes"}))
        .await
        .expect("somebody else may still put a label on it");

    let overlay = repository("manifests/components/fill-in-resolved-by/policy.yaml").display().to_string();
    cluster().kubectl(&["apply", "-f", &overlay]);
    admin.create(&packet("filled-in", "MilestoneRenamed")).await.unwrap();
    eventually("the policy that fills in the name is in force", async || resolve("filled-in", None).await.is_ok())
        .await;
    let filled_in = admin.get("filled-in").await;
    assert_eq!(filled_in["spec"]["resolution"], json!({"decision": "Resume", "haltId": HALT, "resolvedBy": "jo"}));
    admin.create(&packet("forged", "MilestoneRenamed")).await.unwrap();
    let refusal = resolve("forged", Some("kim")).await.expect_err("it does not overwrite, and the other one refuses");
    assert!(refusal.contains("must be the user who resolves: jo"), "{refusal}");
    cluster().kubectl(&["delete", "-f", &overlay]);
}
