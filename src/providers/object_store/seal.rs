//! What shows a store who asks: a signature of the request (S3, Google Cloud Storage), or one that was given (Azure).

use crate::providers::meter::Verb;
use crate::providers::rest::transport::Seal;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use rusty_s3::Method;
use rusty_s3::signing::sign;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// How long a signature holds, in seconds: as far as S3 lets clocks differ where it is not asked for anything else.
const HOLDS: u64 = 900;
/// Asks for an object's checksum.
const CHECKSUM_MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");
/// The version of Azure's API that the adapter was written for.
const AZURE_VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-ms-version"), HeaderValue::from_static("2023-11-03"));

/// Signature version 4, in the query.
pub(super) struct Signature {
    pub(super) access_key: SecretString,
    pub(super) secret_key: SecretString,
    pub(super) session_token: Option<SecretString>,
    pub(super) region: String,
    /// Whether the store is asked for checksums.
    pub(super) checksums: bool,
}

impl Seal for Signature {
    fn seal(&self, verb: Verb, address: Url, headers: &mut HeaderMap, _body: &[u8], now: Timestamp) -> Option<Url> {
        let method = match verb {
            Verb::Get => Method::Get,
            Verb::Head => Method::Head,
            Verb::Patch | Verb::Post => return None,
        };
        let mut signed: &[(&str, &str)] = &[];
        if verb == Verb::Head && self.checksums {
            headers.insert(CHECKSUM_MODE, HeaderValue::from_static("ENABLED"));
            signed = &[("x-amz-checksum-mode", "ENABLED")];
        }
        let query: Vec<(String, String)> = address.query_pairs().into_owned().collect();
        Some(sign(
            &now,
            method,
            address,
            self.access_key.expose_secret(),
            self.secret_key.expose_secret(),
            self.session_token.as_ref().map(ExposeSecret::expose_secret),
            &self.region,
            HOLDS,
            query.iter().map(|(name, value)| (name.as_str(), value.as_str())),
            signed.iter().copied(),
        ))
    }
}

/// A shared access signature, as somebody made it.
pub(super) struct SharedAccess {
    /// The query, without a question mark.
    query: SecretString,
}

impl SharedAccess {
    /// Takes it with or without its question mark.
    pub(super) fn new(query: &SecretString) -> SharedAccess {
        let query = query.expose_secret();
        SharedAccess { query: query.strip_prefix('?').unwrap_or(query).into() }
    }
}

impl Seal for SharedAccess {
    fn seal(
        &self,
        _verb: Verb,
        mut address: Url,
        headers: &mut HeaderMap,
        _body: &[u8],
        _now: Timestamp,
    ) -> Option<Url> {
        let (name, version) = AZURE_VERSION;
        headers.insert(name, version);
        address.set_query(Some(self.query.expose_secret()));
        Some(address)
    }
}
