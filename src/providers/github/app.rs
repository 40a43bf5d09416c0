//! A GitHub App's tokens: each is for one repository, ends after an hour, and is fetched with a statement that the App's private
//! key signed.
//!
//! **Guarantees:** the private key stays here. A token is kept until [`SPARE`] before its end, or until GitHub does not take it
//! any more. However many requests wait for one, one is fetched.

use super::rows;
use crate::closure::snapshot::Trouble;
use crate::products::github::App;
use crate::providers::Refused;
use crate::providers::rest::client::{self, Login};
use crate::providers::rest::json::parse;
use crate::providers::rest::particulars::Credentials;
use crate::providers::rest::reply::{Came, Failure, Fate};
use crate::providers::rest::table::Fill;
use crate::roles::Probe;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::Signer;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long before its end a token is not used any more.
const SPARE: SignedDuration = SignedDuration::from_mins(5);
/// From when a statement holds: GitHub's clock may be behind.
const BEFORE: SignedDuration = SignedDuration::from_secs(60);
/// Until when it holds. Ten minutes are the most that GitHub takes, and its clock may be ahead.
const AFTER: SignedDuration = SignedDuration::from_mins(9);

/// The tokens of one installation, for one repository.
pub(super) struct Tokens {
    app: App,
    /// The name of the repository, without its owner, who is the installation's.
    repository: String,
    /// RSASSA-PKCS1-v1_5 with SHA-256, which JSON web tokens call RS256. The TLS library has it, so that there is one cryptographic
    /// library and no second.
    signer: Box<dyn Signer>,
    /// One fetches, the others wait.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    /// With what status the last token was refused.
    refusal: Option<u16>,
}

struct Kept {
    authorization: HeaderValue,
    until: Timestamp,
    access: Access,
}

/// What a token may do with issues.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    None,
    Read,
    Write,
}

#[derive(Deserialize)]
struct Reply {
    token: String,
    expires_at: Timestamp,
    #[serde(default)]
    permissions: Permissions,
}

#[derive(Default, Deserialize)]
struct Permissions {
    #[serde(default)]
    issues: String,
}

impl Tokens {
    /// Takes the private key in.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn new(app: App, repository: &str, key: Option<&SecretString>) -> Result<Tokens, Refused> {
        let pem = key.map(|key| key.expose_secret().as_bytes()).unwrap_or_default();
        let key = PrivateKeyDer::from_pem_slice(pem).ok().and_then(|key| any_supported_type(&key).ok());
        let signer = key.and_then(|key| key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]));
        let refused = Refused::Setting {
            setting: "github.app.privateKeySecretRef",
            rule: "a Secret that holds a private key of the App, in PEM, as GitHub made it",
        };
        let (turn, state) = Default::default();
        Ok(Tokens { app, repository: repository.to_owned(), signer: signer.ok_or(refused)?, turn, state })
    }

    /// The App's id: what it writes is known by it.
    pub(super) fn app_id(&self) -> u64 {
        self.app.app_id
    }

    /// What does not fit of what the last token was asked for or may do; none where nothing is known.
    pub(super) fn unfit(&self, written: bool) -> Option<Probe> {
        let unfit = |setting, what| Some(Probe::Unfit { setting, what });
        let state = self.lock();
        match (state.refusal, state.kept.as_ref().map(|kept| kept.access)) {
            (Some(401), _) => unfit(
                "github.app.privateKeySecretRef",
                "holds no key of the App with this appId: make a new one there (or this machine's clock is wrong)",
            ),
            (Some(403), _) => unfit(
                "github.app.installationId",
                "names an installation that GitHub refuses: see whether it is suspended",
            ),
            (Some(404), _) => unfit(
                "github.app.installationId",
                "names no installation of this App: it is the number at the end of the installation's settings page",
            ),
            (Some(422), _) => unfit(
                "github.repository",
                "names no repository that the installation may see: add it to the installation",
            ),
            (Some(_), _) | (None, None | Some(Access::Write)) => None,
            (None, Some(Access::Read)) if !written => None,
            (None, Some(_)) => unfit(
                "github.app.installationId",
                "names an installation without access to issues: grant it the permission Issues (read, and write for any role \
                 but governance)",
            ),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who we are, signed.
    fn statement(&self, now: Timestamp) -> Option<HeaderValue> {
        let (from, until) = ((now - BEFORE).as_second(), (now + AFTER).as_second());
        let claims = format!(r#"{{"iat":{from},"exp":{until},"iss":"{}"}}"#, self.app.app_id);
        let [head, claims] = [r#"{"alg":"RS256","typ":"JWT"}"#, &claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signed = format!("{head}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(self.signer.sign(signed.as_bytes()).ok()?);
        client::bearer(&SecretString::from(format!("{signed}.{signature}"))).ok()
    }

    async fn fetch(&self, login: Login<'_>, now: Timestamp) -> Came<Kept> {
        let fills =
            [("installation", Fill::Number(self.app.installation_id)), ("repository", Fill::Text(&self.repository))];
        let Some((request, statement)) = rows::TOKEN.request(&fills).zip(self.statement(now)) else {
            return Came::Failure(Failure::not_sent(Trouble::NotUnderstood));
        };
        match login.post(request, statement).await {
            Came::Success(reply) => {
                let understood = || {
                    let Reply { token, expires_at, permissions } = parse(&reply.body).ok()?;
                    let access = match permissions.issues.as_str() {
                        "write" => Access::Write,
                        "read" => Access::Read,
                        _ => Access::None,
                    };
                    let until = expires_at.checked_sub(SPARE).ok()?;
                    let authorization = client::bearer(&SecretString::from(token)).ok()?;
                    Some(Kept { authorization, until, access })
                };
                understood().map_or(Came::Failure(Failure::unknown(Trouble::NotUnderstood)), Came::Success)
            }
            Came::Problem(status) => Came::Problem(status),
            Came::Failure(failure) => Came::Failure(failure),
        }
    }
}

#[async_trait]
impl Credentials for Tokens {
    async fn authorization(&self, login: Login<'_>) -> Result<HeaderValue, Failure> {
        let _turn = self.turn.lock().await;
        let now = login.now();
        if let Some(kept) = self.lock().kept.as_ref().filter(|kept| now < kept.until) {
            return Ok(kept.authorization.clone());
        }
        let came = self.fetch(login, now).await;
        let mut state = self.lock();
        state.kept = None;
        state.refusal = match &came {
            Came::Problem(status) => Some(*status),
            Came::Failure(Failure { fate: Fate::Said(status @ (401 | 403), true), why })
                if why.trouble != Trouble::TooManyRequests =>
            {
                Some(*status)
            }
            Came::Success(_) | Came::Failure(_) => None,
        };
        match came {
            Came::Success(kept) => {
                let authorization = kept.authorization.clone();
                state.kept = Some(kept);
                Ok(authorization)
            }
            // Whatever it is that GitHub has against the App: it is the App that must be put right, so that only probes go
            // on until it is.
            Came::Problem(status) => Err(Failure::said(status, Trouble::Unauthorized)),
            Came::Failure(failure) if state.refusal.is_some() => {
                Err(Failure { why: Trouble::Unauthorized.into(), ..failure })
            }
            Came::Failure(failure) => Err(failure),
        }
    }

    fn refused(&self, authorization: &HeaderValue) {
        let mut state = self.lock();
        // Somebody else may have fetched the next one already.
        if state.kept.as_ref().is_some_and(|kept| kept.authorization == *authorization) {
            state.kept = None;
        }
    }
}
