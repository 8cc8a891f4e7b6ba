//! What a backup says of itself: `manifest.json`, and `B3SUMS` in the format of the tool `b3sum`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::time::Timestamp;

use super::{BackupError, Progress, Step};
use crate::durable;
use crate::keys;
use crate::store::{DATABASE, StoreError, array_at, hash_at, life, line, seq_at};

/// The manifest's name.
pub(super) const MANIFEST: &str = "manifest.json";

/// The name of the list of digests.
pub(super) const SUMS: &str = "B3SUMS";

/// The version of the manifest this build writes, and the only one it reads.
const FORMAT: u32 = 1;

/// Entries in a database; a fork's begin above its floor, and a lost range holds none.
const ENTRIES: &str = "SELECT (SELECT coalesce(sum(stored_seq - floor_seq), 0) FROM stream)
    - (SELECT coalesce(sum(open_last - first_seq + 1), 0) FROM lost_range WHERE filled_at IS NULL)";

/// The same in a database of a build that knew no forks.
const ENTRIES_BEFORE_FORKS: &str = "SELECT coalesce(sum(stored_seq), 0) FROM stream";

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// A backup, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this file.
    pub format: u32,
    /// When it was taken, in milliseconds since 1970 by the hub's clock.
    pub taken_at_ms: i64,
    /// The same for people, in UTC.
    pub taken_at: String,
    /// The build that took it.
    pub build: String,
    /// The hub's id, in hexadecimal.
    pub hub_id: String,
    /// The hub's public key, in hexadecimal.
    pub public_key: String,
    /// The epoch it was taken in.
    pub epoch: u64,
    /// Size of the database in bytes.
    pub database_bytes: u64,
    /// The database's BLAKE3 digest.
    pub database_blake3: String,
    /// Entries stored.
    pub entries: u64,
    /// Batches stored.
    pub batches: u64,
    /// Documents.
    pub documents: u64,
    /// Agents that ever said HELLO.
    pub agents: u64,
    /// Every journal.
    pub journals: Vec<Journal>,
    /// Every downward journal; a build without them had none.
    #[serde(default)]
    pub down: Vec<Journal>,
}

/// One journal in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Its id.
    #[serde(with = "text")]
    pub stream: StreamId,
    /// Whose.
    #[serde(with = "text")]
    pub agent: AgentId,
    /// How far it is stored.
    pub stored_seq: u64,
    /// The chain's hash there, in hexadecimal.
    pub stored_hash: String,
    /// The highest head announced.
    pub head_seq: u64,
}

mod text {
    //! Ids as people see them.

    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(id: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error>
    where
        T::Err: Display,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A digest and a size.
pub(super) struct Digest {
    pub(super) hex: String,
    pub(super) bytes: u64,
}

impl Journal {
    /// How far it is stored.
    #[must_use]
    pub fn stored(&self) -> Seq {
        Seq(self.stored_seq)
    }
}

impl Manifest {
    /// When it was taken.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        Timestamp(self.taken_at_ms)
    }

    /// What the files in `folder` say.
    pub(super) fn of(folder: &Path, now: Timestamp, progress: Progress<'_>) -> Result<Manifest, BackupError> {
        let digest = digest(&folder.join(DATABASE), progress)?;
        let conn = open(folder)?;
        let key = keys::load(folder)?.ok_or_else(|| not_whole(folder, keys::NAME))?;
        let hub_id: Vec<u8> = conn.query_row("SELECT value FROM meta WHERE name = 'hub_id'", [], |row| row.get(0))?;
        let number = |sql: &str| conn.query_row(sql, [], |row| seq_at(row, 0)).map(|number| number.0);
        Ok(Manifest {
            format: FORMAT,
            taken_at_ms: now.0,
            taken_at: now.rfc3339(&jiff::tz::TimeZone::UTC),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            hub_id: data_encoding::HEXLOWER.encode(&hub_id),
            public_key: data_encoding::HEXLOWER.encode(key.verifying_key().as_bytes()),
            epoch: life::own(&conn)?.epoch.unwrap_or(1),
            database_bytes: digest.bytes,
            database_blake3: digest.hex,
            entries: number(if line::has_forks(&conn)? { ENTRIES } else { ENTRIES_BEFORE_FORKS })?,
            batches: number("SELECT count(*) FROM raw")?,
            documents: number("SELECT count(*) FROM document")?,
            agents: number("SELECT count(*) FROM agent WHERE public_key <> zeroblob(32)")?,
            journals: journals(&conn)?.into_iter().map(|(_, _, journal)| journal).collect(),
            down: down(&conn)?.into_iter().map(|(_, journal)| journal).collect(),
        })
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), BackupError> {
        let text = serde_json::to_vec_pretty(self).expect("numbers and texts always encode");
        durable::replace(folder, MANIFEST, &text).map_err(BackupError::io("write", &folder.join(MANIFEST)))
    }

    /// The manifest in `folder`.
    pub(super) fn read(folder: &Path) -> Result<Manifest, BackupError> {
        let path = folder.join(MANIFEST);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(not_whole(folder, MANIFEST)),
            Err(error) => return Err(BackupError::io("read", &path)(error)),
        };
        let bad = |error: serde_json::Error| BackupError::damaged(folder, format!("{MANIFEST}: {error}"));
        let manifest: Manifest = serde_json::from_slice(&text).map_err(bad)?;
        if manifest.format == FORMAT {
            return Ok(manifest);
        }
        let reason = format!("its manifest has format {}, this build reads {FORMAT}", manifest.format);
        Err(BackupError::NotABackup { folder: folder.to_owned(), reason })
    }
}

pub(super) fn not_whole(folder: &Path, name: &str) -> BackupError {
    BackupError::NotABackup { folder: folder.to_owned(), reason: format!("it has no {name}") }
}

/// The copied database, only read.
pub(super) fn open(folder: &Path) -> Result<Connection, BackupError> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(folder.join(DATABASE), flags)?)
}

/// Every journal with its row and its stored mark.
pub(super) fn journals(conn: &Connection) -> Result<Vec<(i64, Mark, Journal)>, BackupError> {
    let (head, heard) = if line::has_forks(conn)? {
        ("coalesce(heard.head_seq, 0)", "LEFT JOIN heard ON heard.stream = stream.stream")
    } else {
        ("head_seq", "")
    };
    let sql = format!(
        "SELECT stream.id, stream.stream, agent.agent, stored_seq, stored_hash, {head}
         FROM stream JOIN agent ON agent.id = stream.agent {heard} ORDER BY stream.id"
    );
    let mut statement = conn.prepare(&sql)?;
    let rows = statement.query_map([], |row| {
        let stored = Mark { seq: seq_at(row, 3)?, hash: hash_at(row, 4)? };
        let journal = Journal {
            stream: StreamId::from_bytes(array_at(row, 1)?),
            agent: AgentId::from_bytes(array_at(row, 2)?),
            stored_seq: stored.seq.0,
            stored_hash: stored.hash.to_string(),
            head_seq: seq_at(row, 5)?.0,
        };
        Ok((row.get(0)?, stored, journal))
    })?;
    Ok(rows.collect::<Result<_, _>>().map_err(StoreError::from)?)
}

/// Every downward journal with its row, where the build that took the copy had any.
pub(super) fn down(conn: &Connection) -> Result<Vec<(i64, Journal)>, BackupError> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'down_stream'";
    if conn.query_row(sql, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(Vec::new());
    }
    let sql = "SELECT down_stream.id, down_stream.stream, agent.agent, head_seq, head_hash FROM down_stream
               JOIN agent ON agent.id = down_stream.agent ORDER BY down_stream.id";
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let journal = Journal {
            stream: StreamId::from_bytes(array_at(row, 1)?),
            agent: AgentId::from_bytes(array_at(row, 2)?),
            stored_seq: seq_at(row, 3)?.0,
            stored_hash: hash_at(row, 4)?.to_string(),
            head_seq: seq_at(row, 3)?.0,
        };
        Ok((row.get(0)?, journal))
    })?;
    Ok(rows.collect::<Result<_, _>>().map_err(StoreError::from)?)
}

/// A file's digest.
pub(super) fn digest(path: &Path, progress: Progress<'_>) -> Result<Digest, BackupError> {
    let failed = BackupError::io("read", path);
    let mut file = File::open(path).map_err(&failed)?;
    let all = file.metadata().map_err(&failed)?.len();
    let (mut hasher, mut chunk, mut bytes) = (blake3::Hasher::new(), vec![0; CHUNK], 0);
    loop {
        let read = file.read(&mut chunk).map_err(&failed)?;
        if read == 0 {
            return Ok(Digest { hex: hasher.finalize().to_hex().to_string(), bytes });
        }
        hasher.update(&chunk[..read]);
        bytes += read as u64;
        progress(Step::Digest, bytes, all);
    }
}

/// Writes the list of digests, last of all.
pub(super) fn write_sums(folder: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let mut text = format!("{}  {DATABASE}\n", manifest.database_blake3);
    for name in [keys::NAME, MANIFEST] {
        let digest = digest(&folder.join(name), &mut |_, _, _| {})?;
        text.push_str(&format!("{}  {name}\n", digest.hex));
    }
    durable::replace(folder, SUMS, text.as_bytes()).map_err(BackupError::io("write", &folder.join(SUMS)))
}
