//! CBOR in and out: the only module that names the codec crate.
//!
//! The wire is plain RFC 8949 of definite length, so the codec can be swapped. Bytes from outside pass a
//! non-recursive scan first (size, depth, items, no tags, no indefinite lengths, no duplicate keys); only then are
//! they decoded, and only into typed values.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits;

/// Why bytes were not decoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// More bytes than the caller's cap.
    #[error("{bytes} bytes exceed the limit of {limit}")]
    TooLarge {
        /// What was given.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The scan refused the shape.
    #[error("refused at byte {at}: {reason}")]
    Shape {
        /// Offset of the offending item.
        at: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The bytes are CBOR, but not the value expected.
    #[error("not the expected value: {0}")]
    Value(String),
}

/// Encodes a value of ours. Our own types always encode.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    serde_cbor::to_writer(&mut bytes, value).expect("values of the protocol have no unencodable parts");
    bytes
}

/// Decodes bytes from outside, after the scan, into `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::TooLarge { bytes: bytes.len(), limit });
    }
    scan(bytes)?;
    serde_cbor::from_slice(bytes).map_err(|error| CodecError::Value(error.to_string()))
}

/// Decodes bytes this process wrote itself and found intact by a checksum: no scan.
pub fn decode_own<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    serde_cbor::from_slice(bytes).map_err(|error| CodecError::Value(error.to_string()))
}

/// One open array or map: what is still to come, and the keys seen.
struct Open<'a> {
    left: usize,
    keys: Option<Vec<&'a [u8]>>,
    at_key: bool,
}

/// Checks that `bytes` are exactly one CBOR item within the limits, in one pass and without recursion.
pub fn scan(bytes: &[u8]) -> Result<(), CodecError> {
    let mut open: Vec<Open<'_>> = Vec::with_capacity(8);
    let mut at = 0;
    let mut items = 0;
    loop {
        let start = at;
        let refuse = |reason| Err(CodecError::Shape { at: start, reason });
        items += 1;
        if items > limits::CBOR_ITEMS {
            return refuse("too many items");
        }
        let Some((major, argument, next)) = head(bytes, at) else { return refuse("truncated or indefinite item") };
        at = next;
        let opened = match major {
            0 | 1 => None,
            2 | 3 => {
                let end = usize::try_from(argument).ok().and_then(|len| at.checked_add(len));
                match end {
                    Some(end) if end <= bytes.len() => at = end,
                    _ => return refuse("string longer than its input"),
                }
                None
            }
            4 | 5 => {
                let count = usize::try_from(argument).unwrap_or(usize::MAX);
                if count > limits::CBOR_ITEMS {
                    return refuse("too many items");
                }
                let is_map = major == 5;
                let left = if is_map { count * 2 } else { count };
                Some(Open { left, keys: is_map.then(Vec::new), at_key: is_map })
            }
            6 => return refuse("tags are not part of the protocol"),
            _ => None,
        };
        if let Some(parent) = open.last_mut() {
            if parent.at_key {
                if major != 3 {
                    return refuse("a map key is not text");
                }
                if let Some(keys) = &mut parent.keys {
                    keys.push(&bytes[start..at]);
                }
            }
            parent.left -= 1;
            parent.at_key = parent.keys.is_some() && !parent.at_key;
        }
        if let Some(frame) = opened {
            if open.len() == limits::CBOR_DEPTH {
                return refuse("nested too deeply");
            }
            open.push(frame);
        }
        while open.last().is_some_and(|frame| frame.left == 0) {
            let Some(Open { keys: Some(mut keys), .. }) = open.pop() else { continue };
            keys.sort_unstable();
            if keys.windows(2).any(|pair| pair[0] == pair[1]) {
                return refuse("a map holds a key twice");
            }
        }
        if open.is_empty() {
            return if at == bytes.len() { Ok(()) } else { refuse("bytes follow the value") };
        }
    }
}

/// Major type, argument and the offset after an item's head; none if truncated, reserved or indefinite.
fn head(bytes: &[u8], at: usize) -> Option<(u8, u64, usize)> {
    let first = *bytes.get(at)?;
    let (major, info) = (first >> 5, first & 0x1f);
    let width = match info {
        0..=23 => return Some((major, u64::from(info), at + 1)),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None,
    };
    let argument = bytes.get(at + 1..at + 1 + width)?;
    let value = argument.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    Some((major, value, at + 1 + width))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn check(hex: &str, expected: &str) {
        let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        let found = scan(&bytes).map_or_else(|error| error.to_string(), |()| "accepted".to_owned());
        assert!(found.contains(expected), "{hex}: {found}");
    }

    /// Proves R-CBOR-1.
    #[test]
    fn hostile_shapes_are_refused_before_decoding() {
        check("a16161f6", "accepted");
        check("a0", "accepted");
        check("80", "accepted");
        check("", "truncated");
        check("5b7fffffffffffffff", "string longer");
        check("9b7fffffffffffffff", "too many items");
        check("9f", "indefinite");
        check("c000", "tags");
        check("a2616101616102", "key twice");
        check("a10001", "key is not text");
        check("0000", "bytes follow");
        check(&"81".repeat(17), "nested too deeply");
        check("8201", "truncated");
    }

    #[test]
    fn a_nested_map_does_not_confuse_its_parents_keys() {
        check("a2 61 61 a1 61 61 01 61 62 02".replace(' ', "").as_str(), "accepted");
        check("a2 61 61 a1 61 61 01 61 61 02".replace(' ', "").as_str(), "key twice");
    }

    /// Proves R-CBOR-1.
    #[test]
    fn the_byte_cap_comes_first() {
        let bytes = encode(&BTreeMap::from([("a", "b")]));
        assert!(decode::<BTreeMap<String, String>>(&bytes, bytes.len()).is_ok());
        assert!(matches!(
            decode::<BTreeMap<String, String>>(&bytes, bytes.len() - 1),
            Err(CodecError::TooLarge { .. })
        ));
    }

    proptest::proptest! {
        #[test]
        fn scanning_and_decoding_never_panic(bytes: Vec<u8>) {
            let _ = decode::<crate::entry::Entry>(&bytes, limits::ENTRY_BYTES);
        }
    }
}
