//! What is shipped to be installed: the manifests, the chart, what Flux and Argo CD make of our objects. On real API servers,
//! with the tools that people use.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "install/chart.rs"]
mod chart;
#[path = "install/commands.rs"]
mod commands;
#[path = "install/gitops.rs"]
mod gitops;
#[path = "install/network.rs"]
mod network;
#[path = "cluster/operators.rs"]
#[allow(dead_code, unreachable_pub, reason = "a toolbox")]
mod operators;
#[path = "install/optional.rs"]
mod optional;
#[path = "support/ports.rs"]
mod ports;
#[path = "install/rendered.rs"]
mod rendered;
#[path = "cluster/stage.rs"]
#[allow(dead_code, unreachable_pub, reason = "a toolbox")]
mod stage;
#[path = "support/mod.rs"]
mod support;
#[path = "support/systems/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "a toolbox")]
mod systems;
#[path = "install/workload.rs"]
mod workload;
