use super::orders::order_with;
use super::server::{Act, Server, json, page, problem, reply};
use super::*;
use crate::closure::snapshot::{Observation, Progress, Revision};
use crate::roles::{AnnounceReply, WriteReply};

#[tokio::test]
async fn a_close_is_one_conditional_patch_with_the_marker() {
    let server = Server::always(json(&CHECKLIST.replace("Open", "Closed"))).await;
    let connected = connected(&server);
    let reply = connected.checklist.as_ref().unwrap().close(close(), permit(&connected).await).await;
    let WriteReply::Answered(record, revision) = reply else { panic!("{reply:?}") };
    assert_eq!((record.state, revision), (Progress::Done("Closed".into()), Revision("\"7\"".into())));
    let [seen] = <[_; 1]>::try_from(server.seen()).unwrap();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("PATCH", "/closure/v1/checklists/CHK-1"));
    assert_eq!(seen.header("if-match"), Some("\"7\""));
    assert_eq!(seen.header("content-type"), Some("application/merge-patch+json"));
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(seen.body, r#"{"state":"Closed","closure":{"key":"r-1@RR-2@3","uid":"uid-9"}}"#);
}

#[tokio::test]
async fn every_answer_has_one_meaning_for_a_change() {
    let not_applied = |why| WriteReply::NotApplied(trouble(why));
    let unknown = |why| WriteReply::Unknown(trouble(why));
    let cases = [
        (problem(409), WriteReply::Conflict),
        (problem(412), WriteReply::Conflict),
        (problem(404), WriteReply::Gone),
        (problem(410), WriteReply::Gone),
        (problem(400), WriteReply::Refused),
        (problem(405), WriteReply::Refused),
        (problem(415), WriteReply::Refused),
        (problem(422), WriteReply::Refused),
        (problem(428), WriteReply::Refused),
        (page(400), unknown(Trouble::NotUnderstood)),
        (page(404), unknown(Trouble::NotUnderstood)),
        (page(409), unknown(Trouble::NotUnderstood)),
        (page(412), unknown(Trouble::NotUnderstood)),
        (page(401), not_applied(Trouble::Unauthorized)),
        (problem(403), not_applied(Trouble::Forbidden)),
        (page(429), not_applied(Trouble::TooManyRequests)),
        (problem(408), unknown(Trouble::Unavailable)),
        (problem(423), unknown(Trouble::Unavailable)),
        (problem(500), unknown(Trouble::Unavailable)),
        (page(502), unknown(Trouble::Unavailable)),
        (page(302), unknown(Trouble::NotUnderstood)),
        (page(200), unknown(Trouble::NotUnderstood)),
        (json("{}"), unknown(Trouble::NotUnderstood)),
        (reply(200, "application/json", "", CHECKLIST), unknown(Trouble::NotUnderstood)),
        (reply(202, "application/json", "etag: \"8\"\r\n", CHECKLIST), unknown(Trouble::NotUnderstood)),
        (Act::Say(b"HTTP/1.1 204 X\r\n\r\n".to_vec()), unknown(Trouble::NotUnderstood)),
        (Act::Close, unknown(Trouble::Unavailable)),
        (Act::Say(b"rubbish\r\n\r\n".to_vec()), unknown(Trouble::Unavailable)),
    ];
    for (act, expected) in cases {
        let said = format!("{act:?}");
        let server = Server::always(act).await;
        let connected = connected(&server);
        let reply = connected.checklist.as_ref().unwrap().close(close(), permit(&connected).await).await;
        assert_eq!(reply, expected, "{said}");
        assert_eq!(server.count(), 1, "sent once: {said}");
    }
}

#[tokio::test]
async fn every_answer_has_one_meaning_for_an_announcement() {
    let there = r#"{"key":"r-1@RR-2@3","receivedAt":"2026-11-20T10:00:00Z"}"#;
    let not_sent = |why| AnnounceReply::NotSent(trouble(why));
    let unknown = |why| AnnounceReply::Unknown(trouble(why));
    let cases = [
        (reply(201, "application/json", "", there), AnnounceReply::Accepted),
        (reply(200, "application/json", "", there), AnnounceReply::AlreadyThere),
        (reply(201, "application/json", "", r#"{"key":"other"}"#), unknown(Trouble::NotUnderstood)),
        (reply(202, "application/json", "", there), unknown(Trouble::NotUnderstood)),
        (page(200), unknown(Trouble::NotUnderstood)),
        (problem(409), AnnounceReply::Conflict),
        (problem(400), AnnounceReply::Refused),
        (problem(404), AnnounceReply::Refused),
        (problem(405), AnnounceReply::Refused),
        (problem(410), AnnounceReply::Refused),
        (problem(415), AnnounceReply::Refused),
        (problem(422), AnnounceReply::Refused),
        (problem(413), not_sent(Trouble::NotUnderstood)),
        (page(404), not_sent(Trouble::NotUnderstood)),
        (page(409), not_sent(Trouble::NotUnderstood)),
        (page(401), not_sent(Trouble::Unauthorized)),
        (problem(403), not_sent(Trouble::Forbidden)),
        (page(429), not_sent(Trouble::TooManyRequests)),
        (problem(408), unknown(Trouble::Unavailable)),
        (problem(423), unknown(Trouble::Unavailable)),
        (problem(425), unknown(Trouble::Unavailable)),
        (page(500), unknown(Trouble::Unavailable)),
        (page(307), unknown(Trouble::NotUnderstood)),
        (Act::Close, unknown(Trouble::Unavailable)),
    ];
    for (act, expected) in cases {
        let said = format!("{act:?}");
        let server = Server::always(act).await;
        let connected = connected(&server);
        let reply = connected.intake.as_ref().unwrap().announce(announce(), permit(&connected).await).await;
        assert_eq!(reply, expected, "{said}");
        let [seen] = <[_; 1]>::try_from(server.seen()).unwrap();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/closure/v1/handoffs"));
        assert_eq!(seen.header("idempotency-key"), Some(KEY));
        assert_eq!(seen.header("content-type"), Some("application/json"));
        let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
        assert_eq!(body, serde_json::to_value(handoff(Some("release-coordinators"))).unwrap());
    }
}

#[tokio::test]
async fn nothing_listening_means_that_nothing_was_applied() {
    let connected = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        connect(&settings(format!("http://{}", listener.local_addr().unwrap()))).unwrap()
    };
    let reply = connected.checklist.as_ref().unwrap().close(close(), permit(&connected).await).await;
    assert_eq!(reply, WriteReply::NotApplied(trouble(Trouble::Unavailable)));
    let reply = connected.intake.as_ref().unwrap().announce(announce(), permit(&connected).await).await;
    assert_eq!(reply, AnnounceReply::NotSent(trouble(Trouble::Unavailable)));
}

#[tokio::test]
async fn a_failed_handshake_means_that_nothing_was_applied() {
    let server = Server::always(page(200)).await;
    // The server speaks no TLS.
    let mut settings = hasty(&server);
    settings.product = Product::Http { endpoint: format!("https://{}", server.address), delivery: Delivery::None };
    let connected = connect(&settings).unwrap();
    let sender = tokio::spawn(async move {
        let permit = permit(&connected).await;
        connected.checklist.as_ref().unwrap().close(close(), permit).await
    });
    // The server waits for the end of a head that never comes. The time for connecting, half of the whole, ends it.
    assert_eq!(sender.await.unwrap(), WriteReply::NotApplied(trouble(Trouble::Unavailable)));
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_change_that_never_ends_is_of_unknown_fate() {
    let server = Server::always(Act::Hang).await;
    let connected = connect(&hasty(&server)).unwrap();
    let reply = connected.checklist.as_ref().unwrap().close(close(), permit(&connected).await).await;
    assert_eq!(reply, WriteReply::Unknown(trouble(Trouble::Unavailable)));
    let reply = connected.intake.as_ref().unwrap().announce(announce(), permit(&connected).await).await;
    assert_eq!(reply, AnnounceReply::Unknown(trouble(Trouble::Unavailable)));
}

#[tokio::test]
async fn an_order_for_somebody_else_is_not_sent() {
    let server = Server::always(json(CHECKLIST)).await;
    let connected = connected(&server);
    let clear = order(Step::ClearQueueEntry);
    let reply = connected.checklist.as_ref().unwrap().close(clear, permit(&connected).await).await;
    assert_eq!(reply, WriteReply::Refused);
    let other = order_with(Step::ApproveTracker, Vec::new(), "Done");
    let reply = connected.tracker.as_ref().unwrap().update(other, permit(&connected).await).await;
    assert_eq!(reply, WriteReply::Refused);
    let reply = connected.intake.as_ref().unwrap().announce(close(), permit(&connected).await).await;
    assert_eq!(reply, AnnounceReply::Refused);
    // Another connection's permit is no permit.
    let other = connect(&at(&server)).unwrap();
    let reply = connected.checklist.as_ref().unwrap().close(close(), permit(&other).await).await;
    assert_eq!(reply, WriteReply::NotApplied(trouble(Trouble::HeldBack)));
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn other_peoples_links_are_written_back_to_the_letter() {
    // Number formats, order, escapes, spaces and fields that nobody here knows.
    let links = [
        "{\"url\":\"https:\\/\\/a\\u002fb\", \"bundle\" : \"b/1\",\"digest\":\"d\",\"weight\":1.10e+02 ,\"n\":12345678901234567890123}",
        r#"{"bundle":"b/2","digest":"é\ud83d\ude00","url":"","closure":{"key":"x@y@z","uid":"u","at":[{"deep":null}]}}"#,
        r#"{"bundle":"b/3","digest":"d","url":"u","closure":null,"note":"]},\"{["}"#,
    ];
    let record = RELEASE.replace("[]", &format!("[ {} ,\n{},{}]", links[0], links[1], links[2]));
    let server = Server::always(json(&record)).await;
    let connected = connected(&server);
    let tracker = connected.tracker.as_ref().unwrap();
    let Observation::Found(read, _) = tracker.release(subject(Some("REL-1")), None).await else { panic!() };
    assert_eq!(read.evidence.iter().map(|link| link.as_read.as_str()).collect::<Vec<_>>(), links);
    assert_eq!(read.evidence[0].url, "https://a/b");
    let attach = order_with(Step::AttachEvidence, read.evidence, "Approved");
    let reply = tracker.update(attach, permit(&connected).await).await;
    assert!(matches!(reply, WriteReply::Answered(..)));
    let ours = r#"{"bundle":"p/1","digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","url":"https://archive.example.com/\"p","closure":{"key":"r-1@RR-2@3","uid":"uid-9"}}"#;
    let sent = server.seen().pop().unwrap();
    assert_eq!(sent.body, format!(r#"{{"evidence":[{},{},{},{ours}]}}"#, links[0], links[1], links[2]));
    assert_eq!((sent.method.as_str(), sent.target.as_str()), ("PATCH", "/closure/v1/releases/REL-1"));

    let approve = order(Step::ApproveTracker);
    tracker.update(approve, permit(&connected).await).await;
    let sent = server.seen().pop().unwrap();
    assert_eq!(sent.body, r#"{"state":"Approved","closure":{"key":"r-1@RR-2@3","uid":"uid-9"}}"#);
}
