//! Documents as people see them, and what else pages and the API say of them. How values become JSON and exact text,
//! and are read from it, is the protocol's `form`.

use jiff::tz::TimeZone;
use waystation_protocol::document::{Document, Party};
use waystation_protocol::form;
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::{Type, Value};

use crate::pages::Lang;

/// A value as people read it: labels for choices, local time to the minute.
#[must_use]
pub fn display(ty: Option<Type>, value: &Value, zone: &TimeZone, lang: Lang) -> String {
    match (ty, value) {
        (Some(Type::Choice(choices)), Value::Text(name)) => {
            let choice = choices.iter().find(|choice| choice.name == name);
            choice.map_or_else(|| name.clone(), |choice| lang.pick(choice.zh, choice.en).to_owned())
        }
        (_, Value::Flag(flag)) => if *flag { lang.yes() } else { lang.no() }.to_owned(),
        (Some(Type::Time | Type::Due), Value::Int(ms)) => form::local_minute(Timestamp(*ms), zone),
        (Some(Type::Km), Value::Int(km)) => format!("{km} km"),
        (Some(ty), _) => form::to_text(ty, value, zone),
        (None, Value::Text(text)) => text.clone(),
        (None, _) => form::custom_to_text(value),
    }
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

#[cfg(test)]
mod tests {
    use waystation_protocol::time;
    use waystation_protocol::value::{Choice, choice};

    use super::*;

    const COLOURS: &[Choice] = &[choice("red", "红", "Red")];

    fn check(ty: Type, value: Value, zh: &str) {
        let zone = time::zone("").unwrap();
        assert_eq!(display(Some(ty), &value, &zone, Lang::Zh), zh, "{ty:?}");
    }

    #[test]
    fn people_read_labels_units_and_local_time() {
        check(Type::Money, Value::measured(-5, "CNY"), "-0.05 CNY");
        check(Type::Quantity, Value::measured(2_500, "件"), "2.5 件");
        check(Type::Labour, Value::Int(125), "1.25");
        check(Type::Date, Value::Int(20_000), "2024-10-04");
        check(Type::Time, Value::Int(0), "1970-01-01 08:00");
        check(Type::Due, Value::Int(57_599_999), "1970-01-01 23:59");
        check(Type::Choice(COLOURS), Value::from("red"), "红");
        check(Type::Choice(COLOURS), Value::from("blue"), "blue");
        check(Type::Flag, Value::Flag(true), "是");
        check(Type::Km, Value::Int(12), "12 km");
        check(Type::Money, Value::from("damaged"), "damaged");
    }
}
