//! The hub's signing key: one file of 32 bytes in the data folder, readable by its owner only.
//!
//! It is written to a temporary name, synced, and renamed, so that a crash leaves either no key or a whole one.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;

const NAME: &str = "hub.key";

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
    let path = dir.join(NAME);
    let failed = |action| {
        let path = path.clone();
        move |source| KeyError::Io { action, path, source }
    };
    let mut bytes = Vec::new();
    match File::open(&path) {
        Ok(file) => {
            file.take(33).read_to_end(&mut bytes).map_err(failed("read"))?;
            let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| KeyError::Damaged { path: path.clone() })?;
            Ok(SigningKey::from_bytes(&bytes))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            write(dir, &path, &fresh).map_err(failed("write"))?;
            Ok(SigningKey::from_bytes(&fresh))
        }
        Err(error) => Err(failed("open")(error)),
    }
}

fn write(dir: &Path, path: &Path, key: &[u8; 32]) -> std::io::Result<()> {
    let temporary = dir.join("hub.key.new");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(key)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    // the name itself must survive a power cut
    #[cfg(unix)]
    File::open(dir)?.sync_all()?;
    Ok(())
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
