//! Replies as they go out, and the ways to spoil them.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Serialize;
use serde_json::Value;

use super::contract::{Content, Reply};
use super::faults::{Action, EtagMode, Injected, RetryAfter};
use super::problem::{Code, Problem};
use super::records;

/// The size of the pieces in which padding goes out.
const PIECE: usize = 64 * 1024;

/// A reply as it goes out, while its body is still in one piece.
#[derive(Debug)]
pub(super) struct Rendered {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

#[derive(Serialize)]
struct Items<'a> {
    items: Vec<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a Value>,
}

impl Rendered {
    /// Writes a reply out.
    pub(super) fn new(reply: &Reply) -> Rendered {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let (media_type, body) = match &reply.content {
            Content::One(value) => ("application/json", serde_json::to_vec(value.as_ref())),
            Content::Items { items, next } => {
                let items = items.iter().map(Arc::as_ref).collect();
                ("application/json", serde_json::to_vec(&Items { items, next: next.as_ref() }))
            }
            Content::Problem(problem) => ("application/problem+json", serde_json::to_vec(problem)),
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        if let Some(revision) = reply.revision {
            headers.extend(value(&records::etag(revision)).map(|value| (header::ETAG, value)));
        }
        if let Some(allow) = reply.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if reply.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // A JSON value of ours can always be written; an empty body would be the result if not.
        Rendered { status: reply.status, headers, body: body.unwrap_or_default() }
    }

    /// A reply that a rule made up.
    pub(super) fn injected(injected: &Injected) -> Rendered {
        let Injected { code, retry_after, problem } = injected;
        let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut rendered = if *problem {
            Rendered::new(&Reply::from(Problem::with_status(
                status,
                Code::Injected,
                "a fault rule asked for this reply",
            )))
        } else {
            page(status)
        };
        let retry_after = match retry_after {
            Some(RetryAfter::Seconds(seconds)) => Some(HeaderValue::from(*seconds)),
            Some(RetryAfter::Text(text)) => value(text),
            None => None,
        };
        rendered.headers.extend(retry_after.map(|value| (header::RETRY_AFTER, value)));
        rendered
    }

    /// A reply that points elsewhere.
    pub(super) fn redirect(location: &str, code: u16) -> Rendered {
        let mut rendered = page(StatusCode::from_u16(code).unwrap_or(StatusCode::TEMPORARY_REDIRECT));
        rendered.headers.extend(value(location).map(|value| (header::LOCATION, value)));
        rendered
    }

    /// The status that the log shows.
    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Takes it apart: status, headers, body.
    pub(super) fn into_parts(self) -> (u16, HeaderMap, Vec<u8>) {
        (self.status.as_u16(), self.headers, self.body)
    }

    /// The response, spoiled as the action says; an action that spoils nothing leaves it whole.
    pub(super) fn spoiled(mut self, action: &Action) -> Response {
        match action {
            Action::Garbage {} => {
                self.status = StatusCode::OK;
                self.body = b"{\"id\": \xff\xfe<oops".to_vec();
                self.into_response()
            }
            Action::Truncate {} => self.truncated(),
            Action::Tarpit { bytes_per_second } => self.dripping(*bytes_per_second),
            Action::Oversize { bytes, chunked } => self.padded(*bytes, *chunked),
            Action::Etag { mode } => {
                let strong = self.headers.remove(header::ETAG);
                let weak = strong.filter(|_| *mode == EtagMode::Weak);
                let weak = weak.and_then(|tag| value(&format!("W/{}", tag.to_str().unwrap_or_default())));
                self.headers.extend(weak.map(|tag| (header::ETAG, tag)));
                self.into_response()
            }
            _ => self.into_response(),
        }
    }

    fn truncated(mut self) -> Response {
        self.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        self.body.truncate(self.body.len() / 2);
        let half = Bytes::from(std::mem::take(&mut self.body));
        let pieces = stream::unfold(Some(half), |half| async move {
            match half {
                Some(half) => Some((Ok(half), None)),
                None => {
                    // Until the half is out: an error at once would take it along.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), None))
                }
            }
        });
        (self.status, self.headers, Body::from_stream(pieces)).into_response()
    }

    fn dripping(mut self, bytes_per_second: u32) -> Response {
        self.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        let pause = Duration::from_secs(1) / bytes_per_second.max(1);
        let drops = stream::unfold(Bytes::from(self.body), move |mut rest| async move {
            if rest.is_empty() {
                return None;
            }
            tokio::time::sleep(pause).await;
            let drop = rest.split_to(1);
            Some((Ok::<Bytes, Infallible>(drop), rest))
        });
        (self.status, self.headers, Body::from_stream(drops)).into_response()
    }

    /// The object with a field `padding` before its end.
    fn padded(mut self, bytes: u64, chunked: bool) -> Response {
        self.body.pop();
        let comma = if self.body.len() > 1 { "," } else { "" };
        self.body.extend_from_slice(format!("{comma}\"padding\":\"").as_bytes());
        let around = self.body.len() as u64 + 2;
        let padding = bytes.saturating_sub(around);
        if !chunked {
            self.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(around + padding));
        }
        let first = stream::iter([Ok::<Bytes, Infallible>(Bytes::from(self.body))]);
        let piece = Bytes::from(vec![b'x'; PIECE]);
        let middle = stream::unfold((padding, piece), |(left, piece)| async move {
            let size = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            (size > 0).then(|| (Ok(piece.slice(..size)), (left - size as u64, piece)))
        });
        let last = stream::iter([Ok(Bytes::from_static(b"\"}"))]);
        use futures::StreamExt as _;
        (self.status, self.headers, Body::from_stream(first.chain(middle).chain(last))).into_response()
    }
}

impl IntoResponse for Rendered {
    fn into_response(self) -> Response {
        (self.status, self.headers, self.body).into_response()
    }
}

/// A web page as a proxy sends it: certainly not the system's own words.
fn page(status: StatusCode) -> Rendered {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    let body =
        format!("<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center></body></html>\n");
    Rendered { status, headers, body: body.into_bytes() }
}

fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}
