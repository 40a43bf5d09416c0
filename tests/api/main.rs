//! The kinds, the roles and the policies on a real API server.
//!
//! One server is shared by all tests here; each works in namespaces of its own. What no server is needed for is in
//! [`schema`] and [`examples`].

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod cluster;
mod cluster_scoped;
mod examples;
mod feeds;
mod fields;
mod install;
mod packets;
mod people;
mod roles;
mod rules;
mod schema;
mod status;
#[path = "../support/mod.rs"]
mod support;
