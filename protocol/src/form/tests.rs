//! Forms as tables: what is given, by which type, and what becomes of it.

use crate::kind;
use crate::value::{Choice, choice};

use super::*;

const COLOURS: &[Choice] = &[choice("red", "红", "Red"), choice("blue", "蓝", "Blue")];

fn shanghai() -> TimeZone {
    crate::time::zone("").unwrap()
}

fn text(ty: Type, given: &str, formats: &[&str]) -> Option<Value> {
    let formats: Vec<String> = formats.iter().map(|format| (*format).to_owned()).collect();
    let zone = shanghai();
    from_text(ty, given, &Reading { zone: &zone, unit: None, formats: &formats }).ok()
}

fn at(text: &str) -> Option<Value> {
    text.parse::<Timestamp>().ok().map(|at| Value::Int(at.0))
}

#[test]
fn a_choice_is_read_by_its_label_whatever_the_width_of_its_characters() {
    use crate::kind::part_transfer::MODES;
    let zone = TimeZone::UTC;
    for text in ["station", "代发货（服务站）", "代发货(服务站)", "another STATION for it"] {
        let read = from_text(Type::Choice(MODES), text, &Reading::plain(&zone));
        assert_eq!(read.ok(), Some(Value::from("station")), "{text}");
    }
}

#[test]
fn text_is_read_by_type() {
    let day = "2026-11-23".parse::<Day>().unwrap();
    for (ty, given, expected) in [
        (Type::Text, " 漏油 ", Some(Value::from(" 漏油 "))),
        (Type::Integer, " 12 ", Some(Value::Int(12))),
        (Type::Integer, "１２", Some(Value::Int(12))),
        (Type::Integer, "1.5", None),
        (Type::Integer, "", Some(Value::Null)),
        (Type::Km, "-1", None),
        (Type::Km, "12,500 公里", Some(Value::Int(12_500))),
        (Type::Km, "800km", Some(Value::Int(800))),
        (Type::Km, "3万公里", None),
        (Type::Labour, "1.5 小时", Some(Value::Int(150))),
        (Type::Labour, "1.25", Some(Value::Int(125))),
        (Type::Quantity, "2.5 箱", Some(Value::measured(2500, "箱"))),
        (Type::Quantity, "-38件", Some(Value::measured(-38_000, "件"))),
        (Type::Quantity, "7", Some(Value::measured(7000, "件"))),
        (Type::Quantity, "many", None),
        (Type::Money, "19.99", Some(Value::measured(1999, "CNY"))),
        (Type::Money, "USD 1,551.5", Some(Value::measured(155_150, "USD"))),
        (Type::Money, "19.9 EUR", Some(Value::measured(1990, "EUR"))),
        (Type::Money, "￥20", Some(Value::measured(2000, "CNY"))),
        (Type::Money, "20元", Some(Value::measured(2000, "CNY"))),
        (Type::Money, "20 dollars", None),
        (Type::Date, "2026-11-23", Some(Value::Int(i64::from(day.0)))),
        (Type::Date, "2026-02-30", None),
        (Type::Time, "2026-11-23", at("2026-11-23T00:00:00+08:00")),
        (Type::Due, "2026-11-23", at("2026-11-23T23:59:59.999+08:00")),
        (Type::Time, "2026-11-23 08:30", at("2026-11-23T08:30:00+08:00")),
        (Type::Due, "2026-11-23T08:30:00Z", at("2026-11-23T08:30:00Z")),
        (Type::Time, "soon", None),
        (Type::Flag, "是", Some(Value::Flag(true))),
        (Type::Flag, "No", Some(Value::Flag(false))),
        (Type::Flag, "2", None),
        (Type::Choice(COLOURS), "红", Some(Value::from("red"))),
        (Type::Choice(COLOURS), "BLUE", Some(Value::from("blue"))),
        (Type::Choice(COLOURS), "green", None),
        (Type::Link("survey"), "no id", None),
    ] {
        assert_eq!(text(ty, given, &[]), expected, "{} {given:?}", ty.name());
    }
}

#[test]
fn named_formats_replace_the_iso_one() {
    for (ty, given, formats, expected) in [
        (Type::Due, "02-Jun-06", &["%d-%b-%y"][..], at("2006-06-02T23:59:59.999+08:00")),
        (Type::Time, "2-Jun-06", &["%d-%b-%y"][..], at("2006-06-02T00:00:00+08:00")),
        (Type::Time, "12/1/2010 8:26", &["%m/%d/%Y %H:%M"][..], at("2010-12-01T08:26:00+08:00")),
        (Type::Time, "20101201", &["%m/%d/%Y", "%Y%m%d"][..], at("2010-12-01T00:00:00+08:00")),
        (Type::Time, "2010-12-01", &["%m/%d/%Y"][..], None),
        (Type::Time, "31/31/2010", &["%m/%d/%Y"][..], None),
    ] {
        assert_eq!(text(ty, given, formats), expected, "{given}");
    }
}

#[test]
fn currencies_are_known_by_their_usual_names() {
    let zone = shanghai();
    let check = |text: &str, unit: Option<&str>, expected: Option<(i64, &str)>| {
        let read = from_text(Type::Money, text, &Reading { zone: &zone, unit, formats: &[] }).ok();
        assert_eq!(read, expected.map(|(minor, currency)| Value::measured(minor, currency)), "{text} {unit:?}");
    };
    for name in ["RMB", "人民币", "元", "¥", "cny"] {
        check("19.99", Some(name), Some((1999, "CNY")));
    }
    check("19.99", Some("美元"), Some((1999, "USD")));
    check("19.99 usd", None, Some((1999, "USD")));
    check("RMB 19.99", None, Some((1999, "CNY")));
    check("€ 19.99", Some("USD"), Some((1999, "EUR")));
    check("$19.99", Some("hkd"), Some((1999, "HKD")));
    check("$19.99", None, None);
    check("¥1999", Some("JPY"), Some((199_900, "JPY")));
    check("¥1999", Some("USD"), Some((199_900, "CNY")));
    check("19.99", Some("dollars"), None);
}

#[test]
fn json_is_read_by_type() {
    let zone = shanghai();
    for (ty, given, expected) in [
        (Type::Text, json!("x"), Some(Value::from("x"))),
        (Type::Text, json!(1), None),
        (Type::Text, json!(null), Some(Value::Null)),
        (Type::Integer, json!(12), Some(Value::Int(12))),
        (Type::Integer, json!(1.5), None),
        (Type::Labour, json!(1.25), Some(Value::Int(125))),
        (Type::Money, json!({"amount": "19.99", "currency": "USD"}), Some(Value::measured(1999, "USD"))),
        (Type::Money, json!([1999, "CNY"]), Some(Value::measured(1999, "CNY"))),
        (Type::Money, json!([1999, "元"]), None),
        (Type::Money, json!({"amount": "19.999"}), None),
        (Type::Quantity, json!({"quantity": "2.5", "unit": "件"}), Some(Value::measured(2500, "件"))),
        (Type::Quantity, json!([2500, "箱"]), Some(Value::measured(2500, "箱"))),
        (Type::Quantity, json!([2.5, "箱"]), None),
        (Type::Flag, json!(true), Some(Value::Flag(true))),
        (Type::Time, json!(1_760_000_000_000_i64), None),
        (Type::Choice(COLOURS), json!("红"), Some(Value::from("red"))),
    ] {
        assert_eq!(from_json(ty, &given, &Reading::plain(&zone)).ok(), expected, "{} {given}", ty.name());
    }
}

#[test]
fn what_is_written_reads_back() {
    let zone = shanghai();
    for (ty, value, text) in [
        (Type::Money, Value::measured(-1990, "CNY"), "-19.90 CNY"),
        (Type::Quantity, Value::measured(2500, "件"), "2.5 件"),
        (Type::Labour, Value::Int(125), "1.25"),
        (Type::Money, Value::Null, ""),
        (Type::Quantity, Value::Null, ""),
        (Type::Date, Value::Int(0), "1970-01-01"),
        (Type::Due, at("2026-11-23T23:59:59.999+08:00").unwrap(), "2026-11-23T23:59:59.999+08:00"),
        (Type::Time, at("2026-11-23T08:30:00+08:00").unwrap(), "2026-11-23T08:30:00+08:00"),
        (Type::Due, at("-000500-11-23T00:00:00.001Z").unwrap(), "-000500-11-23T08:05:00.001+08:05"),
        (Type::Flag, Value::Flag(true), "true"),
        (Type::Choice(COLOURS), Value::from("red"), "red"),
    ] {
        assert_eq!(to_text(ty, &value, &zone), text);
        assert_eq!(from_text(ty, text, &Reading::plain(&zone)), Ok(value.clone()), "{text}");
        assert_eq!(from_json(ty, &to_json(ty, &value, &zone), &Reading::plain(&zone)), Ok(value), "{text}");
    }
}

#[test]
fn all_that_is_wrong_with_a_set_is_said_at_once() {
    let kind = kind::find("repair_order").unwrap();
    let set = json!({ "odometer": "far", "colour": "red", "part#1.price": "1.999", "vin": "x", "custom.a": 1 });
    let problems = set_from_json(kind, set.as_object().unwrap(), &shanghai()).unwrap_err();
    let fields: Vec<&str> = problems.iter().filter_map(|problem| problem.field.as_deref()).collect();
    assert_eq!(fields, ["colour", "odometer", "part#1.price"]);
    assert!(problems[0].zh.contains("没有这个字段") && problems[1].en.contains("kilometres"));
    let good = json!({ "odometer": 12_000, "part#1.price": "1.99", "vin": null });
    assert_eq!(set_from_json(kind, good.as_object().unwrap(), &shanghai()).unwrap().len(), 3);
}

#[test]
fn what_is_no_unit_is_no_quantity() {
    let zone = crate::time::zone("").unwrap();
    let stated = Reading { unit: Some("包"), ..Reading::plain(&zone) };
    let read = |text: &str, reading: &Reading<'_>| from_text(Type::Quantity, text, reading).ok();
    for text in ["1e3", "1.5E3", "0x10", "5%", "12 x", "3 件"] {
        assert_eq!(read(text, &stated), None, "{text}");
    }
    assert_eq!(read("12 包", &stated), Some(Value::measured(12_000, "包")));
    assert_eq!(read("1e3", &Reading::plain(&zone)), None);
    for unit in ["1e3", "", " 件"] {
        assert!(from_json(Type::Quantity, &json!([5, unit]), &Reading::plain(&zone)).is_err(), "'{unit}'");
    }
    let blank = Reading { unit: Some(" "), ..Reading::plain(&zone) };
    assert_eq!(read("5", &blank), Some(Value::measured(5_000, "件")));
    assert_eq!(read("2.5 件", &Reading::plain(&zone)), Some(Value::measured(2_500, "件")));
}

#[test]
fn a_count_in_progress_does_not_tell_what_is_expected() {
    let set: BTreeMap<String, Value> = ["item#1.counted", "item#1.expected", "custom.colour", "later"]
        .map(|key| (key.to_owned(), Value::measured(1_000, "件")))
        .into();
    let keys = |state| {
        let shown = fields_json(kind::find("count_sheet"), state, &set, &shanghai());
        shown.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys("open"), "custom.colour item#1.counted later");
    assert_eq!(keys("locked"), "custom.colour item#1.counted item#1.expected later");
}
