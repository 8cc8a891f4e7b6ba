//! Three outlets and a hub in one thread, under virtual time: the product's own stores and ends of the protocol, joined by the
//! simulator's network and standing on its disks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use waystation_agent::link::{Action, Engine, LinkStatus, Now};
use waystation_agent::store::{At, Filter, OpenOptions, Store};
use waystation_hub::clock;
use waystation_hub::ingest::Incoming;
use waystation_hub::store::Options;
use waystation_hub::store::stepped::Stepped;
use waystation_protocol::codec;
use waystation_protocol::document::Document;
use waystation_protocol::id::{AgentId, DocId, SessionId};
use waystation_protocol::site::Sites;
use waystation_protocol::time::{Tick, Timestamp, zone};

use crate::chance::Chance;
use crate::disk::{Disk, Image};
use crate::network::{Network, Packet, Way};

/// The outlets' sites.
pub(crate) const SITES: [&str; 3] = ["east", "west", "north"];
/// Wall time at the beginning: 2026-11-23T02:40:00Z.
const START: i64 = 1_795_401_600_000;
/// Bytes an agent may have in flight.
const CREDIT: u64 = 1 << 20;
/// How often the hub looks at its timers, in milliseconds.
const HUB_LOOKS: u64 = 5_000;
/// Frames an agent may want to send at one instant; more is a loop.
const FRAMES_AT_ONCE: usize = 64;
/// So much virtual time, in milliseconds, is more than enough to settle.
const SETTLE_MS: u64 = 30 * 60_000;

/// An outlet: a disk, the store on it, and its end of the protocol.
pub(crate) struct Outlet {
    index: usize,
    folder: PathBuf,
    disk: Disk,
    /// Its store.
    pub(crate) store: Store,
    engine: Engine,
    session: Option<SessionId>,
    /// Whether its network is cut.
    pub(crate) is_cut: bool,
    /// A copy of its disk.
    pub(crate) copy: Option<Image>,
    /// Whether a copy of its disk was ever put back.
    pub(crate) was_put_back: bool,
    starts: u32,
    booted_at: u64,
    chance: Chance,
}

/// The outlets, the hub, the network and the time.
pub(crate) struct World {
    /// Virtual milliseconds since the beginning.
    pub(crate) now: u64,
    /// The outlets.
    pub(crate) outlets: Vec<Outlet>,
    /// The network.
    pub(crate) network: Network,
    hub: Option<Stepped>,
    folder: PathBuf,
    inbox: Vec<Incoming>,
    hub_due: u64,
    faults: BTreeMap<&'static str, u64>,
    chance: Chance,
}

impl Outlet {
    fn start(index: usize, folder: PathBuf, disk: Disk, booted_at: u64, mut chance: Chance, starts: u32) -> Outlet {
        if !disk.is_empty() {
            // the store looks for its file, which is in memory
            std::fs::write(folder.join("store.redb"), b"").expect("the folder can be written");
        }
        let number = u8::try_from(index + 1).expect("there are few outlets");
        let options = OpenOptions {
            sites: Sites::Only(vec![SITES[index].parse().expect("a site's name")]),
            letter: char::from(b'A' + number - 1),
            random: chance.bytes(),
            boot: starts,
            new_ids: [[number; 16], chance.bytes()],
            new_key: [number; 32],
            zone: zone("").expect("the default zone is bundled"),
            reserve_bytes: 0,
        };
        let store = Store::open_in_place(&folder, options, disk.opener()).expect("the store opens");
        let engine = Engine::new(store.clone(), LinkStatus::new(true), chance.next());
        Outlet {
            index,
            folder,
            disk,
            store,
            engine,
            session: None,
            is_cut: false,
            copy: None,
            was_put_back: false,
            starts,
            booted_at,
            chance,
        }
    }

    /// Every document it shows.
    pub(crate) fn documents(&self) -> BTreeMap<DocId, Document> {
        let mut filter = Filter { limit: 500, ..Filter::default() };
        let mut shown = BTreeMap::new();
        loop {
            let page = self.store.documents(&filter).expect("the list can be read");
            shown.extend(page.items.into_iter().map(|document| (document.id, document)));
            match page.next {
                Some(next) => filter.cursor = Some(next),
                None => return shown,
            }
        }
    }

    /// A copy of its disk is put aside.
    pub(crate) fn put_copy_aside(&mut self) {
        self.copy = Some(self.disk.image());
    }

    fn agent(&self) -> AgentId {
        self.store.identity().agent
    }

    fn clock(&self, now: u64) -> Now {
        Now { wall: wall(now), tick: Tick(now - self.booted_at) }
    }

    /// The moment of an act.
    pub(crate) fn at(&self, now: u64) -> At {
        At { now: wall(now), mono_ms: now - self.booted_at }
    }
}

/// The wall clock, which is right everywhere.
pub(crate) fn wall(now: u64) -> Timestamp {
    Timestamp(START + i64::try_from(now).expect("a run is short"))
}

impl World {
    /// A fresh world in `folder`.
    pub(crate) fn new(seed: u64, folder: &Path) -> World {
        clock::pretend(seed, wall(0));
        let chance = Chance::new(seed).fork(1);
        let mut outlets = Vec::new();
        for (index, site) in SITES.iter().enumerate() {
            let place = folder.join(site);
            std::fs::create_dir_all(&place).expect("a folder can be made");
            let own = chance.fork(10 + index as u64);
            outlets.push(Outlet::start(index, place, Disk::new(own.fork(1)), 0, own, 1));
        }
        std::fs::create_dir_all(folder.join("hub")).expect("a folder can be made");
        let mut world = World {
            now: 0,
            outlets,
            network: Network::new(chance.fork(2)),
            hub: None,
            folder: folder.to_owned(),
            inbox: Vec::new(),
            hub_due: 0,
            faults: BTreeMap::new(),
            chance,
        };
        world.start_hub();
        world
    }

    /// The hub's folder.
    pub(crate) fn hub_folder(&self) -> PathBuf {
        self.folder.join("hub")
    }

    fn start_hub(&mut self) {
        let key = SigningKey::from_bytes(&[9; 32]);
        let opened = Stepped::open(&self.hub_folder(), &Options::new([8; 16]), key, wall(self.now));
        self.hub = Some(opened.expect("the hub opens"));
    }

    /// The hub is killed between two of its steps, and starts again.
    pub(crate) fn kill_hub(&mut self) {
        self.hub = None;
        self.inbox.clear();
        self.start_hub();
    }

    /// The hub ends, so that its files can be looked at.
    pub(crate) fn end_hub(&mut self) {
        let hub = self.hub.take().expect("the hub runs until the end");
        hub.rest().expect("the hub ends");
    }

    /// The hub.
    pub(crate) fn hub(&mut self) -> &mut Stepped {
        self.hub.as_mut().expect("the hub runs until the end")
    }

    /// Every document the hub has, in the order it came to know them.
    pub(crate) fn hub_documents(&mut self) -> Vec<Document> {
        let bodies = self.hub().run(|conn| {
            let mut query = conn.prepare_cached("SELECT body FROM document ORDER BY n")?;
            let rows = query.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        });
        let bodies = bodies.expect("the hub's documents can be read");
        bodies.iter().map(|body| codec::decode_own(body).expect("a document")).collect()
    }

    /// An outlet's agent is killed, and starts again on `disk`, or on its own.
    pub(crate) fn restart(&mut self, index: usize, image: Option<&Image>) {
        self.disconnect(index);
        let now = self.now;
        let outlet = &mut self.outlets[index];
        outlet.store.abandon();
        outlet.disk.kill();
        let mut chance = outlet.chance.fork(now);
        let disk = image.map_or_else(|| outlet.disk.clone(), |image| Disk::of(image, chance.fork(1)));
        let (is_cut, copy) = (outlet.is_cut, outlet.copy.take());
        let was_put_back = outlet.was_put_back || image.is_some();
        let folder = outlet.folder.clone();
        chance.next();
        let again = Outlet::start(index, folder, disk, now, chance, outlet.starts + 1);
        *outlet = Outlet { is_cut, copy, was_put_back, ..again };
    }

    /// The network of an outlet is cut, or plugged in again.
    pub(crate) fn set_cut(&mut self, index: usize, is_cut: bool) {
        self.outlets[index].is_cut = is_cut;
        if is_cut {
            self.disconnect(index);
        }
    }

    fn disconnect(&mut self, index: usize) {
        let outlet = &mut self.outlets[index];
        if let Some(session) = outlet.session.take() {
            outlet.engine.handle_disconnected();
            let (agent, death) = (outlet.agent(), outlet.engine.death(session));
            self.network.send(Way::Up(agent), death, self.now, &mut self.faults);
        }
    }

    /// Lets so many milliseconds pass.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            self.do_what_is_due();
            match self.next_event().filter(|next| *next <= end) {
                Some(next) => self.now = next.max(self.now + 1),
                None => break,
            }
        }
        self.now = end;
        self.do_what_is_due();
    }

    fn next_event(&self) -> Option<u64> {
        let timers = self.outlets.iter().filter(|outlet| outlet.session.is_some());
        let timers = timers.filter_map(|outlet| outlet.engine.poll_timer().map(|tick| outlet.booted_at + tick.0));
        timers.chain(self.network.due()).chain([self.hub_due]).min()
    }

    fn do_what_is_due(&mut self) {
        clock::pretend_now(wall(self.now));
        for index in 0..self.outlets.len() {
            self.connect(index);
        }
        while let Some(packet) = self.network.take(self.now) {
            self.deliver(&packet);
        }
        self.let_hub_work();
        for index in 0..self.outlets.len() {
            self.let_speak(index);
        }
    }

    fn connect(&mut self, index: usize) {
        let session = SessionId::from_bytes(self.chance.bytes());
        let outlet = &mut self.outlets[index];
        if outlet.session.is_none() && !outlet.is_cut {
            let clock = outlet.clock(self.now);
            outlet.engine.handle_connected(session, clock);
            outlet.session = Some(session);
        }
    }

    fn deliver(&mut self, packet: &Packet) {
        match packet.way {
            Way::Up(agent) => {
                let now = wall(self.now);
                if let Ok(incoming) = self.hub().verify(agent, &packet.bytes, now) {
                    self.inbox.push(incoming);
                }
            }
            Way::Down(agent) => {
                let now = self.now;
                let found = self.outlets.iter_mut().find(|outlet| outlet.agent() == agent && outlet.session.is_some());
                if let Some(outlet) = found {
                    let clock = outlet.clock(now);
                    outlet.engine.handle_frame(&packet.bytes, clock);
                }
            }
        }
    }

    /// Stores what came, processes it, and says what there is to say.
    fn let_hub_work(&mut self) {
        if self.inbox.is_empty() && self.now < self.hub_due {
            return;
        }
        self.hub_due = self.now + HUB_LOOKS;
        let group = std::mem::take(&mut self.inbox);
        let (now, tick) = (wall(self.now), Tick(self.now));
        let hub = self.hub();
        if !group.is_empty() {
            hub.store(group);
        }
        while hub.build().expect("the hub processes") {
            hub.apply();
        }
        for (agent, bytes) in hub.frames(CREDIT, now, tick) {
            self.network.send(Way::Down(agent), bytes, self.now, &mut self.faults);
        }
    }

    fn let_speak(&mut self, index: usize) {
        for _ in 0..FRAMES_AT_ONCE {
            let now = self.now;
            let outlet = &mut self.outlets[index];
            if outlet.session.is_none() {
                return;
            }
            outlet.engine.handle_head(outlet.store.head().seq);
            let clock = outlet.clock(now);
            match outlet.engine.poll(clock).expect("the journal can be read") {
                None => return,
                Some(Action::Publish(bytes)) => {
                    let agent = outlet.agent();
                    self.network.send(Way::Up(agent), bytes, now, &mut self.faults);
                }
                Some(Action::Rebuild) => return self.disconnect(index),
            }
        }
        panic!("outlet {index} sends without end");
    }

    /// All is plugged in and the weather is fine, until nothing is left to say.
    pub(crate) fn settle(&mut self) {
        self.network.weather = crate::network::Weather::default();
        (0..self.outlets.len()).for_each(|index| self.set_cut(index, false));
        let end = self.now + SETTLE_MS;
        loop {
            self.pass(20_000);
            (0..self.outlets.len()).for_each(|index| self.admit(index));
            let Some(left) = self.left() else { return };
            assert!(self.now < end, "half an hour after the last fault {left}");
        }
    }

    /// A disk that was put back cannot answer its challenge: ops lets it in, and no session that is gone.
    fn admit(&mut self, index: usize) {
        let outlet = &self.outlets[index];
        let agent = outlet.agent();
        let Some(session) = outlet.session else { return };
        let hub = self.hub();
        let is_challenged = hub.run(|conn| {
            let sql = "SELECT count(*) FROM session WHERE session = ?1 AND challenge IS NOT NULL";
            Ok(conn.query_row(sql, [session.as_bytes()], |row| row.get::<_, i64>(0))? > 0)
        });
        if is_challenged.expect("the hub's books can be read") {
            hub.admit(agent).expect("the hub's books can be written");
        }
    }

    /// What is still awaited.
    fn left(&mut self) -> Option<String> {
        for outlet in &self.outlets {
            if outlet.store.stored() != outlet.store.head() {
                return Some(format!("outlet {} has not all acknowledged", outlet.index));
            }
        }
        let counts = self.hub().run(|conn| {
            let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0));
            let unprocessed = count("SELECT count(*) FROM stream WHERE is_aside = 0 AND processed_seq < stored_seq")?;
            let due = "SELECT (SELECT count(*) FROM down_due) + (SELECT count(*) FROM down_pending) \
                       + (SELECT count(*) FROM down_fork)";
            Ok((unprocessed, count(due)?))
        });
        let (unprocessed, due) = counts.expect("the hub's books can be read");
        if unprocessed > 0 || due > 0 {
            return Some(format!("the hub has {unprocessed} journals not processed and owes {due}"));
        }
        let untold = self.untold();
        (untold > 0).then(|| format!("{untold} outlets have not heard all they are told"))
    }

    /// Outlets whose downward journal at the hub goes further than theirs.
    fn untold(&mut self) -> usize {
        let heads = self.hub().run(|conn| {
            let sql = "SELECT agent.agent, down_stream.stream, down_stream.head_seq FROM down_stream \
                       JOIN agent ON agent.id = down_stream.agent WHERE down_stream.is_current = 1";
            let mut query = conn.prepare(sql)?;
            let rows = query.query_map([], |row| {
                Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, [u8; 16]>(1)?, row.get::<_, i64>(2)?))
            })?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        });
        let heads = heads.expect("the hub's books can be read");
        let has_heard = |outlet: &&Outlet| {
            let own = heads.iter().filter(|(agent, _, _)| agent == outlet.agent().as_bytes());
            let held = outlet.store.down();
            own.clone().count() > 0
                && own.clone().all(|(_, stream, head)| {
                    *head == 0
                        || held.as_ref().is_some_and(|held| {
                            held.stream.as_bytes() == stream && held.head.seq.0 >= head.unsigned_abs()
                        })
                })
        };
        self.outlets.iter().filter(|outlet| !has_heard(outlet)).count()
    }
}
