//! A server that says exactly what a test wants said, byte by byte, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What to do about a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// These bytes; the connection stays.
    Say(Vec<u8>),
    /// These bytes, then the connection is closed.
    SayAndClose(Vec<u8>),
    /// These bytes, then one more byte every so often, for ever.
    Drip(Vec<u8>, Duration),
    /// Close without a word.
    Close,
    /// Nothing, for ever.
    Hang,
}

/// A reply with a content type, a strong tag and a body.
pub(crate) fn reply(status: u16, media: &str, more: &str, body: &str) -> Act {
    Act::Say(
        format!("HTTP/1.1 {status} X\r\ncontent-type: {media}\r\ncontent-length: {}\r\n{more}\r\n{body}", body.len())
            .into_bytes(),
    )
}

pub(crate) fn json(body: &str) -> Act {
    reply(200, "application/json", "etag: \"7\"\r\n", body)
}

pub(crate) fn problem(status: u16) -> Act {
    reply(status, "application/problem+json", "", r#"{"type":"about:blank"}"#)
}

pub(crate) fn page(status: u16) -> Act {
    reply(status, "text/html", "", "<h1>nginx</h1>")
}

/// Which request, by the order of arrival from 0, gets which answer.
type Script = dyn Fn(usize, &Seen) -> Act + Send + Sync;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    sockets: Arc<AtomicUsize>,
    busiest: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) async fn start(script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            sockets: Arc::default(),
            busiest: Arc::default(),
        };
        let (seen, sockets, busiest) = (server.seen.clone(), server.sockets.clone(), server.busiest.clone());
        let script: Arc<Script> = Arc::new(script);
        let busy = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                sockets.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(socket, script.clone(), seen.clone(), busy.clone(), busiest.clone()));
            }
        });
        server
    }

    /// The same answer to everything.
    pub(crate) async fn always(act: Act) -> Server {
        Server::start(move |_, _| act.clone()).await
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(crate) fn sockets(&self) -> usize {
        self.sockets.load(Ordering::SeqCst)
    }

    /// Most requests that were under way at one time.
    pub(crate) fn busiest(&self) -> usize {
        self.busiest.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut socket: TcpStream,
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
    busy: Arc<AtomicUsize>,
    busiest: Arc<AtomicUsize>,
) {
    let mut buffer = Vec::new();
    loop {
        let Some(request) = next(&mut socket, &mut buffer).await else { return };
        busiest.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let act = {
            let mut seen = seen.lock().unwrap();
            seen.push(request);
            script(seen.len() - 1, seen.last().unwrap())
        };
        // Long enough for requests that may overlap to do so.
        tokio::task::yield_now().await;
        let go_on = match act {
            Act::Say(bytes) => socket.write_all(&bytes).await.is_ok(),
            Act::SayAndClose(bytes) => {
                let _ = socket.write_all(&bytes).await;
                false
            }
            Act::Drip(bytes, pause) => {
                let _ = socket.write_all(&bytes).await;
                while socket.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(pause).await;
                }
                false
            }
            Act::Close => false,
            Act::Hang => {
                // Until the client gives up.
                let _ = socket.read(&mut [0; 1]).await;
                false
            }
        };
        busy.fetch_sub(1, Ordering::SeqCst);
        if !go_on {
            return;
        }
    }
}

async fn next(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        more(socket, buffer).await?;
    };
    let head = String::from_utf8(buffer.drain(..end).collect()).unwrap();
    let mut first = head.lines().next()?.split(' ');
    let mut request =
        Seen { method: first.next()?.to_owned(), target: first.next()?.to_owned(), head, body: String::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        more(socket, buffer).await?;
    }
    request.body = String::from_utf8(buffer.drain(..length).collect()).unwrap();
    Some(request)
}

async fn more(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 16 * 1024];
    let read = socket.read(&mut piece).await.ok().filter(|read| *read > 0)?;
    buffer.extend_from_slice(&piece[..read]);
    Some(())
}
