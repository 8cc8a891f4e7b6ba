//! A packed file is read to its end before anything of it is captured.
//!
//! Damage shows in the checksum, which stands last: until then wrong values look like right ones, and once captured
//! they would make the rows of the sound file count as duplicates. Memory stays flat.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::limits::READ_BYTES;
use super::run::Watch;
use super::source::SourceError;

/// How a gzip member begins.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Reads a packed file to its end and compares every length and checksum; anything else is left alone. A pipe is not
/// looked at, since it cannot be read twice.
pub(super) fn verify(path: &Path, watch: &dyn Watch) -> Result<(), SourceError> {
    let io = |source| SourceError::Io { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        return Ok(());
    }
    let mut file = File::open(path).map_err(io)?;
    let mut begin = Vec::with_capacity(MAGIC.len());
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut begin).map_err(io)?;
    if begin != MAGIC {
        return Ok(());
    }
    let file = Watched { inner: io::Cursor::new(begin).chain(file), read: 0, total: metadata.len(), watch };
    let mut unpacked = MultiGzDecoder::new(io::BufReader::with_capacity(READ_BYTES, file));
    let damaged = |source| SourceError::Damaged { path: path.to_owned(), source };
    io::copy(&mut unpacked, &mut io::sink()).map(|_| ()).map_err(damaged)
}

struct Watched<'a, R> {
    inner: R,
    read: u64,
    total: u64,
    watch: &'a dyn Watch,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read += count as u64;
        self.watch.checked(self.read, self.total);
        Ok(count)
    }
}
