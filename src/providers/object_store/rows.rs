//! The allow-list for object stores: three pairs of method and path template, all of which read. Paths stand below the
//! bucket. What shows who asks (a signature, a shared access signature) is added to the query, and nothing else.

use crate::closure::ids::System;
use crate::providers::meter::Verb;
use crate::providers::rest::table::{Row, table};

#[rustfmt::skip]
table! {
    MANIFEST: Archive Get "/{manifest}" "", "read <prefix><bundle>/manifest.json; see why an artifact cannot be had";
    ARTIFACT: Archive Head "/{artifact}" "", "see <prefix><bundle>/<name>: that it is there, its size, its checksum";
    OBJECT_LOCK: Archive Get "/?object-lock" "", "see whether object lock is on, where that is required";
}

/// The whole table, for people to read what the operator is able to send.
#[must_use]
pub fn allow_list() -> &'static [&'static Row] {
    TABLE
}
