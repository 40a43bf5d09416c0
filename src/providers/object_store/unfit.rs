//! What a store's refusals mean: for a look, and for the settings.

use super::wire::{told_region, words};
use crate::closure::snapshot::{Trouble, Unreachable};
use crate::providers::rest::client::Raw;
use crate::providers::rest::reply::{Came, Failure, Fate};
use crate::roles::Probe;

/// Whose store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Amazon's, or one that speaks like it.
    S3,
    /// Google's.
    Gcs,
    /// Microsoft's.
    Azure,
}

/// What a reply that brings no object comes to. A problem is always 404: the store says that there is no such object.
pub(super) fn refusal<T>(raw: &Raw) -> Came<T> {
    let code = words(&raw.body).map(|words| words.code);
    let said = |trouble, retry_after| {
        let fate = Fate::Said(raw.status, code.is_some());
        Came::Failure(Failure { fate, why: Unreachable { trouble, retry_after } })
    };
    match (raw.status, code) {
        (404, Some("NoSuchKey" | "BlobNotFound")) => Came::Problem(404),
        (
            400 | 401 | 403,
            Some(
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "InvalidToken"
                | "TokenRefreshRequired"
                | "InvalidSecurity"
                | "AuthenticationFailed"
                | "InvalidAuthenticationInfo"
                | "NoAuthenticationInformation",
            ),
        )
        | (401, _) => said(Trouble::Unauthorized, None),
        (403, _) => said(Trouble::Forbidden, None),
        (429, _) => said(Trouble::TooManyRequests, raw.retry_after),
        (503, _) => said(Trouble::Unavailable, raw.retry_after),
        (408 | 423 | 425 | 500..=599, _) => said(Trouble::Unavailable, None),
        _ => said(Trouble::NotUnderstood, None),
    }
}

const S3_LOCK: &str = "objectStore.s3.requireObjectLock";

/// Which setting a store's reply to a probe shows to be wrong.
pub(super) fn unfit(kind: Kind, raw: &Raw) -> Option<Probe> {
    let told = words(&raw.body);
    let code = told.as_ref().map(|words| words.code);
    let region = told.as_ref().and_then(|words| words.region).or_else(|| told_region(raw));
    let unfit = |setting, what| Some(Probe::Unfit { setting, what });
    if kind == Kind::S3 {
        match (raw.status, code) {
            (200, None) => return unfit(S3_LOCK, "is set, and the bucket's object lock is not on: turn it on there"),
            (301 | 307, _)
            | (
                400,
                Some(
                    "AuthorizationHeaderMalformed"
                    | "AuthorizationQueryParametersError"
                    | "IllegalLocationConstraintException",
                ),
            ) => {
                let Some(region) = region else {
                    return unfit(
                        "objectStore.s3.region",
                        "is not the bucket's: set it to the one that the bucket is in",
                    );
                };
                let (setting, what) = ("objectStore.s3.region", "is not the bucket's, which is");
                return Some(Probe::Told { setting, what, right: region.to_owned() });
            }
            (404, Some("ObjectLockConfigurationNotFoundError")) => {
                return unfit(S3_LOCK, "is set, and the bucket has no object lock: only a bucket with one fits");
            }
            (400 | 403, Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired")) => {
                return unfit(
                    "objectStore.s3.sessionTokenSecretRef",
                    "holds a token that is not valid any more: store a new key and token",
                );
            }
            _ => {}
        }
    }
    match (kind, raw.status, code) {
        (Kind::S3, _, Some("NoSuchBucket" | "InvalidBucketName")) => {
            unfit("objectStore.s3.bucket", "names no bucket of this endpoint: correct it, or the endpoint")
        }
        (Kind::Gcs, _, Some("NoSuchBucket" | "InvalidBucketName")) => {
            unfit("objectStore.gcs.bucket", "names no bucket: correct it")
        }
        (Kind::Azure, _, Some("ContainerNotFound")) => {
            unfit("objectStore.azure.container", "names no container of this account: correct it, or the endpoint")
        }
        (Kind::S3, _, Some("InvalidAccessKeyId")) => {
            unfit("objectStore.s3.accessKeySecretRef", "holds an access key that the store does not know")
        }
        (Kind::Gcs, _, Some("InvalidAccessKeyId" | "InvalidSecurity")) => {
            unfit("objectStore.gcs.accessKeySecretRef", "holds an HMAC key that the store does not know")
        }
        (Kind::S3, _, Some("SignatureDoesNotMatch")) => {
            unfit("objectStore.s3.secretKeySecretRef", "does not hold the secret of that access key")
        }
        (Kind::Gcs, _, Some("SignatureDoesNotMatch")) => {
            unfit("objectStore.gcs.secretKeySecretRef", "does not hold the secret of that HMAC key")
        }
        (Kind::Azure, 401 | 403, Some("AuthenticationFailed")) => unfit(
            "objectStore.azure.sasSecretRef",
            "holds a signature that is not valid: it has expired, or is not of this account and container",
        ),
        (Kind::S3, 403, Some("AccessDenied")) => unfit(
            "objectStore.s3.accessKeySecretRef",
            "is of somebody who may not read and list the bucket: allow s3:GetObject and s3:ListBucket",
        ),
        (Kind::Gcs, 403, Some("AccessDenied")) => unfit(
            "objectStore.gcs.accessKeySecretRef",
            "is of somebody who may not read and list the bucket: give the role Storage Object Viewer",
        ),
        (
            Kind::Azure,
            403,
            Some("AuthorizationPermissionMismatch" | "AuthorizationFailure" | "AuthorizationResourceTypeMismatch"),
        ) => unfit(
            "objectStore.azure.sasSecretRef",
            "does not permit reading and listing: make one with the permissions read and list on the container",
        ),
        _ => None,
    }
}
