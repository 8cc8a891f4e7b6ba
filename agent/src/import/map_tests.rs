//! Maps as people write them, good and bad.

use super::*;

const GOOD: &str = r#"
kind = "delivery_item"
key = ["ID"]
site = { column = "Country" }
state = { constant = "delivered" }
[fields.due_at]
column = "Scheduled Delivery Date"
date = ["%d-%b-%y"]
"#;

fn refused(change: &dyn Fn(&str) -> String) -> String {
    Map::parse(&change(GOOD), Path::new("m.toml")).unwrap_err().to_string()
}

#[test]
fn a_map_names_its_columns() {
    let map = Map::parse(GOOD, Path::new("m.toml")).unwrap();
    assert_eq!(map.columns().collect::<Vec<_>>(), ["Scheduled Delivery Date", "Country", "ID"]);
}

#[test]
fn errors_name_file_line_and_cure() {
    assert!(refused(&|good| good.replace("date =", "dates =")).contains("m.toml, line 8"));
    assert!(refused(&|good| good.replace("key =", "keys =")).contains("m.toml, line 3"));
    assert!(
        refused(&|good| format!("{good}constant = \"x\""))
            .contains("m.toml, line 6, [fields.due_at]: name either a column or a constant")
    );
    assert!(refused(&|good| format!("delimiter = \"站\"\n{good}")).contains("m.toml, line 1, [delimiter]: one ASCII"));
    assert!(refused(&|good| format!("delimiter = \"\\n\"\n{good}")).contains("m.toml, line 1, [delimiter]"));
}

#[test]
fn a_map_in_another_encoding_is_read_by_its_mark_or_refused_with_the_cure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.toml");
    let text = format!("# 送货清单\n{GOOD}").replace("Country", "送达网点");
    let utf16 = |big: bool, marked: bool| -> Vec<u8> {
        let bytes = move |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        marked.then_some(0xfeff).into_iter().chain(text.encode_utf16()).flat_map(bytes).collect()
    };
    for bytes in [utf16(false, true), utf16(true, true), format!("\u{feff}{text}").into_bytes()] {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Map::read(&path).unwrap().columns().nth(1), Some("送达网点"));
    }
    let (gbk, _, _) = encoding_rs::GBK.encode(&text);
    for (bytes, expected) in [
        (utf16(false, false), "it looks like UTF-16 without a byte-order mark: open it in an editor"),
        (gbk.into_owned(), "m.toml, line 1: the map is no UTF-8; it looks like GBK: open it in an editor"),
        (b"kind = \"x\"\n# caf\xe9".to_vec(), "m.toml, line 2: the map is no UTF-8; it may be GBK or Latin-1"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let found = Map::read(&path).unwrap_err().to_string();
        assert!(found.contains(expected) && found.ends_with("save it as UTF-8"), "{found}");
    }
}

#[test]
fn date_formats_are_checked_before_the_first_row() {
    let with = |format: &str| GOOD.replace("%d-%b-%y", format);
    for good in ["%d-%b-%y", "%Y-%m-%d %H:%M", "%m/%d/%Y %I:%M %p", "%F %T %z", "%Y年%m月%d日", "%Y-%j"] {
        Map::parse(&with(good), Path::new("m.toml")).unwrap();
    }
    for (bad, expected) in [
        ("%Y-%!", "m.toml, line 6, [fields.due_at]: '%Y-%!' is no date format"),
        ("%Y-%m-%d %", "is no date format"),
        ("%d-%b", "the date format '%d-%b' gives no day, month and year"),
        ("YYYY-MM-DD", "gives no day"),
    ] {
        let found = refused(&|_| with(bad));
        assert!(found.contains(expected), "{bad}: {found}");
    }
}

#[test]
fn cells_are_translated_nulled_defaulted_or_kept() {
    let values = BTreeMap::from([("Fixed".to_owned(), "fixed".to_owned()), ("-".to_owned(), String::new())]);
    let strict = Mapping { values: values.clone(), ..Mapping::default() };
    assert_eq!(strict.text("Fixed"), Ok(Some("fixed")));
    assert_eq!(strict.text("-"), Ok(None));
    assert_eq!(strict.text(" "), Ok(None));
    assert!(strict.text("Broken").is_err());
    let keep = Mapping { values: values.clone(), keep: true, ..Mapping::default() };
    assert_eq!(keep.text("Broken"), Ok(Some("Broken")));
    let default = Mapping { values, default: Some("unknown".into()), ..Mapping::default() };
    assert_eq!(default.text("Broken"), Ok(Some("unknown")));
    let null = Mapping { null: vec!["N/A".into()], ..Mapping::default() };
    assert_eq!((null.text("N/A"), null.text("x")), (Ok(None), Ok(Some("x"))));
    let pairs = [("C*", "return"), ("C9*", "scrap"), ("*", "sale"), ("CX", "exchange")];
    let patterns = pairs.map(|(pattern, text)| (pattern.to_owned(), text.to_owned()));
    let patterns = Mapping { values: BTreeMap::from(patterns), ..Mapping::default() };
    for (cell, expected) in [("C536", "return"), ("C9", "scrap"), ("536", "sale"), ("CX", "exchange")] {
        assert_eq!(patterns.text(cell), Ok(Some(expected)), "{cell}");
    }
}

#[test]
fn stars_stand_for_any_text() {
    for (pattern, text, expected) in [
        ("See *", "See ASN-93 (ID#:1281)", true),
        ("See *", "Seen", false),
        ("*合计*", "本月合计：", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c-b", false),
        ("a*a", "a", false),
        ("*", "", true),
        ("", "", true),
        ("", "x", false),
        ("x", "x", true),
    ] {
        assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
    }
}
