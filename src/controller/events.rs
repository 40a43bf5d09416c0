//! Events for people. They are not the record (that is the trace), so nothing waits for them and a lost one is only
//! logged.

use crate::api::ReleaseClosure;
use crate::closure::ledger::printable;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{PostParams, Request};
use kube::{Client, Resource as _};
use serde::de::IgnoredAny;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::warn;

/// Events that may wait to be published; more are dropped and counted in the log.
const BACKLOG_MAX: usize = 4096;
/// Longest name of an object; of an event's, the end is the time.
const NAME_MAX: usize = 253;
/// Longest name of a process that Kubernetes takes on an event.
const INSTANCE_MAX: usize = 128;

/// What people are told about a closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The closure was taken up.
    AcceptedEventReceived,
    /// A step was found done.
    StepAlreadyDone,
    /// A system gives no answer.
    SystemUnavailable,
    /// It halted.
    Halted,
    /// A halt was released.
    Resumed,
    /// A resolution does nothing.
    ResumeRejected,
    /// It is closed.
    Closed,
    /// It was given up.
    Abandoned,
    /// It was suspended.
    Suspended,
}

impl Happening {
    const fn reason(self) -> &'static str {
        match self {
            Happening::AcceptedEventReceived => "AcceptedEventReceived",
            Happening::StepAlreadyDone => "StepAlreadyDone",
            Happening::SystemUnavailable => "SystemUnavailable",
            Happening::Halted => "Halted",
            Happening::Resumed => "Resumed",
            Happening::ResumeRejected => "ResumeRejected",
            Happening::Closed => "Closed",
            Happening::Abandoned => "Abandoned",
            Happening::Suspended => "Suspended",
        }
    }

    const fn is_warning(self) -> bool {
        matches!(
            self,
            Happening::SystemUnavailable | Happening::Halted | Happening::ResumeRejected | Happening::Abandoned
        )
    }
}

struct Told {
    about: ObjectReference,
    happening: Happening,
    action: String,
    note: String,
    at: Timestamp,
}

/// Where events are handed in.
#[derive(Clone)]
pub struct Events {
    sender: mpsc::Sender<Told>,
}

impl Events {
    /// Starts publishing. The task ends when every handle is dropped and the backlog is out.
    ///
    /// Not by kube's recorder: that keeps every event for minutes, to count repetitions. Nothing here repeats, since it is
    /// told with a status that says something new.
    #[must_use]
    pub fn start(client: Client, identity: &str) -> (Events, JoinHandle<()>) {
        let (sender, mut receiver) = mpsc::channel::<Told>(BACKLOG_MAX);
        let instance = printable(identity, INSTANCE_MAX);
        let task = tokio::spawn(async move {
            while let Some(told) = receiver.recv().await {
                let reason = told.happening.reason();
                if let Err(error) = publish(&client, told, &instance).await {
                    warn!(%error, reason, "an event was not published");
                }
            }
        });
        (Events { sender }, task)
    }

    /// Tells people. `action` says what was done in a word, and is never a foreign text.
    pub fn tell(&self, about: &ReleaseClosure, happening: Happening, action: &str, note: String) {
        let (about, action) = (about.object_ref(&()), action.to_owned());
        let told = Told { about, happening, action, note, at: Timestamp::now() };
        if self.sender.try_send(told).is_err() {
            warn!(reason = happening.reason(), "too many events wait to be published; this one is dropped");
        }
    }
}

async fn publish(client: &Client, told: Told, instance: &str) -> Result<(), kube::Error> {
    let namespace = told.about.namespace.clone();
    let path = Event::url_path(&(), namespace.as_deref());
    let body = serde_json::to_vec(&event(told, instance)).map_err(kube::Error::SerdeError)?;
    let request = Request::new(path).create(&PostParams::default(), body).map_err(kube::Error::BuildRequest)?;
    client.request::<IgnoredAny>(request).await.map(drop)
}

fn event(Told { about, happening, action, note, at }: Told, instance: &str) -> Event {
    let when = format!(".{:x}", at.as_nanosecond());
    let mut name = about.name.clone().unwrap_or_default();
    // Names are ASCII; what must not come to stand before the dot is a dot.
    name.truncate(NAME_MAX - when.len());
    let name = format!("{}{when}", name.trim_end_matches(['.', '-']));
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: about.namespace.clone(), ..ObjectMeta::default() },
        event_time: Some(MicroTime(at)),
        type_: Some(if happening.is_warning() { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(happening.reason().to_owned()),
        action: Some(action),
        note: Some(note),
        regarding: Some(about),
        reporting_controller: Some("releaseclosure.io/operator".to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_about_the_longest_of_names_has_a_name_that_is_let_in() {
        for name in ["a".repeat(253), format!("{}.{}", "a".repeat(232), "b".repeat(20)), "short".to_owned()] {
            let about = ObjectReference { name: Some(name.clone()), ..ObjectReference::default() };
            let at = Timestamp::MAX;
            let told =
                Told { about, happening: Happening::Closed, action: "Close".to_owned(), note: String::new(), at };
            let named = event(told, "i").metadata.name.unwrap();
            assert!(named.len() <= NAME_MAX && !named.contains("..") && !named.contains("-."), "{named}");
            assert!(named.starts_with(&name[..5]));
        }
    }
}
