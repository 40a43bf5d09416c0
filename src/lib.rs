//! Finishes the paperwork of an accepted release-readiness review, and nothing else.
//!
//! In reading order: [`closure`] is the pure core that decides; [`roles`] are the systems it decides about, as traits.
//! [`settings`] is what a person may say at the start; [`lease`] sees to it that one replica acts; [`telemetry`] and
//! [`health`] tell how it goes.

// For the library alone: whatever a test's helper modules call public, nobody can reach.
#![warn(unreachable_pub)]

pub mod api;
pub mod closure;
pub mod health;
pub mod lease;
pub mod people;
pub mod roles;
pub mod settings;
pub mod telemetry;
