//! The tokens that a registry wants to be shown: fetched where the settings say, with the user's name and password or as nobody.
//!
//! A registry names the place itself, in what it answers to whoever has no token (`WWW-Authenticate: Bearer realm=…`). **No request
//! goes where it says:** its realm must be the one of the settings, else nothing is fetched, and the probe names the setting. Only
//! the name of its service is taken over.

use super::rows;
use super::unfit::told;
use crate::closure::snapshot::Trouble;
use crate::providers::Refused;
use crate::providers::rest::client::{self, Login, Raw, Reader};
use crate::providers::rest::json::parse;
use crate::providers::rest::particulars::Credentials;
use crate::providers::rest::reply::{Came, Failure};
use crate::providers::rest::table::Fill;
use crate::roles::Probe;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long before its end a token is not used any more.
const SPARE: SignedDuration = SignedDuration::from_secs(10);
/// How long a token holds of which nothing else is said, in seconds: the token specification's.
const HOLDS: i64 = 60;
/// Longest that any is kept, in seconds.
const HOLDS_MAX: i64 = 3600;
/// Longest value of a challenge, in bytes.
const VALUE_MAX: usize = 1024;

/// The tokens to read one repository with.
pub(super) struct Tokens {
    /// The way to where they are fetched.
    way: Reader,
    /// Where that is, as the registry must name it.
    realm: String,
    repository: String,
    /// User name and password, where there are some.
    basic: Option<HeaderValue>,
    /// One fetches, the others wait.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<(HeaderValue, Timestamp)>,
    why: Option<Why>,
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The registry names another place.
    OtherRealm,
    /// It wants no token.
    NotWanted,
    /// The place does not take user name and password.
    NotTaken,
    /// There is nothing at that place that hands out tokens.
    Nothing,
}

/// User name and password as a registry is shown them.
///
/// # Errors
/// They do not fit in a header.
pub(super) fn basic(username: &SecretString, password: &SecretString) -> Result<SecretString, Refused> {
    if username.expose_secret().contains(':') {
        return Err(Refused::Setting {
            setting: "oci.usernameSecretRef",
            rule: "a Secret with a user name without a colon",
        });
    }
    Ok(STANDARD.encode(format!("{}:{}", username.expose_secret(), password.expose_secret())).into())
}

impl Tokens {
    pub(super) fn new(way: Reader, realm: &str, repository: &str, basic: Option<HeaderValue>) -> Tokens {
        let (turn, state) = Default::default();
        Tokens { way, realm: realm.to_owned(), repository: repository.to_owned(), basic, turn, state }
    }

    /// What does not fit, where that showed the last time that a token was fetched.
    pub(super) fn unfit(&self) -> Option<Probe> {
        let unfit = |setting, what| Some(Probe::Unfit { setting, what });
        match (self.lock().why?, &self.basic) {
            (Why::OtherRealm, _) => unfit(
                "oci.tokenEndpoint",
                "is not the realm that the registry names in its WWW-Authenticate header: set it to that one",
            ),
            (Why::NotWanted, _) => {
                unfit("oci.tokenEndpoint", "is set, and the registry wants no bearer token: leave it out")
            }
            (Why::Nothing, _) => unfit(
                "oci.tokenEndpoint",
                "names nothing that hands out tokens: set it to the realm that the registry names in its WWW-Authenticate header",
            ),
            (Why::NotTaken, Some(_)) => {
                unfit("oci.passwordSecretRef", "does not hold the password, or access token, of this user")
            }
            (Why::NotTaken, None) => {
                unfit("oci.usernameSecretRef", "must be given with passwordSecretRef: nobody gets a token without")
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of the service that tokens are to be for, as the registry says it.
    async fn service(&self, login: &Login<'_>) -> Result<String, (Failure, Option<Why>)> {
        let request = rows::REGISTRY.request(&[]).ok_or((Failure::not_sent(Trouble::NotUnderstood), None))?;
        let understand = |raw: Raw| {
            let unauthorized = Failure::said(raw.status, Trouble::Unauthorized);
            if raw.status != 401 && raw.status != 200 {
                return Came::Success(Err((told(&raw), None)));
            }
            let Some(challenge) = challenge(&raw, "bearer") else {
                return Came::Success(Err((unauthorized, Some(Why::NotWanted))));
            };
            match (challenge("realm"), challenge("service")) {
                (Some(realm), Some(service)) if realm.trim_end_matches('/') == self.realm.trim_end_matches('/') => {
                    Came::Success(Ok(service))
                }
                _ => Came::Success(Err((unauthorized, Some(Why::OtherRealm)))),
            }
        };
        match login.ask(request, None, understand).await {
            Came::Success(found) => found,
            Came::Problem(status) => Err((Failure::said(status, Trouble::NotUnderstood), None)),
            Came::Failure(failure) => Err((failure, None)),
        }
    }

    async fn fetch(&self, login: &Login<'_>) -> Result<(HeaderValue, Timestamp), (Failure, Option<Why>)> {
        let service = self.service(login).await?;
        let fills = [("service", Fill::Text(&service)), ("repository", Fill::Path(&self.repository))];
        let request = rows::TOKEN.request(&fills).ok_or((Failure::not_sent(Trouble::NotUnderstood), None))?;
        let now = login.now();
        let understand = |raw: Raw| {
            let unauthorized = Failure::said(raw.status, Trouble::Unauthorized);
            let failed = match raw.status {
                200 => match token(&raw.body, now) {
                    Some(kept) => return Came::Success(Ok(kept)),
                    None => (Failure::unknown(Trouble::NotUnderstood), None),
                },
                401 | 403 => (unauthorized, Some(Why::NotTaken)),
                404 | 405 | 410 => (unauthorized, Some(Why::Nothing)),
                _ => (told(&raw), None),
            };
            Came::Success(Err(failed))
        };
        match Login::by(&self.way).ask(request, self.basic.clone(), understand).await {
            Came::Success(found) => found,
            Came::Problem(status) => Err((Failure::said(status, Trouble::NotUnderstood), None)),
            Came::Failure(failure) => Err((failure, None)),
        }
    }
}

/// A token, and until when it is used.
pub(super) fn token(body: &[u8], now: Timestamp) -> Option<(HeaderValue, Timestamp)> {
    #[derive(Deserialize)]
    struct Reply {
        #[serde(default)]
        token: Option<String>,
        #[serde(default)]
        access_token: Option<String>,
        #[serde(default)]
        expires_in: Option<i64>,
    }
    let Reply { token, access_token, expires_in } = parse(body).ok()?;
    let authorization = client::bearer(&SecretString::from(token.or(access_token)?)).ok()?;
    let holds = SignedDuration::from_secs(expires_in.unwrap_or(HOLDS).clamp(HOLDS, HOLDS_MAX));
    Some((authorization, now.checked_add(holds - SPARE).ok()?))
}

/// What a registry answers to whoever it does not know, where that is about this way to be known: its values by their names.
pub(super) fn challenge<'a>(raw: &'a Raw, scheme: &str) -> Option<impl Fn(&str) -> Option<String> + use<'a>> {
    let all = raw.headers.get_all(WWW_AUTHENTICATE).into_iter().filter_map(|value| value.to_str().ok());
    let values = all.filter_map(|value| value.split_once(' ').or(Some((value, ""))));
    let mut ours = values.filter(|(told, _)| told.eq_ignore_ascii_case(scheme)).map(|(_, values)| values);
    let values = ours.next()?;
    Some(move |wanted: &str| {
        let mut rest = values;
        loop {
            let (name, after) = rest.split_once("=\"")?;
            let (value, after) = after.split_once('"')?;
            let name = name.trim_matches([',', ' ']);
            if name.eq_ignore_ascii_case(wanted) {
                return Some(value.to_owned()).filter(|value| (1..=VALUE_MAX).contains(&value.len()));
            }
            rest = after;
        }
    })
}

#[async_trait]
impl Credentials for Tokens {
    async fn authorization(&self, login: Login<'_>) -> Result<HeaderValue, Failure> {
        let _turn = self.turn.lock().await;
        let now = login.now();
        if let Some((authorization, _)) = self.lock().kept.as_ref().filter(|(_, until)| now < *until) {
            return Ok(authorization.clone());
        }
        let fetched = self.fetch(&login).await;
        let mut state = self.lock();
        match fetched {
            Ok((authorization, until)) => {
                *state = State { kept: Some((authorization.clone(), until)), why: None };
                Ok(authorization)
            }
            Err((failure, why)) => {
                *state = State { kept: None, why };
                Err(failure)
            }
        }
    }

    fn refused(&self, authorization: &HeaderValue) {
        let mut state = self.lock();
        // Somebody else may have fetched the next one already.
        if state.kept.as_ref().is_some_and(|(kept, _)| kept == authorization) {
            state.kept = None;
        }
    }
}
