//! What a registry's refusals mean: for a look, and for the settings.

use super::tokens::challenge;
use super::wire::code;
use crate::closure::snapshot::{Trouble, Unreachable};
use crate::providers::rest::client::Raw;
use crate::providers::rest::reply::{Came, Failure, Fate};
use crate::roles::Probe;

/// How the registry is shown who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// As nobody.
    Nobody,
    /// With user name and password.
    User,
}

/// What a reply that brings nothing comes to. A problem is always 404: the registry says that there is no such thing.
///
/// That a **repository** is not known is no such word: whoever may not see one is told the same.
pub(super) fn refusal<T>(raw: &Raw) -> Came<T> {
    match (raw.status, code(&raw.body).as_deref()) {
        (404, Some("MANIFEST_UNKNOWN" | "BLOB_UNKNOWN" | "NOT_FOUND")) => Came::Problem(404),
        _ => Came::Failure(told(raw)),
    }
}

/// The trouble that a reply tells of.
pub(super) fn told(raw: &Raw) -> Failure {
    let code = code(&raw.body);
    let (trouble, retry_after) = match (raw.status, code.as_deref()) {
        (401, _) if lacks_scope(raw) => (Trouble::Forbidden, None),
        (401, _) => (Trouble::Unauthorized, None),
        (403, _) => (Trouble::Forbidden, None),
        (429, _) => (Trouble::TooManyRequests, raw.retry_after),
        (503, _) => (Trouble::Unavailable, raw.retry_after),
        (408 | 423 | 425 | 500..=599, _) => (Trouble::Unavailable, None),
        _ => (Trouble::NotUnderstood, None),
    };
    Failure { fate: Fate::Said(raw.status, code.is_some()), why: Unreachable { trouble, retry_after } }
}

/// Whether a registry knows who asks, and has a token of somebody who may not.
fn lacks_scope(raw: &Raw) -> bool {
    challenge(raw, "bearer").and_then(|told| told("error")).as_deref() == Some("insufficient_scope")
}

/// Which setting a registry's reply to a probe shows to be wrong. `tokens`: whether it is shown tokens.
pub(super) fn unfit(asks: Asks, tokens: bool, raw: &Raw) -> Option<Probe> {
    let unfit = |setting, what| Some(Probe::Unfit { setting, what });
    let may_not_pull = || match asks {
        Asks::Nobody => unfit(
            "oci.usernameSecretRef",
            "must be given with passwordSecretRef: not everybody may pull from this repository",
        ),
        Asks::User => {
            unfit("oci.usernameSecretRef", "is of somebody who may not pull from the repository: grant pull (read)")
        }
    };
    match (raw.status, code(&raw.body).as_deref()) {
        (404, Some("NAME_UNKNOWN")) | (400 | 404, Some("NAME_INVALID")) => unfit(
            "oci.repository",
            "names no repository of this registry, or none that may be seen: correct it, or store the first bundle",
        ),
        (404, None) => unfit("oci.endpoint", "answers as no registry does: name the registry itself, without /v2"),
        (403, Some(_)) => may_not_pull(),
        (401, _) if lacks_scope(raw) => may_not_pull(),
        (401, _) if !tokens && challenge(raw, "bearer").is_some() => unfit(
            "oci.tokenEndpoint",
            "must be set to the realm that the registry names in its WWW-Authenticate header: it wants bearer tokens",
        ),
        (401, _) if !tokens && challenge(raw, "basic").is_some() => match asks {
            Asks::Nobody => unfit(
                "oci.usernameSecretRef",
                "must be given with passwordSecretRef: the registry lets nobody in without",
            ),
            Asks::User => unfit("oci.passwordSecretRef", "does not hold the password, or access token, of this user"),
        },
        _ => None,
    }
}
