//! The parts of a workbook, measured before calamine believes any of them, and the gate through which it reads them.
//!
//! A few kilobytes can unpack to gigabytes. So each part that is XML is unpacked once into nothing, within bounds of
//! its size, its ratio and its markup; the others are closed to reading, and so is, while the workbook is opened and
//! whole parts are kept in memory, what is large. Nothing here knows what a sheet is.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use zip::ZipArchive;
use zip::result::ZipError;

use super::limits::{
    PART_TAGS, PART_UNPACKED, READ_BYTES, SHEET_UNPACKED, TEXTS_TAGS, TEXTS_UNPACKED, UNPACK_RATIO, UNPACK_RATIO_FROM,
};
use super::markup::Meter;

/// Why a workbook's parts are not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartsError {
    /// It is no whole archive, or the system refused.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// Another archive, by what it is.
    #[error("it is {0}")]
    Other(&'static str),
    /// A part is not what a program writes.
    #[error("its part {part} {what}")]
    Excess {
        /// The part's name.
        part: String,
        /// What is too much about it.
        what: String,
    },
}

/// What was found of a workbook's parts.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Where they lie in the file, packed.
    all: Vec<Range<u64>>,
    /// Never read.
    closed: Vec<Range<u64>>,
    /// Not read while the workbook is opened.
    large: Vec<Range<u64>>,
    /// They hold formulas without their values.
    unsaved: Vec<Range<u64>>,
    /// Where the first relations are, which are the first part to be read.
    begin: u64,
}

impl Parts {
    /// Unpacks every part of `file` that is XML, keeping nothing.
    pub(super) fn measure(file: File) -> Result<Parts, PartsError> {
        let bytes = file.metadata().map_err(ZipError::Io)?.len();
        let mut archive = ZipArchive::new(BufReader::new(file))?;
        if let Some(other) = other_archive(&archive) {
            return Err(PartsError::Other(other));
        }
        let (mut parts, mut unpacked) = (Parts::default(), 0);
        for index in 0..archive.len() {
            let mut part = archive.by_index(index)?;
            let name = String::from_utf8_lossy(part.name_raw()).to_ascii_lowercase();
            let begin = part.data_start().unwrap_or(0);
            let range = begin..begin.saturating_add(part.compressed_size());
            if name == "_rels/.rels" {
                parts.begin = part.header_start();
            }
            if !name.ends_with(".xml") && !name.ends_with(".rels") {
                parts.closed.push(range);
                continue;
            }
            let most = |packed: u64| (packed.saturating_mul(UNPACK_RATIO)).max(UNPACK_RATIO_FROM);
            let most = most(part.compressed_size()).min(most(bytes).saturating_sub(unpacked)).min(SHEET_UNPACKED);
            let excess = |what: String| PartsError::Excess { part: name.clone(), what };
            let Unpacked { size, tags, has_unsaved } = unpack(&mut part, most, &name)?;
            unpacked += size;
            if has_unsaved {
                parts.unsaved.push(range.clone());
            }
            let (most_bytes, most_tags) = match name.ends_with("sharedstrings.xml") {
                true => (TEXTS_UNPACKED, TEXTS_TAGS),
                false => (PART_UNPACKED, PART_TAGS),
            };
            if name.ends_with("sharedstrings.xml") && (size > most_bytes || tags > most_tags) {
                return Err(excess(format!("unpacks to more than {} MiB of texts", TEXTS_UNPACKED >> 20)));
            }
            if size > most_bytes || tags > most_tags {
                parts.large.push(range.clone());
            }
            parts.all.push(range);
        }
        Ok(parts)
    }
}

/// What an archive is that is no .xlsx.
fn other_archive<R: Read + Seek>(archive: &ZipArchive<R>) -> Option<&'static str> {
    let has = |name: &str| archive.index_for_name(name).is_some();
    if has("xl/workbook.bin") {
        Some("an .xlsb workbook")
    } else if has("content.xml") && has("mimetype") {
        Some("an OpenDocument file (.ods)")
    } else if !has("_rels/.rels") {
        Some("an archive, not a workbook")
    } else {
        None
    }
}

/// What was seen of a part.
struct Unpacked {
    /// Its bytes.
    size: u64,
    tags: u64,
    /// Whether it holds formulas without their values.
    has_unsaved: bool,
}

/// Unpacks a part into nothing.
fn unpack(part: &mut impl Read, most: u64, name: &str) -> Result<Unpacked, PartsError> {
    let excess = |what: String| PartsError::Excess { part: name.to_owned(), what };
    let (mut meter, mut size, mut head) = (Meter::new(), 0, Vec::new());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = match part.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.map_err(ZipError::Io)?,
        };
        if count == 0 {
            break;
        }
        size += count as u64;
        if size > most {
            return Err(excess(format!("unpacks to more than {most} bytes, which no real workbook does")));
        }
        if head.len() < READ_BYTES {
            head.extend_from_slice(&buffer[..count]);
        }
        meter.feed(&buffer[..count]).map_err(|found| excess(found.what().to_owned()))?;
    }
    if !declares_utf8(&head) {
        return Err(excess("is not in UTF-8".to_owned()));
    }
    if let Some(texts) = declared_texts(&head).filter(|texts| *texts > size) {
        return Err(excess(format!("declares {texts} texts, more than it has bytes")));
    }
    Ok(Unpacked { size, tags: meter.tags(), has_unsaved: meter.has_unsaved() })
}

/// Whether the head of a part names no encoding but UTF-8.
fn declares_utf8(head: &[u8]) -> bool {
    if head.starts_with(&[0xfe, 0xff]) || head.starts_with(&[0xff, 0xfe]) {
        return false;
    }
    let Some(end) = find(head, b"?>").filter(|_| find(head, b"<?xml").is_some_and(|at| at <= 3)) else { return true };
    let declaration = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
    declaration.split_once("encoding").is_none_or(|(_, value)| value.contains("utf-8"))
}

/// The largest number of texts that the head of a part declares, which calamine makes room for at once.
fn declared_texts(mut head: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"uniqueCount";
    let mut most = None;
    while let Some(at) = find(head, KEY) {
        head = &head[at + KEY.len()..];
        let digits = head.iter().skip_while(|byte| !byte.is_ascii_digit() && **byte != b'>');
        let digits = digits.take_while(|byte| byte.is_ascii_digit());
        let number =
            digits.fold(0_u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
        most = most.max(Some(number));
    }
    most
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A workbook's file, of which only what was measured can be read.
pub(super) struct Gate {
    inner: BufReader<File>,
    parts: Arc<Parts>,
    state: Arc<GateState>,
}

/// What others see of a gate and tell it.
#[derive(Debug, Default)]
pub(super) struct GateState {
    position: AtomicU64,
    /// Whether parts are read, and no longer the archive's directory.
    is_begun: AtomicBool,
    /// Whether the workbook is open and large parts may be read, piece by piece.
    is_open: AtomicBool,
}

impl Gate {
    pub(super) fn new(file: File, parts: Arc<Parts>, state: Arc<GateState>) -> Gate {
        Gate { inner: BufReader::with_capacity(READ_BYTES, file), parts, state }
    }
}

impl GateState {
    /// The workbook is open: from now on parts are read piece by piece.
    pub(super) fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// The part that is being read: how much of it is read, and its size, in packed bytes.
    pub(super) fn progress(&self, parts: &Parts) -> (u64, u64) {
        let part = self.part(parts);
        part.map_or((0, 0), |part| (self.position.load(Ordering::Relaxed) - part.start, part.end - part.start))
    }

    /// Whether the part that is being read holds formulas without their values.
    pub(super) fn is_unsaved(&self, parts: &Parts) -> bool {
        self.part(parts).is_some_and(|part| parts.unsaved.contains(part))
    }

    fn part<'a>(&self, parts: &'a Parts) -> Option<&'a Range<u64>> {
        let position = self.position.load(Ordering::Relaxed);
        parts.all.iter().find(|part| part.start <= position && position <= part.end)
    }
}

impl Read for Gate {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let position = self.state.position.load(Ordering::Relaxed);
        let is_within = |ranges: &[Range<u64>]| ranges.iter().any(|range| range.contains(&position));
        let is_shut = is_within(&self.parts.closed)
            || (!self.state.is_open.load(Ordering::Relaxed) && is_within(&self.parts.large));
        if is_shut && self.state.is_begun.load(Ordering::Relaxed) {
            return Err(io::Error::other("it names a part that is too large for its place, or no XML"));
        }
        let count = self.inner.read(buffer)?;
        self.state.position.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Seek for Gate {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            // Within the buffer where possible: an archive is read in small steps.
            SeekFrom::Start(to) => {
                let from = self.state.position.load(Ordering::Relaxed);
                let by = to.checked_signed_diff(from).ok_or(io::ErrorKind::InvalidInput)?;
                self.inner.seek_relative(by)?;
                to
            }
            SeekFrom::End(_) | SeekFrom::Current(_) => self.inner.seek(to)?,
        };
        if position == self.parts.begin {
            self.state.is_begun.store(true, Ordering::Relaxed);
        }
        self.state.position.store(position, Ordering::Relaxed);
        Ok(position)
    }
}
