//! Field values as entries carry them, and the types that give them meaning.
//!
//! A value on the wire is plain (null, flag, integer, text, or a short list), so a reader that does not know a field
//! keeps it whole. Quantities and money are integers with a unit: `[38000, "件"]` is 38 pieces in thousandths,
//! `[1999, "CNY"]` is 19.99 yuan in minor units. There is no floating point anywhere.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits;

/// One field's value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Value {
    /// Clears the field.
    #[default]
    Null,
    /// Yes or no.
    Flag(bool),
    /// A whole number: counts, kilometres, days, milliseconds, hundredths of an hour.
    Int(i64),
    /// Any text.
    Text(String),
    /// A number with its unit, or any list a newer build wrote.
    List(Vec<Value>),
}

/// Money in minor units (fen, cents) of an ISO 4217 currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    /// Minor units.
    pub minor: i64,
    /// Three capitals.
    pub currency: String,
}

/// A quantity in thousandths of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity {
    /// Thousandths.
    pub milli: i64,
    /// The unit's name as the outlet writes it.
    pub unit: String,
}

impl Money {
    /// `quantity × price`, rounded half to even to whole minor units; none beyond what a field may hold.
    pub fn of(quantity_milli: i64, price_minor: i64) -> Option<i64> {
        let product = i128::from(quantity_milli) * i128::from(price_minor);
        i64::try_from(half_even(product, 1000)).ok().filter(|minor| is_summable(*minor))
    }
}

/// `numerator / denominator` rounded half to even. The denominator is positive.
pub fn half_even(numerator: i128, denominator: i128) -> i128 {
    assert!(denominator > 0, "a ratio is taken over a positive denominator");
    let (quotient, rest) = (numerator.div_euclid(denominator), numerator.rem_euclid(denominator));
    match (rest * 2).cmp(&denominator) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + quotient.rem_euclid(2),
    }
}

impl Value {
    /// Text, if this is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Null | Value::Flag(_) | Value::Int(_) | Value::List(_) => None,
        }
    }

    /// The whole number, if this is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            Value::Null | Value::Flag(_) | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// The number and unit of a quantity or an amount of money.
    pub fn as_measured(&self) -> Option<(i64, &str)> {
        match self {
            Value::List(items) => match items.as_slice() {
                [Value::Int(number), Value::Text(unit)] => Some((*number, unit)),
                _ => None,
            },
            Value::Null | Value::Flag(_) | Value::Int(_) | Value::Text(_) => None,
        }
    }

    /// A number with its unit.
    pub fn measured(number: i64, unit: &str) -> Value {
        Value::List(vec![Value::Int(number), Value::Text(unit.to_owned())])
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Flag(flag)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Flag(flag) => serializer.serialize_bool(*flag),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => items.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a flag, a whole number, text, or a list of these")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map(Value::Int).map_err(|_| E::custom("whole number out of range"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        if text.len() > limits::TEXT_BYTES {
            return Err(E::custom("text longer than a field may be"));
        }
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }
}

/// One choice of a choice field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The stored value.
    pub name: &'static str,
    /// The label in Chinese.
    pub zh: &'static str,
    /// The label in English.
    pub en: &'static str,
}

/// Declares a choice.
pub const fn choice(name: &'static str, zh: &'static str, en: &'static str) -> Choice {
    Choice { name, zh, en }
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Free text.
    Text,
    /// A whole number.
    Integer,
    /// Kilometres.
    Km,
    /// Thousandths with a unit.
    Quantity,
    /// Minor units with a currency.
    Money,
    /// Hundredths of an hour.
    Labour,
    /// A civil day, stored as days since 1970-01-01.
    Date,
    /// An instant, stored as milliseconds since 1970-01-01T00:00:00Z. A date alone means its start.
    Time,
    /// An instant by which something is due. A date alone means its end.
    Due,
    /// Yes or no.
    Flag,
    /// One of the listed choices.
    Choice(&'static [Choice]),
    /// Another document, of the named kind.
    Link(&'static str),
}

impl Type {
    /// The type's name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Type::Text => "text",
            Type::Integer => "integer",
            Type::Km => "km",
            Type::Quantity => "quantity",
            Type::Money => "money",
            Type::Labour => "labour",
            Type::Date => "date",
            Type::Time => "time",
            Type::Due => "due",
            Type::Flag => "flag",
            Type::Choice(_) => "choice",
            Type::Link(_) => "link",
        }
    }

    /// Whether `value` is of this type. Null always is: it clears.
    pub fn fits(self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Null) | (Type::Text, Value::Text(_)) | (Type::Flag, Value::Flag(_)) => true,
            (Type::Integer | Type::Labour, Value::Int(number)) => is_summable(*number),
            (Type::Time | Type::Due, Value::Int(ms)) => limits::INSTANTS.contains(ms),
            (Type::Km, Value::Int(km)) => *km >= 0 && is_summable(*km),
            (Type::Date, Value::Int(day)) => i32::try_from(*day).is_ok(),
            (Type::Quantity, value) => value.as_measured().is_some_and(|(milli, _)| is_summable(milli)),
            (Type::Money, value) => {
                value.as_measured().is_some_and(|(minor, unit)| is_summable(minor) && is_currency(unit))
            }
            (Type::Choice(choices), Value::Text(text)) => choices.iter().any(|choice| choice.name == text),
            (Type::Link(_), Value::Text(text)) => text.parse::<crate::id::DocId>().is_ok(),
            _ => false,
        }
    }

    /// What the type wants, in words.
    pub fn expectation(self) -> String {
        match self {
            Type::Text => "text".into(),
            Type::Integer => "a whole number".into(),
            Type::Km => "kilometres as a whole number of 0 or more".into(),
            Type::Quantity => "a quantity with at most three decimals, such as 2.5 or 2.5 件".into(),
            Type::Money => "an amount with at most two decimals, such as 19.99 or 19.99 CNY".into(),
            Type::Labour => "hours with at most two decimals, such as 1.25".into(),
            Type::Date => "a date such as 2026-11-23".into(),
            Type::Time | Type::Due => {
                "an instant such as 2026-11-23 08:30 or 2026-11-23T08:30:00+08:00, or a date".into()
            }
            Type::Flag => "yes or no (true, false, 1, 0, 是, 否)".into(),
            Type::Choice(choices) => {
                let names: Vec<&str> = choices.iter().map(|choice| choice.name).collect();
                format!("one of {}", names.join(", "))
            }
            Type::Link(kind) => format!("the id of a {kind}"),
        }
    }

    /// The same in Chinese.
    pub fn expectation_zh(self) -> String {
        match self {
            Type::Text => "文字".into(),
            Type::Integer => "整数".into(),
            Type::Km => "不小于 0 的整数公里".into(),
            Type::Quantity => "数量，最多三位小数，如 2.5".into(),
            Type::Money => "金额，最多两位小数，如 19.99".into(),
            Type::Labour => "工时，最多两位小数，如 1.25".into(),
            Type::Date => "日期，如 2026-11-23".into(),
            Type::Time | Type::Due => "时间，如 2026-11-23 08:30，或日期".into(),
            Type::Flag => "是或否".into(),
            Type::Choice(choices) => {
                let labels: Vec<&str> = choices.iter().map(|choice| choice.zh).collect();
                format!("以下之一：{}", labels.join("、"))
            }
            Type::Link(kind) => format!("一张 {kind} 单据的标识"),
        }
    }
}

/// Sums of what a field holds must not overflow.
fn is_summable(number: i64) -> bool {
    (-limits::NUMBER..=limits::NUMBER).contains(&number)
}

fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_round_half_to_even() {
        for (quantity, price, amount) in
            [(1000, 1999, 1999), (1500, 1, 2), (2500, 1, 2), (-1500, 1, -2), (-500, 1, 0), (333, 100, 33)]
        {
            assert_eq!(Money::of(quantity, price), Some(amount), "{quantity} × {price}");
        }
        assert_eq!(Money::of(limits::NUMBER, 1000), Some(limits::NUMBER));
        assert_eq!(Money::of(limits::NUMBER, 2000), None);
        assert_eq!(Money::of(i64::MAX, i64::MAX), None);
    }

    #[test]
    fn a_value_survives_the_wire() {
        for value in [
            Value::Null,
            Value::Flag(true),
            Value::Int(i64::MIN),
            Value::from("漏油"),
            Value::measured(-38_000, "件"),
            Value::List(vec![Value::List(vec![]), Value::Int(1)]),
        ] {
            let bytes = crate::codec::encode(&value);
            assert_eq!(crate::codec::decode::<Value>(&bytes, 1000).unwrap(), value);
        }
    }

    #[test]
    fn a_type_refuses_what_it_does_not_hold() {
        const COLOURS: &[Choice] = &[choice("red", "红", "Red")];
        let table = [
            (Type::Text, Value::from("x"), true),
            (Type::Text, Value::Int(1), false),
            (Type::Km, Value::Int(-1), false),
            (Type::Money, Value::measured(1, "CNY"), true),
            (Type::Money, Value::measured(1, "元"), false),
            (Type::Money, Value::measured(limits::NUMBER, "CNY"), true),
            (Type::Money, Value::measured(limits::NUMBER + 1, "CNY"), false),
            (Type::Quantity, Value::measured(-limits::NUMBER, "件"), true),
            (Type::Quantity, Value::measured(i64::MIN, "件"), false),
            (Type::Integer, Value::Int(i64::MAX), false),
            (Type::Time, Value::Int(i64::MAX), false),
            (Type::Choice(COLOURS), Value::from("red"), true),
            (Type::Choice(COLOURS), Value::from("blue"), false),
            (Type::Link("claim"), Value::from("no id"), false),
            (Type::Date, Value::Int(i64::MAX), false),
            (Type::Flag, Value::Null, true),
        ];
        for (ty, value, good) in table {
            assert_eq!(ty.fits(&value), good, "{ty:?} {value:?}");
        }
    }
}
