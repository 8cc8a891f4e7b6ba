//! What can go wrong in the store, told apart by what the caller should do about it.

use std::path::PathBuf;
use std::sync::Arc;

use waystation_protocol::document::capture::Problem;

/// Why the store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("{} is in use by another waystation-agent: stop it, or use its API", dir.display())]
    InUse {
        /// The data folder.
        dir: PathBuf,
    },
    /// No space is left on its disk.
    #[error("the disk of the store is full")]
    DiskFull,
    /// Its bytes are not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The file system refused.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// The database refused.
    #[error("the database failed")]
    Database(#[source] Box<redb::Error>),
    /// A list was to be continued from text that is no cursor.
    #[error("'{0}' is not a cursor")]
    BadCursor(String),
    /// It was closed, or could not be reopened after a failure.
    #[error("the store is closed")]
    Closed,
}

/// Why an act was not captured. Nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Everything that is wrong with it.
    #[error("the act has problems: {}", .0.iter().map(|problem| problem.en.as_str()).collect::<Vec<_>>().join("; "))]
    Problems(Vec<Problem>),
    /// There is no such document.
    #[error("there is no such document")]
    NotFound,
    /// The document has changed since the author saw it.
    #[error("the document has changed since it was seen")]
    Superseded,
    /// The disk is full, or so nearly full that what is left is kept for sync.
    #[error("the disk is full: nothing more can be captured")]
    DiskFull,
    /// The store failed. It is not known whether the act was written; it was not confirmed.
    #[error("the store failed")]
    Failed(#[source] Arc<StoreError>),
}

impl StoreError {
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> StoreError {
        let doing = doing.into();
        move |error| if is_full(&error) { StoreError::DiskFull } else { StoreError::Io { doing, error } }
    }
}

impl From<StoreError> for CaptureError {
    fn from(error: StoreError) -> CaptureError {
        match error {
            StoreError::DiskFull => CaptureError::DiskFull,
            error => CaptureError::Failed(Arc::new(error)),
        }
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> StoreError {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        match error {
            redb::Error::Io(error) if is_full(&error) => StoreError::DiskFull,
            redb::Error::Io(error) if matches!(error.kind(), InvalidData | UnexpectedEof) => {
                StoreError::Damaged(error.to_string())
            }
            redb::Error::Corrupted(what) => StoreError::Damaged(what),
            error @ (redb::Error::RepairAborted
            | redb::Error::UpgradeRequired(_)
            | redb::Error::TableDoesNotExist(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }) => StoreError::Damaged(error.to_string()),
            error => StoreError::Database(Box::new(error)),
        }
    }
}

macro_rules! from_redb {
    ($($error:ident)*) => { $(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> StoreError {
                redb::Error::from(error).into()
            }
        }
    )* };
}

from_redb! { StorageError TableError TransactionError CommitError DatabaseError }

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
