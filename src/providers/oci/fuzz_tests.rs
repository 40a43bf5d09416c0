//! Whatever a registry, or what stands in its place, replies.

use super::{tokens, wire};
use crate::fuzz::fuzz;
use crate::providers::rest::client::Raw;
use http::header::{CONTENT_TYPE, LINK, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

fn raw(name: HeaderName, value: HeaderValue, body: &[u8]) -> Raw {
    Raw { status: 200, headers: HeaderMap::from_iter([(name, value)]), body: body.to_vec(), retry_after: None }
}

fn reply(bytes: &[u8]) -> bool {
    let of = |media: &'static str| raw(CONTENT_TYPE, HeaderValue::from_static(media), bytes);
    let manifest = wire::manifest(&of(wire::MANIFEST));
    assert!(manifest.as_ref().is_none_or(|manifest| manifest.digest == wire::digest(bytes)));
    assert!(wire::manifest(&of(wire::INDEX)).is_none(), "an index is no manifest");
    let referrers = wire::referrers(&of(wire::INDEX));
    let code = wire::code(bytes);
    assert!(code.as_ref().is_none_or(|code| code.len() <= 64));
    let token = tokens::token(bytes, Timestamp::UNIX_EPOCH);
    assert!(token.as_ref().is_none_or(|(shown, until)| shown.is_sensitive() && *until > Timestamp::UNIX_EPOCH));
    let mut found = manifest.is_some() || referrers.is_some() || code.is_some() || token.is_some();
    // The same bytes as a header's value.
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let next = wire::next_page(&raw(LINK, value.clone(), b""), "/v2/a/referrers/x");
        let challenged = raw(WWW_AUTHENTICATE, value, b"");
        let realm = tokens::challenge(&challenged, "Bearer").and_then(|told| told("realm"));
        assert!(realm.as_ref().is_none_or(|realm| !realm.contains('"')));
        found |= matches!(next, Ok(Some(_))) || realm.is_some();
    }
    found
}

fuzz!(replies, "oci", 500, reply);
