//! Values by number, and answers that were worked out before.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::{Arc, PoisonError, RwLock};

type Hashing = BuildHasherDefault<DefaultHasher>;

/// The numbers of values, and the values by number.
type Numbered<T> = (HashMap<Arc<T>, u32, Hashing>, Vec<Arc<T>>);

/// Numbers values: equal ones have one number for as long as the process runs.
pub struct Table<T> {
    inner: RwLock<Numbered<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { inner: RwLock::default() }
    }
}

impl<T: Eq + Hash> Table<T> {
    /// The number of a value.
    pub fn number(&self, value: T) -> u32 {
        if let Some(number) = self.inner.read().unwrap_or_else(PoisonError::into_inner).0.get(&value) {
            return *number;
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let (numbers, values) = &mut *inner;
        let value = Arc::new(value);
        *numbers.entry(Arc::clone(&value)).or_insert_with(|| {
            values.push(value);
            u32::try_from(values.len() - 1).expect("fewer than four thousand million values")
        })
    }

    /// The value of a number.
    pub fn value(&self, number: u32) -> Arc<T> {
        Arc::clone(&self.inner.read().unwrap_or_else(PoisonError::into_inner).1[number as usize])
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).1.len()
    }
}

const SHARDS: usize = 64;

/// What a pure function gave.
pub struct Memo<K, V> {
    shards: [RwLock<HashMap<K, V, Hashing>>; SHARDS],
}

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Memo { shards: std::array::from_fn(|_| RwLock::default()) }
    }
}

impl<K: Eq + Hash, V: Copy> Memo<K, V> {
    fn shard(&self, key: &K) -> &RwLock<HashMap<K, V, Hashing>> {
        let hash = Hashing::default().hash_one(key);
        &self.shards[(hash >> 58) as usize % SHARDS]
    }

    /// What is known of a key.
    pub fn get(&self, key: &K) -> Option<V> {
        self.shard(key).read().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// Remembers a value.
    pub fn put(&self, key: K, value: V) {
        self.shard(&key).write().unwrap_or_else(PoisonError::into_inner).insert(key, value);
    }

    /// The value of a key, worked out if it is new. The function must be pure: two threads may call it for one key.
    pub fn get_or(&self, key: K, work: impl FnOnce(&K) -> V) -> V {
        if let Some(value) = self.get(&key) {
            return value;
        }
        let value = work(&key);
        self.put(key, value);
        value
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}
