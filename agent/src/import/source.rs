//! Opens a file and gives its text as UTF-8, whatever it was written in, in constant memory.
//!
//! UTF-8 passes through unchecked here; `rows` checks it row by row, so that bad bytes cost one row and not the file.
//! Other encodings are transcoded; what cannot be read becomes U+FFFD, which `rows` finds in the same way.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use encoding_rs::{CoderResult, Decoder, Encoding};
use flate2::read::MultiGzDecoder;

use super::encoding;
pub use super::limits::SAMPLE_BYTES;
use super::limits::{READ_BYTES, SEARCH_BYTES};
use super::packed::MAGIC;
use super::rejects::ADDED;
use super::sheet::has_magic;

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is a folder.
    #[error("{0} is a folder: name the file in it that is to be imported")]
    Folder(PathBuf),
    /// It holds nothing.
    #[error("{0} is empty: check that the export that made it was finished")]
    Empty(PathBuf),
    /// The system refused.
    #[error("cannot read {path}: check the path and who may read it")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is an old workbook, or one with a password.
    #[error(
        "{0} is an old workbook (.xls) or one with a password: open it, save it as .xlsx without a password and \
         import that"
    )]
    OldWorkbook(PathBuf),
    /// It is a workbook or another archive, compressed once more, or through a pipe.
    #[error("{0} is a workbook or an archive within another, or through a pipe: unpack it to a file and import that")]
    Archive(PathBuf),
    /// It is packed, and not what was packed once.
    #[error(
        "{path} is damaged or not whole, and nothing of it was captured: fetch the .gz again (`gzip -t` checks it), or \
         have the table exported once more"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the decompression said.
        #[source]
        source: io::Error,
    },
    /// It is packed and comes through a pipe.
    #[error(
        "{0} is packed and no file, so that it cannot be checked before: save it as a file, or unpack it on the way"
    )]
    PackedPipe(PathBuf),
    /// It holds NUL bytes.
    #[error(
        "{path} is not a text file (NUL at byte {byte}): if it is UTF-16 without a byte-order mark, name that in the \
         map: encoding = \"{}\"", if .byte % 2 == 0 { "utf-16le" } else { "utf-16be" }
    )]
    Binary {
        /// The file.
        path: PathBuf,
        /// Where the NUL stands, from 1.
        byte: usize,
    },
    /// The map names an encoding that would garble it.
    #[error(
        "{path} is not in {named}, as the map says, and its text would come in garbled: say encoding = \"{found}\" there"
    )]
    ToldWrongly {
        /// The file.
        path: PathBuf,
        /// What the map should say.
        found: &'static str,
        /// The map's encoding.
        named: String,
    },
    /// The map names an encoding nobody knows.
    #[error("unknown encoding '{0}': use utf-8, gbk, gb18030, utf-16le, utf-16be or latin-1")]
    Encoding(String),
}

/// A decoded file: reading it gives UTF-8 bytes, unchecked where the file itself is UTF-8.
pub struct Source {
    text: Box<dyn Read + Send>,
    /// The encoding's usual name.
    pub encoding: &'static str,
    /// The beginning of the text, for telling its delimiter and width.
    pub sample: String,
    /// Whether the file is packed.
    pub is_packed: bool,
    /// Whether the sample is all there is.
    pub is_sample_whole: bool,
    /// The file's size in bytes, as it lies on the disk; 0 where unknown, as of a pipe.
    pub bytes_total: u64,
    /// Bytes of the file read so far, for a progress bar: compressed bytes if it is compressed.
    pub bytes_read: Arc<AtomicU64>,
}

impl Source {
    /// Opens `path`; `named` is the map's encoding, where it names one.
    pub fn open(path: &Path, named: Option<&str>) -> Result<Source, SourceError> {
        let io = |source| SourceError::Io { path: path.to_owned(), source };
        let metadata = std::fs::metadata(path).map_err(io)?;
        if metadata.is_dir() {
            return Err(SourceError::Folder(path.to_owned()));
        }
        let bytes_read = Arc::new(AtomicU64::new(0));
        let file = Counted { inner: File::open(path).map_err(io)?, read: Arc::clone(&bytes_read) };
        let file = BufReader::with_capacity(SAMPLE_BYTES, file);
        let mut source = Source::begin(file, named, path, metadata.is_file())?;
        source.bytes_total = metadata.len();
        source.bytes_read = bytes_read;
        Ok(source)
    }

    /// Decodes any reader; `path` only names it in errors.
    pub fn decode(reader: impl Read + Send + 'static, named: Option<&str>, path: &Path) -> Result<Source, SourceError> {
        Source::begin(reader, named, path, false)
    }

    /// Begins to read; where `path` can be read once more, all of it may be looked at for its encoding.
    fn begin(
        reader: impl Read + Send + 'static,
        named: Option<&str>,
        path: &Path,
        is_file: bool,
    ) -> Result<Source, SourceError> {
        let io = |source| SourceError::Io { path: path.to_owned(), source };
        let (magic, reader) = peek(reader, 4).map_err(io)?;
        refuse_workbook(&magic, path)?;
        let is_packed = magic.starts_with(&MAGIC);
        let plain: Box<dyn Read + Send> =
            if is_packed { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };
        let (sample, mut reader) = peek(plain, SAMPLE_BYTES).map_err(io)?;
        refuse_workbook(&sample, path)?;
        let is_telling = !is_file || !sample.is_ascii() || sample.len() < SAMPLE_BYTES;
        let later = if is_telling { None } else { first_foreign(path, is_packed).map_err(io)? };
        let telling = later.as_deref().unwrap_or(&sample);
        let mut encoding = choose(telling, named)?;
        if let (Some(named), Some(found)) = (named, encoding::told_wrongly(telling, encoding)) {
            if is_rejects(&sample) && found == "utf-8" {
                // saved again without its byte-order mark
                encoding = encoding_rs::UTF_8;
            } else {
                return Err(SourceError::ToldWrongly { path: path.to_owned(), found, named: named.to_owned() });
            }
        }
        let bom = Encoding::for_bom(&sample).map_or(0, |(_, length)| length);
        if sample.len() == bom {
            return Err(SourceError::Empty(path.to_owned()));
        }
        // A byte-order mark says that it is text, NUL or not: a rejects file has one, and gives back what it was given.
        if let Some(at) = sample.iter().position(|byte| *byte == 0)
            && bom == 0
            && ![encoding_rs::UTF_16LE, encoding_rs::UTF_16BE].contains(&encoding)
        {
            return Err(SourceError::Binary { path: path.to_owned(), byte: at + 1 });
        }
        io::copy(&mut reader.by_ref().take(bom as u64), &mut io::sink()).map_err(io)?;
        let text: Box<dyn Read + Send> = match encoding == encoding_rs::UTF_8 {
            true => Box::new(reader),
            false => Box::new(Transcoded::new(reader, encoding)),
        };
        Ok(Source {
            text,
            encoding: encoding.name(),
            is_packed,
            is_sample_whole: sample.len() < SAMPLE_BYTES,
            sample: encoding.decode_without_bom_handling(&sample[bom..]).0.into_owned(),
            bytes_total: 0,
            bytes_read: Arc::default(),
        })
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.text.read(buffer)
    }
}

/// Workbooks are read as files, by `sheet`.
fn refuse_workbook(begin: &[u8], path: &Path) -> Result<(), SourceError> {
    if begin.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) {
        return Err(SourceError::OldWorkbook(path.to_owned()));
    }
    if has_magic(begin) { Err(SourceError::Archive(path.to_owned())) } else { Ok(()) }
}

/// What a byte-order mark says; else the map's encoding; else a guess.
fn choose(sample: &[u8], named: Option<&str>) -> Result<&'static Encoding, SourceError> {
    let Some(name) = named else { return Ok(encoding::guess(sample)) };
    let encoding = encoding::named(name).ok_or_else(|| SourceError::Encoding(name.to_owned()))?;
    Ok(Encoding::for_bom(sample).map_or(encoding, |(marked, _)| marked))
}

/// Whether a file's first line is the header of a rejects file, which is UTF-8 whatever the map says.
fn is_rejects(sample: &[u8]) -> bool {
    let line = sample.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    ADDED.iter().all(|name| line.windows(name.len()).any(|part| part == name.as_bytes()))
}

/// A sample of the first text beyond ASCII, where a file begins with much that is ASCII in every encoding.
fn first_foreign(path: &Path, is_packed: bool) -> io::Result<Option<Vec<u8>>> {
    let file = BufReader::with_capacity(READ_BYTES, File::open(path)?);
    let mut reader: Box<dyn BufRead> =
        if is_packed { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) };
    let mut passed = 0;
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() || passed > SEARCH_BYTES {
            return Ok(None);
        }
        let foreign = bytes.iter().position(|byte| !byte.is_ascii());
        let ascii = foreign.unwrap_or(bytes.len());
        passed += ascii;
        reader.consume(ascii);
        if foreign.is_some() {
            let mut sample = Vec::new();
            reader.take(SAMPLE_BYTES as u64).read_to_end(&mut sample)?;
            return Ok(Some(sample));
        }
    }
}

/// A reader whose first bytes were looked at and are given again.
type Peeked<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

/// The first bytes of a reader, and a reader that gives them again.
fn peek<R: Read>(mut reader: R, bytes: usize) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let mut sample = Vec::new();
    reader.by_ref().take(bytes as u64).read_to_end(&mut sample)?;
    Ok((sample.clone(), io::Cursor::new(sample).chain(reader)))
}

struct Counted {
    inner: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Reads another encoding as UTF-8.
struct Transcoded<R> {
    inner: R,
    decoder: Decoder,
    input: Vec<u8>,
    start: usize,
    output: Vec<u8>,
    taken: usize,
    at_end: bool,
}

impl<R: Read> Transcoded<R> {
    fn new(inner: R, encoding: &'static Encoding) -> Transcoded<R> {
        let decoder = encoding.new_decoder_without_bom_handling();
        Transcoded { inner, decoder, input: Vec::new(), start: 0, output: Vec::new(), taken: 0, at_end: false }
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.start == self.input.len() {
            self.input.resize(READ_BYTES, 0);
            let read = self.inner.read(&mut self.input);
            self.input.truncate(read.as_ref().map_or(0, |count| *count));
            self.start = 0;
            self.at_end = read? == 0;
        }
        self.output.resize(READ_BYTES, 0);
        self.taken = 0;
        let (result, read, written, _) =
            self.decoder.decode_to_utf8(&self.input[self.start..], &mut self.output, self.at_end);
        self.start += read;
        self.output.truncate(written);
        if matches!(result, CoderResult::OutputFull) {
            self.at_end = false;
        }
        Ok(())
    }
}

impl<R: Read> Read for Transcoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.output.len() && !self.at_end {
            self.fill()?;
        }
        let count = buffer.len().min(self.output.len() - self.taken);
        buffer[..count].copy_from_slice(&self.output[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn text(bytes: &[u8], named: Option<&str>) -> Result<String, SourceError> {
        let mut source = Source::decode(io::Cursor::new(bytes.to_vec()), named, Path::new("file.csv"))?;
        let mut text = String::new();
        source.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn every_encoding_gives_the_same_text() {
        let expected = "网点,单号\n城东站,1\n";
        let utf16 = |big: bool| -> Vec<u8> {
            let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
            std::iter::once(0xfeff).chain(expected.encode_utf16()).flat_map(bytes).collect()
        };
        let gbk = encoding_rs::GBK.encode(expected).0.into_owned();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(expected.as_bytes()).unwrap();
        let with_bom = [b"\xef\xbb\xbf", expected.as_bytes()].concat();
        for (bytes, named) in [
            (expected.as_bytes().to_vec(), None),
            (with_bom, None),
            (gbk.clone(), None),
            (gbk, Some("gbk")),
            (utf16(false), None),
            (utf16(true), None),
            (gz.finish().unwrap(), None),
        ] {
            assert_eq!(text(&bytes, named).unwrap(), expected, "{named:?} {:02x?}", &bytes[..4]);
        }
        let marked = utf16(true);
        assert_eq!(text(&marked[2..], Some("utf-16be")).unwrap(), expected);
        assert_eq!(text(b"caf\xe9", Some("latin-1")).unwrap(), "café");
    }

    #[test]
    fn a_long_transcoded_file_is_whole_wherever_its_sample_ends() {
        for begin in ["", "x"] {
            let long = format!("{begin}{}", "漏油，建议复查\n".repeat(50_000));
            let bytes = encoding_rs::GBK.encode(&long).0.into_owned();
            assert!(text(&bytes, Some("gbk")).unwrap() == long);
            assert!(text(&bytes, None).unwrap() == long);
        }
    }

    #[test]
    fn a_byte_order_mark_wins_over_the_map() {
        assert_eq!(text("\u{feff}站".as_bytes(), Some("gbk")).unwrap(), "站");
        assert_eq!(text("\u{feff}a\0".as_bytes(), None).unwrap(), "a\0");
    }

    #[test]
    fn progress_counts_the_compressed_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv.gz");
        let mut gz = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        gz.write_all(&b"a,b\n".repeat(500_000)).unwrap();
        gz.finish().unwrap();
        let mut source = Source::open(&path, None).unwrap();
        assert_eq!(io::copy(&mut source, &mut io::sink()).unwrap(), 2_000_000);
        assert_eq!(source.bytes_read.load(Ordering::Relaxed), source.bytes_total);
    }

    #[test]
    fn a_files_encoding_is_told_by_its_first_text_that_is_not_ascii() {
        let folder = tempfile::tempdir().unwrap();
        let ascii = b"plain,ascii\n".repeat(SAMPLE_BYTES / 6);
        let (gbk, _, _) = encoding_rs::GBK.encode("漏油,复查,城东站\n");
        for (name, rest, named, expected) in [
            ("a.csv", gbk.as_ref(), None, Ok("gb18030")),
            ("b.csv", "漏油,复查\n".as_bytes(), None, Ok("UTF-8")),
            (
                "c.csv",
                "漏油,复查\n".as_bytes(),
                Some("gbk"),
                Err("not in gbk, as the map says, and its text would come in garbled: say encoding = \"utf-8\""),
            ),
            ("d.csv", gbk.as_ref(), Some("latin-1"), Err("say encoding = \"gbk\"")),
            ("e.csv", b"plain\n".as_slice(), Some("gbk"), Ok("GBK")),
        ] {
            let path = folder.path().join(name);
            let bytes = [ascii.as_slice(), rest].concat();
            std::fs::write(&path, &bytes).unwrap();
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gz.write_all(&bytes).unwrap();
            let packed = folder.path().join(format!("{name}.gz"));
            std::fs::write(&packed, gz.finish().unwrap()).unwrap();
            for path in [path, packed] {
                let opened =
                    Source::open(&path, named).map(|source| source.encoding).map_err(|error| error.to_string());
                match expected {
                    Ok(encoding) => assert_eq!(opened.as_deref(), Ok(encoding), "{name}"),
                    Err(part) => assert!(opened.as_ref().is_err_and(|error| error.contains(part)), "{opened:?}"),
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_read_says_what_to_do() {
        assert!(matches!(text(b"", None), Err(SourceError::Empty(_))));
        assert!(matches!(text(b"\xef\xbb\xbf", None), Err(SourceError::Empty(_))));
        assert!(matches!(text(b"PK\x03\x04rest", None), Err(SourceError::Archive(_))));
        assert!(matches!(text(b"\xd0\xcf\x11\xe0rest", None), Err(SourceError::OldWorkbook(_))));
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(b"PK\x03\x04rest").unwrap();
        assert!(matches!(text(&gz.finish().unwrap(), None), Err(SourceError::Archive(_))));
        assert!(matches!(text(b"a\0b,c,d", None), Err(SourceError::Binary { byte: 2, .. })));
        assert!(matches!(text(b"\0a,b,c,d", None), Err(error) if error.to_string().contains("utf-16be")));
        assert!(matches!(text("1,滤芯".as_bytes(), Some("gbk")), Err(SourceError::ToldWrongly { .. })));
        assert!(matches!(text(b"x", Some("klingon")), Err(SourceError::Encoding(_))));
        assert!(matches!(Source::open(Path::new("/tmp"), None), Err(SourceError::Folder(_))));
        assert!(matches!(Source::open(Path::new("/no/such"), None), Err(SourceError::Io { .. })));
    }
}
