//! Reading the Secrets of a connection or a feed: by name, one at a time, never listed and never watched.

use crate::api::SystemConnectionSpec;
use crate::api::system_connection::SecretKeyRef;
use crate::closure::reason::Reason;
use crate::providers::Secrets;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

/// What the Secrets of a connection hold.
pub struct Found {
    /// The bearer token.
    pub token: Option<SecretString>,
    /// Certificate authorities, in PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Client certificate and key, in PEM.
    pub client_certificate_pem: Option<SecretString>,
    /// What else the product needs, by what it is for.
    pub secrets: Secrets,
    /// SHA-256 over all of it.
    pub digest: [u8; 32],
}

/// Why a Secret could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It, or the key in it, is not there.
    #[error("there is no Secret {name} with a key {key} in this namespace.")]
    NotFound {
        /// Name of the Secret.
        name: String,
        /// The key.
        key: String,
    },
    /// The operator may not read it.
    #[error(
        "the operator may not read Secret {name}: apply the component open-namespace-secrets to this namespace, with {name} \
         in its resourceNames."
    )]
    Forbidden {
        /// Name of the Secret.
        name: String,
    },
    /// The value is not text.
    #[error("the key {key} of Secret {name} is not text.")]
    NotText {
        /// Name of the Secret.
        name: String,
        /// The key.
        key: String,
    },
    /// The API server gave no answer.
    #[error("the API server gave no answer when asked for a Secret.")]
    Unavailable,
}

impl SecretError {
    /// The reason on the connection's condition.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            SecretError::NotFound { .. } => Reason::SecretNotFound,
            SecretError::Forbidden { .. } => Reason::SecretForbidden,
            SecretError::NotText { .. } => Reason::ConnectionInvalid,
            SecretError::Unavailable => Reason::ConnectionNotReady,
        }
    }
}

/// Reads every Secret that a connection names.
///
/// # Errors
/// The first that cannot be read.
pub async fn read(client: &Client, namespace: &str, spec: &SystemConnectionSpec) -> Result<Found, SecretError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut hash = Sha256::new();
    let (secrets, digest) = (Secrets::default(), [0; 32]);
    let mut found = Found { token: None, ca_pem: None, client_certificate_pem: None, secrets, digest };
    if let Some(SecretKeyRef { name, key }) = spec.token_secret_ref() {
        let token = value(&api, name, key).await?;
        hash.update(&token);
        found.token = Some(text(token, name, key)?.into());
    }
    for (what, SecretKeyRef { name, key }) in spec.secret_refs() {
        let secret = value(&api, name, key).await?;
        hash.update(&secret);
        found.secrets.insert(what, text(secret, name, key)?.into());
    }
    let tls = spec.tls.clone().unwrap_or_default();
    if let Some(SecretKeyRef { name, key }) = &tls.ca_secret_ref {
        let authorities = value(&api, name, key).await?;
        hash.update(&authorities);
        found.ca_pem = Some(authorities);
    }
    if let Some(certificate) = &tls.client_certificate_secret_ref {
        let name = &certificate.name;
        let mut pem = text(value(&api, name, "tls.crt").await?, name, "tls.crt")?;
        pem.push('\n');
        pem.push_str(&text(value(&api, name, "tls.key").await?, name, "tls.key")?);
        hash.update(&pem);
        found.client_certificate_pem = Some(pem.into());
    }
    found.digest = hash.finalize().into();
    Ok(found)
}

/// Reads the Secrets of a feed.
///
/// # Errors
/// The first that cannot be read.
pub async fn named(
    client: &Client,
    namespace: &str,
    references: &[SecretKeyRef],
) -> Result<Vec<SecretString>, SecretError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut secrets = Vec::with_capacity(references.len());
    for SecretKeyRef { name, key } in references {
        secrets.push(text(value(&api, name, key).await?, name, key)?.into());
    }
    Ok(secrets)
}

async fn value(api: &Api<Secret>, name: &str, key: &str) -> Result<Vec<u8>, SecretError> {
    let secret = api.get(name).await.map_err(|error| match error {
        kube::Error::Api(status) if status.is_not_found() => {
            SecretError::NotFound { name: name.to_owned(), key: key.to_owned() }
        }
        kube::Error::Api(status) if status.is_forbidden() => SecretError::Forbidden { name: name.to_owned() },
        _ => SecretError::Unavailable,
    })?;
    let value = secret.data.and_then(|mut data| data.remove(key)).filter(|value| !value.0.is_empty());
    value.map(|value| value.0).ok_or_else(|| SecretError::NotFound { name: name.to_owned(), key: key.to_owned() })
}

fn text(bytes: Vec<u8>, name: &str, key: &str) -> Result<String, SecretError> {
    String::from_utf8(bytes).map_err(|_| SecretError::NotText { name: name.to_owned(), key: key.to_owned() })
}
