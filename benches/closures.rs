//! What a closure costs, on a real API server: `make bench`.
//!
//! The operator is the release build, in a process of its own, under its shipped role and with its usual logging. The six
//! systems are another process, and creating closures is this one's work, so that the figures are the operator's alone.
//! Nothing is asserted about time: on a busy machine CPU time says more than wall time, and counts say most.
//!
//! `cargo bench --profile dev --bench closures -- 3 1000` runs three waves of a thousand. The peak of memory must not grow
//! from wave to wave: what is finished leaves the operator.

#[path = "../tests/cluster/operators.rs"]
#[allow(dead_code, reason = "a toolbox")]
mod operators;
#[path = "../tests/support/ports.rs"]
mod ports;
#[path = "../tests/cluster/stage.rs"]
#[allow(dead_code, reason = "a toolbox")]
mod stage;
#[path = "../tests/support/mod.rs"]
mod support;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{Api, ListParams, PostParams};
use operators::{ACCOUNT, Operator, Start, furnished};
use releaseclosure::api::ReleaseClosure;
use releaseclosure::sandbox::{self, Seed};
use serde_json::{Value, json};
use stage::{Setup, closure, needed};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::controlplane::ControlPlane;
use support::objects::{self, client};

const NAMESPACE: &str = "bench";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (waves, size) = match numbers[..] {
        [waves, size, ..] => (waves, size),
        _ => (3, 1000),
    };
    let binary = binary();
    println!("{waves} waves of {size} closures; recheck EveryWrite, records named; load average {}", load());
    println!("{:<44}{:.1} MiB", "binary", mib(std::fs::metadata(&binary).expect("the binary").len()));

    let plane = furnished(ControlPlane::start_restartable(&["--audit"]));
    let seed = sandbox::generate(waves * size);
    let systems = Systems::start(&binary, plane.audit_log().with_file_name("sandbox"), waves * size);
    let setup = Setup {
        limits: json!({"requestsPerSecond": 1000, "concurrency": 64, "timeout": "10s"}),
        policy: json!({}),
        ..Setup::default()
    };
    let admin = client(&plane).await;
    objects::apply(&admin, &needed(NAMESPACE, &systems.endpoint, &setup)).await;
    let operator = Operator::installed(&plane, Start { binary, level: "info", ..Start::default() }).up();
    for kind in ["systemconnections", "closureplaybooks"] {
        plane.kubectl(&["-n", NAMESPACE, "wait", "--for=condition=Ready", kind, "--all", "--timeout=90s"]);
    }
    println!("{:<44}{:.1} MiB", "peak memory before the first", mib(peak(operator.pid)));

    let closures = Api::namespaced(admin, NAMESPACE);
    for wave in 0..waves {
        let before = Figures::take(&operator, &systems, &plane).await;
        let start = Instant::now();
        create(&closures, &seed, wave * size..(wave + 1) * size).await;
        finished(&closures).await;
        let took = start.elapsed();
        // Events are written behind the passes.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let after = Figures::take(&operator, &systems, &plane).await;
        report(wave + 1, size, &before, &after, took);
    }
    let all = closures.list(&ListParams::default()).await.expect("a list").items;
    let closed = all.iter().filter(|closure| stage::ready(closure).1 == "Closed").count();
    println!("{:<44}{closed}", "closed, of all");
}

/// The one that `RELEASECLOSURE_BINARY` names, to compare builds; else the release build, which `make bench` has made.
fn binary() -> PathBuf {
    let made = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("release").join("releaseclosure");
    let binary = std::env::var_os("RELEASECLOSURE_BINARY").map_or_else(made, PathBuf::from);
    assert!(binary.is_file(), "{} is missing; make it with: cargo build --release", binary.display());
    binary
}

async fn create(closures: &Api<ReleaseClosure>, seed: &Seed, numbers: std::ops::Range<usize>) {
    let objects: Vec<ReleaseClosure> = numbers
        .map(|index| serde_json::from_value(closure(NAMESPACE, index + 1, &seed.reviews[index])).expect("a closure"))
        .collect();
    stream::iter(&objects)
        .map(|object| async { closures.create(&PostParams::default(), object).await.map(drop) })
        .buffer_unordered(32)
        .try_collect::<()>()
        .await
        .expect("all are let in");
}

async fn finished(closures: &Api<ReleaseClosure>) {
    let unfinished = ListParams::default().fields("status.completionTime=").limit(1);
    while !closures.list_metadata(&unfinished).await.expect("a list").items.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The six systems, as a process.
struct Systems {
    process: Child,
    endpoint: String,
    admin: String,
}

impl Systems {
    fn start(binary: &Path, directory: PathBuf, count: usize) -> Systems {
        std::fs::create_dir_all(&directory).expect("a directory");
        let (seed, address) = (directory.join("seed.yaml"), directory.join("address"));
        std::fs::write(&seed, format!("generate: {{count: {count}}}\n")).expect("a seed");
        let process = Command::new(binary)
            .arg("sandbox")
            .arg("--seed")
            .arg(seed)
            .arg("--address-file")
            .arg(&address)
            .env("RUST_LOG", "off")
            .stdout(Stdio::null())
            .spawn()
            .expect("the sandbox can be started");
        support::controlplane::eventually("the sandbox listens", || {
            std::fs::read_to_string(&address).is_ok_and(|text| text.trim().starts_with("http"))
        });
        let admin = std::fs::read_to_string(&address).expect("an address").trim().to_owned();
        Systems { process, endpoint: format!("{admin}{}", sandbox::PREFIX), admin }
    }

    /// Requests that the systems were sent, and changes that were made.
    #[allow(clippy::disallowed_methods, reason = "asks the sandbox's admin API, which no adapter speaks to")]
    async fn counts(&self) -> (u64, u64) {
        let reply = reqwest::get(format!("{}/admin/counts", self.admin)).await.expect("counts");
        let counts: Value = serde_json::from_slice(&reply.bytes().await.expect("counts")).expect("JSON");
        let sum = |field: &str| {
            let roles = counts["roles"].as_object().expect("counts by role").values();
            roles.filter_map(|role| role[field].as_u64()).sum::<u64>()
        };
        (sum("reads") + sum("writes"), sum("applied"))
    }
}

impl Drop for Systems {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What is counted up from the start.
struct Figures {
    cpu_milliseconds: u64,
    peak: u64,
    resident: u64,
    to_systems: u64,
    changes: u64,
    to_api_server: u64,
    load: String,
}

impl Figures {
    async fn take(operator: &Operator, systems: &Systems, plane: &ControlPlane) -> Figures {
        let (to_systems, changes) = systems.counts().await;
        Figures {
            cpu_milliseconds: cpu_milliseconds(operator.pid),
            peak: peak(operator.pid),
            resident: memory(operator.pid, "VmRSS:"),
            to_systems,
            changes,
            to_api_server: to_api_server(plane),
            load: load(),
        }
    }
}

fn report(wave: usize, size: usize, before: &Figures, after: &Figures, took: Duration) {
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let each = |after: u64, before: u64| (after - before) as f64 / size as f64;
    println!("wave {wave}");
    println!("{:<44}{:.3} ms", "  CPU time per closure", each(after.cpu_milliseconds, before.cpu_milliseconds));
    println!("{:<44}{:.3}", "  requests to systems per closure", each(after.to_systems, before.to_systems));
    println!("{:<44}{:.3}", "  changes made per closure", each(after.changes, before.changes));
    println!(
        "{:<44}{:.3}",
        "  requests to the API server per closure",
        each(after.to_api_server, before.to_api_server)
    );
    println!("{:<44}{:.1} MiB", "  peak memory", mib(after.peak));
    println!("{:<44}{:.1} MiB", "  memory now", mib(after.resident));
    println!(
        "{:<44}{:.1} s, load average {}",
        "  wall time, everything on this machine",
        took.as_secs_f64(),
        after.load
    );
}

/// User and system time. A process name with a space or bracket would break the count of fields, hence the last bracket.
fn cpu_milliseconds(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the operator runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("ticks")).sum();
    ticks * 1000 / rustix::param::clock_ticks_per_second()
}

fn peak(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the operator runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("kilobytes") * 1024
}

/// Requests of the operator that are there to be saved: neither its lease nor its watches, which come by the clock.
fn to_api_server(plane: &ControlPlane) -> u64 {
    let log = std::fs::read_to_string(plane.audit_log()).expect("the audit log");
    let entries = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("an entry is JSON"));
    let own = entries.filter(|entry| entry["user"]["username"] == ACCOUNT);
    own.filter(|entry| entry["verb"] != "watch" && entry["objectRef"]["resource"] != "leases").count() as u64
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
