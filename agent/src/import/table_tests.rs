//! Tables of text: headers, titles, rejects files and what is refused.

use super::*;

fn read(text: &str, header: impl std::fmt::Display) -> Result<Vec<String>, TableError> {
    let path = Path::new("f.csv");
    let map = format!("kind = \"x\"\nheader = {header}\nstate = {{ constant = \"s\" }}");
    let map = Map::parse(&map, Path::new("m.toml")).unwrap();
    let source = Source::decode(io::Cursor::new(text.to_owned()), None, path).unwrap();
    let mut table = Table::open(source, path, &map)?;
    let mut seen = vec![table.columns().join("|")];
    while let Some(record) = table.next_record()? {
        seen.push(match record.row {
            Ok(row) => row.cells.join("|"),
            Err(bad) => format!("{}.{}! {}", bad.line, bad.column, bad.reason),
        });
    }
    Ok(seen)
}

fn check_refused(text: &str, expected: &str) {
    let refused = read(text, true).unwrap_err().to_string();
    assert!(refused.starts_with(expected), "{refused}");
}

#[test]
fn columns_have_names() {
    assert_eq!(read("a, b ,\n1,2,3\n", true).unwrap(), ["a|b|#3", "1|2|3"]);
    assert_eq!(read("1,2\n3,4\n", false).unwrap(), ["#1|#2", "1|2", "3|4"]);
    assert_eq!(read("a\n1\n", true).unwrap(), ["a", "1"]);
}

#[test]
fn a_title_above_the_header_is_passed_over() {
    let text = "Repairs of 2024\n,\n\na,b\n1,2\n";
    assert_eq!(read(text, 4).unwrap(), ["a|b", "1|2"]);
    assert_eq!(read("a,b\n1,2\n", 1).unwrap(), ["a|b", "1|2"]);
    assert_eq!(read(text, 3).unwrap()[0], "a|b", "a blank line is no header");
    assert!(matches!(read(text, 6), Err(TableError::Blank(_))));
}

#[test]
fn a_first_line_may_say_the_delimiter() {
    assert_eq!(read("sep=|\na;x|b\n1|2\n", true).unwrap(), ["a;x|b", "1|2"]);
    assert_eq!(read("a|b\n1|2\n", true).unwrap(), ["a|b", "1|2"]);
}

#[test]
fn without_a_header_most_rows_decide_on_the_width() {
    let rows = read("a title\n1,2\n3,4\n", false).unwrap();
    assert_eq!(rows[1..3], ["1.8! expected 2 cells, found 1: check the row's delimiters and quotes", "1|2"]);
}

#[test]
fn a_key_that_no_rejects_file_holds_is_passed_over() {
    let path = Path::new("f.csv");
    let map = Map::parse("kind = \"x\"\nstate = { constant = \"s\" }", path).unwrap();
    let text = "a,_line,_occurrence,_key,_column,_reason,_raw\n1,7,2,#row:x,a,why,\n1,8,0,P1,a,why,\n";
    let source = Source::decode(io::Cursor::new(text), None, path).unwrap();
    let mut table = Table::open(source, path, &map).unwrap();
    let mut origin = || table.next_record().unwrap().and_then(|record| record.origin);
    assert_eq!(origin(), Some(Origin { line: 7, occurrence: Some(2), key: Some("#row:x".to_owned()) }));
    assert_eq!(origin(), Some(Origin { line: 8, occurrence: None, key: None }));
}

#[test]
fn what_cannot_be_a_table_is_refused_with_its_place() {
    check_refused("\n\n", "f.csv holds only blank lines");
    check_refused("a,b,a\n", "f.csv, line 1: columns 1 and 3 are both named 'a': rename one");
    check_refused("a,\"b\n1,2\n", "f.csv, line 1, column 3, in the header: this quote never closes");
}

#[test]
fn a_compressed_file_that_breaks_off_names_the_line_reached() {
    use std::io::Write;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for row in 0..200_000 {
        writeln!(gz, "{row},x").unwrap();
    }
    let mut bytes = gz.finish().unwrap();
    bytes.truncate(bytes.len() / 2);
    let map = Map::parse("kind = \"x\"\nstate = { constant = \"s\" }", Path::new("m.toml")).unwrap();
    let source = Source::decode(io::Cursor::new(bytes), None, Path::new("f.csv.gz")).unwrap();
    let mut table = Table::open(source, Path::new("f.csv.gz"), &map).unwrap();
    let mut rows = 0;
    let broken = loop {
        match table.next_record() {
            Ok(Some(_)) => rows += 1,
            Ok(None) => panic!("the end was not missed"),
            Err(error) => break error,
        }
    };
    assert!(rows > 1000 && matches!(broken, TableError::Read { line, .. } if line == rows + 2), "{rows} {broken}");
}
