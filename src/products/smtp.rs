//! Mail.

use super::SecretKeyRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A name or an address of a machine.
const HOST_PATTERN: &str = r"^[A-Za-z0-9._:\[\]-]+$";
/// A mail address without a display name.
const ADDRESS_PATTERN: &str = r"^[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]+@[A-Za-z0-9.-]+$";

/// Mail over a submission server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Smtp {
    /// The server's name, which its certificate is checked against.
    #[schemars(length(min = 1, max = 253), regex(pattern = HOST_PATTERN))]
    pub host: String,
    /// Its port; left out: 465 for Tls, 587 for StartTls, 25 for None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535), extend("format" = "int64"))]
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub encryption: Encryption,
    /// Whom to log in as; left out: nobody logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub user: Option<String>,
    /// The password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
    /// The sender.
    #[schemars(length(min = 3, max = 254), regex(pattern = ADDRESS_PATTERN))]
    pub from: String,
    /// The recipients: all get the same mail, or none does.
    #[schemars(length(min = 1, max = 16), inner(length(min = 3, max = 254), regex(pattern = ADDRESS_PATTERN)), extend("x-kubernetes-list-type" = "atomic"))]
    pub to: Vec<String>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Encryption {
    /// TLS from the first byte (RFC 8314).
    #[default]
    Tls,
    /// It begins in the clear and is encrypted before anything is said (RFC 3207); a server that does not offer that is
    /// not used.
    StartTls,
    /// Everybody on the way can read along: only with allowPlaintext.
    None,
}

impl Smtp {
    /// The port, given or usual (RFC 8314, RFC 6409, RFC 5321).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.encryption {
            Encryption::Tls => 465,
            Encryption::StartTls => 587,
            Encryption::None => 25,
        })
    }
}
