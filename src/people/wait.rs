//! `wait NAME`: until a closure is closed and its coordinator told, or cannot be.

use super::cluster::Place;
use super::error::{Error, Tried, VIEWER};
use super::stage::{Stage, stage};
use super::{Ending, page, tell};
use crate::api::ReleaseClosure;
use crate::settings::Wait;
use futures::StreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// From one failed attempt to reach the API server to the next.
const AGAIN: Duration = Duration::from_secs(1);
/// Seconds after which a watch is renewed, so that a connection that died in silence is noticed.
const RENEWED: u32 = 30;

/// Waits. Every change of what is waited for is told on stderr. An API server that goes away is waited for, too.
///
/// # Errors
/// There is no such closure, it was deleted, or it may not be read.
pub async fn wait(wait: &Wait) -> Result<Ending, Error> {
    let place = Place::find(&wait.cluster).await?;
    follow(&place, &wait.name, wait.timeout, None).await
}

/// Waits. `resolved` is a halt that was resolved a moment ago, so that being halted by it means: not acted on yet.
pub(super) async fn follow(
    place: &Place,
    name: &str,
    limit: Duration,
    resolved: Option<&str>,
) -> Result<Ending, Error> {
    let deadline = Instant::now() + limit;
    let config = watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(RENEWED);
    let mut events = pin!(watcher(place.api::<ReleaseClosure>(), config));
    let tried = Tried { verb: "watch", what: "releaseclosures", name, namespace: place.namespace(), role: VIEWER };
    let mut told = String::new();
    let mut tell_once = |line: String| {
        if line != told {
            tell(&format!("{name}: {line}"));
            told = line;
        }
    };
    let mut seen = false;
    loop {
        let event = match timeout_at(deadline, events.next()).await {
            Err(_) => {
                tell(&format!("{name}: not within {} s", limit.as_secs()));
                return Ok(Ending::TimedOut);
            }
            Ok(None) => return Err(Error::Unreachable("the watch ended".to_owned())),
            Ok(Some(event)) => event,
        };
        let closure = match event {
            Ok(Event::Apply(closure) | Event::InitApply(closure)) => closure,
            Ok(Event::Init) => {
                seen = false;
                continue;
            }
            Ok(Event::InitDone) if seen => continue,
            Ok(Event::InitDone) => {
                return Err(Error::NotFound {
                    kind: "releaseclosure",
                    name: name.to_owned(),
                    namespace: place.namespace().to_owned(),
                });
            }
            Ok(Event::Delete(_)) => return Err(Error::Deleted(name.to_owned())),
            Err(error) => {
                match refusal(&tried, &error) {
                    Some(refusal) => return Err(refusal),
                    None => tell_once("the API server gives no answer; still waiting".to_owned()),
                }
                sleep(AGAIN).await;
                continue;
            }
        };
        seen = true;
        match stage(&closure) {
            Stage::Closed => {
                tell(&format!("{name}: closed"));
                return Ok(Ending::Done);
            }
            Stage::Abandoned => {
                tell(&format!("{name}: abandoned"));
                return Ok(Ending::Abandoned);
            }
            Stage::Halted(halt) if resolved == Some(halt.id.as_str()) => {
                tell_once("the resolution is stored; the operator has not acted on it yet".to_owned());
            }
            Stage::Halted(halt) => {
                tell(&page::halted(place.namespace(), name, &halt));
                return Ok(Ending::Halted);
            }
            Stage::Unfinished(line) => tell_once(line),
        }
    }
}

/// An error that waiting does not mend: the API server knows us, and says no.
fn refusal(tried: &Tried<'_>, error: &watcher::Error) -> Option<Error> {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => match tried.failed(error)
        {
            refused @ (Error::Forbidden { .. } | Error::Refused(_) | Error::NotFound { .. }) => Some(refused),
            _ => None,
        },
        // The stream broke, or the server wants the watch started anew.
        watcher::Error::WatchError(_) | watcher::Error::WatchFailed(_) | watcher::Error::NoResourceVersion => None,
    }
}
