//! Whatever is posted: of what is not signed nothing is believed, and of what is, an identifier at most.

use super::event;
use super::signature::Keys;
use super::{Format, Outcome};
use crate::closure::ids::is_id;
use crate::fuzz::{corpus, fuzz};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;

const FORMATS: [Format; 6] =
    [Format::StandardWebhooks, Format::GitHub, Format::Gitea, Format::GitLab, Format::Jira, Format::CloudEvents];
const SECRET: &str = "a secret of the tests' own";
/// The time of the signature that is kept.
const THEN: i64 = 1_795_000_000;

fn body(bytes: &[u8]) -> bool {
    let media = HeaderValue::from_static("application/cloudevents+json");
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, media)]);
    let mut named = false;
    for format in FORMATS {
        for pointer in [None, Some("/issue/number"), Some("/0"), Some("/~1~0")] {
            if let Ok(Some(id)) = event::review(format, pointer, &headers, bytes) {
                assert!(is_id(&id), "it goes into a path");
                named = true;
            }
        }
    }
    let parent = event::trace_parent(bytes).map(|parent| parent.to_string());
    assert!(parent.is_none_or(|parent| parent.is_ascii() && parent.len() <= 64));
    named
}

/// Header lines, an empty one, the body.
fn delivery(bytes: &[u8]) -> Option<(HeaderMap, Vec<u8>)> {
    let end = bytes.windows(2).position(|two| two == b"\n\n")?;
    let lines = bytes[..end].split(|byte| *byte == b'\n');
    let headers = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    });
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.append(name, value);
    }
    Some((all, bytes[end + 2..].to_vec()))
}

/// Whoever does not know the secret has what was signed, and nothing else: the kept bodies under the kept signatures.
fn signed(bytes: &[u8]) -> bool {
    let Some((headers, body)) = delivery(bytes) else { return false };
    let kept: Vec<Vec<u8>> =
        corpus("signature").into_iter().filter_map(|(_, kept)| delivery(&kept).map(|(_, body)| body)).collect();
    let whsec = format!("whsec_{}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, SECRET));
    let now = Timestamp::from_second(THEN).unwrap();
    let mut taken = false;
    for format in FORMATS {
        let standard = matches!(format, Format::StandardWebhooks | Format::CloudEvents);
        let secret = if standard { whsec.as_str() } else { SECRET };
        let keys = Keys::new(format, &[secret.into()]).unwrap_or_else(|unfit| panic!("{unfit}"));
        match keys.verify(&headers, &body, now) {
            // GitLab's token is no signature: it says who, and nothing of the body.
            Ok(signed) => {
                assert!(format == Format::GitLab || kept.contains(&body), "{format:?}");
                assert!(!standard || signed.id.as_deref() == Some("msg_1"));
                taken = true;
            }
            Err(refused) => {
                assert!(matches!(refused, Outcome::WronglySigned | Outcome::Stale | Outcome::Malformed));
            }
        }
    }
    taken
}

fuzz!(bodies, "webhook", 1000, body);
fuzz!(signatures, "signature", 500, signed);
