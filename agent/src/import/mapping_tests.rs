//! Cells as tables: what a map makes of them, and what it says of those it cannot read.

use std::path::Path;

use super::*;

const COLUMNS: &str = "ID|Site|State|Due|Result|Qty|Price";
const MAP: &str = r#"
kind = "delivery_item"
key = ["ID"]
site = { column = "Site" }
state = { column = "State", values = { Done = "delivered", "在网点" = "at_site" } }
[fields]
number = { column = "ID" }
class = { constant = "goods" }
due_at = { column = "Due", date = ["%d-%b-%y"], null = ["N/A"] }
quantity = { column = "Qty", unit = "箱", negate = true }
value = { column = "Price", unit = "USD" }
item = { column = "Result", values = { a = "A" }, keep = true }
"#;

fn columns() -> Vec<String> {
    COLUMNS.split('|').map(str::to_owned).collect()
}

/// What the map (after replacing `change` by its second half) makes of a row of cells parted by `|`.
fn mapped(change: (&str, &str), cells: &str) -> String {
    let map = Map::parse(&MAP.replace(change.0, change.1), Path::new("m.toml")).unwrap();
    let sites = Sites::Only(vec!["3702".parse().unwrap()]);
    let zone = waystation_protocol::time::zone("").unwrap();
    let columns = columns();
    let mapper = match Mapper::new(&map, kind_of(&map, Some("delivery_item")).unwrap(), &columns, &sites, &zone) {
        Ok(mapper) => mapper,
        Err(error) => return error.to_string(),
    };
    let cells: Vec<String> = cells.split('|').map(str::to_owned).collect();
    if let Err(bad) = mapper.row_key(&cells) {
        return format!("{}: {}", bad.column, bad.reason);
    }
    match mapper.map(&cells, &IsoDates::None, Identity { key: "k".into(), occurrence: 1 }) {
        Mapped::Skipped => "skipped".to_owned(),
        Mapped::Bad(bad) => format!("{}: {}", bad.column, bad.reason),
        Mapped::Row(row) => {
            let kind = kind::find(&row.kind).unwrap();
            let show = |(key, value): (&String, &Value)| {
                let field = kind.field_at(key).unwrap();
                format!("{key}={}", form::to_text(field.ty, value, &zone))
            };
            let set: Vec<String> = row.set.iter().map(show).collect();
            format!("{} {} {}", row.site, row.state, set.join(" "))
        }
    }
}

fn check(cells: &str, expected: &str) {
    let found = mapped(("", ""), cells);
    assert!(found.contains(expected), "{cells}: {found}");
}

#[test]
fn cells_become_values_by_declared_type() {
    check(
        "7|3702|Done|02-Jun-06|x|6|551.5",
        "3702 delivered class=goods due_at=2006-06-02T23:59:59.999+08:00 item=x number=7 quantity=-6 箱 value=551.50 USD",
    );
    check("7|3702|在网点|N/A|a||", "3702 at_site class=goods item=A number=7");
    check("7|other|Done|||1|", "skipped");
    check("7| 3702 |Done|||1|", "3702 delivered");
}

#[test]
fn columns_may_have_a_zone_a_decimal_mark_and_units_of_their_own() {
    let due = "date = [\"%d-%b-%y\"], null = [\"N/A\"] }";
    for (change, cells, expected) in [
        (
            (due, "time_zone = \"Europe/Berlin\" }"),
            "7|3702|Done|2026-01-02 08:30||1|",
            "due_at=2026-01-02T15:30:00+08:00",
        ),
        (("unit = \"USD\" }", "decimal = \",\", unit = \"EUR\" }"), "7|3702|Done||||1.234,5", "value=1234.50 EUR"),
        (("unit = \"USD\" }", "decimal = \",\" }"), "7|3702|Done||||1\u{a0}234,5", "value=1234.50 CNY"),
        (("unit = \"USD\" }", "decimal = \",\" }"), "7|3702|Done||||1.5", "Price: '1.5' does not fit"),
        (("unit = \"箱\"", "unit_column = \"Result\""), "7|3702|Done||kg|2|", "quantity=-2 kg"),
        (("unit = \"箱\"", "unit_column = \"Result\""), "7|3702|Done|||2|", "quantity=-2 件"),
        (("[fields]", "[[skip]]\ncolumn = \"ID\"\nvalues = [\"合计*\", \"\"]\n[fields]"), "合计：|||||7|", "skipped"),
        (("[fields]", "[[skip]]\ncolumn = \"Site\"\nvalues = [\"\"]\n[fields]"), "9||Done|||7|", "skipped"),
    ] {
        let found = mapped(change, cells);
        assert!(found.contains(expected), "{cells}: {found}");
    }
}

#[test]
fn what_cannot_be_read_names_its_column_and_the_cure() {
    check("7|3702|Lost|||1|", "State: the map's values do not list it");
    check("7|3702|Done|2006-06-02||1|", "Due: '2006-06-02' does not fit the map's date formats: %d-%b-%y");
    check("7|3702|Done|||many|", "Qty: 'many' does not fit: expected a quantity");
    check("7||Done|||1|", "Site: this is empty");
    check(" |3702|Done|||1|", "ID: this is empty, but the map makes it the row's identity");
}

#[test]
fn a_year_of_too_few_digits_is_no_year() {
    for (format, short, long) in [
        ("%m/%d/%Y", "4/1/24", "4/1/2024"),
        ("%d.%m.%Y", "1.4.24", "1.4.2024"),
        ("%Y/%m/%d", "24/4/1", "2024/4/1"),
        ("%Y-%m-%d", "204-01-02", "2024-04-01"),
        ("%d.%m.%Y", "1.4.0024", "1.4.2024"),
        ("%d.%m.%Y %H:%M", "1.4.24 08:00", "1.4.2024 08:00"),
    ] {
        let due = |cell: &str| mapped(("%d-%b-%y", format), &format!("7|3702|Done|{cell}||1|"));
        let told = "; %Y is a year of four digits, %y one of two";
        assert_eq!(due(short), format!("Due: '{short}' does not fit the map's date formats: {format}{told}"));
        assert!(due(long).contains("due_at=2024-04-01T"), "{}", due(long));
    }
    let both = mapped(("\"%d-%b-%y\"", "\"%m/%d/%Y\", \"%m/%d/%y\""), "7|3702|Done|4/1/24||1|");
    assert!(both.contains("due_at=2024-04-01T"), "{both}");
}

#[test]
fn a_map_that_does_not_fit_is_refused_before_the_first_row() {
    for (from, to, expected) in [
        (
            "column = \"Due\"",
            "column = \"Dew\"",
            "the file has no column 'Dew', which the map names; name one of its columns there: ID,",
        ),
        ("due_at =", "dew_at =", "[fields.dew_at]: delivery_item has no such field"),
        ("\"goods\"", "\"gods\"", "[fields.class]: 'gods' does not fit: expected one of letter"),
        (
            "constant = \"goods\"",
            "column = \"Result\", values = { G = \"goods\", L = \"leter\", X = \"\" }",
            "[fields.class]: 'leter' does not fit: expected one of letter",
        ),
        (
            "constant = \"goods\"",
            "column = \"Result\", values = { G = \"goods\" }, default = \"others\"",
            "[fields.class]: 'others' does not fit: expected one of letter",
        ),
        ("\"at_site\"", "\"on_site\"", "[state]: 'on_site' is not a state of delivery_item"),
        ("class = {", "site = {", "the importer sets this itself"),
        ("unit = \"USD\" }", "negate = true }\nbarcode = { column = \"ID\", negate = true }", "negate needs a number"),
        ("key = [\"ID\"]", "time_zone = \"Moon\"", "time_zone: 'Moon' is not an IANA time zone"),
        ("unit = \"USD\"", "time_zone = \"Moon\"", "fields.value: 'Moon' is not"),
        ("unit = \"USD\"", "time_zone = \"Europe/Paris\"", "[fields.value]: time_zone means nothing here, value holds"),
        ("\"goods\"", "\"goods\", unit = \"x\"", "[fields.class]: unit means nothing here"),
        ("{ column = \"ID\" }", "{ column = \"ID\", keep = true }", "[fields.number]: keep needs values"),
        ("unit = \"USD\"", "unit_column = \"Moon\"", "the file has no column 'Moon'"),
        (
            "column = \"State\", values = { Done = \"delivered\", \"在网点\" = \"at_site\" }",
            "constant = \"gone\"",
            "[state]: 'gone' is not a state",
        ),
    ] {
        let found = mapped((from, to), "7|3702|Done|||1|");
        assert!(found.contains(expected), "{to}: {found}");
    }
    let map = Map::parse(MAP, Path::new("m.toml")).unwrap();
    assert_eq!(kind_of(&map, None).unwrap().name, "delivery_item");
    assert!(kind_of(&map, Some("moon")).unwrap_err().to_string().contains("known kinds: repair_order"));
    assert!(kind_of(&map, Some("survey")).unwrap_err().to_string().contains("--kind says 'survey'"));
    let zone = waystation_protocol::time::zone("").unwrap();
    let siteless = Map { site: None, ..map };
    let mapper =
        Mapper::new(&siteless, kind_of(&siteless, Some("delivery_item")).unwrap(), &columns(), &Sites::All, &zone);
    assert_eq!(mapper.err(), Some(MappingError::NoSite));
}

#[test]
fn a_table_of_ours_that_a_chinese_excel_saved_keeps_its_dates() {
    let columns = ["state", "sale_date", "checked_in_at"].map(str::to_owned);
    let kind = kind_named("repair_order").unwrap();
    let map = crate::layout::map_of(kind, &columns).unwrap();
    let sites = Sites::Only(vec!["3702".parse().unwrap()]);
    let zone = waystation_protocol::time::zone("").unwrap();
    let mapper = Mapper::new(&map, kind, &columns, &sites, &zone).unwrap();
    let check = |cell: &str, day: &str, time: &str| {
        let cells = ["closed", cell, cell].map(str::to_owned);
        let row = match mapper.map(&cells, &IsoDates::None, Identity { key: "k".into(), occurrence: 1 }) {
            Mapped::Row(row) => row,
            other => panic!("{cell}: {other:?}"),
        };
        assert_eq!(form::to_text(Type::Date, &row.set["sale_date"], &zone), day, "{cell}");
        assert_eq!(
            form::to_text(Type::Time, &row.set["checked_in_at"], &zone),
            format!("{day}T{time}+08:00"),
            "{cell}"
        );
    };
    for cell in ["2025/1/3", "2025/01/03", "2025-1-3", "2025-01-03"] {
        check(cell, "2025-01-03", "00:00:00");
    }
    for cell in ["2025/1/3 8:05", "2025-1-3 8:05", "2025-01-03 08:05", "2025/1/3 8:05:00"] {
        check(cell, "2025-01-03", "08:05:00");
    }
    check("2025/1/3 8:05:09", "2025-01-03", "08:05:09");
    for cell in ["25/1/3", "1/3/2025", "2025/13/1"] {
        match mapper.map(
            &["closed", "", cell].map(str::to_owned),
            &IsoDates::None,
            Identity { key: "k".into(), occurrence: 1 },
        ) {
            Mapped::Bad(bad) => {
                assert!(
                    bad.reason.starts_with(&format!("'{cell}' does not fit: expected an instant such as")),
                    "{}",
                    bad.reason
                );
            }
            other => panic!("{cell}: {other:?}"),
        }
    }
}

#[test]
fn the_identity_of_a_table_of_ours_is_read_as_it_stands() {
    let columns = ["state", "source_key"].map(str::to_owned);
    let kind = kind_named("survey").unwrap();
    let map = crate::layout::map_of(kind, &columns).unwrap();
    let zone = waystation_protocol::time::zone("").unwrap();
    let sites = Sites::Only(vec!["3702".parse().unwrap()]);
    let mapper = Mapper::new(&map, kind, &columns, &sites, &zone).unwrap();
    for key in ["u5", "u5 ", " u5"] {
        match mapper.row_key(&["answered", key].map(str::to_owned)) {
            Ok(RowKey::Known(identity)) => assert_eq!(identity.key, key),
            _ => panic!("'{key}' is known"),
        }
    }
}

#[test]
fn all_that_the_manual_says_of_a_map_is_accepted_as_it_stands() {
    let manual = include_str!("../../../docs/import.md");
    let (_, after) = manual.split_once("All that a map may say:\n\n```toml\n").unwrap();
    let (text, _) = after.split_once("```").unwrap();
    let text = &["encoding", "delimiter", "sheet"].iter().fold(text.to_owned(), |text, line| {
        let live = text.replace(&format!("# {line} = "), &format!("{line} = "));
        assert_ne!(live, text, "{line}");
        live
    });
    let map = Map::parse(text, Path::new("manual.toml")).unwrap();
    let columns: Vec<String> = map.columns().map(str::to_owned).collect();
    let zone = waystation_protocol::time::zone("").unwrap();
    let mapper = Mapper::new(&map, kind_of(&map, None).unwrap(), &columns, &Sites::All, &zone);
    assert_eq!(mapper.err(), None);
}
