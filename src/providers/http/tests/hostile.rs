use super::server::{Act, Server, json, page, reply};
use super::*;
use crate::closure::snapshot::Observation;

async fn read(settings: &Settings) -> Result<(), Trouble> {
    match connect(settings).unwrap().checklist.unwrap().checklist(subject(Some("CHK-1")), None).await {
        Observation::Found(..) => Ok(()),
        Observation::Unreachable(why) => Err(why.trouble),
        other => panic!("{other:?}"),
    }
}

fn head(more: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 X\r\ncontent-type: application/json\r\netag: \"7\"\r\n{more}\r\n").into_bytes()
}

#[tokio::test]
async fn a_byte_now_and_then_ends_at_the_timeout() {
    let drop_by_drop = Duration::from_millis(20);
    for (begin, expected) in [
        (head("content-length: 100000\r\n"), Trouble::Unavailable),
        (head(""), Trouble::Unavailable),
        (b"HTTP/1.1 200 OK\r\nx-slow: ".to_vec(), Trouble::Unavailable),
    ] {
        let server = Server::always(Act::Drip(begin, drop_by_drop)).await;
        assert_eq!(read(&hasty(&server)).await, Err(expected));
    }
    let server = Server::always(Act::Hang).await;
    assert_eq!(read(&hasty(&server)).await, Err(Trouble::Unavailable));
}

#[tokio::test]
async fn a_body_is_read_up_to_a_mebibyte() {
    let padded = |size: usize| CHECKLIST.replace("null", &format!("null,\"pad\":\"{}\"", "x".repeat(size)));
    let exact = padded((1 << 20) - padded(0).len());
    assert_eq!(exact.len(), 1 << 20);
    assert_eq!(read(&at(&Server::always(json(&exact)).await)).await, Ok(()));
    let over = padded((1 << 20) + 1 - padded(0).len());
    assert_eq!(read(&at(&Server::always(json(&over)).await)).await, Err(Trouble::NotUnderstood));
    // Without a length, and with one that promises more than anybody should hold.
    let mut chunked = head("transfer-encoding: chunked\r\n");
    let piece = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    chunked.extend(piece.repeat(64).bytes());
    assert_eq!(read(&at(&Server::always(Act::Say(chunked)).await)).await, Err(Trouble::NotUnderstood));
    let promised = Act::Say(head("content-length: 18446744073709551615\r\n"));
    assert!(read(&at(&Server::always(promised).await)).await.is_err());
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_not_understood() {
    let mut cut = head(&format!("content-length: {}\r\n", CHECKLIST.len() + 1));
    cut.extend(CHECKLIST.bytes());
    assert_eq!(read(&at(&Server::always(Act::SayAndClose(cut)).await)).await, Err(Trouble::NotUnderstood));
}

#[tokio::test]
async fn compression_that_nobody_asked_for_is_not_understood() {
    let bomb = Act::Say([head("content-encoding: gzip\r\ncontent-length: 4\r\n"), vec![0x1f, 0x8b, 8, 0]].concat());
    assert_eq!(read(&at(&Server::always(bomb).await)).await, Err(Trouble::NotUnderstood));
}

#[tokio::test]
async fn deep_json_costs_nothing_and_says_nothing() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        deep.clone(),
        CHECKLIST.replace("null", &format!("null,\"pad\":{deep}")),
        CHECKLIST.replace("null", &"{\"a\":".repeat(100_000)),
    ] {
        assert_eq!(read(&at(&Server::always(json(&body)).await)).await, Err(Trouble::NotUnderstood));
    }
    let link = format!(r#"[{{"bundle":"b","digest":"d","url":"u","x":{deep}}}]"#);
    let server = Server::always(json(&RELEASE.replace("[]", &link))).await;
    let found = connected(&server).tracker.unwrap().release(subject(Some("REL-1")), None).await;
    assert_eq!(found, Observation::Unreachable(trouble(Trouble::NotUnderstood)));
}

#[tokio::test]
async fn ten_thousand_headers_are_no_answer() {
    let many = (0..10_000).map(|at| format!("x-{at}: y\r\n")).collect::<String>();
    assert!(read(&at(&Server::always(reply(200, "application/json", &many, CHECKLIST)).await)).await.is_err());
    let one = format!("x: {}\r\n", "y".repeat(1 << 20));
    assert!(read(&at(&Server::always(reply(200, "application/json", &one, CHECKLIST)).await)).await.is_err());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let canary = Server::always(json(CHECKLIST)).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: http://{}/closure/v1/checklists/CHK-1\r\n", canary.address);
        let server = Server::always(reply(status, "application/json", &location, "{}")).await;
        assert_eq!(read(&at(&server)).await, Err(Trouble::NotUnderstood));
        assert_eq!(server.count(), 1);
    }
    assert_eq!(canary.sockets(), 0);
}

#[tokio::test]
async fn nothing_secret_is_printed() {
    let server = Server::always(page(500)).await;
    let mut settings = at(&server);
    settings.client_certificate_pem = Some(SecretString::from("-----BEGIN canary-key"));
    let printed = format!("{settings:?} {settings:#?}");
    assert!(!printed.contains("canary") && !printed.contains(TOKEN), "{printed}");
    let refused = connect(&settings).err().unwrap();
    assert!(!format!("{refused} {refused:?}").contains("canary"));
    settings.client_certificate_pem = None;
    for token in ["two words", "line\nfeed\nin it", "", "\u{e9}canary"] {
        settings.token = Some(SecretString::from(token));
        let refused = connect(&settings).err().unwrap();
        assert!(!format!("{refused} {refused:?}").contains("canary"));
    }
    let header = crate::providers::rest::client::bearer(&SecretString::from(TOKEN)).unwrap();
    assert!(!format!("{header:?}").contains(TOKEN), "nor does a client show its headers");
    settings.token = Some(SecretString::from(format!("{TOKEN}\n")));
    assert_eq!(read(&settings).await, Err(Trouble::Unavailable));
    assert_eq!(server.seen()[0].header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
}
