//! Whether a delivery is what its sender signed, and when.
//!
//! **Guarantees:** signatures are made over the body as it came in and compared in constant time. What makes a delivery
//! the same as an earlier one is taken from what is signed, never from a header that anybody can set.

use super::{Format, Outcome};
use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// How far the time of a signature may be from now, in seconds: what Standard Webhooks recommends.
pub const WINDOW: i64 = 300;
/// Shortest secret, in bytes.
pub const SECRET_MIN: usize = 16;
/// Most signatures of one delivery that are compared: a sender that rotates its secret sends two.
const SIGNATURES_MAX: usize = 8;
/// What a secret of Standard Webhooks begins with.
const STANDARD_PREFIX: &str = "whsec_";

/// A secret is not what the format needs. Holds nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Not base64 behind whsec_.
    #[error("must be base64, as a rule with whsec_ before it")]
    NotBase64,
    /// Too short to be one.
    #[error("must have at least {SECRET_MIN} bytes")]
    TooShort,
}

/// The keys of a feed: one, or two while the secret is being rotated.
pub struct Keys {
    format: Format,
    keys: Vec<Key>,
}

enum Key {
    /// Over `id.timestamp.body`.
    Standard(hmac::Key),
    /// Over the body.
    Body(hmac::Key),
    /// SHA-256 of a token that is sent as it is: what is compared has one length whatever was sent.
    Token([u8; 32]),
}

/// A delivery that was signed with one of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The same for the same delivery, however often it comes.
    pub fingerprint: [u8; 32],
    /// The id of the delivery for people, where there is one of at most 128 visible ASCII characters.
    pub id: Option<String>,
}

impl Keys {
    /// The keys of these secrets. White space at their ends is cut off: Secrets made from files often end in a line feed.
    ///
    /// # Errors
    /// One of them is none.
    pub fn new(format: Format, secrets: &[SecretString]) -> Result<Keys, Unfit> {
        let keys = secrets.iter().map(|secret| key(format, secret.expose_secret().trim()));
        Ok(Keys { format, keys: keys.collect::<Result<_, _>>()? })
    }

    /// Whether one of the keys signed this.
    ///
    /// # Errors
    /// [`Outcome::WronglySigned`], [`Outcome::Stale`] or [`Outcome::Malformed`], the first where it may be either.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Signed, Outcome> {
        // All keys are of one kind, but those of GitLab while it changes from a token to signatures.
        let mut refused = Outcome::WronglySigned;
        for key in &self.keys {
            match self.verify_with(key, headers, body, now) {
                Err(Outcome::WronglySigned) => {}
                Err(other) => refused = other,
                Ok(signed) => return Ok(signed),
            }
        }
        Err(refused)
    }

    fn verify_with(&self, key: &Key, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Signed, Outcome> {
        let (fingerprint, id) = match key {
            Key::Standard(key) => {
                let id = standard(key, headers, body, now)?;
                (Sha256::digest(id).into(), Some(id))
            }
            Key::Body(key) => {
                let tag = match self.format {
                    Format::GitHub => one(headers, "x-hub-signature-256").and_then(|text| text.strip_prefix("sha256=")),
                    Format::Jira => one(headers, "x-hub-signature").and_then(|text| text.strip_prefix("sha256=")),
                    _ => one(headers, "x-gitea-signature"),
                };
                let tag = tag.and_then(|tag| hex::decode(tag).ok()).ok_or(Outcome::WronglySigned)?;
                hmac::verify(key, body, &tag).map_err(|_| Outcome::WronglySigned)?;
                (Sha256::digest(body).into(), one(headers, self.id_header()))
            }
            Key::Token(digest) => {
                let sent = one(headers, "x-gitlab-token").ok_or(Outcome::WronglySigned)?;
                let sent: [u8; 32] = Sha256::digest(sent).into();
                constant_time::verify_slices_are_equal(&sent, digest).map_err(|_| Outcome::WronglySigned)?;
                (Sha256::digest(body).into(), one(headers, self.id_header()))
            }
        };
        let id = id.filter(|id| is_shown(id)).map(str::to_owned);
        Ok(Signed { fingerprint, id })
    }

    /// Where a sender whose signature covers the body alone names the delivery: for people.
    const fn id_header(&self) -> &'static str {
        match self.format {
            Format::GitHub => "x-github-delivery",
            Format::Gitea => "x-gitea-delivery",
            Format::GitLab => "x-gitlab-event-uuid",
            Format::Jira => "x-atlassian-webhook-identifier",
            Format::StandardWebhooks | Format::CloudEvents => "webhook-id",
        }
    }
}

fn key(format: Format, secret: &str) -> Result<Key, Unfit> {
    let long = |bytes: usize| if bytes < SECRET_MIN { Err(Unfit::TooShort) } else { Ok(()) };
    let standard = match format {
        Format::StandardWebhooks | Format::CloudEvents => Some(secret.strip_prefix(STANDARD_PREFIX).unwrap_or(secret)),
        Format::GitLab => secret.strip_prefix(STANDARD_PREFIX),
        Format::GitHub | Format::Gitea | Format::Jira => None,
    };
    if let Some(encoded) = standard {
        let bytes = BASE64.decode(encoded).map_err(|_| Unfit::NotBase64)?;
        long(bytes.len())?;
        return Ok(Key::Standard(hmac::Key::new(hmac::HMAC_SHA256, &bytes)));
    }
    long(secret.len())?;
    Ok(match format {
        Format::GitLab => Key::Token(Sha256::digest(secret).into()),
        _ => Key::Body(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())),
    })
}

/// Standard Webhooks: the signature covers id, time and body. Gives the id.
fn standard<'a>(key: &hmac::Key, headers: &'a HeaderMap, body: &[u8], now: Timestamp) -> Result<&'a str, Outcome> {
    let signatures = one(headers, "webhook-signature").ok_or(Outcome::WronglySigned)?;
    let id = one(headers, "webhook-id").filter(|id| is_shown(id)).ok_or(Outcome::Malformed)?;
    let time = one(headers, "webhook-timestamp").ok_or(Outcome::Malformed)?;
    let mut signed = Vec::with_capacity(id.len() + time.len() + body.len() + 2);
    for part in [id.as_bytes(), b".", time.as_bytes(), b".", body] {
        signed.extend_from_slice(part);
    }
    let is_ours = signatures.split(' ').take(SIGNATURES_MAX).any(|signature| {
        let tag = signature.strip_prefix("v1,").and_then(|text| BASE64.decode(text).ok());
        tag.is_some_and(|tag| hmac::verify(key, &signed, &tag).is_ok())
    });
    if !is_ours {
        return Err(Outcome::WronglySigned);
    }
    let time: i64 = time.parse().map_err(|_| Outcome::Malformed)?;
    if now.as_second().abs_diff(time) > WINDOW.unsigned_abs() {
        return Err(Outcome::Stale);
    }
    Ok(id)
}

/// The value of a header that is there once, as text.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

fn is_shown(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
