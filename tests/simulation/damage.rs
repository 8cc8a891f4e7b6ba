//! A damaged file: bits of a file that was closed in order flip, and the agent starts on what is left.
//!
//! The file is a real one for that start, so that the product looks at its pages and salvages. Whatever is then in the
//! journal was written there once, to the byte; whatever is not lies in a range that the salvage names.

use std::collections::{BTreeMap, BTreeSet};

use waystation_agent::store::{Salvage, Store};
use waystation_protocol::chain::SeqRange;

use crate::chance::Chance;
use crate::cuts::kept;
use crate::device::{Device, Written, describe};
use crate::disk::{Disk, Image};
use crate::hub::prepare;
use crate::oracle::journal::{decode, entries, id};
use crate::violation::{Violation, broken};

/// Most bits that flip.
const BITS: u64 = 6;

/// How often a place that holds something is looked for.
const TRIES: u64 = 64;

/// An entry's id and its bytes.
type Line = ([u8; 16], Vec<u8>);

/// What a damaged file cost.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    /// Acts that were confirmed and could not be read any more.
    pub(crate) lost: Vec<[u8; 16]>,
    /// Whether anything was lost, moved or without its document.
    pub(crate) is_salvaged: bool,
}

/// Flips bits of a device's file, and opens what is left. The agent is off before and after.
pub(crate) fn strike(device: &mut Device, chance: &mut Chance) -> Result<Cost, Violation> {
    if device.store.is_none() {
        return Ok(Cost::default());
    }
    let before = journal(device)?;
    let begins = device.store.as_ref().map_or(0, |store| store.pruned().0);
    device.close();
    let folder = device.folder().join("damaged");
    let file = folder.join("store.redb");
    let wrong = |error: std::io::Error| broken("harness", format!("a damaged file: {error}"));
    prepare(&folder)?;
    std::fs::write(&file, device.disk.image().into_bytes()).map_err(wrong)?;
    // closed in order once more, as a file: that is noted to the byte
    let sound = Store::open(&folder, device.options());
    sound.map_err(|error| broken("I1", format!("a sound store does not open: {}", describe(&error))))?.close();
    let sound = std::fs::read(&file).map_err(wrong)?;
    std::fs::write(&file, flipped(sound, chance)).map_err(wrong)?;
    let opened = Store::open(&folder, device.options());
    let store = opened.map_err(|error| broken("I7", format!("a damaged store does not open: {}", describe(&error))))?;
    let salvage = store.salvage();
    device.store = Some(store);
    let judged = judge(device, salvage.as_ref(), begins, &before);
    if let Some(store) = device.store.take() {
        store.close();
    }
    let cost = judged?;
    let bytes = std::fs::read(&file).map_err(wrong)?;
    device.disk = Disk::of(&Image::of(bytes), chance.fork(1));
    Ok(cost)
}

fn flipped(mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    for _ in 0..chance.within(1, BITS) {
        // much of a small file is empty, and what is empty harms nobody
        let any = |chance: &mut Chance| usize::try_from(chance.below(bytes.len() as u64)).unwrap_or(0);
        let at = (0..TRIES).map(|_| any(chance)).find(|at| bytes.get(*at).is_some_and(|byte| *byte != 0));
        if let Some(byte) = at.and_then(|at| bytes.get_mut(at)) {
            *byte ^= 1 << chance.below(8);
        }
    }
    bytes
}

/// The entries of a device's journal by their ids, in their order.
fn journal(device: &Device) -> Result<Vec<Line>, Violation> {
    let read = |bytes: Vec<u8>| {
        let own = decode(&bytes).and_then(|entry| id(&entry, "id"));
        own.map(|own| (own, bytes)).ok_or_else(|| broken("I7", "an entry of a salvaged journal does not decode"))
    };
    entries(&kept(device)?.0)?.into_iter().map(read).collect()
}

/// I7 and I1: what is here was written here, and what is not is named.
fn judge(device: &mut Device, salvage: Option<&Salvage>, begins: u64, before: &[Line]) -> Result<Cost, Violation> {
    let after = journal(device)?;
    let written: BTreeMap<&[u8; 16], &Vec<u8>> = before.iter().map(|(id, bytes)| (id, bytes)).collect();
    // of a commit that failed something may be left in the file, as it was captured
    let done = device.disk.damage();
    let has_remains = done.failed_syncs + done.full + done.lost_sectors > 0;
    let is_sound = |(id, bytes): &&Line| written.get(id).map_or(has_remains, |written| *written == bytes);
    if !after.iter().all(|found| is_sound(&found)) {
        return Err(broken("I7", "a damaged file was read as an entry that nobody wrote"));
    }
    let here: BTreeSet<&[u8; 16]> = after.iter().map(|(id, _)| id).collect();
    let named: Vec<SeqRange> = salvage.map(|salvage| salvage.lost.clone()).unwrap_or_default();
    for (seq, (id, _)) in (begins + 1..).zip(before) {
        let is_named = named.iter().any(|range| range.first.0 <= seq && seq <= range.last.0);
        if !here.contains(id) && !is_named {
            return Err(broken("I1", format!("a damaged file: entry {seq} is neither here nor named lost")));
        }
    }
    let unread = before.iter().map(|(id, _)| *id).filter(|id| !here.contains(id));
    device.gone.extend(unread);
    let without: Vec<SeqRange> = salvage.map(|salvage| salvage.without_document.clone()).unwrap_or_default();
    let is_without =
        |written: &&Written| without.iter().any(|range| range.first.0 <= written.seq && written.seq <= range.last.0);
    let undocumented: Vec<[u8; 16]> =
        device.written.values().filter(is_without).map(|written| written.document).collect();
    device.undocumented.extend(undocumented);
    let first = device.store.as_ref().map_or(0, |store| store.pruned().0) + 1;
    let places: BTreeMap<[u8; 16], u64> = after.iter().map(|(id, _)| *id).zip(first..).collect();
    let was_here: BTreeSet<[u8; 16]> = before.iter().map(|(id, _)| *id).collect();
    let mut cost = Cost { lost: Vec::new(), is_salvaged: salvage.is_some() };
    let confirmed = std::mem::take(&mut device.confirmed);
    for confirmed in confirmed {
        let own = *confirmed.entry.as_bytes();
        match places.get(&own) {
            None if was_here.contains(&own) => cost.lost.push(own),
            // of those deleted before, the hub has them
            Some(_) | None => device.confirmed.push(confirmed),
        }
    }
    if salvage.is_some() {
        let mut shown =
            device.shown().map_err(|error| broken("I7", format!("a salvaged store: {}", describe(&error))))?;
        shown.retain(|id, _| !device.undocumented.contains(id.as_bytes()));
        device.desk.forget_all_but(&shown);
        let stream = device.store.as_ref().map(|store| *store.identity().stream.as_bytes()).unwrap_or_default();
        for (id, seq) in places {
            if let Some(written) = device.written.get_mut(&id) {
                (written.stream, written.seq) = (stream, seq);
            }
        }
    }
    Ok(cost)
}
