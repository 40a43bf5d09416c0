//! What tests of several kinds share.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod controlplane;
pub mod figures;
pub mod objects;
