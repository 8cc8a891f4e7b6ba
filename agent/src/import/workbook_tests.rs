//! Workbooks through the whole walk.

use rust_xlsxwriter::{ExcelDateTime, Format, Formula, Workbook};

use super::*;

/// A workbook of one sheet, filled by `fill`.
fn book(bench: &Bench, name: &str, fill: impl FnOnce(&mut rust_xlsxwriter::Worksheet)) -> PathBuf {
    let mut book = Workbook::new();
    fill(book.add_worksheet());
    bench.file(name, book.save_to_buffer().expect("it is written"))
}

fn write(sheet: &mut rust_xlsxwriter::Worksheet, rows: &[&[&str]]) {
    for (line, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
            match cell.parse::<f64>() {
                Ok(number) => sheet.write(line as u32, column as u16, number).expect("it fits"),
                Err(_) => sheet.write(line as u32, column as u16, *cell).expect("it fits"),
            };
        }
    }
}

#[test]
fn a_workbook_is_imported_and_its_rejects_come_back_as_text_with_the_same_map() {
    let mut bench = Bench::new();
    let file = book(&bench, "scores.xlsx", |sheet| {
        write(sheet, &[&[], &["ID", "Site", "Score"], &["1", "a", "7"], &["2", "b", "8"], &["3", "a", "nine"]]);
        write_below(sheet);
    });
    let map = format!("sheet = \"Sheet1\"\n{MAP}");
    assert_eq!(bench.counts(&file, &map), [7, 3, 0, 1, 3]);
    let told = |index: usize, expected: &str| assert!(bench.told[index].contains(expected), "{:?}", bench.told);
    told(0, "scores.xlsx, line 5, column 'Score': 'nine' does not fit: expected a whole number");
    told(1, "scores.xlsx, line 6, column 'Score': cell C6 holds #REF!");
    told(2, "scores.xlsx, line 7, column 'E': cell E7 holds 'beyond' beyond the last column");
    assert_eq!(bench.counts(&file, &map), [7, 0, 3, 1, 3]);

    let text = bench.read("scores.rejects.csv");
    assert!(text.contains("\r\n4,a,#REF!,,6,1,"), "{text}");
    let mended = text.replace(",nine,", ",9,").replace("4,a,#REF!,", "4,a,4,");
    let rejects = bench.file("scores.rejects.csv", mended);
    assert_eq!(bench.counts(&rejects, &map), [3, 3, 0, 0, 0]);
    assert_eq!(bench.counts(&rejects, &map), [3, 0, 3, 0, 0]);
    assert_eq!(bench.seen.len(), 6);
}

/// An error in a column that is read, a cell beyond the header, a short row, and an error nobody reads.
fn write_below(sheet: &mut rust_xlsxwriter::Worksheet) {
    write(sheet, &[&[], &["ID", "Site", "Score", "Note"]]);
    sheet.write(5, 0, 4).expect("it fits");
    sheet.write(5, 1, "a").expect("it fits");
    sheet.write(5, 2, Formula::new("A0").set_result("#REF!")).expect("it fits");
    for (column, cell) in ["5", "a", "5", "", "beyond"].into_iter().enumerate() {
        sheet.write(6, column as u16, cell).expect("it fits");
    }
    sheet.write(7, 0, "6").expect("it fits");
    sheet.write(7, 1, "a").expect("it fits");
    sheet.write(8, 0, "7").expect("it fits");
    sheet.write(8, 1, "a").expect("it fits");
    sheet.write(8, 2, 1).expect("it fits");
    sheet.write(8, 3, Formula::new("NA()").set_result("#N/A")).expect("it fits");
}

#[test]
fn a_workbook_and_the_text_saved_of_it_give_the_same_rows() {
    let mut bench = Bench::new();
    let rows: [&[&str]; 3] = [&["ID", "Site", "Score"], &["38", "a", "7"], &["1.5", "a", "8"]];
    let file = book(&bench, "scores.xlsx", |sheet| write(sheet, &rows));
    let text = bench.file("scores.csv", rows.map(|row| row.join(",")).join("\n"));
    for map in [MAP.to_owned(), MAP.replace("[\"ID\"]", "[]")] {
        bench.seen.clear();
        assert_eq!(bench.counts(&file, &map), [2, 2, 0, 0, 0]);
        assert_eq!(bench.counts(&text, &map), [2, 0, 2, 0, 0]);
    }
}

#[test]
fn a_sheet_without_a_header_is_as_wide_as_its_widest_row() {
    let mut bench = Bench::new();
    let headless =
        MAP.replace("kind", "header = false\nkind").replace("Site", "#2").replace("ID", "#1").replace("Score", "#3");
    let file = book(&bench, "bare.xlsx", |sheet| write(sheet, &[&["1", "a"], &["2", "a", "x"], &["3", "a", "3"]]));
    assert_eq!(bench.counts(&file, &headless), [3, 2, 0, 0, 1]);
    let mended = bench.read("bare.rejects.csv").replace("2,a,x", "2,a,8");
    let mended = bench.file("bare.rejects.csv", mended);
    assert_eq!(bench.counts(&mended, &headless), [1, 1, 0, 0, 0]);
}

#[test]
fn date_cells_are_read_whatever_formats_the_map_names() {
    let mut bench = Bench::new();
    let map = format!("{MAP}occurred_at = {{ column = \"At\", date = [\"%Y-%d-%m\"] }}\n");
    let file = book(&bench, "scores.xlsx", |sheet| {
        write(sheet, &[&["ID", "Site", "Score", "At"], &["1", "a", "7"], &["2", "a", "7"], &["3", "a", "x"]]);
        let day = ExcelDateTime::parse_from_str("2026-11-02").unwrap();
        let time = ExcelDateTime::parse_from_str("2026-11-23T08:30:00").unwrap();
        let format = Format::new().set_num_format("d.m.yy h:mm");
        sheet.write_with_format(1, 3, &day, &format).unwrap();
        sheet.write(2, 3, "2026-02-11").unwrap();
        sheet.write_with_format(3, 3, &time, &format).unwrap();
    });
    let mut at = Vec::new();
    let summary = bench.import_with(&file, &map, &mut |row| at.push(row.set["occurred_at"].as_int())).unwrap();
    assert_eq!((summary.captured, summary.rejected, at[0]), (2, 1, at[1]));
    let mended = bench.read("scores.rejects.csv").replace(",x,", ",1,");
    let mended = bench.file("scores.rejects.csv", mended);
    assert_eq!(bench.counts(&mended, &map), [1, 1, 0, 0, 0]);
}

#[test]
fn a_number_is_what_its_cell_holds_whatever_decimal_mark_the_map_names() {
    let mut bench = Bench::new();
    let map = MAP.replace("column = \"Score\"", "column = \"Score\", decimal = \",\"");
    let map = map.replace("form =", "weight = { column = \"Weight\", decimal = \",\" }\nform =");
    let file = book(&bench, "scores.xlsx", |sheet| {
        write(sheet, &[&["ID", "Site", "Score", "Weight"], &["1", "a", "1.0"], &["2", "a", "7"]]);
        sheet.write(1, 3, 1.234).unwrap();
        sheet.write(2, 3, "1.234").unwrap();
    });
    assert_eq!(bench.counts(&file, &map), [2, 1, 0, 0, 1]);
    assert!(bench.told[0].contains("line 2, column 'Weight': '1,234' does not fit"), "{:?}", bench.told);
}

#[test]
fn rejects_saved_as_a_workbook_or_without_their_mark_come_back_all_the_same() {
    let mut bench = Bench::new();
    let file = bench.file("scores.csv", "ID;Site;Score\n1;a;7\n=2;a;x\n3;a;9;10\n4;a;x\n");
    assert_eq!(bench.counts(&file, MAP), [4, 1, 0, 0, 3]);
    let text = bench.read("scores.rejects.csv");
    let rows: Vec<Vec<String>> = {
        let mut reader = csv::ReaderBuilder::new().delimiter(b';').has_headers(false).from_reader(text.as_bytes());
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    };
    let mended = |cell: &str| match cell.trim_start_matches('\u{feff}') {
        "x" => "8".to_owned(),
        "3;a;9;10" => "3;a;9".to_owned(),
        other => other.to_owned(),
    };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| mended(cell)).collect()).collect();
    let saved = book(&bench, "saved.xlsx", |sheet| {
        let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        write(sheet, &rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
    });
    let named = format!("delimiter = \";\"\n{MAP}");
    assert_eq!(bench.counts(&saved, &named), [3, 3, 0, 0, 0], "{:?}", bench.told);
    let quoted = |cell: &String| format!("\"{}\"", cell.replace("3;a;9", "3,a,9").replace('"', "\"\""));
    let commas: String = rows.iter().map(|row| row.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n").collect();
    let map = format!("encoding = \"latin-1\"\n{MAP}");
    let saved = bench.file("commas.csv", commas);
    assert_eq!(bench.counts(&saved, &map), [3, 0, 3, 0, 0], "{:?}", bench.told);
    assert_eq!(bench.seen.len(), 4);
}

#[test]
fn which_sheet_is_read_is_said_where_several_could_be() {
    let mut bench = Bench::new();
    let mut book = Workbook::new();
    for name in ["Scores", "Other"] {
        let sheet = book.add_worksheet().set_name(name).unwrap();
        write(sheet, &[&["ID", "Site", "Score"], &["1", "a", "7"]]);
    }
    let file = bench.file("scores.xlsx", book.save_to_buffer().unwrap());
    assert_eq!(bench.counts(&file, MAP), [1, 1, 0, 0, 0]);
    assert!(bench.told[0].ends_with("reading sheet 'Scores', not 'Other'; the map may say sheet = \"Scores\""));
    assert_eq!(bench.counts(&file, &format!("sheet = \"Other\"\n{MAP}")), [1, 0, 1, 0, 0]);
    assert!(bench.told.is_empty(), "{:?}", bench.told);
    let missing = bench.import(&file, &format!("sheet = \"Scored\"\n{MAP}"), true).unwrap_err().to_string();
    assert!(missing.ends_with("has no sheet 'Scored', which the map names; its sheets are 'Scores', 'Other'"));
}

#[test]
fn workbooks_that_cannot_be_read_capture_nothing_and_say_why() {
    let mut bench = Bench::new();
    let old = bench.file("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".repeat(100));
    let nothing = bench.file("nothing.xlsx", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let torn = bench.file("torn.xlsx", b"PK\x03\x04".repeat(100));
    let twice = book(&bench, "twice.xlsx", |sheet| write(sheet, &[&["ID", "Site", "ID"], &["1", "a", "7"]]));
    let error = book(&bench, "error.xlsx", |sheet| {
        sheet.write(0, 0, Formula::new("NA()").set_result("#N/A")).unwrap();
    });
    for (file, expected) in [
        (&old, "old.xls is an old workbook (.xls) or one with a password: open it, save it as .xlsx"),
        (&nothing, "nothing.xlsx is an archive, not a workbook: save it"),
        (&torn, "torn.xlsx is not a whole workbook"),
        (&twice, "columns 1 and 3 are both named 'ID'"),
        (&error, "error.xlsx, line 1, column 1, in the header: cell A1 holds #N/A"),
    ] {
        let error = bench.import(file, MAP, false).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(bench.seen.is_empty());
}
