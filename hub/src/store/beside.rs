//! Small files beside the database that outlive a restore of it: a digest, then what they hold.
//!
//! They only ever add to what the database says, so one that is missing or damaged knows of nothing.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use waystation_protocol::codec;

use super::StoreError;
use crate::durable;

/// Writes the file durably.
pub(super) fn write<T: Serialize>(dir: &Path, name: &str, held: &T) -> Result<(), StoreError> {
    let body = codec::encode(held);
    let bytes = [&blake3::hash(&body).as_bytes()[..], &body].concat();
    durable::replace(dir, name, &bytes).map_err(|source| StoreError::Folder { dir: dir.to_owned(), source })
}

/// What the file holds; none where there is no sound one. `risk`: what that may lead to.
pub(super) fn load<T: DeserializeOwned>(dir: &Path, name: &str, risk: &str) -> Option<T> {
    let bytes = std::fs::read(dir.join(name)).ok()?;
    let found = bytes.split_first_chunk::<32>().filter(|(digest, body)| blake3::hash(body) == **digest);
    let held = found.and_then(|(_, body)| codec::decode_own(body).ok());
    if held.is_none() {
        tracing::error!(dir = %dir.display(), name, risk, "a file beside the database is damaged");
    }
    held
}
