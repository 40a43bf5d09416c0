//! Amazon's signature, version 4, in a header: what SQS is asked has no query, and one address.
//!
//! The libraries that have it bring 19 crates and more with them, against these lines; see
//! `docs/decisions/20261123-amazons-signature.md`. They are held against
//! Amazon's own test vectors here, and by the tests against a second implementation.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use crate::providers::meter::Verb;
use crate::providers::rest::transport::Seal;
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use url::Url;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// The header that names the action.
pub(super) const TARGET_NAME: &str = "x-amz-target";
const TARGET: HeaderName = HeaderName::from_static(TARGET_NAME);
/// What is signed besides the host, where it is there.
static SIGNED: [HeaderName; 4] = [CONTENT_TYPE, DATE, TARGET, TOKEN];

/// Who signs, and for what.
pub(super) struct Signature {
    pub(super) access_key: SecretString,
    pub(super) secret_key: SecretString,
    pub(super) session_token: Option<SecretString>,
    pub(super) region: String,
    pub(super) service: &'static str,
}

impl Signature {
    /// The value of `Authorization`. The date is among the headers, as it is written there.
    fn authorization(
        &self,
        verb: Verb,
        path: &str,
        headers: &BTreeMap<&str, &str>,
        body: &[u8],
        date: &str,
    ) -> Option<String> {
        let names: Vec<&str> = headers.keys().copied().collect();
        let signed = names.join(";");
        let values: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let digest = hex::encode(Sha256::digest(body));
        let canonical = format!("{}\n{path}\n\n{values}\n{signed}\n{digest}", verb.as_str());
        let day = date.get(..8)?;
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let asked = format!("{ALGORITHM}\n{date}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
        let first = format!("AWS4{}", self.secret_key.expose_secret());
        let mut key = sign(&Key::new(HMAC_SHA256, first.as_bytes()), day.as_bytes());
        for part in [self.region.as_str(), self.service, "aws4_request", &asked] {
            key = sign(&Key::new(HMAC_SHA256, key.as_ref()), part.as_bytes());
        }
        let credential = self.access_key.expose_secret();
        let signature = hex::encode(key);
        Some(format!("{ALGORITHM} Credential={credential}/{scope}, SignedHeaders={signed}, Signature={signature}"))
    }
}

impl Seal for Signature {
    fn seal(&self, verb: Verb, address: Url, headers: &mut HeaderMap, body: &[u8], now: Timestamp) -> Option<Url> {
        // Anything else would have to be written in another way before it is signed.
        if address.query().is_some() || address.path() != "/" {
            return None;
        }
        let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        headers.insert(DATE, HeaderValue::from_str(&date).ok()?);
        if let Some(token) = &self.session_token {
            let mut token = HeaderValue::from_str(token.expose_secret()).ok()?;
            token.set_sensitive(true);
            headers.insert(TOKEN, token);
        }
        let host = address.host_str()?;
        let host = address.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut signed = BTreeMap::from([("host", host.as_str())]);
        for name in &SIGNED {
            if let Some(value) = headers.get(name) {
                signed.insert(name.as_str(), value.to_str().ok()?);
            }
        }
        let authorization = self.authorization(verb, "/", &signed, body, &date)?;
        let mut authorization = HeaderValue::from_str(&authorization).ok()?;
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
        Some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(service: &'static str, session_token: Option<&str>) -> Signature {
        Signature {
            access_key: "AKIDEXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: session_token.map(SecretString::from),
            region: "us-east-1".to_owned(),
            service,
        }
    }

    /// Amazon's own test suite: get-vanilla, post-vanilla, post-x-www-form-urlencoded.
    #[test]
    fn a_signature_is_the_one_that_amazon_publishes() {
        let (date, host) = ("20150830T123600Z", "example.amazonaws.com");
        for (verb, media_type, body, expected) in [
            (Verb::Get, None, "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            (Verb::Post, None, "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                Verb::Post,
                Some("application/x-www-form-urlencoded"),
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(media_type.map(|media_type| (CONTENT_TYPE, HeaderValue::from_static(media_type))));
            let address = Url::parse(&format!("https://{host}/")).unwrap();
            let now = "2015-08-30T12:36:00Z".parse().unwrap();
            let sealed = signature("service", None).seal(verb, address, &mut headers, body.as_bytes(), now);
            assert!(sealed.is_some());
            assert_eq!(headers[DATE], date);
            let shown = headers[AUTHORIZATION].to_str().unwrap();
            let names = if media_type.is_some() { "content-type;host;x-amz-date" } else { "host;x-amz-date" };
            let whole = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={names}, Signature={expected}"
            );
            assert_eq!(shown, whole);
            assert!(headers[AUTHORIZATION].is_sensitive());
        }
    }

    #[test]
    fn everything_that_says_what_is_asked_is_signed() {
        let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        let sealed = |address: &str, target: &'static str, body: &[u8], token: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(TARGET, HeaderValue::from_static(target));
            signature("sqs", token).seal(Verb::Post, Url::parse(address).unwrap(), &mut headers, body, now)?;
            Some(headers[AUTHORIZATION].to_str().unwrap().to_owned())
        };
        let first = sealed("https://a.example/", "AmazonSQS.SendMessage", b"{}", None).unwrap();
        assert!(first.contains("SignedHeaders=host;x-amz-date;x-amz-target,"), "{first}");
        for other in [
            sealed("https://b.example/", "AmazonSQS.SendMessage", b"{}", None),
            sealed("https://a.example:8443/", "AmazonSQS.SendMessage", b"{}", None),
            sealed("https://a.example/", "AmazonSQS.PurgeQueue", b"{}", None),
            sealed("https://a.example/", "AmazonSQS.SendMessage", b"{ }", None),
            sealed("https://a.example/", "AmazonSQS.SendMessage", b"{}", Some("session")),
        ] {
            assert_ne!(other.unwrap(), first);
        }
        assert!(sealed("https://a.example/", "x", b"", Some("session")).unwrap().contains(";x-amz-security-token;"));
        assert_eq!(sealed("https://a.example/?a=b", "x", b"", None), None);
        assert_eq!(sealed("https://a.example/a", "x", b"", None), None);
    }
}
