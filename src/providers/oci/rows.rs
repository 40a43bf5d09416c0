//! The allow-list for OCI registries: pairs of method and path template, all of which read. `TOKEN` stands below the token
//! endpoint, all others below the registry.

use crate::closure::ids::System;
use crate::providers::meter::Verb;
use crate::providers::rest::table::{Row, table};

#[rustfmt::skip]
table! {
    TAG: Archive Get "/v2/{repository}/manifests/{tag}" "", "read the manifest of a bundle; read its referrers where the registry keeps them in a tag";
    MANIFEST: Archive Get "/v2/{repository}/manifests/sha256:{manifest}" "", "read the manifest of a referrer";
    REFERRERS: Archive Get "/v2/{repository}/referrers/sha256:{manifest}" "", "see what refers to a bundle";
    REFERRERS_OF: Archive Get "/v2/{repository}/referrers/sha256:{manifest}?artifactType={type}" "", "see what of one type refers to it";
    REFERRERS_PAGE: Archive Get "/v2/{repository}/referrers/sha256:{manifest}?{page}" "", "see the next page of that, as the registry names it";
    BLOB: Archive Head "/v2/{repository}/blobs/sha256:{blob}" "", "see a part's content: that it is there, and its size";
    NO_BLOB: Archive Get "/v2/{repository}/blobs/sha256:{blob}" "", "see why it is not";
    TAGS: Archive Get "/v2/{repository}/tags/list?n=1" "", "see that the repository is there";
    REGISTRY: Archive Get "/v2/" "", "see how the registry wants to be asked, where that is with a token";
    TOKEN: Archive Get "?service={service}&scope=repository:{repository}:pull" "", "fetch a token to read with: below the token endpoint";
}

/// The whole table, for people to read what the operator is able to send.
#[must_use]
pub fn allow_list() -> &'static [&'static Row] {
    TABLE
}
