//! `template`: a blank table of a kind, for others to fill in; `import` reads it without a map.

use anyhow::Result;
use waystation_protocol::kind::Kind;

use super::export::kind_named;
use super::output::{self, Wanted};
use crate::lang::Lang;
use crate::layout::{self, Column, Headers, Part};

/// Lines of a group that a template has columns for; more can be added by their number.
const LINES: u32 = 2;

pub(super) fn run(name: &str, wanted: &Wanted) -> Result<()> {
    let kind = kind_named(name)?;
    let lines = kind.lines.iter().map(|group| (group.name, LINES)).collect();
    let mut columns = layout::columns(kind, &lines, &[]);
    columns.retain(|column| matches!(column.part, Part::Site | Part::State | Part::Field));
    let headers = wanted.lang.map_or(Headers::Both, Headers::Lang);
    wanted.write(&format!("{name}.xlsx"), |out| {
        let mut sheet = output::sheet(out, wanted.format, kind, &columns, headers)?;
        sheet.explain("说明 Help", &explanation(kind, &columns, headers))?;
        Ok(sheet.finish()?)
    })
}

/// What each column holds, in both languages.
fn explanation(kind: &Kind, columns: &[Column], headers: Headers) -> Vec<Vec<String>> {
    let head = ["列 Column", "名称 Name", "内容", "Holds", "填写要求", "Required from"].map(str::to_owned).to_vec();
    let row = |column: &Column| {
        let from = column.field.and_then(|field| field.required_from);
        let from = |lang: Lang| from.map_or(String::new(), |state| lang.pick(state.zh, state.en).to_owned());
        vec![
            column.header(headers),
            column.name.clone(),
            column.expectation(kind, Lang::Zh),
            column.expectation(kind, Lang::En),
            from(Lang::Zh),
            from(Lang::En),
        ]
    };
    std::iter::once(head).chain(columns.iter().map(row)).collect()
}

#[cfg(test)]
mod tests {
    use waystation_protocol::kind::KINDS;

    use super::super::output::Format;
    use super::*;

    #[test]
    fn a_template_of_every_kind_is_read_without_a_map() {
        let folder = tempfile::tempdir().unwrap();
        for kind in KINDS {
            for lang in [None, Some(Lang::Zh), Some(Lang::En)] {
                let path = folder.path().join("template.csv");
                run(kind.name, &Wanted { format: Format::Csv, lang, output: Some(path.clone()) }).unwrap();
                let text = std::fs::read_to_string(&path).unwrap();
                let headers: Vec<String> =
                    text.trim_start_matches('\u{feff}').trim().split(',').map(str::to_owned).collect();
                let map = layout::map_of(kind, &headers).unwrap();
                assert_eq!(map.columns().count(), headers.len(), "{}", kind.name);
                assert!(kind.fields.iter().all(|field| map.fields.contains_key(field.name)), "{}", kind.name);
            }
        }
    }

    #[test]
    fn a_workbook_says_what_every_column_holds() {
        use calamine::{Reader, Xlsx, open_workbook};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("template.xlsx");
        let wanted = Wanted { format: Format::Xlsx, lang: None, output: Some(path.clone()) };
        run("repair_order", &wanted).unwrap();
        let mut workbook: Xlsx<_> = open_workbook(&path).unwrap();
        assert_eq!(workbook.sheet_names(), ["repair_order", "说明 Help"]);
        let headers = workbook.worksheet_range("repair_order").unwrap();
        assert_eq!((headers.height(), headers.get((0, 5)).unwrap().to_string()), (1, "车架号 VIN".to_owned()));
        let help = workbook.worksheet_range("说明 Help").unwrap();
        assert_eq!(help.height(), headers.width() + 1);
        let rows: Vec<String> =
            help.rows().map(|row| row.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")).collect();
        let expected = "结果 Outcome | outcome | 以下之一：已修复、可修复、报废、不明 | one of fixed, repairable, end_of_life, unknown | 完工检验 | Quality check";
        assert!(rows.iter().any(|row| row == expected), "{rows:#?}");
    }
}
