//! What Flux and Argo CD make of our objects, by their own code on objects of the real operator: every state of a closure, the
//! actions from Argo CD's pages, and what a refused edit does to the rest of a Kustomization.

use crate::operators::{Operator, Start, own_plane};
use crate::stage::{Setup, Stage, ready};
use crate::support::controlplane::{ControlPlane, repository};
use crate::systems;
use kube::ResourceExt as _;
use releaseclosure::api::FollowUpPacket;
use releaseclosure::sandbox::Role;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Whom Argo CD's pages act as.
const ARGO: &str = "system:serviceaccount:argocd:argocd-server";

/// The program that holds the code of both.
struct Tools(PathBuf);

impl Tools {
    fn find() -> Option<Tools> {
        Some(Tools(systems::require("gitops")?.join("bin/gitops")))
    }

    fn run(&self, args: &[&str], objects: &Value) -> Value {
        let mut command = Command::new(&self.0);
        command.args(args).env_remove("KUBECONFIG").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it can be started");
        child.stdin.take().unwrap().write_all(objects.to_string().as_bytes()).expect("it reads");
        let ran = child.wait_with_output().expect("it ends");
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        serde_json::from_slice(&ran.stdout).expect("its answer is JSON")
    }

    /// What kstatus, Flux with our expressions, and Argo CD with our scripts say of an object; and the actions.
    fn verdict(&self, object: &Value) -> ([String; 3], Vec<String>) {
        let (scripts, expressions) = (shipped("argocd/argocd-cm.yaml"), shipped("flux/health-checks.yaml"));
        let verdict = self.run(&["health", &scripts, &expressions], &json!([object]))[0].take();
        let status = |of: &str| verdict[of]["status"].as_str().unwrap_or("-").to_owned();
        let mut actions: Vec<String> = serde_json::from_value(verdict["actions"].clone()).unwrap();
        actions.sort();
        (["kstatus", "flux", "argo"].map(status), actions)
    }

    /// Does what a click on an action does.
    fn click(&self, plane: &ControlPlane, action: &str, object: &Value) -> Result<(), String> {
        let patch = self.run(&["action", &shipped("argocd/argocd-cm.yaml"), action], &json!([object])).to_string();
        let of = &object["metadata"];
        let (kind, name) = (object["kind"].as_str().unwrap().to_lowercase(), of["name"].as_str().unwrap());
        let namespace = of["namespace"].as_str().unwrap();
        let who = format!("--as={ARGO}");
        let ran = plane.try_kubectl(&["-n", namespace, "patch", &kind, name, "--type=merge", "-p", &patch, &who]);
        if ran.ok { Ok(()) } else { Err(ran.stderr) }
    }
}

fn shipped(file: &str) -> String {
    repository("manifests").join(file).display().to_string()
}

fn of(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

/// A namespace of its own with six systems, on an API server with an operator.
struct Scene {
    stage: Stage,
    _operator: Operator,
    tools: Tools,
}

impl Scene {
    async fn set(name: &str) -> Option<Scene> {
        let tools = Tools::find()?;
        let plane = own_plane(&[]).await;
        let setup = Setup { plane: Some(plane), seed: releaseclosure::sandbox::generate(9), ..Setup::default() };
        let stage = Stage::with(name, setup).await;
        let operator = tokio::task::spawn_blocking(|| Operator::installed(plane, Start::default()).up()).await.unwrap();
        stage.settled_in().await;
        Some(Scene { stage, _operator: operator, tools })
    }

    /// A halt by a queue entry that somebody parked.
    async fn halted(&self, number: usize) -> (String, FollowUpPacket) {
        self.park(number, "Parked");
        let name = self.stage.create(&self.stage.closure(number)).await;
        let (_, packet) = self.stage.halted(&name).await;
        (name, packet)
    }

    fn park(&self, number: usize, state: &str) {
        self.stage.sandbox().edit(Role::Queue, &format!("Q-{number:05}"), &json!({"state": state}));
    }

    async fn is(&self, what: &str, name: &str, expected: [&str; 3]) {
        let object = of(&self.stage.get(name).await);
        assert_eq!(self.tools.verdict(&object).0, expected, "{what}: {object:#}");
    }
}

const GOES_ON: [&str; 3] = ["InProgress", "InProgress", "Progressing"];
const FAILED: [&str; 3] = ["Failed", "Failed", "Degraded"];
const CLOSED: [&str; 3] = ["Current", "Current", "Healthy"];
/// Ready, but no gate may open.
const PLANNED: [&str; 3] = ["Current", "InProgress", "Suspended"];
const SUSPENDED: [&str; 3] = ["InProgress", "InProgress", "Suspended"];

#[tokio::test]
async fn every_state_of_a_closure_has_its_health() {
    let Some(scene) = Scene::set("health").await else { return };
    let stage = &scene.stage;

    // Nobody has looked at it yet: its namespace is not the operator's business before its kinds are watched, so it is made
    // as the API server makes it.
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [stage.closure(9)]});
    let fresh = stage.plane.kubectl_with(&["create", "--dry-run=server", "-o", "json", "-f", "-"], &list.to_string());
    let fresh: Value = serde_json::from_str(&fresh).unwrap();
    let fresh = fresh["items"].get(0).unwrap_or(&fresh);
    assert_eq!(scene.tools.verdict(fresh).0, GOES_ON, "{fresh:#}");

    // Working: the announcement is on its way.
    let held = stage.fault(json!({"match": {"role": "intake", "method": "POST"}, "action": "hold"}));
    let name = stage.start().await;
    stage.holds(&held, 1).await;
    stage.wait(&name, "working", |closure| ready(closure).1 == "Progressing").await;
    scene.is("working", &name, GOES_ON).await;
    stage.sandbox().release(&held, releaseclosure::sandbox::Verdict::Release);
    stage.sandbox().remove_fault(&held);
    stage.closed(&name).await;
    scene.is("closed", &name, CLOSED).await;
    // An edit that nobody has looked at is not closed, whatever the status still says.
    let mut edited = of(&stage.get(&name).await);
    edited["metadata"]["generation"] = json!(2);
    assert_eq!(scene.tools.verdict(&edited).0, GOES_ON);

    let down = stage.fault(json!({"match": {"role": "tracker"}, "action": {"status": {"code": 503}}}));
    let waiting = stage.create(&stage.closure(2)).await;
    stage.waiting(&waiting, "TrackerUnavailable").await;
    scene.is("waiting", &waiting, GOES_ON).await;
    // The same closure under another name waits for the older one. Times of creation are whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let mut twin = stage.closure(2);
    twin["metadata"]["name"] = "twin".into();
    let twin = stage.create(&twin).await;
    stage.waiting(&twin, "DuplicateClosure").await;
    scene.is("a duplicate", &twin, GOES_ON).await;
    stage.delete(&twin).await;
    // A click makes it look now, and Git owns nothing of that.
    let object = of(&stage.get(&waiting).await);
    assert_eq!(scene.tools.verdict(&object).1, ["look-now"]);
    let bind = ["-n", "health", "create", "rolebinding", "argo", "--clusterrole=releaseclosure-coordinator"];
    stage.plane.kubectl(&[&bind[..], &["--serviceaccount=argocd:argocd-server"]].concat());
    scene.tools.click(stage.plane, "look-now", &object).unwrap();
    stage
        .wait(&waiting, "looked at", |closure| closure.status.as_ref().unwrap().last_handled_reconcile_at.is_some())
        .await;
    stage.patch(&waiting, json!({"spec": {"suspend": true}})).await;
    stage.wait(&waiting, "suspended", |closure| ready(closure).1 == "Suspended").await;
    scene.is("suspended", &waiting, SUSPENDED).await;
    stage.sandbox().remove_fault(&down);

    let (halted, packet) = scene.halted(3).await;
    scene.is("halted", &halted, FAILED).await;
    let live: Value = of(&stage.packets.get(&packet.name_any()).await.unwrap());
    assert_eq!(scene.tools.verdict(&live).0[2], "Degraded", "{live:#}");
    stage.patch(&halted, json!({"spec": {"suspend": true}})).await;
    stage.wait(&halted, "seen", |closure| closure.status.as_ref().unwrap().observed_generation == 2).await;
    scene.is("suspended while halted", &halted, FAILED).await;
    // The answer is acted on when it is suspended no more.
    stage.resolve(&packet, "Abandon", None).await;
    stage.patch(&halted, json!({"spec": {"suspend": false}})).await;
    stage.wait(&halted, "abandoned", |closure| ready(closure).1 == "Abandoned").await;
    scene.is("abandoned", &halted, FAILED).await;

    // What a closure needs may come after it.
    let mut early = stage.closure(6);
    early["spec"]["playbookRef"]["name"] = "later".into();
    let early = stage.create(&early).await;
    stage.waiting(&early, "PlaybookNotFound").await;
    scene.is("without a playbook", &early, GOES_ON).await;
    let read = |kind: &str, name: &str| -> Value {
        serde_json::from_str(&stage.plane.kubectl(&["-n", "health", "get", kind, name, "-o", "json"])).unwrap()
    };
    // The tracker was away for a while: a probe may have said so.
    stage.settled_in().await;
    for (kind, name) in [("closureplaybook", "engineering-release"), ("systemconnection", "tracker")] {
        assert_eq!(scene.tools.verdict(&read(kind, name)).0, ["Current", "-", "Healthy"], "{kind}");
    }
    let mut playbook = read("closureplaybook", "engineering-release");
    playbook["metadata"] = json!({"name": "later", "namespace": "health"});
    playbook["status"] = Value::Null;
    stage.plane.kubectl_with(&["create", "-f", "-"], &playbook.to_string());
    stage.closed(&early).await;
    scene.is("with a playbook", &early, CLOSED).await;
    let mut wrong = read("closureplaybook", "engineering-release");
    wrong["status"]["conditions"][0]["status"] = "False".into();
    assert_eq!(scene.tools.verdict(&wrong).0, ["InProgress", "-", "Degraded"]);

    for (number, state, end, expected) in [(4, "Pending", "Planned", PLANNED), (5, "Parked", "", FAILED)] {
        scene.park(number, state);
        let mut plan = stage.closure(number);
        plan["spec"]["mode"] = "Plan".into();
        let plan = stage.create(&plan).await;
        let planned = |closure: &_| if end.is_empty() { ready(closure).0 == "False" } else { ready(closure).1 == end };
        stage.wait(&plan, "planned", planned).await;
        scene.is("planned", &plan, expected).await;
        stage.patch(&plan, json!({"spec": {"suspend": true}})).await;
        stage.wait(&plan, "seen", |closure| closure.status.as_ref().unwrap().observed_generation == 2).await;
        scene.is("suspended when planned", &plan, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_is_healthy_when_it_takes_events_and_says_when_it_cannot_or_shall_not() {
    let Some(scene) = Scene::set("fed").await else { return };
    let kubectl = |args: &[&str]| scene.stage.plane.kubectl(&[&["-n", "fed"], args].concat());
    let feed = |name: &str, source: &str, settings: Value| {
        let feed = json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "AcceptanceFeed", "metadata": {"name": name, "namespace": "fed"},
            "spec": {"playbookRef": {"name": "engineering-release"}, source: settings}});
        let made = scene.stage.plane.kubectl_with(&["create", "-o", "json", "-f", "-"], &feed.to_string());
        serde_json::from_str::<Value>(&made).unwrap()
    };
    let becomes = |name: &str, argo: &str, why: &str| {
        crate::support::controlplane::eventually(argo, || {
            let live: Value = serde_json::from_str(&kubectl(&["get", "acceptancefeed", name, "-o", "json"])).unwrap();
            let verdict = scene.tools.run(
                &["health", &shipped("argocd/argocd-cm.yaml"), &shipped("flux/health-checks.yaml")],
                &json!([live]),
            );
            let verdict = &verdict[0]["argo"];
            verdict["status"] == argo && verdict["message"].as_str().unwrap().contains(why)
        });
    };
    let fresh = feed("asked", "poll", json!({"interval": "10s", "since": "2100-01-01T00:00:00Z"}));
    assert_eq!(scene.tools.verdict(&fresh).0[2], "Progressing");
    becomes("asked", "Healthy", "Ready");
    kubectl(&["patch", "acceptancefeed", "asked", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#]);
    becomes("asked", "Suspended", "Suspended: ");
    // This operator serves no webhooks.
    feed("posted", "webhook", json!({"format": "GitHub", "secretRefs": [{"name": "hook", "key": "secret"}]}));
    becomes("posted", "Degraded", "FeedHindered: ");
}

#[tokio::test]
async fn a_halt_is_released_from_argo_cds_page_and_ends_healthy_without_a_commit() {
    let Some(scene) = Scene::set("clicks").await else { return };
    let (stage, tools) = (&scene.stage, &scene.tools);
    let bind = ["-n", "clicks", "create", "rolebinding", "argo", "--clusterrole=releaseclosure-coordinator"];
    stage.plane.kubectl(&[&bind[..], &["--serviceaccount=argocd:argocd-server"]].concat());
    let (halted, packet) = scene.halted(1).await;
    let live = of(&stage.packets.get(&packet.name_any()).await.unwrap());
    assert_eq!(tools.verdict(&live).1, ["abandon", "resume"]);
    // Nobody has said who it was, and the policy lets no answer through without.
    let refused = tools.click(stage.plane, "resume", &live).unwrap_err();
    assert!(refused.contains("resolvedBy"), "{refused}");
    // Where the name is filled in, it is the name of Argo CD's account.
    let component = repository("manifests/components/fill-in-resolved-by").display().to_string();
    stage.plane.kubectl(&["apply", "-k", &component]);
    scene.park(1, "Pending");
    let plane = stage.plane;
    let tools_again = Tools(tools.0.clone());
    let object = live.clone();
    tokio::task::spawn_blocking(move || {
        crate::support::controlplane::eventually("the policy", || tools_again.click(plane, "resume", &object).is_ok());
    })
    .await
    .unwrap();
    let closed = stage.closed(&halted).await;
    scene.is("resumed and closed", &halted, CLOSED).await;
    assert_eq!(closed.metadata.generation, Some(1), "what Git has was never touched");
    assert_eq!(closed.status.unwrap().halts[0].resolved_by.as_deref(), Some(ARGO));
    let answered = loop {
        let packet = of(&stage.packets.get(&packet.name_any()).await.unwrap());
        if packet["status"]["conditions"].is_array() {
            break tools.verdict(&packet);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!((&*answered.0[2], answered.1), ("Healthy", Vec::new()));

    // After an uncertain announcement the click says what became of it.
    let mut uncertain = live.clone();
    uncertain["spec"]["cause"] = "NotificationUncertain".into();
    let asked = ["abandon", "resume-handoff-delivered", "resume-handoff-not-delivered"];
    assert_eq!(tools.verdict(&uncertain).1, asked);
    for (action, handoff) in [(asked[1], "Delivered"), (asked[2], "NotDelivered")] {
        let patch = tools.run(&["action", &shipped("argocd/argocd-cm.yaml"), action], &json!([uncertain]));
        let halt = &packet.spec.halt_id;
        let expected = json!({"spec": {"resolution": {"decision": "Resume", "haltId": halt, "handoff": handoff}}});
        assert_eq!(patch, expected);
    }
}

#[tokio::test]
async fn a_refused_edit_holds_back_the_rest_of_a_kustomization() {
    let Some(scene) = Scene::set("refused").await else { return };
    let stage = &scene.stage;
    let kubeconfig = stage.plane.kubeconfig().display().to_string();
    let note = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note", "namespace": "refused"}, "data": {"a": "1"}});
    let first = scene.tools.run(&["apply", &kubeconfig], &json!([stage.closure(1), note]));
    assert_eq!(first["made"].as_object().map(serde_json::Map::len), Some(2), "{first:#}");
    let name = "load-00001-rv1";
    let closed = stage.closed(name).await;

    // The same closure with another version, beside a new one and a changed note: nothing of it is applied.
    let mut edited = stage.closure(1);
    edited["spec"]["review"]["version"] = "2".into();
    let mut other = note.clone();
    other["data"]["a"] = "2".into();
    let set = json!([edited, stage.closure(2), other]);
    let refused = scene.tools.run(&["apply", &kubeconfig], &set)["refused"].as_str().unwrap_or_default().to_owned();
    assert!(refused.contains("dry-run failed") && refused.contains(name), "{refused}");
    assert_eq!(stage.plane.kubectl(&["-n", "refused", "get", "configmap", "note", "-o", "jsonpath={.data.a}"]), "1");
    assert!(stage.closures.get_opt("load-00002-rv1").await.unwrap().is_none());

    // With force a Kustomization takes a refusal for a reason to delete and make anew: another object, and the trace is
    // gone. No annotation keeps it from that, so the docs say never to set it.
    let forced = scene.tools.run(&["apply", &kubeconfig, "force"], &set);
    assert_eq!(forced["made"].as_object().map(serde_json::Map::len), Some(3), "{forced:#}");
    assert_ne!(stage.get(name).await.metadata.uid, closed.metadata.uid);
}

#[test]
fn the_docs_show_what_is_shipped() {
    let docs = std::fs::read_to_string(repository("docs/gitops.md")).unwrap();
    let blocks = docs.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let objects: Vec<Value> = blocks
        .flat_map(|block| serde_saphyr::from_multiple::<Value>(block).expect("YAML that can be copied"))
        .collect();
    let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Kustomization", "Kustomization", "Kustomization", "AppProject", "Application"]);
    let shipped = std::fs::read_to_string(shipped("flux/health-checks.yaml")).unwrap();
    let shipped: Value = serde_saphyr::from_str(&shipped).unwrap();
    assert_eq!(objects[1]["spec"]["healthCheckExprs"], shipped);
    assert!(objects.iter().all(|object| object["spec"]["force"] != true));
}
