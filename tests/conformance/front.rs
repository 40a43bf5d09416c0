//! What stands between an adapter and its server, and what it may do to a request.
//!
//! For what speaks HTTP that is the fault proxy. What does not gets a variant of its own here.

use crate::fault_proxy::{Answer, Asked, Cut, FaultProxy, Gate, Then, When};
use regex::Regex;
use releaseclosure::providers::rest::Row;
use std::collections::BTreeSet;

/// Which request a fault meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The next read.
    Read,
    /// The next change.
    Write,
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

/// The front of a server that speaks HTTP.
pub struct Front {
    proxy: FaultProxy,
    is_write: fn(&Asked) -> bool,
    own: fn(u16) -> Answer,
    /// Whether the reply to a change has a body that could be spoilt.
    bodies: bool,
}

/// Where a redirect leads.
const ELSEWHERE: &str = "/moved/elsewhere";

impl Front {
    /// In front of the server at this URL; its errors are JSON, and all but GET and HEAD are changes.
    pub async fn before(upstream: &str) -> Front {
        let is_write = |asked: &Asked| !matches!(&*asked.method, "GET" | "HEAD");
        Front { proxy: FaultProxy::before(upstream).await, is_write, own: Answer::status, bodies: true }
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

    /// The same, where other requests change something.
    #[allow(dead_code, reason = "some products search with POST")]
    pub fn with_writes(self, is_write: fn(&Asked) -> bool) -> Front {
        Front { is_write, ..self }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        self.proxy.url()
    }

    /// This happens to the next such request.
    pub fn on(&self, on: On, fault: Fault) {
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
        self.proxy.on(self.next(on), then);
    }

    /// This happens right before the next such request reaches the server.
    pub fn meanwhile<F: Future<Output = ()> + Send + 'static>(
        &self,
        on: On,
        what: impl Fn() -> F + Send + Sync + 'static,
    ) {
        self.proxy.on(self.next(on), Then::meanwhile(what));
    }

    /// The next request of this kind.
    fn next(&self, on: On) -> When {
        let is_write = self.is_write;
        When::any().that(move |asked| is_write(asked) == (on == On::Write)).times(1)
    }

    /// No more faults.
    pub fn heal(&self) {
        self.proxy.heal();
    }

    /// How many changes the server has made.
    pub fn changes(&self) -> usize {
        let made = |served: Option<u16>| served.is_some_and(|status| (200..300).contains(&status));
        self.proxy.log().iter().filter(|seen| (self.is_write)(&seen.asked) && made(seen.served)).count()
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.proxy.log().len()
    }

    /// Whether somebody went where a redirect led.
    pub fn was_followed(&self) -> bool {
        self.proxy.log().iter().any(|seen| seen.asked.path.starts_with(ELSEWHERE))
    }

    /// What came and is on none of these rows, whose paths are below `prefix`: another method, another path, or a body with a
    /// key that the row does not have.
    pub fn not_on(&self, rows: &[&Row], prefix: &str) -> Vec<String> {
        let rows: Vec<(&str, Regex, BTreeSet<String>)> = rows
            .iter()
            .map(|row| {
                let (method, path) = row.pair();
                (method, template(&format!("{prefix}{path}")), keys(row.body()))
            })
            .collect();
        let on_a_row = |asked: &Asked| {
            rows.iter().any(|(method, path, body)| {
                *method == asked.method
                    && path.is_match(&asked.path)
                    && sent_keys(&asked.text()).is_some_and(|sent| sent.is_subset(body))
            })
        };
        let log = self.proxy.log();
        let other = log.iter().map(|seen| &seen.asked).filter(|asked| !on_a_row(asked));
        other.map(|asked| format!("{} {} {}", asked.method, asked.path, asked.text())).collect()
    }
}

/// A row's path, each hole of which is one segment or one value.
fn template(path: &str) -> Regex {
    let holes = Regex::new(r"\\\{[A-Za-z]+\\\}").expect("a pattern");
    let filled = regex::escape(path);
    Regex::new(&format!("^{}$", holes.replace_all(&filled, "[^/?&=#]+"))).expect("a pattern")
}

/// The keys of a row's body, at any depth.
fn keys(body: &str) -> BTreeSet<String> {
    let keys = Regex::new(r#""([A-Za-z_]+)":"#).expect("a pattern");
    keys.captures_iter(body).map(|found| found[1].to_owned()).collect()
}

/// The keys of a body that was sent; what is inside of them may be other people's. None where it is no object.
fn sent_keys(body: &str) -> Option<BTreeSet<String>> {
    let body: serde_json::Value = serde_json::from_str(if body.is_empty() { "{}" } else { body }).ok()?;
    Some(body.as_object()?.keys().cloned().collect())
}

#[test]
fn what_is_on_no_row_is_told() {
    assert!(template("/a/{id}?x={y}").is_match("/a/1%2F2?x=3"));
    for other in ["/a/1/2?x=3", "/a/1?x=3&z=4", "/a/1", "/b/1?x=3"] {
        assert!(!template("/a/{id}?x={y}").is_match(other), "{other}");
    }
    let row = keys(r#"{"a":<a>,"b":[<others,>{"c":<c>}]}"#);
    let fits = |sent: &str| sent_keys(sent).is_some_and(|sent| sent.is_subset(&row));
    assert!(fits(r#"{"a":"\"d\":","b":[{"e":1}]}"#) && fits(""));
    assert!(!fits(r#"{"a":1,"d":2}"#) && !fits("[]") && !fits("a=b"));
}
