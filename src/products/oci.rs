//! Evidence in a repository of an OCI registry: an artifact for each bundle, its parts as layers or as referrers.

use super::{ENDPOINT_PATTERN, SecretKeyRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A repository's name, as the distribution specification has it.
const REPOSITORY_PATTERN: &str = r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$";
/// What the names of bundles begin with: nothing, or segments that each end in a slash.
const BUNDLES_PATTERN: &str = r"^([!-.0-?A-~]+/)*$";
/// What may stand between the segments of a bundle's name in a tag.
const SEPARATOR_PATTERN: &str = r"^[._-]{1,2}$";
/// A media type without parameters.
const TYPE_PATTERN: &str = r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*$";
/// A kind of artifact, as playbooks name it.
const KIND_PATTERN: &str = r"^[ -~]+$";
/// The key of an annotation.
const KEY_PATTERN: &str = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$";

/// A repository that holds evidence bundles, each as an OCI artifact with a tag of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Oci {
    /// The registry, such as https://ghcr.io: without `/v2`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = ENDPOINT_PATTERN), extend("format" = "uri"))]
    pub endpoint: String,
    /// The repository with the bundles, such as payments/evidence.
    #[schemars(length(min = 1, max = 255), regex(pattern = REPOSITORY_PATTERN))]
    pub repository: String,
    /// What the names of all bundles begin with and their tags do not: nothing, or segments that each end in a slash.
    #[serde(default)]
    #[schemars(length(max = 256), regex(pattern = BUNDLES_PATTERN))]
    pub bundles: String,
    /// What stands in a tag where the bundle's name has a slash.
    #[serde(default = "separator")]
    #[schemars(length(min = 1, max = 2), regex(pattern = SEPARATOR_PATTERN))]
    pub separator: String,
    /// Where the parts of a bundle are. Layers are covered by the bundle's digest, referrers can be added later.
    #[serde(default = "parts")]
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub parts: BTreeSet<Parts>,
    /// Which kinds parts are of, by their type: a referrer's artifactType, a layer's media type. Others are no parts. Left empty, a
    /// part says its kind itself, by an annotation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub kinds: Vec<Kind>,
    /// The annotations that say what a bundle is.
    #[serde(default)]
    pub annotations: Annotations,
    /// Where tokens are fetched, such as https://auth.docker.io/token: the realm that the registry names when it wants a bearer
    /// token. Left out, the registry is shown user name and password itself, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = ENDPOINT_PATTERN), extend("format" = "uri"))]
    pub token_endpoint: Option<String>,
    /// The user's name, where there is one. Goes with the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username_secret_ref: Option<SecretKeyRef>,
    /// The user's password, or an access token that stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
}

/// Where parts of a bundle can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Parts {
    /// They are layers of its manifest.
    Layers,
    /// They are artifacts of their own whose subject it is.
    Referrers,
}

/// What a type of parts stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Kind {
    /// A referrer's artifactType, or a layer's media type.
    #[serde(rename = "type")]
    #[schemars(length(min = 3, max = 255), regex(pattern = TYPE_PATTERN))]
    pub media_type: String,
    /// The kind, as playbooks name it.
    #[schemars(length(min = 1, max = 128), regex(pattern = KIND_PATTERN))]
    pub kind: String,
}

/// The keys of annotations.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Annotations {
    /// The bundle's name, on its manifest.
    #[schemars(length(min = 1, max = 128), regex(pattern = KEY_PATTERN))]
    pub bundle: String,
    /// The release's id, on the manifest.
    #[schemars(length(min = 1, max = 128), regex(pattern = KEY_PATTERN))]
    pub release: String,
    /// The version of the review, on the manifest.
    #[schemars(length(min = 1, max = 128), regex(pattern = KEY_PATTERN))]
    pub review_version: String,
    /// Where people find the bundle, on the manifest.
    #[schemars(length(min = 1, max = 128), regex(pattern = KEY_PATTERN))]
    pub url: String,
    /// A part's kind, on its layer or on the referrer's manifest.
    #[schemars(length(min = 1, max = 128), regex(pattern = KEY_PATTERN))]
    pub kind: String,
}

impl Default for Annotations {
    fn default() -> Self {
        let own = |name: &str| format!("io.releaseclosure.{name}");
        Annotations {
            bundle: own("bundle"),
            release: own("release"),
            review_version: own("review-version"),
            url: "org.opencontainers.image.url".to_owned(),
            kind: own("kind"),
        }
    }
}

impl Oci {
    /// The Secrets that it names, by what each is for.
    #[must_use]
    pub fn secret_refs(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        let username = self.username_secret_ref.iter().map(|secret| (USERNAME, secret));
        username.chain(self.password_secret_ref.iter().map(|secret| (PASSWORD, secret))).collect()
    }

    /// The tag of a bundle: its name without what all names begin with, a separator for each slash. None where that makes no tag.
    #[must_use]
    pub fn tag(&self, bundle: &str) -> Option<String> {
        let tag = bundle.strip_prefix(&self.bundles)?.replace('/', &self.separator);
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let begins = tag.bytes().next().is_some_and(word);
        let fits = tag.len() <= TAG_MAX && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
        (begins && fits).then_some(tag)
    }
}

/// Longest tag, in bytes: the distribution specification's.
const TAG_MAX: usize = 128;

/// The secret that is the user's name.
pub const USERNAME: &str = "username";
/// The secret that is the user's password.
pub const PASSWORD: &str = "password";

fn separator() -> String {
    "-".to_owned()
}

fn parts() -> BTreeSet<Parts> {
    BTreeSet::from([Parts::Layers])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_bundles_name_or_there_is_none() {
        let oci = |more: serde_json::Value| -> Oci {
            let mut spec = serde_json::json!({"endpoint": "https://a.example", "repository": "payments/evidence"});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(spec).unwrap()
        };
        let plain = oci(serde_json::json!({}));
        assert_eq!(plain.tag("payments/2026.11.3/rv3").as_deref(), Some("payments-2026.11.3-rv3"));
        let below = oci(serde_json::json!({"bundles": "payments/", "separator": "_"}));
        assert_eq!(below.tag("payments/2026.11.3/rv3").as_deref(), Some("2026.11.3_rv3"));
        assert_eq!(below.tag("shop/1.4"), None, "of another service");
        for none in ["1.4+rc", "a:b", ".4", "-4", &"a".repeat(TAG_MAX + 1), ""] {
            assert_eq!(plain.tag(none), None, "{none}");
        }
        assert!(plain.tag(&"a".repeat(TAG_MAX)).is_some());
    }
}
