//! A GitHub App: how it gets its tokens, and what becomes of the connection where it does not.

use super::*;
use crate::providers::Refused;
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

/// Made for these tests.
const KEY_PEM: &str = include_str!("app.pem");
/// Likewise, and of no kind that GitHub makes.
const OTHER_KIND: &str = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIBfmzHhbSe0quwC4tTYbmV50JY5VMTp1G+9gw1JFIOY1oAoGCCqGSM49\nAwEHoUQDQgAEqt+8KKSx0TETAuifsleKTA/N/NqnhSKkzJc6d2RBtWN8/E2LBjxv\nqW99EwY1iLeCzJh0BqSx6qm7drLGNflHyw==\n-----END EC PRIVATE KEY-----\n";

fn as_app(server: &Server, key: &str) -> Settings {
    let app = json!({"appId": 12_345, "installationId": 100, "privateKeySecretRef": {"name": "github", "key": "key"}});
    let mut settings = at(server, json!({ "app": app }));
    settings.token = Some(SecretString::from(key));
    settings
}

fn in_minutes(minutes: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes)).to_string()
}

fn token(number: usize, minutes: i64, issues: &str) -> Act {
    let token = format!("ghs_{number}");
    says(201, &json!({"token": token, "expires_at": in_minutes(minutes), "permissions": {"issues": issues}}))
}

fn is_login(seen: &Seen) -> bool {
    asked(seen) == ("POST", "/app/installations/100/access_tokens")
}

/// An App's server: tokens by their number, and this to everything else.
async fn hub(minutes: i64, issues: &'static str, other: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Server {
    let fetched = AtomicUsize::new(0);
    Server::start(move |_, seen| {
        if is_login(seen) { token(fetched.fetch_add(1, Ordering::Relaxed), minutes, issues) } else { other(seen) }
    })
    .await
}

fn logins(server: &Server) -> usize {
    server.seen().iter().filter(|seen| is_login(seen)).count()
}

#[tokio::test]
async fn a_statement_is_signed_and_gets_a_token_that_is_kept() {
    let server = hub(60, "write", |_| says(200, &issue(5))).await;
    let connected = connect(&as_app(&server, KEY_PEM)).unwrap();
    for _ in 0..3 {
        assert!(matches!(read_checklist(&connected).await, Observation::Found(..)));
    }
    let seen = server.seen();
    assert_eq!((seen.len(), logins(&server)), (4, 1));
    assert_eq!(seen[0].body, r#"{"repositories":["shop"]}"#);
    assert!(seen[1..].iter().all(|seen| seen.header("authorization") == Some("Bearer ghs_0")));

    let statement = seen[0].header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
    let (signed, signature) = statement.rsplit_once('.').unwrap();
    let (head, claims) = signed.split_once('.').unwrap();
    let part = |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    assert_eq!(part(head), json!({"alg": "RS256", "typ": "JWT"}));
    let (claims, now) = (part(claims), jiff::Timestamp::now().as_second());
    assert_eq!(claims["iss"], "12345");
    let (from, until) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    // GitHub takes ten minutes and no more.
    assert!(from < now && now < until && until - from <= 600, "{claims}");

    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key =
        provider.key_provider.load_private_key(PrivateKeyDer::from_pem_slice(KEY_PEM.as_bytes()).unwrap()).unwrap();
    let public = key.public_key().unwrap();
    // What is behind the algorithm's name, for a key of this length.
    let public = &public.as_ref()[24..];
    let mut known = provider.signature_verification_algorithms.mapping.iter();
    let (_, algorithms) = known.find(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256).unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    algorithms[0].verify_signature(public, signed.as_bytes(), &signature).unwrap();
    assert!(algorithms[0].verify_signature(public, b"something else", &signature).is_err());
}

#[tokio::test]
async fn a_token_that_is_about_to_end_is_not_used_any_more() {
    for (minutes, fetched) in [(4, 2), (6, 1)] {
        let server = hub(minutes, "write", |_| says(200, &issue(5))).await;
        let connected = connect(&as_app(&server, KEY_PEM)).unwrap();
        for _ in 0..2 {
            assert!(matches!(read_checklist(&connected).await, Observation::Found(..)));
        }
        assert_eq!(logins(&server), fetched, "{minutes}");
    }
}

#[tokio::test]
async fn many_that_wait_fetch_one() {
    let server = hub(60, "write", |_| says(200, &issue(5))).await;
    let connected = connect(&as_app(&server, KEY_PEM)).unwrap();
    let reads = futures::future::join_all((0..6).map(|_| read_checklist(&connected))).await;
    assert!(reads.iter().all(|read| matches!(read, Observation::Found(..))));
    assert_eq!((logins(&server), server.count()), (1, 7));
}

/// A token that was taken back is fetched anew, once; where that one is not taken either, only probes go on.
#[tokio::test]
async fn a_token_that_is_not_taken_is_fetched_anew_once() {
    let server = hub(60, "write", |seen| match seen.header("authorization") {
        Some("Bearer ghs_0") => error(401, "Bad credentials"),
        _ => says(200, &issue(5)),
    })
    .await;
    let connected = connect(&as_app(&server, KEY_PEM)).unwrap();
    assert!(matches!(read_checklist(&connected).await, Observation::Found(..)));
    assert_eq!((logins(&server), server.count()), (2, 4));

    let server = hub(60, "write", |_| error(401, "Bad credentials")).await;
    let connected = connect(&as_app(&server, KEY_PEM)).unwrap();
    assert_eq!(read_checklist(&connected).await, unreachable(Trouble::Unauthorized, None));
    assert_eq!((logins(&server), server.count()), (2, 4));
    assert_eq!(read_checklist(&connected).await, unreachable(Trouble::HeldBack, None));
    assert_eq!(server.count(), 4);
}

/// Each request that went out is told in a span of its own: those that fetch a token, and the one that was refused for it.
#[cfg(feature = "otlp")]
#[tokio::test]
async fn each_request_is_told_once() {
    let server = hub(60, "write", |seen| match seen.header("authorization") {
        Some("Bearer ghs_0") => error(401, "Bad credentials"),
        _ => says(200, &issue(5)),
    })
    .await;
    let connected = connect(&as_app(&server, KEY_PEM)).unwrap();
    let (_, spans) = crate::spans::spans_during(read_checklist(&connected)).await;
    let said = |span: &opentelemetry_sdk::trace::SpanData, key: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
        found.map(|attribute| attribute.value.to_string()).unwrap_or_default()
    };
    let told: Vec<[String; 3]> = spans
        .iter()
        .map(|span| {
            let said = |key| said(span, key);
            [said("http.request.method"), said("http.response.status_code"), said("releaseclosure.outcome")]
        })
        .collect();
    let expected = [
        ["POST", "201", "success"],
        ["GET", "401", "unauthorized"],
        ["POST", "201", "success"],
        ["GET", "200", "success"],
    ];
    assert_eq!(told, expected.map(|words| words.map(str::to_owned)));
    let all = format!("{spans:?}");
    assert!(!all.contains("ghs_") && !all.contains("Bad credentials"), "{all}");
}

/// A change is never sent twice: not even where it was refused for its token.
#[tokio::test]
async fn a_change_that_is_refused_for_its_token_is_not_sent_again() {
    let server = hub(60, "write", |seen| match seen.method.as_str() {
        "GET" => says(200, &issue(5)),
        _ => error(401, "Bad credentials"),
    })
    .await;
    let connected = connect(&as_app(&server, KEY_PEM)).unwrap();
    let seen = Sighting::Checklist(read_checklist(&connected).await);
    let permit = connected.gate.permit().await.unwrap();
    let reply = connected.checklist.unwrap().close(order_seen(Step::CloseChecklist, seen), permit).await;
    assert_eq!(reply, WriteReply::NotApplied(Trouble::Unauthorized.into()));
    let changes = server.seen().into_iter().filter(|seen| seen.method == "PATCH").count();
    assert_eq!((changes, logins(&server)), (1, 1));
}

/// A change whose token cannot be had was not sent, whatever became of the request for the token.
#[tokio::test]
async fn a_change_without_a_token_is_not_sent() {
    let fetched = AtomicUsize::new(0);
    let server = Server::start(move |_, seen| match (is_login(seen), seen.method.as_str()) {
        // These are about to end, so that each request fetches its own: two reads do, the change does not.
        (true, _) if fetched.fetch_add(1, Ordering::Relaxed) < 2 => token(0, 4, "write"),
        (true, _) => error(500, "Server Error"),
        (false, "GET") => says(200, &issue(5)),
        (false, _) => panic!("{seen:?}"),
    })
    .await;
    let connected = connect(&as_app(&server, KEY_PEM)).unwrap();
    let seen = Sighting::Checklist(read_checklist(&connected).await);
    let permit = connected.gate.permit().await.unwrap();
    let reply = connected.checklist.unwrap().close(order_seen(Step::CloseChecklist, seen), permit).await;
    assert_eq!(reply, WriteReply::NotApplied(Trouble::Unavailable.into()));
    assert_eq!((logins(&server), server.count()), (3, 5));
}

#[tokio::test]
async fn what_is_wrong_with_the_app_is_named() {
    let repository = json!({"has_issues": true, "permissions": {"push": false}});
    let probe = async |login: Act, system: System| {
        let repository = repository.clone();
        let server = Server::start(move |_, seen| match asked(seen).1 {
            _ if is_login(seen) => login.clone(),
            "/repos/acme/shop" => says(200, &repository),
            _ => labels(),
        })
        .await;
        connect(&as_app(&server, KEY_PEM)).unwrap().prober.probe(system).await
    };
    for (login, expected) in [
        (error(401, "A JSON web token could not be decoded"), "github.app.privateKeySecretRef"),
        (error(403, "This installation has been suspended"), "github.app.installationId"),
        (error(404, "Not Found"), "github.app.installationId"),
        (error(422, "There is at least one repository that does not exist"), "github.repository"),
        (token(0, 60, "read"), "github.app.installationId"),
        (token(0, 60, ""), "github.app.installationId"),
    ] {
        let found = probe(login.clone(), System::Tracker).await;
        assert!(matches!(found, Probe::Unfit { setting, .. } if setting == expected), "{login:?}: {found:?}");
    }
    assert_eq!(probe(token(0, 60, "write"), System::Tracker).await, Probe::Ready);
    assert_eq!(probe(token(0, 60, "read"), System::Governance).await, Probe::Ready);
    for (login, trouble, seconds) in [
        (error(500, "Server Error"), Trouble::Unavailable, None),
        (error(403, "You have exceeded a secondary rate limit."), Trouble::TooManyRequests, Some(60)),
        (says(201, &json!({"token": "x"})), Trouble::NotUnderstood, None),
        (says(201, &json!({"token": "a b", "expires_at": in_minutes(60)})), Trouble::NotUnderstood, None),
        (says(201, &json!({"token": "a", "expires_at": "-009999-01-02T00:00:00Z"})), Trouble::NotUnderstood, None),
    ] {
        let why = Unreachable { trouble, retry_after: seconds.map(Duration::from_secs) };
        assert_eq!(probe(login.clone(), System::Tracker).await, Probe::Failed(why), "{login:?}");
    }
}

/// The App's comments are those that no person wrote, and that it wrote.
#[tokio::test]
async fn an_apps_marks_are_in_its_own_comments() {
    let link = "- [b](<https://a/b>) `sha256:11` <!-- releaseclosure:AttachEvidence key=k uid=u -->";
    let by = |kind: &str, app: Value| json!([{"id": 1, "body": link, "user": {"id": 9, "login": "x", "type": kind}, "performed_via_github_app": app}]);
    for (comments, ours) in [
        (by("Bot", json!({"id": 12_345})), true),
        (by("Bot", json!({"id": 12_346})), false),
        (by("Bot", Value::Null), false),
        // A person who used the App.
        (by("User", json!({"id": 12_345})), false),
    ] {
        let told = comments.to_string();
        let server = hub(60, "write", move |seen| match seen.target.contains("/comments?") {
            true => says(200, &comments),
            false => says(200, &with(issue(5), json!({"comments": 1}))),
        })
        .await;
        let connected = connect(&as_app(&server, KEY_PEM)).unwrap();
        let Observation::Found(record, _) = read_tracker(&connected).await else { panic!("{told}") };
        assert_eq!(record.evidence[0].marking != Marking::Unmarked, ours, "{told}");
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_named_and_not_shown() {
    let server = Server::always(page(500)).await;
    for key in ["", "secret-words", TOKEN, OTHER_KIND, &KEY_PEM[..400]] {
        let refused = connect(&as_app(&server, key)).err().unwrap();
        assert!(matches!(refused, Refused::Setting { setting: "github.app.privateKeySecretRef", .. }), "{refused}");
        assert!(key.is_empty() || !refused.to_string().contains(key));
    }
    assert_eq!(server.count(), 0);
}
