//! Finishes the paperwork of an accepted release-readiness review, and nothing else.
//!
//! In reading order: [`api`] is what is asked for, as it appears on the wire; [`closure`] is the pure core that decides;
//! [`roles`] are the systems it decides about, as traits, and [`providers`] the products that play them; [`drive`] is
//! the loop that takes the core from one to the other, and [`controller`] runs it in a cluster; [`feeds`] are accepted
//! reviews as they come in by themselves. [`settings`] is what may be said at the start; [`lease`] sees to it that one
//! replica acts, for each of the [`shards`]; [`telemetry`], [`spans`] and [`health`] tell how it goes. [`people`] is what coordinators and pipelines use,
//! [`sandbox`] six systems to try it all with.

// For the library alone: whatever a test's helper modules call public, nobody can reach.
#![warn(unreachable_pub)]

pub mod api;
pub mod controller;
pub mod drive;
pub mod feeds;
pub mod health;
pub mod lease;
pub mod people;
pub mod products;
pub mod providers;
pub mod roles;
pub mod sandbox;
pub mod settings;
pub mod shards;
pub mod spans;
pub mod telemetry;

pub use releaseclosure_core as closure;

#[cfg(test)]
#[path = "../tests/support/fuzz.rs"]
mod fuzz;
