//! What happens once faults end: nothing more is lost, nobody captures, and everyone does what the rules say next.

use super::{Message, OneStream, State};
use crate::journal::Chain;

/// Rounds in which all must be settled. Three devices need two meetings each.
const ROUNDS: usize = 12;

impl OneStream {
    /// Whether all is settled within the rounds, with every capture accounted for. Says what is not.
    pub fn settles(&self, state: &State) -> Result<(), String> {
        let mut state = state.clone();
        state.network.clear();
        for _ in 0..ROUNDS {
            if (0..state.devices.len()).all(|index| self.is_settled(&state, index)) {
                return self.accounts(&state);
            }
            for index in 0..state.devices.len() {
                self.turn(&mut state, index);
            }
        }
        Err(format!("not settled after {ROUNDS} rounds: {state:?}"))
    }

    fn accounts(&self, state: &State) -> Result<(), String> {
        let hub = &state.hub;
        let on_disks = state.devices.iter().fold(0, |set, device| set | device.disk.journal.entries());
        let knowable = (on_disks | hub.seen()) & self.captured(state);
        let vanished = knowable & !hub.accounted();
        if vanished == 0 { Ok(()) } else { Err(format!("entries {vanished:#b} vanished: {state:?}")) }
    }

    /// The hub has the device's journal, or nothing the device could say would be new.
    fn is_settled(&self, state: &State, index: usize) -> bool {
        let device = &state.devices[index];
        let disk = &device.disk;
        let lane = state.hub.lanes.get(&disk.stream);
        let at_hub = lane.map_or(disk.line.last().map_or(Chain::EMPTY, |(_, left)| *left), |lane| lane.stored);
        device.is_open && disk.stored == disk.journal.len() && at_hub == disk.journal
    }

    /// One device's turn: a meeting if it is in doubt, its backlog, or a heartbeat.
    fn turn(&self, state: &mut State, index: usize) {
        if !state.devices[index].is_open {
            let is_new = state.devices[index].session == 0;
            self.greet(state, index, is_new);
            self.pass_messages(state, index);
        }
        let device = &state.devices[index];
        if !device.is_open {
            return;
        }
        let (next, head, stored) = (device.next(), device.disk.journal.len(), device.disk.stored);
        if next <= head || device.parent.is_some() || device.base.is_some() {
            self.send(state, index, next, head.max(next - 1));
            self.pass_messages(state, index);
            if state.devices[index].disk.stored <= stored {
                state.devices[index].is_open = false;
            }
        } else {
            self.heartbeat(state, index);
        }
    }

    /// The hub answers a heartbeat that is behind it; by the proposed rule, also one that is ahead.
    fn heartbeat(&self, state: &mut State, index: usize) {
        let device = &state.devices[index];
        let (session, stream, stored) = (device.session, device.disk.stream, device.disk.stored);
        let at_hub = state.hub.lanes.get(&stream).map(|lane| lane.stored).unwrap_or_default();
        if stored < at_hub.len() || (self.rules.heartbeat_answers && stored > at_hub.len()) {
            self.device_reads(state, index, &Message::Ack { session, stream, stored: at_hub });
        }
    }

    fn pass_messages(&self, state: &mut State, index: usize) {
        for _ in 0..2 {
            for message in std::mem::take(&mut state.network) {
                match message {
                    Message::Hello { .. } | Message::Batch { .. } => self.hub_reads(state, &message),
                    Message::Welcome { .. } | Message::Ack { .. } => self.device_reads(state, index, &message),
                }
            }
        }
    }
}
