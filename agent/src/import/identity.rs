//! What makes a row itself: its key columns, or the whole row, and which occurrence of those it is in the file.
//!
//! Importing a file twice, or a longer export of the same table, captures each row once. A row that comes back from a
//! rejects file keeps the identity it had, so that what was corrected in it can never make it look like another row.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::{Path, PathBuf};

use super::limits::{DIGESTS_HELD, KEY_BYTES};
use super::spill::{Spill, SpillError};
use super::table::Origin;

/// Counts occurrences: of a few hundred thousand keys in memory, of the earlier ones in a file, so that memory stays
/// flat. A key is in one of them only.
///
/// Keys are remembered by 8 bytes of their BLAKE3 hash. Should two of them ever agree (once in 400,000 files of 10
/// million rows), the later row's occurrence is one too high, in every import of that file alike, and nothing is lost.
pub struct Identities {
    recent: HashMap<u64, u32, AlreadyHashed>,
    most_recent: usize,
    earlier: Option<Spill>,
    /// Where the file of earlier ones goes.
    dir: PathBuf,
}

/// A row's identity within its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The key cells joined by `|`; or a hash: `#row:` of the whole row, `#raw:` of one that could not be split,
    /// `#key:` of key cells too long to keep.
    pub key: String,
    /// From 1.
    pub occurrence: u32,
}

impl Identity {
    /// The key where a corrected row could not give it again.
    pub(super) fn lasting_key(&self) -> &str {
        if is_lasting(&self.key) { &self.key } else { "" }
    }
}

/// Whether a rejects file holds this key: only where a corrected row could not give it again.
pub(super) fn is_lasting(key: &str) -> bool {
    key.starts_with("#row:") || key.starts_with("#raw:")
}

impl Identities {
    /// Nothing seen yet. Beyond what memory holds, rows are counted in a file in `dir` that has no name.
    pub fn new(dir: &Path) -> Identities {
        let recent = HashMap::default();
        Identities { recent, most_recent: DIGESTS_HELD, earlier: None, dir: dir.to_owned() }
    }

    /// The identity of the next row: `key_cells` where the map names key columns, else all `cells`.
    pub fn next(&mut self, key_cells: &[&str], cells: &[String]) -> Result<Identity, SpillError> {
        self.count(key_of(key_cells, cells), None)
    }

    /// The identity of a row that could not be split: its text, since its key is not known.
    pub fn next_bad(&mut self, raw: &str) -> Result<Identity, SpillError> {
        self.count(hashed("#raw:", [raw]), None)
    }

    /// The identity of a row that comes back from a rejects file, as far as that remembers it.
    pub fn again(&mut self, key_cells: &[&str], cells: &[String], origin: &Origin) -> Result<Identity, SpillError> {
        self.count(origin.key.clone().unwrap_or_else(|| key_of(key_cells, cells)), origin.occurrence)
    }

    /// The identity of a row that comes back from a rejects file and still cannot be split.
    pub fn again_bad(&mut self, raw: &str, origin: &Origin) -> Result<Identity, SpillError> {
        self.count(origin.key.clone().unwrap_or_else(|| hashed("#raw:", [raw])), origin.occurrence)
    }

    fn count(&mut self, key: String, known: Option<u32>) -> Result<Identity, SpillError> {
        if let Some(occurrence) = known {
            return Ok(Identity { key, occurrence });
        }
        let mut digest = [0; 8];
        digest.copy_from_slice(&blake3::hash(key.as_bytes()).as_bytes()[..8]);
        let digest = u64::from_le_bytes(digest);
        Ok(Identity { key, occurrence: self.count_digest(digest)? })
    }

    fn count_digest(&mut self, digest: u64) -> Result<u32, SpillError> {
        if let Some(count) = self.recent.get_mut(&digest) {
            *count = count.saturating_add(1);
            return Ok(*count);
        }
        if let Some(earlier) = &mut self.earlier
            && let Some(count) = earlier.count(digest)?
        {
            return Ok(count);
        }
        if self.recent.len() >= self.most_recent {
            let earlier = match &mut self.earlier {
                Some(earlier) => earlier,
                none => none.insert(Spill::begin(&self.dir)?),
            };
            earlier.add(self.recent.drain().collect())?;
        }
        self.recent.insert(digest, 1);
        Ok(1)
    }
}

fn key_of(key_cells: &[&str], cells: &[String]) -> String {
    match key_cells {
        [] => hashed("#row:", cells.iter().map(String::as_str)),
        key_cells => joined(key_cells.iter().copied()),
    }
}

/// `\`, `|` and `#` within a cell are escaped, so that different cells never give the same key.
fn joined<'a>(cells: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut key = String::new();
    for (index, cell) in cells.clone().enumerate() {
        if index > 0 {
            key.push('|');
        }
        for character in cell.chars() {
            if matches!(character, '\\' | '|' | '#') {
                key.push('\\');
            }
            key.push(character);
        }
        if key.len() > KEY_BYTES {
            return hashed("#key:", cells);
        }
    }
    key
}

fn hashed<'a>(prefix: &str, cells: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = blake3::Hasher::new();
    for cell in cells {
        hasher.update(&(cell.len() as u64).to_le_bytes()).update(cell.as_bytes());
    }
    let hash = hasher.finalize();
    format!("{prefix}{}", data_encoding::BASE64URL_NOPAD.encode(&hash.as_bytes()[..16]))
}

/// The keys are hashes already.
#[derive(Debug, Default, Clone, Copy)]
struct Passed(u64);

type AlreadyHashed = BuildHasherDefault<Passed>;

impl Hasher for Passed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn equal_rows_differ_by_occurrence_and_cells_do_not_run_together() {
        let mut identities = Identities::new(Path::new(""));
        let rows = [["a", "b"], ["a", "b"], ["ab", ""], ["a", "b"]];
        assert_eq!(rows.map(|row| identities.next(&[], &cells(&row)).unwrap().occurrence), [1, 2, 1, 3]);
    }

    #[test]
    fn keys_are_readable_and_never_run_together() {
        let mut identities = Identities::new(Path::new(""));
        let mut check = |key: &[&str], expected: &str| {
            assert_eq!(identities.next(key, &[]).unwrap(), Identity { key: expected.into(), occurrence: 1 });
        };
        check(&["17", "x"], "17|x");
        check(&["17|x", ""], "17\\|x|");
        check(&["#row:x", ""], "\\#row:x|");
        assert!(identities.next(&[&"x".repeat(KEY_BYTES + 1)], &[]).unwrap().key.starts_with("#key:"));
    }

    #[test]
    fn a_corrected_row_never_takes_the_place_of_another() {
        let mut identities = Identities::new(Path::new(""));
        let good = identities.next(&[], &cells(&["P1", "5"])).unwrap();
        let bad = identities.next(&[], &cells(&["P1", "x"])).unwrap();
        let origin = Origin { line: 3, occurrence: Some(bad.occurrence), key: Some(bad.lasting_key().to_owned()) };
        let corrected = Identities::new(Path::new("")).again(&[], &cells(&["P1", "5"]), &origin).unwrap();
        assert!(corrected == bad && corrected != good);
    }

    #[test]
    fn occurrences_are_the_same_in_memory_and_beyond() {
        let folder = tempfile::tempdir().unwrap();
        let occurrences = |most_recent: usize| {
            let mut identities = Identities { most_recent, ..Identities::new(folder.path()) };
            let rows = (0..3_000_u32).map(|row| (row * 7_919 % 1_000 * (row % 3)).to_string());
            let count = |row: String| identities.next(&[row.as_str()], &[]).unwrap().occurrence;
            rows.map(count).collect::<Vec<u32>>()
        };
        let expected = occurrences(DIGESTS_HELD);
        assert!(expected.iter().any(|occurrence| *occurrence > 900));
        for most_recent in [1, 10, 300] {
            assert!(occurrences(most_recent) == expected, "{most_recent} in memory");
        }
    }
}
