//! The operator's rights are exactly those that it uses: what it was seen to ask, by the API server's own audit log, against
//! every rule of every role that its account is bound to.

use crate::audit::{self, Asked};
use crate::grants::{self, Grant, differences};
use crate::operators::{ACCOUNT, Operator, Start, own_plane};
use crate::stage::{OPEN_SECRETS, Setup, Stage, condition, ready};
use crate::support::controlplane::{ControlPlane, eventually};
use crate::tenancy::{for_many, under};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Every request of the operator to a server that has the flag `--audit`.
pub fn asked(plane: &ControlPlane) -> Vec<Asked> {
    audit::read(&plane.audit_log(), ACCOUNT)
}

/// Every right that the operator has.
pub fn granted(plane: &ControlPlane) -> Vec<Grant> {
    let kinds = "clusterroles,roles,clusterrolebindings,rolebindings";
    let all: Value = serde_json::from_str(&plane.kubectl(&["get", kinds, "-A", "-o", "json"])).expect("JSON");
    grants::of(ACCOUNT, all["items"].as_array().expect("a list"))
}

/// Everything that happens to closures of one namespace.
async fn everything_happens(stage: &Stage) {
    stage.settled_in().await;
    // A feed, of which the operator tells that it is ready; and again, when somebody has edited it.
    let mut feed = json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "AcceptanceFeed",
        "metadata": {"name": "governance", "namespace": stage.namespace},
        "spec": {"playbookRef": {"name": "engineering-release"},
            "webhook": {"format": "StandardWebhooks", "secretRefs": [{"name": "sandbox-token", "key": "token"}]}}});
    for generation in 1..=2 {
        feed["spec"]["template"] = json!({"coordinator": format!("coordinators-{generation}")});
        stage.apply(vec![feed.clone()]).await;
        stage.judged("acceptancefeed", "governance").await;
    }
    // A clean one, with a write that is refused for a while and tried again.
    let busy = stage.fault(json!({"match": {"role": "tracker", "times": 1}, "action": {"status": {"code": 503}}}));
    let name = stage.start().await;
    stage.closed(&name).await;
    stage.sandbox().remove_fault(&busy);
    // Two halts: one is released, one given up. A packet that somebody deleted is made again.
    for (number, decision) in [(2, "Resume"), (3, "Abandon")] {
        let entry = format!("Q-{number:05}");
        stage.sandbox().edit(releaseclosure::sandbox::Role::Queue, &entry, &json!({"state": "Parked"}));
        let name = stage.create(&stage.closure(number)).await;
        let (_, packet) = stage.halted(&name).await;
        stage.packets.delete(&packet.metadata.name.clone().unwrap(), &Default::default()).await.unwrap();
        let (_, packet) = stage.halted(&name).await;
        stage.sandbox().edit(releaseclosure::sandbox::Role::Queue, &entry, &json!({"state": "Pending"}));
        stage.resolve(&packet, decision, None).await;
        let end = if decision == "Resume" { "Closed" } else { "Abandoned" };
        stage.wait(&name, end, |closure| ready(closure).1 == end).await;
    }
    // A plan, a suspended one, and one that is deleted at work.
    let mut plan = stage.closure(4);
    plan["spec"]["mode"] = "Plan".into();
    let plan = stage.create(&plan).await;
    stage.wait(&plan, "planned", |closure| ready(closure).1 == "Planned").await;
    stage.patch(&plan, json!({"spec": {"suspend": true}})).await;
    stage.patch(&plan, json!({"spec": {"suspend": false, "mode": "Close"}})).await;
    stage.closed(&plan).await;
    let fault = stage.fault(json!({"match": {"role": "archive"}, "action": {"status": {"code": 503}}}));
    let waiting = stage.create(&stage.closure(5)).await;
    stage.waiting(&waiting, "ArchiveUnavailable").await;
    stage.delete(&waiting).await;
    stage.sandbox().remove_fault(&fault);
    // One under what is given to many namespaces.
    stage.apply(for_many(&stage.namespace, &json!({}), &json!({}), &stage.handle.endpoint())).await;
    let shared = stage.create(&under(&stage.namespace, stage.closure(6))).await;
    stage.closed(&shared).await;
}

async fn stage_on(plane: &'static ControlPlane, name: &str) -> Stage {
    let seed = releaseclosure::sandbox::generate(6);
    Stage::with(name, Setup { plane: Some(plane), seed, ..Setup::default() }).await
}

/// One test: rights are of the whole program, so everything must have happened.
#[tokio::test]
async fn the_rights_that_are_used_are_the_rights_that_are_granted() {
    let plane = own_plane(&["--audit"]).await;
    let operators = tokio::task::spawn_blocking(move || {
        let first = Operator::installed(plane, Start::default()).up();
        let second = Operator::installed(plane, Start::default());
        eventually("the second stands by", || second.logged("standing by"));
        (first, second)
    });
    let (first, second) = operators.await.unwrap();
    let one = stage_on(plane, "rights-one").await;
    everything_happens(&one).await;

    // Another leads, after the API server was away.
    first.signal("-TERM");
    tokio::task::spawn_blocking(move || plane.crash(Duration::from_millis(500))).await.unwrap();
    let two = stage_on(plane, "rights-two").await;
    everything_happens(&two).await;
    drop((first, second));

    let grants = granted(plane);
    assert_eq!(differences(&grants, &seen(plane)), Vec::<String>::new());
    // An API server that has just started refuses what it grants a moment later.
    let lacking = |asked: &Asked| asked.status == 403 && !grants.iter().any(|grant| grant.covers(asked));
    let refused: Vec<Asked> = asked(plane).into_iter().filter(lacking).collect();
    assert_eq!(refused, []);
}

/// What it asked; not the requests about no object (the version), which every account may make.
fn seen(plane: &ControlPlane) -> Vec<Asked> {
    asked(plane).into_iter().filter(|asked| asked.what != ".").collect()
}

#[test]
fn every_kind_of_difference_is_told_by_its_rule() {
    let rule = |names: Value, verbs: Value| json!({"apiGroups": ["g"], "resources": ["things"], "verbs": verbs, "resourceNames": names});
    let asked = |verb: &str, namespace: &str, name: &str| Asked {
        verb: verb.to_owned(),
        what: "things.g".to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        status: 200,
    };
    let used = [asked("get", "a", "x"), asked("get", "b", "y"), asked("list", "", "")];
    let told = |namespace: Option<&str>, names: Value, verbs: Value| {
        differences(&grants::by_rule("ClusterRole r", namespace, &rule(names, verbs)), &used)
    };
    assert_eq!(told(None, json!([]), json!(["get", "list"])), Vec::<String>::new());
    for (namespace, names, verbs, said) in [
        (None, json!([]), json!(["get", "list", "patch"]), "grants patch things.g, which is never used"),
        (None, json!([]), json!(["get"]), "no rule grants list things.g /, which was asked for (200)"),
        (None, json!(["x", "y", "z"]), json!(["get"]), "grants get things.g z, which is never used"),
        (None, json!(["x"]), json!(["get"]), "everywhere, and it is used in {\"a\"} alone"),
        (Some("a"), json!([]), json!(["get"]), "of every name, and it is used for {\"x\"} alone"),
        (Some("a"), json!(["x"]), json!(["get"]), "no rule grants get things.g b/y, which was asked for"),
    ] {
        let found = told(namespace, names, verbs);
        assert!(found.iter().any(|line| line.contains(said)), "{said}: {found:?}");
    }
}

#[tokio::test]
async fn a_namespace_that_was_not_opened_says_so_and_nothing_else_is_refused() {
    let plane = own_plane(&["--audit"]).await;
    let shut = stage_on(plane, "rights-shut").await;
    plane.kubectl(&["-n", "rights-shut", "delete", "rolebinding", OPEN_SECRETS.1]);
    let operator = tokio::task::spawn_blocking(|| Operator::installed(plane, Start::default()).up()).await.unwrap();
    let name = shut.start().await;
    let waits = |closure: &_| condition(closure, "Reconciling").is_some_and(|(_, reason)| reason != "Progressing");
    shut.wait(&name, "waiting", waits).await;
    let reasons = r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].reason}"#;
    eventually("every connection", || {
        let said = plane.kubectl(&["-n", "rights-shut", "get", "systemconnections", "-o", reasons]);
        said.split_whitespace().collect::<Vec<_>>() == ["SecretForbidden"; 6]
    });
    drop(operator);
    assert_eq!(shut.requests(), Vec::<String>::new());
    let of = |asked: Asked| (asked.verb, asked.what, asked.namespace, asked.name);
    let refused: BTreeSet<_> = asked(plane).into_iter().filter(|asked| asked.status == 403).map(of).collect();
    let secret = ["get", "secrets.", "rights-shut", "sandbox-token"].map(str::to_owned);
    let [verb, what, namespace, secret] = secret;
    assert_eq!(refused, BTreeSet::from([(verb, what, namespace, secret)]));
}
