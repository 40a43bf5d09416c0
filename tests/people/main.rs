//! What coordinators and pipelines do, with the real binary against a real API server. There is no operator here: the test
//! writes the statuses that one would.

#[path = "../support/mod.rs"]
mod support;

mod prune;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use releaseclosure::api::{FollowUpPacket, ReleaseClosure, parse};
use releaseclosure::closure::trace;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use support::controlplane::ControlPlane;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

const BINARY: &str = env!("CARGO_BIN_EXE_releaseclosure");
const HALT: &str = "h-0123456789abcdef0123";
/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const AT: &str = "2026-11-20T10:00:00Z";

async fn client(kubeconfig: &Path) -> Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a configuration")).expect("a client")
}

fn command(kubeconfig: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(words).env_remove("KUBECONFIG").arg("--kubeconfig").arg(kubeconfig);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Exit code, and everything that was said.
fn heard(output: Output) -> (i32, String) {
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("it speaks UTF-8");
    (output.status.code().expect("it exits"), text)
}

/// A command that runs while the test goes on.
struct Running {
    child: Child,
    said: String,
}

impl Running {
    fn start(kubeconfig: &Path, words: &[&str]) -> Running {
        Running { child: command(kubeconfig, words).spawn().expect("it runs"), said: String::new() }
    }

    /// Waits until it has said this on stderr.
    async fn until_said(&mut self, what: &str) {
        let stderr = self.child.stderr.as_mut().expect("stderr is a pipe");
        while !self.said.contains(what) {
            let mut piece = [0; 1024];
            let read =
                tokio::time::timeout(PATIENCE, stderr.read(&mut piece)).await.expect("it says something").unwrap();
            assert!(read > 0, "it ended without {what}: {}", self.said);
            self.said.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
    }

    /// Waits for its end; what it said, all of it.
    async fn ended(self) -> (i32, String) {
        let (code, rest) = heard(self.child.wait_with_output().await.expect("it ends"));
        (code, self.said + &rest)
    }
}

async fn run(kubeconfig: &Path, words: &[&str]) -> (i32, String) {
    heard(command(kubeconfig, words).output().await.expect("it runs"))
}

fn spec() -> Value {
    json!({
        "playbookRef": {"name": "p"},
        "release": {"id": "payments-1", "service": "payments", "version": "1"},
        "review": {"id": "RR-1", "version": "3", "acceptedEvent": {"id": "e-1"}},
        "milestone": {"id": "12", "title": "2026.11"},
        "evidence": {"bundle": "b", "digest": format!("sha256:{:064}", 0)},
    })
}

struct World {
    client: Client,
    namespace: String,
}

impl World {
    async fn new(plane: &ControlPlane, namespace: &str) -> World {
        let client = client(&plane.kubeconfig()).await;
        let object = json!({"metadata": {"name": namespace}});
        let object: Namespace = serde_json::from_value(object).expect("a namespace");
        Api::all(client.clone()).create(&PostParams::default(), &object).await.expect("a namespace");
        World { client, namespace: namespace.to_owned() }
    }

    fn closures(&self) -> Api<ReleaseClosure> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn packets(&self) -> Api<FollowUpPacket> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn create(&self, name: &str) -> ReleaseClosure {
        let object = json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "ReleaseClosure",
            "metadata": {"name": name}, "spec": spec()});
        let object = serde_json::from_value(object).expect("a closure");
        self.closures().create(&PostParams::default(), &object).await.expect("accepted")
    }

    async fn status(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        self.closures().patch_status(name, &PatchParams::default(), &patch).await.expect("a status");
    }

    async fn halt(&self, name: &str, id: &str, cause: &str) {
        let finding = json!({"check": "C7", "reason": cause, "system": "tracker", "record": "REL-12",
            "field": "milestone.title", "expected": "2026.11", "observed": "x\u{202e}y"});
        let halt = json!({"id": id, "cause": cause, "at": AT, "packetRef": {"name": id}, "findings": [finding]});
        let conditions = [condition("Ready", "False", cause), condition("Stalled", "True", cause)];
        self.status(name, json!({"observedGeneration": 1, "halt": halt, "conditions": conditions})).await;
    }

    async fn packet(&self, closure: &ReleaseClosure, id: &str, cause: &str) {
        let name = closure.metadata.name.clone().expect("named");
        let mut spec = spec();
        spec.as_object_mut().expect("an object").remove("playbookRef");
        for (field, value) in [
            ("closureRef", json!({"name": name, "uid": closure.metadata.uid})),
            ("closureKey", json!("payments-1@RR-1@3")),
            ("haltId", json!(id)),
            ("haltedAt", json!(AT)),
            ("cause", json!(cause)),
            (
                "findings",
                json!([{"check": "C7", "reason": cause, "system": "tracker", "record": "REL-12",
                "field": "milestone.title", "expected": "2026.11", "observed": "2026.12"}]),
            ),
            ("steps", json!([{"name": "CloseChecklist", "outcome": "Changed", "record": "CHK-77"}])),
            ("instructions", json!(["Rename it back.", "kubectl releaseclosure resume …"])),
        ] {
            spec[field] = value;
        }
        let object = json!({"apiVersion": "releaseclosure.io/v1alpha1", "kind": "FollowUpPacket",
            "metadata": {"name": id}, "spec": spec});
        let object = serde_json::from_value(object).expect("a packet");
        self.packets().create(&PostParams::default(), &object).await.expect("accepted");
    }

    fn words<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        [words, &["-n", &self.namespace]].concat()
    }
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": "", "observedGeneration": 1,
        "lastTransitionTime": AT})
}

fn closed() -> Value {
    json!({"observedGeneration": 1, "completionTime": AT, "progress": "5/5", "retry": null,
        "conditions": [condition("Ready", "True", "Closed"), condition("CoordinatorNotified", "True", "Closed")]})
}

/// One API server for all of it: three seconds to start.
#[tokio::test(flavor = "multi_thread")]
async fn people_wait_read_resolve_and_verify() {
    let plane = ControlPlane::start();
    plane.install_crds();
    tokio::join!(
        waiting(&plane),
        resuming(&plane),
        uncertain(&plane),
        forbidden(&plane),
        verifying(&plane),
        prune::pruning(&plane)
    );
}

async fn waiting(plane: &ControlPlane) {
    let world = World::new(plane, "waiting").await;
    let (code, said) = run(&plane.kubeconfig(), &world.words(&["wait", "nobody"])).await;
    assert!(code == 1 && said.contains("there is no releaseclosure nobody in namespace waiting"), "{code} {said}");

    world.create("c").await;
    let (code, said) = run(&plane.kubeconfig(), &world.words(&["wait", "c", "--timeout=10s"])).await;
    assert!(code == 4 && said.contains("not looked at yet"), "{code} {said}");

    let mut waits = Running::start(&plane.kubeconfig(), &world.words(&["wait", "c"]));
    let conditions =
        [condition("Ready", "False", "ProgressingWithRetry"), condition("Reconciling", "True", "TrackerUnavailable")];
    world.status("c", json!({"observedGeneration": 1, "progress": "1/5", "conditions": conditions})).await;
    waits.until_said("TrackerUnavailable").await;
    world.status("c", closed()).await;
    let (code, said) = waits.ended().await;
    assert!(code == 0 && said.contains("c: 1/5 TrackerUnavailable") && said.contains("c: closed"), "{code} {said}");

    world.create("halts").await;
    world.halt("halts", HALT, "MilestoneRenamed").await;
    let (code, said) = run(&plane.kubeconfig(), &world.words(&["wait", "halts"])).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains(&format!("kubectl releaseclosure resume -n waiting halts --halt {HALT}")), "{said}");
    assert!(said.contains("x\u{fffd}y") && !said.contains('\u{202e}'), "{said}");

    world.create("given-up").await;
    let conditions = [condition("Ready", "False", "Abandoned"), condition("Stalled", "True", "Abandoned")];
    world.status("given-up", json!({"observedGeneration": 1, "completionTime": AT, "conditions": conditions})).await;
    let (code, said) = run(&plane.kubeconfig(), &world.words(&["wait", "given-up"])).await;
    assert_eq!(code, 3, "{said}");

    world.create("goes").await;
    let mut waits = Running::start(&plane.kubeconfig(), &world.words(&["wait", "goes"]));
    waits.until_said("not looked at yet").await;
    world.closures().delete("goes", &Default::default()).await.expect("deleted");
    let (code, said) = waits.ended().await;
    assert!(code == 1 && said.contains("was deleted"), "{code} {said}");
}

async fn resuming(plane: &ControlPlane) {
    let world = World::new(plane, "resuming").await;
    let go = |words: &'static [&'static str]| {
        let words = world.words(words).into_iter().map(str::to_owned).collect::<Vec<_>>();
        let kubeconfig = plane.kubeconfig();
        async move { run(&kubeconfig, &words.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    let closure = world.create("c").await;
    let (code, said) = go(&["resume", "c", "--yes"]).await;
    assert!(code == 1 && said.contains("is not halted"), "{code} {said}");
    let (code, said) = go(&["packet", "c"]).await;
    assert!(code == 1 && said.contains("there is no packet of or for c"), "{code} {said}");

    world.halt("c", HALT, "MilestoneRenamed").await;
    for words in [&["resume", "c", "--yes"][..], &["packet", "c"]] {
        let (code, said) = run(&plane.kubeconfig(), &world.words(words)).await;
        assert!(code == 1 && said.contains("try again"), "{code} {said}");
    }
    world.packet(&closure, HALT, "MilestoneRenamed").await;

    for words in [&["packet", "c"][..], &["packet", HALT]] {
        let (code, said) = run(&plane.kubeconfig(), &world.words(words)).await;
        assert_eq!(code, 0, "{said}");
        for piece in [
            "C7     tracker  REL-12  milestone.title  2026.11   2026.12",
            "CloseChecklist  Changed",
            "- Rename it back.",
        ] {
            assert!(said.contains(piece), "{piece} is not in\n{said}");
        }
    }
    let (_, json) = go(&["packet", "c", "-o", "json"]).await;
    let (_, yaml) = go(&["packet", "c", "-o", "yaml"]).await;
    let json: FollowUpPacket = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json, serde_saphyr::from_str(&yaml).expect("YAML"));

    let (code, said) = go(&["resume", "c", "--halt", "h-other", "--yes"]).await;
    assert!(code == 1 && said.contains(&format!("is halted by {HALT} now, not by h-other")), "{code} {said}");
    let (code, said) = go(&["resume", "c", "--handoff", "Delivered", "--yes"]).await;
    assert!(code == 1 && said.contains("only for a halt by NotificationUncertain"), "{code} {said}");
    let (code, said) = go(&["resume", "c"]).await;
    assert!(code == 1 && said.contains("nothing was done"), "{code} {said}");
    assert!(world.packets().get(HALT).await.expect("there").spec.resolution.is_none());

    // Resumes and waits: being halted by that very halt is not the end now.
    let words = world.words(&["resume", "c", "--halt", HALT, "--note", "renamed back", "--yes", "--wait"]);
    let mut waits = Running::start(&plane.kubeconfig(), &words);
    waits.until_said("has not acted on it yet").await;
    let resolution =
        world.packets().get(HALT).await.expect("there").spec.resolution.expect("it is stored before it is waited for");
    assert_eq!((resolution.resolved_by.as_str(), resolution.note.as_deref()), ("admin", Some("renamed back")));
    let mut done = closed();
    done["halt"] = Value::Null;
    world.status("c", done).await;
    let (code, said) = waits.ended().await;
    assert!(code == 0 && said.contains("has not acted on it yet") && said.contains("c: closed"), "{code} {said}");

    // The last packet of a closure that is not halted any more; and a halt that somebody has resolved.
    let (code, said) = go(&["packet", "c"]).await;
    assert!(code == 0 && said.contains("its last packet") && said.contains("Resolved: Resume by admin"), "{said}");
    world.create("late").await;
    world.halt("late", HALT, "MilestoneRenamed").await;
    let (code, said) = go(&["abandon", "late", "--yes"]).await;
    assert!(code == 1 && said.contains("resolved already: Resume by admin"), "{code} {said}");
}

async fn uncertain(plane: &ControlPlane) {
    let world = World::new(plane, "uncertain").await;
    for (name, id) in [("a", "h-aaaaaaaaaaaaaaaaaaaa"), ("b", "h-bbbbbbbbbbbbbbbbbbbb")] {
        let closure = world.create(name).await;
        world.halt(name, id, "NotificationUncertain").await;
        world.packet(&closure, id, "NotificationUncertain").await;
    }
    let (code, said) = run(&plane.kubeconfig(), &world.words(&["resume", "a", "--yes"])).await;
    assert!(code == 1 && said.contains("--handoff Delivered"), "{code} {said}");
    let words = world.words(&["resume", "a", "--handoff", "NotDelivered", "--yes"]);
    let (code, said) = run(&plane.kubeconfig(), &words).await;
    assert!(code == 0 && said.contains("after verification it is sent once"), "{code} {said}");
    let (code, said) = run(&plane.kubeconfig(), &world.words(&["abandon", "b", "--yes"])).await;
    assert!(code == 0 && said.contains("give this closure up for good"), "{code} {said}");
}

async fn forbidden(plane: &ControlPlane) {
    let world = World::new(plane, "forbidden").await;
    let closure = world.create("c").await;
    let id = "h-cccccccccccccccccccc";
    world.halt("c", id, "MilestoneRenamed").await;
    world.packet(&closure, id, "MilestoneRenamed").await;
    let role: ClusterRole = serde_json::from_value(json!({"metadata": {"name": "only-reads"}, "rules": [
        {"apiGroups": ["releaseclosure.io"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]}))
    .expect("a role");
    Api::all(world.client.clone()).create(&PostParams::default(), &role).await.expect("a role");
    let mut kubeconfigs = Vec::new();
    for (name, bound) in [("nobody", false), ("reader", true)] {
        let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), "forbidden");
        let account = serde_json::from_value(json!({"metadata": {"name": name}})).expect("an account");
        accounts.create(&PostParams::default(), &account).await.expect("an account");
        if bound {
            let binding: RoleBinding = serde_json::from_value(json!({"metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "only-reads"},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "forbidden"}]}))
            .expect("a binding");
            let bindings = Api::namespaced(world.client.clone(), "forbidden");
            bindings.create(&PostParams::default(), &binding).await.expect("a binding");
        }
        kubeconfigs.push(kubeconfig_of(plane, &accounts, name).await);
    }
    for verb in ["wait", "packet"] {
        let (code, said) = run(&kubeconfigs[0], &world.words(&[verb, "c"])).await;
        assert!(code == 1 && said.contains("it takes the role releaseclosure-viewer"), "{code} {said}");
    }
    let (code, said) = run(&kubeconfigs[1], &world.words(&["packet", "c"])).await;
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&kubeconfigs[1], &world.words(&["resume", "c", "--yes"])).await;
    assert!(code == 1 && said.contains("it takes the role releaseclosure-coordinator"), "{code} {said}");
}

/// A kubeconfig with the rights of a service account.
async fn kubeconfig_of(plane: &ControlPlane, accounts: &Api<ServiceAccount>, name: &str) -> PathBuf {
    let request = TokenRequest::default();
    let token = accounts.create_token_request(name, &PostParams::default(), &request).await.expect("a token");
    let token = token.status.expect("answered").token;
    let mut kubeconfig: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(plane.kubeconfig()).expect("readable")).expect("YAML");
    kubeconfig["users"][0]["user"] = json!({ "token": token });
    let file = plane.kubeconfig().with_file_name(format!("kubeconfig-{name}"));
    std::fs::write(&file, kubeconfig.to_string()).expect("writable");
    file
}

async fn verifying(plane: &ControlPlane) {
    let world = World::new(plane, "verifying").await;
    let closure = world.create("c").await;
    let (code, said) = run(&plane.kubeconfig(), &world.words(&["verify", "c"])).await;
    assert!(code == 1 && said.contains("not finished"), "{code} {said}");
    let uid = closure.metadata.uid.clone().expect("a uid");
    let accepted = parse::accepted(&closure.spec).expect("fit");
    let (_, ledger) = closure.status.unwrap_or_default().split();
    let mut ledger = ledger.checked().expect("five steps");
    for step in &mut ledger.steps {
        step.outcome = releaseclosure::closure::ledger::Outcome::Changed;
    }
    let head = trace::head(&accepted, &uid, &ledger);
    let mut status = closed();
    status["steps"] = json!(ledger.steps);
    status["trace"] = json!({ "digest": head });
    world.status("c", status).await;
    let (code, said) = run(&plane.kubeconfig(), &world.words(&["verify", "c", "--head", &head])).await;
    assert!(code == 0 && said.contains("the trace holds") && said.contains("e-1"), "{code} {said}");
    let (code, said) = run(&plane.kubeconfig(), &world.words(&["verify", "c", "--head", "sha256:0"])).await;
    assert!(code == 1 && said.contains("the status was changed"), "{code} {said}");

    // The same from a file, without a cluster, and with one byte changed.
    let object = world.closures().get("c").await.expect("there");
    let file = plane.kubeconfig().with_file_name("closure.yaml");
    let text = serde_saphyr::to_string(&object).expect("YAML");
    std::fs::write(&file, &text).expect("writable");
    let words = ["verify", "--file", file.to_str().expect("UTF-8")];
    let offline = || Command::new(BINARY).args(words).env_remove("KUBECONFIG").output();
    let (code, said) = heard(offline().await.expect("it runs"));
    assert_eq!(code, 0, "{said}");
    std::fs::write(&file, text.replacen("outcome: Changed", "outcome: AlreadyDone", 1)).expect("writable");
    let (code, said) = heard(offline().await.expect("it runs"));
    assert!(code == 1 && said.contains("trace digest"), "{code} {said}");
}

/// Kills the API server under a waiting pipeline, starts it again, and only then closes the closure.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_survives_an_api_server_that_restarts() {
    let plane = ControlPlane::start_restartable(&[]);
    plane.install_crds();
    let world = World::new(&plane, "restarting").await;
    world.create("c").await;
    let words = world.words(&["wait", "c", "--timeout=2m"]);
    let mut waits = Running::start(&plane.kubeconfig(), &words);
    waits.until_said("not looked at yet").await;
    tokio::task::block_in_place(|| plane.crash(Duration::from_secs(2)));
    let world = World { client: client(&plane.kubeconfig()).await, ..world };
    world.status("c", closed()).await;
    let (code, said) = waits.ended().await;
    assert!(code == 0 && said.contains("the API server gives no answer; still waiting"), "{code} {said}");
}
