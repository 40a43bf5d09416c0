//! Shards: which namespaces belong together, and with that, which replica works on them.

use sha2::{Digest as _, Sha256};
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

/// Most shards. Each costs every replica a watch on its Lease, and who leads it watches of its own on the five kinds.
pub const SHARDS_MAX: u16 = 64;

/// How many shards there are; 1 to [`SHARDS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards(NonZeroU16);

impl Shards {
    /// All namespaces are one shard.
    pub const ONE: Shards = Shards(NonZeroU16::MIN);

    /// How many.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.0.get()
    }

    /// Each of them.
    pub fn all(self) -> impl Iterator<Item = Shard> {
        (0..self.count()).map(move |index| Shard { index, of: self })
    }

    /// What replicas with this many shards call themselves on the common Lease. Whoever shards in another way, by another number or
    /// another hash, must have another name; no process's own name is one of these.
    #[must_use]
    pub fn layout(self) -> String {
        format!("shards={};hash=sha256", self.count())
    }

    /// Whether a holder of the common Lease is a layout, and not a process.
    #[must_use]
    pub fn is_layout(holder: &str) -> bool {
        holder.starts_with("shards=")
    }
}

impl FromStr for Shards {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Shards, Self::Err> {
        let count = text.parse().ok().filter(|count: &NonZeroU16| count.get() <= SHARDS_MAX);
        count.map(Shards).ok_or("a number of shards is 1 to 64")
    }
}

impl fmt::Display for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u16,
    of: Shards,
}

impl Shard {
    /// Everything.
    pub const WHOLE: Shard = Shard { index: 0, of: Shards::ONE };

    /// The shard of a namespace: the first eight bytes of SHA-256 of its name, as a big-endian number, modulo the number of
    /// shards.
    ///
    /// **Never to be changed**: replicas of two versions would disagree on who works on what.
    #[must_use]
    pub fn of(namespace: &str, shards: Shards) -> Shard {
        let first =
            Sha256::digest(namespace).iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        let index = u16::try_from(first % u64::from(shards.count())).unwrap_or_default();
        Shard { index, of: shards }
    }

    /// Its number, from 0.
    #[must_use]
    pub const fn index(self) -> u16 {
        self.index
    }

    /// Whether a namespace is in it.
    #[must_use]
    pub fn holds(self, namespace: &str) -> bool {
        self.of == Shards::ONE || Shard::of(namespace, self.of) == self
    }

    /// The name of its Lease.
    #[must_use]
    pub fn lease_name(self, common: &str) -> String {
        format!("{common}-shard-{}", self.index)
    }
}

#[cfg(test)]
mod tests;
