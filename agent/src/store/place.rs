//! Whether the store's file is still where this agent wrote it: a copied, moved or put-back store is noticed.
//!
//! META carries a token of the place (machine, inode and birth of the file) and a turn that rises at each opening, first
//! in the database, then in the small file `agent.turn` beside it; so the database may be one turn ahead after a crash.
//! A copy may have a twin that prints and sends too: it goes on in a stream of its own, and until the hub has granted that
//! stream a letter, its numbers carry a tag it drew. Captures go on all the same: a clerk whose disk was
//! restored this morning has customers waiting, and three odd characters in a number cost less than a shut counter.

use std::os::unix::fs::MetadataExt;

use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use waystation_protocol::codec;
use waystation_protocol::number::Tag;

use super::disk::Folder;
use super::error::StoreError;
use super::sealed;
use super::tables::{KEPT, META};
use super::turn::{self, TurnFile};

pub(super) const PLACE: &str = "place";
pub(super) const TURN: &str = "turn";
pub(super) const MEET: &str = "meet";
const MACHINE_ID: &str = "/etc/machine-id";

/// What a store must do at its next meeting with the hub, and how it prints until its stream has a letter of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meet {
    /// Stands in printed numbers instead of the agent's letter.
    pub(super) tag: [u8; 3],
    /// Whether it goes on in a new stream whatever the hub holds: a twin may use the present one.
    pub(super) must_fork: bool,
    /// Whether this is because it was copied, moved or put back.
    pub(super) is_copy: bool,
}

impl Meet {
    /// What is left to do once a new stream has begun: the letter belongs to the stream that was left, and `random` makes a
    /// tag where there is none yet.
    pub(super) fn after_fork(before: Option<Meet>, random: [u8; 3]) -> Meet {
        let none = Meet { tag: random, must_fork: false, is_copy: false };
        Meet { must_fork: false, ..before.unwrap_or(none) }
    }

    pub(super) fn tag(self) -> Tag {
        Tag::provisional(self.tag)
    }
}

/// What opening found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Born now, or written by a build that kept no token.
    New,
    /// Where it was.
    Same,
    /// Somewhere else than it was written, or older than it was. Says how that shows.
    Copy(&'static str),
}

/// Compares what database and folder say.
pub(super) fn examine(database: &Database, folder: &Folder) -> Result<Standing, StoreError> {
    let meta = database.begin_read()?.open_table(META)?;
    let known = meta.get(PLACE)?.map(|place| place.value().to_vec());
    Ok(judge(known.as_deref(), turn_in(&meta)?, folder))
}

/// As [`examine`], of a store that says it was written at `known` in `turn`.
pub(super) fn judge(known: Option<&[u8]>, turn: Option<u64>, folder: &Folder) -> Standing {
    let Some(turn) = turn else { return Standing::New };
    let here = token(folder);
    if let (Some(known), Some(here)) = (known, here)
        && known != here
    {
        return Standing::Copy("its file is not the one that was written");
    }
    match folder.turn_file() {
        None => Standing::Copy("agent.turn is missing beside it"),
        Some(file) if turn < file.turn => Standing::Copy("it is older than agent.turn says"),
        Some(file) if turn > file.turn + 1 => Standing::Copy("it is newer than agent.turn says"),
        Some(_) => Standing::Same,
    }
}

/// Begins a turn, and notes durably what `standing` leads to. `random` must be fresh.
pub(super) fn settle(
    database: &Database,
    folder: &Folder,
    standing: Standing,
    random: [u8; 3],
) -> Result<(), StoreError> {
    let turn = turn_in(&database.begin_read()?.open_table(META)?)?.unwrap_or(0);
    let file = folder.turn_file().map_or(0, |file| file.turn);
    let write = match standing {
        Standing::Copy(how) => {
            tracing::error!(
                how,
                "this store was copied, moved or put back: its numbers carry a tag of its own until it met the hub"
            );
            let write = database.begin_write()?;
            put_meet(&write, Some(Meet { tag: random, must_fork: true, is_copy: true }))?;
            write
        }
        Standing::New => database.begin_write()?,
        Standing::Same => {
            // The file catches up first: so the database is never ahead by more than this turn.
            if file < turn {
                turn::write(folder.dir(), &TurnFile { turn, closed: None })?;
            }
            database.begin_write()?
        }
    };
    let next = turn.max(file) + 1;
    write.open_table(KEPT)?;
    {
        let mut meta = write.open_table(META)?;
        meta.insert(TURN, next.to_be_bytes().as_slice())?;
        if let Some(token) = token(folder) {
            meta.insert(PLACE, token.as_slice())?;
        }
    }
    sealed::seal(&write)?;
    write.commit()?;
    turn::write(folder.dir(), &TurnFile { turn: next, closed: None })
}

/// What the store must do before it is like any other, if anything.
pub(super) fn meet(database: &Database) -> Result<Option<Meet>, StoreError> {
    let meta = database.begin_read()?.open_table(META)?;
    let Some(bytes) = meta.get(MEET)? else { return Ok(None) };
    let damaged = |_| StoreError::Damaged("what the store must do when it meets the hub".to_owned());
    codec::decode_own(bytes.value()).map(Some).map_err(damaged)
}

pub(super) fn put_meet(write: &WriteTransaction, meet: Option<Meet>) -> Result<(), StoreError> {
    let mut meta = write.open_table(META)?;
    match meet {
        Some(meet) => meta.insert(MEET, codec::encode(&meet).as_slice())?,
        None => meta.remove(MEET)?,
    };
    Ok(())
}

fn turn_in(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Option<u64>, StoreError> {
    let Some(bytes) = meta.get(TURN)? else { return Ok(None) };
    let damaged = |_| StoreError::Damaged("the turn".to_owned());
    Ok(Some(u64::from_be_bytes(bytes.value().try_into().map_err(damaged)?)))
}

/// BLAKE3 of the machine's id, if it has one, and of the file's inode and birth; none where the database is no file. An
/// inode alone is soon given to another file, and a device's number may change when the machine starts; it stands in
/// where the file system keeps no births.
fn token(folder: &Folder) -> Option<Vec<u8>> {
    let file = folder.is_file.then(|| std::fs::metadata(folder.database()).ok()).flatten()?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&std::fs::read(MACHINE_ID).unwrap_or_default());
    hasher.update(&file.ino().to_be_bytes());
    let born = file.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    match born {
        Some(born) => hasher.update(&born.as_nanos().to_be_bytes()),
        None => hasher.update(&file.dev().to_be_bytes()),
    };
    Some(hasher.finalize().as_bytes().to_vec())
}
