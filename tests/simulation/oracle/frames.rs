//! Frames read anew: `version ‖ type ‖ key id (8) ‖ signature (64) ‖ CBOR`.

use ciborium::Value;

use super::journal::{field, id};

const HEADER: usize = 2 + 8 + 64;

/// A downward journal and a mark in it.
pub(crate) type Held = ([u8; 16], (u64, [u8; 32]));

/// What the oracle cares about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// Agent to hub.
    Hello {
        down: Option<Held>,
    },
    /// Hub to agent.
    Welcome {
        session: [u8; 16],
        stream: [u8; 16],
        ladder: Vec<(u64, [u8; 32])>,
        prunable: u64,
        down_prunable: u64,
    },
    /// Entries.
    Batch {
        stream: [u8; 16],
        first: u64,
        count: u64,
    },
    /// Hub to agent.
    Ack {
        session: [u8; 16],
        stream: [u8; 16],
        stored: (u64, [u8; 32]),
        processed: u64,
        prunable: u64,
        down_prunable: u64,
    },
    /// Agent to hub.
    Heartbeat {
        down: Option<Held>,
    },
    Other,
}

/// The type of frames that are told apart without reading them.
const BATCH: u8 = 3;

/// Whether a frame says that it carries entries.
pub(crate) fn is_batch(bytes: &[u8]) -> bool {
    bytes.get(1) == Some(&BATCH)
}

/// Reads a frame, without believing it.
pub(crate) fn read(bytes: &[u8]) -> Option<Said> {
    let kind = *bytes.get(1)?;
    let body: Value = ciborium::from_reader(bytes.get(HEADER..)?).ok()?;
    let number = |name: &str| field(&body, name).and_then(number);
    Some(match kind {
        1 => Said::Hello { down: held(&body) },
        2 => Said::Welcome {
            session: id(&body, "session")?,
            stream: id(&body, "stream")?,
            ladder: field(&body, "ladder")?.as_array()?.iter().filter_map(mark).collect(),
            prunable: number("prunable")?,
            down_prunable: number("down_prunable").unwrap_or_default(),
        },
        BATCH => Said::Batch { stream: id(&body, "stream")?, first: number("first")?, count: number("count")? },
        4 => Said::Ack {
            session: id(&body, "session")?,
            stream: id(&body, "stream")?,
            stored: mark(field(&body, "stored")?)?,
            processed: number("processed")?,
            prunable: number("prunable")?,
            down_prunable: number("down_prunable").unwrap_or_default(),
        },
        5 => Said::Heartbeat { down: held(&body) },
        _ => Said::Other,
    })
}

/// What an agent says it holds of its downward journal.
fn held(body: &Value) -> Option<Held> {
    let down = field(body, "down")?;
    Some((id(down, "stream")?, mark(field(down, "head")?)?))
}

/// A whole number.
pub(crate) fn number(value: &Value) -> Option<u64> {
    value.as_integer().and_then(|number| u64::try_from(number).ok())
}

fn mark(value: &Value) -> Option<(u64, [u8; 32])> {
    let hash = field(value, "hash")?.as_bytes()?.as_slice().try_into().ok()?;
    Some((number(field(value, "seq")?)?, hash))
}

/// A frame for the trace.
pub(crate) fn describe(bytes: &[u8]) -> String {
    match read(bytes) {
        Some(Said::Welcome { ladder, .. }) => {
            format!("WELCOME {:?}", ladder.iter().map(|(seq, _)| *seq).collect::<Vec<_>>())
        }
        Some(Said::Batch { first, count, stream }) => {
            format!("BATCH {first}+{count} of {:02x}{:02x}", stream[0], stream[1])
        }
        Some(Said::Ack { stored, processed, prunable, .. }) => {
            format!("ACK stored {} processed {processed} prunable {prunable}", stored.0)
        }
        Some(said) => format!("{said:?}").to_uppercase(),
        None => "something unreadable".to_owned(),
    }
}
