//! The API servers, and the operator as processes: one that is shared by all tests that do it no harm, others for those that
//! kill, stop or freeze it.

use crate::ports::Port;
use crate::stage::{LEASE, PATIENCE, Stage, shipped};
use crate::support::controlplane::{ControlPlane, kustomized, repository};
use crate::support::objects;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, PostParams};
use serde_json::Value;
use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, OnceLock};
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

/// An API server of one test, started with these flags; it can be killed and started again. It ends with the test: one that
/// idles on takes from all later tests.
pub async fn own_plane(flags: &'static [&'static str]) -> &'static ControlPlane {
    struct Ends(&'static ControlPlane);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.end();
        }
    }
    thread_local!(static OWN: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) });

    let start = || -> &'static ControlPlane { Box::leak(Box::new(furnished(ControlPlane::start_restartable(flags)))) };
    let plane = tokio::task::spawn_blocking(start).await.unwrap();
    // A test has a thread of its own, which outlives everything that it made.
    OWN.with_borrow_mut(|own| own.push(Ends(plane)));
    plane
}

/// Installs kinds, roles and policies.
pub fn furnished(plane: ControlPlane) -> ControlPlane {
    static POLICIES: LazyLock<String> = LazyLock::new(|| kustomized(&repository("manifests/policies")));
    objects::at_once(&plane, async |client| {
        objects::install_crds(&client).await;
        for file in ["namespace.yaml", "roles.yaml", "operator.yaml"] {
            let text = std::fs::read_to_string(repository("manifests/base").join(file)).expect("readable");
            objects::apply(&client, &objects::documents(&text)).await;
        }
        objects::apply(&client, &objects::documents(&POLICIES)).await;
    });
    account(&plane);
    plane
}

/// The operator that watches every namespace of the shared API server. It is started again where it ended, as a Deployment would: one
/// whose lease could not be renewed in time on a busy machine ends, and every later test would wait for it in vain.
pub fn shared_operator() {
    static STARTED: OnceLock<()> = OnceLock::new();
    let launch = || Operator::installed(plane(), Start::default()).up();
    STARTED.get_or_init(|| {
        let mut operator = launch();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(500));
                if !operator.is_alive() {
                    let log = operator.read_log();
                    let end: Vec<&str> = log.lines().rev().take(5).collect();
                    eprintln!(
                        "the shared operator ended and is started again; its last words, the last first: {end:#?}"
                    );
                    operator = launch();
                }
            }
        });
    });
}

/// A kubeconfig for the operator's ServiceAccount, with exactly the rights that manifests gave it. The account must be there.
pub fn account(plane: &ControlPlane) -> PathBuf {
    let file = plane.kubeconfig().with_file_name("operator-kubeconfig");
    if file.exists() {
        return file;
    }
    let config = objects::at_once(plane, async |client| {
        objects::kubeconfig(plane, &client, "releaseclosure-system", "releaseclosure-operator").await
    });
    std::fs::write(&file, config.to_string()).expect("a kubeconfig can be written");
    file
}

/// How an operator is started.
#[derive(Clone)]
pub struct Start {
    /// The build.
    pub binary: PathBuf,
    /// What it logs, as `RUST_LOG` says it.
    pub level: &'static str,
    /// What its environment has beside that.
    pub environment: Vec<(&'static str, String)>,
    /// Flags beside those that say where it works.
    pub flags: Vec<String>,
}

impl Start {
    /// With these flags.
    pub fn with(flags: &[&str]) -> Start {
        Start { flags: flags.iter().map(|flag| (*flag).to_owned()).collect(), ..Start::default() }
    }
}

impl Default for Start {
    fn default() -> Self {
        Start {
            binary: env!("CARGO_BIN_EXE_releaseclosure").into(),
            level: "info,releaseclosure=debug",
            environment: Vec::new(),
            flags: Vec::new(),
        }
    }
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
    /// Launches one as it is installed: it watches every namespace, and keeps its Lease in its own. It may stand by for now.
    pub fn installed(plane: &ControlPlane, mut start: Start) -> Operator {
        start.flags.push("--lease-namespace=releaseclosure-system".to_owned());
        Operator::launch(&account(plane), &start)
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

    fn launch(kubeconfig: &Path, start: &Start) -> Operator {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = kubeconfig.with_file_name(format!("operator-{count}.log"));
        let script = r#"exec 3<&0; "$@" 2>>"$LOG" </dev/null & pid=$!; echo "$pid"; cat <&3 >/dev/null; kill -9 "$pid" 2>/dev/null"#;
        let port = free_port();
        let mut keeper = Command::new("bash")
            .args(["-c", script, "bash"])
            .arg(&start.binary)
            .args(["operator", "--allow-loopback-connections"])
            .arg(format!("--metrics-bind-address=127.0.0.1:{port}"))
            .args(&start.flags)
            .env("KUBECONFIG", kubeconfig)
            .env("RUST_LOG", start.level)
            .env("LOG", &log)
            .envs(start.environment.iter().map(|(name, value)| (name, value)))
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

    /// Waits until it is so.
    pub async fn until(&self, what: &str, so: impl Fn(&Operator) -> bool) {
        let start = Instant::now();
        while !so(self) {
            assert!(start.elapsed() < PATIENCE, "not {what}:\n{}", self.read_log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it has logged this.
    pub async fn until_logged(&self, what: &str) {
        self.until(what, |operator| operator.logged(what)).await;
    }

    /// Waits until it has ended by itself.
    pub async fn until_ended(&self) {
        self.until("ended", |operator| !operator.is_alive()).await;
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
    /// Launches an operator that watches this namespace alone, and keeps its Lease there. It may stand by for now.
    pub async fn launch(&self, mut start: Start) -> Operator {
        let namespace = &self.namespace;
        let [role, binding] = shipped(namespace, LEASE);
        let of_kind = |object: Value| -> (Api<DynamicObject>, DynamicObject) {
            let object: DynamicObject = serde_json::from_value(object).expect("an object");
            let kind = ApiResource::from_gvk(&object.types.as_ref().expect("a kind").try_into().expect("a kind"));
            (Api::namespaced_with(self.client.clone(), namespace, &kind), object)
        };
        for (api, object) in [role, binding].map(of_kind) {
            match api.create(&PostParams::default(), &object).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                Err(error) => panic!("the right to keep a Lease: {error}"),
            }
        }
        start.flags.extend([format!("--namespace={namespace}"), format!("--lease-namespace={namespace}")]);
        let through = self.through.as_ref().map(|through| through.kubeconfig.clone());
        Operator::launch(&through.unwrap_or_else(|| account(self.plane)), &start)
    }

    /// The same, and its caches are complete.
    pub async fn started(&self, start: Start) -> Operator {
        let operator = self.launch(start).await;
        tokio::task::spawn_blocking(|| operator.up()).await.unwrap()
    }

    /// The same. It has found everything ready.
    pub async fn operator_with(&self, start: Start) -> Operator {
        let operator = self.started(start).await;
        self.settled_in().await;
        operator
    }

    /// The same, as most tests want it.
    pub async fn operator(&self) -> Operator {
        self.operator_with(Start::default()).await
    }

    /// Another operator after one that was killed, if there was one. That one is dead for certain, so its Lease need not be waited
    /// out.
    pub async fn next(&self, start: Start) -> Operator {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        match leases.delete("releaseclosure-operator", &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => panic!("the Lease of the last one: {error}"),
        }
        self.started(start).await
    }

    /// The same, as most tests want it.
    pub async fn operator_after_a_crash(&self) -> Operator {
        self.next(Start::default()).await
    }

    /// An operator whose lease fell due while it or the API server was away ends; then whoever runs it starts it again. The API server
    /// must be back: it is decided when the lease was renewed, or the operator has ended.
    pub async fn kept_going(&self, operator: Operator) -> Operator {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let (since, start) = (jiff::Timestamp::now(), Instant::now());
        while operator.is_alive() {
            let lease = leases.get("releaseclosure-operator").await.expect("it has a lease");
            if lease.spec.and_then(|spec| spec.renew_time).is_some_and(|renewed| renewed.0 > since) {
                return operator;
            }
            assert!(start.elapsed() < PATIENCE, "neither renewed nor ended:\n{}", operator.read_log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(operator.logged("leadership ended"), "{}", operator.read_log());
        self.operator_after_a_crash().await
    }
}
