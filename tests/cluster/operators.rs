//! The API servers, and the operator as processes: one that is shared by all tests that do it no harm, others for those that
//! kill, stop or freeze it.

use crate::ports::Port;
use crate::stage::{PATIENCE, Stage};
use crate::support::controlplane::{ControlPlane, repository};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The operator's account, as the shipped manifests name it.
pub const ACCOUNT: &str = "system:serviceaccount:releaseclosure-system:releaseclosure-operator";

/// The API server that all tests share, with kinds, roles and policies installed.
pub fn plane() -> &'static ControlPlane {
    static PLANE: OnceLock<ControlPlane> = OnceLock::new();
    PLANE.get_or_init(|| furnished(ControlPlane::start()))
}

/// The API server of the tests that start operators of their own: the shared one, which watches every namespace, is not
/// there.
pub fn bare_plane() -> &'static ControlPlane {
    static PLANE: OnceLock<ControlPlane> = OnceLock::new();
    PLANE.get_or_init(|| furnished(ControlPlane::start()))
}

/// Installs kinds, roles and policies.
pub fn furnished(plane: ControlPlane) -> ControlPlane {
    plane.install_crds();
    for file in ["namespace.yaml", "roles.yaml", "operator.yaml"] {
        plane.kubectl(&["apply", "-f", &repository("manifests/base").join(file).display().to_string()]);
    }
    plane.kubectl(&["apply", "-k", &repository("manifests/policies").display().to_string()]);
    plane
}

/// The operator that watches every namespace of the shared API server. It acts as its ServiceAccount, with exactly the
/// shipped role.
pub fn shared_operator() {
    static OPERATOR: OnceLock<Operator> = OnceLock::new();
    OPERATOR.get_or_init(|| Operator::start(account(plane()), &["--lease-namespace=releaseclosure-system"]));
}

/// A kubeconfig for the operator's ServiceAccount, with exactly the shipped role.
pub fn account(plane: &ControlPlane) -> PathBuf {
    let token =
        plane.kubectl(&["-n", "releaseclosure-system", "create", "token", "releaseclosure-operator", "--duration=3h"]);
    let admin: Value = serde_json::from_str(&plane.kubectl(&["config", "view", "--raw", "-o", "json"])).unwrap();
    let mut config = admin;
    config["users"][0]["user"] = json!({ "token": token.trim() });
    let file = plane.kubeconfig().with_file_name("operator-kubeconfig");
    std::fs::write(&file, serde_json::to_vec(&config).unwrap()).unwrap();
    file
}

/// An operator of its own process. Killed when dropped, and with the process that started it.
pub struct Operator {
    /// A shell that holds a pipe from here; it kills the operator when the pipe ends.
    keeper: Child,
    /// Its process.
    pub pid: u32,
    /// Where it logs.
    pub log: PathBuf,
    /// Where it serves metrics and probes.
    pub metrics: String,
}

impl Operator {
    /// Starts one, and waits until its caches are complete.
    pub fn start(kubeconfig: PathBuf, flags: &[&str]) -> Operator {
        Operator::launch(kubeconfig, flags).up()
    }

    /// Waits until its caches are complete.
    pub fn up(self) -> Operator {
        let start = Instant::now();
        while !self.logged("the cache of unfinished closures is complete") {
            assert!(start.elapsed() < PATIENCE, "the operator does not come up:\n{}", self.read_log());
            std::thread::sleep(Duration::from_millis(50));
        }
        self
    }

    /// Starts one, which may stand by for now.
    pub fn launch(kubeconfig: PathBuf, flags: &[&str]) -> Operator {
        let binary = Path::new(env!("CARGO_BIN_EXE_releaseclosure"));
        Operator::launch_as(binary, "info,releaseclosure=debug", kubeconfig, flags)
    }

    /// The same, of another build and with another level of logging.
    pub fn launch_as(binary: &Path, level: &str, kubeconfig: PathBuf, flags: &[&str]) -> Operator {
        Operator::launch_in(&[], binary, level, kubeconfig, flags)
    }

    /// The same, with more in its environment.
    pub fn launch_in(
        environment: &[(&str, String)],
        binary: &Path,
        level: &str,
        kubeconfig: PathBuf,
        flags: &[&str],
    ) -> Operator {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = kubeconfig.with_file_name(format!("operator-{count}.log"));
        let script = r#"exec 3<&0; "$@" 2>>"$LOG" </dev/null & pid=$!; echo "$pid"; cat <&3 >/dev/null; kill -9 "$pid" 2>/dev/null"#;
        let port = free_port();
        let mut keeper = Command::new("bash")
            .args(["-c", script, "bash"])
            .arg(binary)
            .args(["operator", "--allow-loopback-connections"])
            .arg(format!("--metrics-bind-address=127.0.0.1:{port}"))
            .args(flags)
            .env("KUBECONFIG", &kubeconfig)
            .env("RUST_LOG", level)
            .env("LOG", &log)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash can be started");
        let mut pid = String::new();
        BufReader::new(keeper.stdout.take().expect("stdout is a pipe")).read_line(&mut pid).expect("the pid is told");
        let pid = pid.trim().parse().expect("a pid is a number");
        Operator { keeper, pid, log, metrics: format!("http://127.0.0.1:{port}") }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.pid.to_string()]).status().expect("kill can be run");
        assert!(sent.success(), "the operator is gone already:\n{}", self.read_log());
    }

    /// Kills it as a power cut would.
    pub fn kill(self) {
        self.signal("-KILL");
    }

    /// Kills it, and waits until it is gone.
    pub fn kill_and_wait(&self) {
        self.signal("-KILL");
        while self.is_alive() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// What it has logged.
    pub fn read_log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it has logged this.
    pub fn logged(&self, what: &str) -> bool {
        self.read_log().contains(what)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

impl Operator {
    /// What it serves at a path, with the status; none where it does not serve.
    #[allow(clippy::disallowed_methods, reason = "a server of this test's own; nothing to guard")]
    pub async fn served(&self, path: &str) -> Option<(u16, String)> {
        let reply = reqwest::get(format!("{}{path}", self.metrics)).await.ok()?;
        Some((reply.status().as_u16(), reply.text().await.ok()?))
    }
}

/// A port that nobody else gets while this process runs: what the system gives out to clients is taken before a server is there.
pub fn free_port() -> u16 {
    let port = Port::take();
    let number = port.number;
    std::mem::forget(port);
    number
}

impl Stage {
    /// An operator that watches this namespace alone, with the administrator's rights. It has found everything ready.
    pub async fn operator(&self) -> Operator {
        let (kubeconfig, flags) = self.command_line();
        let start = move || Operator::start(kubeconfig, &flags.each_ref().map(String::as_str));
        let operator = tokio::task::spawn_blocking(start).await.unwrap();
        self.settled_in().await;
        operator
    }

    /// A second one, which stands by.
    pub fn standing_by(&self) -> Operator {
        let (kubeconfig, flags) = self.command_line();
        Operator::launch(kubeconfig, &flags.each_ref().map(String::as_str))
    }

    /// Another operator after one that was killed. That one is dead for certain, so its lease need not be waited out.
    pub async fn operator_after_a_crash(&self) -> Operator {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        leases.delete("releaseclosure-operator", &DeleteParams::default()).await.expect("the lease is deleted");
        let (kubeconfig, flags) = self.command_line();
        let start = move || Operator::start(kubeconfig, &flags.each_ref().map(String::as_str));
        tokio::task::spawn_blocking(start).await.unwrap()
    }

    /// One with more in its environment, and more flags. It has found everything ready.
    pub async fn operator_in(&self, environment: Vec<(&'static str, String)>, more: &[String]) -> Operator {
        let (kubeconfig, flags) = self.command_line();
        let flags: Vec<String> = flags.into_iter().chain(more.iter().cloned()).collect();
        let start = move || {
            let binary = Path::new(env!("CARGO_BIN_EXE_releaseclosure"));
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            Operator::launch_in(&environment, binary, "info", kubeconfig, &flags).up()
        };
        let operator = tokio::task::spawn_blocking(start).await.unwrap();
        self.settled_in().await;
        operator
    }

    fn command_line(&self) -> (PathBuf, [String; 2]) {
        let namespace = &self.namespace;
        let flags = [format!("--namespace={namespace}"), format!("--lease-namespace={namespace}")];
        let through = self.through.as_ref().map(|through| through.kubeconfig.clone());
        (through.unwrap_or_else(|| self.plane.kubeconfig()), flags)
    }
}
