//! One group of verified messages on its way into the database, in one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rusqlite::Connection;
use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::id::{AgentId, SessionId, StreamId};
use waystation_protocol::message::{Death, Heartbeat, Hello};
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::time::Timestamp;

use super::reply::{self, Reply};
use super::{Incoming, Upward};
use crate::down::{self, Hailed};
use crate::store::lane::Lanes;
use crate::store::presence::{self, Greeted};
use crate::store::raw::Arrival;
use crate::store::session::{self, Admission};
use crate::store::{Counters, Retention, StoreError, envelope, heard, line, lost, prune, restore};

/// What a group changed; to be told only after its commit.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) replies: Vec<Reply>,
    /// Streams whose prefix grew: row and stored seq.
    pub(crate) grown: Vec<(i64, Seq)>,
    /// Whether a lost range was filled below a processed mark.
    pub(crate) is_filled: bool,
    /// Whether a letter was granted: it must be known beside the database before it is told.
    pub(crate) is_granted: bool,
    tally: Tally,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) stored: u64,
    pub(super) entries: u64,
    pub(super) held: u64,
    pub(super) known: u64,
    pub(super) conflicting: u64,
    pub(super) refused: u64,
    pub(super) misplaced: u64,
    pub(super) unrooted: u64,
    pub(super) forks: u64,
    pub(super) lost: u64,
    pub(super) filled: u64,
    pub(super) aside: u64,
    newer: u64,
    keys_refused: u64,
}

impl Outcome {
    /// Adds to the counters what was committed.
    pub(crate) fn count(&self, counters: &Counters) {
        let tally = &self.tally;
        counters.batches_stored.add(tally.stored);
        counters.entries_stored.add(tally.entries);
        counters.batches_held.add(tally.held);
        counters.batches_known.add(tally.known);
        counters.batches_conflicting.add(tally.conflicting);
        counters.batches_refused.add(tally.refused);
        counters.batches_misplaced.add(tally.misplaced);
        counters.batches_unrooted.add(tally.unrooted);
        counters.forks_opened.add(tally.forks);
        counters.entries_named_lost.add(tally.lost);
        counters.entries_filled.add(tally.filled);
        counters.batches_aside.add(tally.aside);
        counters.batches_newer.add(tally.newer);
        counters.keys_refused.add(tally.keys_refused);
    }
}

/// A HELLO to answer.
struct Asked<'a> {
    hello: &'a Hello,
    agent: i64,
    letter: Option<char>,
    challenge: Option<waystation_protocol::message::Bytes>,
    hailed: Hailed,
    received_at: Timestamp,
}

/// One group on its way into the database.
pub(super) struct Group<'a> {
    pub(super) conn: &'a Connection,
    pub(super) lanes: &'a mut Lanes,
    pub(super) retention: Retention,
    greeted: Vec<Asked<'a>>,
    /// Journals to acknowledge, each to the sessions that asked, or to the latest that spoke of it.
    to_acknowledge: BTreeMap<StreamId, BTreeSet<Option<SessionId>>>,
    /// Heartbeats about journals the hub does not know.
    pub(super) unknown: Vec<Reply>,
    /// About downward journals, after all other replies.
    pub(super) down: Vec<Reply>,
    /// Journals whose rows may have changed, and when the last batch of each came.
    touched: BTreeMap<StreamId, Timestamp>,
    heard: HashMap<i64, Timestamp>,
    /// Journals whose prefix grew: rows and stored seqs.
    pub(super) grown: BTreeMap<i64, Seq>,
    pub(super) is_filled: bool,
    pub(super) is_granted: bool,
    pub(super) tally: Tally,
}

/// Writes a group within the caller's transaction. After an error the caller rolls back and clears `lanes`.
pub(crate) fn store_group(
    conn: &Connection,
    lanes: &mut Lanes,
    group: &[Incoming],
    retention: Retention,
) -> Result<Outcome, StoreError> {
    lanes.begin();
    let mut writing = Group {
        conn,
        lanes,
        retention,
        greeted: Vec::new(),
        to_acknowledge: BTreeMap::new(),
        unknown: Vec::new(),
        down: Vec::new(),
        touched: BTreeMap::new(),
        heard: HashMap::new(),
        grown: BTreeMap::new(),
        is_filled: false,
        is_granted: false,
        tally: Tally::default(),
    };
    for incoming in group {
        let (agent, now) = (incoming.agent, incoming.received_at);
        match &incoming.message {
            Upward::Hello(hello, is_proven) => writing.hello(hello, *is_proven, now)?,
            Upward::Batch(batch, protocol) => {
                let arrival = Arrival { received_at: now, protocol: *protocol };
                let Some(row) = presence::agent_row(conn, agent)? else { continue };
                writing.heard.insert(row, now);
                if writing.give_back((row, agent), &batch.0, &batch.1, now)? {
                    continue;
                }
                if writing.batch((agent, row), &batch.0, &batch.1, arrival)? {
                    writing.touched.insert(batch.0.stream, now);
                    writing.to_acknowledge.entry(batch.0.stream).or_default().insert(None);
                }
            }
            Upward::Newer(frame) => {
                if envelope::keep(conn, agent, frame, now)? {
                    writing.tally.newer += 1;
                    tracing::warn!(%agent, "a batch of a newer protocol cannot be read; it is kept until this hub is updated");
                }
            }
            Upward::Ack(ack) => {
                let Some(row) = presence::agent_row(conn, agent)? else { continue };
                writing.heard.insert(row, now);
                writing.down_ack((row, agent), ack, now)?;
            }
            Upward::Heartbeat(beat) => writing.heartbeat(agent, beat, now)?,
            Upward::Stranger(beat) => writing.unknown.push(reply::nothing(agent, beat.session, beat.stream)),
            Upward::Death(death) => writing.death(agent, death, now)?,
        }
    }
    writing.finish()
}

impl<'a> Group<'a> {
    fn hello(&mut self, hello: &'a Hello, is_proven: bool, now: Timestamp) -> Result<(), StoreError> {
        let Greeted::Welcome { agent, letter, is_granted } = presence::hello(self.conn, hello, now)? else {
            self.tally.keys_refused += 1;
            tracing::error!(agent = %hello.agent, stream = %hello.stream, "HELLO refused: its key or its stream is another's");
            return Ok(());
        };
        self.is_granted |= is_granted;
        let challenge = match session::greet(self.conn, agent, hello, now)? {
            Admission::Holder { is_new } => {
                presence::speaks_of(self.conn, agent, hello.stream, is_new)?;
                None
            }
            Admission::Challenged(challenge) => {
                presence::speaks_of(self.conn, agent, hello.stream, false)?;
                // what every restart of an agent brings; two that live show as doubled
                tracing::info!(agent = %hello.agent, session = %hello.session,
                    "an earlier session of this agent had its downward journal; this one is asked to prove itself");
                Some(challenge)
            }
        };
        let own = line::find(self.conn, hello.stream)?;
        if let (true, Some(own)) = (is_planted(Plant::TrustHello), &own) {
            let (seq, hash) = (hello.stored.seq.0 as i64, hello.stored.hash.as_bytes());
            let sql = "UPDATE stream SET stored_seq = ?2, stored_hash = ?3, revision = revision + 1 WHERE id = ?1";
            self.conn.execute(sql, rusqlite::params![own.row, seq, hash])?;
        }
        let committed = match &own {
            Some(own) => own.stored,
            None => line::ancestor(self.conn, agent, &hello.line)?.map_or(Mark::ZERO, |(_, _, top)| top),
        };
        restore::greet(self.conn, hello, is_proven, committed, now)?;
        let hailed = match &challenge {
            None => down::hello(self.conn, agent, (hello, is_proven), self.retention, now)?,
            Some(_) => Hailed::default(),
        };
        if let Some(own) = own.filter(|own| own.agent == agent) {
            self.let_go(&own, hello.session, now)?;
        }
        self.greeted.push(Asked { hello, agent, letter, challenge, hailed, received_at: now });
        Ok(())
    }

    /// A heartbeat that is not at the hub's mark is told that mark: what it does then, the agent decides.
    fn heartbeat(&mut self, agent: AgentId, beat: &Heartbeat, now: Timestamp) -> Result<(), StoreError> {
        let Some(row) = presence::agent_row(self.conn, agent)? else { return Ok(()) };
        let own = line::find(self.conn, beat.stream)?;
        if own.is_some_and(|own| own.agent != row) {
            return Ok(());
        }
        presence::heartbeat(self.conn, row, beat, now)?;
        session::hear(self.conn, row, beat.session, beat.stream, now)?;
        let Some(own) = own else {
            // of one that has captured nothing yet nothing is missing here; it is told all the same
            if beat.head != Mark::ZERO {
                self.unknown.push(reply::nothing(agent, beat.session, beat.stream));
            }
            return self.down_beat((row, agent), beat, beat.stored == Seq(0), now);
        };
        let moved = self.let_go(&own, beat.session, now)?;
        // whoever still holds what is named lost is asked for it
        let is_asked = !lost::of_line(self.conn, &own)?.is_empty();
        if moved || is_asked || (beat.stored != own.stored.seq && !is_planted(Plant::DeafToHeartbeats)) {
            self.to_acknowledge.entry(beat.stream).or_default().insert(Some(beat.session));
        }
        self.down_beat((row, agent), beat, beat.stored == own.stored.seq, now)
    }

    /// Moves the prunable mark of a journal, for a session that was told what became of its entries.
    fn let_go(&mut self, own: &line::Extent, session: SessionId, now: Timestamp) -> Result<bool, StoreError> {
        if !down::has_all(self.conn, own.agent, session)? {
            return Ok(false);
        }
        prune::advance(self.conn, own, self.retention, now)
    }

    fn death(&mut self, agent: AgentId, death: &Death, now: Timestamp) -> Result<(), StoreError> {
        presence::death(self.conn, agent, death.session, now)?;
        session::end(self.conn, death.session, now)
    }

    /// Writes what changed of a journal, and settles what waited for it.
    pub(super) fn commit(&mut self, stream: StreamId, now: Timestamp) -> Result<(), StoreError> {
        let Some(lane) = self.lanes.find(self.conn, stream)? else { return Ok(()) };
        let is_changed = lane.is_changed;
        if lane.commit(self.conn)? {
            self.grown.insert(lane.row, lane.committed.seq);
            restore::settle(self.conn, stream, lane.committed, now)?;
        } else if !is_changed {
            return Ok(());
        }
        heard::settle(self.conn, &line::of_row(self.conn, lane.row)?)
    }

    /// Moves the stored marks, and drafts the replies from what this commit will hold.
    fn finish(mut self) -> Result<Outcome, StoreError> {
        let mut outcome = Outcome { is_filled: self.is_filled, is_granted: self.is_granted, ..Outcome::default() };
        for (agent, at) in &self.heard {
            presence::heard(self.conn, *agent, *at)?;
        }
        for (stream, now) in std::mem::take(&mut self.touched) {
            self.commit(stream, now)?;
        }
        outcome.grown = std::mem::take(&mut self.grown).into_iter().collect();
        for asked in std::mem::take(&mut self.greeted) {
            let (hello, letter, challenge) = (asked.hello, asked.letter, asked.challenge);
            let mut greeting = reply::welcome(self.conn, (hello, asked.agent), letter, challenge, asked.received_at)?;
            greeting.down = asked.hailed.ladder;
            (greeting.down_prunable, greeting.meeting) = (asked.hailed.prunable, asked.hailed.meeting);
            outcome.replies.push(Reply::Welcome(Box::new(greeting)));
        }
        for (stream, sessions) in &self.to_acknowledge {
            for session in sessions {
                outcome.replies.extend(reply::acknowledge(self.conn, self.lanes, *stream, *session)?);
            }
        }
        outcome.replies.append(&mut self.unknown);
        outcome.replies.append(&mut self.down);
        outcome.tally = self.tally;
        Ok(outcome)
    }
}
