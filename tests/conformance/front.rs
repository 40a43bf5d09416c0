//! What stands between an adapter and its server, and what it may do to a request.
//!
//! For what speaks HTTP that is the fault proxy. What does not gets a variant of its own here.

use super::bodies;
#[cfg(feature = "nats")]
use super::nats_front::NatsProxy;
#[cfg(feature = "smtp")]
use super::smtp_front::SmtpProxy;
use crate::fault_proxy::{Answer, Asked, Cut, FaultProxy, Gate, Seen, Then, When};
use regex::Regex;
use releaseclosure::providers::rest::Row;

/// Which request a fault meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The next read.
    Read,
    /// The next change.
    Write,
    /// The next request whose path with its query holds this.
    #[allow(dead_code, reason = "for a product's own cases")]
    Path(&'static str),
}

/// What happens to it.
pub enum Fault {
    /// It never arrives.
    Lost,
    /// It is done, and nobody hears of it.
    ReplyLost,
    /// The system answers so in its own words, and does nothing.
    Says(u16),
    /// The system asks in its own words to be left alone for so many seconds.
    Busy(u32),
    /// It is done, and answered so.
    SaysAfter(u16),
    /// Something on the way answers with a web page.
    Page(u16),
    /// It is done, and the reply waits until the gate is opened.
    Slow(Gate),
    /// It is answered as it was the last time.
    Stale,
    /// It is done, and the reply is nothing that can be read.
    Garbage,
    /// It is done, and the reply breaks off.
    Torn,
    /// It is answered with the way to elsewhere.
    Elsewhere,
}

/// The front of a server.
pub struct Front {
    proxy: Proxy,
    is_write: fn(&Asked) -> bool,
    own: fn(u16) -> Answer,
    /// Whether the reply to a change has a body that could be spoilt.
    bodies: bool,
    /// How many requests a record is read with.
    reads: usize,
}

/// Whatever speaks the server's language.
enum Proxy {
    Http(FaultProxy),
    #[cfg(feature = "nats")]
    Nats(NatsProxy),
    #[cfg(feature = "smtp")]
    Smtp(SmtpProxy),
}

/// Where a redirect leads.
const ELSEWHERE: &str = "/moved/elsewhere";

impl Front {
    /// In front of the server at this URL; its errors are JSON, and all but GET and HEAD are changes.
    pub async fn before(upstream: &str) -> Front {
        let is_write = |asked: &Asked| !matches!(&*asked.method, "GET" | "HEAD");
        Front {
            proxy: Proxy::Http(FaultProxy::before(upstream).await),
            is_write,
            own: Answer::status,
            bodies: true,
            reads: 1,
        }
    }

    /// In front of a NATS server at this address; what is published to a subject that `is_write` is a change.
    #[cfg(feature = "nats")]
    pub async fn before_nats(upstream: &str, is_write: fn(&Asked) -> bool) -> Front {
        Front {
            proxy: Proxy::Nats(NatsProxy::before(upstream).await),
            is_write,
            own: Answer::status,
            bodies: true,
            reads: 1,
        }
    }

    /// In front of a mail server at this address; a mail's text is a change.
    #[cfg(feature = "smtp")]
    pub async fn before_smtp(upstream: &str) -> Front {
        let is_write = |asked: &Asked| asked.method == "TEXT";
        Front {
            proxy: Proxy::Smtp(SmtpProxy::before(upstream).await),
            is_write,
            own: Answer::status,
            bodies: true,
            reads: 1,
        }
    }

    /// Why this happens to nobody who speaks the server's language, if so.
    pub fn never(&self, fault: &Fault) -> Option<&'static str> {
        match (&self.proxy, fault) {
            (Proxy::Http(_), _) => None,
            #[cfg(feature = "nats")]
            (Proxy::Nats(_), Fault::Busy(_)) => Some("the server asks nobody to wait for a time"),
            #[cfg(feature = "nats")]
            (Proxy::Nats(_), Fault::Elsewhere) => {
                Some("the server redirects nobody; the servers that it names are not dialled")
            }
            #[cfg(feature = "nats")]
            (Proxy::Nats(_), _) => None,
            #[cfg(feature = "smtp")]
            (Proxy::Smtp(_), Fault::Busy(_)) => Some("the server asks nobody to wait for a time"),
            #[cfg(feature = "smtp")]
            (Proxy::Smtp(_), Fault::SaysAfter(_)) => Some("the server's answer is what says whether it has the mail"),
            #[cfg(feature = "smtp")]
            (Proxy::Smtp(_), Fault::Elsewhere) => Some("the protocol leads nobody elsewhere"),
            #[cfg(feature = "smtp")]
            (Proxy::Smtp(_), _) => None,
        }
    }

    /// The same, with another word for an error.
    pub fn with_errors(self, own: fn(u16) -> Answer) -> Front {
        Front { own, ..self }
    }

    /// The same, where the reply to a change has no body.
    #[allow(dead_code, reason = "most products have one")]
    pub fn without_bodies(self) -> Front {
        Front { bodies: false, ..self }
    }

    /// The same, where a record is read with so many requests: all of them are stale where one is.
    pub fn with_reads_of(self, reads: usize) -> Front {
        Front { reads, ..self }
    }

    /// The same, where other requests change something.
    #[allow(dead_code, reason = "some products search with POST")]
    pub fn with_writes(self, is_write: fn(&Asked) -> bool) -> Front {
        Front { is_write, ..self }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        match &self.proxy {
            Proxy::Http(proxy) => proxy.url(),
            #[cfg(feature = "nats")]
            Proxy::Nats(proxy) => proxy.url(),
            #[cfg(feature = "smtp")]
            Proxy::Smtp(proxy) => proxy.url(),
        }
    }

    /// This happens to the next such request.
    #[cfg_attr(
        not(any(feature = "nats", feature = "smtp")),
        allow(clippy::infallible_destructuring_match, reason = "the lean build has one kind of proxy")
    )]
    pub fn on(&self, on: On, fault: Fault) {
        let proxy = match &self.proxy {
            Proxy::Http(proxy) => proxy,
            #[cfg(feature = "nats")]
            Proxy::Nats(proxy) => return proxy.on(self.meets(on), fault),
            #[cfg(feature = "smtp")]
            Proxy::Smtp(proxy) => return proxy.on(fault),
        };
        let then = match fault {
            Fault::Lost => Then::DropBefore(Cut::Close),
            Fault::ReplyLost => Then::DropAfter(Cut::Reset),
            Fault::Says(status) => Then::Answer((self.own)(status)),
            Fault::Busy(seconds) => Then::Answer((self.own)(429).retry_after(&seconds.to_string())),
            Fault::SaysAfter(status) => Then::AnswerAfter((self.own)(status)),
            Fault::Page(status) => {
                let page = Answer::status(status).header("content-type", "text/html").body("<html>no</html>");
                Then::Answer(page)
            }
            Fault::Slow(gate) => Then::HoldAfter(gate),
            Fault::Stale => Then::Stale,
            // A 204 ends with its head. Something on the way that has a body instead is garbage all the same.
            Fault::Garbage if on == On::Write && !self.bodies => {
                Then::AnswerAfter((self.own)(200).body("\0{]<html> not this"))
            }
            Fault::Garbage => Then::Garbage,
            Fault::Torn => Then::Truncate(20),
            Fault::Elsewhere => Then::Answer(Answer::redirect(301, &format!("{}{ELSEWHERE}", self.url()))),
        };
        let times = if matches!(then, Then::Stale) { self.reads } else { 1 };
        proxy.on(When::any().that(self.meets(on)).times(times), then);
    }

    /// This happens right before the next such request reaches the server.
    pub fn meanwhile<F: Future<Output = ()> + Send + 'static>(
        &self,
        on: On,
        what: impl Fn() -> F + Send + Sync + 'static,
    ) {
        match &self.proxy {
            Proxy::Http(proxy) => proxy.on(When::any().that(self.meets(on)).times(1), Then::meanwhile(what)),
            #[cfg(feature = "nats")]
            Proxy::Nats(proxy) => proxy.meanwhile(self.meets(on), what),
            #[cfg(feature = "smtp")]
            Proxy::Smtp(_) => drop(what),
        }
    }

    fn meets(&self, on: On) -> impl Fn(&Asked) -> bool + Send + Sync + 'static {
        let is_write = self.is_write;
        move |asked: &Asked| match on {
            On::Read => !is_write(asked),
            On::Write => is_write(asked),
            On::Path(part) => asked.path.contains(part),
        }
    }

    fn http(&self) -> Option<&FaultProxy> {
        match &self.proxy {
            Proxy::Http(proxy) => Some(proxy),
            #[cfg(any(feature = "nats", feature = "smtp"))]
            _ => None,
        }
    }

    /// From now on this is answered to all such requests, until [`Front::heal`].
    pub fn always(&self, meets: impl Fn(&Asked) -> bool + Send + Sync + 'static, answer: Answer) {
        if let Some(proxy) = self.http() {
            proxy.on(When::any().that(meets), Then::Answer(answer));
        }
    }

    /// From now on every reply's body is changed so, until [`Front::heal`].
    pub fn rewrite(&self, change: impl Fn(String) -> String + Send + Sync + 'static) {
        if let Some(proxy) = self.http() {
            proxy.on(When::any(), Then::change(change));
        }
    }

    /// What was answered until now is what [`Fault::Stale`] answers, whatever is answered meanwhile.
    pub fn keep_what_was_said(&self) {
        if let Some(proxy) = self.http() {
            proxy.remember_no_more();
        }
    }

    /// No more faults.
    pub fn heal(&self) {
        match &self.proxy {
            Proxy::Http(proxy) => proxy.heal(),
            #[cfg(feature = "nats")]
            Proxy::Nats(proxy) => proxy.heal(),
            #[cfg(feature = "smtp")]
            Proxy::Smtp(proxy) => proxy.heal(),
        }
    }

    /// How many changes the server has made.
    pub fn changes(&self) -> usize {
        let made = |served: Option<u16>| served.is_some_and(|status| (200..300).contains(&status));
        self.log().iter().filter(|seen| (self.is_write)(&seen.asked) && made(seen.served)).count()
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.log().len()
    }

    /// Whether somebody went where a redirect led.
    pub fn was_followed(&self) -> bool {
        self.log().iter().any(|seen| seen.asked.path.starts_with(ELSEWHERE))
    }

    /// What came and is on none of these rows, whose paths are below `prefix`: another method, another path, or a body that is
    /// not as the row's template says.
    pub fn not_on(&self, rows: &[&Row], prefix: &str) -> Vec<String> {
        let rows: Vec<(&str, Regex, &str)> = rows
            .iter()
            .map(|row| {
                let (method, path) = row.pair();
                (method, template(&format!("{prefix}{path}")), row.body())
            })
            .collect();
        let on_a_row = |asked: &Asked| {
            rows.iter().any(|(method, path, body)| {
                *method == asked.method && path.is_match(&asked.path) && bodies::fits(body, &asked.text())
            })
        };
        self.other_than(on_a_row)
    }

    /// What came and is not allowed.
    pub fn other_than(&self, allowed: impl Fn(&Asked) -> bool) -> Vec<String> {
        let log = self.log();
        let other = log.iter().map(|seen| &seen.asked).filter(|asked| !allowed(asked));
        other.map(|asked| format!("{} {} {}", asked.method, asked.path, asked.text())).collect()
    }

    fn log(&self) -> Vec<Seen> {
        match &self.proxy {
            Proxy::Http(proxy) => proxy.log(),
            #[cfg(feature = "nats")]
            Proxy::Nats(proxy) => proxy.log(),
            #[cfg(feature = "smtp")]
            Proxy::Smtp(proxy) => proxy.log(),
        }
    }
}

/// A row's path, each hole of which is one segment or one value.
fn template(path: &str) -> Regex {
    let holes = Regex::new(r"\\\{[A-Za-z]+\\\}").expect("a pattern");
    let filled = regex::escape(path);
    Regex::new(&format!("^{}$", holes.replace_all(&filled, "[^/?&=#]+"))).expect("a pattern")
}

#[test]
fn what_is_on_no_row_is_told() {
    assert!(template("/a/{id}?x={y}").is_match("/a/1%2F2?x=3"));
    for other in ["/a/1/2?x=3", "/a/1?x=3&z=4", "/a/1", "/b/1?x=3"] {
        assert!(!template("/a/{id}?x={y}").is_match(other), "{other}");
    }
}
