//! Whatever JetStream answers, and whatever people keep in a queue's messages.

use super::wire;
use crate::closure::ids::is_id;
use crate::closure::snapshot::{Marker, Marking, Progress};
use crate::fuzz::fuzz;

fn reply(bytes: &[u8]) -> bool {
    let entry = wire::entry(bytes, "e-1");
    if let Ok(entry) = &entry {
        assert!(is_id(&entry.release_id) && is_id(&entry.review_version));
        let marker = Marker { key: "a@b@1".to_owned(), uid: "u".to_owned() };
        let cleared = wire::cleared(bytes, &marker).unwrap();
        let after = wire::entry(&cleared, "e-1").unwrap();
        assert_eq!((&after.release_id, &after.review_version), (&entry.release_id, &entry.review_version));
        assert_eq!((after.state, after.marking), (Progress::Done(wire::CLEARED.to_owned()), Marking::By(marker)));
    }
    let message = wire::message(bytes, "queue.a");
    let stream = wire::stream(bytes);
    if let Ok(Ok(stream)) = &stream {
        assert!(!stream.takes("queue.a") || !stream.subjects.is_empty());
    }
    let others = [wire::consumer(bytes).is_ok(), wire::stored(bytes, "Q").is_ok(), stream.is_ok()];
    entry.is_ok() || message.is_ok() || others.contains(&true)
}

fuzz!(replies, "nats", 500, reply);
