//! Why the hub's store refuses.

use std::path::PathBuf;

use waystation_protocol::id::AgentId;

use crate::clock::NoRandom;
use crate::epoch::EpochError;

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another hub has the folder open.
    #[error("data folder {dir} is in use by another hub")]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder cannot be made or opened.
    #[error("could not open data folder {dir}")]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No room is left, the reserve given up.
    #[error("the disk of data folder {dir} is full; make room on it, then go on: nothing stored is lost")]
    DiskFull {
        /// The folder.
        dir: PathBuf,
    },
    /// A newer build wrote this database.
    #[error("the database has schema version {found}, this build knows {known}; use the newer build")]
    Newer {
        /// The version found.
        found: i64,
        /// The newest this build knows.
        known: i64,
    },
    /// Stored bytes are not what was written.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// The compare-and-set found another mark: another process writes to this database.
    #[error("another process moved stream {stream} on")]
    Overtaken {
        /// The stream's row.
        stream: i64,
    },
    /// A site's zone changed while its documents were being folded; they are folded again.
    #[error("the time zone of site '{0}' changed meanwhile")]
    ZoneMoved(String),
    /// A zone that has no entry in the IANA database.
    #[error("'{0}' is not an IANA time zone such as Asia/Shanghai")]
    BadZone(String),
    /// A restore was interrupted between the old files and the new ones.
    #[error("a restore into {dir} was cut off; run the same `restore` again to finish it")]
    RestoreCutOff {
        /// The folder.
        dir: PathBuf,
    },
    /// The name of the hub's own site.
    #[error("'{0}' is where documents of no outlet belong; no outlet can be called so")]
    ReservedSite(String),
    /// The hub came back older since a backup was taken.
    #[error("the backup is of epoch {backup}, the hub of epoch {own}: it was restored meanwhile; take another backup")]
    OtherEpoch {
        /// The backup's.
        backup: u64,
        /// The hub's.
        own: u64,
    },
    /// No such agent ever said HELLO.
    #[error("no agent {agent} ever said HELLO here; `waystation-hub run` lists those that did at /api/v1/agents")]
    UnknownAgent {
        /// The id.
        agent: AgentId,
    },
    /// Every restore has ended.
    #[error("there is nothing to release: no restore is open")]
    NothingToRelease,
    /// The file that says which life of the hub this is.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// A cursor that no page gave out.
    #[error("'{0}' is not a cursor")]
    BadCursor(String),
    /// The system gives no random bytes.
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The database failed.
    #[error("the database failed")]
    Sql(#[from] rusqlite::Error),
}

impl StoreError {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            StoreError::DiskFull { .. } => true,
            StoreError::Sql(error) => error.sqlite_error().is_some_and(|error| {
                // the log's index could not grow: SQLite does not say why, and it is never for anything else
                error.code == rusqlite::ErrorCode::DiskFull
                    || error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
            }),
            StoreError::Folder { source, .. } | StoreError::Epoch(EpochError::Io { source, .. }) => {
                source.kind() == std::io::ErrorKind::StorageFull
            }
            StoreError::InUse { .. }
            | StoreError::Newer { .. }
            | StoreError::Damaged(_)
            | StoreError::Overtaken { .. }
            | StoreError::ZoneMoved(_)
            | StoreError::BadZone(_)
            | StoreError::RestoreCutOff { .. }
            | StoreError::ReservedSite(_)
            | StoreError::OtherEpoch { .. }
            | StoreError::UnknownAgent { .. }
            | StoreError::NothingToRelease
            | StoreError::Epoch(EpochError::Damaged { .. })
            | StoreError::BadCursor(_)
            | StoreError::Random(_)
            | StoreError::Closed => false,
        }
    }

    /// Whether the disk may be what failed.
    pub(crate) fn is_of_the_disk(&self) -> bool {
        matches!(self, StoreError::Sql(_) | StoreError::Folder { .. } | StoreError::Epoch(EpochError::Io { .. }))
    }

    pub(crate) fn damaged(what: impl Into<String>) -> StoreError {
        StoreError::Damaged(what.into())
    }
}
