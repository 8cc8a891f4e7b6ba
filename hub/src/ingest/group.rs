//! One group of verified messages on its way into the database, in one transaction.

use std::collections::{BTreeSet, HashMap};

use rusqlite::Connection;
use waystation_protocol::batch::Unpacked;
use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::message::{Batch, Heartbeat, Hello};
use waystation_protocol::sync::Verdict;
use waystation_protocol::time::Timestamp;

use super::reply::{Greeting, Reply, acknowledge};
use super::{Incoming, Upward};
use crate::store::lane::{self, Lanes, Owned};
use crate::store::presence::{self, Greeted};
use crate::store::raw::{self, Arrival};
use crate::store::{Counters, Retention, StoreError, restore};

/// What a group changed; to be told only after its commit.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) replies: Vec<Reply>,
    /// Streams whose prefix grew: row and stored seq.
    pub(crate) grown: Vec<(i64, Seq)>,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    stored: u64,
    entries: u64,
    held: u64,
    known: u64,
    conflicting: u64,
    refused: u64,
    misplaced: u64,
    keys_refused: u64,
}

impl Outcome {
    /// Adds to the counters what was committed.
    pub(crate) fn count(&self, counters: &Counters) {
        counters.batches_stored.add(self.tally.stored);
        counters.entries_stored.add(self.tally.entries);
        counters.batches_held.add(self.tally.held);
        counters.batches_known.add(self.tally.known);
        counters.batches_conflicting.add(self.tally.conflicting);
        counters.batches_refused.add(self.tally.refused);
        counters.batches_misplaced.add(self.tally.misplaced);
        counters.keys_refused.add(self.tally.keys_refused);
    }
}

/// One group on its way into the database.
struct Group<'a> {
    conn: &'a Connection,
    lanes: &'a mut Lanes,
    retention: Retention,
    greeted: Vec<Greeting>,
    to_acknowledge: BTreeSet<StreamId>,
    heard: HashMap<i64, Timestamp>,
    tally: Tally,
}

/// Writes a group within the caller's transaction. After an error the caller rolls back and clears `lanes`.
pub(crate) fn store_group(
    conn: &Connection,
    lanes: &mut Lanes,
    group: &[Incoming],
    retention: Retention,
) -> Result<Outcome, StoreError> {
    let mut writing = Group {
        conn,
        lanes,
        retention,
        greeted: Vec::new(),
        to_acknowledge: BTreeSet::new(),
        heard: HashMap::new(),
        tally: Tally::default(),
    };
    for incoming in group {
        match &incoming.message {
            Upward::Hello(hello) => writing.hello(hello, incoming.received_at)?,
            Upward::Batch(batch, protocol) => {
                let arrival = Arrival { received_at: incoming.received_at, protocol: *protocol };
                writing.batch(incoming.agent, &batch.0, &batch.1, arrival)?;
            }
            Upward::Heartbeat(beat) => writing.heartbeat(incoming.agent, beat, incoming.received_at)?,
            Upward::Death(death) => presence::death(conn, incoming.agent, death.session, incoming.received_at)?,
        }
    }
    writing.finish()
}

impl Group<'_> {
    fn hello(&mut self, hello: &Hello, now: Timestamp) -> Result<(), StoreError> {
        let Greeted::Welcome { letter } = presence::hello(self.conn, self.lanes, hello, now)? else {
            self.tally.keys_refused += 1;
            tracing::error!(agent = %hello.agent, stream = %hello.stream, "HELLO refused: its key or its stream is another's");
            return Ok(());
        };
        let committed = self.lanes.lane(hello.stream).map_or(Mark::ZERO, |lane| lane.committed);
        restore::greet(self.conn, hello, committed, now)?;
        self.prune(hello.stream, now)?;
        self.greeted.push(Greeting {
            agent: hello.agent,
            session: hello.session,
            protocols: hello.protocols,
            stream: hello.stream,
            ladder: Vec::new(),
            processed: Seq(0),
            prunable: Seq(0),
            letter,
            received_at: now,
        });
        Ok(())
    }

    fn batch(&mut self, agent: AgentId, batch: &Batch, entries: &Unpacked, arrival: Arrival) -> Result<(), StoreError> {
        let Some(agent_row) = presence::agent_row(self.conn, agent)? else { return Ok(()) };
        let Owned::Here(lane) = self.lanes.open(self.conn, batch.stream, agent, agent_row)? else {
            self.tally.misplaced += 1;
            tracing::error!(%agent, stream = %batch.stream, "batch refused: its stream is another agent's");
            return Ok(());
        };
        if let Some(parent) = &batch.parent {
            lane::set_parent(self.conn, lane.row, parent)?;
        }
        let before = lane.receiver.stored();
        match lane.receiver.handle_batch(entries) {
            Verdict::Append { first, stored, dropped } => {
                for first in dropped {
                    raw::delete(self.conn, lane.row, first)?;
                }
                raw::insert(self.conn, lane.row, batch, entries, first, arrival)?;
                self.tally.stored += 1;
                self.tally.entries += stored.seq.0 - before.seq.0;
            }
            Verdict::Hold => {
                raw::insert(self.conn, lane.row, batch, entries, batch.first_seq, arrival)?;
                self.tally.held += 1;
            }
            Verdict::Known => self.tally.known += 1,
            Verdict::Refused => self.tally.refused += 1,
            Verdict::Conflict { at } => {
                self.tally.conflicting += 1;
                lane::note_conflict(self.conn, lane.row)?;
                tracing::error!(%agent, stream = %batch.stream, seq = %at,
                    "batch refused: it contradicts what is stored");
            }
        }
        self.heard.insert(agent_row, arrival.received_at);
        self.to_acknowledge.insert(batch.stream);
        Ok(())
    }

    fn heartbeat(&mut self, agent: AgentId, beat: &Heartbeat, now: Timestamp) -> Result<(), StoreError> {
        let Some(agent_row) = presence::agent_row(self.conn, agent)? else { return Ok(()) };
        let Owned::Here(lane) = self.lanes.open(self.conn, beat.stream, agent, agent_row)? else { return Ok(()) };
        let (row, stored) = (lane.row, lane.receiver.stored().seq);
        presence::heartbeat(self.conn, row, agent, beat, now)?;
        let moved = self.prune(beat.stream, now)?;
        if moved || beat.stored < stored {
            self.to_acknowledge.insert(beat.stream);
        }
        Ok(())
    }

    /// Moves the stream's prunable mark, by the hub's clock.
    fn prune(&mut self, stream: StreamId, now: Timestamp) -> Result<bool, StoreError> {
        match self.lanes.lane(stream) {
            Some(lane) => presence::prune(self.conn, lane, self.retention, now),
            None => Ok(false),
        }
    }

    /// Moves the stored marks, and drafts the replies from what this commit will hold.
    fn finish(mut self) -> Result<Outcome, StoreError> {
        let mut outcome = Outcome::default();
        for (agent, at) in &self.heard {
            presence::heard(self.conn, *agent, *at)?;
        }
        let now = self.heard.values().max().copied().unwrap_or(Timestamp(0));
        for stream in &self.to_acknowledge {
            let Some(lane) = self.lanes.lane(*stream) else { continue };
            let stored = lane.receiver.stored();
            if stored != lane.committed {
                lane::move_stored(self.conn, lane.row, lane.committed, stored)?;
                lane.committed = stored;
                outcome.grown.push((lane.row, stored.seq));
                restore::settle(self.conn, *stream, stored, now)?;
            }
        }
        for mut greeting in std::mem::take(&mut self.greeted) {
            let Some(lane) = self.lanes.lane(greeting.stream) else { continue };
            greeting.ladder = raw::ladder(self.conn, lane.row, lane.committed)?;
            (greeting.processed, greeting.prunable) = (lane.processed, lane.prunable);
            outcome.replies.push(Reply::Welcome(Box::new(greeting)));
        }
        for stream in &self.to_acknowledge {
            outcome.replies.extend(acknowledge(self.conn, self.lanes, *stream)?);
        }
        outcome.tally = self.tally;
        Ok(outcome)
    }
}
