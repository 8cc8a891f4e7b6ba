//! The hub's signing key: one file of 32 bytes in the data folder, readable by its owner only.
//!
//! It is written to a temporary name, synced, and renamed, so that a crash leaves either no key or a whole one.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;

use crate::durable;

/// Its name in the data folder.
pub const NAME: &str = "hub.key";

/// Why the hub has no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("could not {action} the signing key {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no key; agents that pinned the old one refuse any other, so none is made in its place.
    #[error("signing key {path} is damaged: it must be exactly 32 bytes; put back a copy")]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
}

/// The key in `dir`, which must exist; `fresh` becomes the key where there is none yet.
///
/// # Errors
///
/// The file cannot be read or written, or is not a key.
pub fn load_or_create(dir: &Path, fresh: [u8; 32]) -> Result<SigningKey, KeyError> {
    if let Some(key) = load(dir)? {
        return Ok(key);
    }
    let failed = |source| KeyError::Io { action: "write", path: dir.join(NAME), source };
    durable::replace(dir, NAME, &fresh).map_err(failed)?;
    Ok(SigningKey::from_bytes(&fresh))
}

/// The key in `dir`; none where there is none.
///
/// # Errors
///
/// The file cannot be read, or is not a key.
pub fn load(dir: &Path) -> Result<Option<SigningKey>, KeyError> {
    let path = dir.join(NAME);
    let failed = |action| {
        let path = path.clone();
        move |source| KeyError::Io { action, path, source }
    };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open")(error)),
    };
    let mut bytes = Vec::new();
    file.take(33).read_to_end(&mut bytes).map_err(failed("read"))?;
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| KeyError::Damaged { path: path.clone() })?;
    Ok(Some(SigningKey::from_bytes(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_create(dir.path(), [1; 32]).unwrap();
        let second = load_or_create(dir.path(), [2; 32]).unwrap();
        assert_eq!((first.to_bytes(), second.to_bytes()), ([1; 32], [1; 32]));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_key_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(NAME), [0; 31]).unwrap();
        assert!(matches!(load_or_create(dir.path(), [1; 32]), Err(KeyError::Damaged { .. })));
    }
}
