//! Events for people. They are not the record (that is the trace), so nothing waits for them and a lost one is only
//! logged.

use crate::api::ReleaseClosure;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::warn;

/// Events that may wait to be published; more are dropped and counted in the log.
const BACKLOG_MAX: usize = 4096;

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
    about: k8s_openapi::api::core::v1::ObjectReference,
    event: Event,
}

/// Where events are handed in.
#[derive(Clone)]
pub struct Events {
    sender: mpsc::Sender<Told>,
}

impl Events {
    /// Starts publishing. The task ends when every handle is dropped and the backlog is out.
    #[must_use]
    pub fn start(client: Client, identity: &str) -> (Events, JoinHandle<()>) {
        let (sender, mut receiver) = mpsc::channel::<Told>(BACKLOG_MAX);
        let reporter =
            Reporter { controller: "releaseclosure.io/operator".to_owned(), instance: Some(identity.to_owned()) };
        let recorder = Recorder::new(client, reporter);
        let task = tokio::spawn(async move {
            while let Some(Told { about, event }) = receiver.recv().await {
                if let Err(error) = recorder.publish(&event, &about).await {
                    warn!(%error, reason = event.reason, "an event was not published");
                }
            }
        });
        (Events { sender }, task)
    }

    /// Tells people. `action` sets apart happenings of the same kind about one object, and is never a foreign text.
    pub fn tell(&self, about: &ReleaseClosure, happening: Happening, action: &str, note: String) {
        let type_ = if happening.is_warning() { EventType::Warning } else { EventType::Normal };
        let reason = happening.reason().to_owned();
        let event = Event { type_, reason, note: Some(note), action: action.to_owned(), secondary: None };
        let told = Told { about: about.object_ref(&()), event };
        if self.sender.try_send(told).is_err() {
            warn!(reason = happening.reason(), "too many events wait to be published; this one is dropped");
        }
    }
}
