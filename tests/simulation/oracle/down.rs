//! The downward direction, as it is heard: what agents acknowledge is on their disks, what the hub lets them delete they
//! have acknowledged, and they delete nothing that they may not.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use waystation_agent::store::Store;
use waystation_protocol::chain::Seq;
use waystation_protocol::id::StreamId;

use super::frames::Said;
use super::{Frozen, sql};
use crate::violation::{Violation, broken};

type Id = [u8; 16];

/// What was heard of the downward journals, and of deleting.
#[derive(Debug, Default)]
pub(crate) struct Down {
    /// How far each downward journal was ever acknowledged.
    acked: BTreeMap<Id, u64>,
    /// How far each goes in some backup.
    covered: BTreeMap<Id, u64>,
    /// How much of each agent's journal the hub ever let it delete.
    prunable: BTreeMap<Id, u64>,
    /// The same of its downward journal.
    down_prunable: BTreeMap<Id, u64>,
}

impl Down {
    /// I5: an agent says how far it holds its downward journal; its store, as it is committed, does.
    pub(super) fn hear_agent(&mut self, said: Option<Said>, store: &Store) -> Result<(), Violation> {
        let held = match said {
            Some(Said::Ack { stream, stored, .. }) => Some((stream, stored)),
            Some(Said::Hello { down } | Said::Heartbeat { down }) => down,
            Some(Said::Welcome { .. } | Said::Batch { .. } | Said::Other) | None => None,
        };
        let Some((stream, (seq, hash))) = held else { return Ok(()) };
        let acked = self.acked.entry(stream).or_default();
        *acked = seq.max(*acked);
        let id = StreamId::from_bytes(stream);
        // what cannot be read now was read when it was said
        let Ok(held) = store.down_of(id) else { return Ok(()) };
        let held = held.map_or(0, |held| held.head.seq.0);
        if held < seq || seq > 0 && store.down_hash_at(id, Seq(seq)).is_some_and(|own| *own.as_bytes() != hash) {
            return Err(broken("I5", format!("an agent acknowledges {seq} of its downward journal and holds {held}")));
        }
        Ok(())
    }

    /// I9: the hub tells an agent what it may delete.
    pub(super) fn hear_hub(
        &mut self,
        (books, frozen): (&Connection, &Frozen),
        agent: Id,
        (prunable, down_prunable): (u64, u64),
        due: i64,
    ) -> Result<(), Violation> {
        let known = self.prunable.entry(agent).or_default();
        *known = prunable.max(*known);
        let before = self.down_prunable.get(&agent).copied().unwrap_or_default();
        if down_prunable <= before {
            return Ok(());
        }
        let ask = |query: &str| books.prepare_cached(query)?.query_row([], |row| row.get::<_, i64>(0));
        let has_backup = ask("SELECT count(*) FROM backup").map_err(sql)? > 0;
        let query = "SELECT down_stream.stream FROM down_stream JOIN agent ON agent.id = down_stream.agent
                     WHERE agent.agent = ?1 AND prunable_seq >= ?2";
        let mut query = books.prepare_cached(query).map_err(sql)?;
        let mark = i64::try_from(down_prunable).unwrap_or(i64::MAX);
        let streams = query.query_map(params![&agent[..], mark], |row| row.get::<_, Id>(0)).map_err(sql)?;
        let mut reason = "the books do not say so".to_owned();
        for stream in streams {
            let stream = stream.map_err(sql)?;
            if frozen.forbids_told(stream, mark) {
                reason = "a restore is open".to_owned();
                continue;
            }
            match self.may_go(books, stream, (down_prunable, mark), has_backup, due)? {
                None => {
                    self.down_prunable.insert(agent, down_prunable);
                    return Ok(());
                }
                Some(hindrance) => reason = hindrance,
            }
        }
        Err(broken("I9", format!("{down_prunable} told may be deleted: {reason}")))
    }

    /// Why what was told up to here may not be deleted.
    fn may_go(
        &self,
        books: &Connection,
        stream: Id,
        (seq, mark): (u64, i64),
        has_backup: bool,
        due: i64,
    ) -> Result<Option<String>, Violation> {
        let acked = self.acked.get(&stream).copied().unwrap_or_default();
        if acked < seq {
            return Ok(Some(format!("{acked} are acknowledged")));
        }
        let covered = self.covered.get(&stream).copied().unwrap_or_default();
        if has_backup && covered < seq {
            return Ok(Some(format!("backups hold {covered}")));
        }
        let query = "SELECT count(*) FROM down_entry JOIN down_stream ON down_stream.id = down_entry.stream
                     WHERE down_stream.stream = ?1 AND seq <= ?2 AND at > ?3";
        let young: i64 = books
            .prepare_cached(query)
            .and_then(|mut query| query.query_row(params![&stream[..], mark, due], |row| row.get(0)))
            .map_err(sql)?;
        Ok((young > 0).then(|| "it is too early".to_owned()))
    }

    /// A backup was taken.
    pub(super) fn note_backup(&mut self, backup: &Connection) -> Result<(), Violation> {
        let mut query = backup.prepare("SELECT stream, head_seq FROM down_stream").map_err(sql)?;
        let rows = query.query_map([], |row| Ok((row.get::<_, Id>(0)?, row.get::<_, i64>(1)?))).map_err(sql)?;
        for row in rows {
            let (stream, head) = row.map_err(sql)?;
            let covered = self.covered.entry(stream).or_default();
            *covered = head.unsigned_abs().max(*covered);
        }
        Ok(())
    }

    /// I9: what a device has deleted, the hub let go, and has.
    pub(crate) fn judge_deleted(&self, store: &Store) -> Result<(), Violation> {
        let (agent, pruned) = (*store.identity().agent.as_bytes(), store.pruned().0);
        let allowed = self.prunable.get(&agent).copied().unwrap_or_default();
        if pruned > allowed {
            return Err(broken("I9", format!("an agent has deleted {pruned} entries, the hub let {allowed} go")));
        }
        let down = store.down().map_or(0, |down| down.pruned.0);
        let allowed = self.down_prunable.get(&agent).copied().unwrap_or_default();
        if down > allowed {
            return Err(broken("I9", format!("an agent has deleted {down} of what it was told, {allowed} may go")));
        }
        Ok(())
    }
}
