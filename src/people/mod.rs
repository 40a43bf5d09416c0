//! What people and pipelines do: wait for a closure, read its packet, resolve its halt, verify its trace; and, for
//! administrators, say what the operator must be able to reach.
//!
//! Each of these is one request or one watch with the person's own rights; nothing here has any of the operator's. What
//! is printed for reading goes to a terminal, so every text of an object is cut down to what is printable first.

mod cluster;
mod error;
#[cfg(test)]
mod fuzz_tests;
mod network_policy;
mod packet;
mod page;
mod prune;
mod resolve;
mod stage;
mod verify;
mod wait;

pub use cluster::Place;
pub use error::Error;
pub use network_policy::network_policy;
pub use packet::packet;
pub use prune::prune;
pub use resolve::{abandon, resume};
pub use verify::{ending, verify};
pub use wait::wait;

use crate::closure::ledger::printable;
use std::io::Write;

/// How a command ends, where nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Done; the closure is closed, where that was waited for.
    Done,
    /// The closure is halted.
    Halted,
    /// A coordinator gave the closure up.
    Abandoned,
    /// Not within the timeout.
    TimedOut,
}

impl Ending {
    /// The process's exit code. 1 is left to errors.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Ending::Done => 0,
            Ending::Halted => 2,
            Ending::Abandoned => 3,
            Ending::TimedOut => 4,
        }
    }
}

/// One line for people, on stderr. A closed stderr is no reason to stop.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What was asked for, on stdout.
fn show(text: &str) {
    let _ = write!(std::io::stdout(), "{text}");
}

/// A text of an object, fit for a terminal.
fn clean(text: &str) -> String {
    printable(text, 1024)
}
