//! A report as CSV: a header, then the rows, as UTF-8 with a byte-order mark, so that Excel shows hanzi, and LF.
//!
//! Text a spreadsheet would run as a formula is prefixed with an apostrophe. Numbers are written as they are.

use super::{Answer, Cell};
use crate::pages::Lang;

/// The rows of an answer, under wire names or under labels in `lang`.
#[must_use]
pub fn to_csv(answer: &Answer, lang: Option<Lang>) -> Vec<u8> {
    let header = answer.heads.iter().map(|head| lang.map_or(head.name, |lang| lang.pick(head.zh, head.en)).to_owned());
    let rows = answer.rows.iter().map(|row| row.iter().map(text).collect::<Vec<String>>());
    written(std::iter::once(header.collect()).chain(rows))
}

/// What the rows are and how complete, as a table of one row. Days without a bound are empty.
#[must_use]
pub fn about_csv(answer: &Answer) -> Vec<u8> {
    let about = answer.about();
    let (names, values): (Vec<_>, Vec<_>) = about.into_iter().map(|(name, value)| (name.to_owned(), value)).unzip();
    written([names, values])
}

fn written(records: impl IntoIterator<Item = Vec<String>>) -> Vec<u8> {
    let text = "\u{feff}".as_bytes().to_vec();
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(text);
    for record in records {
        writer.write_record(&record).expect("memory takes every record, and all have the header's length");
    }
    writer.into_inner().expect("memory takes every record")
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Empty => String::new(),
        Cell::Text(text) => guarded(text),
        Cell::Whole(number) => number.to_string(),
        Cell::Decimal(decimal) => decimal.short(),
    }
}

fn guarded(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']);
    if is_formula { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::{Completeness, Decimal, Head, Show};
    use super::*;

    fn check(cells: Vec<Cell>, expected: &str) {
        let names = ["a", "b", "c"];
        let heads = names.iter().map(|name| Head { name, zh: "", en: "", show: Show::Text, key: None }).collect();
        let completeness = Completeness { sites_expected: 0, sites_complete: 0, provisional: false };
        let answer =
            Answer { report: "faults", from: None, to: None, by: Vec::new(), completeness, heads, rows: vec![cells] };
        assert_eq!(String::from_utf8(to_csv(&answer, None)).unwrap(), format!("\u{feff}a,b,c\n{expected}\n"));
    }

    #[test]
    fn cells_are_quoted_where_csv_needs_it() {
        let text = |text: &str| Cell::Text(text.to_owned());
        check(vec![text("城东, \"一\""), text("a\nb"), Cell::Empty], "\"城东, \"\"一\"\"\",\"a\nb\",");
        let decimal = Cell::Decimal(Decimal::thousandths(-1500));
        check(vec![Cell::Whole(-3), decimal, text("")], "-3,-1.5,");
    }

    #[test]
    fn formulas_are_disarmed() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "＝1", "－1", "＠x", "＋1"] {
            let cells = vec![Cell::Text(formula.to_owned()), Cell::Empty, Cell::Empty];
            check(cells, &format!("'{formula},,"));
        }
        let carriage = vec![Cell::Text("\r=1".to_owned()), Cell::Empty, Cell::Empty];
        check(carriage, "\"'\r=1\",,");
    }
}
