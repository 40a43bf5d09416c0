//! What can go wrong for people, told so that they know what to do next.

use super::clean;
use crate::closure::ledger::Decision;

/// Why a command did nothing, or does not know what it did.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No kubeconfig, or one that cannot be used.
    #[error("no cluster: {0}")]
    NoCluster(String),
    /// There is no such object.
    #[error("there is no {kind} {name} in namespace {namespace}")]
    NotFound {
        /// What was looked for.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Where.
        namespace: String,
    },
    /// It went away while it was waited for.
    #[error("releaseclosure {0} was deleted")]
    Deleted(String),
    /// The closure is not halted.
    #[error("releaseclosure {0} is not halted, so there is nothing to resolve")]
    NotHalted(String),
    /// The closure is halted by another halt than the one that was named.
    #[error(
        "releaseclosure {name} is halted by {latched} now, not by {named}: read its packet, then name the halt that you mean"
    )]
    OtherHalt {
        /// The closure.
        name: String,
        /// The halt that is latched.
        latched: String,
        /// The one that was named.
        named: String,
    },
    /// The operator has not made the packet yet.
    #[error(
        "the packet {0} is not there: the operator makes it right after the halt, and again when it was deleted; try again"
    )]
    NoPacket(String),
    /// Somebody decided before.
    #[error("halt {halt} is resolved already: {decision} by {by}")]
    Resolved {
        /// The halt.
        halt: String,
        /// What was decided.
        decision: &'static str,
        /// Who decided.
        by: String,
    },
    /// The one question that nobody but a person can answer.
    #[error(
        "nobody knows whether the handoff arrived: find out, then say --handoff Delivered (it will count as done) or \
         --handoff NotDelivered (it will be sent once)"
    )]
    HandoffNeeded,
    /// An answer to a question that was not asked.
    #[error("--handoff is only for a halt by NotificationUncertain; this one is by {0}")]
    HandoffUnasked(&'static str),
    /// Nobody is there to say yes.
    #[error("nothing was done: say yes at a terminal, or with --yes")]
    NotConfirmed,
    /// The object changed between reading and writing it.
    #[error("the packet was changed by somebody else meanwhile: look at it again")]
    Changed,
    /// The API server knows who may.
    #[error("you may not {verb} {what} in namespace {namespace}; {role}\n  the API server says: {said}")]
    Forbidden {
        /// What was tried.
        verb: &'static str,
        /// On what.
        what: &'static str,
        /// Where.
        namespace: String,
        /// Which role is missing.
        role: &'static str,
        /// Its own words.
        said: String,
    },
    /// The API server refuses the content.
    #[error("the API server refuses: {0}")]
    Refused(String),
    /// The API server gives no answer.
    #[error("the API server gives no answer: {0}")]
    Unreachable(String),
    /// A file cannot be read.
    #[error("{file}: {why}")]
    File {
        /// Which.
        file: String,
        /// Why.
        why: String,
    },
    /// What is about to be deleted cannot be put down first.
    #[error("{0} was not deleted, since it could not be printed first: {1}")]
    NotExported(String, String),
    /// The object is not what it must be.
    #[error("releaseclosure {name}: {why}")]
    Invalid {
        /// The closure.
        name: String,
        /// Which rule it breaks.
        why: String,
    },
    /// A connection is not what it must be.
    #[error("systemconnection {name}: {why}")]
    Connection {
        /// The connection.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The trace does not hold.
    #[error("releaseclosure {name}: {why}")]
    Broken {
        /// The closure.
        name: String,
        /// Which claim does not hold.
        why: String,
    },
}

/// The role that reading takes.
pub(super) const VIEWER: &str = "it takes the role releaseclosure-viewer, which `view` contains";
/// The role that resolving takes.
pub(super) const COORDINATOR: &str = "it takes the role releaseclosure-coordinator";
/// The role that pruning takes.
pub(super) const PRUNER: &str = "it takes the role releaseclosure-pruner of the component retention";

/// What was tried, to tell people in their terms what the API server made of it.
pub(super) struct Tried<'a> {
    pub(super) verb: &'static str,
    pub(super) what: &'static str,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) role: &'static str,
}

impl Tried<'_> {
    pub(super) fn failed(&self, error: &kube::Error) -> Error {
        let namespace = self.namespace.to_owned();
        match error {
            kube::Error::Api(status) if status.is_not_found() => {
                Error::NotFound { kind: self.what, name: self.name.to_owned(), namespace }
            }
            kube::Error::Api(status) if status.is_forbidden() => Error::Forbidden {
                verb: self.verb,
                what: self.what,
                namespace,
                role: self.role,
                said: clean(&status.message),
            },
            kube::Error::Api(status) if status.is_conflict() => Error::Changed,
            kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => {
                Error::Refused(clean(&status.message))
            }
            error => Error::Unreachable(clean(&chain(error))),
        }
    }
}

/// An error with its causes; the outermost alone often says nothing.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

pub(super) const fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Resume => "Resume",
        Decision::Abandon => "Abandon",
    }
}
