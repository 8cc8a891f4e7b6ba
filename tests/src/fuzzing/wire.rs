//! What comes over the network: CBOR, messages, signed frames, batches.

use std::fmt::Debug;

use ed25519_dalek::SigningKey;
use waystation_protocol::batch::{Builder, Unpacked};
use waystation_protocol::chain::{Hash, Mark, Seq};
use waystation_protocol::codec;
use waystation_protocol::entry::Entry;
use waystation_protocol::frame::{self, Frame, FrameType};
use waystation_protocol::id::StreamId;
use waystation_protocol::limits;
use waystation_protocol::message::{Ack, Batch, Death, Heartbeat, Hello, Message, Welcome};
use waystation_protocol::sync::meeting::{OwnJournal, meet, rungs};
use waystation_protocol::sync::{Receiver, Verdict};
use waystation_protocol::value::Value;

use super::Input;

const TYPES: [FrameType; 6] =
    [FrameType::Hello, FrameType::Welcome, FrameType::Batch, FrameType::Ack, FrameType::Heartbeat, FrameType::Death];

/// The key of the frames made here.
pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// The scan against the decoders behind it: what it passes, another codec reads as the same values.
pub fn cbor(bytes: &[u8]) {
    let scanned = codec::scan(bytes);
    agree::<Value>(bytes, scanned.is_ok());
    agree::<Entry>(bytes, scanned.is_ok());
    if let Ok(entry) = Entry::from_bytes(bytes) {
        assert_eq!(Entry::from_bytes(&entry.to_bytes()).as_ref().ok(), Some(&entry), "an entry survives the wire");
        assert!(entry.document.is_none() || !entry.is_opening());
    }
    assert!(
        codec::decode::<Value>(bytes, bytes.len().wrapping_sub(1)).is_err() || bytes.is_empty(),
        "the cap is first"
    );
}

fn agree<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug>(bytes: &[u8], is_sound: bool) {
    let ours = codec::decode::<T>(bytes, limits::ENTRY_BYTES);
    if !is_sound {
        assert!(ours.is_err(), "decoded although the scan refuses it");
        return;
    }
    let theirs: Result<T, _> = ciborium::from_reader(bytes);
    if let Ok(ours) = &ours {
        // Ours also takes a byte string for a text, if it is UTF-8.
        let is_stricter = matches!(theirs, Err(ciborium::de::Error::Semantic(..)));
        assert!(is_stricter || Some(ours) == theirs.as_ref().ok(), "{ours:?} is read elsewhere as {theirs:?}");
        let again = codec::encode(ours);
        assert_eq!(codec::decode::<T>(&again, usize::MAX).as_ref().ok(), Some(ours), "a value survives the wire");
    }
}

/// The body of every message.
pub fn message(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let kind = input.pick(&TYPES);
    let body = input.rest();
    match kind {
        FrameType::Hello => drop(same::<Hello>(body)),
        FrameType::Welcome => {
            if let Some(welcome) = same::<Welcome>(body) {
                meets(&welcome.ladder);
            }
        }
        FrameType::Batch => {
            if let Some(batch) = same::<Batch>(body) {
                opens(&batch);
            }
        }
        FrameType::Ack => drop(same::<Ack>(body)),
        FrameType::Heartbeat => drop(same::<Heartbeat>(body)),
        FrameType::Death => drop(same::<Death>(body)),
    }
}

fn same<M: Message + PartialEq + Debug>(body: &[u8]) -> Option<M> {
    let message = M::from_body(body).ok()?;
    assert!(body.len() <= limits::FRAME_BYTES, "the cap holds");
    assert_eq!(M::from_body(&message.to_body()).ok().as_ref(), Some(&message), "a message survives the wire");
    Some(message)
}

/// An agent whose journal has three entries concludes something it can stand for from any ladder.
fn meets(ladder: &[Mark]) {
    let own = [Mark::ZERO, Mark::ZERO.extend(b"a"), Mark::ZERO.extend(b"a").extend(b"b")];
    let hash_at = |seq: Seq| own.iter().find(|mark| mark.seq == seq).map(|mark| mark.hash);
    let journal = OwnJournal { head: Seq(2), stored: Seq(1), pruned: Seq(0), hash_at: &hash_at };
    let _ = meet(ladder, &journal);
    for rung in ladder.iter().filter(|rung| rung.seq.0 <= u64::MAX / 2) {
        let seqs = rungs(rung.seq);
        assert!(seqs.len() <= limits::LADDER_RUNGS && seqs.windows(2).all(|pair| pair[0] > pair[1]));
    }
}

/// Frames: raw bytes never verify unless the key made them; a sealed frame verifies until anything in it changes.
pub fn frame(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mode = input.byte();
    let verifying = key().verifying_key();
    if mode.is_multiple_of(2) {
        let bytes = input.rest();
        if let Ok(frame) = Frame::parse(bytes) {
            assert!(bytes.len() <= limits::FRAME_BYTES, "the cap holds");
            if let Ok(body) = frame.verified_body(&verifying) {
                assert_eq!(frame::seal(frame.kind, body, &key()), bytes, "only the key's own frames verify");
            }
        }
        return;
    }
    let (kind, at, change) = (input.pick(&TYPES), input.number(), input.byte());
    let body = input.rest();
    let mut sealed = frame::seal(kind, body, &key());
    let place = usize::try_from(at % sealed.len() as u64).expect("a frame's length fits");
    sealed[place] ^= change;
    let verified = Frame::parse(&sealed).and_then(|frame| frame.verified_body(&verifying).map(<[u8]>::to_vec));
    let is_sound = change == 0 && sealed.len() <= limits::FRAME_BYTES;
    assert_eq!(verified.ok(), is_sound.then(|| body.to_vec()), "a frame verifies as it was sealed, and only so");
}

/// Batches: as sent, as unpacked, and as built.
pub fn batch(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (mode, count, first) = (input.byte(), input.byte(), input.number());
    let rest = input.rest();
    let envelope = |count: u32, first: u64, payload: Vec<u8>| Batch {
        stream: StreamId::from_bytes([1; 16]),
        parent: None,
        first_seq: Seq(first),
        count,
        prev_hash: Hash::from_bytes([count as u8; 32]),
        base: None,
        payload: payload.into(),
    };
    match mode % 3 {
        0 => opens(&envelope(u32::from(count), first, rest.to_vec())),
        1 => {
            let packed = zstd::bulk::compress(rest, 1).expect("compressing to memory does not fail");
            opens(&envelope(u32::from(count), first, packed));
        }
        _ => {
            let entries: Vec<&[u8]> = rest.split(|byte| *byte == count).collect();
            let mut builder = Builder::new();
            let taken = entries.iter().take_while(|entry| builder.push(entry)).count();
            let first = first.clamp(1, u64::MAX / 2);
            let batch = envelope(builder.count(), first, builder.finish());
            let unpacked = Unpacked::open(&batch).expect("what was built opens");
            let back: Vec<&[u8]> = unpacked.entries_from(Seq(0)).map(|(_, entry)| entry).collect();
            assert_eq!(back, entries[..taken], "a batch gives back its entries");
            opens(&batch);
        }
    }
}

/// Opens a batch; what opens has the stated number of entries, within the caps, under the chain's own hashes.
pub(super) fn opens(batch: &Batch) {
    let Ok(unpacked) = Unpacked::open(batch) else { return };
    assert_eq!(unpacked.len(), batch.count as usize, "as many entries as stated");
    let (mut mark, mut bytes) = (unpacked.before(), 0);
    assert_eq!((mark.seq.next(), mark.hash), (batch.first_seq, batch.prev_hash));
    for (found, entry) in unpacked.entries_from(batch.first_seq) {
        mark = mark.extend(entry);
        bytes += entry.len();
        assert_eq!((found, unpacked.mark_at(found.seq)), (mark, Some(mark)), "the chain is recomputed");
    }
    assert_eq!((unpacked.last(), unpacked.mark_at(mark.seq.next())), (mark, None));
    assert!(bytes <= limits::BATCH_RAW_BYTES.max(limits::ENTRY_BYTES) + 16, "the cap holds");
    let mut receiver = Receiver::new(Mark::ZERO);
    let verdict = receiver.handle_batch(&unpacked);
    assert_eq!(matches!(verdict, Verdict::Append { .. }), receiver.stored() != Mark::ZERO, "{verdict:?}");
    let _ = receiver.missing();
}
