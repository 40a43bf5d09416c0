//! Who asks: nobody in particular, a user, a token, or the JWT and seed of a .creds file.

use crate::products::nats::{CREDS, PASSWORD, SERVER_TOKEN, USER};
use crate::providers::{Refused, Secrets};
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

/// What a server is shown.
pub(super) enum Login {
    Nobody,
    User(SecretString, SecretString),
    Token(SecretString),
    Creds { jwt: SecretString, seed: SecretString },
}

/// What a client says of itself.
#[derive(Serialize)]
struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    lang: &'a str,
    version: &'a str,
    name: &'a str,
    protocol: u8,
    echo: bool,
    headers: bool,
    no_responders: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

impl Login {
    /// Takes what the Secrets hold.
    ///
    /// # Errors
    /// One does not hold what it should.
    pub(super) fn new(secrets: &Secrets) -> Result<Login, Refused> {
        if let Some(file) = secrets.as_it_stands(CREDS) {
            let jwt = between(file.expose_secret(), "NATS USER JWT").ok_or(Refused::Secret { what: CREDS })?;
            let seed = between(file.expose_secret(), "USER NKEY SEED").ok_or(Refused::Secret { what: CREDS })?;
            key(&seed).ok_or(Refused::Secret { what: CREDS })?;
            return Ok(Login::Creds { jwt: jwt.into(), seed: seed.into() });
        }
        if let Some(token) = secrets.get_if_given(SERVER_TOKEN)? {
            return Ok(Login::Token(token));
        }
        match secrets.get_if_given(USER)? {
            Some(user) => Ok(Login::User(user, secrets.get(PASSWORD)?)),
            None => Ok(Login::Nobody),
        }
    }

    /// The line that says who asks; the nonce is the server's. None where it cannot be signed.
    pub(super) fn connect(&self, nonce: &str) -> Option<Vec<u8>> {
        let mut connect = Connect {
            verbose: false,
            pedantic: false,
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            name: "releaseclosure",
            protocol: 1,
            echo: false,
            headers: true,
            no_responders: true,
            user: None,
            pass: None,
            auth_token: None,
            jwt: None,
            sig: None,
        };
        match self {
            Login::Nobody => {}
            Login::User(user, password) => {
                connect.user = Some(user.expose_secret());
                connect.pass = Some(password.expose_secret());
            }
            Login::Token(token) => connect.auth_token = Some(token.expose_secret()),
            Login::Creds { jwt, seed } => {
                connect.jwt = Some(jwt.expose_secret());
                connect.sig = Some(URL_SAFE_NO_PAD.encode(key(seed.expose_secret())?.sign(nonce.as_bytes())));
            }
        }
        let mut line = b"CONNECT ".to_vec();
        serde_json::to_writer(&mut line, &connect).ok()?;
        line.extend(b"\r\n");
        Some(line)
    }
}

/// What stands between `-----BEGIN <what>-----` and the next line of dashes.
fn between(file: &str, what: &str) -> Option<String> {
    let (_, rest) = file.split_once(&format!("-----BEGIN {what}-----"))?;
    let text = rest.trim_start().lines().next()?.trim();
    let fits = (1..=8192).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

/// The key of a user's seed: in base 32, two bytes that say that it is one, the seed, and a checksum.
fn key(seed: &str) -> Option<Ed25519KeyPair> {
    /// CRC-16 as of XMODEM.
    fn checksum(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |sum, byte| {
            (0..8).fold(
                sum ^ (u16::from(*byte) << 8),
                |sum, _| if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 },
            )
        })
    }
    let raw = data_encoding::BASE32_NOPAD.decode(seed.as_bytes()).ok()?;
    let (held, sum) = raw.split_at_checked(34)?;
    let is_users = seed.starts_with("SU") && sum == checksum(held).to_le_bytes();
    is_users.then(|| Ed25519KeyPair::from_seed_unchecked(&held[2..]).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the documentation of NATS: it opens nothing.
    const CREDS_FILE: &str = "-----BEGIN NATS USER JWT-----
eyJ0eXAiOiJKV1QifQ.eyJzdWIiOiJVRCJ9.c2ln
------END NATS USER JWT------

************************* IMPORTANT *************************
-----BEGIN USER NKEY SEED-----
SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY
------END USER NKEY SEED------
";

    fn login(file: &str) -> Result<Login, Refused> {
        let mut secrets = Secrets::default();
        secrets.insert(CREDS, file.into());
        Login::new(&secrets)
    }

    #[test]
    fn a_creds_file_signs_the_servers_nonce() {
        let Ok(login) = login(CREDS_FILE) else { panic!("it is one") };
        let line = String::from_utf8(login.connect("nonce").unwrap()).unwrap();
        let said: serde_json::Value = serde_json::from_str(line.strip_prefix("CONNECT ").unwrap()).unwrap();
        assert_eq!(said["jwt"], "eyJ0eXAiOiJKV1QifQ.eyJzdWIiOiJVRCJ9.c2ln");
        let signature = URL_SAFE_NO_PAD.decode(said["sig"].as_str().unwrap()).unwrap();
        let key = key("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY").unwrap();
        assert_eq!(signature, key.sign(b"nonce").as_ref());
        assert_ne!(signature, key.sign(b"another").as_ref());
    }

    #[test]
    fn a_file_that_is_none_is_refused() {
        let typo = CREDS_FILE.replace("SUACSS", "SUACSX");
        let account = CREDS_FILE.replace("SUACSS", "SAACSS");
        for bad in ["", "token", &typo, &account] {
            assert!(matches!(login(bad), Err(Refused::Secret { what: CREDS })), "{bad}");
        }
    }
}
