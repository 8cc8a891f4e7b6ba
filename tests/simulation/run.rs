//! Running a schedule: its steps, the end of all faults, and the judgement. And shortening one that fails.

use std::path::Path;

use crate::chance::Chance;
use crate::desk::Task;
use crate::device::{Device, Done};
use crate::disk::Disk;
use crate::hub::{self, Fate};
use crate::oracle::books;
use crate::poison;
use crate::report::Tally;
use crate::schedule::{Action, Ending, Schedule, Stage, Step};
use crate::violation::{Violation, broken};
use crate::world::World;

/// After the faults have ended everything is in place within this time: T of I4.
const SETTLE_MS: u64 = 20 * 60 * 1_000;
/// Looked at this often.
const LOOK_MS: u64 = 5_000;

/// Makes ready what every schedule of a thread begins with.
///
/// # Errors
///
/// The hub fails without any fault.
pub(crate) fn prepare(folder: &Path) -> Result<(), Violation> {
    hub::template(&folder.join("template"))
}

/// Runs a schedule in `folder`. The trace is filled where there is one.
///
/// # Errors
///
/// What is broken.
pub(crate) fn run(schedule: &Schedule, folder: &Path, trace: Option<&mut Vec<String>>) -> Result<Tally, Violation> {
    let mut world = World::new(schedule.seed, schedule.devices, folder)?;
    world.trace = trace.is_some().then(Vec::new);
    let ran = play(&mut world, schedule);
    if let (Some(trace), Some(lines)) = (trace, world.trace.take()) {
        *trace = lines;
    }
    ran?;
    Ok(Tally { virtual_ms: world.now, faults: world.faults })
}

fn play(world: &mut World, schedule: &Schedule) -> Result<(), Violation> {
    world.advance(1_000)?;
    for step in &schedule.steps {
        world.note(|| format!("--- {:?}", step.action));
        take(world, step)?;
        let has_branches = world.has_branches;
        world.stations.iter_mut().for_each(|station| station.device.desk.has_twin = has_branches);
        world.advance(world.now + 40)?;
    }
    world.note(|| "--- the faults end".into());
    world.end_faults();
    settle(world)?;
    judge(world)?;
    flush(world)?;
    go_on(world)?;
    judge(world)
}

/// Nothing is wrong any more: every clerk can work, and what they do arrives.
fn go_on(world: &mut World) -> Result<(), Violation> {
    for index in 0..world.stations.len() {
        let mut chance = Chance::new(index as u64);
        let mut done = Done::Nothing;
        world.work(index, |device, at| {
            done = device.work(Task::Survey, at, &mut chance)?;
            Ok(done)
        })?;
        if done != Done::Confirmed {
            return Err(broken("liveness", format!("nothing is wrong and device {index} captures nothing")));
        }
    }
    settle(world)
}

fn take(world: &mut World, step: &Step) -> Result<(), Violation> {
    let mut chance = Chance::new(step.salt);
    match step.action.placed(world.stations.len()) {
        Action::Work(index, task) => world.work(index, |device, at| device.work(task, at, &mut chance))?,
        Action::Import(index) => world.work(index, |device, at| device.import(at, &mut chance))?,
        Action::Pause(index) => world.rest(index),
        Action::Wait(ms) => world.advance(world.now + ms)?,
        Action::Weather(weather) => world.network.weather = weather,
        Action::Disconnect(index, ms) => {
            world.count("connection lost");
            world.disconnect(index, ms);
        }
        Action::Partition(index, ms, is_half) => {
            world.count(if is_half { "half-open link" } else { "partition" });
            world.partition(index, ms, is_half);
        }
        Action::Amnesia => amnesia(world),
        Action::Kill(index, ms) => {
            world.count("agent killed");
            world.stop_agent(index, ms, Device::kill);
        }
        Action::Cut(index, changes) => world.stations[index].device.disk.cut_in(changes),
        Action::Restart(index) => world.stop_agent(index, 500, Device::close),
        Action::SyncFails(index, is_on) => {
            world.count("sync failing");
            world.stations[index].device.disk.set_failing(is_on);
        }
        Action::Full(index, is_on) => {
            world.count("disk full");
            world.stations[index].device.disk.set_full(is_on);
        }
        Action::Clock(index, ms) => {
            world.count("clock jump");
            world.jump(index, ms);
        }
        Action::Poison => {
            world.count("poison entry");
            poison::send(world, &mut chance);
        }
        hub => take_at_hub(world, hub, &mut chance)?,
    }
    Ok(())
}

fn take_at_hub(world: &mut World, action: Action, chance: &mut Chance) -> Result<(), Violation> {
    match action {
        Action::HubCommit(stage, ending) => {
            let (class, fate) = match ending {
                Ending::Fails => ("hub commit failed", Fate::Fails),
                Ending::KilledBefore => ("hub killed before commit", Fate::KilledBefore),
                Ending::KilledAfter => ("hub killed after commit", Fate::KilledAfter),
            };
            world.count(class);
            match stage {
                Stage::Store => world.store_fate = fate,
                Stage::Process => world.process_fate = fate,
            }
        }
        Action::HubKill(ms) => {
            world.count("hub killed");
            world.kill_hub(ms);
        }
        Action::HubHeads => world.hub.keep_heads(),
        Action::HubRestart => {
            world.hub.end()?;
            world.kill_hub(500);
        }
        Action::Backup => {
            world.count("backup");
            let wall = world.wall();
            if let Some(folder) = world.hub.back_up(wall)? {
                world.oracle.note_backup(&folder)?;
            }
        }
        Action::Restore if world.hub.backups.is_empty() => {}
        Action::Restore => {
            world.count("hub restored");
            world.kill_hub(500);
            let (backups, wall) = (world.hub.backups.len() as u64, world.wall());
            world.left_to_hub.clear();
            world.has_restores = true;
            world.hub.restore(usize::try_from(chance.below(backups)).expect("backups are few"), wall)?;
        }
        Action::HubCopy => {
            world.kill_hub(500);
            world.hub.copy()?;
        }
        Action::HubPutBack if world.hub.copies.is_empty() => {}
        Action::HubPutBack => {
            world.count("hub restored");
            world.kill_hub(500);
            let copies = world.hub.copies.len() as u64;
            world.left_to_hub.clear();
            world.has_restores = true;
            world.hub.put_back(usize::try_from(chance.below(copies)).expect("copies are few"))?;
        }
        Action::Workers(workers) => {
            world.count("several workers");
            world.workers = workers;
            world.kill_hub(200);
        }
        copies => take_copies(world, copies, chance)?,
    }
    Ok(())
}

fn take_copies(world: &mut World, action: Action, chance: &mut Chance) -> Result<(), Violation> {
    match action {
        Action::Copy(index) => copy(world, index),
        Action::PutBack(index) => {
            if let Some((image, desk, confirmed)) = world.stations[index].copies.last().cloned() {
                world.count("device restored");
                world.has_branches = true;
                world.stop_agent(index, 500, Device::kill);
                let folder = world.hub.folder().to_owned();
                let at_hub = books::ids(world.oracle.books(&folder)?)?;
                let device = &mut world.stations[index].device;
                let gone = device.confirmed[confirmed..].iter().map(|confirmed| *confirmed.entry.as_bytes());
                world.left_to_hub.extend(gone.filter(|id| at_hub.contains(id)));
                device.disk = Disk::of(&image, chance.fork(1));
                device.desk = desk;
                device.confirmed.truncate(confirmed);
            }
        }
        Action::Clone(index) => {
            if world.stations[index].copies.is_empty() {
                copy(world, index);
            }
            if let Some((image, desk, _)) = world.stations[index].copies.last().cloned() {
                world.count("device cloned");
                world.has_branches = true;
                world.add_station(index, Disk::of(&image, chance.fork(1)))?;
                if let Some(clone) = world.stations.last_mut() {
                    clone.device.desk = desk;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Puts a copy of a device's disk aside.
fn copy(world: &mut World, index: usize) {
    let station = &mut world.stations[index];
    let device = &station.device;
    station.copies.push((device.disk.image(), device.desk.clone(), device.confirmed.len()));
}

fn amnesia(world: &mut World) {
    world.count("broker restart");
    world.network.forget();
    for index in 0..world.stations.len() {
        world.disconnect(index, 1_000);
    }
}

/// Lets time pass until every agent has all acknowledged and the hub all processed.
fn settle(world: &mut World) -> Result<(), Violation> {
    let end = world.now + SETTLE_MS;
    let mut is_patient = true;
    loop {
        world.advance(world.now + LOOK_MS)?;
        let left = unsettled(world)?;
        let Some(left) = left else { return Ok(()) };
        if is_patient && world.now > end - SETTLE_MS / 2 && world.has_restores {
            is_patient = false;
            let wall = world.wall();
            if world.hub.release(wall) {
                world.note(|| "ops releases the restore".into());
                world.count("restore released by ops");
            }
        }
        if world.now > end {
            return Err(broken("liveness", format!("twenty minutes after the last fault {left}")));
        }
    }
}

/// What is still awaited.
fn unsettled(world: &mut World) -> Result<Option<String>, Violation> {
    for station in &world.stations {
        let index = station.device.index;
        let Some(store) = &station.device.store else { return Ok(Some(format!("device {index} is off"))) };
        let (stored, head) = (store.stored(), store.head());
        if stored != head {
            return Ok(Some(format!("device {index} has {} of {} acknowledged", stored.seq, head.seq)));
        }
        // one of two clones is connected at a time
        let twins = world.stations.iter().filter(|other| other.device.index == index).count();
        if station.session.is_none() && twins == 1 {
            return Ok(Some(format!("device {index} is not connected")));
        }
    }
    let folder = world.hub.folder().to_owned();
    for station in &world.stations {
        let Some(store) = &station.device.store else { continue };
        let (stream, head) = (store.identity().stream, store.head().seq.0);
        let stored = books::stored(world.oracle.books(&folder)?, stream.as_bytes())?;
        if stored < head {
            return Ok(Some(format!("the hub has {stored} of {head} of device {}", station.device.index)));
        }
    }
    let unprocessed = books::unprocessed(world.oracle.books(&folder)?, &poison::STRANGERS)?;
    if unprocessed > 0 {
        return Ok(Some(format!("the hub has {unprocessed} journals not processed")));
    }
    if world.hub.has_mail() || world.hub.is_due {
        return Ok(Some("the hub works".to_owned()));
    }
    Ok(None)
}

/// Late copies arrive, without the time between.
fn flush(world: &mut World) -> Result<(), Violation> {
    while let Some(due) = world.network.due() {
        world.now = world.now.max(due);
        world.advance(world.now + 50)?;
    }
    settle(world)
}

fn judge(world: &mut World) -> Result<(), Violation> {
    let (folder, has_branches) = (world.hub.folder().to_owned(), world.has_branches);
    let books = world.oracle.books(&folder)?;
    let at_hub = books::ids(books)?;
    if world.left_to_hub.iter().any(|id| !at_hub.contains(id)) {
        return Err(broken("I1", "an entry was acknowledged, its disk put back, and now the hub lacks it"));
    }
    let devices: Vec<&Device> = world.stations.iter().map(|station| &station.device).collect();
    books::check(books, &devices, &poison::STRANGERS, has_branches)
}

/// The shortest schedule found that still breaks the same in the same way: steps are left out by halves, then one by one.
pub(crate) fn shrink(
    schedule: &Schedule,
    broken: &Violation,
    fails: &dyn Fn(&Schedule) -> Option<Violation>,
) -> Schedule {
    let mut best = schedule.clone();
    let mut size = best.steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < best.steps.len() {
            let mut shorter = best.clone();
            shorter.steps.drain(at..(at + size).min(best.steps.len()));
            match fails(&shorter) {
                Some(violation) if violation.is_like(broken) => best = shorter,
                _ => at += size,
            }
        }
        size /= 2;
    }
    best
}
