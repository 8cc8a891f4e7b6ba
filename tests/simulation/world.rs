//! The world of one schedule: devices, the network, the hub and the time, moved on step by step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use waystation_agent::link::{self, Engine, LinkStatus};
use waystation_agent::store::Store;
use waystation_hub::clock;
use waystation_protocol::frame::sealed;
use waystation_protocol::id::{AgentId, DocId, SessionId};
use waystation_protocol::time::Timestamp;

use crate::chance::Chance;
use crate::device::{Device, Done, at, describe};
use crate::disk::Disk;
use crate::hub::{Fate, Hub};
use crate::network::{Network, Packet, Way, Weather};
use crate::oracle::{Oracle, promises};
use crate::people::{self, People};
use crate::schedule::Schedule;
use crate::station::{START_MS, Station};
use crate::violation::{Violation, broken};

/// The outlets' sites.
const SITES: [&str; 3] = ["3701", "3702", "3703"];
/// Frames an agent may want to send at one instant; more is a loop.
const FRAMES_AT_ONCE: usize = 64;
/// Events looked at while time passes; what is left then happens later.
const EVENTS: usize = 40;
/// How soon after its death an agent starts again, unless told otherwise.
const RESTART_MS: u64 = 2_000;

/// The world.
pub(crate) struct World {
    /// Virtual milliseconds since the beginning.
    pub(crate) now: u64,
    /// The devices.
    pub(crate) stations: Vec<Station>,
    /// The hub.
    pub(crate) hub: Hub,
    /// The network.
    pub(crate) network: Network,
    /// Who judges.
    pub(crate) oracle: Oracle,
    /// Faults so far, by class.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// What happened, if somebody wants to read it.
    pub(crate) trace: Option<Vec<String>>,
    /// How the next commits of the hub go.
    pub(crate) store_fate: Fate,
    /// The same for processing.
    pub(crate) process_fate: Fate,
    /// So many workers from the next start on.
    pub(crate) workers: usize,
    /// Entries that only the hub has: the disk they were captured on was put back.
    pub(crate) left_to_hub: Vec<[u8; 16]>,
    /// Whether the hub ever came back older.
    pub(crate) has_restores: bool,
    /// Whether some journal may have two branches: a disk was put back or copied.
    pub(crate) has_branches: bool,
    /// Whether two devices stand at one site.
    pub(crate) is_shared: bool,
    /// Whether ops ever waited no longer for what a restore missed.
    pub(crate) was_released: bool,
    /// People at the hub.
    pub(crate) people: People,
    hub_back_at: u64,
    hub_due: u64,
    folder: PathBuf,
    chance: Chance,
}

impl World {
    /// A fresh world in `folder`.
    pub(crate) fn new(schedule: &Schedule, folder: &Path) -> Result<World, Violation> {
        let (seed, devices) = (schedule.seed, schedule.devices);
        let chance = Chance::new(seed).fork(77);
        clock::pretend(seed, Timestamp(START_MS));
        sealed::remember();
        let hub = Hub::new(&folder.join("template"), &folder.join("hub"), schedule.retention_ms)?;
        let mut world = World {
            now: 0,
            stations: Vec::new(),
            hub,
            network: Network::new(chance.fork(1)),
            oracle: Oracle::default(),
            faults: BTreeMap::new(),
            trace: None,
            store_fate: Fate::Well,
            process_fate: Fate::Well,
            workers: 1,
            left_to_hub: Vec::new(),
            has_restores: false,
            has_branches: false,
            is_shared: schedule.shares_site_from.is_some(),
            was_released: false,
            people: People::default(),
            hub_back_at: 0,
            hub_due: 0,
            folder: folder.to_owned(),
            chance,
        };
        for index in 0..devices {
            let disk = Disk::new(world.chance.fork(100 + index as u64));
            world.add_station(index, disk)?;
        }
        if let (Some(from), Some(second)) = (schedule.shares_site_from, world.stations.get_mut(1)) {
            second.back_at = from;
        }
        Ok(world)
    }

    /// Another device, with this disk.
    pub(crate) fn add_station(&mut self, identity: usize, disk: Disk) -> Result<(), Violation> {
        let index = self.stations.len();
        let folder = self.folder.join(format!("device{index}"));
        let chance = self.chance.fork(200 + index as u64);
        // the second device of a shared site stands where the first does
        let site = if self.is_shared && identity == 1 { SITES[0] } else { SITES[identity % SITES.len()] };
        let device = if disk.is_empty() {
            Device::new(identity, site, &folder, disk, chance)?
        } else {
            Device::with_store(identity, site, &folder, disk, chance)?
        };
        self.stations.push(Station::new(device, self.now));
        Ok(())
    }

    /// A line for whoever reads the trace.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>10}.{:03} {}", now / 1_000, now % 1_000, line()));
        }
    }

    /// Counts a fault.
    pub(crate) fn count(&mut self, class: &'static str) {
        *self.faults.entry(class).or_default() += 1;
    }

    /// The hub's wall time.
    pub(crate) fn wall(&self) -> i64 {
        START_MS + i64::try_from(self.now).expect("a schedule is short")
    }

    /// Lets time pass until `until`.
    pub(crate) fn advance(&mut self, until: u64) -> Result<(), Violation> {
        for _ in 0..EVENTS {
            self.settle_now()?;
            let Some(next) = self.next_event().filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
        }
        self.now = self.now.max(until);
        self.settle_now()
    }

    /// Everything that is due at this instant.
    fn settle_now(&mut self) -> Result<(), Violation> {
        clock::pretend_now(Timestamp(self.wall()));
        if self.hub.workers.is_empty() && self.now >= self.hub_back_at {
            let (workers, wall) = (self.workers, self.wall());
            self.hub.start(workers, wall)?;
            self.note(|| "the hub starts".into());
        }
        for index in 0..self.stations.len() {
            self.bring_back(index)?;
        }
        while let Some(packet) = self.network.take(self.now) {
            self.deliver(packet)?;
        }
        if self.now >= self.hub_due && !self.hub.workers.is_empty() {
            self.hub_works()?;
        }
        if self.people.are_waiting() {
            people::answer(self)?;
        }
        for index in 0..self.stations.len() {
            self.ask(index)?;
        }
        Ok(())
    }

    fn next_event(&self) -> Option<u64> {
        let mut next = self.network.due();
        let mut offer = |at: u64| next = Some(next.map_or(at, |next| next.min(at)));
        for station in &self.stations {
            match &station.engine {
                Some(engine) if station.session.is_some() => {
                    if let Some(tick) = engine.poll_timer() {
                        offer((station.booted_at + tick.0).max(self.now + 1));
                    }
                }
                _ => offer(station.back_at.max(self.now + 1)),
            }
        }
        if self.hub.workers.is_empty() {
            offer(self.hub_back_at.max(self.now + 1));
        } else if self.hub.has_mail() || self.hub.is_due {
            offer(self.hub_due.max(self.now + 1));
        }
        next
    }

    /// The hub stores what waits, else processes.
    fn hub_works(&mut self) -> Result<(), Violation> {
        let wall = self.wall();
        let frames = if self.hub.has_mail() {
            let fate = std::mem::replace(&mut self.store_fate, Fate::Well);
            self.note(|| format!("the hub stores: {fate:?}"));
            self.hub.store(fate, wall)?
        } else if self.hub.is_due {
            let mut chance = self.chance.fork(self.now);
            let fate = std::mem::replace(&mut self.process_fate, Fate::Well);
            self.hub.process(fate, wall, &mut chance)?
        } else {
            return Ok(());
        };
        if self.hub.workers.is_empty() {
            self.people.hang_up();
            self.note(|| "the hub is killed at a commit".into());
            self.hub_back_at = self.now + RESTART_MS;
        }
        self.hub_due = self.now + self.chance.within(1, 15);
        for (agent, bytes) in frames {
            self.oracle.hear_hub(self.hub.folder(), agent, &bytes, wall - self.hub.retention_ms)?;
            self.note(|| format!("hub says {}", crate::oracle::frames::describe(&bytes)));
            self.network.send(Way::Down(agent), bytes, self.now, &mut self.faults);
        }
        Ok(())
    }

    fn deliver(&mut self, packet: Packet) -> Result<(), Violation> {
        match packet.way {
            Way::Up(agent) => self.deliver_up(agent, &packet),
            Way::Down(agent) => self.deliver_down(agent, &packet),
        }
    }

    fn deliver_up(&mut self, agent: AgentId, packet: &Packet) -> Result<(), Violation> {
        let (wall, mut chance) = (self.wall(), self.chance.fork(self.now));
        let is_taken = self.hub.take(agent, &packet.bytes, wall, &mut chance);
        if is_taken && packet.is_damaged {
            return Err(broken("I7", "the hub takes a frame of which a bit was flipped"));
        }
        if self.hub.has_mail() && !self.hub.is_due && self.hub_due < self.now {
            self.hub_due = self.now + self.chance.within(0, 5);
        }
        Ok(())
    }

    fn deliver_down(&mut self, agent: AgentId, packet: &Packet) -> Result<(), Violation> {
        let now = self.now;
        let is_there = |station: &Station| station.session.is_some() && station.agent() == Some(agent);
        let Some(index) = self.stations.iter().position(is_there) else { return Ok(()) };
        if self.stations[index].deaf_until > now {
            return Ok(());
        }
        let clock = self.stations[index].now(now);
        let station = &mut self.stations[index];
        let (Some(engine), Some(store)) = (&mut station.engine, &station.device.store) else { return Ok(()) };
        let (before, session) = (marks(store), station.session);
        engine.handle_frame(&packet.bytes, clock);
        let after = marks(store);
        if packet.is_damaged && before != after {
            return Err(broken("I7", "an agent believes a frame of which a bit was flipped"));
        }
        let head = before.2;
        self.oracle.judge_marks(&packet.bytes, session, before.0, after.0)?;
        let (wall, device) = (self.wall(), &mut self.stations[index].device);
        if after.0.seq > before.0.seq {
            device.desk.marks.insert(after.0.seq.0, *after.0.hash.as_bytes());
        }
        let written = device.note_written(head)?;
        promises::carried_out(&self.people, device, &written, wall)?;
        self.judge_deleted(index)?;
        self.note(|| format!("device {index} hears {}", crate::oracle::frames::describe(&packet.bytes)));
        self.look_at_power(index);
        Ok(())
    }

    /// Sends what an agent wants to send now.
    fn ask(&mut self, index: usize) -> Result<(), Violation> {
        for _ in 0..FRAMES_AT_ONCE {
            let now = self.now;
            let station = &mut self.stations[index];
            let clock = station.now(now);
            let (Some(engine), Some(_)) = (&mut station.engine, station.session) else { return Ok(()) };
            if let Some(store) = &station.device.store {
                engine.handle_head(store.head().seq);
            }
            match engine.poll(clock) {
                Ok(None) => return Ok(()),
                Ok(Some(link::Action::Publish(bytes))) => {
                    let is_mute = station.mute_until > now;
                    let agent = engine.identity().agent;
                    self.note(|| format!("device {index} says {}", crate::oracle::frames::describe(&bytes)));
                    let station = &mut self.stations[index];
                    if let Some(store) = &station.device.store {
                        station.spoke_for = Some(store.identity().stream);
                        self.oracle.hear_agent(&bytes, store)?;
                    }
                    if !is_mute {
                        self.network.send(Way::Up(agent), bytes, now, &mut self.faults);
                    }
                }
                Ok(Some(link::Action::Rebuild)) => {
                    self.note(|| format!("device {index} builds a new client"));
                    self.disconnect(index, 1_000);
                    return Ok(());
                }
                Err(error) if self.stations[index].device.is_troubled(&error) => {
                    self.note(|| format!("device {index} cannot read its journal: {}", describe(&error)));
                    self.disconnect(index, 5_000);
                    self.rest(index);
                    return Ok(());
                }
                Err(error) => return Err(broken("I7", format!("a journal cannot be read: {}", describe(&error)))),
            }
        }
        Err(broken("liveness", format!("device {index} sends without end")))
    }

    /// The connection of a device is gone; the broker tells of its death.
    pub(crate) fn disconnect(&mut self, index: usize, pause_ms: u64) {
        let now = self.now;
        let station = &mut self.stations[index];
        station.back_at = now + pause_ms;
        let Some(session) = station.session.take() else { return };
        let Some(engine) = &mut station.engine else { return };
        engine.handle_disconnected();
        let (agent, death) = (engine.identity().agent, engine.death(session));
        self.network.send(Way::Up(agent), death, now, &mut self.faults);
    }

    /// An agent that is down starts, one that runs connects.
    fn bring_back(&mut self, index: usize) -> Result<(), Violation> {
        let now = self.now;
        let station = &mut self.stations[index];
        if station.session.is_some() || now < station.back_at {
            return Ok(());
        }
        if station.device.store.is_none() && !self.start_agent(index)? {
            return Ok(());
        }
        self.connect(index);
        Ok(())
    }

    fn start_agent(&mut self, index: usize) -> Result<bool, Violation> {
        let (now, seed) = (self.now, self.chance.next());
        let station = &mut self.stations[index];
        let started = station.device.start()?;
        if !started || station.device.disk.is_cut() {
            self.note(|| format!("device {index} does not start: its disk fails"));
            if self.stations[index].device.disk.is_cut() {
                self.look_at_power(index);
            } else {
                self.stations[index].device.kill();
                self.stations[index].back_at = now + RESTART_MS;
            }
            return Ok(false);
        }
        station.booted_at = now;
        station.judge_stream()?;
        station.engine = station.device.store.clone().map(|store| Engine::new(store, LinkStatus::new(true), seed));
        self.note(|| format!("device {index} starts"));
        Ok(true)
    }

    fn connect(&mut self, index: usize) {
        let agent = self.stations[index].agent();
        // one client of a name: the broker drops the other
        let others: Vec<usize> = (0..self.stations.len())
            .filter(|other| *other != index && self.stations[*other].session.is_some())
            .filter(|other| self.stations[*other].agent() == agent)
            .collect();
        for other in others {
            let pause = self.chance.within(500, 20_000);
            self.disconnect(other, pause);
        }
        let session = SessionId::from_bytes(self.chance.bytes());
        let now = self.now;
        let station = &mut self.stations[index];
        let clock = station.now(now);
        let Some(engine) = &mut station.engine else { return };
        engine.handle_connected(session, clock);
        station.device.has_jumped = false;
        station.session = Some(session);
        self.note(|| format!("device {index} connects"));
    }

    /// Nobody asks a store for anything.
    pub(crate) fn rest(&mut self, index: usize) {
        if let Some(store) = &self.stations[index].device.store {
            store.pause_in_place();
        }
        self.look_at_power(index);
    }

    /// What a device has deleted, it may; that it has deleted of a downward journal, is remembered.
    pub(crate) fn judge_deleted(&mut self, index: usize) -> Result<(), Violation> {
        let device = &mut self.stations[index].device;
        device.has_deleted |= promises::has_deleted(device);
        let Some(store) = &device.store else { return Ok(()) };
        self.oracle.down.judge_deleted(store)
    }

    /// A device whose power went is off, and starts again.
    pub(crate) fn look_at_power(&mut self, index: usize) {
        if self.stations[index].device.disk.is_cut() {
            self.count("power cut");
            self.note(|| format!("device {index}: the power is cut"));
            self.stop_agent(index, RESTART_MS, Device::cut);
        }
    }

    /// The agent of a device ends, in one way or another.
    pub(crate) fn stop_agent(&mut self, index: usize, pause_ms: u64, end: impl FnOnce(&mut Device)) {
        self.disconnect(index, pause_ms);
        let station = &mut self.stations[index];
        station.engine = None;
        end(&mut station.device);
        station.back_at = self.now + pause_ms;
    }

    /// The hub is killed.
    pub(crate) fn kill_hub(&mut self, pause_ms: u64) {
        self.people.hang_up();
        self.hub.kill();
        self.hub_back_at = self.now + pause_ms;
    }

    /// Frames of a device vanish for a while.
    pub(crate) fn partition(&mut self, index: usize, ms: u64, is_half: bool) {
        let until = self.now + ms;
        let station = &mut self.stations[index];
        station.deaf_until = until;
        if !is_half {
            station.mute_until = until;
        }
    }

    /// A clerk's act, and what follows from it.
    pub(crate) fn work(
        &mut self,
        index: usize,
        what: impl FnOnce(&mut Device, waystation_agent::store::At) -> Result<Done, Violation>,
    ) -> Result<(), Violation> {
        let now = self.now;
        let station = &mut self.stations[index];
        let clock = station.now(now);
        let head = station.device.store.as_ref().map_or(0, |store| store.head().seq.0);
        let done = what(&mut station.device, at(clock.wall.0, clock.tick.0))?;
        let written = station.device.note_written(head)?;
        self.note(|| format!("device {index}: {done:?}"));
        for act in written {
            self.note(|| format!("device {index} writes {} on {}", act.act, DocId::from_bytes(act.document)));
        }
        self.look_at_power(index);
        if done == Done::Failed && self.stations[index].device.store.is_some() {
            // whoever saw a call fail looks at the list again before the next
            self.stations[index].device.compare()?;
        }
        Ok(())
    }

    /// A device's clock jumps.
    pub(crate) fn jump(&mut self, index: usize, ms: i64) {
        let ten_years = 10 * 365 * 86_400_000;
        self.stations[index].device.has_jumped = true;
        let clock = &mut self.stations[index].clock_ms;
        *clock = clock.saturating_add(ms).clamp(-ten_years, ten_years);
    }

    /// All faults end.
    pub(crate) fn end_faults(&mut self) {
        self.network.weather = Weather::default();
        (self.store_fate, self.process_fate, self.workers) = (Fate::Well, Fate::Well, 1);
        if self.hub.workers.len() > 1 {
            self.kill_hub(0);
        }
        for station in &mut self.stations {
            (station.deaf_until, station.mute_until) = (0, 0);
            station.device.disk.cut_in(u64::MAX);
            station.device.disk.set_failing(false);
            station.device.disk.set_full(false);
            station.back_at = station.back_at.min(self.now + 1_000);
        }
        self.hub_back_at = self.hub_back_at.min(self.now + 1_000);
        (0..self.stations.len()).for_each(|index| self.rest(index));
    }
}

/// The stored mark, the hub's key, and where the journal ends.
fn marks(store: &Store) -> (waystation_protocol::chain::Mark, Option<[u8; 32]>, u64) {
    (store.stored(), store.hub_key(), store.head().seq.0)
}
