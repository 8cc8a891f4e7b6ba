//! Receipts: where what became of an entry set aside is turned into something to tell its agent.
//!
//! This is the one place for it. Called within the transaction that resolves the entry, so that a receipt written here
//! can neither be lost nor speak of what was rolled back. It will append an entry to the agent's downward journal; the
//! trail's row already holds all it needs, a fix's act and fields included.

use waystation_protocol::chain::Seq;

/// What became of an entry set aside.
#[derive(Debug)]
pub(super) struct Receipt<'a> {
    /// Its journal's row.
    pub(super) stream: i64,
    /// Its place there.
    pub(super) seq: Seq,
    /// released, replayed, fixed or waived.
    pub(super) resolution: &'a str,
}

/// Tells the agent; until a downward journal exists, the log.
pub(super) fn tell(receipt: &Receipt<'_>) {
    let Receipt { stream, seq, resolution } = receipt;
    tracing::info!(stream, seq = seq.0, resolution, "an entry left quarantine");
}
