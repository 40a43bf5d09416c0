//! The core's rules, a line or a story each, on five records that agree ([`fixture`]).

#![allow(clippy::wildcard_enum_match_arm, reason = "a test fails on what it does not expect")]

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
