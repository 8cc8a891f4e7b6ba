//! Opening: who this agent is, how far its journal goes, and what changed since the cache was written.
//!
//! The same path opens the store at start and again after a failed commit, so that memory never claims what the disk
//! does not have. A damaged, outdated or missing cache is rebuilt here from the journal.

use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};

use ed25519_dalek::SigningKey;
use jiff::tz::TimeZone;
use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::codec;
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::limits;
use waystation_protocol::message::Parent;
use waystation_protocol::site::Sites;

use super::cache::{self, Snapshot};
use super::damage::{self, Compared};
use super::disk::{Folder, Opener};
use super::error::StoreError;
use super::journal::{self, Progress};
use super::overlay::{Overlay, fold_own};
use super::place::{self, Standing};
use super::rebuild::rebuild;
use super::salvage::salvage;
use super::tables::{COUNTERS, DRAFTS, JOURNAL, KEPT, LIST, META, Row, STREAMS, follow};
use super::writer::CACHE_ENTRIES_MOST;

/// While rebuilding, the cache is written each time this many entries have gathered …
const REBUILD_ENTRIES: u64 = 4_000;
/// … but what a running store leaves uncached at most, and an import on top, opens without any writing: a full disk
/// does not keep the store closed.
const UNCACHED_ENTRIES: u64 = 4 * CACHE_ENTRIES_MOST as u64;

const AGENT: &str = "agent";
const STREAM: &str = "stream";
const KEY: &str = "key";
const LETTER: &str = "letter";
const HUB_KEY: &str = "hub_key";

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

/// What an opened store knows.
pub(super) struct Loaded {
    pub(super) overlay: Overlay,
    pub(super) progress: Progress,
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
    match open_sound(folder, opener, birth, zone) {
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

/// Folds what lies above the cache's watermark; all that is left of the journal if the cache cannot be used.
pub(super) fn load(database: &Database, zone: &TimeZone) -> Result<Loaded, StoreError> {
    let progress = Progress::load(database)?;
    let pruned = progress.pruned.mark.seq;
    let watermark = match cache::watermark(database) {
        Ok(Some(through)) if is_possible(through, &progress) && are_tables_sound(database) => through,
        Ok(None) if progress.head.seq == Seq(0) && are_tables_sound(database) => Seq(0),
        Ok(_) | Err(StoreError::Damaged(_)) => {
            tracing::warn!(head = progress.head.seq.0, "the document cache is rebuilt from the journal");
            rebuild(database, pruned, zone)?;
            pruned
        }
        Err(error) => return Err(error),
    };
    let overlay = match refold(database, watermark, progress.head, zone) {
        Err(StoreError::Damaged(what)) if watermark > pruned => {
            tracing::warn!(what, "the document cache is damaged and is rebuilt from the journal");
            rebuild(database, pruned, zone)?;
            refold(database, pruned, progress.head, zone)?
        }
        refolded => refolded?,
    };
    Ok(Loaded { overlay, progress })
}

/// Whether a cache may go through `through`: what is pruned stands in it, and it has nothing the journal never had.
fn is_possible(through: Seq, progress: &Progress) -> bool {
    (progress.pruned.mark.seq..=progress.head.seq).contains(&through)
}

fn are_tables_sound(database: &Database) -> bool {
    let list = || Ok::<_, StoreError>(database.begin_read()?.open_table(LIST)?);
    Snapshot::open(database).is_ok() && list().is_ok()
}

/// Folds the journal from after `through` to `head` and checks its chain on the way. Long stretches go to the cache
/// as they come, so memory stays small.
fn refold(database: &Database, through: Seq, head: Mark, zone: &TimeZone) -> Result<Overlay, StoreError> {
    let hash = journal::hash_at(database, through)?;
    let hash = hash.ok_or_else(|| StoreError::Damaged(format!("the journal lacks entry {through}")))?;
    let mut mark = Mark { seq: through, hash };
    loop {
        let left = head.seq.0 - mark.seq.0;
        let stretch = if left <= UNCACHED_ENTRIES { left } else { REBUILD_ENTRIES };
        let mut overlay = Overlay::default();
        mark = fold_stretch(database, mark, stretch, &mut overlay, zone)?;
        if mark.seq == head.seq {
            return Ok(overlay);
        }
        let write = database.begin_write()?;
        cache::write(&write, &overlay, mark.seq)?;
        write.commit()?;
    }
}

/// Folds at most `entries` entries above the cache's watermark; with the seq reached, if there are any.
pub(super) fn fold_some(
    database: &Database,
    entries: u64,
    zone: &TimeZone,
) -> Result<Option<(Overlay, Seq)>, StoreError> {
    let through = cache::watermark(database)?.unwrap_or(Seq(0));
    let left = Progress::load(database)?.head.seq.0.saturating_sub(through.0);
    if left == 0 {
        return Ok(None);
    }
    let hash = journal::hash_at(database, through)?;
    let hash = hash.ok_or_else(|| StoreError::Damaged(format!("the journal lacks entry {through}")))?;
    let mut overlay = Overlay::default();
    let reached = fold_stretch(database, Mark { seq: through, hash }, left.min(entries), &mut overlay, zone)?;
    Ok(Some((overlay, reached.seq)))
}

/// Folds `entries` entries after `mark` and gives the mark reached.
fn fold_stretch(
    database: &Database,
    mut mark: Mark,
    entries: u64,
    overlay: &mut Overlay,
    zone: &TimeZone,
) -> Result<Mark, StoreError> {
    let snapshot = Snapshot::open(database)?;
    let rows = database.begin_read()?.open_table(JOURNAL)?;
    for row in rows.range(mark.seq.next().0..=mark.seq.0 + entries)? {
        let (seq, row) = row?;
        if seq.value() != mark.seq.next().0 {
            return Err(StoreError::Damaged(format!("the journal lacks entry {}", mark.seq.next())));
        }
        let row = Row::parse(mark.seq.next(), row.value())?;
        mark = follow(mark, &row)?;
        let entry = journal::decode(mark.seq, row.entry)?;
        let id = entry.document();
        let cached = if overlay.documents.contains_key(&id) { None } else { snapshot.held(id)? };
        let before = overlay.documents.get(&id).map(AsRef::as_ref).or(cached.as_ref()).cloned();
        if before.as_ref().is_some_and(|held| held.seqs.binary_search(&mark.seq).is_ok()) {
            continue;
        }
        match fold_own(before.as_ref(), &entry) {
            Ok(document) => {
                overlay.absorb(mark.seq, &entry, before.as_ref(), document, zone);
            }
            Err(refusal) => tracing::error!(seq = mark.seq.0, code = refusal.code(), "an own entry does not fold"),
        }
    }
    Ok(mark)
}
