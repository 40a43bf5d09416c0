//! Evidence in a bucket: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage.

use super::{ENDPOINT_PATTERN, SecretKeyRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// Where bundles begin: nothing, or folders that each end in a slash.
const PREFIX_PATTERN: &str = r"^([A-Za-z0-9_=,+~-][A-Za-z0-9._=,+~-]*/)*$";
const BUCKET_PATTERN: &str = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$";
const CONTAINER_PATTERN: &str = r"^([a-z0-9]+(-[a-z0-9]+)*|\$root|\$web)$";
const REGION_PATTERN: &str = r"^[a-z0-9]+(-[a-z0-9]+)*$";

/// A bucket that holds evidence bundles. Exactly one kind of store is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStore {
    /// Amazon S3, or a store that speaks like it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3>,
    /// Google Cloud Storage, by its XML API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcs: Option<Gcs>,
    /// Azure Blob Storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<Azure>,
}

/// A bucket in Amazon S3, or in a store that speaks like it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3 {
    /// The store itself, such as https://s3.eu-central-1.amazonaws.com: without the bucket.
    #[schemars(length(min = 1, max = 1024), regex(pattern = ENDPOINT_PATTERN), extend("format" = "uri"))]
    pub endpoint: String,
    /// The bucket's region.
    #[schemars(length(min = 1, max = 32), regex(pattern = REGION_PATTERN))]
    pub region: String,
    /// The bucket.
    #[schemars(length(min = 3, max = 63), regex(pattern = BUCKET_PATTERN))]
    pub bucket: String,
    /// What stands before the name of each bundle: nothing, or folders that each end in a slash.
    #[serde(default)]
    #[schemars(length(max = 256), regex(pattern = PREFIX_PATTERN))]
    pub prefix: String,
    /// Whether the bucket is the first part of the path instead of the host's name.
    #[serde(default)]
    pub path_style: bool,
    /// The access key's id.
    pub access_key_secret_ref: SecretKeyRef,
    /// The access key's secret.
    pub secret_key_secret_ref: SecretKeyRef,
    /// The session token, where the access key is a temporary one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token_secret_ref: Option<SecretKeyRef>,
    /// Whether the bucket must have versions and object lock turned on. Needs s3:GetBucketObjectLockConfiguration.
    #[serde(default)]
    pub require_object_lock: bool,
}

/// A bucket in Google Cloud Storage, with an HMAC key of a service account.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gcs {
    /// Where the XML API is.
    #[serde(default = "google")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = ENDPOINT_PATTERN), extend("format" = "uri"))]
    pub endpoint: String,
    /// The bucket.
    #[schemars(length(min = 3, max = 222), regex(pattern = BUCKET_PATTERN))]
    pub bucket: String,
    /// What stands before the name of each bundle: nothing, or folders that each end in a slash.
    #[serde(default)]
    #[schemars(length(max = 256), regex(pattern = PREFIX_PATTERN))]
    pub prefix: String,
    /// The HMAC key's id.
    pub access_key_secret_ref: SecretKeyRef,
    /// The HMAC key's secret.
    pub secret_key_secret_ref: SecretKeyRef,
}

/// A container in Azure Blob Storage, with a shared access signature.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Azure {
    /// The account's blob service, such as https://ACCOUNT.blob.core.windows.net.
    #[schemars(length(min = 1, max = 1024), regex(pattern = ENDPOINT_PATTERN), extend("format" = "uri"))]
    pub endpoint: String,
    /// The container.
    #[schemars(length(min = 3, max = 63), regex(pattern = CONTAINER_PATTERN))]
    pub container: String,
    /// What stands before the name of each bundle: nothing, or folders that each end in a slash.
    #[serde(default)]
    #[schemars(length(max = 256), regex(pattern = PREFIX_PATTERN))]
    pub prefix: String,
    /// A shared access signature with the permissions read and list on the container: the query, with or without its
    /// question mark.
    pub sas_secret_ref: SecretKeyRef,
}

impl ObjectStore {
    /// Where the bucket is: what stands before the path of each object, without a slash at its end. None where not exactly one store
    /// is given, or the bucket is to be a part of a host's name and the endpoint has none.
    #[must_use]
    pub fn base(&self) -> Option<String> {
        let below = |endpoint: &str, bucket: &str| format!("{}/{bucket}", endpoint.trim_end_matches('/'));
        match self {
            ObjectStore { s3: Some(s3), gcs: None, azure: None } if !s3.path_style => in_host(&s3.endpoint, &s3.bucket),
            ObjectStore { s3: Some(s3), gcs: None, azure: None } => Some(below(&s3.endpoint, &s3.bucket)),
            ObjectStore { s3: None, gcs: Some(gcs), azure: None } => Some(below(&gcs.endpoint, &gcs.bucket)),
            ObjectStore { s3: None, gcs: None, azure: Some(azure) } => Some(below(&azure.endpoint, &azure.container)),
            ObjectStore { .. } => None,
        }
    }

    /// The Secrets that it names, by what each is for.
    #[must_use]
    pub fn secret_refs(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        let ObjectStore { s3, gcs, azure } = self;
        let s3 = s3.iter().flat_map(|s3| {
            let keys = [(ACCESS_KEY, &s3.access_key_secret_ref), (SECRET_KEY, &s3.secret_key_secret_ref)];
            keys.into_iter().chain(s3.session_token_secret_ref.iter().map(|token| (SESSION_TOKEN, token)))
        });
        let gcs = gcs
            .iter()
            .flat_map(|gcs| [(ACCESS_KEY, &gcs.access_key_secret_ref), (SECRET_KEY, &gcs.secret_key_secret_ref)]);
        s3.chain(gcs).chain(azure.iter().map(|azure| (SAS, &azure.sas_secret_ref))).collect()
    }
}

/// The secret that is the id of an access key.
pub const ACCESS_KEY: &str = "accessKey";
/// The secret that is an access key's secret.
pub const SECRET_KEY: &str = "secretKey";
/// The secret that is a session token.
pub const SESSION_TOKEN: &str = "sessionToken";
/// The secret that is a shared access signature.
pub const SAS: &str = "sas";

/// The endpoint with the bucket as first part of the host's name.
fn in_host(endpoint: &str, bucket: &str) -> Option<String> {
    let mut url = Url::parse(endpoint).ok()?;
    let host = format!("{bucket}.{}", url.domain()?);
    url.set_host(Some(&host)).ok()?;
    Some(url.as_str().trim_end_matches('/').to_owned())
}

fn google() -> String {
    "https://storage.googleapis.com".to_owned()
}
