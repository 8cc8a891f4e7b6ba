//! Frames read anew: `version ‖ type ‖ key id (8) ‖ signature (64) ‖ CBOR`.

use ciborium::Value;

use super::journal::{field, id};

const HEADER: usize = 2 + 8 + 64;

/// What the oracle cares about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// Agent to hub.
    Hello,
    /// Hub to agent.
    Welcome {
        session: [u8; 16],
        stream: [u8; 16],
        ladder: Vec<(u64, [u8; 32])>,
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
    },
    Heartbeat,
    Other,
}

/// Reads a frame, without believing it.
pub(crate) fn read(bytes: &[u8]) -> Option<Said> {
    let kind = *bytes.get(1)?;
    let body: Value = ciborium::from_reader(bytes.get(HEADER..)?).ok()?;
    let number = |name: &str| field(&body, name).and_then(number);
    Some(match kind {
        1 => Said::Hello,
        2 => Said::Welcome {
            session: id(&body, "session")?,
            stream: id(&body, "stream")?,
            ladder: field(&body, "ladder")?.as_array()?.iter().filter_map(mark).collect(),
        },
        3 => Said::Batch { stream: id(&body, "stream")?, first: number("first")?, count: number("count")? },
        4 => Said::Ack {
            session: id(&body, "session")?,
            stream: id(&body, "stream")?,
            stored: mark(field(&body, "stored")?)?,
            processed: number("processed")?,
            prunable: number("prunable")?,
        },
        5 => Said::Heartbeat,
        _ => Said::Other,
    })
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
