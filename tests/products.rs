//! The whole operator across products: checklist, tracker and queue in a real Gitea, the archive in a real S3 server, the
//! intake in a real NATS, and the sandbox as governance; on a real API server.
//!
//! `make demo SYSTEMS=real` runs the first two, and shows what they print. A server that is not built is skipped by name; see
//! `tests/systems/README.md`.

#![cfg(feature = "nats")]

#[path = "support/fault_proxy/mod.rs"]
#[allow(dead_code, unreachable_pub, unused_imports, reason = "a toolbox")]
mod fault_proxy;
#[path = "conformance"]
#[allow(dead_code, unreachable_pub, reason = "a toolbox")]
mod conformance {
    pub mod bodies;
    pub mod front;
    pub mod nats_front;
    #[cfg(feature = "smtp")]
    pub mod smtp_front;
}
#[path = "cluster/operators.rs"]
#[allow(dead_code, reason = "a toolbox")]
mod operators;
#[path = "support/ports.rs"]
mod ports;
#[path = "cluster/stage.rs"]
#[allow(dead_code, reason = "a toolbox")]
mod stage;
mod support;
#[path = "support/systems/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "a toolbox")]
mod systems;

#[path = "products"]
mod products {
    mod feeds;
    mod kills;
    pub mod scene;
    mod story;
}
