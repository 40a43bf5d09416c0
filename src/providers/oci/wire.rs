//! Manifests, indexes, and what a registry says in its own words.

use crate::closure::ids::is_digest;
use crate::providers::rest::client::Raw;
use crate::providers::rest::json::{Object, parse};
use http::HeaderName;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LINK, LOCATION};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// The media type of a manifest.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an index, which referrers come in.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of a configuration that says nothing.
pub(super) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Longest code of an error, in bytes.
const CODE_MAX: usize = 64;

/// Annotations of a manifest or of a layer.
pub(super) type Annotated = BTreeMap<String, String>;

/// A manifest, with the digest of its bytes.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) digest: String,
    pub(super) artifact_type: String,
    pub(super) annotations: Annotated,
    pub(super) layers: Vec<Layer>,
    /// The digest of what it refers to.
    pub(super) subject: Option<String>,
}

/// One layer, as a manifest promises it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Layer {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default)]
    pub(super) annotations: Annotated,
}

/// Something that is said to refer to a bundle.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Referrer {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default)]
    pub(super) artifact_type: Option<String>,
}

/// The digest of a body, as registries write it.
pub(super) fn digest(body: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(body)))
}

/// Understands a manifest. None where it is of another media type (an index, Docker's own), or its bytes are not those of which
/// the registry tells the digest.
pub(super) fn manifest(raw: &Raw) -> Option<Manifest> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        media_type: String,
    }
    #[derive(Deserialize)]
    struct Subject {
        digest: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        schema_version: u64,
        #[serde(default)]
        media_type: Option<String>,
        #[serde(default)]
        artifact_type: Option<String>,
        config: Object<Config>,
        layers: Vec<Object<Layer>>,
        #[serde(default)]
        subject: Option<Object<Subject>>,
        #[serde(default)]
        annotations: Option<Annotated>,
    }
    let digest = own_digest(raw, MANIFEST)?;
    let Wire { schema_version, media_type, artifact_type, config, layers, subject, annotations } =
        parse(&raw.body).ok()?;
    if schema_version != 2 || media_type.is_some_and(|media_type| media_type != MANIFEST) {
        return None;
    }
    Some(Manifest {
        digest,
        artifact_type: artifact_type.filter(|it| !it.is_empty()).unwrap_or(config.0.media_type),
        annotations: annotations.unwrap_or_default(),
        layers: layers.into_iter().map(|Object(layer)| layer).collect(),
        subject: subject.map(|Object(subject)| subject.digest),
    })
}

/// Understands a list of referrers.
pub(super) fn referrers(raw: &Raw) -> Option<Vec<Referrer>> {
    #[derive(Deserialize)]
    struct Wire {
        // A registry without any says null.
        manifests: Option<Vec<Object<Referrer>>>,
    }
    own_digest(raw, INDEX)?;
    let Wire { manifests } = parse(&raw.body).ok()?;
    Some(manifests.unwrap_or_default().into_iter().map(|Object(referrer)| referrer).collect())
}

/// The digest of a body of this media type, where it is the one that the registry tells.
fn own_digest(raw: &Raw, media_type: &str) -> Option<String> {
    let told = raw.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let bare = told.split(';').next().unwrap_or_default().trim_ascii();
    let digest = digest(&raw.body);
    (bare.eq_ignore_ascii_case(media_type) && tells(raw, &digest)).then_some(digest)
}

/// Whether a reply tells no other digest of this kind.
fn tells(raw: &Raw, digest: &str) -> bool {
    let told = raw.headers.get(CONTENT_DIGEST).map(http::HeaderValue::as_bytes);
    told.is_none_or(|told| !told.starts_with(b"sha256:") || told == digest.as_bytes())
}

/// Whether a content is what a manifest promises, as far as its head tells.
pub(super) fn is_as_promised(raw: &Raw, digest: &str, size: u64) -> bool {
    let length = raw.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    tells(raw, digest) && length == Some(size)
}

/// Whether a registry's answer leads to a place of its own choice, over an encrypted way.
pub(super) fn leads_to_a_store(raw: &Raw) -> bool {
    raw.headers.get(LOCATION).is_some_and(|location| location.as_bytes().starts_with(b"https://"))
}

/// Where a list of referrers goes on: the query of the next page. An error where it is none of this list.
pub(super) fn next_page(raw: &Raw, path: &str) -> Result<Option<String>, ()> {
    let Some(link) = raw.headers.get(LINK) else { return Ok(None) };
    let link = link.to_str().map_err(|_| ())?;
    let (target, parameters) = link.trim_start().strip_prefix('<').and_then(|rest| rest.split_once('>')).ok_or(())?;
    if !parameters.split(';').any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next")) {
        return Ok(None);
    }
    // Of the address nothing but the query is used: nobody is led elsewhere.
    let (place, query) = target.split_once('?').ok_or(())?;
    if place.replace("%3A", ":").ends_with(path) { Ok(Some(query.to_owned())) } else { Err(()) }
}

/// The code of a registry's own error. None where something on the way replied.
pub(super) fn code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Error {
        code: String,
    }
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Object<Error>>,
    }
    let Errors { errors } = parse(body).ok()?;
    errors.into_iter().next().map(|Object(error)| error.code).filter(|code| code.len() <= CODE_MAX)
}

/// The hexadecimal digits of a digest that registries are asked for.
pub(super) fn hex_of(digest: &str) -> Option<&str> {
    digest.strip_prefix("sha256:").filter(|_| is_digest(digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    fn raw(media_type: &'static str, body: &str, told: Option<&str>) -> Raw {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        if let Some(told) = told {
            headers.insert(CONTENT_DIGEST, HeaderValue::from_str(told).unwrap());
        }
        Raw { status: 200, headers, body: body.as_bytes().to_vec(), retry_after: None }
    }

    const GOOD: &str = r#"{"schemaVersion":2,"config":{"mediaType":"a/b"},"layers":[]}"#;

    #[test]
    fn a_manifest_is_its_bytes() {
        let own = digest(GOOD.as_bytes());
        let seen = manifest(&raw(MANIFEST, GOOD, Some(&own))).unwrap();
        assert_eq!((seen.digest, seen.artifact_type.as_str()), (own, "a/b"));
        assert!(manifest(&raw(MANIFEST, GOOD, None)).is_some());
        assert!(manifest(&raw(MANIFEST, GOOD, Some("sha512:00"))).is_some(), "it says nothing of this digest");
        assert!(manifest(&raw(MANIFEST, GOOD, Some(&digest(b"other")))).is_none());
        for media_type in [INDEX, "application/vnd.docker.distribution.manifest.v2+json", "text/html"] {
            assert!(manifest(&raw(media_type, GOOD, None)).is_none(), "{media_type}");
        }
        for bad in [
            r#"{"schemaVersion":1,"config":{"mediaType":"a/b"},"layers":[]}"#,
            r#"{"schemaVersion":2,"manifests":[]}"#,
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","config":{"mediaType":"a/b"},"layers":[]}"#,
            "[]",
            "",
        ] {
            assert!(manifest(&raw(MANIFEST, bad, None)).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_list_goes_on_where_it_is_and_nowhere_else() {
        let path = "/v2/a/b/referrers/sha256:00";
        let next = |link: &'static str| {
            let mut raw = raw(INDEX, "{}", None);
            raw.headers.insert(LINK, HeaderValue::from_static(link));
            next_page(&raw, path)
        };
        let query = Ok(Some("n=2&last=x%2Fy".to_owned()));
        assert_eq!(next("</v2/a/b/referrers/sha256:00?n=2&last=x%2Fy>; rel=\"next\""), query);
        assert_eq!(next("<https://elsewhere.example/v2/a/b/referrers/sha256%3A00?n=2&last=x%2Fy>; rel=next"), query);
        assert_eq!(next("</v2/a/b/referrers/sha256:00?n=2>; rel=\"prev\""), Ok(None));
        assert_eq!(next("</v2/a/b/tags/list?n=2>; rel=\"next\""), Err(()));
        assert_eq!(next("</v2/a/b/referrers/sha256:00>; rel=\"next\""), Err(()));
        assert_eq!(next("nothing"), Err(()));
        assert_eq!(next_page(&raw(INDEX, "{}", None), path), Ok(None));
    }
}
