//! Power cuts: a device works, its power goes at any change of its disk, and again during recovery, up to four times.
//!
//! Whatever was confirmed must then be there, the journal's chain whole, and the next act possible.

use std::path::Path;

use waystation_protocol::batch::Builder;
use waystation_protocol::chain::{Seq, SeqRange};

use crate::chance::Chance;
use crate::desk::Desk;
use crate::device::{Device, at};
use crate::disk::{Damage, Disk, Image};
use crate::oracle::journal;
use crate::station::START_MS;
use crate::violation::{Violation, broken};
use crate::wishes::Task;

/// Cuts during recovery, at most.
const RECOVERY_CUTS: u64 = 4;
/// Disks prepared once, of different lengths.
const BASES: u64 = 6;

/// A disk on which a clerk has worked, closed cleanly.
pub(crate) struct Base {
    image: Image,
    desk: Desk,
}

/// What a schedule did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Cuts while working.
    pub cuts: u64,
    /// Cuts while recovering.
    pub recovery_cuts: u64,
    /// Acts confirmed.
    pub confirmed: u64,
    /// What the disk lost.
    pub damage: Damage,
}

/// Disks to begin with.
///
/// # Errors
///
/// The product fails without any fault.
pub(crate) fn bases(folder: &Path) -> Result<Vec<Base>, Violation> {
    (0..BASES).map(|number| base(folder, number)).collect()
}

fn base(folder: &Path, number: u64) -> Result<Base, Violation> {
    let mut chance = Chance::new(number);
    let disk = Disk::new(chance.fork(1));
    let mut device = Device::new(0, "3702", folder, disk, chance.fork(2))?;
    if !device.start()? {
        return Err(broken("I1", "a healthy disk does not open"));
    }
    for step in 0..number * 8 {
        work(&mut device, step, &mut chance)?;
    }
    device.close();
    Ok(Base { image: device.disk.image(), desk: device.desk })
}

/// Runs the schedule of a seed in `folder`.
///
/// # Errors
///
/// What is broken.
pub(crate) fn run(seed: u64, folder: &Path, bases: &[Base]) -> Result<Tally, Violation> {
    let mut chance = Chance::new(seed);
    let mut device = if chance.percent(6) {
        let disk = Disk::new(chance.fork(1));
        Device::new(0, "3702", folder, disk, chance.fork(2))?
    } else {
        let base = chance.pick(bases);
        let disk = Disk::of(&base.image, chance.fork(1));
        let mut device = Device::with_store(0, "3702", folder, disk, chance.fork(2))?;
        device.desk = base.desk.clone();
        device
    };
    let mut tally = Tally::default();
    device.disk.cut_in(chance.within(0, 90));
    if device.start()? {
        for step in 0..chance.within(1, 8) {
            if device.disk.is_cut() {
                break;
            }
            work(&mut device, step, &mut chance)?;
        }
    }
    tally.cuts += 1;
    device.cut();
    recover(&mut device, &mut chance, &mut tally)?;
    journal::check(&device)?;
    if chance.percent(25) {
        go_on(&mut device, &mut chance)?;
    }
    tally.confirmed = device.confirmed.len() as u64;
    tally.damage = device.disk.damage();
    device.kill();
    Ok(tally)
}

/// Opens the store, with cuts on the way.
fn recover(device: &mut Device, chance: &mut Chance, tally: &mut Tally) -> Result<(), Violation> {
    for _ in 0..chance.within(0, RECOVERY_CUTS) {
        device.disk.cut_in(chance.within(0, 24));
        if device.start()? && !device.disk.is_cut() && chance.percent(50) {
            device.disk.cut_in(u64::MAX);
            return Ok(());
        }
        tally.recovery_cuts += 1;
        device.cut();
    }
    if device.start()? { Ok(()) } else { Err(broken("I1", "the store does not open after the last cut")) }
}

/// Nothing fails any more: the next act is confirmed, and there after a clean end.
fn go_on(device: &mut Device, chance: &mut Chance) -> Result<(), Violation> {
    work(device, 99, chance)?;
    device.close();
    if !device.start()? {
        return Err(broken("I1", "the store does not open after a clean end"));
    }
    journal::check(device)
}

fn work(device: &mut Device, step: u64, chance: &mut Chance) -> Result<(), Violation> {
    let at = at(START_MS + i64::try_from(step).expect("steps are few") * 60_000, step * 60_000);
    let task = chance.weighted(&[
        (3, Some(Task::Survey)),
        (3, Some(Task::Move)),
        (4, Some(Task::CheckIn)),
        (8, Some(Task::Step)),
        (2, Some(Task::Note)),
        (1, Some(Task::Void)),
        (3, None),
    ]);
    match task {
        Some(task) => drop(device.work(task, at, chance)?),
        None if chance.percent(50) => drop(device.import(at, chance)?),
        None => rest(device, chance),
    }
    Ok(())
}

/// The hub's marks move, or the store writes its cache.
fn rest(device: &Device, chance: &mut Chance) {
    let Some(store) = &device.store else { return };
    if chance.percent(50) {
        let mark = store.head();
        // a disk that fails now fails the next act too
        let _ = store.record_stored(mark, mark.seq, Seq(0));
    }
    store.pause_in_place();
}

/// A device's journal as batches would carry it, as far as it is not deleted.
pub(crate) fn kept(device: &Device) -> Result<(Vec<u8>, Seq), Violation> {
    let Some(store) = &device.store else { return Err(broken("harness", "the device is off")) };
    let mut builder = Builder::new();
    let range = SeqRange { first: store.pruned().next(), last: store.head().seq };
    if range.first > range.last {
        return Ok((builder.finish(), range.last));
    }
    let filled = store.fill_batch(range, &mut builder);
    let filled = filled.map_err(|error| broken("I7", format!("the journal cannot be read: {error}")))?;
    Ok((builder.finish(), filled.last))
}
