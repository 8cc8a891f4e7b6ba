//! What concerns the downward journals in a group: acknowledgements, heartbeats, and what agents bring back.

use waystation_protocol::batch::Unpacked;
use waystation_protocol::id::AgentId;
use waystation_protocol::message::{Ack, Batch, Heartbeat};
use waystation_protocol::time::Timestamp;

use super::group::Group;
use super::reply::{self, Acknowledgement, Reply};
use crate::down::{self, Downward};
use crate::store::StoreError;

impl Group<'_> {
    /// Takes a batch on a downward stream; false where its stream is none.
    pub(super) fn give_back(
        &mut self,
        (row, agent): (i64, AgentId),
        batch: &Batch,
        entries: &Unpacked,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(given) = down::give_back(self.conn, (row, agent), batch, entries, now)? else { return Ok(false) };
        if let Some((journal, stored)) = given.grown {
            self.grown.insert(journal, stored);
        }
        if let Some(session) = given.session {
            self.down.push(Reply::Ack(Box::new(Acknowledgement {
                agent,
                session,
                stream: batch.stream,
                stored: given.stored,
                processed: given.stored.seq,
                prunable: given.prunable,
                down_prunable: given.prunable,
                missing: given.missing,
                retry_after_ms: None,
            })));
        }
        self.down.extend(given.meeting.map(|meeting| Reply::Down(Box::new(Downward::Meet(meeting)))));
        Ok(true)
    }

    pub(super) fn down_ack(
        &mut self,
        (row, agent): (i64, AgentId),
        ack: &Ack,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let own_hash = down::ack(self.conn, row, ack, self.retention, now)?;
        self.down.push(Reply::Down(Box::new(Downward::Ack(agent, Box::new(ack.clone()), own_hash))));
        Ok(())
    }

    /// Goes on sending the downward journal where the agent does not hold all; asks for a HELLO, by an acknowledgement
    /// of nothing, where it holds what the hub lacks.
    pub(super) fn down_beat(
        &mut self,
        (row, agent): (i64, AgentId),
        beat: &Heartbeat,
        is_whole: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (meeting, must_greet) = down::heartbeat(self.conn, (row, agent), beat, is_whole, now)?;
        down::prunable(self.conn, row, self.retention, now)?;
        self.down.extend(meeting.map(|meeting| Reply::Down(Box::new(Downward::Meet(meeting)))));
        if must_greet {
            self.down.push(reply::nothing(agent, beat.session, beat.stream));
        }
        Ok(())
    }
}
