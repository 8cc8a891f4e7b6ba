//! kill -9 at random instants, of agents, hub and broker, while clerks go on capturing: nothing confirmed is lost,
//! nothing is applied twice.

use std::path::Path;
use std::time::{Duration, SystemTime};

use waystation_tests::broker::Mosquitto;
use waystation_tests::clerk::{Clerk, unsent};
use waystation_tests::http::Http;
use waystation_tests::oracle;
use waystation_tests::process::{Process, agent, hub};

const KILLS: usize = 24;

struct Rig {
    hub: Process,
    mosquitto: Option<Mosquitto>,
    agents: Vec<Process>,
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
        let agents = ["3701", "3702"].iter().map(|site| agent(folder, site, &address, &quick)).collect();
        Rig { hub, mosquitto, agents }
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
            0 => revive(&mut self.hub),
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
        "process"
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
    for kill in 0..KILLS {
        std::thread::park_timeout(Duration::from_millis(100 + chance.below(400)));
        let waits = |https: &[Http]| https.iter().filter_map(unsent).any(|count| count > 0);
        // Two kills of three wait for an instant at which something is under way; the others strike blindly.
        if kill % 3 != 0 {
            (0..500).any(|_| waits(&https));
        }
        with_unacknowledged += usize::from(waits(&https));
        rig.kill_and_restart(&mut chance);
    }
    let confirmed: Vec<_> = clerks.into_iter().flat_map(Clerk::finish).collect();
    oracle::settled(&rig.hub.http(), &https, Duration::from_secs(60));
    oracle::check(&rig.hub.http(), &https, &confirmed);
    println!(
        "seed {seed}: {KILLS} kills, {with_unacknowledged} while entries were unacknowledged, {} documents confirmed",
        confirmed.len()
    );
    assert!(
        with_unacknowledged * 2 >= KILLS,
        "only {with_unacknowledged} of {KILLS} kills struck unacknowledged entries"
    );
    assert!(confirmed.len() > 100, "the clerks hardly captured anything: {}", confirmed.len());
}

#[test]
fn nothing_is_lost_or_doubled_with_the_embedded_broker() {
    survives(false);
}

#[test]
fn nothing_is_lost_or_doubled_with_a_mosquitto_that_forgets() {
    survives(true);
}
