//! A build without the feature `otlp`: nobody listens.

use super::{Layer, Switch, TraceParent};
use tracing::Span;

/// Nothing is told.
#[derive(Debug)]
pub struct Exporting {
    asked: bool,
}

/// Nothing to start.
#[must_use]
pub fn start(switch: Switch) -> (Option<Layer>, Exporting) {
    (None, Exporting { asked: switch != Switch::Off })
}

impl Exporting {
    /// Says in the log where the environment asks for what this build has not.
    pub fn announce(&self) {
        if self.asked {
            tracing::warn!("the environment names an endpoint for traces, but this build has none: see feature otlp");
        }
    }

    /// Nothing to stop.
    pub fn stop(self) {}
}

pub(super) fn link(_: &Span, _: &TraceParent) {}

pub(super) fn own(_: &Span) -> Option<TraceParent> {
    None
}
