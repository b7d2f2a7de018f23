//! Verified tokens, remembered by their SHA-256 until `exp`.
//!
//! A reconnect storm then costs a hash a socket and not an RSA check. Two maps: new entries go into
//! the young one; when that is half the bound, it becomes the old one and the former old one is
//! dropped. What is used again moves back to the young one. So the map is bounded, nothing is ever
//! searched, and expired entries leave by themselves.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tidewire_rights::Principal;

/// SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

/// Which key set a token was verified with: an issuer takes a key back by a new generation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct VerifiedBy {
    pub(crate) issuer: usize,
    pub(crate) generation: u64,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) principal: Arc<Principal>,
    pub(crate) verified_by: VerifiedBy,
}

#[derive(Default)]
struct Maps {
    young: HashMap<TokenHash, Entry>,
    old: HashMap<TokenHash, Entry>,
}

pub(crate) struct TokenCache {
    maps: Mutex<Maps>,
    half_max: usize,
    hits: AtomicU64,
    misses: AtomicU64,
    evicted: AtomicU64,
}

impl TokenCache {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self {
            maps: Mutex::default(),
            half_max: entries_max / 2,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// The principal of a token that was verified before, is not over, and whose key is still good.
    pub(crate) fn get(
        &self,
        hash: TokenHash,
        now_unix: i64,
        still_good: impl FnOnce(VerifiedBy) -> bool,
    ) -> Option<Arc<Principal>> {
        let found = self
            .find(hash)
            .filter(|entry| now_unix < entry.principal.expires_at && still_good(entry.verified_by));
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found.map(|entry| entry.principal)
    }

    fn find(&self, hash: TokenHash) -> Option<Entry> {
        let mut maps = self.maps.lock();
        if let Some(entry) = maps.young.get(&hash) {
            return Some(entry.clone());
        }
        let entry = maps.old.remove(&hash)?;
        let dropped = self.put(&mut maps, hash, entry.clone());
        drop(maps);
        drop(dropped);
        Some(entry)
    }

    pub(crate) fn insert(&self, hash: TokenHash, entry: Entry) {
        let mut maps = self.maps.lock();
        maps.old.remove(&hash);
        let dropped = self.put(&mut maps, hash, entry);
        drop(maps);
        // Tens of thousands of entries: freed while nobody waits for the lock.
        drop(dropped);
    }

    fn put(&self, maps: &mut Maps, hash: TokenHash, entry: Entry) -> HashMap<TokenHash, Entry> {
        let mut dropped = HashMap::new();
        if self.half_max == 0 {
            return dropped;
        }
        if maps.young.len() >= self.half_max {
            dropped = mem::replace(&mut maps.old, mem::take(&mut maps.young));
            self.evicted.fetch_add(dropped.len() as u64, Ordering::Relaxed);
        }
        maps.young.insert(hash, entry);
        dropped
    }

    pub(crate) fn len(&self) -> usize {
        let maps = self.maps.lock();
        maps.young.len() + maps.old.len()
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(crate) fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}
