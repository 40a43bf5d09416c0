//! Whatever is said on the line: it is understood or refused, and never more of it is held than may be.

use super::{BODY_MAX, LINE_MAX, Line};
use crate::fuzz::fuzz;

fn session(bytes: &[u8]) -> bool {
    let sent = tokio::io::join(std::io::Cursor::new(bytes.to_vec()), tokio::io::sink());
    let mut line = Line { stream: Box::new(sent), read: Vec::new() };
    let heard = futures::executor::block_on(async {
        let mut heard = 0;
        while line.next().await.is_ok() {
            heard += 1;
            assert!(heard <= bytes.len(), "each takes some bytes");
        }
        heard
    });
    assert!(line.read.len() <= LINE_MAX + BODY_MAX + 8192);
    heard > 2
}

fuzz!(sessions, "nats-line", 500, session);
