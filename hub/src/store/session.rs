//! Sessions of an agent, and which of them has the downward journal.
//!
//! The fence is the model's (`tests/model`, challenge, `Fence::Fresh`): while a session has the downward journal, another
//! gets it by naming that one as its predecessor, or by answering a challenge given since then. So no late copy of a
//! HELLO takes it over, and no device that goes on alone is locked out. Captures are never fenced.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::id::{AgentId, SessionId, StreamId};
use waystation_protocol::message::{Bytes, Hello};
use waystation_protocol::time::Timestamp;

use super::{Store, StoreError, array_at};

/// Sessions remembered per agent: a flapping line makes one a minute, and nobody answers what is an hour old.
const KEPT: i64 = 64;

/// Whether a session gets the downward journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It has it; whether it did not before this HELLO.
    Holder {
        /// It took the journal over just now.
        is_new: bool,
    },
    /// It must first answer this in a later HELLO.
    Challenged(Bytes),
}

/// A HELLO began a session, or repeats one. Decides whether it gets the downward journal.
pub(crate) fn greet(conn: &Connection, agent: i64, hello: &Hello, now: Timestamp) -> Result<Admission, StoreError> {
    let sql = "INSERT INTO session (session, agent, stream, began_at, last_seen) VALUES (?1, ?2, ?3, ?4, ?4)
               ON CONFLICT DO UPDATE SET stream = excluded.stream, last_seen = max(last_seen, excluded.last_seen)
               WHERE agent = excluded.agent";
    let row = params![hello.session.as_bytes(), agent, hello.stream.as_bytes(), now.0];
    conn.prepare_cached(sql)?.execute(row)?;
    let sql = "DELETE FROM session WHERE agent = ?1 AND session IN
               (SELECT session FROM session WHERE agent = ?1 ORDER BY began_at DESC, session LIMIT -1 OFFSET ?2)
               AND session <> (SELECT coalesce(holder, zeroblob(0)) FROM agent WHERE id = ?1)";
    conn.prepare_cached(sql)?.execute([agent, KEPT])?;
    let holder = holder(conn, agent)?;
    if holder == Some(hello.session) {
        return Ok(Admission::Holder { is_new: false });
    }
    if holder.is_none() || hello.last_session == holder || answers(conn, agent, hello)? {
        hand_over(conn, agent, Some(hello.session))?;
        return Ok(Admission::Holder { is_new: true });
    }
    challenge(conn, agent, hello.session, now).map(Admission::Challenged)
}

fn holder(conn: &Connection, agent: i64) -> Result<Option<SessionId>, StoreError> {
    let sql = "SELECT holder FROM agent WHERE id = ?1";
    let holder = conn.prepare_cached(sql)?.query_row([agent], |row| row.get::<_, Option<[u8; 16]>>(0))?;
    Ok(holder.map(SessionId::from_bytes))
}

/// Whether a HELLO answers a challenge given since the present holder took over.
fn answers(conn: &Connection, agent: i64, hello: &Hello) -> Result<bool, StoreError> {
    let Some(answer) = hello.challenge_answer.as_ref().filter(|answer| !answer.is_empty()) else { return Ok(false) };
    let sql = "SELECT 1 FROM session WHERE agent = ?1 AND challenge = ?2";
    let found = conn.prepare_cached(sql)?.query_row(params![agent, answer.0], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

/// Another session has the downward journal, or whichever greets next; what was challenged before counts no more.
fn hand_over(conn: &Connection, agent: i64, holder: Option<SessionId>) -> Result<(), StoreError> {
    let holder = holder.map(|holder| *holder.as_bytes());
    conn.prepare_cached("UPDATE agent SET holder = ?2 WHERE id = ?1")?.execute(params![agent, holder])?;
    conn.prepare_cached("UPDATE session SET challenge = NULL WHERE agent = ?1 AND challenge IS NOT NULL")?
        .execute([agent])?;
    Ok(())
}

/// Whether a session knows that another has the downward journal: it was challenged since that one took over.
pub(crate) fn is_challenged(conn: &Connection, agent: i64, session: SessionId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM session WHERE session = ?1 AND agent = ?2 AND challenge IS NOT NULL";
    let found = conn.prepare_cached(sql)?.query_row(params![session.as_bytes(), agent], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

/// The challenge a session was given, or a fresh one: nobody outside knows the secret it comes of.
fn challenge(conn: &Connection, agent: i64, session: SessionId, now: Timestamp) -> Result<Bytes, StoreError> {
    let sql = "SELECT challenge FROM session WHERE session = ?1";
    let given: Option<Option<Vec<u8>>> =
        conn.prepare_cached(sql)?.query_row([session.as_bytes()], |row| row.get(0)).optional()?;
    if let Some(given) = given.flatten() {
        return Ok(Bytes(given));
    }
    let secret: [u8; 32] =
        conn.prepare_cached("SELECT value FROM meta WHERE name = 'fence'")?.query_row([], |row| array_at(row, 0))?;
    let mut hasher = blake3::Hasher::new_keyed(&secret);
    hasher.update(&agent.to_le_bytes()).update(session.as_bytes()).update(&now.0.to_le_bytes());
    let fresh = hasher.finalize().as_bytes()[..16].to_vec();
    conn.prepare_cached("UPDATE session SET challenge = ?2 WHERE session = ?1")?
        .execute(params![session.as_bytes(), fresh])?;
    Ok(Bytes(fresh))
}

/// A session was heard, on this journal.
pub(crate) fn hear(
    conn: &Connection,
    agent: i64,
    session: SessionId,
    stream: StreamId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE session SET stream = ?3, last_seen = max(last_seen, ?4), died_at = NULL
               WHERE session = ?1 AND agent = ?2";
    let row = params![session.as_bytes(), agent, stream.as_bytes(), now.0];
    conn.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// A last will arrived.
pub(crate) fn end(conn: &Connection, session: SessionId, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE session SET died_at = coalesce(died_at, ?2) WHERE session = ?1";
    conn.prepare_cached(sql)?.execute(params![session.as_bytes(), now.0])?;
    Ok(())
}

/// The session an acknowledgement of a journal names, since a BATCH carries none: the latest that spoke of this journal
/// or of the one it came from, else the agent's latest.
pub(crate) fn of_stream(conn: &Connection, agent: i64, stream: StreamId) -> Result<Option<SessionId>, StoreError> {
    let sql = "SELECT session FROM session WHERE agent = ?1
               ORDER BY stream = ?2 DESC, stream = (SELECT parent_stream FROM stream WHERE stream = ?2) DESC,
               began_at DESC LIMIT 1";
    let row = params![agent, stream.as_bytes()];
    let found = conn.prepare_cached(sql)?.query_row(row, |row| array_at(row, 0)).optional()?;
    Ok(found.map(SessionId::from_bytes))
}

impl Store {
    /// Gives the downward journal to a session that could not answer its challenge: the one named, else the newest that
    /// was challenged. Gives that session; none where no session of the agent was challenged.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownAgent`], or the database fails.
    pub fn admit(&self, agent: AgentId, session: Option<SessionId>) -> Result<Option<SessionId>, StoreError> {
        self.command(Box::new(move |conn| admit(conn, agent, session)))
    }
}

/// The same within a transaction.
pub(crate) fn admit(
    conn: &Connection,
    agent: AgentId,
    session: Option<SessionId>,
) -> Result<Option<SessionId>, StoreError> {
    let sql = "SELECT id FROM agent WHERE agent = ?1";
    let row = conn.query_row(sql, [agent.as_bytes()], |row| row.get::<_, i64>(0)).optional()?;
    let row = row.ok_or(StoreError::UnknownAgent { agent })?;
    let sql = "SELECT session FROM session WHERE agent = ?1 AND challenge IS NOT NULL
               AND (?2 IS NULL OR session = ?2) ORDER BY began_at DESC LIMIT 1";
    let named = session.map(|session| *session.as_bytes());
    let found = conn.query_row(sql, params![row, named], |row| array_at(row, 0)).optional()?;
    let found = found.map(SessionId::from_bytes);
    if found.is_some() {
        hand_over(conn, row, found)?;
    }
    Ok(found)
}
