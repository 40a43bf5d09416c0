//! Real servers for tests, each a process of its own on free ports, with a directory of its own.
//!
//! `tests/systems/build.sh` builds them. A test asks for one and goes home where it is not built:
//!
//! ```ignore
//! let Some(gitea) = Gitea::start().await else { return };
//! ```
//!
//! What was skipped is told by name, at once and at the end of `make test`. With `RELEASECLOSURE_SYSTEMS=required`, as
//! `make test-systems` sets it, a server that is not built fails its test.

pub mod gitea;
pub mod github;
pub mod http;
pub mod jira;
pub mod nats;
pub mod oci;
pub mod oci_guard;
pub mod process;
pub mod redmine;
pub mod s3;
pub mod smtp;
pub mod sqs;
pub mod sqs_people;

use std::io::Write;
use std::path::{Path, PathBuf};

/// Where a server is built, or why it is not.
pub enum Availability {
    /// The directory that its recipe filled.
    Built(PathBuf),
    /// Why not, in words for a person.
    Missing(String),
}

impl Availability {
    /// Looks whether one is built; `system` is its folder below `tests/systems/`.
    pub fn of(system: &str) -> Availability {
        let built = repository(".build/systems");
        if built.join(system).join("stamp").is_file() {
            return Availability::Built(built.join(system));
        }
        let why = std::fs::read_to_string(built.join(format!("{system}.why")));
        let why = why.map(|why| why.trim().to_owned());
        Availability::Missing(why.unwrap_or_else(|_| format!("not built; tests/systems/build.sh {system} does it")))
    }
}

/// The directory of a server that is built. Else this test is skipped, and that is told and counted; where every server
/// is required, it fails.
pub fn require(system: &str) -> Option<PathBuf> {
    let required = std::env::var("RELEASECLOSURE_SYSTEMS").is_ok_and(|value| value == "required");
    match look_for(system, required) {
        Ok(directory) => Some(directory),
        Err(line) => {
            // On the real stdout, since what a passing test prints is thrown away.
            let _ = std::io::stdout().write_all(line.as_bytes());
            note(&line, &skip_list());
            None
        }
    }
}

/// The directory of a server that is built, or the line that tells who is skipped and why.
pub fn look_for(system: &str, required: bool) -> Result<PathBuf, String> {
    match Availability::of(system) {
        Availability::Built(directory) => Ok(directory),
        Availability::Missing(why) => {
            assert!(!required, "{system} is required: {why}");
            let thread = std::thread::current();
            Err(format!("skipped: {system}: {why} ({})\n", thread.name().unwrap_or("a test")))
        }
    }
}

/// Puts a line on the list that `tests/systems/skipped` shows; in one write, so that tests side by side do not mix theirs.
pub fn note(line: &str, list: &Path) {
    if let Ok(mut list) = std::fs::File::options().create(true).append(true).open(list) {
        let _ = list.write_all(line.as_bytes());
    }
}

/// Where skipped tests are listed: what the environment names, else a file of the build.
pub fn skip_list() -> PathBuf {
    std::env::var_os("RELEASECLOSURE_SKIPPED").map_or_else(|| repository(".build/skipped-systems"), PathBuf::from)
}

/// A path below the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
