//! The whole operator against a real API server and six systems of its own per test.
//!
//! Each test says in its name what must be so; what is looked at are the requests that the systems saw and the objects
//! that the API server holds, never the operator's own word for it.

/// What takes longest. Tests are begun in the order of their names, and these first: so the last ones do not run alone.
#[path = "cluster"]
mod a_while {
    pub(crate) mod idle;
    pub(crate) mod shards;
    pub(crate) mod sweep;
    pub(crate) mod waits;
}
use a_while::{sweep, waits};

#[path = "cluster/again.rs"]
mod again;
#[path = "cluster/already.rs"]
mod already;
#[path = "cluster/announcements.rs"]
mod announcements;
#[path = "cluster/apiserver.rs"]
mod apiserver;
#[path = "cluster/audit.rs"]
mod audit;
#[path = "cluster/between.rs"]
mod between;
#[path = "cluster/budget.rs"]
mod budget;
#[path = "cluster/burst.rs"]
mod burst;
#[path = "cluster/clean.rs"]
mod clean;
#[path = "cluster/contention.rs"]
mod contention;
#[path = "cluster/crashes.rs"]
mod crashes;
#[path = "cluster/definitions.rs"]
mod definitions;
#[path = "cluster/document.rs"]
mod document;
#[path = "cluster/duplicates.rs"]
mod duplicates;
#[path = "cluster/feeds.rs"]
mod feeds;
#[path = "cluster/fences.rs"]
mod fences;
#[path = "cluster/findings.rs"]
mod findings;
#[path = "cluster/follow_ups.rs"]
mod follow_ups;
#[path = "cluster/frozen.rs"]
mod frozen;
#[path = "cluster/gate.rs"]
#[allow(dead_code, reason = "a toolbox")]
mod gate;
#[path = "cluster/grants.rs"]
#[allow(dead_code, reason = "a toolbox")]
mod grants;
#[path = "cluster/guides.rs"]
mod guides;
#[path = "cluster/halts.rs"]
mod halts;
#[path = "cluster/hostile.rs"]
mod hostile;
#[path = "cluster/logs.rs"]
mod logs;
#[path = "cluster/lost_replies.rs"]
mod lost_replies;
#[path = "cluster/misfortunes.rs"]
mod misfortunes;
#[path = "cluster/modes.rs"]
mod modes;
#[path = "cluster/operators.rs"]
#[allow(dead_code, reason = "a toolbox")]
mod operators;
#[path = "cluster/outages.rs"]
mod outages;
#[path = "cluster/people.rs"]
mod people;
#[path = "cluster/permissions.rs"]
mod permissions;
#[path = "support/ports.rs"]
mod ports;
#[path = "cluster/processes.rs"]
mod processes;
#[path = "cluster/prometheus.rs"]
mod prometheus;
#[path = "cluster/releases.rs"]
#[allow(dead_code, reason = "a toolbox")]
mod releases;
#[cfg(feature = "otlp")]
#[path = "cluster/spans.rs"]
mod spans;
#[path = "cluster/stage.rs"]
#[allow(dead_code, reason = "a toolbox")]
mod stage;
mod support;
#[path = "cluster/tenancy.rs"]
mod tenancy;
#[path = "cluster/upgrade.rs"]
mod upgrade;
#[path = "cluster/week.rs"]
mod week;
#[path = "cluster/witness.rs"]
#[allow(dead_code, reason = "a toolbox")]
mod witness;
