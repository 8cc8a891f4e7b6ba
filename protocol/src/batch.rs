//! A batch's payload: contiguous entries, each after its length, compressed together.
//!
//! The receiver recomputes the chain over the bytes as they came and never encodes an entry again.

use std::cell::RefCell;
use std::io::Read;

use zstd::stream::read::Decoder;
use zstd::zstd_safe::DCtx;

use crate::chain::{Mark, Seq};
use crate::limits;
use crate::message::Batch;

/// Compression level: 3 costs 2 µs per entry and leaves a quarter of the bytes.
const ZSTD_LEVEL: i32 = 3;

/// Why a batch cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The compressed stream is damaged, or larger than a batch may be.
    #[error("payload does not unpack: {0}")]
    Unpack(std::io::Error),
    /// The unpacked bytes exceed the cap.
    #[error("payload unpacks to more than {limit} bytes")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// The payload does not hold the number of entries its envelope states.
    #[error("payload holds {found} entries, its envelope says {stated}")]
    Count {
        /// Entries found.
        found: u64,
        /// Entries stated.
        stated: u32,
    },
    /// A length runs past the end of the payload.
    #[error("payload ends within an entry")]
    Torn,
    /// Seqs begin at 1 and do not overflow.
    #[error("seqs out of range")]
    Range,
}

/// Collects entries until a batch is full.
#[derive(Debug, Default)]
pub struct Builder {
    raw: Vec<u8>,
    count: u32,
}

impl Builder {
    /// An empty batch.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Takes one entry's bytes, or gives back false where the batch is full. An empty batch takes any legal entry.
    pub fn push(&mut self, entry: &[u8]) -> bool {
        let full = self.count == limits::BATCH_ENTRIES
            || (self.count > 0 && self.raw.len() + entry.len() + 10 > limits::BATCH_RAW_BYTES);
        if full {
            return false;
        }
        put_length(&mut self.raw, entry.len());
        self.raw.extend_from_slice(entry);
        self.count += 1;
        true
    }

    /// Entries taken.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes before compression.
    pub fn raw_bytes(&self) -> usize {
        self.raw.len()
    }

    /// The compressed payload. The builder is empty afterwards and keeps its memory.
    pub fn finish(&mut self) -> Vec<u8> {
        let payload = zstd::bulk::compress(&self.raw, ZSTD_LEVEL).expect("compressing to memory does not fail");
        self.raw.clear();
        self.count = 0;
        payload
    }
}

/// A batch whose payload was unpacked and whose chain was recomputed.
#[derive(Debug)]
pub struct Unpacked {
    raw: Vec<u8>,
    spans: Vec<(usize, usize)>,
    marks: Vec<Mark>,
    before: Mark,
}

impl Unpacked {
    /// Unpacks `batch` within the limits and computes the chain's hash at every entry.
    pub fn open(batch: &Batch) -> Result<Unpacked, BatchError> {
        if batch.count > limits::BATCH_ENTRIES || batch.first_seq.0 == 0 || batch.first_seq.0 > u64::MAX / 2 {
            return Err(BatchError::Range);
        }
        let raw = unpack(&batch.payload)?;
        let mut spans = Vec::with_capacity(batch.count as usize);
        let mut marks = Vec::with_capacity(batch.count as usize);
        let before = Mark { seq: Seq(batch.first_seq.0 - 1), hash: batch.prev_hash };
        let (mut at, mut mark) = (0, before);
        while at < raw.len() {
            let (length, start) = take_length(&raw, at).ok_or(BatchError::Torn)?;
            let end = start.checked_add(length).filter(|end| *end <= raw.len()).ok_or(BatchError::Torn)?;
            mark = mark.extend(&raw[start..end]);
            spans.push((start, end));
            marks.push(mark);
            at = end;
        }
        if spans.len() as u64 != u64::from(batch.count) {
            return Err(BatchError::Count { found: spans.len() as u64, stated: batch.count });
        }
        Ok(Unpacked { raw, spans, marks, before })
    }

    /// The mark the first entry follows.
    pub fn before(&self) -> Mark {
        self.before
    }

    /// The mark at the last entry; where the batch is empty, the one before it.
    pub fn last(&self) -> Mark {
        self.marks.last().copied().unwrap_or(self.before)
    }

    /// The mark at `seq`, if this batch knows it.
    pub fn mark_at(&self, seq: Seq) -> Option<Mark> {
        if seq == self.before.seq {
            return Some(self.before);
        }
        let index = seq.0.checked_sub(self.before.seq.0 + 1)?;
        self.marks.get(usize::try_from(index).ok()?).copied()
    }

    /// Entries with their seqs, from `first` on.
    pub fn entries_from(&self, first: Seq) -> impl Iterator<Item = (Mark, &[u8])> {
        let entries = self.marks.iter().zip(&self.spans);
        entries.filter(move |(mark, _)| mark.seq >= first).map(|(mark, (start, end))| (*mark, &self.raw[*start..*end]))
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether the batch only carries its envelope.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

thread_local! {
    /// What unpacking works with, kept: making it anew costs more than a small batch.
    static UNPACKING: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

fn unpack(payload: &[u8]) -> Result<Vec<u8>, BatchError> {
    let limit = limits::BATCH_RAW_BYTES.max(limits::ENTRY_BYTES) + 16;
    let mut raw = Vec::with_capacity((payload.len() * 4).min(limit));
    UNPACKING
        .with_borrow_mut(|context| {
            let mut decoder = Decoder::with_context(payload, context).single_frame();
            decoder.window_log_max(20)?;
            decoder.by_ref().take(limit as u64 + 1).read_to_end(&mut raw)
        })
        .map_err(BatchError::Unpack)?;
    if raw.len() > limit { Err(BatchError::TooLarge { limit }) } else { Ok(raw) }
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// A length in LEB128, at most five bytes, and the offset after it.
fn take_length(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut length = 0usize;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(at)?;
        at += 1;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((length, at));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StreamId;

    fn batch(entries: &[&[u8]]) -> Batch {
        let mut builder = Builder::new();
        for entry in entries {
            assert!(builder.push(entry));
        }
        let count = builder.count();
        Batch {
            stream: StreamId::from_bytes([1; 16]),
            parent: None,
            first_seq: Seq(5),
            count,
            prev_hash: Mark::ZERO.extend(b"x").hash,
            base: None,
            payload: builder.finish().into(),
        }
    }

    /// Proves R-BATCH-1, R-ENTRY-1.
    #[test]
    fn a_batch_gives_back_its_entries_and_their_chain() {
        let unpacked = Unpacked::open(&batch(&[b"one", b"", b"three"])).unwrap();
        let seen: Vec<(u64, &[u8])> = unpacked.entries_from(Seq(6)).map(|(mark, bytes)| (mark.seq.0, bytes)).collect();
        assert_eq!(seen, [(6, &b""[..]), (7, b"three")]);
        assert_eq!(unpacked.mark_at(Seq(4)), Some(unpacked.before()));
        assert_eq!(unpacked.mark_at(Seq(7)), Some(unpacked.last()));
        assert_eq!(unpacked.mark_at(Seq(8)), None);
        assert_eq!(unpacked.last(), unpacked.before().extend(b"one").extend(b"").extend(b"three"));
    }

    /// Proves R-BATCH-1.
    #[test]
    fn a_wrong_count_a_torn_payload_and_damage_are_noticed() {
        let good = batch(&[b"one", b"two"]);
        let open = |change: &dyn Fn(&mut Batch)| {
            let mut bad = good.clone();
            change(&mut bad);
            Unpacked::open(&bad).map(|_| ()).unwrap_err().to_string()
        };
        assert!(open(&|b| b.count = 3).contains("holds 2 entries"));
        assert!(open(&|b| b.first_seq = Seq(0)).contains("out of range"));
        assert!(open(&|b| b.payload.truncate(3)).contains("does not unpack"));
        let torn = zstd::bulk::compress(&[0x05, b'x'], 3).unwrap();
        assert!(open(&|b| b.payload = torn.clone().into()).contains("ends within an entry"));
    }

    /// Proves R-BATCH-2.
    #[test]
    fn a_bomb_is_refused_at_the_cap() {
        let mut bomb = batch(&[b"x"]);
        bomb.payload = zstd::stream::encode_all(std::io::repeat(0).take(1 << 28), 19).unwrap().into();
        assert!(bomb.payload.len() < 64 * 1024, "256 MiB of zeros compress well");
        assert!(Unpacked::open(&bomb).is_err());
    }

    /// Proves R-BATCH-2, R-ENTRY-6.
    #[test]
    fn a_full_builder_refuses_and_an_empty_one_takes_any_legal_entry() {
        let mut builder = Builder::new();
        assert!(builder.push(&vec![0; limits::ENTRY_BYTES]));
        let mut taken = 1;
        while builder.push(&vec![0; limits::ENTRY_BYTES]) {
            taken += 1;
        }
        assert_eq!(taken, 3, "three entries of 256 KiB and their lengths stay below 1 MiB");
        let mut small = Builder::new();
        while small.push(b"x") {}
        assert_eq!(small.count(), limits::BATCH_ENTRIES);
    }

    proptest::proptest! {
        #[test]
        fn any_payload_is_answered_without_panic(payload: Vec<u8>, count in 0u32..9) {
            let mut batch = batch(&[b"one"]);
            batch.payload = payload.into();
            batch.count = count;
            let _ = Unpacked::open(&batch);
        }
    }
}
