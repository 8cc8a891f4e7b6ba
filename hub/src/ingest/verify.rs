//! A frame on its way to the store: verified on its raw bytes, then decoded and its chain recomputed.
//!
//! Touches no database and runs off the writer thread.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use ed25519_dalek::VerifyingKey;
use waystation_protocol::PROTOCOL_VERSION;
use waystation_protocol::batch::{BatchError, Unpacked};
use waystation_protocol::chain::Mark;
use waystation_protocol::codec::CodecError;
use waystation_protocol::frame::{Frame, FrameError, FrameType};
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::message::{Ack, Batch, Death, Heartbeat, Hello, Message, Welcome};
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::site::{SiteId, Sites};

use super::Upward;
use crate::store::Counters;

/// The pinned key of every agent that ever said HELLO, and the hub's own.
#[derive(Debug, Default)]
pub struct Keys {
    pinned: RwLock<HashMap<AgentId, VerifyingKey>>,
    own: Option<VerifyingKey>,
}

/// Why a frame was dropped before it reached the store.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// It is no frame, or its signature is not its agent's.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Its agent never said HELLO; it will after its resend timer.
    #[error("no key is known for this agent")]
    UnknownKey,
    /// A HELLO with another key than the one pinned at its first.
    #[error("another key is pinned to this agent")]
    KeyMismatch,
    /// The body is not the message its type promises.
    #[error("the body does not decode: {0}")]
    Body(#[from] CodecError),
    /// The payload is not what its envelope says.
    #[error("the payload is refused: {0}")]
    Batch(#[from] BatchError),
    /// A HELLO on another agent's topic.
    #[error("the HELLO names another agent than its topic")]
    WrongTopic,
    /// A HELLO for the site of documents that are no outlet's.
    #[error("the HELLO stands for the hub's own site")]
    ReservedSite,
    /// A type only the hub sends.
    #[error("an agent does not send {0:?}")]
    WrongDirection(FrameType),
}

impl Keys {
    /// The keys pinned so far. Without a key of its own the hub believes no agent that more was stored than is here.
    pub fn new(pinned: impl IntoIterator<Item = (AgentId, VerifyingKey)>, own: Option<VerifyingKey>) -> Keys {
        Keys { pinned: RwLock::new(pinned.into_iter().collect()), own }
    }

    /// The key pinned to an agent.
    pub fn find(&self, agent: AgentId) -> Option<VerifyingKey> {
        self.pinned.read().unwrap_or_else(PoisonError::into_inner).get(&agent).copied()
    }

    /// Pins a key unless one is pinned already, and gives the one that counts.
    fn pin(&self, agent: AgentId, key: VerifyingKey) -> VerifyingKey {
        *self.pinned.write().unwrap_or_else(PoisonError::into_inner).entry(agent).or_insert(key)
    }
}

/// Verifies a frame from `agent`'s topic: size and signature on the raw bytes first, then body, then payload and chain.
///
/// # Errors
///
/// The frame must be dropped; [`Rejected`] says why.
pub fn verify(agent: AgentId, bytes: &[u8], keys: &Keys) -> Result<Upward, Rejected> {
    let frame = Frame::parse(bytes)?;
    let body = match (frame.kind, keys.find(agent)) {
        (FrameType::Hello, known) => return hello(agent, &frame, known, keys),
        (_, Some(key)) => frame.verified_body(&key)?,
        // a hub put back to before this agent's first HELLO: telling it so needs no trust, and reveals nothing
        (FrameType::Heartbeat, None) => {
            return Ok(Upward::Stranger(Box::new(Heartbeat::from_body(frame.unverified_body())?)));
        }
        (_, None) => return Err(Rejected::UnknownKey),
    };
    match frame.kind {
        FrameType::Batch => {
            let read = || {
                let batch = Batch::from_body(body)?;
                let entries = Unpacked::open(&batch)?;
                Ok(Upward::Batch(Box::new((batch, entries)), frame.version))
            };
            match read() {
                // storing is never refused for schema reasons
                Err(_) if frame.version > PROTOCOL_VERSION => Ok(Upward::Newer(bytes.to_vec())),
                read => read,
            }
        }
        FrameType::Heartbeat => Ok(Upward::Heartbeat(Box::new(Heartbeat::from_body(body)?))),
        FrameType::Death => Ok(Upward::Death(Death::from_body(body)?)),
        FrameType::Ack => Ok(Upward::Ack(Box::new(Ack::from_body(body)?))),
        FrameType::Hello | FrameType::Welcome => Err(Rejected::WrongDirection(frame.kind)),
    }
}

/// A first HELLO proves that its sender holds the key it names; that key is pinned from then on.
fn hello(agent: AgentId, frame: &Frame<'_>, known: Option<VerifyingKey>, keys: &Keys) -> Result<Upward, Rejected> {
    let claimed = Hello::from_body(frame.unverified_body())?;
    if claimed.agent != agent {
        return Err(Rejected::WrongTopic);
    }
    if matches!(&claimed.sites, Sites::Only(sites) if sites.iter().any(SiteId::is_hub)) {
        return Err(Rejected::ReservedSite);
    }
    let key = <[u8; 32]>::try_from(claimed.public_key.as_slice()).map_err(|_| FrameError::Signature)?;
    let key = VerifyingKey::from_bytes(&key).map_err(|_| FrameError::Signature)?;
    if known.is_some_and(|known| known != key) {
        return Err(Rejected::KeyMismatch);
    }
    frame.verified_body(&key)?;
    if known.is_none() && keys.pin(agent, key) != key {
        return Err(Rejected::KeyMismatch);
    }
    let is_proven = keys.own.is_some_and(|own| proves(&claimed, &own)) || is_planted(Plant::BelieveClaims);
    Ok(Upward::Hello(Box::new(claimed), is_proven))
}

/// Whether a HELLO brings a frame of the hub's own that says of its journal, or of one this came from, that it is stored as
/// far as the HELLO claims.
fn proves(hello: &Hello, own: &VerifyingKey) -> bool {
    let Some((stream, stored)) = hello.proof.as_ref().and_then(|proof| told(proof.as_slice(), own)) else {
        return false;
    };
    let is_of_line = stream == hello.stream || hello.line.iter().any(|parent| parent.stream == stream);
    is_of_line && (stored.seq > hello.stored.seq || stored == hello.stored)
}

/// What a frame of the hub's own says that it has stored of which journal.
fn told(frame: &[u8], own: &VerifyingKey) -> Option<(StreamId, Mark)> {
    let frame = Frame::parse(frame).ok()?;
    let body = frame.verified_body(own).ok()?;
    match frame.kind {
        FrameType::Ack => Ack::from_body(body).ok().map(|ack| (ack.stream, ack.stored)),
        FrameType::Welcome => {
            let welcome = Welcome::from_body(body).ok()?;
            Some((welcome.stream, *welcome.ladder.first()?))
        }
        FrameType::Hello | FrameType::Batch | FrameType::Heartbeat | FrameType::Death => None,
    }
}

impl Rejected {
    /// Counts this reason.
    pub fn count(&self, counters: &Counters) {
        match self {
            Rejected::Frame(FrameError::Signature) => counters.signatures_refused.one(),
            Rejected::UnknownKey => counters.frames_unknown_key.one(),
            Rejected::KeyMismatch => counters.keys_refused.one(),
            Rejected::Batch(_) => counters.batches_malformed.one(),
            Rejected::Frame(FrameError::Size(_) | FrameError::Type(_))
            | Rejected::Body(_)
            | Rejected::WrongTopic
            | Rejected::ReservedSite
            | Rejected::WrongDirection(_) => counters.frames_malformed.one(),
        }
    }
}
