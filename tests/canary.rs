//! A `KUBECONFIG` in the environment may be somebody's production. It points at a canary here, and whatever the project's
//! commands do, nobody connects to that.

mod support;

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::controlplane::{ControlPlane, repository};

/// A socket that counts who connects, and a kubeconfig that leads there.
struct Canary {
    kubeconfig: PathBuf,
    connections: Arc<AtomicUsize>,
}

impl Canary {
    fn new(name: &str) -> Canary {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let kubeconfig = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("canary-{name}-{}", std::process::id()));
        let mut file = std::fs::File::create(&kubeconfig).unwrap();
        write!(
            file,
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\n\
             users: [{{name: u, user: {{token: t}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
        )
        .unwrap();
        Canary { kubeconfig, connections }
    }

    fn run(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(args).current_dir(repository(".")).env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null());
        command.output().expect("it can be started")
    }

    fn heard(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

fn kubectl() -> PathBuf {
    repository(".build/controlplane/kubectl")
}

#[test]
fn the_canary_hears_a_kubectl_that_takes_the_environments_kubeconfig() {
    let canary = Canary::new("control");
    canary.run(kubectl(), &["get", "namespaces", "--request-timeout=1s"]);
    assert!(canary.heard() > 0);
}

#[test]
fn the_demo_runs_to_its_end_without_it_and_leaves_nothing_behind() {
    let canary = Canary::new("demo");
    // A place of its own, by which its processes are told from those of another demo beside it.
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("demo-{}", std::process::id()));
    std::fs::create_dir_all(&place).unwrap();
    let ran = canary.run("env", &[&format!("TMPDIR={}", place.display()), "make", "demo"]);
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
    for shown in ["delivered twice: 0", "MilestoneRenamed", "TrackerUnavailable", "the trace holds", "Resume is stored"]
    {
        assert!(out.contains(shown) || err.contains(shown), "{shown:?} is not in:\n{out}\n{err}");
    }
    assert_eq!(canary.heard(), 0);
    let left = Command::new("pgrep").arg("-f").arg(&place).output().expect("pgrep can be run");
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "processes of the demo are left");
    std::fs::remove_dir(&place).expect("the demo cleans up after itself");
}

/// What the tests' own API server and kubectl do; a test of its own so that it can be run with the canary in its environment.
#[test]
fn tests_speak_to_their_own_api_server() {
    let plane = ControlPlane::start();
    assert!(plane.kubectl(&["get", "namespaces"]).contains("kube-system"));
}

#[test]
fn tests_do_not_take_it_either() {
    let canary = Canary::new("tests");
    let own = std::env::current_exe().unwrap();
    let ran = canary.run(own, &["--exact", "tests_speak_to_their_own_api_server"]);
    let out = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && out.contains("1 passed"), "{out}");
    assert_eq!(canary.heard(), 0);
}
