//! Which requests a fault meets, and what it does to them.

use super::wire::Cut;
use super::{Asked, Held};
use futures::future::BoxFuture;
use regex::Regex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

type Test = Arc<dyn Fn(&Asked) -> bool + Send + Sync>;

/// Which requests a rule is for. All that is said must hold; nothing said means every request.
#[derive(Clone, Default)]
pub struct When {
    tests: Vec<Test>,
    nth: Option<usize>,
    times: Option<usize>,
}

impl When {
    /// Every request.
    pub fn any() -> When {
        When::default()
    }

    /// Requests of this method.
    pub fn method(method: &str) -> When {
        let method = method.to_owned();
        When::any().that(move |asked| asked.method == method)
    }

    /// Requests whose path with its query matches.
    pub fn path(self, pattern: &str) -> When {
        let pattern = Regex::new(pattern).expect("a regular expression");
        self.that(move |asked| pattern.is_match(&asked.path))
    }

    /// Requests whose body holds this text.
    pub fn body(self, text: &str) -> When {
        let text = text.to_owned();
        self.that(move |asked| asked.text().contains(&text))
    }

    /// Requests for which this is true.
    pub fn that(mut self, test: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> When {
        self.tests.push(Arc::new(test));
        self
    }

    /// The nth of those alone, counted from one.
    pub fn nth(mut self, nth: usize) -> When {
        self.nth = Some(nth);
        self
    }

    /// The first so many of those.
    pub fn times(mut self, times: usize) -> When {
        self.times = Some(times);
        self
    }
}

/// What is done to a request.
#[derive(Clone)]
pub enum Then {
    /// The connection is cut, and the server never hears of it.
    DropBefore(Cut),
    /// The server does it, and the connection is cut instead of a reply.
    DropAfter(Cut),
    /// The request goes on after this time.
    Delay(Duration),
    /// The server does it at once, and its reply goes on after this time.
    DelayAfter(Duration),
    /// The request goes on when the gate is opened.
    Hold(Gate),
    /// The server does it at once, and its reply goes on when the gate is opened.
    HoldAfter(Gate),
    /// This is answered, and the server never hears of it.
    Answer(Answer),
    /// The server does it, and this is answered.
    AnswerAfter(Answer),
    /// The server does it, and its reply's body is something that nobody can read.
    Garbage,
    /// The server does it; its reply breaks off after so many bytes of body, fewer than it announced.
    Truncate(usize),
    /// The server does it, and its reply says that its body is of this type.
    ContentType(&'static str),
    /// A GET is answered as it was the last time, whatever happened since; a first one goes on.
    Stale,
    /// This happens before the server hears of it: somebody edits between a read and a write.
    Meanwhile(Callback),
    /// The server does it, and its reply's body is changed.
    Change(Arc<dyn Fn(String) -> String + Send + Sync>),
}

/// Something that is done when a request comes.
pub type Callback = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

impl Then {
    /// Something that happens before the server hears of the request.
    pub fn meanwhile<F: Future<Output = ()> + Send + 'static>(
        callback: impl Fn() -> F + Send + Sync + 'static,
    ) -> Then {
        Then::Meanwhile(Arc::new(move || Box::pin(callback())))
    }

    /// A change of the reply's body.
    pub fn change(change: impl Fn(String) -> String + Send + Sync + 'static) -> Then {
        Then::Change(Arc::new(change))
    }

    /// What the log calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Then::DropBefore(_) => "dropBefore",
            Then::DropAfter(_) => "dropAfter",
            Then::Delay(_) => "delay",
            Then::DelayAfter(_) => "delayAfter",
            Then::Hold(_) => "hold",
            Then::HoldAfter(_) => "holdAfter",
            Then::Answer(_) => "answer",
            Then::AnswerAfter(_) => "answerAfter",
            Then::Garbage => "garbage",
            Then::Truncate(_) => "truncate",
            Then::ContentType(_) => "contentType",
            Then::Stale => "stale",
            Then::Meanwhile(_) => "meanwhile",
            Then::Change(_) => "change",
        }
    }
}

impl fmt::Debug for Then {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// An answer of one's own.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    /// With this status, and a body that says so in JSON.
    pub fn status(status: u16) -> Answer {
        let body = format!("{{\"message\":\"injected {status}\"}}");
        Answer { status, headers: Vec::new(), body }.header("content-type", "application/json")
    }

    /// Elsewhere.
    pub fn redirect(status: u16, location: &str) -> Answer {
        Answer::status(status).header("location", location)
    }

    /// One header more, or another value for it.
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.retain(|(kept, _)| kept != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// When to come again: seconds, or a date.
    pub fn retry_after(self, value: &str) -> Answer {
        self.header("retry-after", value)
    }

    /// Another body.
    pub fn body(mut self, body: impl Into<String>) -> Answer {
        self.body = body.into();
        self
    }

    pub(super) fn held(&self) -> Held {
        Held::of(self.status, &self.headers, self.body.clone().into())
    }
}

/// Holds requests until it is opened; then it stays open.
#[derive(Clone, Debug)]
pub struct Gate {
    open: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { open: watch::Sender::new(false), waiting: watch::Sender::new(0) }
    }
}

impl Gate {
    /// Lets everything through.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until so many requests have come to it.
    pub async fn reached_by(&self, requests: usize) {
        let mut waiting = self.waiting.subscribe();
        let reached = waiting.wait_for(|count| *count >= requests);
        super::patiently("requests at a gate", reached).await.expect("the gate is there");
    }

    /// Waits until it is open.
    pub async fn pass(&self) {
        self.waiting.send_modify(|count| *count += 1);
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.expect("the gate is there");
    }
}

/// A rule, and how many requests it was for so far.
pub(super) struct Rule {
    when: When,
    then: Then,
    met: usize,
}

impl Rule {
    pub(super) fn new(when: When, then: Then) -> Rule {
        Rule { when, then, met: 0 }
    }

    /// What is to be done to this request, if the rule is for it.
    pub(super) fn meets(&mut self, asked: &Asked) -> Option<Then> {
        if !self.when.tests.iter().all(|test| test(asked)) {
            return None;
        }
        self.met += 1;
        let nth = self.when.nth.is_none_or(|nth| nth == self.met);
        let times = self.when.times.is_none_or(|times| self.met <= times);
        (nth && times).then(|| self.then.clone())
    }
}
