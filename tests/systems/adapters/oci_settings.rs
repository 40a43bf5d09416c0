//! Who asks an OCI registry, and which of the settings does not fit it.

use super::oci::{REPOSITORY, at, look, store};
use crate::fault_proxy::{Answer, FaultProxy, Then, When};
use crate::systems::oci::{Kind, Oci, PASSWORD};
use crate::systems::oci_guard::{Guard, How};
use releaseclosure::closure::ids::System;
use releaseclosure::closure::snapshot::{Observation, Trouble};
use releaseclosure::providers::{Refused, connect};
use releaseclosure::roles::{Connected, Probe};
use serde_json::{Value, json};

const USER: [(&str, &str); 2] = [("username", "reader"), ("password", PASSWORD)];

fn user(more: Value) -> Value {
    let mut all =
        json!({"usernameSecretRef": {"name": "a", "key": "a"}, "passwordSecretRef": {"name": "a", "key": "b"}});
    all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    all
}

async fn probed(endpoint: &str, more: Value, secrets: &[(&'static str, &str)]) -> String {
    match connect(&at(endpoint, more, secrets)).expect("settings").prober.probe(System::Archive).await {
        Probe::Unfit { setting, .. } => setting.to_owned(),
        other => format!("{other:?}"),
    }
}

/// A registry with a bundle, a guard before it who knows the reader, and how they are connected.
async fn guarded(how: How) -> Option<(Oci, Guard, Connected)> {
    let oci = Oci::start(Kind::Conforming).await?;
    store(&oci).await;
    let guard = Guard::before(&oci.server.url(0), how).await;
    guard.admit("reader", PASSWORD);
    let more = match how {
        How::Basic => user(json!({})),
        How::Tokens => user(json!({"tokenEndpoint": format!("{}/token", guard.url())})),
    };
    let connected = connect(&at(&guard.url(), more, &USER)).expect("settings");
    Some((oci, guard, connected))
}

#[tokio::test]
async fn a_token_is_fetched_once_and_again_when_it_does_not_hold_any_more() {
    let Some((_oci, guard, connected)) = guarded(How::Tokens).await else { return };
    assert_eq!(connected.prober.probe(System::Archive).await, Probe::Ready);
    for _ in 0..2 {
        assert!(matches!(look(&connected).await, Observation::Found(..)));
    }
    assert_eq!(guard.fetched(), 1);
    guard.forget_tokens();
    assert!(matches!(look(&connected).await, Observation::Found(..)));
    assert_eq!(guard.fetched(), 2);
    // Whoever may not read gets a token, which says nothing: that is no reason to lock anybody out.
    guard.deny("reader");
    assert_eq!(look(&connected).await, Observation::Unreachable(Trouble::Forbidden.into()));
    let found = connected.prober.probe(System::Archive).await;
    assert!(matches!(found, Probe::Unfit { setting: "oci.usernameSecretRef", .. }), "{found:?}");
    guard.dismiss("reader");
    assert_eq!(look(&connected).await, Observation::Unreachable(Trouble::Unauthorized.into()));
    let found = connected.prober.probe(System::Archive).await;
    assert!(matches!(found, Probe::Unfit { setting: "oci.passwordSecretRef", .. }), "{found:?}");
}

#[tokio::test]
async fn nobody_gets_a_token_where_nobody_does() {
    let Some(oci) = Oci::start(Kind::Conforming).await else { return };
    store(&oci).await;
    let guard = Guard::before(&oci.server.url(0), How::Tokens).await;
    // The guard gives a token to whoever shows nothing, and none to whoever is wrong.
    let anybody = json!({"tokenEndpoint": format!("{}/token", guard.url())});
    let connected = connect(&at(&guard.url(), anybody.clone(), &[])).expect("settings");
    assert!(matches!(look(&connected).await, Observation::Found(..)));
    assert_eq!(probed(&guard.url(), user(anybody), &USER).await, "oci.passwordSecretRef");
}

#[tokio::test]
async fn no_request_goes_where_a_registry_says() {
    let Some((_oci, guard, connected)) = guarded(How::Tokens).await else { return };
    let elsewhere = FaultProxy::before(&guard.url()).await;
    guard.name_realm(&format!("{}/token", elsewhere.url()));
    assert_eq!(look(&connected).await, Observation::Unreachable(Trouble::Unauthorized.into()));
    let found = connected.prober.probe(System::Archive).await;
    assert!(matches!(found, Probe::Unfit { setting: "oci.tokenEndpoint", .. }), "{found:?}");
    assert_eq!((guard.fetched(), elsewhere.log().len()), (0, 0), "nobody went there, and nobody showed a password");
}

#[tokio::test]
async fn what_the_token_endpoint_says_is_heard() {
    let Some((_oci, guard, _)) = guarded(How::Tokens).await else { return };
    for (answer, expected, setting) in [
        (Answer::status(404), Trouble::Unauthorized, "oci.tokenEndpoint"),
        (Answer::status(403), Trouble::Unauthorized, "oci.passwordSecretRef"),
        (Answer::status(500), Trouble::Unavailable, "Failed"),
        (Answer::status(429).retry_after("7"), Trouble::TooManyRequests, "Failed"),
        (Answer::status(200).body("{}"), Trouble::NotUnderstood, "Failed"),
        (Answer::redirect(307, "/elsewhere"), Trouble::NotUnderstood, "Failed"),
    ] {
        let proxy = FaultProxy::before(&guard.url()).await;
        guard.name_realm(&format!("{}/token", proxy.url()));
        proxy.on(When::method("GET").path("^/token"), Then::Answer(answer.clone()));
        let more = || user(json!({"tokenEndpoint": format!("{}/token", proxy.url())}));
        let connected = connect(&at(&guard.url(), more(), &USER)).expect("settings");
        let Observation::Unreachable(why) = look(&connected).await else { panic!("{answer:?}") };
        assert_eq!(why.trouble, expected, "{answer:?}");
        assert!(probed(&guard.url(), more(), &USER).await.starts_with(setting), "{answer:?}");
        assert!(proxy.log().iter().all(|seen| seen.asked.path.starts_with("/token?")), "{answer:?}");
    }
}

#[tokio::test]
async fn a_wrong_setting_is_named() {
    for kind in [Kind::Conforming, Kind::WithoutReferrers] {
        let Some(oci) = Oci::start(kind).await else { return };
        store(&oci).await;
        let url = oci.server.url(0);
        assert_eq!(probed(&url, json!({}), &[]).await, "Ready", "{kind:?}");
        let nowhere = json!({"repository": "teams/shop/evidenz"});
        assert_eq!(probed(&url, nowhere, &[]).await, "oci.repository", "{kind:?}");
        // One of them has a word of its own for every path that it does not know.
        let beside = if kind == Kind::Conforming { "oci.repository" } else { "oci.endpoint" };
        assert_eq!(probed(&format!("{url}/registry"), json!({}), &[]).await, beside, "{kind:?}");
        let tokens = json!({"tokenEndpoint": format!("{url}/token")});
        assert_eq!(probed(&url, tokens, &[]).await, "oci.tokenEndpoint", "{kind:?}: it wants no token");
    }
    let Some((_oci, guard, _)) = guarded(How::Basic).await else { return };
    assert_eq!(probed(&guard.url(), json!({}), &[]).await, "oci.usernameSecretRef");
    let wrong = [("username", "reader"), ("password", "wrong")];
    assert_eq!(probed(&guard.url(), user(json!({})), &wrong).await, "oci.passwordSecretRef");
    guard.deny("reader");
    assert_eq!(probed(&guard.url(), user(json!({})), &USER).await, "oci.usernameSecretRef");
    let Some((_oci, guard, _)) = guarded(How::Tokens).await else { return };
    assert_eq!(probed(&guard.url(), user(json!({})), &USER).await, "oci.tokenEndpoint", "it wants tokens");
    let other = user(json!({"tokenEndpoint": format!("{}/other", guard.url())}));
    assert_eq!(probed(&guard.url(), other, &USER).await, "oci.tokenEndpoint");
}

#[test]
fn endpoints_are_guarded_both() {
    let refused = |endpoint: &str, more: Value, loopback: bool| {
        let mut settings = at(endpoint, more, &[]);
        (settings.allow_loopback, settings.allow_plaintext) = (loopback, false);
        connect(&settings).err()
    };
    let metadata = "https://169.254.169.254/token";
    assert!(matches!(refused(metadata, json!({}), true), Some(Refused::Endpoint(_))));
    for realm in [metadata, "http://auth.example.com/token", "https://localhost/token", "https://a:b@c.example/"] {
        let found = refused("https://registry.example.com", json!({ "tokenEndpoint": realm }), false);
        assert!(matches!(found, Some(Refused::Setting { setting: "oci.tokenEndpoint", .. })), "{realm}: {found:?}");
    }
    assert_eq!(
        refused("https://registry.example.com", json!({"tokenEndpoint": "https://auth.example.com/token"}), false),
        None
    );
}

#[tokio::test]
async fn no_secret_is_told() {
    let Some((_oci, guard, _)) = guarded(How::Tokens).await else { return };
    let proxy = FaultProxy::before(&guard.url()).await;
    let more = user(json!({"tokenEndpoint": format!("{}/token", proxy.url())}));
    let settings = at(&proxy.url(), more, &USER);
    let connected = connect(&settings).expect("settings");
    assert!(matches!(look(&connected).await, Observation::Found(..)));
    let shown = format!("{settings:?}");
    assert!(!shown.contains(PASSWORD) && !shown.contains("reader"));
    for seen in proxy.log() {
        assert!(!seen.asked.path.contains(PASSWORD), "{}", seen.asked.path);
        let shown = seen.asked.headers.get("authorization").map(|value| value.to_str().expect("text"));
        // The password goes to the token endpoint alone, and a token to the repository alone.
        match seen.asked.path.as_str() {
            "/v2/" => assert_eq!(shown, None),
            path if path.starts_with("/token?") => assert!(shown.is_some_and(|shown| shown.starts_with("Basic "))),
            path => {
                assert!(path.starts_with(&format!("/v2/{REPOSITORY}/")), "{path}");
                assert!(shown.is_some_and(|shown| shown.starts_with("Bearer token-")), "{path}");
            }
        }
    }
}
