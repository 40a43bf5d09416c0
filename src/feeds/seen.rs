//! Which deliveries were taken before.
//!
//! A process remembers the last [`KEPT_HERE`]; a feed's status, and so the next process, the last [`KEPT_THERE`]. What is
//! forgotten costs one read of the record when it is replayed, and nothing else: the closure is there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use std::collections::{HashSet, VecDeque};

/// Deliveries that a process remembers of one feed.
pub const KEPT_HERE: usize = 65_536;
/// Deliveries that a feed's status remembers: 8 KiB of text.
pub const KEPT_THERE: usize = 1024;
/// Bytes kept of a fingerprint: of 65 536 others, one in four thousand million is mistaken for a known one.
const PRINT: usize = 6;
/// Longest [`Seen::to_text`], in characters.
pub const TEXT_MAX: usize = KEPT_THERE * PRINT * 4 / 3;

type Print = [u8; PRINT];

/// The last deliveries of a feed, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    order: VecDeque<Print>,
    known: HashSet<Print>,
}

fn print(fingerprint: &[u8; 32]) -> Print {
    let mut print = [0; PRINT];
    print.copy_from_slice(&fingerprint[..PRINT]);
    print
}

impl Seen {
    /// As a status has it. What is not of ours is nothing.
    #[must_use]
    pub fn from_text(text: &str) -> Seen {
        let mut seen = Seen::default();
        for bytes in BASE64.decode(text).unwrap_or_default().chunks_exact(PRINT) {
            if let Ok(print) = Print::try_from(bytes) {
                seen.insert(print);
            }
        }
        seen
    }

    /// The last [`KEPT_THERE`] of them.
    #[must_use]
    pub fn to_text(&self) -> String {
        let skipped = self.order.len().saturating_sub(KEPT_THERE);
        let bytes: Vec<u8> = self.order.iter().skip(skipped).flatten().copied().collect();
        BASE64.encode(bytes)
    }

    /// Whether a delivery is among them.
    #[must_use]
    pub fn knows(&self, fingerprint: &[u8; 32]) -> bool {
        self.known.contains(&print(fingerprint))
    }

    /// Remembers one.
    pub fn remember(&mut self, fingerprint: &[u8; 32]) {
        self.insert(print(fingerprint));
    }

    fn insert(&mut self, print: Print) {
        if !self.known.insert(print) {
            return;
        }
        self.order.push_back(print);
        if self.order.len() > KEPT_HERE
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    fn delivery(number: usize) -> [u8; 32] {
        Sha256::digest(number.to_be_bytes()).into()
    }

    #[test]
    fn the_last_ones_are_remembered_here_and_in_a_status() {
        let mut seen = Seen::default();
        for number in 0..KEPT_HERE + 10 {
            seen.remember(&delivery(number));
            seen.remember(&delivery(number));
        }
        assert!(!seen.knows(&delivery(9)) && seen.knows(&delivery(10)));
        let text = seen.to_text();
        assert_eq!(text.len(), TEXT_MAX);
        let stored = Seen::from_text(&text);
        assert!(!stored.knows(&delivery(KEPT_HERE + 9 - KEPT_THERE)));
        assert!((KEPT_HERE + 10 - KEPT_THERE..KEPT_HERE + 10).all(|number| stored.knows(&delivery(number))));
        assert_eq!(stored.to_text(), text);
    }

    #[test]
    fn a_status_that_somebody_else_wrote_is_nothing() {
        for text in ["", "!", "AAAA", "AAAAAAA="] {
            assert_eq!(Seen::from_text(text).order.len(), 0, "{text}");
        }
    }
}
