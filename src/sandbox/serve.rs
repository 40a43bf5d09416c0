//! A request's way through the sandbox, and what can happen to it on the way.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use jiff::Timestamp;

use super::call::Call;
use super::connection::Knife;
use super::faults::{Action, Plan};
use super::held::Verdict;
use super::reply::Rendered;
use super::state::Sandbox;
use super::world::{Effect, How, Replied};

/// The largest body that is read.
const MAX_BODY: usize = 1024 * 1024;

/// How much of a body that is too large is read and thrown away. A caller that is still sending would see a reset, and not the
/// reply, if the connection were closed at once.
const MAX_WASTE: usize = 16 * 1024 * 1024;

/// What a request comes to.
enum Outcome {
    Response(Response),
    /// The connection is closed: with a reset or without.
    Cut {
        reset: bool,
    },
}

/// Serves one request to the contract.
pub(super) async fn contract(
    State(sandbox): State<Arc<Sandbox>>,
    ConnectInfo(knife): ConnectInfo<Knife>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Some(body) = read(&parts.headers, body).await else {
        // The caller went away in the middle of its own request: there is nobody to reply to, and nothing to serve.
        knife.cut(false);
        return ().into_response();
    };
    let call = Call::new(parts.method, parts.uri.path(), parts.uri.query(), parts.headers, body);
    let planned = {
        let mut world = sandbox.lock();
        if world.faults.is_empty() {
            Err(world.serve(sandbox.token.as_deref(), &call, &How::default(), Timestamp::now()))
        } else {
            Ok(world.faults.plan(&call))
        }
    };
    let outcome = match planned {
        Err(reply) => Outcome::Response(Rendered::new(&reply).into_response()),
        Ok(plan) => {
            // On a task of its own: a caller that goes away while its request waits does not take the request along. That is how
            // a network delivers a write late.
            let task = tokio::spawn(perform(sandbox, call, plan));
            task.await.unwrap_or(Outcome::Cut { reset: true })
        }
    };
    match outcome {
        Outcome::Response(response) => response,
        Outcome::Cut { reset } => {
            knife.cut(reset);
            // Goes nowhere: the connection refuses every further byte.
            ().into_response()
        }
    }
}

/// The body, or within it none where it is too large. None where it does not come to its end.
async fn read(headers: &HeaderMap, body: Body) -> Option<Option<Bytes>> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let mut pieces = body.into_data_stream();
    let mut whole = Vec::with_capacity(announced.unwrap_or_default().min(MAX_BODY));
    let mut wasted = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece.ok()?;
        if whole.len() + piece.len() <= MAX_BODY && wasted == 0 {
            whole.extend_from_slice(&piece);
        } else {
            wasted += piece.len();
        }
        if wasted > MAX_WASTE {
            break;
        }
    }
    Some((wasted == 0).then(|| Bytes::from(whole)))
}

/// Does to a request what the rules say.
async fn perform(sandbox: Arc<Sandbox>, call: Call, plan: Plan) -> Outcome {
    let Plan { action, edits } = plan;
    let mut how = How { edits, ..How::default() };
    let Some((fault, action)) = action else {
        return Outcome::Response(served(&sandbox, &call, &how).into_response());
    };
    how.fault = Some(fault.clone());
    match &action {
        Action::DropBefore { reset } => {
            sandbox.lock().not_served(&call, None, &how);
            return Outcome::Cut { reset: *reset };
        }
        Action::DropAfter { reset } => {
            how.replied = Replied::Nothing;
            served(&sandbox, &call, &how);
            return Outcome::Cut { reset: *reset };
        }
        Action::Status(injected) => {
            let reply = Rendered::injected(injected);
            sandbox.lock().not_served(&call, Some(reply.status()), &how);
            return Outcome::Response(reply.into_response());
        }
        Action::StatusAfter(injected) => {
            let reply = Rendered::injected(injected);
            how.replied = Replied::Status(reply.status());
            served(&sandbox, &call, &how);
            return Outcome::Response(reply.into_response());
        }
        Action::Redirect { location, code } => {
            let reply = Rendered::redirect(location, *code);
            sandbox.lock().not_served(&call, Some(reply.status()), &how);
            return Outcome::Response(reply.into_response());
        }
        Action::Hold {} => {
            let verdict = sandbox.lock().held.hold(&fault, &call, false);
            if verdict.await != Ok(Verdict::Release) {
                sandbox.lock().not_served(&call, None, &how);
                return Outcome::Cut { reset: false };
            }
        }
        Action::HoldAfter {} => {
            let (reply, verdict) = {
                // Under one lock, so that nobody sees the change before the request shows as held.
                let mut world = sandbox.lock();
                let reply = world.serve(sandbox.token.as_deref(), &call, &how, Timestamp::now());
                (reply, world.held.hold(&fault, &call, true))
            };
            let reply = Rendered::new(&reply);
            return match verdict.await {
                Ok(Verdict::Release) => Outcome::Response(reply.into_response()),
                Ok(Verdict::Discard) | Err(_) => Outcome::Cut { reset: false },
            };
        }
        Action::DelayAfter { milliseconds } => {
            let reply = served(&sandbox, &call, &how);
            tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
            return Outcome::Response(reply.into_response());
        }
        Action::Delay { milliseconds } => tokio::time::sleep(Duration::from_millis(*milliseconds)).await,
        Action::Lie {} => how.effect = Effect::Lie,
        Action::Ignore {} => how.effect = Effect::Ignore,
        Action::Stale {} => how.stale = true,
        Action::Garbage {} => how.replied = Replied::Status(200),
        // Edits are never a plan's action; the others spoil nothing but the reply.
        Action::Edit(_)
        | Action::Truncate {}
        | Action::Tarpit { .. }
        | Action::Oversize { .. }
        | Action::Etag { .. } => {}
    }
    let reply = served(&sandbox, &call, &how);
    Outcome::Response(reply.spoiled(&action))
}

fn served(sandbox: &Sandbox, call: &Call, how: &How) -> Rendered {
    let reply = sandbox.lock().serve(sandbox.token.as_deref(), call, how, Timestamp::now());
    Rendered::new(&reply)
}
