//! The state file: what the systems hold, so that they remember it over a restart.
//!
//! One JSON value a line: first a line that says what the file is, then an array of entries for every change. A change is one line
//! and one write, made before its reply goes out, so a process that is killed forgets nothing that it has answered; a last line
//! without its end is a change that was never answered, and is left out. A start reads the file and writes it anew, so that it
//! does not grow from one to the next. Whether it also survives a loss of power is left to the file system.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::records::{Record, Role};
use super::seed::Delivery;
use super::settings::Settings;

/// The first line.
const FORMAT: &str = "\"releaseclosure sandbox state, version 1\"";

/// Something that is so from now on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Entry<'a> {
    /// The systems' variants.
    Settings(Cow<'a, Settings>),
    /// A record.
    Record { role: Role, id: Cow<'a, str>, record: Cow<'a, Record> },
    /// A record is gone.
    Removed { role: Role, id: Cow<'a, str> },
    /// The intake was handed something.
    Delivery(Cow<'a, Delivery>),
    /// At least so many revisions have been used.
    Revision(u64),
}

/// The file, open at its end.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    failed: bool,
}

/// What a file says; none if there is no file, or an empty one.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<Entry<'static>>>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) if text.is_empty() => return Ok(None),
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut entries = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if index == 0 {
            if line.trim_end() != FORMAT {
                return Err(io::Error::other("it is not the state file of a sandbox"));
            }
        } else if line.ends_with('\n') {
            let change: Vec<Entry<'static>> = serde_json::from_str(line)?;
            entries.extend(change);
        }
    }
    Ok(Some(entries))
}

impl Journal {
    /// Replaces the file by one that says this and nothing else, and leaves it open.
    pub(super) fn create<'a>(path: PathBuf, entries: impl Iterator<Item = Entry<'a>>) -> io::Result<Journal> {
        let file = write_anew(&path, entries)?;
        Ok(Journal { path, file, failed: false })
    }

    /// Adds a change. What goes wrong is remembered: a file that may end in half a line takes no more.
    pub(super) fn add(&mut self, change: &[Entry<'_>]) {
        if self.failed {
            return;
        }
        let line = serde_json::to_vec(change).map_err(io::Error::from);
        let written = line.and_then(|mut line| {
            line.push(b'\n');
            self.file.write_all(&line)
        });
        self.note(written);
    }

    /// Starts over with this.
    pub(super) fn replace<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) {
        let written = write_anew(&self.path, entries);
        let written = written.map(|file| {
            self.file = file;
            self.failed = false;
        });
        self.note(written);
    }

    /// Whether something is missing in the file.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    fn note(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            tracing::error!(%error, path = %self.path.display(), "the state file cannot be written");
            self.failed = true;
        }
    }
}

fn write_anew<'a>(path: &Path, entries: impl Iterator<Item = Entry<'a>>) -> io::Result<File> {
    let mut text = format!("{FORMAT}\n").into_bytes();
    for entry in entries {
        serde_json::to_writer(&mut text, &[entry])?;
        text.push(b'\n');
    }
    replace(path, &text)
}

/// Replaces a file as a whole: a reader finds the old content or the new, and so does a process that was killed in between.
/// Returns it open at its end.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<File> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let mut file = File::create(&next)?;
    file.write_all(content)?;
    std::fs::rename(&next, path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_take_a_line_takes_no_further_one() {
        let path = std::env::temp_dir().join(format!("sandbox-journal-{}", std::process::id()));
        let mut journal = Journal::create(path.clone(), [Entry::Revision(7)].into_iter()).expect("a file");
        journal.add(&[Entry::Revision(8)]);
        let writable = std::mem::replace(&mut journal.file, File::open(&path).expect("there"));
        journal.add(&[Entry::Revision(9)]);
        assert!(journal.has_failed());
        journal.file = writable;
        journal.add(&[Entry::Revision(10)]);
        let revisions = |path| {
            let entries = read(path).expect("readable").unwrap_or_default().into_iter();
            let revisions =
                entries.filter_map(|entry| if let Entry::Revision(revision) = entry { Some(revision) } else { None });
            revisions.collect::<Vec<_>>()
        };
        assert_eq!(revisions(&path), [7, 8]);
        journal.replace([Entry::Revision(10)].into_iter());
        journal.add(&[Entry::Revision(11)]);
        assert!(!journal.has_failed());
        assert_eq!(revisions(&path), [10, 11]);
        std::fs::remove_file(&path).expect("removed");
    }
}
