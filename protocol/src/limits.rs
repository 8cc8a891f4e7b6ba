//! Every bound of the protocol, with its reason. A peer that exceeds one is refused, never served partly.

/// Largest encoded entry. A form with 500 lines is about 60 KB; photos travel elsewhere.
pub const ENTRY_BYTES: usize = 256 * 1024;

/// Largest text value. Free text from imports has been seen at 12 KB.
pub const TEXT_BYTES: usize = 64 * 1024;

/// Most fields one entry may set. A count sheet of 1,000 lines with six fields each still fits.
pub const ENTRY_FIELDS: usize = 8_192;

/// Most entries in one batch. More gains no compression, and a lost batch costs its resend.
pub const BATCH_ENTRIES: u32 = 4_096;

/// Largest batch before compression, framing included. One oversize entry still fits alone.
pub const BATCH_RAW_BYTES: usize = 1024 * 1024;

/// Largest compressed payload. Brokers count messages, not bytes, so batches stay small.
pub const BATCH_WIRE_BYTES: usize = 256 * 1024 + 4096;

/// Largest frame on the wire: a batch and its envelope.
pub const FRAME_BYTES: usize = BATCH_WIRE_BYTES + 4096;

/// Deepest nesting of a CBOR item. Entries use four levels.
pub const CBOR_DEPTH: usize = 16;

/// Most items in one CBOR value, an entry's `set` included.
pub const CBOR_ITEMS: usize = 4 * ENTRY_FIELDS;

/// Most (seq, hash) rungs in a WELCOME: 2^40 entries need 40.
pub const LADDER_RUNGS: usize = 48;

/// Most streams a HELLO's line names, the nearest first: each is one disk put back or copied.
pub const LINE_STREAMS: usize = 16;

/// Most missing ranges named in one ACK; the rest follow once these are filled.
pub const MISSING_RANGES: usize = 32;

/// Most batches a receiver keeps ahead of a gap, per stream.
pub const AHEAD_BATCHES: usize = 256;

/// What a sender may have in flight when its receiver has said nothing yet.
pub const FIRST_CREDIT_BYTES: u64 = 256 * 1024;

/// The longest pause a receiver may ask for, in milliseconds: what it has to do then is done, or it asks again.
pub const RETRY_AFTER_MS: u64 = 120_000;

/// Longest label, choice and pattern of a defined field, in bytes.
pub const LABEL_BYTES: usize = 200;

/// Most choices of a defined field.
pub const CHOICES: usize = 200;

/// Most fields the hub defines for one kind.
pub const DEFINITIONS: usize = 200;

/// Longest site name in bytes.
pub const SITE_BYTES: usize = 128;

/// Longest author name in bytes.
pub const AUTHOR_BYTES: usize = 128;

/// An act may lie this far in the future of the clock that records it.
pub const CLOCK_LEAD_MS: i64 = 5 * 60 * 1000;

/// An answer that took longer says too little of the clock: it may be off by half of that.
pub const CLOCK_ROUND_TRIP_MS: i64 = 2 * 60 * 1000;

/// A jump of the wall clock against the monotonic one beyond this is a step, and journalled.
pub const CLOCK_STEP_MS: u64 = 2_000;

/// Largest quantity (thousandths), amount (minor units) or count a field holds: a billion units, ten billion yuan. Nine
/// million such values still add up within 64 bits.
pub const NUMBER: i64 = 1_000_000_000_000;

/// Furthest instants a field names, in milliseconds from 1970: the years -9998 to 9998.
pub const INSTANTS: std::ops::RangeInclusive<i64> = -377_673_580_800_000..=253_370_764_800_000;
