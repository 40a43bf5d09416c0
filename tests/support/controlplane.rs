//! A real API server for tests: etcd, kube-apiserver, some controllers and kubectl in one binary of `tests/controlplane`.
//!
//! The server stops when the process that started it ends, however it ends: it reads its stdin, and the other end of that
//! pipe is held here. No cluster but this one is ever spoken to: `KUBECONFIG` is taken from no environment and handed to
//! no child.

use super::objects;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

/// How long a poll goes on before it fails its test: far longer than anything should take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running control plane. Stops when dropped, and with the process.
pub struct ControlPlane {
    child: Mutex<Child>,
    home: PathBuf,
    kubectl: PathBuf,
    /// With what it was started, and is started again.
    flags: Vec<String>,
}

impl ControlPlane {
    /// Starts one with an empty etcd, and waits until it is ready.
    pub fn start() -> ControlPlane {
        ControlPlane::launch(fresh_directory(), vec!["--ephemeral".to_owned()])
    }

    /// One that can be stopped or killed and started again, with the same address, certificates and objects.
    pub fn start_restartable(flags: &[&str]) -> ControlPlane {
        let home = fresh_directory();
        let mut all = vec![format!("--dir={}", home.join("data").display())];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let mut plane = ControlPlane::launch(home, all);
        let kubeconfig = std::fs::read_to_string(plane.kubeconfig()).expect("a kubeconfig");
        let port = kubeconfig.split_once("https://127.0.0.1:").expect("an address").1;
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        plane.flags.push(format!("--port={port}"));
        plane
    }

    fn launch(home: PathBuf, flags: Vec<String>) -> ControlPlane {
        let child = Mutex::new(serve(&home, &flags));
        ControlPlane { child, kubectl: kubectl(), home, flags }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills a restartable one, leaves it dead for a while, and starts it again.
    pub fn crash(&self, down: Duration) {
        let mut child = self.child();
        // Its last words are not wanted.
        let _ = std::fs::remove_file(self.home.join("server.log"));
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        std::thread::sleep(down);
        *child = serve(&self.home, &self.flags);
    }

    /// Stops it for good, and removes what it has stored.
    pub fn end(&self) {
        let mut child = self.child();
        drop(child.stdin.take());
        let _ = child.wait();
        let _ = std::fs::remove_dir_all(&self.home);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child().id().to_string()]).status();
        assert!(sent.expect("kill can be run").success(), "the control plane is gone");
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.home.join("kubeconfig")
    }

    /// What was asked of a restartable one that has the flag `--audit`: a JSON object a line, there by the time of the
    /// answer.
    pub fn audit_log(&self) -> PathBuf {
        kept_audit_log(&self.home).unwrap_or_else(|| self.home.join("data/audit.log"))
    }

    /// Where kubectl is.
    pub fn kubectl_binary(&self) -> PathBuf {
        self.kubectl.clone()
    }

    /// A kubectl that knows this cluster alone. Arguments are to be added.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        // It ends before it would be worth it to collect its garbage, which is half of what it does.
        command.env("GOGC", "off").env("GOMEMLIMIT", "512MiB");
        command.env_remove("KUBECONFIG").env("HOME", &self.home).arg("--kubeconfig").arg(self.kubeconfig());
        command
    }

    /// Runs kubectl and says how it ended.
    pub fn try_kubectl(&self, args: &[&str]) -> Ran {
        Ran::of(args, self.command().args(args).output().expect("kubectl can be started"))
    }

    /// Runs kubectl, which must succeed, and gives back what it printed.
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args).out()
    }

    /// Runs kubectl with this text as its standard input; for `-f -`.
    pub fn try_kubectl_with(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command();
        let mut child = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl can be started");
        child.stdin.take().expect("stdin is a pipe").write_all(input.as_bytes()).expect("kubectl reads its input");
        Ran::of(args, child.wait_with_output().expect("kubectl ends"))
    }

    /// The same, which must succeed.
    pub fn kubectl_with(&self, args: &[&str], input: &str) -> String {
        self.try_kubectl_with(args, input).out()
    }

    /// Installs the definitions below `crds/` and waits until their kinds are served.
    pub fn install_crds(&self) {
        objects::at_once(self, async |client| objects::install_crds(&client).await);
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.end();
    }
}

/// How a kubectl ended.
#[derive(Debug)]
pub struct Ran {
    /// Whether it succeeded.
    pub ok: bool,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
    args: String,
}

impl Ran {
    fn of(args: &[&str], output: Output) -> Ran {
        Ran {
            ok: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            args: args.join(" "),
        }
    }

    /// What it printed; it must have succeeded.
    #[track_caller]
    pub fn out(self) -> String {
        assert!(self.ok, "kubectl {}: {}{}", self.args, self.stdout, self.stderr);
        self.stdout
    }

    /// What it complained of; it must have failed.
    #[track_caller]
    pub fn refusal(self) -> String {
        assert!(!self.ok, "kubectl {} was let through: {}", self.args, self.stdout);
        self.stderr
    }
}

/// Starts the server and waits until it is ready. It ends when its standard input does.
fn serve(home: &Path, flags: &[String]) -> Child {
    let binary = binary();
    let log = std::fs::File::create(home.join("stderr")).expect("a log can be written");
    let kept = kept_audit_log(home).map(|log| format!("--audit-log={}", log.display()));
    let mut child = Command::new(&binary)
        .args(["serve", "--stdin-lifeline", "--kubeconfig"])
        .arg(home.join("kubeconfig"))
        .arg("--log")
        .arg(home.join("server.log"))
        .args(flags)
        .args(kept)
        // A tenth less to do, for some hundred MB that it takes more.
        .env("GOGC", "400")
        .env_remove("KUBECONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{} cannot be started: {error}", binary.display()));
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
    let ready = lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("READY"));
    assert!(ready, "the control plane did not come up; see {}", home.join("stderr").display());
    let log = home.join("server.log");
    // Whatever it prints from now on is read, so that it never waits for a reader. It says when it stops because it was
    // told to; where it ends without a word, every test that comes after fails, and its last words say why.
    std::thread::spawn(move || {
        let told = lines.any(|line| line.is_ok_and(|line| line.starts_with("STOPPING")));
        if !told && let Ok(text) = std::fs::read_to_string(&log) {
            let last: Vec<&str> = text.lines().rev().take(5).collect();
            // Not by `eprintln!`, which a test that has passed keeps to itself.
            let mut stderr = std::io::stderr().lock();
            let _ = writeln!(stderr, "the control plane ended unasked, or was killed; the end of its log:");
            for line in last.iter().rev() {
                let _ = writeln!(stderr, "  {}", line.chars().take(1000).collect::<String>());
            }
        }
    });
    child
}

/// Where the audit log of a server stays when it has ended: in the folder that `RELEASECLOSURE_AUDIT` names, for `tests/rights.rs`.
fn kept_audit_log(home: &Path) -> Option<PathBuf> {
    let name = home.file_name().expect("a directory of its own").to_str().expect("UTF-8");
    std::env::var_os("RELEASECLOSURE_AUDIT").map(|folder| Path::new(&folder).join(format!("{name}.log")))
}

/// A path below the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What kustomize makes of a folder of the repository.
pub fn kustomized(folder: &Path) -> String {
    let ran = Command::new(kubectl()).arg("kustomize").arg(folder).output().expect("kubectl can be started");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("UTF-8")
}

fn kubectl() -> PathBuf {
    binary().with_file_name("kubectl")
}

/// Asks again and again until it is so.
#[allow(clippy::disallowed_methods, reason = "for tests without a runtime: there are no other tasks to stop")]
#[track_caller]
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not so after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The control plane's binary: the one that the environment names, else the one that `make controlplane` makes.
fn binary() -> PathBuf {
    let binary = std::env::var_os("RELEASECLOSURE_CONTROLPLANE")
        .map_or_else(|| repository(".build/controlplane/controlplane"), PathBuf::from);
    assert!(binary.is_file(), "{} is missing; make it with: make controlplane", binary.display());
    binary
}

/// A new directory below the build's own temporary one.
fn fresh_directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    static SWEPT: Once = Once::new();
    let name = format!("controlplane-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let below = Path::new(env!("CARGO_TARGET_TMPDIR"));
    SWEPT.call_once(|| sweep(below));
    let directory = below.join(name);
    std::fs::create_dir_all(&directory).expect("the build's temporary directory can be written");
    directory
}

/// Removes what processes have left that are no more: a server that all tests share is never dropped, and leaves 70 MB.
fn sweep(below: &Path) {
    let processes = Path::new("/proc");
    for entry in std::fs::read_dir(below).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix("controlplane-")?.split('-').next());
        if process.is_some_and(|process| processes.is_dir() && !processes.join(process).exists()) {
            // Another one may be at it, too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
