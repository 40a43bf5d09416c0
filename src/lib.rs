//! Finishes the paperwork of an accepted release-readiness review, and nothing else.
//!
//! In reading order: [`closure`] is the pure core that decides; [`roles`] are the systems it decides about, as traits.

pub mod api;
pub mod closure;
pub mod providers;
pub mod roles;
pub mod sandbox;
