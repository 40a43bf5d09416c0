//! The fault proxy itself, in front of a server of a few lines that counts.

use crate::fault_proxy::{Answer, Cut, FaultProxy, Gate, Then, When, patiently};
use crate::systems::http::Http;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What was served, what was told, and the fault.
type Fate = (Option<u16>, Option<u16>, Option<&'static str>);

/// A server that counts its writes and tells the count.
struct Bench {
    writes: Arc<AtomicUsize>,
    proxy: FaultProxy,
    client: Http,
}

async fn count(State(writes): State<Arc<AtomicUsize>>, method: axum::http::Method) -> (StatusCode, HeaderMap, String) {
    let read = method == axum::http::Method::GET || method == axum::http::Method::HEAD;
    let count = if read { writes.load(Ordering::SeqCst) } else { writes.fetch_add(1, Ordering::SeqCst) + 1 };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().expect("a value"));
    headers.insert("etag", format!("\"{count}\"").parse().expect("a value"));
    (StatusCode::OK, headers, format!("{{\"count\": \"{count:04}\", \"padding\": \"{}\"}}", "x".repeat(100)))
}

impl Bench {
    async fn new() -> Bench {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let upstream = format!("http://{}", listener.local_addr().expect("an address"));
        let writes = Arc::new(AtomicUsize::new(0));
        let router = Router::new().fallback(any(count)).with_state(writes.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let proxy = FaultProxy::before(&upstream).await;
        let client = Http::new(proxy.url());
        Bench { writes, proxy, client }
    }

    fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// Waits for a write that nobody waits for.
    async fn written(&self, writes: usize) {
        let there = async {
            while self.writes() < writes {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        patiently("a write", there).await;
    }

    /// What became of one request.
    fn fate(&self, number: usize) -> Fate {
        let seen = self.proxy.log()[number].clone();
        (seen.served, seen.told, seen.fault)
    }

    /// A PATCH over a bare socket, and everything that comes back.
    async fn raw(&self) -> std::io::Result<String> {
        let address = self.proxy.url().replace("http://", "");
        let mut stream = TcpStream::connect(&address).await?;
        let request = format!("PATCH /x HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await?;
        Ok(String::from_utf8_lossy(&reply).into_owned())
    }
}

#[tokio::test]
async fn without_rules_everything_passes_and_is_logged() {
    let bench = Bench::new().await;
    let reply = bench.client.with("x-mark", "m").patch("/a?b=c", &serde_json::json!({"d": 1})).await;
    assert_eq!((reply.status, reply.header("etag")), (200, Some("\"1\"")));
    assert_eq!(bench.client.send("HEAD", "/a", "").await.header("content-length"), Some("132"));
    let log = bench.proxy.log();
    assert_eq!((&*log[0].asked.path, &*log[0].asked.text()), ("/a?b=c", "{\"d\":1}"));
    assert_eq!(log[0].asked.headers["x-mark"], "m");
    assert_eq!(bench.fate(0), (Some(200), Some(200), None));
    bench.proxy.forget();
    assert!(bench.proxy.log().is_empty());
}

#[tokio::test]
async fn a_drop_is_without_a_byte_before_or_after() {
    for (then, writes, served) in [(Then::DropBefore(Cut::Close), 0, None), (Then::DropAfter(Cut::Close), 1, Some(200))]
    {
        let bench = Bench::new().await;
        bench.proxy.on(When::any(), then);
        assert_eq!(bench.raw().await.expect("an orderly close"), "");
        assert_eq!((bench.writes(), bench.fate(0).0, bench.fate(0).1), (writes, served, None));
    }
}

#[tokio::test]
async fn a_drop_may_be_a_reset() {
    for (then, writes) in [(Then::DropBefore(Cut::Reset), 0), (Then::DropAfter(Cut::Reset), 1)] {
        let bench = Bench::new().await;
        bench.proxy.on(When::any(), then);
        let broken = bench.raw().await.expect_err("a reset");
        assert_eq!((broken.kind(), bench.writes()), (std::io::ErrorKind::ConnectionReset, writes));
    }
}

#[tokio::test]
async fn rules_are_chosen_by_method_path_body_and_number() {
    let bench = Bench::new().await;
    let answer = |status| Then::Answer(Answer::status(status));
    bench.proxy.on(When::method("PATCH").path(r"^/a/\d+$").nth(2), answer(409));
    bench.proxy.on(When::method("PATCH").body("bad").times(1), answer(412));
    let patch = async |path: &str, body: &'static str| bench.client.send("PATCH", path, body).await.status;
    assert_eq!(patch("/a/1", "").await, 200, "the first");
    assert_eq!(patch("/a/b", "").await, 200, "another path");
    assert_eq!(patch("/a/2", "").await, 409, "the second");
    assert_eq!(patch("/a/3", "").await, 200, "the third");
    assert_eq!(patch("/b", "bad").await, 412, "once");
    assert_eq!(patch("/b", "bad").await, 200, "not twice");
    assert_eq!(bench.writes(), 4);
    bench.proxy.on(When::any(), answer(503));
    assert_eq!(patch("/c", "").await, 503);
    bench.proxy.heal();
    assert_eq!(patch("/c", "").await, 200);
}

#[tokio::test]
async fn an_answer_stands_before_or_after_the_deed() {
    let bench = Bench::new().await;
    let limited = Answer::status(429).retry_after("7");
    bench.proxy.on(When::any().nth(1), Then::Answer(limited));
    bench.proxy.on(When::any().times(1), Then::AnswerAfter(Answer::status(502).body("<html>")));
    let reply = bench.client.send("PATCH", "/", "").await;
    assert_eq!((reply.status, reply.header("retry-after"), bench.writes()), (429, Some("7"), 0));
    let reply = bench.client.send("PATCH", "/", "").await;
    assert_eq!((reply.status, &*reply.text, bench.writes()), (502, "<html>", 1));
    bench.proxy.on(When::any().times(1), Then::Answer(Answer::redirect(301, "http://elsewhere.example/")));
    let reply = bench.client.send("PATCH", "/", "").await;
    assert_eq!((reply.status, reply.header("location")), (301, Some("http://elsewhere.example/")));
}

#[tokio::test]
async fn what_is_delayed_or_held_happens_though_nobody_waits() {
    let bench = Bench::new().await;
    let gate = Gate::default();
    bench.proxy.on(When::any().nth(1), Then::Hold(gate.clone()));
    bench.proxy.on(When::any(), Then::Delay(Duration::from_millis(30)));
    let client = bench.client.clone();
    let hasty = tokio::spawn(async move { client.send("PATCH", "/held", "").await.status });
    gate.reached_by(1).await;
    hasty.abort();
    assert!(hasty.await.expect_err("it gave up").is_cancelled());
    assert_eq!(bench.client.send("PATCH", "/delayed", "").await.status, 200);
    assert_eq!(bench.writes(), 1, "the held one has not happened");
    gate.open();
    bench.written(2).await;
}

#[tokio::test]
async fn a_reply_is_held_after_the_deed() {
    let bench = Bench::new().await;
    let gate = Gate::default();
    bench.proxy.on(When::any(), Then::HoldAfter(gate.clone()));
    let client = bench.client.clone();
    let caller = tokio::spawn(async move { client.send("PATCH", "/held", "").await });
    gate.reached_by(1).await;
    assert_eq!((bench.writes(), bench.fate(0).0, bench.fate(0).1), (1, Some(200), None));
    gate.open();
    assert_eq!(caller.await.expect("it ends").status, 200);
    bench.proxy.heal();
    bench.proxy.on(When::any(), Then::DelayAfter(Duration::from_secs(3600)));
    tokio::select! {
        _ = bench.raw() => panic!("a reply"),
        () = bench.written(2) => {}
    }
}

#[tokio::test]
async fn a_body_is_spoilt_cut_off_renamed_or_changed() {
    let bench = Bench::new().await;
    for then in [
        Then::Garbage,
        Then::Truncate(10),
        Then::ContentType("text/html"),
        Then::change(|body| body.replace("count", "sum")),
    ] {
        bench.proxy.on(When::any().times(1), then);
    }
    // A rule that is used up still counts, so each is asked for in its turn.
    let garbage = bench.client.get("/").await;
    assert_eq!((garbage.status, garbage.json()), (200, serde_json::Value::Null));
    let raw = bench.raw().await.expect("an orderly close");
    let (head, body) = raw.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("content-length: 132"), "{head}");
    assert_eq!(body, "{\"count\": ", "ten bytes");
    let renamed = bench.client.get("/").await;
    assert_eq!((renamed.header("content-type"), renamed.json()["padding"].is_string()), (Some("text/html"), true));
    assert!(bench.client.get("/").await.text.contains("\"sum\""));
    assert!(bench.client.get("/").await.text.contains("\"count\""));
}

#[tokio::test]
async fn a_truncated_reply_is_an_error_for_an_ordinary_client() {
    let bench = Bench::new().await;
    bench.proxy.on(When::any().nth(1), Then::Truncate(10));
    assert!(bench.client.try_send("GET", "/", "").await.is_err());
    assert_eq!(bench.client.get("/").await.status, 200);
}

#[tokio::test]
async fn an_old_reply_is_told_again() {
    let bench = Bench::new().await;
    assert!(bench.client.get("/a").await.text.contains("0000"));
    bench.client.send("PATCH", "/a", "").await;
    bench.proxy.on(When::method("GET").path("^/a$").times(2), Then::Stale);
    assert!(bench.client.get("/a").await.text.contains("0000"), "as before the write");
    assert!(bench.client.get("/a").await.text.contains("0000"));
    assert!(bench.client.get("/a").await.text.contains("0001"), "in the end it is consistent");
    assert_eq!(bench.fate(2), (None, Some(200), Some("stale")));
}

#[tokio::test]
async fn something_happens_between_read_and_write() {
    let bench = Bench::new().await;
    let writes = bench.writes.clone();
    let person = move || {
        let writes = writes.clone();
        async move {
            writes.fetch_add(10, Ordering::SeqCst);
        }
    };
    bench.proxy.on(When::method("PATCH").nth(1), Then::meanwhile(person));
    assert!(bench.client.send("PATCH", "/", "").await.text.contains("0011"));
    assert!(bench.client.send("PATCH", "/", "").await.text.contains("0012"));
}

#[tokio::test]
async fn a_server_that_is_gone_is_a_connection_that_is_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let gone = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let proxy = FaultProxy::before(&gone).await;
    assert!(Http::new(proxy.url()).try_send("GET", "/", "").await.is_err());
    assert_eq!((proxy.log()[0].served, proxy.log()[0].told), (None, None));
}
