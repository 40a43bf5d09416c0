//! Starting, stopping, and remembering in between.

use std::path::{Path, PathBuf};

use clap::Parser;
use releaseclosure::sandbox::{self, Args, Config, Role, Seed};
use serde_json::{Value, json};

use super::client::{Bench, close, handoff, listener};

/// A directory of its own for one test, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("sandbox-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Scratch(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

fn args(line: &[&str]) -> Args {
    Command::try_parse_from([&["sandbox"], line].concat()).expect("arguments").args
}

fn config(path: &Path) -> Config {
    Config { seed: sandbox::generate(2), state_file: Some(path.to_owned()), ..Config::default() }
}

#[tokio::test]
async fn what_was_answered_is_remembered() {
    let scratch = Scratch::new("remembers");
    let file = scratch.file("state.json");
    let bench = Bench::with(config(&file)).await;
    let closed = bench.patch("/checklists/CHK-00001", &close()).await;
    let receipt = bench.post("load-00001@RR-load-00001@1", &handoff()).await.json();
    bench.admin("PATCH", "/admin/settings", Some(&json!({"queue": {"markers": false}}))).await;
    // Not stopped but dropped, as if killed: what was answered is in the file already.
    drop(bench);
    let bench = Bench::with(config(&file)).await;
    let read = bench.get("/checklists/CHK-00001").await;
    assert_eq!((read.json(), read.etag()), (closed.json(), closed.etag()));
    let again = bench.post("load-00001@RR-load-00001@1", &handoff()).await;
    assert_eq!((again.status.as_u16(), again.json()), (200, receipt));
    assert_eq!(bench.sandbox().deliveries().len(), 1);
    assert!(!bench.sandbox().settings().queue.markers);
    assert_eq!(bench.get("/releases?release=load-00002").await.json()["items"][0]["id"], "REL-00002");
    let before =
        bench.patch("/queue-entries/Q-00001", &json!({"state": "Cleared", "closure": {"key": "k", "uid": "u"}})).await;
    bench.sandbox().edit(Role::Queue, "Q-00001", &json!({"state": "Pending"}));
    bench.handle.stop().await;
    let bench = Bench::with(config(&file)).await;
    let queued = bench.get("/queue-entries/Q-00001").await;
    assert_eq!(queued.json()["state"], "Pending");
    assert_ne!(queued.etag(), before.etag());
}

#[tokio::test]
async fn removals_edits_and_whole_states_are_remembered() {
    let scratch = Scratch::new("edits");
    let file = scratch.file("state.json");
    let bench = Bench::with(config(&file)).await;
    bench.admin("PUT", "/admin/state", Some(&json!(sandbox::generate(4)))).await;
    bench.sandbox().remove(Role::Archive, "load/00004/rv1");
    bench.sandbox().edit(Role::Governance, "RR-load-00001", &json!({"state": "Superseded"}));
    bench.sandbox().put(Role::Queue, "Q-9", json!({"odd": true}));
    bench.fault(json!({"action": "lie"})).await;
    let claimed = bench.patch("/checklists/CHK-00001", &close()).await;
    let state = json!(bench.sandbox().state());
    drop(bench);
    let bench = Bench::with(config(&file)).await;
    assert_eq!(json!(bench.sandbox().state()), state);
    assert_ne!(bench.patch("/checklists/CHK-00001", &close()).await.etag(), claimed.etag());
}

#[tokio::test]
async fn a_change_that_was_not_written_to_its_end_was_never_made() {
    let scratch = Scratch::new("torn");
    let file = scratch.file("state.json");
    let bench = Bench::with(config(&file)).await;
    bench.patch("/checklists/CHK-00001", &close()).await;
    drop(bench);
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, &text[..text.len() - 5]).expect("written");
    let bench = Bench::with(config(&file)).await;
    assert_eq!(bench.get("/checklists/CHK-00001").await.json()["state"], "Open");
    bench.patch("/checklists/CHK-00001", &close()).await;
    drop(bench);
    let bench = Bench::with(config(&file)).await;
    assert_eq!(bench.get("/checklists/CHK-00001").await.json()["state"], "Closed");
}

#[tokio::test]
async fn many_changes_at_once_are_all_remembered() {
    let scratch = Scratch::new("many");
    let file = scratch.file("state.json");
    let bench = Bench::with(Config { seed: sandbox::generate(40), ..config(&file) }).await;
    let changes = (1..=40).map(|number| {
        let bench = &bench;
        async move { bench.patch(&format!("/checklists/CHK-{number:05}"), &close()).await.status }
    });
    assert!(futures::future::join_all(changes).await.iter().all(|status| *status == 200));
    drop(bench);
    let bench = Bench::with(config(&file)).await;
    let state = bench.sandbox().state();
    assert_eq!(state.checklists.iter().filter(|checklist| checklist["state"] == "Closed").count(), 40);
}

#[tokio::test]
async fn a_state_file_that_is_of_no_use_is_an_error_of_the_start() {
    let scratch = Scratch::new("useless");
    let file = scratch.file("state.json");
    std::fs::write(&file, "{").expect("written");
    let error = sandbox::start(config(&file), listener().await).await.expect_err("not JSON");
    assert!(error.to_string().contains("state.json cannot be used"), "{error}");
    let nowhere = scratch.file("none").join("state.json");
    assert!(sandbox::start(config(&nowhere), listener().await).await.is_err());
}

#[tokio::test]
async fn the_port_is_free_after_a_stop_though_somebody_is_connected() {
    let bench = Bench::new().await;
    let address = bench.handle.url().trim_start_matches("http://").to_owned();
    let idle = tokio::net::TcpStream::connect(&address).await.expect("a connection");
    bench.get("/reviews/none").await;
    bench.handle.stop().await;
    assert!(tokio::net::TcpListener::bind(&address).await.is_ok());
    drop(idle);
}

#[tokio::test]
async fn a_bad_seed_names_the_record_and_the_field() {
    let scratch = Scratch::new("seed");
    let file = scratch.file("seed.yaml");
    let path = file.to_str().expect("UTF-8").to_owned();
    let error = sandbox::run(args(&["--seed", &path])).await.expect_err("no file");
    assert!(error.to_string().contains("seed.yaml cannot be read"), "{error}");
    std::fs::write(&file, "releases:\n- id: REL-1\n  release: {id: a, service: b, version: 1.0}\n").expect("written");
    let error = sandbox::run(args(&["--seed", &path])).await.expect_err("a bad seed");
    assert_eq!(error.to_string(), "the seed's releases, REL-1: release.version must be a text: put it in quotes");
    let seed = Seed::from_yaml("generate: {count: 1}\nreviews: [{id: RR-load-00001}]").expect("of the right form");
    let error = sandbox::start(Config { seed, ..Config::default() }, listener().await).await.expect_err("a bad record");
    assert_eq!(error.to_string(), "the seed's reviews, RR-load-00001: version is missing");
}

/// The subcommand as it is run: arguments, seed and address file, and the signal that ends it.
#[tokio::test]
async fn it_says_where_it_listens_and_ends_with_sigterm() {
    let scratch = Scratch::new("run");
    let (seed, address) = (scratch.file("seed.yaml"), scratch.file("address"));
    std::fs::write(&seed, "generate: {count: 1}").expect("written");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let args =
        args(&["--seed", &text(&seed), "--address-file", &text(&address), "--token", "t", "--bind", "127.0.0.1:0"]);
    let (say, said) = tokio::sync::oneshot::channel();
    let running = tokio::spawn(sandbox::run_saying(args, |url| say.send(url.to_owned()).expect("somebody listens")));
    let url = said.await.expect("a base URL");
    assert_eq!(std::fs::read_to_string(&address).expect("the address file").trim_end(), url);
    let request = reqwest::Client::builder()
        .timeout(std::time::Duration::from_secs(10))
        .build()
        .expect("a client")
        .get(format!("{url}/closure/v1/reviews/RR-load-00001"))
        .header("authorization", "Bearer t");
    let reply = request.send().await.expect("a reply").bytes().await.expect("a body");
    let review: Value = serde_json::from_slice(&reply).expect("JSON");
    assert_eq!(review["id"], "RR-load-00001");
    let killed =
        std::process::Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status().expect("kill");
    assert!(killed.success());
    running.await.expect("no panic").expect("an orderly end");
}
