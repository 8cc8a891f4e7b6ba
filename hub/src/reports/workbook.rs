//! A report as an Excel workbook: a sheet of its rows, and one that says what they are and how complete.
//!
//! Numbers are numbers, except where Excel would lose a digit; text is text, so that nothing runs as a formula and
//! "007" keeps its zeros. Rows go through a temporary file, so a large report costs no more memory than its answer.

use std::collections::{BTreeMap, HashMap};

use rust_xlsxwriter::{
    Color, DocProperties, ExcelDateTime, Format, FormatAlign, FormatBorder, IgnoreError, Workbook, Worksheet, XlsxError,
};
use waystation_protocol::time::{self, Timestamp};

use super::{Answer, Cell, Decimal, Head, Report, Show, label};
use crate::pages::Lang;

/// Rows of a sheet in Excel, its header included.
const SHEET_ROWS: usize = 1_048_576;
/// Characters of a cell in Excel, counted as UTF-16.
const CELL_UNITS: usize = 32_767;
/// Decimal digits a number keeps in Excel.
const DIGITS: u32 = 15;
/// Rows that a column's width is taken from.
const MEASURED_ROWS: usize = 1_000;
/// Columns that can be read on an upright page.
const PORTRAIT_COLUMNS: usize = 6;
/// Codes explained; there are few, but for sites.
const EXPLAINED: usize = 20_000;

/// Why there is no workbook.
#[derive(Debug, thiserror::Error)]
pub enum WorkbookError {
    /// More rows than a sheet takes.
    #[error(
        "the report has {rows} rows and a sheet of Excel takes {most}; use .csv, narrow the period or drop a key from by",
        most = SHEET_ROWS - 1
    )]
    TooManyRows {
        /// How many.
        rows: usize,
    },
    /// The temporary file or the format failed.
    #[error("the workbook could not be written")]
    Write(#[from] XlsxError),
}

/// The rows of an answer under labels in `lang`, and where they come from. `names` are those of the sites; `now` is
/// when the answer was given.
///
/// # Errors
///
/// There are more rows than Excel takes, or the temporary file cannot be written.
pub fn to_xlsx(
    report: &Report,
    answer: &Answer,
    lang: Lang,
    names: &HashMap<String, String>,
    now: Timestamp,
) -> Result<Vec<u8>, WorkbookError> {
    if answer.rows.len() >= SHEET_ROWS {
        return Err(WorkbookError::TooManyRows { rows: answer.rows.len() });
    }
    let mut workbook = Workbook::new();
    let created = ExcelDateTime::from_timestamp(now.0.div_euclid(1000))?;
    let title = lang.pick(report.zh, report.en);
    workbook.set_properties(&DocProperties::new().set_title(title).set_creation_datetime(&created));
    let sheet = workbook.add_worksheet_with_constant_memory()?;
    sheet.set_name(title)?;
    figures(sheet, answer, lang)?;
    let sheet = workbook.add_worksheet();
    sheet.set_name(lang.about_sheet())?;
    about(sheet, report, answer, lang, now)?;
    codes(sheet, report, answer, lang, names)?;
    Ok(workbook.save_to_buffer()?)
}

fn header() -> Format {
    Format::new().set_bold().set_background_color(Color::RGB(0xE3_EF_F1)).set_border_bottom(FormatBorder::Thin)
}

/// Typing into such a cell stays text too.
fn text_format() -> Format {
    Format::new().set_num_format("@")
}

fn figures(sheet: &mut Worksheet, answer: &Answer, lang: Lang) -> Result<(), XlsxError> {
    let last_row = answer.rows.len() as u32;
    let last_column = answer.heads.len().saturating_sub(1) as u16;
    for (column, head) in (0u16..).zip(&answer.heads) {
        sheet.set_column_width(column, width(answer, column.into(), lang))?;
        sheet.write_string_with_format(0, column, lang.pick(head.zh, head.en), &header())?;
    }
    let (text, formats) = (text_format(), answer.heads.iter().map(formats).collect::<Vec<_>>());
    for (row, cells) in (1u32..).zip(&answer.rows) {
        for (column, cell) in (0u16..).zip(cells) {
            match (cell, number(cell)) {
                (Cell::Empty, _) => {}
                (_, Some((number, places))) => {
                    let formats = &formats[usize::from(column)];
                    let format = &formats[places.min(formats.len() - 1)];
                    sheet.write_number_with_format(row, column, number, format)?;
                }
                (cell, None) => {
                    sheet.write_string_with_format(row, column, written(cell), &text)?;
                }
            }
        }
    }
    sheet.set_freeze_panes(1, 0)?;
    sheet.autofilter(0, 0, last_row, last_column)?;
    sheet.ignore_error_range(0, 0, last_row, last_column, IgnoreError::NumberStoredAsText)?;
    sheet.set_repeat_rows(0, 0)?.set_print_fit_to_pages(1, 0);
    if answer.heads.len() > PORTRAIT_COLUMNS {
        sheet.set_landscape();
    }
    sheet.set_footer(format!("&L{}&R&P / &N", badge(answer, lang)));
    Ok(())
}

fn badge(answer: &Answer, lang: Lang) -> String {
    let completeness = answer.completeness;
    let word = if completeness.provisional { lang.provisional() } else { lang.complete() };
    format!("{word}: {}/{} {}", completeness.sites_complete, completeness.sites_expected, lang.sites_complete())
}

/// The formats of a column's numbers, by their decimal places; the last also serves those with more.
fn formats(head: &Head) -> Vec<Format> {
    let codes: &[&str] = match head.show {
        Show::Percent => &["0.00%"],
        Show::Score => &["0.00"],
        Show::Age => &["#,##0\" s\""],
        Show::Number | Show::Text | Show::Instant => &["#,##0", "#,##0.0", "#,##0.00", "#,##0.000"],
    };
    codes.iter().map(|code| Format::new().set_num_format(*code)).collect()
}

/// A cell's number and its decimal places, if Excel keeps all its digits.
fn number(cell: &Cell) -> Option<(f64, usize)> {
    let decimal = match cell {
        Cell::Whole(number) => Decimal { scaled: i128::from(*number), places: 0 },
        Cell::Decimal(decimal) => *decimal,
        Cell::Empty | Cell::Text(_) => return None,
    };
    let short = decimal.short();
    let places = short.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let digits = short.bytes().filter(u8::is_ascii_digit).count();
    if digits > DIGITS as usize { None } else { Some((short.parse().ok()?, places)) }
}

/// A cell as text, cut where Excel would refuse it.
fn written(cell: &Cell) -> String {
    match cell {
        Cell::Empty => String::new(),
        Cell::Text(text) => held(text),
        Cell::Whole(number) => number.to_string(),
        Cell::Decimal(decimal) => decimal.short(),
    }
}

fn held(text: &str) -> String {
    if text.encode_utf16().count() <= CELL_UNITS {
        return text.to_owned();
    }
    let mut units = 1; // the mark at the end
    let kept = text.chars().take_while(|c| {
        units += c.len_utf16();
        units <= CELL_UNITS
    });
    kept.chain(['…']).collect()
}

/// A column's width in characters: wide enough for its label, the filter's arrow and what stands in it.
fn width(answer: &Answer, column: usize, lang: Lang) -> f64 {
    let wide = |text: &str| text.chars().take(80).map(|c| if c.is_ascii() { 1 } else { 2 }).sum::<usize>();
    let head = &answer.heads[column];
    let own = |row: &Vec<Cell>| match (&row[column], head.show) {
        (Cell::Decimal(_), Show::Percent | Show::Score) => 8,
        (cell, _) => wide(&written(cell)) * 5 / 4,
    };
    let cells = answer.rows.iter().take(MEASURED_ROWS).map(own).max().unwrap_or(0);
    let characters = cells.max(wide(lang.pick(head.zh, head.en)) + 3).clamp(9, 48);
    characters as f64 + 1.0
}

/// What the rows are, for whom they reach without the page.
fn about(
    sheet: &mut Worksheet,
    report: &Report,
    answer: &Answer,
    lang: Lang,
    now: Timestamp,
) -> Result<(), WorkbookError> {
    let (bold, text) = (Format::new().set_bold().set_align(FormatAlign::Top), text_format().set_text_wrap());
    let whole = Format::new().set_num_format("#,##0").set_align(FormatAlign::Left);
    let day = |day: Option<time::Day>| day.map_or_else(|| lang.unbounded().to_owned(), |day| day.to_string());
    let by: Vec<&str> = answer.by.iter().map(|key| key.labels()).map(|(zh, en)| lang.pick(zh, en)).collect();
    let by = if by.is_empty() { lang.none().to_owned() } else { by.join(", ") };
    let zone = time::zone("").unwrap_or(jiff::tz::TimeZone::UTC);
    let yes_no = |yes: bool| if yes { lang.yes() } else { lang.no() };
    let lines = [
        (lang.report(), lang.pick(report.zh, report.en).to_owned()),
        (lang.formula(), lang.pick(report.about_zh, report.about_en).to_owned()),
        (lang.from(), day(answer.from)),
        (lang.to(), day(answer.to)),
        (lang.by(), by),
        (lang.provisional(), yes_no(answer.completeness.provisional).to_owned()),
        (lang.generated(), now.rfc3339(&zone)),
    ];
    sheet.set_column_width(0, 22)?.set_column_width(1, 60)?.set_column_width(2, 40)?;
    for (row, (name, value)) in (0u32..).zip(&lines) {
        sheet.write_string_with_format(row, 0, *name, &bold)?;
        sheet.write_string_with_format(row, 1, value, &text)?;
    }
    let completeness = answer.completeness;
    let counts =
        [(lang.complete_sites(), completeness.sites_complete), (lang.expected_sites(), completeness.sites_expected)];
    for (row, (name, count)) in (lines.len() as u32..).zip(counts) {
        sheet.write_string_with_format(row, 0, name, &bold)?;
        sheet.write_number_with_format(row, 1, count as f64, &whole)?;
    }
    Ok(())
}

/// What the codes among the keys mean: choices and sites.
fn codes(
    sheet: &mut Worksheet,
    report: &Report,
    answer: &Answer,
    lang: Lang,
    names: &HashMap<String, String>,
) -> Result<(), WorkbookError> {
    /// Below what [`about`] writes, and an empty line.
    const FIRST_ROW: u32 = 10;
    let mut meanings: BTreeMap<(usize, &str), &str> = BTreeMap::new();
    for row in &answer.rows {
        for (column, (head, cell)) in answer.heads.iter().zip(row).enumerate() {
            let (Some(_), Cell::Text(code)) = (head.key, cell) else { continue };
            let meaning = label(report, head.key, code, names, lang);
            if meaning != code && meanings.len() < EXPLAINED {
                meanings.insert((column, code), meaning);
            }
        }
    }
    if meanings.is_empty() {
        return Ok(());
    }
    for (column, name) in (0u16..).zip([lang.column(), lang.code_in_rows(), lang.meaning()]) {
        sheet.write_string_with_format(FIRST_ROW, column, name, &header())?;
    }
    for (row, ((column, code), meaning)) in (FIRST_ROW + 1..).zip(&meanings) {
        let head = &answer.heads[*column];
        for (place, text) in (0u16..).zip([lang.pick(head.zh, head.en), code, meaning]) {
            sheet.write_string_with_format(row, place, held(text), &text_format())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use calamine::{Data, Reader, Xlsx, open_workbook_from_rs};

    use super::super::{Completeness, find};
    use super::*;

    fn answer(rows: Vec<Vec<Cell>>) -> Answer {
        let head = |name, en, show| Head { name, zh: "列", en, show, key: None };
        let heads =
            vec![head("a", "Text", Show::Text), head("b", "Number", Show::Number), head("c", "Rate", Show::Percent)];
        let completeness = Completeness { sites_expected: 3, sites_complete: 1, provisional: true };
        Answer { report: "faults", from: None, to: None, by: Vec::new(), completeness, heads, rows }
    }

    fn read(rows: Vec<Vec<Cell>>, lang: Lang) -> Xlsx<Cursor<Vec<u8>>> {
        let bytes = to_xlsx(find("faults").expect("declared"), &answer(rows), lang, &HashMap::new(), Timestamp(0));
        open_workbook_from_rs(Cursor::new(bytes.expect("written"))).expect("a workbook")
    }

    fn check(cells: [Cell; 3], expected: [Data; 3]) {
        let mut workbook = read(vec![cells.to_vec()], Lang::En);
        let range = workbook.worksheet_range("Faults").unwrap();
        let formulas = workbook.worksheet_formula("Faults").unwrap();
        assert_eq!(formulas.used_cells().count(), 0, "{cells:?}");
        let found: Vec<Data> = (0..3).map(|column| range.get_value((1, column)).cloned().unwrap_or_default()).collect();
        assert_eq!(found, expected, "{cells:?}");
    }

    #[test]
    fn numbers_are_numbers_and_text_is_text() {
        let text = |text: &str| Cell::Text(text.to_owned());
        let string = |text: &str| Data::String(text.to_owned());
        let decimal = |scaled, places| Cell::Decimal(Decimal { scaled, places });
        check(
            [text("007"), Cell::Whole(-12_345), decimal(523_410, 6)],
            [string("007"), Data::Float(-12_345.0), Data::Float(0.52341)],
        );
        for hostile in
            ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r\n=1", "<b>&amp;\"'", "_x0041_", "\u{1}\u{ffff}", " a "]
        {
            check([text(hostile), Cell::Empty, Cell::Empty], [string(hostile), Data::Empty, Data::Empty]);
        }
        check([text(""), decimal(-1_500, 3), Cell::Empty], [Data::Empty, Data::Float(-1.5), Data::Empty]);
    }

    #[test]
    fn no_digit_is_lost() {
        let decimal = |scaled, places| Cell::Decimal(Decimal { scaled, places });
        check(
            [Cell::Whole(999_999_999_999_999), Cell::Whole(i64::MAX), decimal(i128::from(i64::MIN), 3)],
            [
                Data::Float(999_999_999_999_999.0),
                Data::String(i64::MAX.to_string()),
                Data::String("-9223372036854775.808".to_owned()),
            ],
        );
    }

    #[test]
    fn what_excel_refuses_is_cut_or_told() {
        let long = Cell::Text("长".repeat(CELL_UNITS) + "𠀀");
        let cut = "长".repeat(CELL_UNITS - 1) + "…";
        check([long, Cell::Empty, Cell::Empty], [Data::String(cut), Data::Empty, Data::Empty]);
        let rows = vec![Vec::new(); SHEET_ROWS];
        let error =
            to_xlsx(find("faults").unwrap(), &answer(rows), Lang::En, &HashMap::new(), Timestamp(0)).unwrap_err();
        let told = "the report has 1048576 rows and a sheet of Excel takes 1048575; \
                    use .csv, narrow the period or drop a key from by";
        assert_eq!(error.to_string(), told);
    }

    #[test]
    fn a_workbook_says_what_it_is_in_its_language() {
        for (lang, sheets, first) in
            [(Lang::Zh, ["故障分析", "说明"], "报表 故障分析"), (Lang::En, ["Faults", "About"], "Report Faults")]
        {
            let mut workbook = read(Vec::new(), lang);
            assert_eq!(workbook.sheet_names(), sheets);
            let about = workbook.worksheet_range(sheets[1]).unwrap();
            let lines: Vec<String> = about.rows().map(|row| format!("{} {}", row[0], row[1])).collect();
            assert_eq!(lines[0], first);
            let generated = format!("{} 1970-01-01T08:00:00+08:00", lang.generated());
            let [complete, expected] = [lang.complete_sites(), lang.expected_sites()];
            for line in [
                generated,
                format!("{complete} 1"),
                format!("{expected} 3"),
                format!("{} {}", lang.provisional(), lang.yes()),
            ] {
                assert!(lines.contains(&line), "{line}: {lines:?}");
            }
        }
    }
}
