//! Opening: the database is there, or is made; and who this agent is.
//!
//! The same path opens the store at start and again after a failed commit, so that memory never claims what the disk
//! does not have.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{Database, ReadableDatabase, ReadableTable, TableError, WriteTransaction};

use ed25519_dalek::SigningKey;
use jiff::tz::TimeZone;
use waystation_protocol::codec;
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::limits;
use waystation_protocol::message::Parent;
use waystation_protocol::site::Sites;
use waystation_protocol::time::Timestamp;

use super::damage::{self, Compared};
use super::disk::{Folder, Opener};
use super::error::StoreError;
use super::place::{self, Standing};
use super::refold::{Loaded, load};
use super::salvage::salvage;
use super::tables::{ASIDE, COUNTERS, DOWN_STREAMS, DRAFTS, JOURNAL, KEPT, META, STREAMS};
use super::{cache, down};

const AGENT: &str = "agent";
const STREAM: &str = "stream";
const KEY: &str = "key";
const LETTER: &str = "letter";
const HUB_KEY: &str = "hub_key";
const HUB_TIME: &str = "hub_time";

/// Who this agent is. Persisted before its first use.
#[derive(Clone)]
pub struct Identity {
    /// The installation.
    pub agent: AgentId,
    /// The upward journal.
    pub stream: StreamId,
    /// Signs every frame.
    pub key: SigningKey,
    /// Stands in printed numbers.
    pub letter: char,
    /// The sites it captures for.
    pub sites: Sites,
}

/// What a fresh store starts with.
pub(super) struct Birth {
    pub(super) ids: [[u8; 16]; 2],
    pub(super) key: [u8; 32],
    pub(super) letter: char,
    /// Fresh at every process start.
    pub(super) random: [u8; 10],
}

impl Birth {
    /// Fresh random bytes for one purpose.
    pub(super) fn draw(&self, purpose: &str) -> [u8; 32] {
        *blake3::Hasher::new().update(&self.random).update(purpose.as_bytes()).finalize().as_bytes()
    }
}

/// Opens the folder's database, or creates it, and loads what memory holds of it. A damaged one is salvaged.
pub(super) fn open(
    folder: &Folder,
    opener: &Opener,
    birth: &Birth,
    zone: &TimeZone,
) -> Result<(Database, Loaded), StoreError> {
    if !folder.has_database() {
        let database = folder.create(opener, |database| give_birth(database, birth))?;
        return begin(database, folder, opener, birth, zone);
    }
    // redb trusts pages whose checksums it was not told to look at, and panics where they are torn
    let sound = catch_unwind(AssertUnwindSafe(|| open_sound(folder, opener, birth, zone)));
    match sound.unwrap_or_else(|_| Err(StoreError::Damaged("its pages make no sense".to_owned()))) {
        Err(StoreError::Damaged(reason)) if folder.is_file => {
            tracing::error!(reason, "the store is damaged: what can be read of it is salvaged");
            begin(salvage(folder, opener, birth, &reason)?, folder, opener, birth, zone)
        }
        opened => opened,
    }
}

/// Opens a database that is there, after a look at what was not looked at when it was closed.
fn open_sound(
    folder: &Folder,
    opener: &Opener,
    birth: &Birth,
    zone: &TimeZone,
) -> Result<(Database, Loaded), StoreError> {
    let looked = if folder.is_file { folder.compare()? } else { Compared::AsClosed };
    if looked != Compared::AsClosed {
        folder.check_pages()?;
    }
    let database = folder.open(opener)?;
    supply(&database)?;
    // After a crash, pages that are as redb wrote them hold what this store wrote; a file that was changed since it was
    // closed may have been changed with redb.
    if looked == Compared::Changed {
        damage::check_chain(&database)?;
    }
    begin(database, folder, opener, birth, zone)
}

/// Begins a turn and loads. A full disk keeps only a copy closed, which could then pass for the original.
fn begin(
    database: Database,
    folder: &Folder,
    opener: &Opener,
    birth: &Birth,
    zone: &TimeZone,
) -> Result<(Database, Loaded), StoreError> {
    let standing = place::examine(&database, folder)?;
    let [a, b, c, ..] = birth.draw("tag");
    let database = match place::settle(&database, folder, standing, [a, b, c]) {
        Err(StoreError::DiskFull) if !matches!(standing, Standing::Copy(_)) => {
            tracing::warn!("the disk is full: this start is not counted, and a copy made now would not be noticed");
            drop(database);
            folder.open(opener)?
        }
        settled => settled.map(|()| database)?,
    };
    let loaded = load(&database, zone)?;
    identity(&database, Sites::All)?;
    Ok((database, loaded))
}

/// Creates what a store of an earlier release lacks.
fn supply(database: &Database) -> Result<(), StoreError> {
    match database.begin_read()?.open_table(DOWN_STREAMS) {
        Err(TableError::TableDoesNotExist(_)) => {}
        found => return Ok(found.map(|_| ())?),
    }
    let write = database.begin_write()?;
    down::create(&write)?;
    write.open_table(ASIDE)?;
    Ok(write.commit()?)
}

/// Writes a fresh store's first rows.
fn give_birth(database: &Database, birth: &Birth) -> Result<(), StoreError> {
    let write = database.begin_write()?;
    put_birth(&write, birth)?;
    Ok(write.commit()?)
}

/// Makes all tables, and an agent that nobody knows yet.
pub(super) fn put_birth(write: &WriteTransaction, birth: &Birth) -> Result<(), StoreError> {
    write.open_table(JOURNAL)?;
    write.open_table(KEPT)?;
    write.open_table(COUNTERS)?;
    write.open_table(DRAFTS)?;
    cache::create(write)?;
    down::create(write)?;
    let no_parent: Option<Parent> = None;
    write.open_table(STREAMS)?.insert(&birth.ids[1], codec::encode(&no_parent).as_slice())?;
    {
        let mut meta = write.open_table(META)?;
        meta.insert(AGENT, birth.ids[0].as_slice())?;
        meta.insert(STREAM, birth.ids[1].as_slice())?;
        meta.insert(KEY, birth.key.as_slice())?;
    }
    put_letter(write, birth.letter)
}

/// The stream that a write in progress leaves.
pub(super) fn stream_in(write: &WriteTransaction) -> Result<StreamId, StoreError> {
    let meta = write.open_table(META)?;
    let stream = meta.get(STREAM)?.and_then(|stream| StreamId::from_slice(stream.value()));
    stream.ok_or_else(|| StoreError::Damaged(format!("the identity lacks its {STREAM}")))
}

/// Who the store says this agent is.
pub(super) fn identity(database: &Database, sites: Sites) -> Result<Identity, StoreError> {
    let meta = database.begin_read()?.open_table(META)?;
    let lacks = |name: &str| StoreError::Damaged(format!("the identity lacks its {name}"));
    let read = |name: &'static str| -> Result<Vec<u8>, StoreError> {
        Ok(meta.get(name)?.ok_or_else(|| lacks(name))?.value().to_vec())
    };
    let key: [u8; 32] = read(KEY)?.try_into().map_err(|_| lacks(KEY))?;
    let letter = String::from_utf8(read(LETTER)?).ok().and_then(|letter| letter.chars().next());
    Ok(Identity {
        agent: AgentId::from_slice(&read(AGENT)?).ok_or_else(|| lacks(AGENT))?,
        stream: StreamId::from_slice(&read(STREAM)?).ok_or_else(|| lacks(STREAM))?,
        key: SigningKey::from_bytes(&key),
        letter: letter.ok_or_else(|| lacks(LETTER))?,
        sites,
    })
}

/// The hub's public key, once it is pinned.
pub(super) fn hub_key(database: &Database) -> Result<Option<[u8; 32]>, StoreError> {
    let meta = database.begin_read()?.open_table(META)?;
    Ok(meta.get(HUB_KEY)?.and_then(|key| key.value().try_into().ok()))
}

pub(super) fn put_hub_key(write: &WriteTransaction, key: &[u8; 32]) -> Result<(), StoreError> {
    write.open_table(META)?.insert(HUB_KEY, key.as_slice())?;
    Ok(())
}

/// The hub's time as last told and saved: milliseconds, big-endian.
pub(super) fn hub_time(database: &Database) -> Result<Option<Timestamp>, StoreError> {
    let meta = database.begin_read()?.open_table(META)?;
    let row = meta.get(HUB_TIME)?;
    Ok(row.and_then(|time| time.value().try_into().ok()).map(|time| Timestamp(i64::from_be_bytes(time))))
}

pub(super) fn put_hub_time(write: &WriteTransaction, time: Timestamp) -> Result<(), StoreError> {
    write.open_table(META)?.insert(HUB_TIME, time.0.to_be_bytes().as_slice())?;
    Ok(())
}

pub(super) fn put_letter(write: &WriteTransaction, letter: char) -> Result<(), StoreError> {
    write.open_table(META)?.insert(LETTER, letter.encode_utf8(&mut [0; 4]).as_bytes())?;
    Ok(())
}

/// Makes `stream` the journal's stream, branching off its parent.
pub(super) fn put_fork(write: &WriteTransaction, stream: StreamId, parent: &Parent) -> Result<(), StoreError> {
    write.open_table(STREAMS)?.insert(stream.as_bytes(), codec::encode(&Some(parent)).as_slice())?;
    write.open_table(META)?.insert(STREAM, stream.as_bytes().as_slice())?;
    Ok(())
}

/// The streams that `stream` came from, the nearest first.
pub(super) fn line(database: &Database, mut stream: StreamId) -> Result<Vec<Parent>, StoreError> {
    let streams = database.begin_read()?.open_table(STREAMS)?;
    let mut line = Vec::new();
    while line.len() < limits::LINE_STREAMS {
        let Some(row) = streams.get(stream.as_bytes())? else { break };
        let parent: Option<Parent> = codec::decode_own(row.value())
            .map_err(|_| StoreError::Damaged(format!("the parent of stream {stream}")))?;
        let Some(parent) = parent else { break };
        stream = parent.stream;
        line.push(parent);
    }
    Ok(line)
}
