//! What people and programs write, read by declared type, and written again.

use serde_json::Value as Json;
use waystation_agent::layout::{escaped, guarded, unguarded};
use waystation_protocol::form::{self, Reading};
use waystation_protocol::kind::{KINDS, repair_order};
use waystation_protocol::time::zone;
use waystation_protocol::value::{Type, Value};

use super::Input;

const TYPES: [Type; 12] = [
    Type::Text,
    Type::Integer,
    Type::Km,
    Type::Quantity,
    Type::Money,
    Type::Labour,
    Type::Date,
    Type::Time,
    Type::Due,
    Type::Flag,
    Type::Choice(repair_order::OUTCOMES),
    Type::Link("stock_movement"),
];
const UNITS: [Option<&str>; 5] = [None, None, Some("包"), Some("USD"), Some("m/s")];
const FORMATS: [&[&str]; 4] = [&[], &[], &["%d-%b-%y", "%Y/%m/%d %H:%M"], &["%d.%m.%Y", "%s", "%FT%T%z"]];
const ZONES: [&str; 4] = ["Asia/Shanghai", "UTC", "America/New_York", "Asia/Kathmandu"];

/// One text, or one JSON value, as a value of one type.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (ty, is_json) = (input.pick(&TYPES), input.byte() % 2 == 1);
    let (unit, formats, zone) = (input.pick(&UNITS), input.pick(&FORMATS), input.pick(&ZONES));
    let zone = self::zone(zone).expect("the zone is bundled");
    let formats: Vec<String> = formats.iter().map(|format| (*format).to_owned()).collect();
    let reading = Reading { zone: &zone, unit, formats: &formats };
    let text = input.rest_text();
    guards(&text);
    let read = match (is_json, serde_json::from_str::<Json>(&text)) {
        (true, Ok(json)) => {
            sets(&json, &zone);
            form::from_json(ty, &json, &reading)
        }
        _ => form::from_text(ty, &text, &reading),
    };
    if let Ok(value) = read {
        assert!(ty.fits(&value), "{text:?} was read as {value:?}, which is no {}", ty.name());
        comes_back(ty, &value, &zone);
    }
}

/// A value that was accepted is read again from what is written of it.
fn comes_back(ty: Type, value: &Value, zone: &jiff::tz::TimeZone) {
    let plain = Reading::plain(zone);
    let text = form::to_text(ty, value, zone);
    // A text field takes the empty text as it stands.
    let is_nothing = (ty, value) == (Type::Text, &Value::Null);
    assert!(!is_nothing || text.is_empty());
    if is_nothing {
        return;
    }
    assert_eq!(form::from_text(ty, &text, &plain).as_ref(), Ok(value), "{} as text {text:?}", ty.name());
    let json = form::to_json(ty, value, zone);
    assert_eq!(form::from_json(ty, &json, &plain).as_ref(), Ok(value), "{} as JSON {json}", ty.name());
}

/// An apostrophe goes before what looks like a formula, and only that, and is taken off again.
fn guards(text: &str) {
    let (in_csv, in_workbook) = (guarded(text), escaped(text));
    assert_eq!((unguarded(&in_csv), unguarded(&in_workbook)), (text, text));
    assert!(
        !in_csv.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']),
        "{in_csv:?} is run as a formula"
    );
    let custom = form::custom_from_text(text);
    let again = form::custom_from_text(&form::custom_to_text(&custom));
    assert!(again == custom || custom == Value::Null, "{custom:?} comes back as {again:?}");
}

fn sets(json: &Json, zone: &jiff::tz::TimeZone) {
    let Some(set) = json.as_object() else { return };
    for kind in KINDS {
        if let Ok(values) = form::set_from_json(kind, set, zone) {
            assert_eq!(values.len(), set.len(), "no key is lost");
        }
    }
}
