//! Whatever Slack, or what stands in its place, replies.

use super::{really, said_yes};
use crate::fuzz::fuzz;

fn reply(bytes: &[u8]) -> bool {
    let (yes, status) = (said_yes(bytes), really(200, bytes));
    assert!(status == 200 || (400..=500).contains(&status));
    assert!(yes.is_none() || status == 200, "what says yes is no refusal");
    yes == Some(true) || status != 200
}

fuzz!(replies, "slack", 500, reply);
