//! kill -9 at random instants, of agents, hub and broker, over wires that swallow, delay and cut, while clerks go on
//! capturing: nothing confirmed is lost, nothing is applied twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use waystation_tests::broker::Mosquitto;
use waystation_tests::clerk::{Clerk, unsent};
use waystation_tests::http::Http;
use waystation_tests::oracle;
use waystation_tests::process::{Process, agent, hub};
use waystation_tests::proxy::Proxy;

/// Of each of the two rigs: together more than a hundred.
const KILLS: usize = 54;

struct Rig {
    hub: Process,
    mosquitto: Option<Mosquitto>,
    agents: Vec<Process>,
    /// One between each agent and the broker.
    wires: Vec<Proxy>,
}

/// A small generator of our own: the test prints its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

impl Rig {
    fn start(folder: &Path, mosquitto: Option<Mosquitto>) -> Rig {
        let broker = mosquitto.as_ref().map_or("embedded".to_owned(), |broker| format!("mqtt://{}", broker.address()));
        let hub = hub(folder, &broker);
        let address = mosquitto.as_ref().map_or_else(|| hub.address("mqtt"), Mosquitto::address);
        let quick = ["--reconnect-max-s", "1"];
        let sites = ["3701", "3702"];
        let wires: Vec<Proxy> = sites.iter().map(|_| Proxy::start(&address)).collect();
        let agents = sites.iter().zip(&wires).map(|(site, wire)| agent(folder, site, wire.address(), &quick)).collect();
        Rig { hub, mosquitto, agents, wires }
    }

    /// A wire swallows, delays, is cut, or comes back.
    fn trouble_a_wire(&self, chance: &mut Chance) {
        let wire = &self.wires[chance.below(self.wires.len() as u64) as usize];
        match chance.below(6) {
            0 => wire.swallow(),
            1 => wire.cut(),
            2 => wire.delay(1 + chance.below(80)),
            _ => wire.restore(),
        }
    }

    fn https(&self) -> Vec<Http> {
        self.agents.iter().map(Process::http).collect()
    }

    fn kill_and_restart(&mut self, chance: &mut Chance) -> &'static str {
        let victims = if self.mosquitto.is_some() { 4 } else { 3 };
        let pause = Duration::from_millis(chance.below(300));
        let revive = |process: &mut Process| {
            process.kill9();
            std::thread::park_timeout(pause);
            process.restart();
        };
        match chance.below(victims) {
            0 => {
                revive(&mut self.hub);
                return if self.mosquitto.is_some() { "hub" } else { "hub with its broker" };
            }
            1 => revive(&mut self.agents[0]),
            2 => revive(&mut self.agents[1]),
            _ => {
                let broker = self.mosquitto.as_mut().expect("only a rig with Mosquitto has four victims");
                broker.kill9();
                std::thread::park_timeout(pause);
                broker.restart();
                return "broker";
            }
        }
        "agent"
    }
}

fn survives(mosquitto: bool) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let since_epoch = SystemTime::UNIX_EPOCH.elapsed().expect("the clock is past 1970");
    let seed = since_epoch.as_nanos() as u64 | 1;
    let mut chance = Chance(seed);
    let mut rig = Rig::start(folder.path(), mosquitto.then(|| Mosquitto::start(folder.path())));
    let https = rig.https();
    let clerks: Vec<Clerk> =
        (0..4).map(|index| Clerk::start(&format!("clerk{index}"), https[index % 2].clone())).collect();
    let mut with_unacknowledged = 0;
    let mut victims: BTreeMap<&str, usize> = BTreeMap::new();
    for kill in 0..KILLS {
        std::thread::park_timeout(Duration::from_millis(100 + chance.below(400)));
        let waits = |https: &[Http]| https.iter().filter_map(unsent).any(|count| count > 0);
        // Two kills of three wait for an instant at which something is under way; the others strike blindly.
        if kill % 3 != 0 {
            (0..500).any(|_| waits(&https));
        }
        with_unacknowledged += usize::from(waits(&https));
        rig.trouble_a_wire(&mut chance);
        *victims.entry(rig.kill_and_restart(&mut chance)).or_insert(0) += 1;
    }
    rig.wires.iter().for_each(Proxy::restore);
    let confirmed: Vec<_> = clerks.into_iter().flat_map(Clerk::finish).collect();
    oracle::settled(&rig.hub.http(), &https, Duration::from_secs(60));
    oracle::check(&rig.hub.http(), &https, &confirmed);
    println!(
        "seed {seed}: {KILLS} kills of {victims:?}, {with_unacknowledged} while entries were unacknowledged, {} documents confirmed",
        confirmed.len()
    );
    assert!(
        with_unacknowledged * 2 >= KILLS,
        "only {with_unacknowledged} of {KILLS} kills struck unacknowledged entries"
    );
    assert!(confirmed.len() > 100, "the clerks hardly captured anything: {}", confirmed.len());
}

/// Proves R-PIPE-1, R-PIPE-2, I1, I2, I3, I4.
#[test]
fn nothing_is_lost_or_doubled_with_the_embedded_broker() {
    survives(false);
}

/// Proves R-PIPE-1, R-PIPE-2, I1, I2, I3, I4.
#[test]
fn nothing_is_lost_or_doubled_with_a_mosquitto_that_forgets() {
    survives(true);
}
