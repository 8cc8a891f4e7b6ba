//! Headers as people write them, and the columns they mean.

use std::collections::{BTreeMap, HashMap};

use waystation_protocol::document::field::Key;
use waystation_protocol::kind::Kind;

use super::{Column, Headers, columns, custom};
use crate::lang::Lang;

const EVERY: [Headers; 4] = [Headers::Names, Headers::Lang(Lang::Zh), Headers::Lang(Lang::En), Headers::Both];

/// Every spelling of a kind's columns; those of lines are kept for line 1.
pub struct Spellings {
    columns: HashMap<String, Column>,
}

impl Spellings {
    /// All spellings of a kind.
    pub fn new(kind: &'static Kind) -> Spellings {
        let one_line: BTreeMap<&str, u32> = kind.lines.iter().map(|group| (group.name, 1)).collect();
        let all = columns(kind, &one_line, &[]);
        let spelled = |column: &Column| EVERY.map(|headers| (folded(&column.header(headers)), column.clone()));
        // A label must never hide another column's name: names go in last.
        let mut found: HashMap<String, Column> = all.iter().flat_map(spelled).collect();
        found.extend(all.iter().map(|column| (folded(&column.name), column.clone())));
        Spellings { columns: found }
    }

    /// The column a header means, if it is one of the kind's.
    pub fn find(&self, header: &str) -> Option<Column> {
        if let Some(Key::Custom(_)) = Key::parse(header.trim()) {
            return Some(custom(header.trim()));
        }
        let (text, number) = first_line(&folded(header))?;
        let column = self.columns.get(&text)?;
        let Some(number) = number else { return Some(column.clone()) };
        let numbered = |text: &str| text.replacen("#1", &format!("#{number}"), 1);
        let (name, zh, en) = (numbered(&column.name), numbered(&column.zh), numbered(&column.en));
        Some(Column { name, zh, en, ..column.clone() })
    }
}

/// Blanks around it and letters' case do not matter.
fn folded(header: &str) -> String {
    header.trim().to_lowercase()
}

/// `配件#12 数量` with line 1 for line 12, and the 12. None where two numbers differ.
fn first_line(header: &str) -> Option<(String, Option<u32>)> {
    let mut parts = header.split('#');
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut number = None;
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let found: u32 = part[..digits].parse().ok().filter(|number| *number > 0)?;
        if number.is_some_and(|number| number != found) {
            return None;
        }
        number = Some(found);
        text.push_str("#1");
        text.push_str(&part[digits..]);
    }
    Some((text, number))
}

#[cfg(test)]
mod tests {
    use waystation_protocol::kind::{self, KINDS};

    use super::*;

    fn check(kind: &str, header: &str, expected: Option<&str>) {
        let found = Spellings::new(kind::find(kind).unwrap()).find(header);
        assert_eq!(found.as_ref().map(|column| column.name.as_str()), expected, "{header}");
    }

    #[test]
    fn a_header_is_found_by_name_and_labels() {
        check("repair_order", "vin", Some("vin"));
        check("repair_order", " 车架号 ", Some("vin"));
        check("repair_order", "车架号 VIN", Some("vin"));
        check("repair_order", "配件#12 数量", Some("part#12.quantity"));
        check("repair_order", "Parts#2 quantity", Some("part#2.quantity"));
        check("repair_order", "配件#3 数量 Parts#3 Quantity", Some("part#3.quantity"));
        check("repair_order", "part#4.quantity", Some("part#4.quantity"));
        check("repair_order", "配件#3 数量 Parts#4 Quantity", None);
        check("repair_order", "配件#0 数量", None);
        check("repair_order", "custom.colour", Some("custom.colour"));
        check("repair_order", "状态", Some("state"));
        check("repair_order", "Document id", Some("id"));
        check("repair_order", "颜色", None);
        check("survey", "vin", None);
    }

    #[test]
    fn no_two_columns_of_a_kind_share_a_spelling() {
        for kind in KINDS {
            let one_line: BTreeMap<&str, u32> = kind.lines.iter().map(|group| (group.name, 1)).collect();
            let spellings = Spellings::new(kind);
            for column in columns(kind, &one_line, &[]) {
                for headers in EVERY {
                    let header = column.header(headers);
                    let found = spellings.find(&header).map(|found| found.name);
                    assert_eq!(found.as_ref(), Some(&column.name), "{}: {header}", kind.name);
                }
            }
        }
    }
}
