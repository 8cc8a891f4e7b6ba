//! Documents as others see them: as JSON for programs, as text for people. The inverse of how agents read values.
//!
//! Quantities and amounts are decimal text made from whole numbers; instants are in the site's zone. Fields that are
//! hidden until a later state are left out, of documents and of their histories.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde_json::{Map, Value as Json, json};
use waystation_protocol::document::field::{Field, Key};
use waystation_protocol::document::{Document, Party};
use waystation_protocol::kind::{self, Kind};
use waystation_protocol::time::{Day, Timestamp};
use waystation_protocol::value::{Type, Value};

use crate::pages::Lang;
use crate::reports::Decimal;

/// A value as JSON, by its declared type; as it came where there is no declaration.
#[must_use]
pub fn value_json(ty: Option<Type>, value: &Value, zone: &TimeZone) -> Json {
    match (ty, value, value.as_measured()) {
        (Some(Type::Money), _, Some((minor, currency))) => json!({ "amount": amount(minor), "currency": currency }),
        (Some(Type::Quantity), _, Some((milli, unit))) => json!({ "quantity": thousandths(milli), "unit": unit }),
        (Some(Type::Labour | Type::Date | Type::Time | Type::Due), Value::Int(_), _) => {
            Json::String(value_text(ty, value, zone))
        }
        _ => serde_json::to_value(value).unwrap_or(Json::Null),
    }
}

/// A value as exact text.
fn value_text(ty: Option<Type>, value: &Value, zone: &TimeZone) -> String {
    match (ty, value) {
        (Some(Type::Labour), Value::Int(hundredths)) => decimal(*hundredths, 2).short(),
        (Some(Type::Date), Value::Int(day)) => i32::try_from(*day).map_or(day.to_string(), |day| Day(day).to_string()),
        (Some(Type::Time | Type::Due), Value::Int(ms)) => exact_instant(Timestamp(*ms), zone),
        (_, Value::Null) => String::new(),
        (_, Value::Flag(flag)) => flag.to_string(),
        (_, Value::Int(number)) => number.to_string(),
        (_, Value::Text(text)) => text.clone(),
        (_, Value::List(_)) => serde_json::to_string(value).unwrap_or_default(),
    }
}

/// A value as people read it: labels for choices, local time to the minute.
#[must_use]
pub fn display(ty: Option<Type>, value: &Value, zone: &TimeZone, lang: Lang) -> String {
    match (ty, value, value.as_measured()) {
        (Some(Type::Choice(choices)), Value::Text(name), _) => {
            let choice = choices.iter().find(|choice| choice.name == name);
            choice.map_or_else(|| name.clone(), |choice| lang.pick(choice.zh, choice.en).to_owned())
        }
        (_, Value::Flag(flag), _) => if *flag { lang.yes() } else { lang.no() }.to_owned(),
        (Some(Type::Time | Type::Due), Value::Int(ms), _) => minute(Timestamp(*ms), zone),
        (Some(Type::Km), Value::Int(km), _) => format!("{km} km"),
        (Some(Type::Money), _, Some((minor, currency))) => format!("{} {currency}", amount(minor)),
        (Some(Type::Quantity), _, Some((milli, unit))) => {
            format!("{} {unit}", thousandths(milli)).trim_end().to_owned()
        }
        _ => value_text(ty, value, zone),
    }
}

/// `2026-11-23 08:30` in `zone`.
#[must_use]
pub fn minute(at: Timestamp, zone: &TimeZone) -> String {
    at.civil(zone).strftime("%Y-%m-%d %H:%M").to_string()
}

/// RFC 3339, with milliseconds where there are any: a due at the end of a day must not lose its last second.
#[must_use]
pub fn exact_instant(at: Timestamp, zone: &TimeZone) -> String {
    let mut text = at.rfc3339(zone);
    let ms = at.0.rem_euclid(1000);
    if ms != 0
        && let Some(end) = text.find('T').map(|start| start + "T08:30:00".len())
    {
        text.insert_str(end, &format!(".{ms:03}"));
    }
    text
}

/// The declaration of the field a key names.
#[must_use]
pub fn field(kind: Option<&Kind>, key: &str) -> Option<&'static Field> {
    match Key::parse(key)? {
        Key::Field(name) => kind?.field(name),
        Key::Line { group, field, .. } => kind?.line_field(group, field),
        Key::Custom(_) => None,
    }
}

/// Whether a field may be shown in a state.
#[must_use]
pub fn is_shown(kind: Option<&Kind>, key: &str, state: &str) -> bool {
    match (kind, field(kind, key).and_then(|field| field.hidden_until)) {
        (Some(kind), Some(until)) => kind.has_reached(state, until),
        _ => true,
    }
}

/// Fields as a JSON object, without those hidden in `state`.
#[must_use]
pub fn fields_json(
    kind: Option<&Kind>,
    state: &str,
    set: &BTreeMap<String, Value>,
    zone: &TimeZone,
) -> Map<String, Json> {
    let shown = set.iter().filter(|(key, _)| is_shown(kind, key, state));
    shown.map(|(key, value)| (key.clone(), value_json(field(kind, key).map(|field| field.ty), value, zone))).collect()
}

/// A document's fields as a JSON object.
#[must_use]
pub fn document_fields(document: &Document, zone: &TimeZone) -> Map<String, Json> {
    fields_json(kind::find(&document.kind), &document.state, &document.fields, zone)
}

/// Who holds the pen: `hub`, or `site:` and its id.
#[must_use]
pub fn pen(document: &Document) -> String {
    match &document.pen {
        Party::Hub => "hub".to_owned(),
        Party::Site(site) => format!("site:{site}"),
    }
}

/// The document's digest, in hexadecimal.
#[must_use]
pub fn digest(document: &Document) -> String {
    data_encoding::HEXLOWER.encode(&document.digest())
}

fn decimal(scaled: i64, places: u32) -> Decimal {
    Decimal { scaled: i128::from(scaled), places }
}

fn amount(minor: i64) -> String {
    decimal(minor, 2).fixed()
}

fn thousandths(milli: i64) -> String {
    decimal(milli, 3).short()
}

#[cfg(test)]
mod tests {
    use waystation_protocol::kind::count_sheet::COUNT_SHEET;
    use waystation_protocol::time;
    use waystation_protocol::value::{Choice, choice};

    use super::*;

    const COLOURS: &[Choice] = &[choice("red", "红", "Red")];

    fn check(ty: Type, value: Value, json: Json, zh: &str) {
        let zone = time::zone("").unwrap();
        assert_eq!(value_json(Some(ty), &value, &zone), json, "{ty:?}");
        assert_eq!(display(Some(ty), &value, &zone, Lang::Zh), zh, "{ty:?}");
    }

    #[test]
    fn values_are_shown_as_agents_read_them() {
        check(Type::Money, Value::measured(-5, "CNY"), json!({"amount": "-0.05", "currency": "CNY"}), "-0.05 CNY");
        check(Type::Quantity, Value::measured(2_500, "件"), json!({"quantity": "2.5", "unit": "件"}), "2.5 件");
        check(Type::Labour, Value::Int(125), json!("1.25"), "1.25");
        check(Type::Date, Value::Int(20_000), json!("2024-10-04"), "2024-10-04");
        check(Type::Time, Value::Int(0), json!("1970-01-01T08:00:00+08:00"), "1970-01-01 08:00");
        check(Type::Due, Value::Int(57_599_999), json!("1970-01-01T23:59:59.999+08:00"), "1970-01-01 23:59");
        check(Type::Choice(COLOURS), Value::from("red"), json!("red"), "红");
        check(Type::Choice(COLOURS), Value::from("blue"), json!("blue"), "blue");
        check(Type::Flag, Value::Flag(true), json!(true), "是");
        check(Type::Km, Value::Int(12), json!(12), "12 km");
        check(Type::Money, Value::from("damaged"), json!("damaged"), "damaged");
    }

    #[test]
    fn a_count_in_progress_does_not_tell_what_is_expected() {
        let set: BTreeMap<String, Value> = ["item#1.counted", "item#1.expected", "custom.colour", "later"]
            .map(|key| (key.to_owned(), Value::measured(1_000, "件")))
            .into();
        let keys = |state| {
            let zone = time::zone("").unwrap();
            fields_json(Some(&COUNT_SHEET), state, &set, &zone).keys().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(keys("open"), "custom.colour item#1.counted later");
        assert_eq!(keys("locked"), "custom.colour item#1.counted item#1.expected later");
    }
}
