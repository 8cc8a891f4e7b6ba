//! Commands: what people at the hub tell agents to do, and what that came to.

use rusqlite::{Connection, OptionalExtension, Row, params};
use waystation_protocol::down::{Command, CommandResult, Stamp};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{AgentId, EntryId};
use waystation_protocol::time::Timestamp;

use super::journal::{self, Item};
use crate::clock;
use crate::store::{Store, StoreError, array_at};

/// A command and what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRow {
    /// Its entry.
    pub entry: EntryId,
    /// What is to be done; none where the hub has forgotten the command and knows only its result.
    pub command: Option<Command>,
    /// Who gave it.
    pub given_by: Option<String>,
    /// When, by the hub's clock.
    pub given_at: Option<Timestamp>,
    /// `done`, `refused` or `expired`; none until the agent told.
    pub outcome: Option<String>,
    /// What the agent said.
    pub text: Option<String>,
    /// When that reached the hub.
    pub reported_at: Option<Timestamp>,
}

impl Store {
    /// Gives an agent a command; gives its id, or none where there is no such agent.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn give_command(&self, agent: AgentId, command: Command, by: &str) -> Result<Option<EntryId>, StoreError> {
        let by = by.to_owned();
        self.command(Box::new(move |conn| give(conn, agent, &command, &by)))
    }

    /// Every command an agent was given, the latest first; none where there is no such agent.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn commands(&self, agent: AgentId) -> Result<Option<Vec<CommandRow>>, StoreError> {
        let conn = self.reader()?;
        let sql = "SELECT id FROM agent WHERE agent = ?1 AND is_hub = 0";
        let found: Option<i64> = conn.query_row(sql, [agent.as_bytes()], |row| row.get(0)).optional()?;
        let Some(agent) = found else { return Ok(None) };
        let sql =
            "SELECT entry, name, args, not_after, given_by, given_at, outcome, text, reported_at FROM down_command
                   WHERE agent = ?1 ORDER BY given_at DESC, rowid DESC";
        let mut statement = conn.prepare_cached(sql)?;
        let rows = statement.query_map([agent], command_row)?;
        Ok(Some(rows.collect::<Result<_, _>>()?))
    }
}

/// Gives an agent a command, within the caller's transaction; none where there is no such agent.
pub(crate) fn give(
    conn: &Connection,
    agent: AgentId,
    command: &Command,
    by: &str,
) -> Result<Option<EntryId>, StoreError> {
    let sql = "SELECT id FROM agent WHERE agent = ?1 AND is_hub = 0";
    let found: Option<i64> = conn.query_row(sql, [agent.as_bytes()], |row| row.get(0)).optional()?;
    let Some(row) = found else { return Ok(None) };
    let stamp = stamp()?;
    let mut entry = command.entry(stamp);
    by.clone_into(&mut entry.author);
    remember(conn, row, &entry, command)?;
    let bytes = entry.to_bytes();
    journal::tell(conn, row, &Item::of(&entry, bytes), stamp.now)?;
    Ok(Some(stamp.id))
}

fn stamp() -> Result<Stamp, StoreError> {
    Ok(Stamp { id: EntryId::from_bytes(clock::random_id()?), now: clock::now() })
}

fn command_row(row: &Row<'_>) -> rusqlite::Result<CommandRow> {
    let time = |column| row.get::<_, Option<i64>>(column).map(|at| at.map(Timestamp));
    let (name, args): (Option<String>, Option<String>) = (row.get(1)?, row.get(2)?);
    let (not_after, given_at, reported_at) = (time(3)?, time(5)?, time(8)?);
    let command = name.zip(args).zip(not_after).map(|((name, args), not_after)| Command { name, args, not_after });
    Ok(CommandRow {
        entry: EntryId::from_bytes(array_at(row, 0)?),
        command,
        given_by: row.get(4)?,
        given_at,
        outcome: row.get(6)?,
        text: row.get(7)?,
        reported_at,
    })
}

/// Keeps what was commanded.
pub(crate) fn remember(conn: &Connection, agent: i64, entry: &Entry, command: &Command) -> Result<(), StoreError> {
    let sql = "INSERT INTO down_command (entry, agent, name, args, not_after, given_by, given_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (entry) DO UPDATE SET name = excluded.name,
               args = excluded.args, not_after = excluded.not_after, given_by = excluded.given_by,
               given_at = excluded.given_at WHERE agent = excluded.agent";
    let (id, not_after) = (entry.id.as_bytes(), command.not_after.0);
    conn.prepare_cached(sql)?.execute(params![
        id,
        agent,
        command.name,
        command.args,
        not_after,
        entry.author,
        entry.occurred_at.0
    ])?;
    Ok(())
}

/// Keeps what a command came to, told in the journal `stream`. The first word counts.
pub(crate) fn note_result(
    conn: &Connection,
    stream: i64,
    result: &CommandResult,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO down_command (entry, agent, outcome, text, reported_at)
               SELECT ?1, agent, ?3, ?4, ?5 FROM stream WHERE id = ?2 ON CONFLICT (entry) DO UPDATE SET
               outcome = excluded.outcome, text = excluded.text, reported_at = excluded.reported_at
               WHERE agent = excluded.agent AND outcome IS NULL";
    let command = result.command.as_bytes();
    conn.prepare_cached(sql)?.execute(params![command, stream, result.outcome.name(), result.text, at.0])?;
    Ok(())
}
