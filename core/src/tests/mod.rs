//! The core's rules, a line or a story each, on five records that agree ([`fixture`]).

#![allow(clippy::wildcard_enum_match_arm, reason = "a test fails on what it does not expect")]
#![allow(clippy::type_complexity, reason = "tables of deviations are lists of functions")]
#![allow(clippy::cloned_ref_to_slice_refs, reason = "the whole list is compared, by value")]

mod checks;
mod fixture;
mod halts;
mod notify;
mod orders;
mod pass;
mod play;
mod traces;
mod waits;
mod words;
