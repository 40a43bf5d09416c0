//! The shape of an allow-list: every request that is ever sent is made from a row of a product's one table, and from nothing
//! else.
//!
//! A row is a method, a path template and a body template. In a path, `{name}` stands for one identifier, percent-encoded
//! into one segment or one query value; or for several segments with slashes between them. In a body, `<name>` stands for one text as a JSON string (or null where there is none) or for one number, but for two lists:
//! `<others,>` for links exactly as they were read, each followed by a comma, and `<links>` for what is announced.
//!
//! **Invariant:** [`Request`] has private fields and one constructor, [`Row::request`].

use crate::closure::ids::System;
use crate::closure::ledger::Link;
use crate::closure::snapshot::EvidenceLink;
use crate::providers::meter::Verb;
use crate::spans::Protocol;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// One row: what may be sent.
#[derive(Debug)]
pub struct Row {
    system: System,
    verb: Verb,
    path: &'static str,
    body: &'static str,
    /// What it is for, for people.
    purpose: &'static str,
    /// Whether it changes nothing although it is a POST: of a product that takes its questions so.
    asks: bool,
}

/// Longest query that a system may write, in bytes.
const QUERY_MAX: usize = 2048;

/// A product's whole table: each row by its name, and all of them.
macro_rules! table {
    ($($name:ident: $system:ident $verb:ident $path:tt $body:tt, $purpose:literal $(, $asks:ident)?;)*) => {
        $(pub(super) static $name: Row = Row::new(System::$system, Verb::$verb, $path, $body, $purpose)$(.$asks())?;)*

        /// Every row.
        static TABLE: &[&Row] = &[$(&$name),*];
    };
}
pub(in crate::providers) use table;

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { system, verb, path, body, purpose, asks: _ } = self;
        write!(f, "{:<11}{:<6}{path}   # {purpose}", system.as_str(), verb.as_str())?;
        if body.is_empty() { Ok(()) } else { write!(f, "\n{:17}{body}", "") }
    }
}

/// What a hole of a template is filled with.
#[derive(Clone, Copy, Debug)]
pub(in crate::providers) enum Fill<'a> {
    Text(&'a str),
    /// A text, or `null`. In bodies only.
    Maybe(Option<&'a str>),
    /// Segments with slashes between them, none of them empty.
    Path(&'a str),
    /// Names and values of a query, as a system wrote them that says where its list goes on.
    Query(&'a str),
    Number(u64),
    /// Other people's links, each as it was read.
    Others(&'a [EvidenceLink]),
    Links(&'a [Link]),
}

/// A request that the table allows.
#[derive(Clone, Debug)]
pub(in crate::providers) struct Request {
    system: System,
    verb: Verb,
    template: &'static str,
    path: String,
    body: Vec<u8>,
    record: u64,
    reads: bool,
}

impl Request {
    /// Whether it changes nothing.
    pub(in crate::providers) fn reads(&self) -> bool {
        self.reads
    }
    pub(in crate::providers) fn verb(&self) -> Verb {
        self.verb
    }
    /// The system whose records it is about.
    pub(in crate::providers) fn system(&self) -> System {
        self.system
    }
    /// What its row says that it is: nothing that was filled in.
    pub(in crate::providers) fn protocol(&self) -> Protocol {
        Protocol::Http { method: self.verb.as_str(), template: self.template }
    }
    /// Path and query, below the endpoint.
    pub(in crate::providers) fn path(&self) -> &str {
        &self.path
    }
    /// Empty for reads.
    pub(in crate::providers) fn into_body(self) -> Vec<u8> {
        self.body
    }
    /// Tells records apart for the circuit breaker: the same for every request about one record.
    pub(in crate::providers) fn record(&self) -> u64 {
        self.record
    }
}

impl Row {
    /// A row: only a product's table has any.
    pub(in crate::providers) const fn new(
        system: System,
        verb: Verb,
        path: &'static str,
        body: &'static str,
        purpose: &'static str,
    ) -> Row {
        Row { system, verb, path, body, purpose, asks: false }
    }

    /// The same, of a POST that changes nothing.
    pub(in crate::providers) const fn asks(self) -> Row {
        Row { asks: true, ..self }
    }

    /// The method and the path template.
    #[must_use]
    pub fn pair(&self) -> (&'static str, &'static str) {
        (self.verb.as_str(), self.path)
    }

    /// The body template; empty for reads.
    #[must_use]
    pub fn body(&self) -> &'static str {
        self.body
    }

    /// The system whose records it is about.
    #[must_use]
    pub fn system(&self) -> System {
        self.system
    }

    /// Fills the row's holes. The first fill names the record.
    ///
    /// None when a hole has no fill of its kind, or when a text could not stand in a path; callers check their
    /// identifiers first, so that this is a second lock on the same door.
    pub(in crate::providers) fn request(&self, fills: &[(&str, Fill<'_>)]) -> Option<Request> {
        let row = self;
        let mut path = String::with_capacity(row.path.len() + 64);
        fill(row.path, ('{', '}'), &mut path, |path, name| match find(fills, name)? {
            Fill::Text(text) if !matches!(text, "" | "." | "..") => {
                percent_encode(text, path);
                Some(())
            }
            Fill::Number(number) => {
                path.push_str(&number.to_string());
                Some(())
            }
            Fill::Path(segments) => {
                for (position, segment) in segments.split('/').enumerate() {
                    if matches!(segment, "" | "." | "..") {
                        return None;
                    }
                    if position > 0 {
                        path.push('/');
                    }
                    percent_encode(segment, path);
                }
                Some(())
            }
            Fill::Query(query) if is_query(query) => {
                path.push_str(query);
                Some(())
            }
            Fill::Text(_) | Fill::Query(_) | Fill::Maybe(_) | Fill::Others(_) | Fill::Links(_) => None,
        })?;
        let mut body = String::with_capacity(if row.body.is_empty() { 0 } else { row.body.len() + 256 });
        // Bodies hold braces of their own, so their holes are marked otherwise.
        fill(row.body, ('<', '>'), &mut body, |body, name| {
            match find(fills, name)? {
                Fill::Text(text) | Fill::Path(text) => push_json(text, body)?,
                Fill::Maybe(Some(text)) => push_json(text, body)?,
                Fill::Maybe(None) => body.push_str("null"),
                Fill::Number(number) => body.push_str(&number.to_string()),
                Fill::Query(_) => return None,
                Fill::Others(links) => {
                    for link in links {
                        // Whoever reads no text cannot write it back: nothing may be lost silently.
                        if link.as_read.is_empty() {
                            return None;
                        }
                        body.push_str(&link.as_read);
                        body.push(',');
                    }
                }
                Fill::Links(links) => {
                    for (position, Link { rel, url }) in links.iter().enumerate() {
                        body.push_str(if position == 0 { r#"{"rel":"# } else { r#",{"rel":"# });
                        push_json(rel, body)?;
                        body.push_str(r#","url":"#);
                        push_json(url, body)?;
                        body.push('}');
                    }
                }
            }
            Some(())
        })?;
        let mut hasher = DefaultHasher::new();
        row.system.hash(&mut hasher);
        if let Some((_, Fill::Text(text) | Fill::Path(text))) = fills.first() {
            text.hash(&mut hasher);
        }
        let reads = row.asks || matches!(row.verb, Verb::Get | Verb::Head);
        let (system, template, body) = (row.system, row.path, body.into_bytes());
        Some(Request { system, verb: row.verb, template, path, body, record: hasher.finish(), reads })
    }
}

fn find<'a>(fills: &[(&str, Fill<'a>)], name: &str) -> Option<Fill<'a>> {
    fills.iter().find(|(filled, _)| *filled == name).map(|(_, fill)| *fill)
}

/// Copies a template, with `write` in the place of every hole.
fn fill(
    template: &str,
    (open, close): (char, char),
    out: &mut String,
    write: impl Fn(&mut String, &str) -> Option<()>,
) -> Option<()> {
    let mut rest = template;
    while let Some((before, hole)) = rest.split_once(open) {
        let (name, after) = hole.split_once(close)?;
        out.push_str(before);
        write(out, name)?;
        rest = after;
    }
    out.push_str(rest);
    Some(())
}

/// Everything but `A–Z a–z 0–9 - . _ ~` as `%XX`, so that a text stays in its segment or query value.
fn percent_encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// Whether a text is a query to the letter: escaped where it has to be, and without an end that begins something else.
fn is_query(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%=&+:/,;!*'()@$?".contains(&byte);
    (1..=QUERY_MAX).contains(&text.len()) && text.bytes().all(plain)
}

fn push_json(text: &str, out: &mut String) -> Option<()> {
    // Identifiers, which are most of what is written, need no escapes.
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return Some(());
    }
    out.push_str(&serde_json::to_string(text).ok()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    table! {
        LOOK: Queue Get "/a/{id}" "", "look";
        PAGE: Queue Get "/a/{id}?{page}" "", "look on";
        QUESTION: Queue Post "/" r#"{"id":<id>}"#, "ask", asks;
        CHANGE: Queue Post "/" r#"{"id":<id>}"#, "change";
    }

    #[test]
    fn a_post_reads_where_its_row_says_so() {
        let id = [("id", Fill::Text("1"))];
        let reads = |row: &Row| row.request(&id).unwrap().reads();
        assert!(reads(&LOOK) && reads(&QUESTION) && !reads(&CHANGE));
        assert_eq!(TABLE.len(), 4);
    }

    #[test]
    fn a_systems_own_query_stays_one() {
        let page = |query: &str| {
            PAGE.request(&[("id", Fill::Text("1")), ("page", Fill::Query(query))]).map(|request| request.path)
        };
        assert_eq!(page("n=2&last=a%2Fb").as_deref(), Some("/a/1?n=2&last=a%2Fb"));
        for other in ["", "a#b", "a b", "a\r\nb", "a\u{e9}", "a\"b", "a\\b", &"a".repeat(QUERY_MAX + 1)] {
            assert_eq!(page(other), None, "{other}");
        }
    }
}
