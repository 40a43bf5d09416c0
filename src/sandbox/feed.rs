//! `GET /reviews`: accepted reviews in the order of their acceptance, page by page, for those who follow a governance system
//! that sends no events.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::problem::{Code, Problem};
use super::records::{self, Record, Role, Store};

/// What a caller asks for.
#[derive(Debug, Default)]
pub(super) struct Ask {
    state: Option<String>,
    accepted_after: Option<Timestamp>,
    after: Option<Position>,
}

/// A review's place in the feed: by time, and where times are equal by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    time: Timestamp,
    id: String,
}

/// One page, and where the next one begins if there is one.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) items: Vec<Arc<Value>>,
    pub(super) next: Option<String>,
}

impl Ask {
    /// Reads the query's values; a time that is not RFC 3339, or a cursor that is not ours, is malformed.
    pub(super) fn new(state: Option<String>, after: Option<&str>, cursor: Option<&str>) -> Result<Ask, Problem> {
        let time = |text: &str| text.parse::<Timestamp>();
        let accepted_after = after.map(time).transpose();
        let accepted_after = accepted_after
            .map_err(|_| Problem::new(Code::Malformed, "acceptedAfter is not a time as RFC 3339 has it"))?;
        let after = match cursor {
            Some(cursor) => Some(
                Position::from_cursor(cursor).ok_or_else(|| Problem::new(Code::Malformed, "not a cursor of ours"))?,
            ),
            None => None,
        };
        Ok(Ask { state, accepted_after, after })
    }
}

impl Position {
    fn of(id: &str, record: &Record) -> Position {
        Position { time: accepted_at(record), id: id.to_owned() }
    }

    /// Hexadecimal, so that nobody is tempted to read it, and nothing in it needs escaping.
    fn to_cursor(&self) -> String {
        hex::encode(format!("{} {}", self.time, self.id))
    }

    fn from_cursor(cursor: &str) -> Option<Position> {
        let text = String::from_utf8(hex::decode(cursor).ok()?).ok()?;
        let (time, id) = text.split_once(' ')?;
        Some(Position { time: time.parse().ok()?, id: id.to_owned() })
    }
}

/// When a review was accepted: as it says itself in `acceptedEvent.at` (the contract has no such field, but a record may), else
/// when it last changed here.
fn accepted_at(record: &Record) -> Timestamp {
    let own = records::text_at(&record.current.value, "acceptedEvent.at");
    own.and_then(|text| text.parse().ok()).unwrap_or(record.changed)
}

/// One page of the feed. Costs a walk over all reviews, which is little for as many as one process holds.
pub(super) fn page(store: &Store, ask: &Ask, size: usize, stale: bool) -> Page {
    let wanted = |record: &Record| match &ask.state {
        Some(state) => records::text_at(&record.current.value, "state") == Some(state),
        None => true,
    };
    let matching = store.iter(Role::Governance).filter(|(_, record)| wanted(record));
    let mut found: Vec<(Position, &Record)> = matching
        .map(|(id, record)| (Position::of(id, record), record))
        .filter(|(position, _)| ask.accepted_after.is_none_or(|after| position.time > after))
        .filter(|(position, _)| ask.after.as_ref().is_none_or(|after| position > after))
        .collect();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    let size = size.max(1);
    let next = if found.len() > size { found.get(size - 1).map(|(last, _)| last.to_cursor()) } else { None };
    let items = found.iter().take(size).map(|(_, record)| record.version(stale).value.clone()).collect();
    Page { items, next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ids(page: &Page) -> Vec<&str> {
        page.items.iter().filter_map(|item| item["id"].as_str()).collect()
    }

    #[test]
    fn pages_follow_each_other_in_the_order_of_acceptance() {
        let mut store = Store::default();
        for (id, at) in [("c", "2026-01-01T00:00:00Z"), ("a", "2026-01-02T00:00:00Z"), ("b", "2026-01-02T00:00:00Z")] {
            let review = json!({"id": id, "state": "Accepted", "acceptedEvent": {"id": "e", "at": at}});
            store.put(Role::Governance, id, review, Timestamp::UNIX_EPOCH);
        }
        store.put(Role::Governance, "d", json!({"id": "d", "state": "Rejected"}), Timestamp::UNIX_EPOCH);
        let ask = |cursor: Option<&str>| Ask::new(Some("Accepted".to_owned()), None, cursor).expect("well-formed");
        let first = page(&store, &ask(None), 2, false);
        assert_eq!(ids(&first), ["c", "a"]);
        let second = page(&store, &ask(first.next.as_deref()), 2, false);
        assert_eq!(ids(&second), ["b"]);
        assert_eq!(second.next, None);
        let later = Ask::new(None, Some("2026-01-01T00:00:00Z"), None).expect("well-formed");
        assert_eq!(ids(&page(&store, &later, 9, false)), ["a", "b"]);
    }

    #[test]
    fn a_foreign_cursor_is_malformed() {
        assert!(Ask::new(None, None, Some("zz")).is_err());
        assert!(Ask::new(None, Some("yesterday"), None).is_err());
    }
}
