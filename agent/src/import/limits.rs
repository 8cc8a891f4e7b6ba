//! Every bound of reading a file, with its reason. Together they keep the memory of an import flat.

/// How much of a file is looked at to tell its encoding, delimiter and width. Real headers and 100 rows fit.
pub const SAMPLE_BYTES: usize = 64 * 1024;

/// Bytes asked of a file at a time. Larger reads gain nothing measurable.
pub const READ_BYTES: usize = 64 * 1024;

/// Longest quoted field. A document's text holds 64 KiB; a longer field is a quote that never closed.
pub const FIELD_BYTES: usize = 256 * 1024;

/// Longest row. 1,000 columns of 1 KB fit. The buffer holds one such row and one read more.
pub const ROW_BYTES: usize = 1024 * 1024;

/// How much of a bad row is kept for the rejects file; what is cut off is marked, and such a row is never taken back.
pub const RAW_BYTES: usize = 64 * 1024;

/// Rows of the sample that decide on delimiter and width. More changed nothing in the files we have seen.
pub const SAMPLE_ROWS: usize = 50;

/// Longest key kept as text in an identity; a longer one is kept as its hash.
pub const KEY_BYTES: usize = 200;
