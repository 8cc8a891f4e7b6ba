//! Running a schedule: its steps, the end of all faults, and the judgement. And shortening one that fails.

use std::collections::BTreeSet;
use std::path::Path;

use crate::chance::Chance;
use crate::damage;
use crate::decisions;
use crate::device::{Device, Done};
use crate::disk::Disk;
use crate::hub::{self, Fate};
use crate::oracle::awaited::{self, Untold};
use crate::oracle::judgement;
use crate::oracle::promises::{self, Circumstances};
use crate::people;
use crate::poison;
use crate::report::Tally;
use crate::schedule::{Action, Ending, Schedule, Stage, Step};
use crate::violation::{Violation, broken};
use crate::wishes::Task;
use crate::world::World;

/// After the faults have ended everything is in place within this time: T of I4.
const SETTLE_MS: u64 = 20 * 60 * 1_000;
/// After a wait this long an agent that nobody asked for anything has rested: it does after two seconds.
const RESTED_MS: u64 = 70_000;
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
    let mut world = World::new(schedule, folder)?;
    world.trace = trace.is_some().then(Vec::new);
    let ran = play(&mut world, schedule);
    if ran.is_err() && world.trace.is_some() {
        tell_aside(&mut world)?;
    }
    if let (Some(trace), Some(lines)) = (trace, world.trace.take()) {
        *trace = lines;
    }
    ran?;
    Ok(Tally { virtual_ms: world.now, faults: world.faults })
}

/// Writes what is set aside at the hub into the trace.
fn tell_aside(world: &mut World) -> Result<(), Violation> {
    let folder = world.hub.folder().to_owned();
    for line in awaited::aside(world.oracle.books(&folder)?)? {
        world.note(|| line);
    }
    Ok(())
}

fn play(world: &mut World, schedule: &Schedule) -> Result<(), Violation> {
    world.advance(1_000)?;
    for step in &schedule.steps {
        world.note(|| format!("--- {:?}", step.action));
        take(world, step)?;
        let has_branches = world.has_branches || world.is_shared;
        let (has_restores, hub_wall) = (world.has_restores, world.wall());
        world.stations.iter_mut().for_each(|station| {
            let has_deleted = promises::has_deleted(&station.device);
            let desk = &mut station.device.desk;
            (desk.has_twin, desk.has_restores, desk.hub_wall) = (has_branches, has_restores, hub_wall);
            desk.has_deleted = has_deleted;
        });
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
        Action::Wait(ms) => {
            world.advance(world.now + ms)?;
            // long before that, each has written down what it noted and nobody waits for
            if ms >= RESTED_MS {
                (0..world.stations.len()).for_each(|index| world.rest(index));
            }
        }
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
        Action::Restore | Action::HubPutBack => take_restore(world, action, chance)?,
        Action::HubCopy => {
            world.kill_hub(500);
            world.hub.copy()?;
        }
        Action::Workers(workers) => {
            world.count("several workers");
            world.workers = workers;
            world.kill_hub(200);
        }
        people @ (Action::Decide
        | Action::Handle
        | Action::Command(..)
        | Action::Notice
        | Action::Admit(_)
        | Action::Resolve) => {
            take_people(world, people, chance)?;
        }
        copies => take_copies(world, copies, chance)?,
    }
    Ok(())
}

/// An older database is put in place, by the tool or by hand. What outlets have seen until then, they have seen.
fn take_restore(world: &mut World, action: Action, chance: &mut Chance) -> Result<(), Violation> {
    let is_by_tool = action == Action::Restore;
    let choices = if is_by_tool { world.hub.backups.len() } else { world.hub.copies.len() };
    if choices == 0 {
        return Ok(());
    }
    for station in &mut world.stations {
        // a store that closed itself shows nothing until it is opened anew
        if station.device.shown().is_ok() {
            station.device.compare()?;
        }
    }
    world.count("hub restored");
    world.kill_hub(500);
    world.oracle.close();
    let (choice, wall) = (chance.below(choices as u64), world.wall());
    let choice = usize::try_from(choice).expect("copies are few");
    world.left_to_hub.clear();
    world.has_restores = true;
    if is_by_tool { world.hub.restore(choice, wall) } else { world.hub.put_back(choice) }
}

fn take_people(world: &mut World, action: Action, chance: &mut Chance) -> Result<(), Violation> {
    match action {
        Action::Decide => decisions::decide(world, chance),
        Action::Handle => decisions::handle(world, chance),
        Action::Command(index, is_late) => people::command(world, index, is_late, chance),
        Action::Notice => people::notice(world),
        Action::Admit(index) => {
            people::admit(world, index);
            Ok(())
        }
        _ => people::resolve(world, chance),
    }
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
                let at_hub = awaited::ids(world.oracle.books(&folder)?)?;
                world.stations[index].spoke_for = None;
                let device = &mut world.stations[index].device;
                let kept: BTreeSet<[u8; 16]> = confirmed.iter().map(|confirmed| *confirmed.entry.as_bytes()).collect();
                let now = device.confirmed.iter().map(|confirmed| *confirmed.entry.as_bytes());
                world.left_to_hub.extend(now.filter(|id| !kept.contains(id) && at_hub.contains(id)));
                device.disk = Disk::of(&image, chance.fork(1));
                device.was_put_back = true;
                device.desk = desk;
                device.confirmed = confirmed;
                device.gone.retain(|id| !kept.contains(id));
            }
        }
        Action::Clone(index) => {
            if world.stations[index].copies.is_empty() {
                copy(world, index);
            }
            if let Some((image, desk, _)) = world.stations[index].copies.last().cloned() {
                world.count("device cloned");
                world.has_branches = true;
                let identity = world.stations[index].device.index;
                world.add_station(identity, Disk::of(&image, chance.fork(1)))?;
                if let Some(clone) = world.stations.last_mut() {
                    clone.device.desk = desk;
                }
            }
        }
        Action::Damage(index) => strike(world, index, chance)?,
        _ => {}
    }
    Ok(())
}

/// Bits of a device's file flip. What the hub has of what is lost must stay there.
fn strike(world: &mut World, index: usize, chance: &mut Chance) -> Result<(), Violation> {
    let device = &world.stations[index].device;
    // nor one that closed itself when its disk failed
    if device.store.is_none() || device.disk.is_failing() || device.shown().is_err() {
        return Ok(());
    }
    world.count("damaged file");
    world.disconnect(index, 500);
    world.stations[index].engine = None;
    let folder = world.hub.folder().to_owned();
    let at_hub = awaited::ids(world.oracle.books(&folder)?)?;
    let station = &mut world.stations[index];
    station.spoke_for = None;
    let cost = damage::strike(&mut station.device, chance)?;
    station.back_at = world.now + 500;
    // a store that lay in another place begins a stream of its own
    world.has_branches = true;
    if cost.is_salvaged {
        world.count("file salvaged");
    }
    world.left_to_hub.extend(cost.lost.iter().filter(|id| at_hub.contains(*id)));
    world.note(|| format!("device {index}: its file was damaged: {cost:?}"));
    Ok(())
}

/// Puts a copy of a device's disk aside. Before the store has its name there is nothing that could be put back: an agent
/// that finds the name finds a store.
fn copy(world: &mut World, index: usize) {
    let station = &mut world.stations[index];
    let device = &station.device;
    if !device.has_store() {
        return;
    }
    station.copies.push((device.disk.image(), device.desk.clone(), device.confirmed.clone()));
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
            let has_deleted = |device: &Device| {
                promises::has_deleted(device) || device.store.as_ref().is_some_and(|store| store.pruned().0 > 0)
            };
            let is_lost = world.has_branches || world.stations.iter().any(|station| has_deleted(&station.device));
            if !is_lost && people::is_restoring(world)? && !people::are_strangers_awaited(world)? {
                let why = "nobody has deleted anything or lost it, and yet the restore does not end by itself";
                return Err(broken("liveness", why));
            }
            let wall = world.wall();
            if world.hub.release(wall) {
                world.was_released = true;
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
        let stored = awaited::stored(world.oracle.books(&folder)?, stream.as_bytes())?;
        if stored < head {
            return Ok(Some(format!("the hub has {stored} of {head} of device {}", station.device.index)));
        }
    }
    let unprocessed = awaited::unprocessed(world.oracle.books(&folder)?, &poison::STRANGERS)?;
    if unprocessed > 0 {
        return Ok(Some(format!("the hub has {unprocessed} journals not processed")));
    }
    let untold = awaited::untold(world.oracle.books(&folder)?)?;
    if !world.has_branches && !world.has_restores {
        let (books, people) = (world.oracle.books(&folder)?, &world.people);
        if let Some(command) = promises::unanswered(books, people)? {
            return Ok(Some(format!("command {command} has no answer")));
        }
    }
    if world.people.are_waiting() {
        return Ok(Some("the author of an act waits".to_owned()));
    }
    if world.has_restores && people::is_restoring(world)? {
        return Ok(Some("the hub waits for what it has forgotten".to_owned()));
    }
    for station in &world.stations {
        let Some(store) = &station.device.store else { continue };
        let held = store.down().map(|down| (*down.stream.as_bytes(), down.head.seq.0)).unwrap_or_default();
        let is_twin = world.stations.iter().filter(|other| other.device.index == station.device.index).count() > 1;
        let is_behind = |due: &Untold| due.agent == *store.identity().agent.as_bytes() && !due.is_told(held);
        if let Some(due) = untold.iter().filter(|_| !is_twin).find(|due| is_behind(due)) {
            return Ok(Some(format!("device {} holds {} of what it is told: {due:?}", station.device.index, held.1)));
        }
        // told late, of a journal that the hub has forgotten: it hears of it from the agent
        if held.1 > 0 && !is_twin && !awaited::holds_told(world.oracle.books(&folder)?, &held)? {
            return Ok(Some(format!("device {} was told what the hub does not know", station.device.index)));
        }
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
    for index in 0..world.stations.len() {
        world.judge_deleted(index)?;
        world.stations[index].device.judge_kept()?;
        world.stations[index].device.is_away = world.stations[index].session.is_none();
        let has_deleted = promises::has_deleted(&world.stations[index].device);
        world.stations[index].device.desk.has_deleted = has_deleted;
        // what came down since is seen now
        world.stations[index].device.compare()?;
    }
    let World { has_branches, has_restores, was_released, is_shared, .. } = *world;
    let given = Circumstances { has_restores, was_released, has_branches };
    let folder = world.hub.folder().to_owned();
    let books = world.oracle.books(&folder)?;
    let at_hub = awaited::ids(books)?;
    if world.left_to_hub.iter().any(|id| !at_hub.contains(id)) {
        return Err(broken("I1", "an entry was acknowledged, its disk put back, and now the hub lacks it"));
    }
    let devices: Vec<&Device> = world.stations.iter().map(|station| &station.device).collect();
    judgement::check(books, &devices, &world.people, &poison::STRANGERS, given, is_shared)
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
