//! What people and pipelines do, as a kubectl plugin, each as themselves and with no more than their shipped role: the
//! operator does what they say, and what they may not say it never hears.

use crate::stage::{Setup, Stage, outcomes, ready};
use crate::support::objects;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use releaseclosure::closure::ledger::Decision;
use releaseclosure::sandbox::{self, Role};
use serde_json::json;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Somebody with an account, the shipped roles they are bound to, and kubectl with the plugin on their `PATH`.
#[derive(Clone)]
struct Person {
    name: String,
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    path: String,
}

impl Person {
    async fn with_roles(stage: &Stage, account: &str, roles: &[&str]) -> Person {
        let namespace = stage.namespace.clone();
        let accounts: Api<ServiceAccount> = Api::namespaced(stage.client.clone(), &namespace);
        let object = serde_json::from_value(json!({"metadata": {"name": account}})).unwrap();
        accounts.create(&PostParams::default(), &object).await.unwrap();
        let bindings = roles.iter().map(|role| {
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": format!("{account}-{role}"), "namespace": namespace},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]})
        });
        stage.apply(bindings.collect()).await;
        let config = objects::kubeconfig(stage.plane, &stage.client, &namespace, account).await;
        let (plane, account) = (stage.plane, account.to_owned());
        tokio::task::spawn_blocking(move || {
            let home = plane.kubeconfig().with_file_name(format!("{namespace}-{account}"));
            std::fs::create_dir_all(&home).unwrap();
            let kubeconfig = home.join("kubeconfig");
            std::fs::write(&kubeconfig, config.to_string()).unwrap();
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_releaseclosure"), home.join("kubectl-releaseclosure"))
                .unwrap();
            let path = format!("{}:{}", home.display(), std::env::var("PATH").unwrap_or_default());
            let name = format!("system:serviceaccount:{namespace}:{account}");
            Person { name, kubectl: plane.kubectl_binary(), kubeconfig, path }
        })
        .await
        .unwrap()
    }

    /// Runs kubectl: the exit code, and everything that was said.
    async fn kubectl(&self, words: &[&str]) -> (i32, String) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let person = self.clone();
        let run = move || {
            let mut command = Command::new(&person.kubectl);
            command.args(&words).env("KUBECONFIG", &person.kubeconfig).env("PATH", &person.path);
            command.env("HOME", person.kubeconfig.parent().unwrap()).stdin(Stdio::null());
            let output = command.output().expect("kubectl can be started");
            let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("it speaks UTF-8");
            (output.status.code().expect("it exits"), text)
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// Runs a command of the plugin about a closure of this stage.
    async fn says(&self, stage: &Stage, command: &str, name: &str, more: &[&str]) -> (i32, String) {
        let words = [&["releaseclosure", command, "-n", &stage.namespace, name], more].concat();
        self.kubectl(&words).await
    }
}

async fn stage(name: &str, releases: usize) -> (Stage, Person, Person) {
    let stage = Stage::with(name, Setup { seed: sandbox::generate(releases), ..Setup::default() }).await;
    let pipeline = Person::with_roles(&stage, "pipeline", &["releaseclosure-viewer", "releaseclosure-submitter"]).await;
    let coordinator = Person::with_roles(&stage, "pat", &["releaseclosure-coordinator"]).await;
    (stage, pipeline, coordinator)
}

/// The milestone of a release is renamed, or named as it was.
fn rename(stage: &Stage, number: usize, title: &str) {
    let patch = json!({"milestone": {"title": title}});
    assert!(stage.sandbox().edit(Role::Tracker, &format!("REL-{number:05}"), &patch));
}

#[tokio::test]
async fn a_pipeline_that_waits_learns_by_the_exit_code_how_it_ended() {
    let (stage, pipeline, coordinator) = stage("people-wait", 3).await;
    let clean = stage.start().await;
    let (code, said) = pipeline.says(&stage, "wait", &clean, &["--timeout=90s"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(outcomes(&stage.get(&clean).await), ["Changed"; 5]);

    let away = stage.fault(json!({"match": {"role": "tracker"}, "action": {"status": {"code": 503}}}));
    let waiting = stage.create(&stage.closure(2)).await;
    stage.waiting(&waiting, "TrackerUnavailable").await;
    let (code, said) = pipeline.says(&stage, "wait", &waiting, &["--timeout=5s"]).await;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("tracker"), "it says for what: {said}");
    stage.sandbox().remove_fault(&away);

    rename(&stage, 3, "Renamed");
    let halted = stage.create(&stage.closure(3)).await;
    let (code, said) = pipeline.says(&stage, "wait", &halted, &["--timeout=90s"]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("MilestoneRenamed"), "{said}");

    // The packet comes after the status that the pipeline saw.
    let (_, packet) = stage.halted(&halted).await;
    let (code, said) =
        coordinator.says(&stage, "abandon", &halted, &["--halt", &packet.spec.halt_id, "--yes", "--wait"]).await;
    assert_eq!(code, 3, "{said}");
    let (code, said) = pipeline.says(&stage, "wait", &halted, &[]).await;
    assert_eq!(code, 3, "{said}");
    let status = stage.get(&halted).await.status.unwrap();
    assert_eq!(status.halts[0].resolved_by.as_deref(), Some(coordinator.name.as_str()));

    let (code, said) = pipeline.says(&stage, "wait", "there-is-none", &[]).await;
    assert_eq!(code, 1, "{said}");
}

#[tokio::test]
async fn a_coordinator_reads_the_packet_and_does_what_its_last_line_says() {
    let (stage, pipeline, coordinator) = stage("people-resume", 1).await;
    rename(&stage, 1, "Renamed");
    let name = stage.start().await;
    let (_, packet) = stage.halted(&name).await;
    let (code, page) = coordinator.says(&stage, "packet", &name, &[]).await;
    assert_eq!(code, 0, "{page}");
    let row = page.lines().find(|line| line.contains("milestone.title")).expect("a row for the finding");
    for word in ["C7", "tracker", "REL-00001", "M 00001", "Renamed", "https://tracker.example.com/REL-00001"] {
        assert!(row.contains(word), "{word}: {row}");
    }
    let command = packet.spec.instructions.last().unwrap();
    assert!(page.contains(command), "{page}");

    // Whoever may only submit may read it, and no more.
    stage.sandbox().clear_requests();
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    for (person, code) in [(&pipeline, 1), (&coordinator, 1)] {
        // Nobody is there to say yes.
        let (exit, said) = person.kubectl(&words).await;
        assert_eq!(exit, code, "{said}");
    }
    let with = |more: &[&'static str]| [words.as_slice(), more].concat();
    let (code, said) = pipeline.kubectl(&with(&["--yes"])).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("releaseclosure-coordinator"), "it says which role is missing: {said}");
    let (code, said) = pipeline.says(&stage, "abandon", &name, &["--yes"]).await;
    assert_eq!(code, 1, "{said}");
    // Not by kubectl itself either, nor in the coordinator's name.
    let forged = json!({"spec": {"resolution": {"decision": "Resume", "haltId": packet.spec.halt_id,
        "resolvedBy": coordinator.name}}})
    .to_string();
    let by_hand =
        ["-n", &stage.namespace, "patch", "followuppacket", &packet.spec.halt_id, "--type=merge", "-p", &forged];
    let (code, said) = pipeline.kubectl(&by_hand).await;
    assert!(code == 1 && said.contains("forbidden"), "{said}");
    let now = stage.packets.get(&packet.spec.halt_id).await.unwrap();
    assert_eq!(now.spec.resolution, None);
    assert_eq!(stage.requests(), Vec::<String>::new());

    rename(&stage, 1, "M 00001");
    let (code, said) = coordinator.kubectl(&with(&["--yes", "--wait", "--note", "renamed back"])).await;
    assert_eq!(code, 0, "{said}");
    let closed = stage.get(&name).await;
    assert_eq!(outcomes(&closed), ["Changed"; 5]);
    let past = &closed.status.unwrap().halts[0];
    assert_eq!((past.decision, past.resolved_by.as_deref()), (Decision::Resume, Some(coordinator.name.as_str())));
    // It is over: there is nothing to resolve any more.
    let (code, said) = coordinator.kubectl(&with(&["--yes"])).await;
    assert_eq!(code, 1, "{said}");
}

#[tokio::test]
async fn a_coordinator_says_what_became_of_an_announcement() {
    let mut seed = sandbox::generate(1);
    seed.settings.intake.idempotency = false;
    seed.settings.intake.lookup = false;
    let stage = Stage::with("people-handoff", Setup { seed, delivery: "None", ..Setup::default() }).await;
    let coordinator = Person::with_roles(&stage, "pat", &["releaseclosure-coordinator"]).await;
    let fault = stage.fault(json!({"match": {"role": "intake", "method": "POST"}, "action": "dropAfter"}));
    let name = stage.start().await;
    let (closure, _) = stage.halted(&name).await;
    assert_eq!(ready(&closure).1, "NotificationUncertain");
    stage.sandbox().remove_fault(&fault);
    let (code, said) = coordinator.says(&stage, "resume", &name, &["--yes"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("--handoff"), "{said}");
    let (code, said) = coordinator.says(&stage, "resume", &name, &["--handoff", "Delivered", "--yes", "--wait"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(outcomes(&stage.get(&name).await)[4], "Unconfirmed");
    assert_eq!(stage.sandbox().deliveries().len(), 1);
}
