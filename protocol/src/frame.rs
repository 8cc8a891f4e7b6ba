//! Signed frames: `version ‖ type ‖ key id ‖ signature ‖ body`.
//!
//! Every type is signed, both ways. The signature (Ed25519, strict verification) covers everything but itself and is
//! checked on the raw bytes before anything is decoded.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::limits;
use crate::plant::{Plant, is_planted};

const KEY_ID_BYTES: usize = 8;
const SIGNATURE_BYTES: usize = 64;
const HEADER_BYTES: usize = 2 + KEY_ID_BYTES + SIGNATURE_BYTES;
const DOMAIN: &[u8] = b"waystation frame v1";

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameType {
    /// Agent to hub, once per session.
    Hello,
    /// Hub to agent, in answer to a HELLO.
    Welcome,
    /// Entries, either way.
    Batch,
    /// What was stored, either way.
    Ack,
    /// Agent to hub, once a minute.
    Heartbeat,
    /// The agent's last will.
    Death,
}

/// The first eight bytes of the BLAKE3 hash of a public key: finds the key, proves nothing.
pub type KeyId = [u8; KEY_ID_BYTES];

/// A frame as received, not yet trusted.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The sender's protocol version.
    pub version: u8,
    /// What the body is.
    pub kind: FrameType,
    /// Which key signed.
    pub key_id: KeyId,
    signature: &'a [u8],
    body: &'a [u8],
}

/// Why a frame is dropped.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrameError {
    /// Shorter than its header, or longer than the limit.
    #[error("{0} bytes are no frame")]
    Size(usize),
    /// A type this build does not know.
    #[error("unknown frame type {0}")]
    Type(u8),
    /// The signature is not that of the expected key over these bytes.
    #[error("signature does not match")]
    Signature,
}

impl FrameType {
    const ALL: [(u8, FrameType); 6] = [
        (1, FrameType::Hello),
        (2, FrameType::Welcome),
        (3, FrameType::Batch),
        (4, FrameType::Ack),
        (5, FrameType::Heartbeat),
        (6, FrameType::Death),
    ];

    fn code(self) -> u8 {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or(0, |(code, _)| *code)
    }
}

impl<'a> Frame<'a> {
    /// Splits raw bytes. Nothing in the result may be believed before [`Frame::verified_body`].
    pub fn parse(bytes: &'a [u8]) -> Result<Frame<'a>, FrameError> {
        if bytes.len() < HEADER_BYTES || bytes.len() > limits::FRAME_BYTES {
            return Err(FrameError::Size(bytes.len()));
        }
        let kind = FrameType::ALL.iter().find(|(code, _)| *code == bytes[1]).map(|(_, kind)| *kind);
        let mut key_id = [0; KEY_ID_BYTES];
        key_id.copy_from_slice(&bytes[2..2 + KEY_ID_BYTES]);
        Ok(Frame {
            version: bytes[0],
            kind: kind.ok_or(FrameError::Type(bytes[1]))?,
            key_id,
            signature: &bytes[2 + KEY_ID_BYTES..HEADER_BYTES],
            body: &bytes[HEADER_BYTES..],
        })
    }

    /// The body, once the signature was found to be `key`'s over these very bytes.
    pub fn verified_body(&self, key: &VerifyingKey) -> Result<&'a [u8], FrameError> {
        let signature = Signature::from_slice(self.signature).map_err(|_| FrameError::Signature)?;
        let signed = signed_bytes(self.version, self.kind, self.key_id, self.body);
        #[cfg(feature = "plants")]
        if sealed::contains(key, &signed, self.signature) {
            return Ok(self.body);
        }
        let verified = key.verify_strict(&signed, &signature);
        if !is_planted(Plant::AnySignature) {
            verified.map_err(|_| FrameError::Signature)?;
        }
        Ok(self.body)
    }

    /// The body before verification: only to find, in a first HELLO, the key it claims to be signed with.
    pub fn unverified_body(&self) -> &'a [u8] {
        self.body
    }
}

/// Signs `body` into a frame.
pub fn seal(kind: FrameType, body: &[u8], key: &SigningKey) -> Vec<u8> {
    let key_id = key_id(&key.verifying_key());
    let signed = signed_bytes(crate::PROTOCOL_VERSION, kind, key_id, body);
    let signature = key.sign(&signed);
    #[cfg(feature = "plants")]
    sealed::note(&key.verifying_key(), &signed, &signature.to_bytes());
    let mut frame = Vec::with_capacity(HEADER_BYTES + body.len());
    frame.extend_from_slice(&[crate::PROTOCOL_VERSION, kind.code()]);
    frame.extend_from_slice(&key_id);
    frame.extend_from_slice(&signature.to_bytes());
    frame.extend_from_slice(body);
    frame
}

/// The id by which `key` is looked up.
pub fn key_id(key: &VerifyingKey) -> KeyId {
    let hash = blake3::hash(key.as_bytes());
    let mut id = [0; KEY_ID_BYTES];
    id.copy_from_slice(&hash.as_bytes()[..KEY_ID_BYTES]);
    id
}

/// Ed25519 hashes its message twice over; what is signed is a BLAKE3 digest, so a large batch is hashed once.
fn signed_bytes(version: u8, kind: FrameType, key_id: KeyId, body: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(DOMAIN).update(&[version, kind.code()]).update(&key_id).update(body);
    *hasher.finalize().as_bytes()
}

/// What a thread sealed itself need not be verified by it: in a simulation, where one thread is everybody, that is a fifth of the
/// time. Any other bytes are verified.
#[cfg(feature = "plants")]
pub mod sealed {
    use std::cell::RefCell;
    use std::collections::HashSet;

    use ed25519_dalek::VerifyingKey;

    type Known = (VerifyingKey, [u8; 32], Vec<u8>);

    thread_local! {
        static SEALED: RefCell<Option<HashSet<Known>>> = const { RefCell::new(None) };
    }

    /// From now on this thread remembers what it seals; what it sealed before is forgotten.
    pub fn remember() {
        SEALED.set(Some(HashSet::new()));
    }

    pub(super) fn note(key: &VerifyingKey, signed: &[u8; 32], signature: &[u8]) {
        SEALED.with_borrow_mut(|sealed| {
            if let Some(sealed) = sealed {
                sealed.insert((*key, *signed, signature.to_vec()));
            }
        });
    }

    pub(super) fn contains(key: &VerifyingKey, signed: &[u8; 32], signature: &[u8]) -> bool {
        SEALED.with_borrow(|sealed| {
            sealed.as_ref().is_some_and(|sealed| sealed.contains(&(*key, *signed, signature.to_vec())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    /// Proves R-FRAME-2.
    #[test]
    fn a_frame_opens_only_with_its_own_key() {
        let bytes = seal(FrameType::Batch, b"body", &key(1));
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!((frame.kind, frame.key_id), (FrameType::Batch, key_id(&key(1).verifying_key())));
        assert_eq!(frame.verified_body(&key(1).verifying_key()), Ok(&b"body"[..]));
        assert_eq!(frame.verified_body(&key(2).verifying_key()), Err(FrameError::Signature));
    }

    /// Proves R-FRAME-1, R-FRAME-2, I7.
    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = seal(FrameType::Ack, b"stored 7", &key(1));
        for index in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[index / 8] ^= 1 << (index % 8);
            let accepted =
                Frame::parse(&bad).and_then(|frame| frame.verified_body(&key(1).verifying_key()).map(<[u8]>::to_vec));
            assert!(accepted.is_err(), "bit {index}");
        }
    }

    /// Proves R-FRAME-3.
    #[test]
    fn what_is_no_frame_is_refused_by_size_and_type() {
        let mut bytes = seal(FrameType::Hello, b"", &key(1));
        assert_eq!(Frame::parse(&bytes[..HEADER_BYTES - 1]).err(), Some(FrameError::Size(HEADER_BYTES - 1)));
        bytes[1] = 99;
        assert_eq!(Frame::parse(&bytes).err(), Some(FrameError::Type(99)));
        let large = vec![1; limits::FRAME_BYTES + 1];
        assert_eq!(Frame::parse(&large).err(), Some(FrameError::Size(limits::FRAME_BYTES + 1)));
    }
}
