//! Sixteen-byte identities, written as UUIDv8.
//!
//! A random part is drawn once per process start, then a counter runs: ids of one process compress to almost nothing
//! in a batch, and stay unique across clones of a disk. A document's id is its opening entry's id.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that is not a UUID of 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an id: expected 32 hexadecimal digits, with or without hyphens")]
pub struct BadId(String);

macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The id made of exactly these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The sixteen bytes as stored and sent.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// The id in `bytes`, if there are sixteen of them.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                parse_uuid(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(de::Error::custom)
                } else {
                    deserializer.deserialize_bytes(ByteArray::<16>).map(Self)
                }
            }
        }
    };
}

id!(
    /// One act on one document.
    EntryId
);
id!(
    /// A document: the id of its opening entry.
    DocId
);
id!(
    /// One journal's identity, persisted before its first use.
    StreamId
);
id!(
    /// One MQTT connection of an agent: new at every CONNECT.
    SessionId
);
id!(
    /// An agent installation. It names the agent's topics and its MQTT client.
    AgentId
);

impl DocId {
    /// The entry that opened this document.
    pub const fn opening(self) -> EntryId {
        EntryId(self.0)
    }
}

impl EntryId {
    /// The document this entry opens.
    pub const fn opens(self) -> DocId {
        DocId(self.0)
    }
}

/// Draws ids: 76 random bits fixed at construction, then a 46-bit counter.
#[derive(Debug, Clone)]
pub struct IdSource {
    random: [u8; 10],
    count: u64,
}

impl IdSource {
    /// `random` must be fresh at every process start; two sources with equal bytes draw equal ids.
    pub const fn new(random: [u8; 10]) -> Self {
        Self { random, count: 0 }
    }

    /// The next sixteen bytes.
    pub fn draw(&mut self) -> [u8; 16] {
        let mut bytes = [0u8; 16];
        bytes[..10].copy_from_slice(&self.random);
        bytes[6] = 0x80 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        bytes[10..].copy_from_slice(&self.count.to_be_bytes()[2..]);
        self.count += 1;
        assert!(self.count < 1 << 48, "one process start draws fewer than 2^48 ids");
        bytes
    }

    /// The next entry id.
    pub fn entry(&mut self) -> EntryId {
        EntryId(self.draw())
    }
}

/// Reads a CBOR byte string of exactly `N` bytes into an array.
pub(crate) struct ByteArray<const N: usize>;

impl<const N: usize> Visitor<'_> for ByteArray<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a byte string of {N} bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<[u8; N], E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}

fn write_uuid(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

fn parse_uuid(text: &str) -> Result<[u8; 16], BadId> {
    let bad = || BadId(text.chars().take(64).collect());
    let hex: String = text.chars().filter(|c| *c != '-').collect();
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).map_err(|_| bad())?;
    bytes.try_into().map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuid_version_8_and_survive_text() {
        let mut source = IdSource::new([0xff; 10]);
        let (first, second) = (source.entry(), source.entry());
        assert_eq!(first.to_string(), "ffffffff-ffff-8fff-bfff-000000000000");
        assert_eq!(second.to_string().parse(), Ok(second));
        assert!(first < second, "ids of one process sort by the order they were drawn");
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in ["", "zz", "ffffffff-ffff-8fff-bfff-0000000000", "站"] {
            assert!(text.parse::<EntryId>().is_err(), "{text}");
        }
    }
}
