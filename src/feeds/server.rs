//! Takes deliveries in: `POST /feeds/<namespace>/<name>`, and nothing else.
//!
//! TLS is the business of whatever stands before it. **Guarantees:** so many connections and deliveries at once and no
//! more; a header, a body and an answer have their time; of a body at most [`BODY_MAX`] is read; no answer has a body.

use super::{Answer, Outcome};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Longest body, in bytes.
pub const BODY_MAX: usize = 1 << 20;
/// Connections at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 256;
/// Deliveries at once whose bodies are held.
pub const DELIVERIES_MAX: usize = 32;
/// How long a head, and then a body, may take to come in.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest head, in bytes.
const HEAD_MAX: usize = 32 << 10;
/// When a sender may try again, in seconds.
const RETRY_AFTER: &str = "5";

/// One delivery to one feed.
pub struct Delivery {
    /// Namespace of the feed.
    pub namespace: String,
    /// Name of the feed.
    pub name: String,
    /// As they came in.
    pub headers: HeaderMap,
    /// As it came in; or why it did not.
    pub body: Result<Bytes, Outcome>,
}

/// Whoever decides on deliveries.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// Says what became of a delivery.
    async fn take(&self, delivery: Delivery) -> Outcome;
}

/// Serves until told to stop; then what is under way is let finish.
pub async fn serve(listener: TcpListener, desk: Arc<dyn Desk>, stop: impl Future<Output = ()>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let room = Arc::new(Semaphore::new(DELIVERIES_MAX));
    let (ending, ended) = watch::channel(false);
    let mut under_way = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = connections.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            (accepted, place) = next => match accepted {
                Ok((stream, _)) => {
                    let served = connection(stream, desk.clone(), room.clone(), ended.clone());
                    under_way.spawn(async move {
                        served.await;
                        drop(place);
                    });
                }
                // Too many open files, or a connection that was gone before it was taken.
                Err(error) => {
                    tracing::warn!(%error, "a connection to the feeds was not taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = under_way.join_next() => {}
            () = &mut stop => break,
        }
    }
    drop(listener);
    let _ = ending.send(true);
    while under_way.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, desk: Arc<dyn Desk>, room: Arc<Semaphore>, mut ended: watch::Receiver<bool>) {
    let service = service_fn(|request| {
        let (desk, room) = (desk.clone(), room.clone());
        async move { Ok::<_, Infallible>(answer(request, &*desk, &room).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEAD_MAX);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // What goes wrong with a connection is its sender's to see.
    tokio::select! {
        _ = serving.as_mut() => {}
        () = async { drop(ended.wait_for(|ended| *ended).await) } => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}

async fn answer(request: Request<Incoming>, desk: &dyn Desk, room: &Semaphore) -> Response<Empty<Bytes>> {
    let Some((namespace, name)) = feed_of(request.uri().path()) else { return bare(StatusCode::NOT_FOUND) };
    if request.method() != Method::POST {
        let mut refused = bare(StatusCode::METHOD_NOT_ALLOWED);
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return refused;
    }
    let (head, body) = request.into_parts();
    let place = room.try_acquire();
    let body = if place.is_ok() { read(&head.headers, body).await } else { Err(Outcome::Busy) };
    let outcome = desk.take(Delivery { namespace, name, headers: head.headers, body }).await;
    match outcome.answer() {
        Answer::Done => bare(StatusCode::NO_CONTENT),
        Answer::Refused => bare(StatusCode::FORBIDDEN),
        Answer::TooLarge => bare(StatusCode::PAYLOAD_TOO_LARGE),
        Answer::Later => {
            let mut later = bare(StatusCode::SERVICE_UNAVAILABLE);
            later.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
            later
        }
    }
}

fn bare(status: StatusCode) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    response
}

/// `/feeds/<namespace>/<name>`: both are names of objects, which need no escapes.
fn feed_of(path: &str) -> Option<(String, String)> {
    let (namespace, name) = path.strip_prefix("/feeds/")?.split_once('/')?;
    let is_name = |text: &str| {
        (1..=253).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
    };
    (is_name(namespace) && is_name(name)).then(|| (namespace.to_owned(), name.to_owned()))
}

async fn read(headers: &HeaderMap, body: Incoming) -> Result<Bytes, Outcome> {
    let told = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told > BODY_MAX as u64) {
        return Err(Outcome::TooLarge);
    }
    match tokio::time::timeout(PATIENCE, Limited::new(body, BODY_MAX).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Outcome::TooLarge),
        Ok(Err(_)) | Err(_) => Err(Outcome::Malformed),
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
