//! The splitter against tables of text, against the csv crate, and against files made to hurt it.

use super::*;

fn rows(text: &[u8], columns: Option<usize>, encoding: &'static str) -> Vec<String> {
    let mut rows = Rows::new(text, b',', encoding);
    rows.columns = columns;
    let mut seen = Vec::new();
    while let Some(row) = rows.next_row().unwrap() {
        seen.push(match row {
            Ok(row) => format!("{}:{}", row.line, row.cells.join("|")),
            Err(bad) => format!("{}.{}! {} [{}]", bad.line, bad.column, &bad.reason[..10], bad.raw),
        });
    }
    seen
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(rows(text.as_bytes(), None, "UTF-8"), expected, "{text:?}");
}

#[test]
fn rows_end_with_any_line_end() {
    for end in ["\n", "\r\n", "\r"] {
        check(&format!("a,b{end}c,d{end}"), &["1:a|b", "2:c|d"]);
        check(&format!("a,b{end}{end}c,d"), &["1:a|b", "3:c|d"]);
        check(&format!("\"x{end}y\",b{end}c,d"), &[&format!("1:x{end}y|b"), "3:c|d"]);
        check(&format!("a{end}\"x{end}c{end}"), &["1:a", "2.1! this quote [\"x]", "3:c"]);
    }
    check("", &[]);
    check(",\n,", &["1:|", "2:|"]);
}

#[test]
fn quotes_are_taken_off_and_doubled_ones_halved() {
    check("\"a\"\"b\",\"\",c\"d\n", &["1:a\"b||c\"d"]);
    check("\"a,b\"", &["1:a,b"]);
    check("\"\"\"\"", &["1:\""]);
}

#[test]
fn trouble_costs_one_row_and_says_where_it_is() {
    check("a,b\nx,\"y\nc,d\n", &["1:a|b", "2.3! this quote [x,\"y]", "3:c|d"]);
    check("a,b\n\"x\"y,z\nc,d", &["1:a|b", "2.4! text follo [\"x\"y,z]", "3:c|d"]);
    check("站,\"x\"y\nc,d", &["1.6! text follo [站,\"x\"y]", "2:c|d"]);
}

#[test]
fn a_wrong_number_of_cells_is_named_with_its_place() {
    assert_eq!(
        rows(b"a,b\nc\n1,2,3\nd,e", Some(2), "UTF-8"),
        ["1:a|b", "2.2! expected 2 [c]", "3.5! expected 2 [1,2,3]", "4:d|e"]
    );
}

#[test]
fn rows_swallowed_by_an_open_quote_are_given_back() {
    let swallowed = rows(b"h,i,j\n\"abc,1,2\nx,\",y\",z\n", Some(3), "UTF-8");
    assert_eq!(swallowed, ["1:h|i|j", "2.1! this quote [\"abc,1,2]", "3:x|,y|z"]);
    let after_good_lines = rows(b"1,\"two\nlines\",\"open\n2,x,y\n", Some(3), "UTF-8");
    assert_eq!(after_good_lines, ["1.3! this quote [1,\"two]", "2.8! this quote [lines\",\"open]", "3:2|x|y"]);
}

#[test]
fn bad_bytes_are_placed_to_the_byte_of_the_files_own_encoding() {
    assert_eq!(
        rows(b"a,b\nc,\xff\xfe\ne,f", None, "UTF-8"),
        ["1:a|b", "2.3! this byte  [c,\u{fffd}\u{fffd}]", "3:e|f"]
    );
    let row = "站,\u{fffd}x";
    for (encoding, column) in [("UTF-8", "1:站|\u{fffd}x"), ("GBK", "1.4!"), ("gb18030", "1.4!"), ("UTF-16LE", "1.5!")]
    {
        assert!(rows(row.as_bytes(), None, encoding)[0].starts_with(column), "{encoding}");
    }
}

#[test]
fn well_formed_text_is_split_as_the_csv_crate_splits_it() {
    const CELLS: [&str; 8] = ["", "a", "\"\"", "\"a,b\"", "\"a\"\"b\"", "\"a\nb\"", "\"\r\n\"", "站"];
    for ends in ["\n", "\r\n", "\r"] {
        for index in 0..8_usize.pow(4) {
            let cell = |place: u32| CELLS[index / 8_usize.pow(place) % 8];
            let text = format!("{},{}{ends}{},{}", cell(0), cell(1), cell(2), cell(3));
            let mut theirs = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
            let theirs: Vec<Vec<String>> =
                theirs.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect();
            let mut rows = Rows::new(text.as_bytes(), b',', "UTF-8");
            let mut ours = Vec::new();
            while let Some(row) = rows.next_row().unwrap() {
                ours.push(row.unwrap().cells);
            }
            assert_eq!(ours, theirs, "{text:?}");
        }
    }
}

/// Lines behind a beginning, made as they are read, a few bytes or many at a time.
struct Made {
    begin: &'static [u8],
    line: &'static [u8],
    left: usize,
    rest: Vec<u8>,
}

impl Made {
    fn new(begin: &'static [u8], line: &'static [u8], left: usize) -> Made {
        Made { begin, line, left, rest: begin.to_vec() }
    }
}

impl Read for Made {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left > 0 && self.rest.len() < buffer.len() {
            self.rest.extend_from_slice(self.line);
            self.left -= 1;
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

/// Good rows, bad rows and the largest buffer seen.
fn count(made: Made, columns: usize) -> (usize, usize, usize, Option<BadRow>) {
    assert!(!made.begin.is_empty());
    let mut rows = Rows::new(made, b',', "UTF-8");
    rows.expect_columns(columns);
    let (mut good, mut bad, mut largest, mut first) = (0, 0, 0, None);
    while let Some(row) = rows.next_row().unwrap() {
        match row {
            Ok(_) => good += 1,
            Err(row) => {
                bad += 1;
                first.get_or_insert(row);
            }
        }
        largest = largest.max(rows.buffered_bytes());
    }
    (good, bad, largest, first)
}

const LINE: &[u8] = b"17,some text of a row that is quite ordinary\n";

#[test]
fn a_quote_that_never_closes_swallows_neither_the_file_nor_the_memory() {
    let lines = 200 * 1024 * 1024 / LINE.len();
    let (good, bad, largest, first) = count(Made::new(b"a,b\n1,\"never closed\n", LINE, lines), 2);
    let first = first.unwrap();
    assert_eq!((good, bad, first.line, first.column, first.raw.as_str()), (lines + 1, 1, 2, 3, "1,\"never closed"));
    assert!(largest <= 2 * ROW_BYTES + READ_BYTES, "{largest} bytes were held");
}

#[test]
fn a_line_that_never_ends_is_one_bad_row_and_leaves_the_line_count_right() {
    for begin in [b"a,b\n1,".as_slice(), b"a,b\n1,\"x\"y,\"", b"a,b\n1,\"\""] {
        let mut made = Made::new(begin, b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 300_000);
        made.left = 300_000;
        let mut rows = Rows::new(made.chain(&b"\r\nc,d\n"[..]), b',', "UTF-8");
        rows.expect_columns(2);
        assert_eq!(rows.next_row().unwrap().unwrap().unwrap().line, 1);
        let bad = rows.next_row().unwrap().unwrap().unwrap_err();
        assert!(bad.line == 2 && bad.raw.len() <= RAW_BYTES + 3 && bad.raw.ends_with('\u{fffd}'), "{}", bad.reason);
        assert_eq!(rows.next_row().unwrap().unwrap().unwrap().line, 3);
        assert!(rows.next_row().unwrap().is_none());
        assert!(rows.buffered_bytes() <= 3 * ROW_BYTES);
    }
}

#[test]
fn a_file_whose_every_line_opens_a_quote_takes_linear_time() {
    // Each line would otherwise be searched to the bound: 3 million times 1 MiB, which no test outlives.
    let (_, bad, _, _) = count(Made::new(b"a,b\n", b"a\",\"b\n", 3_000_000), 2);
    assert!(bad > 1_000_000, "{bad}");
}

#[test]
fn the_delimiter_is_the_one_most_rows_agree_on() {
    for (sample, delimiter) in [
        ("a,b;c,d", b','),
        ("a;b;c,d", b';'),
        ("a\tb", b'\t'),
        ("a", b','),
        ("\"a;b;c\",d\n1,2\n", b','),
        ("a;b\r1,5;2,5\r1;2\r", b';'),
        ("\"never,closed\n1;2;3\n4;5;6\n", b';'),
        ("a,b,c\n1,\"x;y\nx;y\nx;y\",2\n", b','),
        ("a;b\n1,5;2,5\n1,5;2,5\n", b';'),
    ] {
        assert_eq!(detect_delimiter(sample), delimiter, "{sample}");
    }
    assert_eq!((usual_width("a,b\nc\nd,e\n", b','), usual_width("a\nb\n", b',')), (2, 1));
}
