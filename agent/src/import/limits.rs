//! Every bound of reading a file, with its reason. Together they keep the memory of an import flat.

/// How much of a file is looked at to tell its encoding, delimiter and width. Real headers and 100 rows fit.
pub const SAMPLE_BYTES: usize = 64 * 1024;

/// How far a file that begins in ASCII is searched for other text, to tell its encoding: a second of reading, at most.
pub const SEARCH_BYTES: usize = 256 * 1024 * 1024;

/// Bytes asked of a file at a time. Larger reads gain nothing measurable.
pub const READ_BYTES: usize = 64 * 1024;

/// Longest row. 1,000 columns of 1 KB fit, and a field that is too long for a document (64 KiB) is still seen as one. The
/// buffer holds one such row and one read more.
pub const ROW_BYTES: usize = 1024 * 1024;

/// How much of a bad row is kept for the rejects file; what is cut off is marked, and such a row is never taken back.
pub const RAW_BYTES: usize = 64 * 1024;

/// Rows of the sample that decide on delimiter and width. More changed nothing in the files we have seen.
pub const SAMPLE_ROWS: usize = 50;

/// Longest key kept as text in an identity; a longer one is kept as its hash.
pub const KEY_BYTES: usize = 200;

/// Rows that a workbook's reading thread hands over at a time, at most.
pub const SHEET_BATCH_ROWS: usize = 256;

/// … or this many bytes of their cells.
pub const SHEET_BATCH_BYTES: usize = 512 * 1024;

/// Columns of a sheet: Excel's own bound.
pub const SHEET_COLUMNS: usize = 16_384;

/// Largest sheet, unpacked. A full sheet of a million rows and 50 columns takes 2 GiB.
pub const SHEET_UNPACKED: u64 = 4 << 30;

/// Largest table of shared texts, unpacked; it stands in memory. Three million texts of 20 characters fit.
pub const TEXTS_UNPACKED: u64 = 128 << 20;

/// Largest other part that is kept in memory, unpacked: styles, names and relations of real workbooks take 10 MiB at
/// the most.
pub const PART_UNPACKED: u64 = 16 << 20;

/// Most tags of a part kept in memory: each may become a few hundred bytes.
pub const PART_TAGS: u64 = 1_000_000;

/// Most tags of the shared texts: four to a text.
pub const TEXTS_TAGS: u64 = 16_000_000;

/// A part may unpack to this many times its size; real sheets reach 10 to 25, a bomb 150 to 1,000.
pub const UNPACK_RATIO: u64 = 100;

/// … above this size, since small parts may well repeat themselves.
pub const UNPACK_RATIO_FROM: u64 = 4 << 20;

/// Longest single tag of a part. The root of a sheet takes 4 KiB.
pub const TAG_BYTES: u64 = 32 * 1024;

/// Longest text, comment or cell of a part, with its markup: the largest cell of 32,767 characters, each escaped,
/// fits.
pub const MARKUP_BYTES: u64 = ROW_BYTES as u64;

/// Rows that are told apart in memory before they go to the disk. So many fill a hash table of 2^19 places, which takes
/// 9 MiB; going in order, 15 of them at a time fall on one page of 10 million that are there.
pub const DIGESTS_HELD: usize = 450_000;

/// Memory for the pages of those on the disk, of which about half is used. Most work on them is in order.
pub const DIGEST_CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Bits that tell which digests are certainly not on the disk, in 16 MiB: of 12 million rows 1 in 100 is looked up in
/// vain, of 50 million 1 in 3.
pub const FILTER_BITS: usize = 1 << 27;
