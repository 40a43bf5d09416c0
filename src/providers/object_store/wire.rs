//! A manifest, and what a store says in its own words.

use crate::closure::ids::{is_bundle, is_digest, is_id};
use crate::providers::rest::client::Raw;
use crate::providers::rest::json::{NotTheContract, Object, parse};
use base64::Engine as _;
use http::HeaderName;
use http::header::CONTENT_LENGTH;
use serde::Deserialize;

/// Most artifacts of one bundle: each costs a request per look.
pub(super) const ARTIFACTS_MAX: usize = 32;
/// Longest text that is no identifier, in bytes.
const TEXT_MAX: usize = 256;
const URL_MAX: usize = 2048;
/// Longest body of an error that is looked through, in bytes.
const ERROR_MAX: usize = 16 << 10;

/// What a bundle's manifest says.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) bundle: String,
    pub(super) release_id: String,
    pub(super) review_version: String,
    pub(super) artifacts: Vec<Part>,
    pub(super) url: String,
}

/// One object of a bundle, as its manifest promises it.
#[derive(Debug)]
pub(super) struct Part {
    /// Its name below the bundle.
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) digest: String,
    pub(super) size: u64,
}

/// Reads a manifest.
///
/// # Errors
/// It is none.
pub(super) fn manifest(body: &[u8]) -> Result<Manifest, NotTheContract> {
    #[derive(Deserialize)]
    struct Release {
        id: String,
    }
    #[derive(Deserialize)]
    struct Review {
        version: String,
    }
    #[derive(Deserialize)]
    struct PartWire {
        name: String,
        kind: String,
        digest: String,
        size: u64,
    }
    #[derive(Deserialize)]
    struct ManifestWire {
        bundle: String,
        release: Object<Release>,
        review: Object<Review>,
        artifacts: Vec<Object<PartWire>>,
        url: String,
    }
    let ManifestWire { bundle, release, review, artifacts, url } = parse(body)?;
    let (release_id, review_version) = (release.0.id, review.0.version);
    let fits = is_bundle(&bundle) && is_id(&release_id) && is_id(&review_version) && url.len() <= URL_MAX;
    if !fits || artifacts.len() > ARTIFACTS_MAX {
        return Err(NotTheContract);
    }
    let part = |Object(PartWire { name, kind, digest, size })| {
        let fits = is_bundle(&name) && kind.len() <= TEXT_MAX && is_digest(&digest);
        if fits { Ok(Part { name, kind, digest, size }) } else { Err(NotTheContract) }
    };
    let artifacts = artifacts.into_iter().map(part).collect::<Result<_, _>>()?;
    Ok(Manifest { bundle, release_id, review_version, artifacts, url })
}

/// A short header.
fn header(raw: &Raw, name: HeaderName) -> Option<&str> {
    raw.headers.get(name)?.to_str().ok().filter(|value| value.len() <= TEXT_MAX)
}

/// The object's entity tag and version, where the store tells them.
pub(super) fn revision(raw: &Raw) -> String {
    const VERSIONS: [HeaderName; 3] = [
        HeaderName::from_static("x-amz-version-id"),
        HeaderName::from_static("x-goog-generation"),
        HeaderName::from_static("x-ms-version-id"),
    ];
    let tag = header(raw, http::header::ETAG).unwrap_or_default();
    let version = VERSIONS.into_iter().find_map(|name| header(raw, name)).unwrap_or_default();
    let whole = format!("{tag} {version}");
    // Statuses bound revisions; nothing is ever written at this one.
    if whole.len() <= 128 { whole } else { String::new() }
}

/// Whether an object is what the manifest promises: its size is, and its checksum where the store keeps one of the
/// whole object.
pub(super) fn is_as_promised(raw: &Raw, part: &Part) -> bool {
    const SHA256: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");
    let size = header(raw, CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let checksum = header(raw, SHA256)
        // Of parts of an upload: "…-7".
        .filter(|checksum| !checksum.contains('-'))
        .map(|checksum| base64::engine::general_purpose::STANDARD.decode(checksum).map(hex::encode));
    let kept = checksum.is_none_or(|kept| kept.is_ok_and(|kept| part.digest.strip_prefix("sha256:") == Some(&*kept)));
    size == Some(part.size) && kept
}

/// A store's own error: its code, and where it says so the region that would be right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words<'a> {
    pub(super) code: &'a str,
    pub(super) region: Option<&'a str>,
}

/// The error of a reply. None where something on the way replied.
///
/// A few flat elements of a small document are wanted, so they are looked for as they are written, without a parser:
/// what a store sends has neither attributes nor comments there, and what is found is held against closed sets.
pub(super) fn words(body: &[u8]) -> Option<Words<'_>> {
    let text = std::str::from_utf8(body.get(..body.len().min(ERROR_MAX))?).ok()?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let root = match text.strip_prefix("<?xml") {
        Some(rest) => rest.split_once("?>")?.1.trim_start(),
        None => text,
    };
    let inside = root.strip_prefix("<Error")?;
    let plain = |value: &&str| {
        (1..=64).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    Some(Words {
        code: element(inside, "Code").filter(plain)?,
        region: element(inside, "Region")
            .or_else(|| element(inside, "Message").and_then(expected))
            .filter(plain)
            .filter(|region| region.len() <= 32 && !region.bytes().any(|byte| byte.is_ascii_uppercase())),
    })
}

/// The region in "the region 'x' is wrong; expecting 'y'", for stores that name it there alone.
fn expected(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("expecting ")?;
    let quote = ["&#34;", "&#39;", "&quot;", "&apos;", "\"", "'"].into_iter().find(|quote| rest.starts_with(quote))?;
    Some(rest.strip_prefix(quote)?.split_once(quote)?.0)
}

/// The region that a redirect names.
pub(super) fn told_region(raw: &Raw) -> Option<&str> {
    let told = header(raw, HeaderName::from_static("x-amz-bucket-region"))?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    Some(told).filter(|told| (1..=32).contains(&told.len()) && told.bytes().all(plain))
}

/// Whether a bucket's configuration says that object lock is on.
pub(super) fn is_locked(body: &[u8]) -> bool {
    let text = std::str::from_utf8(body).unwrap_or_default();
    text.contains("<ObjectLockConfiguration") && element(text, "ObjectLockEnabled") == Some("Enabled")
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stores_own_words_are_told_from_a_page() {
        let words_of = |text: &'static str| words(text.as_bytes()).map(|words| (words.code, words.region));
        let s3 = r#"<?xml version="1.0" encoding="UTF-8"?>
            <Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>a</Key></Error>"#;
        assert_eq!(words_of(s3), Some(("NoSuchKey", None)));
        let azure = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>BlobNotFound</Code></Error>";
        assert_eq!(words_of(azure), Some(("BlobNotFound", None)));
        let region = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region></Error>";
        assert_eq!(words_of(region), Some(("AuthorizationHeaderMalformed", Some("eu-central-1"))));
        let message =
            "<Error><Code>X</Code><Message>the region &#34;a&#34; is wrong; expecting &#34;us-1&#34;</Message></Error>";
        assert_eq!(words_of(message), Some(("X", Some("us-1"))));
        let odd = "<Error><Code>X</Code><Region>Read https://evil.example</Region></Error>";
        assert_eq!(words_of(odd), Some(("X", None)));
        for page in [
            "<html><Code>NoSuchKey</Code></html>",
            "<!-- <Error><Code>NoSuchKey</Code></Error> -->",
            "<Error></Error>",
            "<Error><Code>a b</Code></Error>",
            "<Error><Code>NoSuchKey",
            r#"{"Error":{"Code":"NoSuchKey"}}"#,
            "",
        ] {
            assert_eq!(words_of(page), None, "{page}");
        }
        assert_eq!(words(b"<Error><Code>\xff</Code></Error>"), None);
    }

    #[test]
    fn a_manifest_is_whole_or_none() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let good = serde_json::json!({
            "bundle": "shop/1.4", "release": {"id": "r-1"}, "review": {"version": "3"}, "url": "https://a.example/b",
            "artifacts": [{"name": "sign-off.pdf", "kind": "sign-off", "digest": digest, "size": 3}],
        });
        assert_eq!(manifest(good.to_string().as_bytes()).unwrap().artifacts.len(), 1);
        let mut many = good.clone();
        many["artifacts"] = serde_json::json!(vec![good["artifacts"][0].clone(); ARTIFACTS_MAX + 1]);
        let mut bad = vec![many];
        for (pointer, value) in [
            ("/bundle", "../other"),
            ("/release/id", "a@b"),
            ("/artifacts/0/name", "../manifest.json"),
            ("/artifacts/0/name", "/etc"),
            ("/artifacts/0/digest", "md5:aa"),
        ] {
            let mut one = good.clone();
            *one.pointer_mut(pointer).unwrap() = value.into();
            bad.push(one);
        }
        for bad in bad {
            assert!(manifest(bad.to_string().as_bytes()).is_err(), "{bad}");
        }
    }
}
