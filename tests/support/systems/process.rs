//! A server as a process: its ports, its directory, its readiness, its end.
//!
//! It ends with the test, however that ends, and with the test's process, however that ends: a shell in its process group
//! waits on a pipe whose other end is held here, and kills the whole group when the pipe is closed.

use crate::ports::Port;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to be ready: far longer than any takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// The server runs in front; beside it, the end of the pipe is waited for. Whichever ends first ends the group.
const LIFELINE: &str = r#"exec 3<&0
{ cat <&3 >/dev/null; kill -KILL 0; } &
"$@" </dev/null 3<&-
echo "it ended by itself, with status $?" >&2
kill -KILL 0"#;

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Launch {
    /// This program. It gets no environment but `PATH`, `HOME` (its directory) and what is added.
    pub fn of(program: impl Into<PathBuf>) -> Launch {
        Launch { program: program.into(), args: Vec::new(), env: Vec::new() }
    }

    /// One argument more.
    pub fn arg(mut self, arg: impl AsRef<Path>) -> Launch {
        self.args.push(arg.as_ref().display().to_string());
        self
    }

    /// Several arguments more.
    pub fn args<const N: usize>(mut self, args: [&str; N]) -> Launch {
        self.args.extend(args.map(str::to_owned));
        self
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<Path>) -> Launch {
        self.env.push((name.to_owned(), value.as_ref().display().to_string()));
        self
    }

    /// Runs it to its end, as a step of preparation, and gives what it printed.
    pub async fn finish(self, home: &Path) -> String {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.args).current_dir(home).env_clear();
        let output = command.envs(environment(home)).envs(self.env.clone()).stdin(Stdio::null()).output().await;
        let output = output.unwrap_or_else(|error| panic!("{} cannot be started: {error}", self.program.display()));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{} {:?}: {}\n{printed}{}",
            self.program.display(),
            self.args,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        printed
    }
}

fn environment(home: &Path) -> Vec<(String, String)> {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
    vec![("PATH".to_owned(), path), ("HOME".to_owned(), home.display().to_string())]
}

/// A server that runs. It is killed when this is dropped, and its directory removed.
#[derive(Debug)]
pub struct Running {
    system: &'static str,
    home: PathBuf,
    launch: Launch,
    child: Option<Child>,
    ports: Vec<Port>,
    /// From the start of the process to the first good answer.
    pub ready: Duration,
}

impl Running {
    /// A directory and ports for one that is about to be launched.
    pub fn prepare(system: &'static str, ports: usize) -> Running {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{system}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // Left by a killed process that had the same number.
        let _ = std::fs::remove_dir_all(&home);
        std::fs::create_dir_all(&home).expect("the build's temporary directory can be written");
        let ports = (0..ports).map(|_| Port::take()).collect();
        Running { system, home, launch: Launch::of(""), child: None, ports, ready: Duration::ZERO }
    }

    /// Its directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// One of its ports.
    pub fn port(&self, nth: usize) -> u16 {
        self.ports[nth].number
    }

    /// Where it answers, as the beginning of a URL.
    pub fn url(&self, nth: usize) -> String {
        format!("http://127.0.0.1:{}", self.port(nth))
    }

    /// Starts the process and waits until it is ready.
    pub async fn launch(&mut self, launch: Launch, ready: impl AsyncFn() -> bool) {
        self.launch = launch;
        self.start_again(ready).await;
    }

    /// Starts it as it was started before, with the data that it has.
    pub async fn start_again(&mut self, ready: impl AsyncFn() -> bool) {
        self.kill();
        let start = Instant::now();
        let log = File::options().create(true).append(true).open(self.log_file()).expect("a log can be written");
        let child = Command::new("sh")
            .args(["-c", LIFELINE, "lifeline"])
            .arg(&self.launch.program)
            .args(&self.launch.args)
            .current_dir(&self.home)
            .env_clear()
            .envs(environment(&self.home))
            .envs(self.launch.env.clone())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a log can be written"))
            .stderr(log)
            .spawn()
            .expect("sh can be started");
        self.child = Some(child);
        while !ready().await {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "{} ended before it was ready:\n{}", self.system, self.log());
            assert!(start.elapsed() < PATIENCE, "{} is not ready:\n{}", self.system, self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.ready = start.elapsed();
    }

    /// Kills it, as a failing machine would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }

    /// What its processes have in memory, in MiB.
    pub fn resident(&self) -> u64 {
        let kib = |process: &PathBuf| {
            let status = std::fs::read_to_string(process.join("status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
        };
        self.group().map_or(0, |group| processes(group).iter().filter_map(kib).sum::<u64>() / 1024)
    }

    /// The process group that it runs in.
    pub fn group(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn log_file(&self) -> PathBuf {
        self.home.join("server.log")
    }

    /// The end of what it printed.
    pub fn log(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(self.log_file()) {
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            let _ = file.seek(SeekFrom::Start(length.saturating_sub(4000)));
            let _ = file.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Tells on the real stdout how it does; for smoke tests.
    pub fn tell(&self) {
        use std::io::Write;
        let line =
            format!("measured: {}: ready in {} ms, {} MiB\n", self.system, self.ready.as_millis(), self.resident());
        let _ = std::io::stdout().write_all(line.as_bytes());
    }
}

/// The processes of a group, as directories below `/proc`; those that have ended and wait for their parents do not count.
pub fn processes(group: u32) -> Vec<PathBuf> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let member = |process: &PathBuf| {
        let stat = std::fs::read_to_string(process.join("stat")).ok()?;
        // Behind the name, which may hold anything: state, parent, group.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let alive = fields.next()? != "Z";
        (alive && fields.nth(1)?.parse() == Ok(group)).then_some(())
    };
    all.map(|entry| entry.path()).filter(|process| member(process).is_some()).collect()
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the end of what {} printed:\n{}", self.system, self.log());
        }
        let _ = std::fs::remove_dir_all(&self.home);
    }
}
