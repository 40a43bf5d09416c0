//! Signatures against the vectors of those who send them, and what is turned away.

use super::*;

/// The time of Standard Webhooks' own vector.
const THEN: i64 = 1_614_265_330;
const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const STANDARD_BODY: &[u8] = br#"{"test": 2432232314}"#;
const STANDARD_SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
/// The secret of GitHub's and Jira's documentation.
const EVERYBODY: &str = "It's a Secret to Everybody";

fn keys(format: Format, secrets: &[&str]) -> Keys {
    let secrets: Vec<SecretString> = secrets.iter().map(|secret| (*secret).into()).collect();
    Keys::new(format, &secrets).unwrap_or_else(|unfit| panic!("{unfit}"))
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn standard_headers(id: &str, time: &str, signature: &str) -> HeaderMap {
    headers(&[("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", signature)])
}

fn documented() -> HeaderMap {
    standard_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", STANDARD_SIGNATURE)
}

#[test]
fn the_vendors_own_vectors_are_taken() {
    let everybody = |name: &'static str, value: &str| headers(&[(name, value)]);
    let github = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let jira = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9";
    // Gitea documents the same signature without the prefix, and no vector: it is GitHub's.
    let gitea = github.trim_start_matches("sha256=");
    let vectors: [(Format, &str, HeaderMap, &[u8]); 7] = [
        (Format::StandardWebhooks, STANDARD_SECRET, documented(), STANDARD_BODY),
        (Format::CloudEvents, STANDARD_SECRET, documented(), STANDARD_BODY),
        (Format::GitLab, STANDARD_SECRET, documented(), STANDARD_BODY),
        (Format::GitHub, EVERYBODY, everybody("x-hub-signature-256", github), b"Hello, World!"),
        (Format::Gitea, EVERYBODY, everybody("x-gitea-signature", gitea), b"Hello, World!"),
        (Format::Jira, EVERYBODY, everybody("x-hub-signature", jira), b"Hello World!"),
        (Format::GitLab, "a token as long as this", everybody("x-gitlab-token", "a token as long as this"), b"{}"),
    ];
    for (format, secret, headers, body) in vectors {
        let one = keys(format, &[secret]);
        assert!(one.verify(&headers, body, at(THEN)).is_ok(), "{format:?}");
        // While a secret is rotated two are good, in either order, and a line feed at the end is none of it.
        let other =
            if secret.starts_with("whsec_") { "whsec_AAAAAAAAAAAAAAAAAAAAAAAA" } else { "another secret, as long" };
        let secret = format!("{secret}\n");
        for two in [[&*secret, other], [other, &*secret]] {
            assert!(keys(format, &two).verify(&headers, body, at(THEN)).is_ok(), "{format:?}");
        }
        let wrong = keys(format, &[other]).verify(&headers, body, at(THEN));
        assert_eq!(wrong, Err(Outcome::WronglySigned), "{format:?}");
        let unsigned = one.verify(&HeaderMap::new(), body, at(THEN));
        assert_eq!(unsigned, Err(Outcome::WronglySigned), "{format:?}");
        if !headers.contains_key("x-gitlab-token") {
            let mut flipped = body.to_vec();
            flipped[3] ^= 1;
            assert_eq!(one.verify(&headers, &flipped, at(THEN)), Err(Outcome::WronglySigned), "{format:?}");
        }
        for (name, value) in &headers {
            let mut twice = headers.clone();
            twice.append(name, value.clone());
            assert!(one.verify(&twice, body, at(THEN)).is_err(), "{format:?}: {name} twice");
        }
    }
}

#[test]
fn one_signature_of_several_is_enough_and_other_versions_are_none() {
    let keys = keys(Format::StandardWebhooks, &[STANDARD_SECRET]);
    let of = |signature: &str| standard_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", signature);
    let tag = STANDARD_SIGNATURE.trim_start_matches("v1,");
    for (signature, good) in [
        (format!("v1,AAAA v1a,BBBB {STANDARD_SIGNATURE}"), true),
        (format!("v2,{tag}"), false),
        (tag.to_owned(), false),
        (format!("v1,{}", &tag[..20]), false),
        ("v1,".to_owned(), false),
        (format!("{} {STANDARD_SIGNATURE}", ["v1,AAAA"; SIGNATURES_MAX].join(" ")), false),
    ] {
        assert_eq!(keys.verify(&of(&signature), STANDARD_BODY, at(THEN)).is_ok(), good, "{signature}");
    }
}

#[test]
fn what_was_signed_five_minutes_from_now_is_stale() {
    let keys = keys(Format::StandardWebhooks, &[STANDARD_SECRET]);
    for (distance, expected) in [(-301, Err(Outcome::Stale)), (-300, Ok(())), (300, Ok(())), (301, Err(Outcome::Stale))]
    {
        let verified = keys.verify(&documented(), STANDARD_BODY, at(THEN + distance)).map(drop);
        assert_eq!(verified, expected, "{distance}");
    }
    // Who cannot sign is told nothing of the time.
    let forged = standard_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", "1", STANDARD_SIGNATURE);
    assert_eq!(keys.verify(&forged, STANDARD_BODY, at(THEN)), Err(Outcome::WronglySigned));
    let lacking = headers(&[("webhook-id", "a"), ("webhook-signature", STANDARD_SIGNATURE)]);
    assert_eq!(keys.verify(&lacking, STANDARD_BODY, at(THEN)), Err(Outcome::Malformed));
    // What is signed is text, whatever it says.
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64.decode(&STANDARD_SECRET[6..]).unwrap());
    for time in ["never", "", "99999999999999999999", "-9223372036854775808", "1614265330.5"] {
        let tag = hmac::sign(&key, format!("a.{time}.{{}}").as_bytes());
        let signature = format!("v1,{}", BASE64.encode(tag));
        let verified = keys.verify(&standard_headers("a", time, &signature), b"{}", at(THEN));
        assert!(matches!(verified, Err(Outcome::Malformed | Outcome::Stale)), "{time}: {verified:?}");
    }
}

#[test]
fn the_same_delivery_is_told_by_what_is_signed() {
    let github = keys(Format::GitHub, &[EVERYBODY]);
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let of = |id: &str| headers(&[("x-hub-signature-256", signature), ("x-github-delivery", id)]);
    let one = github.verify(&of("1"), b"Hello, World!", at(0)).unwrap();
    let other = github.verify(&of("2"), b"Hello, World!", at(0)).unwrap();
    assert_eq!(one.fingerprint, other.fingerprint, "anybody can set that header");
    assert_eq!((one.id.as_deref(), other.id.as_deref()), (Some("1"), Some("2")));
    let hostile = github.verify(&of(&"x".repeat(129)), b"Hello, World!", at(0)).unwrap();
    assert_eq!(hostile.id, None);
}

#[test]
fn a_secret_is_what_its_format_needs() {
    for (format, secret, expected) in [
        (Format::StandardWebhooks, "whsec_no base64", Some(Unfit::NotBase64)),
        (Format::StandardWebhooks, "whsec_AAAA", Some(Unfit::TooShort)),
        (Format::StandardWebhooks, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", None),
        (Format::GitHub, "fifteen bytes..", Some(Unfit::TooShort)),
        (Format::GitHub, "sixteen bytes...", None),
        (Format::GitLab, "short", Some(Unfit::TooShort)),
        (Format::Jira, "", Some(Unfit::TooShort)),
    ] {
        assert_eq!(Keys::new(format, &[secret.into()]).err(), expected, "{format:?} {secret}");
    }
}
