//! The ground that adapters are tested on: each real server starts, takes the one write that its adapter makes, and shows
//! what it does about a second one, a stale one and a forbidden one. What adapters rely on is pinned here.
//!
//! A server that is not built is skipped by name; see `tests/systems/README.md`.

#[path = "support/fault_proxy/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "a toolbox")]
mod fault_proxy;
#[path = "support/ports.rs"]
mod ports;
#[path = "support/systems/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "a toolbox")]
mod systems;

#[path = "systems/adapters"]
mod adapters {
    mod azure;
    mod azure_server;
    mod docs;
    #[cfg(feature = "nats")]
    mod nats;
    mod object_store;
    mod oci;
    mod oci_settings;
    #[cfg(feature = "nats")]
    mod orders;
    mod settings;
    mod sqs;
}

#[path = "systems/smoke"]
mod smoke {
    mod availability;
    mod gitea;
    mod github;
    mod jira;
    mod line;
    mod nats;
    mod oci;
    mod process;
    mod proxy;
    mod proxy_servers;
    mod redmine;
    mod s3;
    mod slack;
    mod smtp;
    mod sqs;
}
