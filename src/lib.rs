//! Finishes the paperwork of an accepted release-readiness review, and nothing else.
//!
//! In reading order: [`closure`] is the pure core that decides; [`roles`] are the systems it decides about, as traits.

pub mod closure;
pub mod lease;
pub mod roles;
