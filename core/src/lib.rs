//! The pure core of the releaseclosure operator: what is asked for, what the systems say, what to do next.
//!
//! It takes values and returns values. No clock, no randomness, no I/O, no Kubernetes or HTTP type: the same functions
//! run in the operator, under a model checker and in a simulation.
//!
//! In reading order: [`ids`] and [`reason`] are the words; [`accepted`] is what is asked for; [`snapshot`] is what the
//! systems say; [`checks`] compares the two (with
//! [`observed`] and [`link`]); [`order`] is the permission for one write, [`decide`]
//! takes the next safe step; [`ledger`] is what is remembered
//! between passes; [`halt`], [`packet`] and [`trace`] are what is left for people.

// A new state, step or reason must be thought of wherever one is told from another.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod accepted;
pub mod checks;
pub mod decide;
pub mod halt;
pub mod ids;
pub mod ledger;
pub mod link;
pub mod observed;
pub mod order;
pub mod packet;
pub mod reason;
pub mod snapshot;
#[cfg(test)]
mod tests;
pub mod trace;
