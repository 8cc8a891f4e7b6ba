//! Workbooks as tables: what their sheets give, and what is refused before it costs anything.

use std::io::Write;

use rust_xlsxwriter::{ExcelDateTime, Format, Formula, Workbook};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::*;

/// A workbook in a folder of its own.
struct Made {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn made(bytes: &[u8]) -> Made {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("book.xlsx");
    std::fs::write(&path, bytes).expect("the folder can be written");
    Made { _folder: folder, path }
}

/// A workbook whose sheets are filled by `fill`.
fn book(sheets: &[&str], fill: impl FnOnce(&mut Workbook)) -> Vec<u8> {
    let mut book = Workbook::new();
    for sheet in sheets {
        book.add_worksheet().set_name(*sheet).expect("a good name");
    }
    fill(&mut book);
    book.save_to_buffer().expect("it is written")
}

/// One sheet of these rows, where `=` begins a formula.
fn table(rows: &[&[&str]]) -> Vec<u8> {
    book(&["Sheet1"], |book| {
        let sheet = book.worksheet_from_index(0).expect("there is one");
        for (line, row) in rows.iter().enumerate() {
            for (column, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
                sheet.write(line as u32, column as u16, *cell).expect("it fits");
            }
        }
    })
}

/// The same workbook with parts changed or added.
fn with_parts(bytes: &[u8], parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipArchive::new(io::Cursor::new(bytes)).expect("an archive");
    let mut writer = ZipWriter::new(io::Cursor::new(Vec::new()));
    for index in 0..archive.len() {
        let part = archive.by_index(index).expect("a part");
        if parts.iter().all(|(name, _)| part.name_raw() != name.as_bytes()) {
            writer.raw_copy_file(part).expect("it is copied");
        }
    }
    for (name, text) in parts {
        writer.start_file(*name, SimpleFileOptions::default()).expect("a part begins");
        writer.write_all(text).expect("it is packed");
    }
    writer.finish().expect("it is written").into_inner()
}

/// A part of a workbook as text.
fn part(bytes: &[u8], name: &str) -> String {
    let mut text = String::new();
    let mut archive = ZipArchive::new(io::Cursor::new(bytes)).expect("an archive");
    archive.by_name(name).expect("the part").read_to_string(&mut text).expect("text");
    text
}

/// The rows of a workbook: `line:cell|cell`, with `!` after what holds no value.
fn rows(bytes: &[u8], sheet: Option<&str>) -> Result<Vec<String>, String> {
    let made = made(bytes);
    let shown = |error: &dyn std::error::Error| {
        let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
        format!("{error}{cause}").replace(&made.path.display().to_string(), "book.xlsx")
    };
    let mut sheet = Sheet::open(&made.path, sheet).map_err(|error| shown(&error))?;
    let mut seen = vec![format!("{} not {}", sheet.name, sheet.others.join(","))];
    while let Some(row) = sheet.next_row().map_err(|error| shown(&error))? {
        let flaws = row.flaws.iter().map(|(column, reason)| format!(" !{column} {reason}")).collect::<String>();
        seen.push(format!("{}:{}{flaws}", row.line, row.cells.join("|")));
    }
    Ok(seen)
}

fn check(bytes: &[u8], expected: &[&str]) {
    assert_eq!(rows(bytes, None).expect("a workbook")[1..], *expected);
}

fn check_refused(bytes: &[u8], sheet: Option<&str>, expected: &str) {
    let refused = rows(bytes, sheet).expect_err("it is refused");
    assert!(refused.starts_with(expected), "{refused}");
}

const SHEET: &str = "xl/worksheets/sheet1.xml";

/// A sheet part whose rows are `rows`.
fn sheet_xml(rows: &str) -> Vec<u8> {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><worksheet><sheetData>{rows}</sheetData></worksheet>").into()
}

#[test]
fn blank_rows_and_cells_at_the_end_do_not_count() {
    check(&table(&[&[], &["a", "b", "", ""], &[], &["", "2"], &["3"]]), &["2:a|b", "4:|2", "5:3"]);
    let styled = book(&["S"], |book| {
        let sheet = book.worksheet_from_index(0).unwrap();
        sheet.write(0, 0, "a").unwrap();
        sheet.write_blank(0, 7, &Format::new().set_bold()).unwrap();
        sheet.write_blank(99, 0, &Format::new().set_bold()).unwrap();
    });
    check(&styled, &["1:a"]);
}

#[test]
fn cells_become_the_text_a_text_table_would_hold() {
    let bytes = book(&["S"], |book| {
        let sheet = book.worksheet_from_index(0).unwrap();
        let at = |format: &str| Format::new().set_num_format(format);
        let time = ExcelDateTime::parse_from_str("2026-11-23T08:30:00").unwrap();
        sheet.write(0, 0, "站 \"x\",\ny").unwrap();
        sheet.write(0, 1, 38).unwrap();
        sheet.write(0, 2, 0.1 + 0.2).unwrap();
        sheet.write(0, 3, true).unwrap();
        sheet.write_with_format(0, 4, &time, &at("yyyy-mm-dd hh:mm")).unwrap();
        sheet.write_with_format(0, 5, 46_349, &at("d/m/yyyy")).unwrap();
        sheet.write_with_format(0, 6, 1.5, &at("[h]:mm:ss")).unwrap();
        sheet.write(0, 7, Formula::new("1+1").set_result("2")).unwrap();
        sheet.write(0, 8, Formula::new("NA()").set_result("#N/A")).unwrap();
        sheet.merge_range(1, 0, 1, 1, "merged", &Format::new()).unwrap();
        sheet.write(1, 2, 1e21).unwrap();
    });
    check(
        &bytes,
        &[
            "1:站 \"x\",\ny|38|0.3|true|2026-11-23T08:30:00|2026-11-23|PT36H|2|#N/A \
             !8 holds #N/A: mend its formula, or fill in the value",
            "2:merged||1000000000000000000000",
        ],
    );
}

#[test]
fn a_workbook_may_count_its_days_from_1904() {
    let bytes = book(&["S"], |book| {
        let date = Format::new().set_num_format("yyyy-mm-dd");
        book.worksheet_from_index(0).unwrap().write_with_format(0, 0, 44_887, &date).unwrap();
    });
    check(&bytes, &["1:2022-11-22"]);
    let workbook = part(&bytes, "xl/workbook.xml").replace("<workbookPr ", "<workbookPr date1904=\"1\" ");
    check(&with_parts(&bytes, &[("xl/workbook.xml", workbook.as_bytes())]), &["1:2026-11-23"]);
}

#[test]
fn texts_within_cells_and_cells_without_places_are_read() {
    let xml = sheet_xml("<row><c t=\"inlineStr\"><is><r><t>a</t></r><r><t>b</t></r></is></c><c><v>2</v></c></row>");
    check(&with_parts(&table(&[&["x"]]), &[(SHEET, &xml)]), &["1:ab|2"]);
}

#[test]
fn the_first_visible_sheet_that_holds_something_is_read_unless_one_is_named() {
    let bytes = book(&["Empty", "Hidden", "Orders", "Stock"], |book| {
        for sheet in book.worksheets_mut().iter_mut().skip(1) {
            let name = sheet.name();
            sheet.write(0, 0, name).unwrap();
        }
        book.worksheets_mut()[1].set_hidden(true);
    });
    assert_eq!(rows(&bytes, None).unwrap(), ["Orders not Stock", "1:Orders"]);
    assert_eq!(rows(&bytes, Some("Stock")).unwrap(), ["Stock not ", "1:Stock"]);
    assert_eq!(rows(&bytes, Some("Hidden")).unwrap(), ["Hidden not ", "1:Hidden"]);
    let expected = "book.xlsx has no sheet 'orders', which the map names; its sheets are 'Empty', 'Hidden', 'Orders'";
    check_refused(&bytes, Some("orders"), expected);
    check_refused(&book(&["A", "B"], |_| ()), None, "book.xlsx has no visible sheet that holds anything");
}

#[test]
fn formulas_that_never_had_a_value_are_refused_where_they_are_read() {
    let of = |cell: &str| {
        let row = format!("<row r=\"1\">{cell}<c r=\"B1\"><v>2</v></c></row>");
        with_parts(&table(&[&["x"]]), &[(SHEET, &sheet_xml(&row))])
    };
    let expected = "book.xlsx, sheet 'Sheet1': formulas without their values";
    check_refused(&of("<c r=\"A1\"><f>B1</f></c>"), None, expected);
    check(&of("<c r=\"A1\"><f>B1</f><v>2</v></c>"), &["1:2|2"]);
}

#[test]
fn a_sheet_longer_than_what_is_read_ahead_is_whole() {
    let lines: Vec<String> = (1..=2_500).map(|line| line.to_string()).collect();
    let cells: Vec<[&str; 1]> = lines.iter().map(|line| [line.as_str()]).collect();
    let made = made(&table(&cells.iter().map(|row| row.as_slice()).collect::<Vec<_>>()));
    let mut sheet = Sheet::open(&made.path, None).unwrap();
    let mut seen = 0;
    while let Some(row) = sheet.next_row().unwrap() {
        seen += 1;
        assert_eq!((row.line, row.cells[0].as_str()), (seen, lines[seen as usize - 1].as_str()));
    }
    assert_eq!((seen, sheet.line()), (2_500, 2_500));
    let read = sheet.bytes_read.load(Ordering::Relaxed);
    assert!(read > 0 && read <= sheet.bytes_total, "{read} of {}", sheet.bytes_total);
    // One that nobody reads to its end stops by itself.
    drop(Sheet::open(&made.path, None).unwrap());
}

#[test]
fn what_is_no_whole_workbook_says_what_to_do() {
    let whole = table(&[&["a"], &["1"]]);
    for cut in [8, whole.len() / 2, whole.len() - 1] {
        check_refused(&whole[..cut], None, "book.xlsx is not a whole workbook: open it, save it as .xlsx again");
    }
    let torn = sheet_xml("<row r=\"1\"><c r=\"A1\"><v>1</v>");
    check_refused(&with_parts(&whole, &[(SHEET, &torn)]), None, "book.xlsx is refused, its part xl/worksheets");
    check_refused(&ZIP_OF_NOTHING, None, "book.xlsx is an archive, not a workbook");
    let archive = |name: &str| with_parts(&ZIP_OF_NOTHING, &[(name, b"x"), ("mimetype", b"x")]);
    check_refused(&archive("content.xml"), None, "book.xlsx is an OpenDocument file (.ods): save it as .xlsx");
    check_refused(&archive("xl/workbook.bin"), None, "book.xlsx is an .xlsb workbook: save it as .xlsx");
    check_refused(&archive("readme.txt"), None, "book.xlsx is an archive, not a workbook");
    check_refused(&archive("_rels/.rels"), None, "book.xlsx is not a whole workbook");
}

/// An archive without parts.
const ZIP_OF_NOTHING: [u8; 22] = *b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// A part as a zip bomb packs it: `begin`, gigabytes of `middle`, `end`.
fn bomb(name: &str, begin: &str, middle: &str, end: &str, mib: usize) -> Vec<u8> {
    let whole = table(&[&["a"], &["1"]]);
    let mut archive = ZipArchive::new(io::Cursor::new(&whole)).expect("an archive");
    let mut writer = ZipWriter::new(io::Cursor::new(Vec::new()));
    for index in 0..archive.len() {
        let part = archive.by_index(index).expect("a part");
        if part.name_raw() != name.as_bytes() {
            writer.raw_copy_file(part).expect("it is copied");
        }
    }
    writer.start_file(name, SimpleFileOptions::default()).expect("a part begins");
    let block = middle.repeat((1 << 20) / middle.len());
    writer.write_all(begin.as_bytes()).expect("packed");
    (0..mib).for_each(|_| writer.write_all(block.as_bytes()).expect("packed"));
    writer.write_all(end.as_bytes()).expect("packed");
    writer.finish().expect("it is written").into_inner()
}

#[test]
fn a_few_kilobytes_that_unpack_to_gigabytes_are_refused_at_once() {
    let sheet = "<worksheet><sheetData>";
    for (name, begin, middle) in [
        (SHEET, sheet, "<row><c><v>1</v></c></row>"),
        (SHEET, sheet, "<row/>"),
        ("xl/sharedStrings.xml", "<sst>", "<si><t>x</t></si>"),
        ("xl/styles.xml", "<styleSheet><cellXfs>", "<xf/>"),
        ("xl/workbook.xml", "<workbook><sheets>", "<sheet name=\"a\" r:id=\"rId1\"/>"),
        ("xl/theme/theme9.xml", "<a>", "<b/>"),
    ] {
        let bytes = bomb(name, begin, middle, "", 64);
        let expected = format!("book.xlsx is refused, its part {} unpacks to more than", name.to_lowercase());
        check_refused(&bytes, None, &expected);
    }
}

#[test]
fn what_a_reader_would_hold_in_one_piece_is_refused() {
    for (name, xml, expected) in [
        (SHEET, format!("<worksheet><sheetData><row><c><v>{}", "1 ".repeat(600_000)), "holds a text or a cell longer"),
        (SHEET, format!("<worksheet a=\"{}\">", "1>".repeat(20_000)), "holds a tag longer than 32 KiB"),
        (SHEET, "<!DOCTYPE a [<!ENTITY b \"c\">]>".to_owned(), "declares a document type"),
        (SHEET, "<?xml version=\"1.0\" encoding=\"iso-2022-jp\"?><worksheet/>".to_owned(), "is not in UTF-8"),
        ("xl/sharedStrings.xml", "<sst uniqueCount=\"99999999999\"/>".to_owned(), "declares 99999999999 texts"),
    ] {
        let bytes = with_parts(&table(&[&["a"]]), &[(name, xml.as_bytes())]);
        check_refused(&bytes, None, &format!("book.xlsx is refused, its part {} {expected}", name.to_lowercase()));
    }
}

#[test]
fn a_part_that_was_not_measured_is_never_read() {
    let whole = table(&[&["a"]]);
    let relations = part(&whole, "xl/_rels/workbook.xml.rels").replace("worksheets/sheet1.xml", "media/sheet1.png");
    let moved =
        with_parts(&whole, &[("xl/_rels/workbook.xml.rels", relations.as_bytes()), ("xl/media/sheet1.png", b"<a/>")]);
    check_refused(&moved, None, "book.xlsx is not a whole workbook: open it");
}

#[test]
fn a_row_beyond_its_bound_is_marked_and_the_next_is_read() {
    let cell = "x".repeat(32_000);
    let long: Vec<&str> = std::iter::repeat_n(cell.as_str(), 40).collect();
    let made = made(&table(&[&["a"], &long, &["b"]]));
    let mut sheet = Sheet::open(&made.path, None).unwrap();
    let mut is_long = Vec::new();
    while let Some(row) = sheet.next_row().unwrap() {
        assert!(row.bytes <= ROW_BYTES + cell.len());
        is_long.push(row.is_long);
    }
    assert_eq!(is_long, [false, true, false]);
}
