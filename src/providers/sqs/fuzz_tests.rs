//! Whatever a queue service, or what stands in its place, replies.

use crate::fuzz::fuzz;

fn reply(bytes: &[u8]) -> bool {
    let code = super::code(bytes);
    let plain = |text: &String| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    assert!(code.as_ref().is_none_or(plain));
    // A word makes a refusal another one, and never of a refusal a success.
    assert!(super::really(400, bytes) >= 400 && (code.is_some() || super::really(400, bytes) == 400));
    super::taken(bytes).is_some() || super::is_fifo(bytes) == Some(true) || code.is_some()
}

fuzz!(replies, "sqs", 500, reply);
