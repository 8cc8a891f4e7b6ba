//! Rows in the raw bytes of a redb file, for salvaging: its trees may be damaged, its rows still be there.
//!
//! Every page is read as if it were a leaf of a table of some layout (redb's design.md, "Leaf page"). Most of what comes
//! of that is nonsense, and old rows lie beside current ones: whoever asks believes only rows that vouch for themselves.

/// Pages begin at multiples of this.
const PAGE: usize = 4_096;
/// The first byte of a leaf.
const LEAF: u8 = 1;
/// No value here is longer, in bytes: an entry of the largest size, or a document with thousands of lines.
const VALUE_BYTES: usize = 16 << 20;

/// How a table's keys and values lie in a leaf; lengths are in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layout {
    /// Keys of one length, values of any.
    Keyed(usize),
    /// Keys and values of one length each.
    Fixed(usize, usize),
    /// Both of any length.
    Free,
}

/// A row, possibly nonsense.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawRow<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Calls `visit` with every row that a table of this layout may have in `file`.
pub(super) fn visit<'a>(file: &'a [u8], layout: Layout, mut visit: impl FnMut(RawRow<'a>)) {
    for start in (0..file.len()).step_by(PAGE) {
        let page = &file[start..];
        if page[0] == LEAF {
            Leaf::new(page, layout).into_iter().flat_map(Leaf::rows).for_each(&mut visit);
        }
    }
}

#[derive(Clone, Copy)]
struct Leaf<'a> {
    page: &'a [u8],
    layout: Layout,
    count: usize,
}

impl<'a> Leaf<'a> {
    fn new(page: &'a [u8], layout: Layout) -> Option<Leaf<'a>> {
        let count = page.get(2..4)?;
        let count = usize::from(u16::from_le_bytes(count.try_into().ok()?));
        Some(Leaf { page, layout, count })
    }

    fn rows(self) -> impl Iterator<Item = RawRow<'a>> {
        (0..self.count).filter_map(move |index| self.row(index))
    }

    fn row(self, index: usize) -> Option<RawRow<'a>> {
        let offsets = 4 * self.count;
        let (keys, values, key, value) = match self.layout {
            Layout::Keyed(length) => {
                let keys = 4 + offsets;
                let values = keys + length * self.count;
                (keys, values, (length * index, length * (index + 1)), self.between(4, index, values)?)
            }
            Layout::Fixed(length, width) => {
                let values = 4 + length * self.count;
                let value = (values + width * index, values + width * (index + 1));
                (4, values, (length * index, length * (index + 1)), value)
            }
            Layout::Free => {
                let keys = 4 + 2 * offsets;
                let key = self.between(4, index, keys)?;
                let values = self.offset(4, self.count - 1)?;
                (0, values, key, self.between(4 + offsets, index, values)?)
            }
        };
        if value.0 < values || value.1.checked_sub(value.0)? > VALUE_BYTES {
            return None;
        }
        Some(RawRow { key: self.page.get(keys + key.0..keys + key.1)?, value: self.page.get(value.0..value.1)? })
    }

    /// Where the `index`th of a list of ends begins and ends; the first begins at `first`.
    fn between(self, ends: usize, index: usize, first: usize) -> Option<(usize, usize)> {
        let start = if index == 0 { first } else { self.offset(ends, index - 1)? };
        Some((start, self.offset(ends, index)?))
    }

    fn offset(self, ends: usize, index: usize) -> Option<usize> {
        let at = ends + 4 * index;
        let bytes = self.page.get(at..at + 4)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::{Database, TableDefinition};

    const KEYED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("keyed");
    const FIXED: TableDefinition<'_, u64, &[u8; 48]> = TableDefinition::new("fixed");
    const FREE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("free");

    #[test]
    fn every_row_that_redb_wrote_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.redb");
        let value = |seq: u64| vec![seq as u8; (seq as usize * 37) % 9_000];
        {
            let database = Database::create(&path).unwrap();
            let write = database.begin_write().unwrap();
            for seq in 0..300 {
                write.open_table(KEYED).unwrap().insert(seq, value(seq).as_slice()).unwrap();
                write.open_table(FIXED).unwrap().insert(seq, &[seq as u8; 48]).unwrap();
                write.open_table(FREE).unwrap().insert(format!("key {seq}").as_str(), value(seq).as_slice()).unwrap();
            }
            write.commit().unwrap();
        }
        let file = std::fs::read(&path).unwrap();
        let has = |layout: Layout, key: &[u8], value: &[u8]| {
            let mut is_found = false;
            visit(&file, layout, |row| is_found |= row.key == key && row.value == value);
            is_found
        };
        for seq in 0..300_u64 {
            assert!(has(Layout::Keyed(8), &seq.to_le_bytes(), &value(seq)), "{seq}");
            assert!(has(Layout::Fixed(8, 48), &seq.to_le_bytes(), &[seq as u8; 48]), "{seq}");
            assert!(has(Layout::Free, format!("key {seq}").as_bytes(), &value(seq)), "{seq}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut bytes = vec![LEAF; 3 * PAGE];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = (index * 7_919 % 251) as u8;
        }
        for (first, count) in [(1, 0xffff_u16), (1, 1), (1, 0), (1, 300)] {
            for page in bytes.chunks_mut(PAGE) {
                page[0] = first;
                page[2..4].copy_from_slice(&count.to_le_bytes());
            }
            for layout in [Layout::Keyed(8), Layout::Keyed(16), Layout::Fixed(8, 48), Layout::Free] {
                visit(&bytes[..3 * PAGE - 17], layout, |_| {});
            }
        }
    }
}
