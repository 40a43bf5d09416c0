use super::server::{Act, Seen, Server, json, page, problem, reply};
use super::*;
use crate::closure::ids::System;
use crate::closure::snapshot::{Artifact, Marker, Marking, Observation, Progress, Revision};
use crate::roles::{HandoffSighting, Probe};

async fn checklist_at(server: &Server) -> Observation<crate::closure::snapshot::ChecklistRecord> {
    connected(server).checklist.unwrap().checklist(subject(Some("CHK-1")), None).await
}

async fn checklist_after(act: Act) -> Observation<crate::closure::snapshot::ChecklistRecord> {
    checklist_at(&Server::always(act).await).await
}

#[tokio::test]
async fn every_role_reads_its_record() {
    let server = Server::start(|_, seen: &Seen| {
        json(match seen.target.as_str() {
            "/closure/v1/reviews/RR-2" => REVIEW,
            "/closure/v1/bundles/payments%2F2026.11.3%2Frv3" => BUNDLE,
            "/closure/v1/checklists/CHK-1" => CHECKLIST,
            "/closure/v1/releases/REL-1" => RELEASE,
            "/closure/v1/queue-entries/Q-9" => QUEUE,
            other => panic!("{other}"),
        })
    })
    .await;
    let connected = connected(&server);
    let revision = Revision("\"7\"".into());

    let Observation::Found(review, at) =
        connected.governance.as_ref().unwrap().review(subject(Some("RR-2")), None).await
    else {
        panic!()
    };
    assert_eq!((review.id.as_str(), review.version.as_str(), review.state.as_str()), ("RR-2", "3", "Accepted"));
    assert_eq!(review.release.version.as_deref(), Some("2026.11.3"));
    assert_eq!(review.milestone.unwrap().title, "2026.11 é");
    assert_eq!(review.evidence.unwrap(), ("payments/2026.11.3/rv3".into(), "md5:foreign".into()));
    assert_eq!((review.accepted_event.as_deref(), &at), (Some("5f0c"), &revision));

    let bundle = subject(Some("payments/2026.11.3/rv3"));
    let Observation::Found(bundle, _) = connected.archive.as_ref().unwrap().bundle(bundle, None).await else {
        panic!()
    };
    let artifact = |kind: &str, digest: Option<&str>| Artifact { kind: kind.into(), digest: digest.map(Into::into) };
    assert_eq!(bundle.artifacts, [artifact("sign-off", Some("sha256:11")), artifact("notes", None)]);
    assert!(bundle.plaintext_allowed);

    let Observation::Found(checklist, at) = checklist_at(&server).await else { panic!() };
    assert_eq!((checklist.open_items.as_slice(), at), (["i2".to_owned()].as_slice(), revision.clone()));
    assert_eq!((checklist.state, checklist.marking), (Progress::ToDo("Open".into()), Marking::Unmarked));

    let Observation::Found(release, _) =
        connected.tracker.as_ref().unwrap().release(subject(Some("REL-1")), None).await
    else {
        panic!()
    };
    assert_eq!((release.id.as_str(), release.milestone.id.as_str()), ("REL-1", "12"));

    let Observation::Found(entry, _) = connected.queue.as_ref().unwrap().entry(subject(Some("Q-9")), None).await else {
        panic!()
    };
    assert_eq!(entry.state, Progress::ToDo("Pending".into()));

    // Six requests over kept connections, with the token and without any offer of compression.
    assert!(server.sockets() < 6, "{}", server.sockets());
    for seen in server.seen() {
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
        assert_eq!(seen.header("accept-encoding"), Some("identity"));
        assert_eq!(seen.header("accept"), Some("application/json, application/problem+json"));
        assert_eq!((seen.method.as_str(), seen.body.as_str()), ("GET", ""));
    }
}

#[tokio::test]
async fn every_status_has_one_meaning_for_a_read() {
    let retry = |status, after: &str| reply(status, "text/html", &format!("retry-after: {after}\r\n"), "busy");
    let waits = |trouble: Trouble, seconds| Unreachable { trouble, retry_after: Some(Duration::from_secs(seconds)) };
    let cases = [
        (problem(404), Observation::Missing),
        (problem(410), Observation::Missing),
        (page(404), Observation::Unreachable(trouble(Trouble::NotUnderstood))),
        (reply(404, "application/json", "", "{}"), Observation::Unreachable(trouble(Trouble::NotUnderstood))),
        (reply(404, "application/problem+json", "", "gone"), Observation::Unreachable(trouble(Trouble::NotUnderstood))),
        (problem(400), Observation::Unreachable(trouble(Trouble::NotUnderstood))),
        (problem(422), Observation::Unreachable(trouble(Trouble::NotUnderstood))),
        (page(401), Observation::Unreachable(trouble(Trouble::Unauthorized))),
        (problem(403), Observation::Unreachable(trouble(Trouble::Forbidden))),
        (page(403), Observation::Unreachable(trouble(Trouble::Forbidden))),
        (page(429), Observation::Unreachable(trouble(Trouble::TooManyRequests))),
        (retry(429, "7"), Observation::Unreachable(waits(Trouble::TooManyRequests, 7))),
        (retry(429, "999999"), Observation::Unreachable(waits(Trouble::TooManyRequests, 3600))),
        (retry(429, "Fri, 20 Nov 2099 10:00:00 GMT"), Observation::Unreachable(waits(Trouble::TooManyRequests, 3600))),
        (retry(503, "7"), Observation::Unreachable(waits(Trouble::Unavailable, 7))),
        (retry(500, "7"), Observation::Unreachable(trouble(Trouble::Unavailable))),
        (page(408), Observation::Unreachable(trouble(Trouble::Unavailable))),
        (problem(423), Observation::Unreachable(trouble(Trouble::Unavailable))),
        (page(425), Observation::Unreachable(trouble(Trouble::Unavailable))),
        (page(502), Observation::Unreachable(trouble(Trouble::Unavailable))),
        (Act::Close, Observation::Unreachable(trouble(Trouble::Unavailable))),
        (Act::Say(b"HTTP/1.1 204 X\r\n\r\n".to_vec()), Observation::Unreachable(trouble(Trouble::NotUnderstood))),
        (
            reply(206, "application/json", "etag: \"7\"\r\n", CHECKLIST),
            Observation::Unreachable(trouble(Trouble::NotUnderstood)),
        ),
    ];
    for (act, expected) in cases {
        let said = format!("{act:?}");
        assert_eq!(checklist_after(act).await, expected, "{said}");
    }
}

#[tokio::test]
async fn a_reply_outside_the_contract_is_not_understood() {
    let cases = [
        reply(200, "text/html", "etag: \"7\"\r\n", CHECKLIST),
        reply(200, "application/problem+json", "etag: \"7\"\r\n", CHECKLIST),
        Act::Say(
            format!("HTTP/1.1 200 X\r\netag: \"7\"\r\ncontent-length: {}\r\n\r\n{CHECKLIST}", CHECKLIST.len()).into(),
        ),
        reply(200, "application/json", "", CHECKLIST),
        reply(200, "application/json", "etag: W/\"7\"\r\n", CHECKLIST),
        reply(200, "application/json", "etag: 7\r\n", CHECKLIST),
        reply(200, "application/json", "etag: \"\r\n", CHECKLIST),
        reply(200, "application/json", "etag: \"a\"b\"\r\n", CHECKLIST),
        reply(200, "application/json", &format!("etag: \"{}\"\r\n", "x".repeat(127)), CHECKLIST),
        reply(200, "application/json", "etag: \"7\"\r\ncontent-encoding: gzip\r\n", CHECKLIST),
        json("<html>"),
        json(""),
        json("null"),
        json(&format!("{CHECKLIST} trailing")),
        json(&CHECKLIST.replace("CHK-1", "../admin")),
        json(&CHECKLIST.replace("CHK-1", "..")),
        json(&CHECKLIST.replace("CHK-1", "a@b")),
        json(&CHECKLIST.replace("CHK-1", &"x".repeat(129))),
        json(&CHECKLIST.replace("r-1", "")),
        json(&CHECKLIST.replace("i2", "i 2")),
        json(&CHECKLIST.replace("\"Open\"", "1")),
        json(&CHECKLIST.replace("Open", &"x".repeat(257))),
        json(&CHECKLIST.replace("null", "\"r-1@RR-2@3\"")),
        json(&CHECKLIST.replace("null", r#"{"key":"k"}"#)),
        json(&CHECKLIST.replace(r#""id":"CHK-1","#, r#""id":"CHK-1","id":"CHK-2","#)),
        json(&CHECKLIST.replace("[{", &format!("[{}{{", r#"{"id":"i","done":true},"#.repeat(999)))),
    ];
    for act in cases {
        let said = format!("{act:?}");
        let said = if let Act::Say(bytes) = &act { String::from_utf8_lossy(bytes).into_owned() } else { said };
        assert_eq!(
            checklist_after(act).await,
            Observation::Unreachable(trouble(Trouble::NotUnderstood)),
            "{}",
            said.chars().take(400).collect::<String>()
        );
    }
    // A thousand items are not too many, and the longest entity tag that a status keeps is not too long.
    let thousand = CHECKLIST.replace("[{", &format!("[{}{{", r#"{"id":"i","done":true},"#.repeat(998)));
    let tag = format!("etag: \"{}\"\r\n", "x".repeat(126));
    assert!(matches!(checklist_after(reply(200, "application/json", &tag, &thousand)).await, Observation::Found(..)));
}

#[tokio::test]
async fn records_that_are_never_written_need_no_entity_tag() {
    let server = Server::always(reply(200, "application/json", "", REVIEW)).await;
    let governance = connected(&server).governance.unwrap();
    let Observation::Found(_, revision) = governance.review(subject(Some("RR-2")), None).await else { panic!() };
    assert_eq!(revision, Revision(String::new()));
}

#[tokio::test]
async fn a_word_that_is_neither_is_never_guessed() {
    for (word, state) in [
        ("Closed", Progress::Done("Closed".into())),
        ("closed", Progress::Other("closed".into())),
        ("Cleared", Progress::Other("Cleared".into())),
        ("", Progress::Other(String::new())),
    ] {
        let Observation::Found(record, _) = checklist_after(json(&CHECKLIST.replace("Open", word))).await else {
            panic!()
        };
        assert_eq!(record.state, state);
    }
}

#[tokio::test]
async fn absent_null_and_a_marker_are_three_things() {
    let mine = r#"{"key":"r-1@RR-2@3","uid":"u","since":1}"#;
    let by = Marking::By(Marker { key: "r-1@RR-2@3".into(), uid: "u".into() });
    for (body, marking) in [
        (CHECKLIST.replace(",\"closure\":null", ""), Marking::NotCarried),
        (CHECKLIST.to_owned(), Marking::Unmarked),
        (CHECKLIST.replace("null", mine), by),
    ] {
        let Observation::Found(record, _) = checklist_after(json(&body)).await else { panic!("{body}") };
        assert_eq!(record.marking, marking);
    }
}

#[tokio::test]
async fn a_look_up_needs_exactly_one_record() {
    for (items, expected) in [
        (r#"{"items":[],"next":null}"#, Observation::Missing),
        (r#"{"items":[{"id":"Q-1"},{"id":"Q-2"},{"id":"Q-3"}]}"#, Observation::Ambiguous(3)),
        (r#"{"items":[{"id":"a/../b"}]}"#, Observation::Unreachable(trouble(Trouble::NotUnderstood))),
        (r#"{"items":null}"#, Observation::Unreachable(trouble(Trouble::NotUnderstood))),
        (r#"[{"id":"Q-1"}]"#, Observation::Unreachable(trouble(Trouble::NotUnderstood))),
    ] {
        let server = Server::always(json(items)).await;
        assert_eq!(connected(&server).queue.unwrap().entry(subject(None), None).await, expected, "{items}");
        assert_eq!(server.seen()[0].target, "/closure/v1/queue-entries?release=r-1&reviewVersion=3");
        assert_eq!(server.count(), 1);
    }
    let server = Server::start(|at, _| json(if at == 0 { r#"{"items":[{"id":"REL-1"}]}"# } else { RELEASE })).await;
    let found = connected(&server).tracker.unwrap().release(subject(None), None).await;
    assert!(matches!(found, Observation::Found(..)));
    let targets: Vec<String> = server.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/closure/v1/releases?release=r-1", "/closure/v1/releases/REL-1"]);
    // No such path, or a record that went between the two.
    let server = Server::always(problem(404)).await;
    let found = connected(&server).tracker.unwrap().release(subject(None), None).await;
    assert_eq!(found, Observation::Unreachable(trouble(Trouble::NotUnderstood)));
    let server =
        Server::start(|at, _| if at == 0 { json(r#"{"items":[{"id":"REL-1"}]}"#) } else { problem(404) }).await;
    assert_eq!(connected(&server).tracker.unwrap().release(subject(None), None).await, Observation::Missing);
}

#[tokio::test]
async fn nothing_that_is_no_identifier_is_asked_for() {
    let server = Server::always(json(CHECKLIST)).await;
    let connected = connected(&server);
    for bad in ["", "..", "a/b", "a b", "a@b"] {
        let found = connected.checklist.as_ref().unwrap().checklist(subject(Some(bad)), None).await;
        assert_eq!(found, Observation::Unreachable(trouble(Trouble::NotUnderstood)), "{bad:?}");
        let found = connected.archive.as_ref().unwrap().bundle(subject(Some(&format!("x/{bad}/../y"))), None).await;
        assert_eq!(found, Observation::Unreachable(trouble(Trouble::NotUnderstood)), "{bad:?}");
    }
    assert!(connected.governance.unwrap().review(subject(None), None).await != Observation::Missing);
    assert_eq!(server.count(), 0);
    // What is one stays in its segment, whatever it looks like.
    for odd in ["%2e%2e", "a?x=", "a#b", "a;b", "a\\b", "a:b", "..%2f", "~x"] {
        let found = connected.checklist.as_ref().unwrap().checklist(subject(Some(odd)), None).await;
        assert!(matches!(found, Observation::Found(..)));
        let target = server.seen().last().unwrap().target.clone();
        let segment = target.strip_prefix("/closure/v1/checklists/").unwrap();
        assert!(!segment.contains(['/', '?', '#', '\\', ';']), "{target}");
    }
}

#[tokio::test]
async fn a_handoff_is_there_or_not_there_in_the_intakes_own_words() {
    let body = r#"{"key":"r-1@RR-2@3","receivedAt":"2026-11-20T10:00:00Z"}"#;
    for (act, expected) in [
        (json(body), HandoffSighting::There),
        (problem(404), HandoffSighting::NotThere),
        (page(404), HandoffSighting::Unreachable(trouble(Trouble::NotUnderstood))),
        (problem(405), HandoffSighting::Unreachable(trouble(Trouble::NotUnderstood))),
        (json(r#"{"key":"another"}"#), HandoffSighting::Unreachable(trouble(Trouble::NotUnderstood))),
        (page(500), HandoffSighting::Unreachable(trouble(Trouble::Unavailable))),
    ] {
        let server = Server::always(act).await;
        assert_eq!(connected(&server).intake.unwrap().handoff(KEY, None).await, expected);
        assert_eq!(server.seen()[0].target, "/closure/v1/handoffs/r-1%40RR-2%403");
    }
}

#[tokio::test]
async fn a_probe_asks_for_what_no_closure_uses() {
    let paths = ["reviews", "bundles", "checklists", "releases", "queue-entries", "handoffs"];
    for (system, path) in System::ALL.into_iter().zip(paths) {
        for (act, expected) in [
            (problem(404), Probe::Ready),
            (json("{}"), Probe::Ready),
            (page(404), Probe::Failed(trouble(Trouble::NotUnderstood))),
            (problem(405), Probe::Failed(trouble(Trouble::NotUnderstood))),
            (page(401), Probe::Failed(trouble(Trouble::Unauthorized))),
            (problem(403), Probe::Failed(trouble(Trouble::Forbidden))),
            (Act::Close, Probe::Failed(trouble(Trouble::Unavailable))),
        ] {
            let server = Server::always(act).await;
            assert_eq!(connected(&server).prober.probe(system).await, expected, "{system}");
            let seen = &server.seen()[0];
            assert_eq!(
                (seen.method.as_str(), seen.target.as_str()),
                ("GET", &*format!("/closure/v1/{path}/releaseclosure-probe"))
            );
        }
    }
    let server = Server::always(problem(405)).await;
    let mut settings = at(&server);
    let Product::Http { delivery, .. } = &mut settings.product else { unreachable!() };
    *delivery = Delivery::None;
    assert_eq!(connect(&settings).unwrap().prober.probe(System::Intake).await, Probe::Ready);
}

#[test]
fn abilities_are_told_per_role() {
    let connected = connect(&settings("http://127.0.0.1:1".into())).unwrap();
    for system in System::ALL {
        let abilities = connected.prober.abilities(system).unwrap();
        let written = matches!(system, System::Checklist | System::Tracker | System::Queue);
        assert_eq!((abilities.concurrency.is_some(), abilities.marker), (written, written.then_some(true)));
        assert_eq!(abilities.delivery.is_some(), system == System::Intake);
        assert_eq!(abilities.carries.contains(&"release.id"), !matches!(system, System::Intake));
        assert!(abilities.carries.len() <= 16 && abilities.window.is_none());
    }
}
