//! How a header is compared with the words of `synonyms`.
//!
//! A word is compared whole first, then as the end of a header (its head noun in English and Chinese alike), then as
//! any part of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use waystation_protocol::value::Type;

use super::synonyms::{CONCEPTS, MEANINGS, PERSONAL};

/// A header's likeness to a field, 0 to 100; below [`LIKELY`] it counts for nothing.
pub(super) type Points = u32;

/// From here on a likeness is worth proposing.
pub(super) const LIKELY: Points = 50;

struct Word {
    text: String,
    is_hint: bool,
}

/// The table made ready to be asked.
pub(super) struct Dictionary {
    fields: BTreeMap<&'static str, Vec<Word>>,
}

impl Dictionary {
    pub(super) fn new() -> Dictionary {
        let mut fields: BTreeMap<&'static str, Vec<Word>> = BTreeMap::new();
        for concept in CONCEPTS {
            for field in concept.fields {
                let path = field.trim_start_matches('~');
                let words = concept
                    .words
                    .iter()
                    .map(|word| Word { text: normal(word), is_hint: word.starts_with('~') || field.starts_with('~') });
                fields.entry(path).or_default().extend(words);
            }
        }
        Dictionary { fields }
    }

    /// How much a column's `name` is like the field at `path`, whose own name and labels are `labels`.
    pub(super) fn likeness(&self, name: &str, path: &str, labels: &[&str]) -> Points {
        let name = normal(name);
        if name.is_empty() {
            return 0;
        }
        if labels.iter().any(|label| is_same(&name, &normal(label))) {
            return 100;
        }
        let words = self.fields.get(path).map_or(&[][..], Vec::as_slice);
        let likeness = |word: &Word| likeness(&name, &word.text) * if word.is_hint { 80 } else { 100 } / 100;
        words.iter().map(likeness).max().unwrap_or(0)
    }
}

/// Whether `text` is another name of the state or choice `name`.
pub(super) fn means(text: &str, name: &str) -> bool {
    let text = normal(text);
    let mut words = MEANINGS.iter().filter(|(meaning, _)| *meaning == name).flat_map(|(_, words)| *words);
    words.any(|word| is_same(&text, &normal(word)))
}

/// Whether a column of this name is likely to hold people, or what leads to them.
pub(super) fn is_personal(name: &str) -> bool {
    let name = normal(name);
    PERSONAL
        .iter()
        .any(|word| if word.is_ascii() { padded(&name).contains(&padded(word)) } else { name.contains(word) })
}

/// Whether a column's name says that it tells documents apart: an id, a number, 单号.
pub(super) fn names_an_id(name: &str) -> bool {
    let name = normal(name);
    let first_and_last = [name.split(' ').next(), name.split(' ').next_back()];
    first_and_last.contains(&Some("id"))
        || ["no", "key", "uuid", "guid", "code"].map(Some).contains(&first_and_last[1])
        || ["号", "号码", "编码", "nummer"].iter().any(|end| name.ends_with(end))
}

/// Whether a cell says that its row is a total.
pub(super) fn names_a_total(cell: &str) -> bool {
    let cell = cell.trim().trim_end_matches([':', '：', ' ']);
    // 合 计 is usually set with a blank between.
    let has_hanzi = !cell.is_ascii();
    let cell: String = cell.chars().filter(|character| !(has_hanzi && character.is_whitespace())).collect();
    if cell.is_empty() || cell.chars().count() > 12 {
        return false;
    }
    let chinese = ["合计", "总计", "小计", "共计"];
    let others = ["total", "totals", "subtotal", "grand total", "sum", "summe", "gesamt", "gesamtsumme", "somme"];
    chinese.iter().any(|word| cell.ends_with(word)) || others.contains(&cell.to_lowercase().as_str())
}

/// Whether a column's name says that it holds money.
pub(super) fn names_money(name: &str) -> bool {
    let name = normal(name);
    let last = name.split(' ').next_back().unwrap_or_default();
    ["费", "费用", "金额", "价", "款"].iter().any(|end| name.ends_with(end))
        || ["fee", "cost", "amount", "price", "betrag", "kosten", "preis"].contains(&last)
}

/// What columns of currencies are called.
const CURRENCIES: &[&str] = &["currency", "币种", "币别", "货币", "wahrung", "devise", "moneda"];

/// Whether a column's name says that it holds the units of quantities, or the currencies of amounts.
pub(super) fn names_units(name: &str, ty: Type) -> bool {
    let words: &[&str] = match ty {
        Type::Quantity => &[
            "unit",
            "uom",
            "um",
            "u m",
            "base unit",
            "unit of measure",
            "单位",
            "基本单位",
            "计量单位",
            "数量单位",
            "einheit",
            "mengeneinheit",
            "unite",
            "unidad",
        ],
        Type::Money => CURRENCIES,
        _ => &[],
    };
    words.contains(&normal(name).as_str())
}

/// Whether a column's name has to do with currencies.
pub(super) fn names_a_currency(name: &str) -> bool {
    let name = normal(name);
    let holds =
        |word: &&str| if word.is_ascii() { padded(&name).contains(&padded(word)) } else { name.contains(*word) };
    CURRENCIES.iter().chain(&["curr"]).any(holds)
}

/// Whether a column's name says that it numbers the lines of a document.
pub(super) fn names_a_line(name: &str) -> bool {
    let name = normal(name);
    [
        "line",
        "line no",
        "line id",
        "item line",
        "row no",
        "pos",
        "position",
        "行号",
        "项次",
        "明细号",
        "分录号",
        "zeile",
    ]
    .contains(&name.as_str())
}

/// Whether any field of ours is called so, exactly: then this is a header and no cell.
pub(super) fn is_known(name: &str, dictionary: &Dictionary) -> bool {
    let name = normal(name);
    dictionary.fields.values().flatten().any(|word| is_same(&name, &word.text))
}

/// A header as it is compared: without what stands in brackets, in lower case, its words apart, `#` and `Nr.` as `no`.
pub(super) fn normal(name: &str) -> String {
    let mut words = String::new();
    let mut depth = 0_u32;
    let mut before = ' ';
    let mut characters = name.chars().map(folded).peekable();
    while let Some(character) = characters.next() {
        match character {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            '#' | '№' => words.push_str(" no "),
            _ if character.is_alphanumeric() => {
                let next_is_lower = characters.peek().is_some_and(|next| next.is_lowercase());
                let begins =
                    character.is_uppercase() && (before.is_lowercase() || before.is_uppercase() && next_is_lower);
                let changes = before.is_alphanumeric() && character.is_ascii() != before.is_ascii();
                if begins || changes {
                    words.push(' ');
                }
                words.extend(character.to_lowercase());
            }
            _ => words.push(' '),
        }
        before = character;
    }
    words.split_whitespace().map(spelled_out).collect::<Vec<_>>().join(" ")
}

/// A word with its usual shortening undone: `auftragsnr` is `auftragsnummer`, and any number alone is `no`.
fn spelled_out(word: &str) -> Cow<'_, str> {
    match word.strip_suffix("nr") {
        _ if ["number", "nr", "num", "numero"].contains(&word) => Cow::Borrowed("no"),
        Some(stem) if stem.len() > 2 => Cow::Owned(format!("{stem}nummer")),
        _ => Cow::Borrowed(word),
    }
}

/// What stands in a header's brackets, or nothing.
pub(super) fn bracketed(name: &str) -> Option<String> {
    let name: String = name.chars().map(folded).collect();
    let (_, after) = name.split_once(['(', '['])?;
    let (inner, _) = after.split_once([')', ']'])?;
    Some(inner.trim().to_owned()).filter(|inner| !inner.is_empty())
}

/// A character without its accent and its width.
fn folded(character: char) -> char {
    match character {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' => 'a',
        'Ä' => 'A',
        'ç' => 'c',
        'è' | 'é' | 'ê' | 'ë' => 'e',
        'É' => 'E',
        'ì' | 'í' | 'î' | 'ï' => 'i',
        'ñ' => 'n',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' => 'o',
        'Ö' => 'O',
        'ù' | 'ú' | 'û' | 'ü' => 'u',
        'Ü' => 'U',
        'º' | '°' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
        '【' => '[',
        '】' => ']',
        other => other,
    }
}

fn likeness(name: &str, word: &str) -> Points {
    if is_same(name, word) {
        return 100;
    }
    let (length, part) = if word.is_ascii() {
        (name.split(' ').count(), word.split(' ').count())
    } else {
        (name.chars().count(), word.chars().count())
    };
    let is_whole = |found: bool| found && (word.is_ascii() || part > 1);
    let share = |most: usize| Points::try_from(most * part / length.max(1)).unwrap_or(0);
    let (ends, holds) = if word.is_ascii() {
        (padded(name).ends_with(&padded(word)), padded(name).contains(&padded(word)))
    } else {
        (name.ends_with(word), name.contains(word))
    };
    match (is_whole(ends), is_whole(holds)) {
        (true, _) => 50 + share(40),
        (false, true) => 35 + share(35),
        (false, false) => 0,
    }
}

fn is_same(left: &str, right: &str) -> bool {
    left == right || left.split(' ').flat_map(str::chars).eq(right.split(' ').flat_map(str::chars))
}

fn padded(text: &str) -> String {
    format!(" {text} ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_compared_without_their_dress() {
        for (name, expected) in [
            ("InvoiceNo", "invoice no"),
            ("VINNumber", "vin no"),
            ("ASN/DN #", "asn dn no"),
            ("year_of_manufacture", "year of manufacture"),
            ("里程（km）", "里程"),
            ("Freight Cost (USD)", "freight cost"),
            ("Empfänger-Nr.", "empfanger no"),
            ("Auftragsnr.", "auftragsnummer"),
            ("客户ID", "客户 id"),
            ("ＱＴＹ", "qty"),
            ("🚗", ""),
        ] {
            assert_eq!(normal(name), expected, "{name}");
        }
        assert_eq!(bracketed("金额（元）").as_deref(), Some("元"));
    }

    #[test]
    fn a_whole_word_beats_an_end_beats_a_part() {
        let dictionary = Dictionary::new();
        let check = |name: &str, path: &str, expected: std::ops::RangeInclusive<Points>| {
            let found = dictionary.likeness(name, path, &[]);
            assert!(expected.contains(&found), "{name} as {path}: {found}");
        };
        check("底盘号", "repair_order.vin", 100..=100);
        check("StockCode", "stock_movement.item", 100..=100);
        check("Kundentelefonnummer", "repair_order.phone", 0..=0);
        check("客户联系电话", "repair_order.phone", 70..=95);
        check("Line Item Quantity", "delivery_item.quantity", 60..=70);
        check("Country", "site", 80..=80);
        check("Manufacturing Site", "site", 70..=70);
        check("Vendor INCO Term", "delivery_item.sender", 0..=LIKELY - 1);
        check("PO Sent to Vendor Date", "occurred_at", 0..=LIKELY - 1);
    }

    #[test]
    fn totals_are_known() {
        for cell in ["合计", "小 计", "合　计", "总计：", "Total:", "Grand Total"] {
            assert!(names_a_total(cell), "{cell}");
        }
        assert!(!names_a_total("合计里程表") && !names_a_total("to tal"));
    }

    #[test]
    fn names_of_people_and_of_numbers_are_known() {
        for name in ["Customer", "手机号", "车主姓名", "E-Mail", "Chassis No.", "车牌号", "Kennzeichen", "contact"]
        {
            assert!(is_personal(name), "{name}");
        }
        assert!(!is_personal("Product Group"));
        for name in ["ID", "id_ords", "工单号", "Order #", "Auftragsnummer", "StockCode"] {
            assert!(names_an_id(name), "{name}");
        }
        assert!(!names_an_id("Product Group") && !names_an_id("validity"));
    }
}
