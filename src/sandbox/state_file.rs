//! The state file: what the systems hold, so that they remember it over a restart.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::records::KeptRecords;
use super::seed::Delivery;
use super::settings::Settings;

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) settings: Settings,
    pub(super) records: KeptRecords,
    pub(super) deliveries: Vec<Delivery>,
}

/// Reads the file; none is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Kept>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file as a whole: a reader finds the old content or the new, and so does a process that was killed in between.
/// Whether it also survives a loss of power is left to the file system.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    std::fs::write(&next, content)?;
    std::fs::rename(&next, path)
}

/// Asks the writer to write, and waits for it. Changes that come while it writes go into the file together.
#[derive(Debug)]
pub(super) struct Keeper {
    wanted: watch::Sender<u64>,
    kept: watch::Receiver<Outcome>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    generation: u64,
    failed: bool,
}

/// The writer's end.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    wanted: watch::Receiver<u64>,
    kept: watch::Sender<Outcome>,
}

/// The two ends for one file.
pub(super) fn keeper(path: PathBuf) -> (Keeper, Writer) {
    let (wanted, wanted_by_writer) = watch::channel(0);
    let (kept_by_writer, kept) = watch::channel(Outcome::default());
    (Keeper { wanted, kept }, Writer { path, wanted: wanted_by_writer, kept: kept_by_writer })
}

impl Keeper {
    /// Says that there is something to write, without waiting for it.
    pub(super) fn want(&self, generation: u64) {
        self.wanted.send_if_modified(|wanted| {
            let is_newer = generation > *wanted;
            *wanted = generation.max(*wanted);
            is_newer
        });
    }

    /// Waits until the file holds the state of this generation; false if it could not be written.
    pub(super) async fn keep(&self, generation: u64) -> bool {
        self.want(generation);
        let mut kept = self.kept.clone();
        let outcome = kept.wait_for(|outcome| outcome.generation >= generation).await;
        outcome.is_ok_and(|outcome| !outcome.failed)
    }
}

impl Writer {
    /// Writes whenever there is something to write, until the keeper is gone. `snapshot` gives the state with its generation.
    pub(super) async fn run(mut self, snapshot: impl Fn() -> Option<(u64, Kept)>) {
        while self.wanted.changed().await.is_ok() {
            let Some((generation, state)) = snapshot() else { return };
            let path = self.path.clone();
            let write = move || replace(&path, &serde_json::to_vec(&state)?);
            let written = match tokio::task::spawn_blocking(write).await {
                Ok(written) => written,
                Err(error) => Err(io::Error::other(error)),
            };
            if let Err(error) = &written {
                tracing::error!(%error, path = %self.path.display(), "the state file could not be written");
            }
            self.kept.send_replace(Outcome { generation, failed: written.is_err() });
        }
    }
}
