//! The operator's rights are exactly those that it uses: what it was seen to ask, by the API server's own audit log, against
//! every rule of every role that its account is bound to.

use crate::audit::{Asked, asked};
use crate::operators::{ACCOUNT, Operator, account, furnished};
use crate::stage::{Setup, Stage, condition, ready};
use crate::support::controlplane::{ControlPlane, eventually};
use crate::tenancy::{for_many, under};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// One right: one verb on one resource, by one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The kind, namespace and name of the role.
    role: String,
    verb: String,
    what: String,
    /// Where; none means everywhere.
    namespace: Option<String>,
    /// The names it is limited to; none means all.
    names: BTreeSet<String>,
}

impl Grant {
    /// The resource, and its group.
    pub fn what(&self) -> &str {
        &self.what
    }

    fn covers(&self, asked: &Asked) -> bool {
        self.verb == asked.verb
            && self.what == asked.what
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == asked.namespace)
            && (self.names.is_empty() || self.names.contains(&asked.name))
    }
}

/// Verbs that a rule cannot limit to names, or not to any use: a creation has none yet, a list is of all.
const NAMELESS: [&str; 3] = ["create", "list", "watch"];

/// What is wrong between rights and uses: a right that nobody used, one that is wider than its uses, a use without a right.
pub fn differences(grants: &[Grant], used: &[Asked]) -> Vec<String> {
    let mut wrong = BTreeSet::new();
    for grant in grants {
        let Grant { role, verb, what, .. } = grant;
        let uses: Vec<&Asked> = used.iter().filter(|asked| grant.covers(asked)).collect();
        let all = |field: fn(&Asked) -> &String| uses.iter().map(|asked| field(asked)).collect::<BTreeSet<_>>();
        let (namespaces, names) = (all(|asked| &asked.namespace), all(|asked| &asked.name));
        if uses.is_empty() {
            wrong.insert(format!("{role} grants {verb} {what}, which is never used"));
            continue;
        }
        if grant.namespace.is_none() && namespaces.len() == 1 && !namespaces.contains(&String::new()) {
            wrong.insert(format!("{role} grants {verb} {what} everywhere, and it is used in {namespaces:?} alone"));
        }
        // Where it holds in many namespaces, a name alone says nothing.
        let narrow = grant.namespace.is_some() && names.len() == 1;
        if narrow && grant.names.is_empty() && !NAMELESS.contains(&verb.as_str()) {
            wrong.insert(format!("{role} grants {verb} {what} of every name, and it is used for {names:?} alone"));
        }
        for name in grant.names.iter().filter(|name| !names.contains(name)) {
            wrong.insert(format!("{role} grants {verb} {what} {name}, which is never used"));
        }
    }
    for asked in used.iter().filter(|asked| !grants.iter().any(|grant| grant.covers(asked))) {
        let Asked { verb, what, namespace, name, status } = asked;
        wrong.insert(format!("no rule grants {verb} {what} {namespace}/{name}, which was asked for ({status})"));
    }
    wrong.into_iter().collect()
}

/// Every right that a binding gives to the operator's account by name.
pub fn granted(plane: &ControlPlane) -> Vec<Grant> {
    let read = |args: &[&str]| -> Value { serde_json::from_str(&plane.kubectl(args)).expect("JSON") };
    let bindings = read(&["get", "clusterrolebindings,rolebindings", "-A", "-o", "json"]);
    let mut grants = Vec::new();
    for binding in bindings["items"].as_array().unwrap() {
        let ours = |subject: &Value| {
            subject["name"] == ACCOUNT
                || subject["name"] == "releaseclosure-operator" && subject["namespace"] == "releaseclosure-system"
        };
        if !binding["subjects"].as_array().is_some_and(|subjects| subjects.iter().any(ours)) {
            continue;
        }
        let namespace = binding["metadata"]["namespace"].as_str();
        let (kind, name) = (binding["roleRef"]["kind"].as_str().unwrap(), binding["roleRef"]["name"].as_str().unwrap());
        let role = read(&["-n", namespace.unwrap_or("default"), "get", kind, name, "-o", "json"]);
        for rule in role["rules"].as_array().unwrap() {
            grants.extend(rights(&format!("{kind} {name}"), namespace, rule));
        }
    }
    grants
}

fn rights(role: &str, namespace: Option<&str>, rule: &Value) -> Vec<Grant> {
    let list = |field: &str| -> Vec<String> { serde_json::from_value(rule[field].clone()).unwrap_or_default() };
    let names: BTreeSet<String> = list("resourceNames").into_iter().collect();
    let mut grants = Vec::new();
    for (group, resource) in
        list("apiGroups").iter().flat_map(|group| list("resources").into_iter().map(move |r| (group, r)))
    {
        let what = format!("{resource}.{group}");
        grants.extend(list("verbs").into_iter().map(|verb| Grant {
            role: role.to_owned(),
            verb,
            what: what.clone(),
            namespace: namespace.map(str::to_owned),
            names: names.clone(),
        }));
    }
    grants
}

/// Everything that happens to closures of one namespace.
async fn everything_happens(stage: &Stage) {
    stage.settled_in().await;
    // A feed, of which the operator tells that it is ready.
    let feed = json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "AcceptanceFeed",
        "metadata": {"name": "governance", "namespace": stage.namespace},
        "spec": {"playbookRef": {"name": "engineering-release"},
            "webhook": {"format": "StandardWebhooks", "secretRefs": [{"name": "sandbox-token", "key": "token"}]}}});
    let plane = stage.plane;
    let apply = move || plane.kubectl_with(&["apply", "-f", "-"], &feed.to_string());
    tokio::task::spawn_blocking(apply).await.unwrap();
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
    let shared = for_many(&stage.namespace, &json!({}), &json!({}), &stage.handle.endpoint()).to_string();
    let apply = move || plane.kubectl_with(&["apply", "-f", "-"], &shared);
    tokio::task::spawn_blocking(apply).await.unwrap();
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
    let start =
        || -> &'static ControlPlane { Box::leak(Box::new(furnished(ControlPlane::start_restartable(&["--audit"])))) };
    let plane = tokio::task::spawn_blocking(start).await.unwrap();
    let flags = ["--lease-namespace=releaseclosure-system"];
    let operators = tokio::task::spawn_blocking(move || {
        let first = Operator::start(account(plane), &flags);
        let second = Operator::launch(account(plane), &flags);
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
        differences(&rights("ClusterRole r", namespace, &rule(names, verbs)), &used)
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
    let start =
        || -> &'static ControlPlane { Box::leak(Box::new(furnished(ControlPlane::start_restartable(&["--audit"])))) };
    let plane = tokio::task::spawn_blocking(start).await.unwrap();
    let shut = stage_on(plane, "rights-shut").await;
    plane.kubectl(&["-n", "rights-shut", "delete", "rolebinding", "operator-secrets"]);
    let flags = ["--lease-namespace=releaseclosure-system"];
    let operator = tokio::task::spawn_blocking(move || Operator::start(account(plane), &flags)).await.unwrap();
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
