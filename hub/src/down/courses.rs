//! The downward journals on their way out: one sender per agent that is in touch, the same as agents use upward.
//!
//! Rows are the truth: a sender is made from what agent and hub said when they met, and dropped without loss. After
//! silence it gives up until the agent's next HELLO or heartbeat. No clock and no network here: the link drives it, and
//! so does a simulation.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use waystation_protocol::chain::{Hash, Seq, SeqRange};
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::limits;
use waystation_protocol::message::{Ack, Batch};
use waystation_protocol::sync::{Command, Resume, Sender};
use waystation_protocol::time::Tick;

use super::journal;
use super::meet::{Downward, Meeting};
use crate::store::{StoreError, array_at, seq_at};

/// One agent that is in touch.
struct Course {
    stream: StreamId,
    sender: Sender,
    credit: u64,
}

/// What happened.
pub(crate) enum News {
    /// An agent met the hub, or acknowledged.
    Told(Downward),
    /// Something was committed.
    Committed,
    /// The timer of [`Courses::poll_timer`] ran out.
    Timer,
}

/// Every agent that is in touch.
#[derive(Default)]
pub(crate) struct Courses {
    /// Spoken to in this order, so that a simulation's seed decides everything.
    courses: BTreeMap<AgentId, Course>,
    /// The last entry looked at.
    seen: i64,
}

impl Courses {
    /// Whether no agent is in touch: then nothing that is committed matters here.
    pub(crate) fn is_empty(&self) -> bool {
        self.courses.is_empty()
    }

    /// When to say [`News::Timer`] at the latest.
    pub(crate) fn poll_timer(&self) -> Option<Tick> {
        self.courses.values().filter_map(|course| course.sender.poll_timer()).min()
    }

    /// Batches could not leave: the agent's next HELLO or heartbeat begins anew.
    pub(crate) fn forget(&mut self, agent: AgentId) {
        self.courses.remove(&agent);
    }

    /// Takes what happened, and gives the batches that are to leave now, each agent's in their order.
    pub(crate) fn handle(
        &mut self,
        conn: &Connection,
        news: News,
        now: Tick,
    ) -> Result<Vec<(AgentId, Batch)>, StoreError> {
        let concerned = match news {
            News::Told(Downward::Meet(meeting)) => {
                let agent = meeting.agent;
                self.meet(conn, &meeting, now)?;
                vec![agent]
            }
            News::Told(Downward::Ack(agent, ack, own_hash)) => {
                self.ack(agent, &ack, own_hash, now);
                vec![agent]
            }
            News::Committed => self.look(conn)?,
            News::Timer => self.courses.keys().copied().collect(),
        };
        let mut batches = Vec::new();
        for agent in concerned {
            self.send(conn, agent, now, &mut batches)?;
        }
        Ok(batches)
    }

    fn meet(&mut self, conn: &Connection, meeting: &Meeting, now: Tick) -> Result<(), StoreError> {
        let known = self.courses.get_mut(&meeting.agent).filter(|course| course.stream == meeting.stream);
        // a sender at work learns nothing else from a heartbeat
        if let (Some(course), None) = (known, meeting.credit) {
            course.sender.handle_head(meeting.head.max(course.sender.head()));
            return Ok(());
        }
        let credit = meeting.credit.or(self.courses.get(&meeting.agent).map(|course| course.credit));
        let credit = credit.unwrap_or(limits::FIRST_CREDIT_BYTES);
        if self.courses.is_empty() {
            let newest = "SELECT coalesce(max(id), 0) FROM down_entry";
            self.seen = conn.prepare_cached(newest)?.query_row([], |row| row.get(0))?;
        }
        let (stream, stored) = (meeting.stream, meeting.stored);
        let head = journal::find(conn, stream)?.map_or(Seq(0), |stream| stream.head.seq);
        let mut sender = Sender::new(head.max(stored.seq), stored);
        sender.handle_connected(meeting.session, now);
        sender.handle_hello_sent(now);
        sender.handle_resume(Resume { stored, floor: Seq(0), must_register: false, credit }, now);
        self.courses.insert(meeting.agent, Course { stream, sender, credit });
        Ok(())
    }

    fn ack(&mut self, agent: AgentId, ack: &Ack, own_hash: Option<Hash>, now: Tick) {
        let Some(course) = self.courses.get_mut(&agent).filter(|course| course.stream == ack.stream) else { return };
        course.credit = ack.credit;
        course.sender.handle_ack(ack, own_hash, now);
    }

    /// The agents whose journals grew.
    fn look(&mut self, conn: &Connection) -> Result<Vec<AgentId>, StoreError> {
        let sql = "SELECT down_stream.stream, max(seq), max(down_entry.id) FROM down_entry
                   JOIN down_stream ON down_stream.id = down_entry.stream WHERE down_entry.id > ?1 GROUP BY 1";
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query(params![self.seen])?;
        let mut heads: BTreeMap<StreamId, Seq> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            heads.insert(StreamId::from_bytes(array_at(row, 0)?), seq_at(row, 1)?);
            self.seen = self.seen.max(row.get(2)?);
        }
        let mut grown = Vec::new();
        for (agent, course) in &mut self.courses {
            if let Some(head) = heads.get(&course.stream).filter(|head| **head > course.sender.head()) {
                course.sender.handle_head(*head);
                grown.push(*agent);
            }
        }
        Ok(grown)
    }

    /// Gathers what is due. A sender that wants a HELLO or another connection has given up: only the agent can begin.
    fn send(
        &mut self,
        conn: &Connection,
        agent: AgentId,
        now: Tick,
        batches: &mut Vec<(AgentId, Batch)>,
    ) -> Result<(), StoreError> {
        loop {
            let Some(course) = self.courses.get_mut(&agent) else { return Ok(()) };
            match course.sender.poll_command(now) {
                Some(Command::Batch(range)) => {
                    let found = journal::find(conn, course.stream)?;
                    let batch = found.map(|stream| journal::batch(conn, &stream, range)).transpose()?.flatten();
                    let Some(batch) = batch else {
                        self.courses.remove(&agent);
                        return Ok(());
                    };
                    let last = Seq(batch.first_seq.0 + u64::from(batch.count) - 1);
                    let sent = SeqRange { first: range.first, last };
                    course.sender.handle_sent(sent, batch.payload.len() as u64, now);
                    batches.push((agent, batch));
                }
                Some(Command::Hello | Command::Rebuild) => {
                    tracing::debug!(%agent, "an agent does not answer; its downward journal waits");
                    self.courses.remove(&agent);
                    return Ok(());
                }
                // a downward stream begins at its first entry: there is nothing to make known
                Some(Command::Register(_)) | None => return Ok(()),
            }
        }
    }
}
