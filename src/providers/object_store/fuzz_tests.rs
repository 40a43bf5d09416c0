//! Whatever an object store, or what stands in its place, replies.

use super::wire;
use crate::closure::ids::{is_bundle, is_digest, is_id};
use crate::fuzz::fuzz;

fn reply(bytes: &[u8]) -> bool {
    let manifest = wire::manifest(bytes);
    if let Ok(read) = &manifest {
        assert!(is_bundle(&read.bundle) && is_id(&read.release_id) && is_id(&read.review_version));
        assert!(read.artifacts.len() <= wire::ARTIFACTS_MAX);
        assert!(
            read.artifacts.iter().all(|part| is_bundle(&part.name) && is_digest(&part.digest)),
            "they go into paths"
        );
    }
    let words = wire::words(bytes);
    if let Some(words) = &words {
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        assert!(plain(words.code) && words.region.is_none_or(plain), "a region goes into a host's name");
    }
    manifest.is_ok() || words.is_some() || wire::is_locked(bytes)
}

fuzz!(replies, "object-store", 500, reply);
