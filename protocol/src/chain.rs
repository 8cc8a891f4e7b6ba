//! Journals as hash chains: `h(n) = BLAKE3(h(n−1) ‖ bytes of entry n as captured)`, with `seq` gapless from 1.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::ByteArray;

/// A place in a journal. The first entry's is 1; 0 is the empty journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// The chain's value at some seq.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

/// A seq together with the chain's hash there: what both ends must agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// How far.
    pub seq: Seq,
    /// The chain's hash at that seq.
    pub hash: Hash,
}

/// Seqs `first..=last`, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeqRange {
    /// The lowest.
    pub first: Seq,
    /// The highest, not below the lowest.
    pub last: Seq,
}

impl Seq {
    /// The seq after this one.
    pub const fn next(self) -> Seq {
        Seq(self.0 + 1)
    }

    /// This seq and `count` more.
    pub const fn plus(self, count: u64) -> Seq {
        Seq(self.0 + count)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Hash {
    /// The hash of the empty journal.
    pub const ZERO: Hash = Hash([0; 32]);

    /// The hash made of exactly these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Hash {
        Hash(bytes)
    }

    /// The hash in `bytes`, if there are thirty-two of them.
    pub fn from_slice(bytes: &[u8]) -> Option<Hash> {
        bytes.try_into().ok().map(Hash)
    }

    /// The thirty-two bytes as stored and sent.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The chain's hash after one more entry.
    pub fn extend(&self, entry: &[u8]) -> Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0).update(entry);
        Hash(*hasher.finalize().as_bytes())
    }
}

impl Mark {
    /// The empty journal.
    pub const ZERO: Mark = Mark { seq: Seq(0), hash: Hash::ZERO };

    /// The mark after one more entry.
    pub fn extend(&self, entry: &[u8]) -> Mark {
        Mark { seq: self.seq.next(), hash: self.hash.extend(entry) }
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", data_encoding::HEXLOWER.encode(&self.0[..6]))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        deserializer.deserialize_bytes(ByteArray::<32>).map(Hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_depends_on_every_entry_and_its_place() {
        let forward = Mark::ZERO.extend(b"a").extend(b"b");
        assert_eq!(forward.seq, Seq(2));
        assert_ne!(forward.hash, Mark::ZERO.extend(b"b").extend(b"a").hash);
        assert_ne!(forward.hash, Mark::ZERO.extend(b"ab").hash);
    }
}
