//! The server, spoken to over sockets.

use super::*;
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Namespace, name, and how long the body was.
type Came = (String, String, Result<usize, Outcome>);

/// Keeps what came in; answers as it is told.
struct Kept {
    came: Mutex<Vec<Came>>,
    outcome: Outcome,
    gate: Semaphore,
}

#[async_trait]
impl Desk for Kept {
    async fn take(&self, delivery: Delivery) -> Outcome {
        let Delivery { namespace, name, headers: _, body } = delivery;
        let failed = body.as_ref().err().copied();
        self.came.lock().unwrap().push((namespace, name, body.map(|body| body.len())));
        if failed != Some(Outcome::Busy) {
            self.gate.acquire().await.unwrap().forget();
        }
        failed.unwrap_or(self.outcome)
    }
}

struct Serving {
    address: SocketAddr,
    desk: Arc<Kept>,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

async fn serving(outcome: Outcome, open: usize) -> Serving {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let desk = Arc::new(Kept { came: Mutex::default(), outcome, gate: Semaphore::new(open) });
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = serve(listener, desk.clone(), async move { drop(stopped.await) });
    Serving { address, desk, stop, task: tokio::spawn(served) }
}

async fn say(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has heard enough may hang up before the end.
    let _ = stream.write_all(request).await;
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    String::from_utf8(reply).unwrap()
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn status(reply: &str) -> &str {
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{reply:?}"));
    assert_eq!(body, "", "no answer has a body");
    &head[9..12]
}

#[tokio::test]
async fn a_delivery_is_answered_with_a_plain_status() {
    for (outcome, expected) in [
        (Outcome::Created, "204"),
        (Outcome::Replayed, "204"),
        (Outcome::WronglySigned, "403"),
        (Outcome::Stale, "403"),
        (Outcome::Unknown, "403"),
        (Outcome::Unavailable, "503"),
    ] {
        let serving = serving(outcome, 1).await;
        let reply = say(serving.address, &post("/feeds/payments/governance", "{}")).await;
        assert_eq!(status(&reply), expected);
        assert_eq!(reply.contains("retry-after: 5"), expected == "503", "{reply}");
        let came = serving.desk.came.lock().unwrap().clone();
        assert_eq!(came, [("payments".to_owned(), "governance".to_owned(), Ok(2))]);
    }
}

#[tokio::test]
async fn there_is_one_path_and_one_method() {
    let serving = serving(Outcome::Created, 9).await;
    for path in ["/", "/feeds", "/feeds/a", "/feeds/a/", "/feeds//b", "/feeds/a/b/c", "/feeds/A/b", "/feeds/a/%2e%2e"] {
        assert_eq!(status(&say(serving.address, &post(path, "{}")).await), "404", "{path}");
    }
    let get = b"GET /feeds/a/b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&say(serving.address, get).await), "405");
    assert_eq!(serving.desk.came.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_body_has_at_most_one_mebibyte() {
    let serving = serving(Outcome::Created, 9).await;
    assert_eq!(status(&say(serving.address, &post("/feeds/a/b", &"x".repeat(BODY_MAX))).await), "204");
    assert_eq!(status(&say(serving.address, &post("/feeds/a/b", &"x".repeat(BODY_MAX + 1))).await), "413");
    let mut chunked =
        b"POST /feeds/a/b HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    chunked.extend(format!("{:x}\r\n{}\r\n0\r\n\r\n", BODY_MAX + 1, "x".repeat(BODY_MAX + 1)).bytes());
    assert_eq!(status(&say(serving.address, &chunked).await), "413");
    let bodies: Vec<_> = serving.desk.came.lock().unwrap().iter().map(|(.., body)| *body).collect();
    assert_eq!(bodies, [Ok(BODY_MAX), Err(Outcome::TooLarge), Err(Outcome::TooLarge)]);
}

#[tokio::test]
async fn more_than_there_is_room_for_come_later_and_what_is_under_way_is_let_finish() {
    let serving = serving(Outcome::Created, 0).await;
    let address = serving.address;
    let deliver = || tokio::spawn(async move { say(address, &post("/feeds/a/b", "{}")).await });
    let held: Vec<_> = (0..DELIVERIES_MAX).map(|_| deliver()).collect();
    while serving.desk.came.lock().unwrap().len() < DELIVERIES_MAX {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&deliver().await.unwrap()), "503");
    serving.stop.send(()).unwrap();
    // Nobody new is let in.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    serving.desk.gate.add_permits(DELIVERIES_MAX);
    for delivery in held {
        assert_eq!(status(&delivery.await.unwrap()), "204");
    }
    serving.task.await.unwrap();
}

/// What comes back within a minute; in a time that goes on as soon as nothing else does.
async fn comes_back(stream: &mut TcpStream) -> Option<String> {
    let mut reply = Vec::new();
    let ended = tokio::time::timeout(6 * PATIENCE, stream.read_to_end(&mut reply)).await;
    ended.ok().map(|_| String::from_utf8(reply).unwrap())
}

#[tokio::test]
async fn who_does_not_finish_a_head_or_a_body_is_not_waited_for() {
    let serving = serving(Outcome::Created, 1).await;
    let mut slow = TcpStream::connect(serving.address).await.unwrap();
    slow.write_all(b"POST /feeds/payments/one HTTP/1.1\r\nhost:").await.unwrap();
    tokio::time::pause();
    assert_eq!(comes_back(&mut slow).await.as_deref(), Some(""), "of a head that never came");
    assert!(serving.desk.came.lock().unwrap().is_empty());

    tokio::time::resume();
    let mut slow = TcpStream::connect(serving.address).await.unwrap();
    let head = "POST /feeds/payments/one HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    let told = "HTTP/1.1 100 Continue\r\n\r\n";
    let mut first = vec![0; told.len()];
    slow.read_exact(&mut first).await.unwrap();
    assert_eq!(first, told.as_bytes(), "its body is waited for");
    slow.write_all(b"four").await.unwrap();
    tokio::time::pause();
    let reply = comes_back(&mut slow).await.expect("an answer");
    assert_eq!(status(&reply), "403");
    let came = serving.desk.came.lock().unwrap().clone();
    assert_eq!(came, [("payments".to_owned(), "one".to_owned(), Err(Outcome::Malformed))]);
}
