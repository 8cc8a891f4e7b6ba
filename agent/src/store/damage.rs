//! A damaged database: noticed before anything of it is read as data, set aside under another name, and never deleted.
//!
//! A file that is to the byte what was closed is opened as it is; of any other every page's checksum is looked at first.
//! What is salvaged takes its place in one rename, so a start that is cut short begins again from the damaged file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::codec;
use waystation_protocol::time::Timestamp;

use super::disk::{CACHE_BYTES, Folder};
use super::error::StoreError;
use super::prune::Pruned;
use super::tables::{JOURNAL, META, Row, follow};
use super::turn::{self, Closed, TurnFile};

pub(super) const NOTE: &str = "salvage";
/// Most ranges that the note in the store names; the file beside it names all.
pub(super) const NOTE_RANGES: usize = 32;
/// redb's flags lie at this byte of the file; the second bit is set while the file is open.
const FLAGS_AT: usize = 9;
const IS_OPEN: u8 = 2;
/// redb reports this progress, and only then, where the newest commit is not whole.
const NEWEST_IS_TORN: std::ops::Range<f64> = 0.2..0.5;

/// What was salvaged of a damaged file, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salvage {
    /// The damaged file's name in the data folder.
    pub damaged: String,
    /// The file that names every range, beside it.
    pub report: String,
    /// When the damaged file was last written.
    pub written_at: Timestamp,
    /// What was wrong with it.
    pub reason: String,
    /// Entries that kept their place.
    pub kept: u64,
    /// Entries behind a gap, that were appended again.
    pub moved: u64,
    /// Entries that could not be read, as they were numbered.
    pub lost: Vec<SeqRange>,
    /// Pruned entries whose documents could not be read; the hub has them.
    pub without_document: Vec<SeqRange>,
    /// Whether who the agent is could not be read either.
    pub is_new_agent: bool,
}

impl Salvage {
    /// How many entries could not be read.
    pub fn lost_entries(&self) -> u64 {
        count(&self.lost)
    }

    /// How many pruned entries lack their document.
    pub fn entries_without_document(&self) -> u64 {
        count(&self.without_document)
    }

    /// Whether all that was captured is here.
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty() && self.without_document.is_empty() && !self.is_new_agent
    }
}

fn count(ranges: &[SeqRange]) -> u64 {
    ranges.iter().map(|range| range.last.next().0 - range.first.0).sum()
}

/// Notes in the store what was salvaged, or that people know it.
pub(super) fn put_note(write: &WriteTransaction, note: Option<&Salvage>) -> Result<(), StoreError> {
    let mut meta = write.open_table(META)?;
    match note {
        Some(note) => meta.insert(NOTE, codec::encode(note).as_slice())?,
        None => meta.remove(NOTE)?,
    };
    Ok(())
}

/// What was salvaged, until people have said that they know.
pub(super) fn note(database: &Database) -> Result<Option<Salvage>, StoreError> {
    let meta = database.begin_read()?.open_table(META)?;
    let Some(bytes) = meta.get(NOTE)? else { return Ok(None) };
    Ok(codec::decode_own(bytes.value()).ok())
}

/// How a database's file compares with what was closed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    /// Equal to the byte.
    AsClosed,
    /// It was closed, and is another one now.
    Changed,
    /// It was not closed in order, as far as is known.
    NotClosed,
}

impl Folder {
    /// Compares the database's file with what was closed.
    pub(super) fn compare(&self) -> Result<Compared, StoreError> {
        let Some(closed) = self.turn_file().and_then(|file| file.closed) else { return Ok(Compared::NotClosed) };
        let is_same = digest(&self.database())? == closed.digest;
        Ok(if is_same { Compared::AsClosed } else { Compared::Changed })
    }

    /// Checks the checksum of every page. A commit that a crash cut short is undone, as redb does; a file that was closed
    /// in order has no such commit.
    pub(super) fn check_pages(&self) -> Result<(), StoreError> {
        let path = self.database();
        let is_open = is_open(&path)?;
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).set_repair_callback(move |repair| {
            if !is_open && NEWEST_IS_TORN.contains(&repair.progress()) {
                repair.abort();
            }
        });
        match builder.open(&path) {
            Ok(database) => Ok(database.close()?),
            Err(DatabaseError::DatabaseAlreadyOpen) => Err(StoreError::InUse { dir: self.dir().to_owned() }),
            Err(error) => Err(error.into()),
        }
    }

    /// The database was closed in order, and its journal goes to `head`. Its pages are looked at once more: others may have changed
    /// the file while it was open, and what is noted is believed at the next start.
    pub(super) fn note_closed(&self, head: Mark) {
        let Some(file) = self.turn_file().filter(|_| self.is_file) else { return };
        let noted = self.check_pages().and_then(|()| digest(&self.database())).and_then(|digest| {
            let closed = Closed { digest, head: head.seq.0, hash: head.hash.to_string() };
            turn::write(self.dir(), &TurnFile { closed: Some(closed), ..file })
        });
        if let Err(error) = noted {
            tracing::warn!(%error, "how the store was closed is not noted; the next start checks all of it");
        }
    }

    /// Sets the damaged file aside under a name of its own and puts the file at `salvaged` in its place.
    pub(super) fn replace_database(&self, aside: &Path, salvaged: &Path) -> Result<(), StoreError> {
        let doing = || format!("set the damaged store aside as {}", aside.display());
        if fs::hard_link(self.database(), aside).is_err() {
            // Some file systems have no second names; then a cut between the two renames leaves no store under its name.
            fs::rename(self.database(), aside).map_err(StoreError::io(doing()))?;
        }
        fs::rename(salvaged, self.database()).map_err(StoreError::io(doing()))?;
        File::open(self.dir()).and_then(|dir| dir.sync_all()).map_err(StoreError::io(doing()))
    }
}

/// The names for a damaged file and for what is told of it: by when it was last written, and free.
pub(super) fn names(folder: &Folder) -> (PathBuf, PathBuf, Timestamp) {
    let written = fs::metadata(folder.database()).and_then(|meta| meta.modified()).ok();
    let since = written.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default();
    let at = Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let stamp = at.civil(&jiff::tz::TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    let named = |suffix: &str| {
        let name = |what: &str, end: &str| folder.dir().join(format!("{what}{stamp}{suffix}{end}"));
        (name("store.redb.damaged-", ""), name("salvage-", ".json"))
    };
    let mut names = named("");
    for again in 2.. {
        if !names.0.exists() && !names.1.exists() {
            break;
        }
        names = named(&format!("-{again}"));
    }
    (names.0, names.1, at)
}

/// Recomputes the chain of all entries that are here.
pub(super) fn check_chain(database: &Database) -> Result<(), StoreError> {
    let read = database.begin_read()?;
    let mut mark = Pruned::load(&read)?.mark;
    for row in read.open_table(JOURNAL)?.iter()? {
        let (seq, row) = row?;
        if seq.value() != mark.seq.next().0 {
            return Err(StoreError::Damaged(format!("the journal lacks entry {}", mark.seq.next())));
        }
        mark = follow(mark, &Row::parse(Seq(seq.value()), row.value())?)?;
    }
    Ok(())
}

fn digest(path: &Path) -> Result<String, StoreError> {
    let doing = || StoreError::io(format!("read {}", path.display()));
    let file = File::open(path).map_err(doing())?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(doing())?;
    Ok(hasher.finalize().to_string())
}

/// Whether redb had the file open when it was last written: the newest commit may then be one that a crash cut short.
fn is_open(path: &Path) -> Result<bool, StoreError> {
    use std::io::Read;
    let doing = || StoreError::io(format!("read {}", path.display()));
    let mut head = Vec::new();
    File::open(path).map_err(doing())?.take(64).read_to_end(&mut head).map_err(doing())?;
    Ok(head.get(FLAGS_AT).is_some_and(|flags| flags & IS_OPEN != 0))
}
