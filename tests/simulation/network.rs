//! The pipe between agents and hub: it loses, repeats, delays, reorders and damages what it is given.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use waystation_protocol::id::AgentId;

use crate::chance::Chance;

/// Where a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// On an agent's topic, to the hub.
    Up(AgentId),
    /// On an agent's topic, from the hub.
    Down(AgentId),
}

/// A frame on its way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Packet {
    due: u64,
    number: u64,
    /// Where it goes.
    pub(crate) way: Way,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// Whether a bit of it was flipped.
    pub(crate) is_damaged: bool,
}

/// How bad it is, in percent, and how slow, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Weather {
    /// Frames lost.
    pub(crate) loss: u64,
    /// Frames that come twice, the copy up to minutes later.
    pub(crate) copies: u64,
    /// Frames with a flipped bit.
    pub(crate) damage: u64,
    /// The longest delay: frames overtake each other within it.
    pub(crate) delay_ms: u64,
}

/// What a copy may come late by.
const LATE_MS: u64 = 10 * 60 * 1_000;

/// The network.
pub(crate) struct Network {
    /// As it is now.
    pub(crate) weather: Weather,
    under_way: BinaryHeap<Reverse<Packet>>,
    sent: u64,
    chance: Chance,
}

impl Network {
    pub(crate) fn new(chance: Chance) -> Network {
        Network { weather: Weather::default(), under_way: BinaryHeap::new(), sent: 0, chance }
    }

    /// Takes a frame, and counts what it does to it.
    pub(crate) fn send(&mut self, way: Way, bytes: Vec<u8>, now: u64, faults: &mut BTreeMap<&'static str, u64>) {
        let mut count = |class| *faults.entry(class).or_default() += 1;
        let weather = self.weather;
        if self.chance.percent(weather.copies) {
            count("copy");
            let late = self.chance.below(LATE_MS);
            self.put(way, bytes.clone(), now + late, false);
        }
        if self.chance.percent(weather.loss) {
            count("loss");
            return;
        }
        let delay = self.chance.within(1, weather.delay_ms.max(20));
        if self.chance.percent(weather.damage) {
            count("damaged frame");
            let mut damaged = bytes;
            let bit = self.chance.below(damaged.len() as u64 * 8);
            damaged[usize::try_from(bit / 8).expect("frames are small")] ^= 1 << (bit % 8);
            return self.put(way, damaged, now + delay, true);
        }
        self.put(way, bytes, now + delay, false);
    }

    fn put(&mut self, way: Way, bytes: Vec<u8>, due: u64, is_damaged: bool) {
        self.sent += 1;
        self.under_way.push(Reverse(Packet { due, number: self.sent, way, bytes, is_damaged }));
    }

    /// When the next frame arrives.
    pub(crate) fn due(&self) -> Option<u64> {
        self.under_way.peek().map(|Reverse(packet)| packet.due)
    }

    /// A frame that has arrived.
    pub(crate) fn take(&mut self, now: u64) -> Option<Packet> {
        if self.due()? > now {
            return None;
        }
        self.under_way.pop().map(|Reverse(packet)| packet)
    }

    /// The broker forgets everything.
    pub(crate) fn forget(&mut self) {
        self.under_way.clear();
    }
}
