//! Between what people and programs write and what documents hold: JSON and text to values and back, by declared type.
//!
//! The APIs of both sides, lists, exports and the import mapping all go through here, so a date or an amount is read in
//! one way, and what is shown can be given back. What is read without a zone, currency or unit takes those of its
//! [`Reading`]. No floating point is involved.

mod decimal;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::document::capture::Problem;
use crate::document::field::Key;
use crate::kind::Kind;
use crate::time::{Day, Timestamp};
use crate::value::{Type, Value};
use jiff::civil;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

/// The currency of an amount that names none.
pub const DEFAULT_CURRENCY: &str = "CNY";
/// The unit of a quantity that names none.
pub const DEFAULT_UNIT: &str = "件";

/// How text that does not say everything is read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The zone of dates and times that name none.
    pub zone: &'a TimeZone,
    /// The currency of amounts or the unit of quantities that name none.
    pub unit: Option<&'a str>,
    /// Formats of dates and times, in strptime's letters, tried in turn; ISO 8601 where empty.
    pub formats: &'a [String],
}

/// What was given is not of the field's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

impl<'a> Reading<'a> {
    /// ISO dates in `zone`, the usual currency and unit.
    pub const fn plain(zone: &'a TimeZone) -> Reading<'a> {
        Reading { zone, unit: None, formats: &[] }
    }
}

/// Reads the `set` object of a request. Everything that is wrong is said at once.
pub fn set_from_json(
    kind: &Kind,
    set: &serde_json::Map<String, Json>,
    zone: &TimeZone,
) -> Result<BTreeMap<String, Value>, Vec<Problem>> {
    let mut values = BTreeMap::new();
    let mut problems = Vec::new();
    for (key, json) in set {
        match value_from_json(kind, key, json, zone) {
            Ok(value) => {
                values.insert(key.clone(), value);
            }
            Err(wrong) => problems.push(Problem::at(key, wrong.zh, wrong.en)),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

fn value_from_json(kind: &Kind, key: &str, json: &Json, zone: &TimeZone) -> Result<Value, Mismatch> {
    if let Some(Key::Custom(_)) = Key::parse(key) {
        return serde_json::from_value(json.clone()).map_err(|error| Mismatch {
            zh: "须为空、是否、整数、文字或其列表".into(),
            en: format!("expected null, a flag, a whole number, text or a list of these: {error}"),
        });
    }
    let field = kind.field_at(key).ok_or_else(|| Mismatch {
        zh: format!("{}没有这个字段", kind.zh),
        en: format!("{} has no such field", kind.name),
    })?;
    from_json(field.ty, json, &Reading::plain(zone))
}

/// Reads one JSON value as a value of `ty`.
pub fn from_json(ty: Type, json: &Json, reading: &Reading<'_>) -> Result<Value, Mismatch> {
    let refuse = || mismatch(ty, &json.as_str().map_or_else(|| json.to_string(), str::to_owned));
    match (ty, json) {
        (_, Json::Null) => Ok(Value::Null),
        (Type::Flag, Json::Bool(flag)) => Ok(Value::Flag(*flag)),
        (Type::Text, Json::String(text)) => Ok(Value::from(text.as_str())),
        (_, Json::String(text)) => from_text(ty, text, reading).map_err(|_| refuse()),
        (Type::Integer | Type::Km | Type::Labour | Type::Quantity | Type::Money, Json::Number(number)) => {
            from_text(ty, &number.to_string(), reading).map_err(|_| refuse())
        }
        (Type::Money, Json::Object(parts)) => measured(parts.get("amount"), parts.get("currency"), ty, reading),
        (Type::Quantity, Json::Object(parts)) => measured(parts.get("quantity"), parts.get("unit"), ty, reading),
        (Type::Money | Type::Quantity, Json::Array(items)) => match items.as_slice() {
            [Json::Number(number), Json::String(unit)] => {
                let value = number.as_i64().map(|number| Value::measured(number, unit)).ok_or_else(refuse)?;
                let is_written_so = ty == Type::Money || unit_named(unit) == Some(unit);
                checked(ty, value).filter(|_| is_written_so).ok_or_else(refuse)
            }
            _ => Err(refuse()),
        },
        _ => Err(refuse()),
    }
}

fn measured(number: Option<&Json>, unit: Option<&Json>, ty: Type, reading: &Reading<'_>) -> Result<Value, Mismatch> {
    let shown = || format!("{} {}", number.unwrap_or(&Json::Null), unit.unwrap_or(&Json::Null));
    let text = match number {
        Some(Json::String(text)) => text.clone(),
        Some(Json::Number(number)) => number.to_string(),
        Some(_) | None => return Err(mismatch(ty, &shown())),
    };
    let unit = match unit {
        None | Some(Json::Null) => reading.unit,
        Some(Json::String(unit)) => Some(unit.as_str()),
        Some(_) => return Err(mismatch(ty, &shown())),
    };
    from_text(ty, &text, &Reading { unit, ..*reading }).map_err(|_| mismatch(ty, &shown()))
}

/// Reads text as a value of `ty`. Text fields take it as it stands; elsewhere blanks around it and full-width
/// characters do not matter, and text that is blank means nothing: null.
pub fn from_text(ty: Type, text: &str, reading: &Reading<'_>) -> Result<Value, Mismatch> {
    if ty == Type::Text {
        return Ok(Value::from(text));
    }
    let folded = fold_width(text);
    let plain = folded.trim();
    if plain.is_empty() {
        return Ok(Value::Null);
    }
    let value = match ty {
        Type::Text => Some(Value::from(plain)),
        Type::Integer => decimal::parse(plain, 0).map(Value::Int),
        Type::Km => decimal::parse(without(plain, &["公里", "千米", "km", "KM", "Km"]), 0).map(Value::Int),
        Type::Labour => decimal::parse(without(plain, &["小时", "工时", "h", "H"]), 2).map(Value::Int),
        Type::Quantity => quantity(plain, reading),
        Type::Money => money(plain, reading),
        Type::Date => date(plain, reading).map(|day| Value::Int(i64::from(day.0))),
        Type::Time => instant(plain, reading, |day| day.start(reading.zone)).map(|at| Value::Int(at.0)),
        Type::Due => instant(plain, reading, |day| day.end(reading.zone)).map(|at| Value::Int(at.0)),
        Type::Flag => flag(plain).map(Value::Flag),
        Type::Choice(choices) => choices
            .iter()
            .find(|choice| {
                let is_label = |label: &str| fold_width(label).eq_ignore_ascii_case(plain);
                choice.name == plain || is_label(choice.zh) || is_label(choice.en)
            })
            .map(|choice| Value::from(choice.name)),
        Type::Link(_) => Some(Value::from(plain)),
    };
    value.and_then(|value| checked(ty, value)).ok_or_else(|| mismatch(ty, text))
}

/// A number without the unit it can only have.
fn without<'a>(text: &'a str, units: &[&str]) -> &'a str {
    units.iter().find_map(|unit| text.strip_suffix(unit)).unwrap_or(text).trim_end()
}

fn checked(ty: Type, value: Value) -> Option<Value> {
    ty.fits(&value).then_some(value)
}

/// Digits, signs and letters as a Chinese input method writes them, in ASCII.
fn fold_width(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let fold = |character: char| match character {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
        '\u{3000}' | '\u{a0}' => ' ',
        '\u{2212}' => '-',
        other => other,
    };
    Cow::Owned(text.chars().map(fold).collect())
}

fn quantity(text: &str, reading: &Reading<'_>) -> Option<Value> {
    let (number, unit) = decimal::split_unit(text);
    let stated = reading.unit.map(str::trim).filter(|unit| !unit.is_empty());
    let unit = match (unit, stated) {
        ("", stated) => stated.unwrap_or(DEFAULT_UNIT),
        (own, Some(stated)) if own != stated => return None,
        (own, _) => own,
    };
    let unit = unit_named(unit)?;
    decimal::parse(number, 3).map(|milli| Value::measured(milli, unit))
}

/// The unit that a text names. A digit or a sign in it is none: 1e3, 0x10 and 5 % are not quantities.
fn unit_named(text: &str) -> Option<&str> {
    let text = text.trim();
    let is_unit = text.chars().all(|character| character.is_alphabetic() || matches!(character, '/' | '·' | ' '));
    (is_unit && !text.is_empty()).then_some(text)
}

/// `19.99`, `19.99 CNY`, `CNY 19.99`, `¥19.99`, `€19.99`; `$19.99` only where the reading says whose dollar it is.
fn money(text: &str, reading: &Reading<'_>) -> Option<Value> {
    let told = reading.unit.map(currency);
    let symbol = || {
        let symbol = text.chars().next().filter(|first| matches!(first, '¥' | '￥' | '€' | '£' | '$'))?;
        let (sign, number) = text.split_at(symbol.len_utf8());
        let is_told = sign == "$" || told.as_deref() == Some("JPY");
        Some((number.trim(), if is_told { told.as_deref()? } else { sign }))
    };
    let code = || {
        let (before, after) = text.split_once(' ')?;
        before.bytes().all(|byte| byte.is_ascii_uppercase()).then_some((after.trim(), before))
    };
    let (number, named) = symbol().or_else(code).unwrap_or_else(|| decimal::split_unit(text));
    let currency = match named {
        "" => told.unwrap_or(DEFAULT_CURRENCY.into()),
        named => currency(named),
    };
    decimal::parse(number, 2).map(|minor| Value::measured(minor, &currency))
}

/// A currency's code, by whichever usual name: `RMB`, `元` and `人民币` are `CNY`. Other texts stay as they are, in capitals
/// where they could be codes.
pub fn currency(name: &str) -> Cow<'_, str> {
    let name = name.trim();
    Cow::Borrowed(match name {
        "元" | "圆" | "人民币" | "人民币元" | "¥" | "￥" | "RMB" | "rmb" => "CNY",
        "美元" | "US$" => "USD",
        "欧元" | "€" => "EUR",
        "英镑" | "£" => "GBP",
        "日元" | "日圆" => "JPY",
        "港元" | "港币" | "HK$" => "HKD",
        code if code.len() == 3 && code.bytes().any(|byte| byte.is_ascii_lowercase()) => {
            return Cow::Owned(code.to_ascii_uppercase());
        }
        other => other,
    })
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "y" | "是" => Some(true),
        "false" | "0" | "no" | "n" | "否" => Some(false),
        _ => None,
    }
}

fn date(text: &str, reading: &Reading<'_>) -> Option<Day> {
    if reading.formats.is_empty() {
        return text.parse().ok();
    }
    let parsed = reading.formats.iter().find_map(|format| parsed(format, text)?.to_date().ok());
    parsed.map(Day::from_civil)
}

/// What a format reads of a text; `%p` takes 上午 and 下午 too. A year below 1000 is one of too few digits, which jiff's
/// `%Y` takes as well: `4/1/24` is not of the year 24.
fn parsed(format: &str, text: &str) -> Option<BrokenDownTime> {
    let text = match text.contains('午') {
        true => Cow::Owned(text.replace("上午", "AM").replace("下午", "PM")),
        false => Cow::Borrowed(text),
    };
    let parsed = strtime::parse(format, text.as_ref()).ok()?;
    let year = parsed.year().or(parsed.iso_week_year());
    year.is_none_or(|year| year >= 1000).then_some(parsed)
}

/// An instant, or what `whole_day` makes of a date alone.
fn instant(text: &str, reading: &Reading<'_>, whole_day: impl Fn(Day) -> Timestamp) -> Option<Timestamp> {
    for format in reading.formats {
        let Some(parsed) = parsed(format, text) else { continue };
        if parsed.hour().is_none() {
            return parsed.to_date().ok().map(|date| whole_day(Day::from_civil(date)));
        }
        return match parsed.to_timestamp() {
            Ok(at) => Some(Timestamp(at.as_millisecond())),
            Err(_) => parsed.to_datetime().ok().map(|at| Timestamp::from_civil(at, reading.zone)),
        };
    }
    if !reading.formats.is_empty() {
        return None;
    }
    if !text.contains(':') {
        return text.parse::<Day>().ok().map(whole_day);
    }
    let stated = text.parse::<Timestamp>().ok();
    stated.or_else(|| text.parse::<civil::DateTime>().ok().map(|at| Timestamp::from_civil(at, reading.zone)))
}

/// A value as JSON: amounts and quantities as objects with decimal text, dates and instants as ISO text.
pub fn to_json(ty: Type, value: &Value, zone: &TimeZone) -> Json {
    match (ty, value) {
        (Type::Money, value) => match value.as_measured() {
            Some((minor, currency)) => json!({ "amount": decimal::print(minor, 2), "currency": currency }),
            None => raw_json(value),
        },
        (Type::Quantity, value) => match value.as_measured() {
            Some((milli, unit)) => json!({ "quantity": decimal::print_short(milli, 3), "unit": unit }),
            None => raw_json(value),
        },
        (Type::Labour | Type::Date | Type::Time | Type::Due, Value::Int(_)) => Json::String(to_text(ty, value, zone)),
        (_, value) => raw_json(value),
    }
}

/// A value as this build's JSON writes it where no declaration says more.
fn raw_json(value: &Value) -> Json {
    serde_json::to_value(value).unwrap_or(Json::Null)
}

/// A value as text that [`from_text`] reads back: for CSV files.
pub fn to_text(ty: Type, value: &Value, zone: &TimeZone) -> String {
    match (ty, value) {
        (_, Value::Null) => String::new(),
        (Type::Labour, Value::Int(hundredths)) => decimal::print_short(*hundredths, 2),
        (Type::Date, Value::Int(day)) => {
            i32::try_from(*day).map_or_else(|_| day.to_string(), |day| Day(day).to_string())
        }
        (Type::Time | Type::Due, Value::Int(ms)) => exact_rfc3339(Timestamp(*ms), zone),
        (Type::Money, Value::List(_)) => value.as_measured().map_or_else(
            || raw_json(value).to_string(),
            |(minor, currency)| format!("{} {currency}", decimal::print(minor, 2)),
        ),
        (Type::Quantity, Value::List(_)) => value.as_measured().map_or_else(
            || raw_json(value).to_string(),
            |(milli, unit)| format!("{} {unit}", decimal::print_short(milli, 3)).trim_end().to_owned(),
        ),
        (_, Value::Flag(flag)) => flag.to_string(),
        (_, Value::Int(number)) => number.to_string(),
        (_, Value::Text(text)) => text.clone(),
        (_, Value::List(_)) => raw_json(value).to_string(),
    }
}

/// A value of a field the hub defined, whose type this build need not know: JSON where it is some, else text.
pub fn custom_from_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// The text that [`custom_from_text`] reads back. Text that JSON would read as something else is quoted.
pub fn custom_to_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(text) if serde_json::from_str::<Value>(text).is_err() => text.clone(),
        value => raw_json(value).to_string(),
    }
}

/// `2026-11-23 08:30` in `zone`.
pub fn local_minute(at: Timestamp, zone: &TimeZone) -> String {
    at.civil(zone).strftime("%Y-%m-%d %H:%M").to_string()
}

/// Whether a field may be shown in a state: what is expected of a count is hidden until it is locked.
#[must_use]
pub fn is_shown(kind: Option<&Kind>, key: &str, state: &str) -> bool {
    match (kind, kind.and_then(|kind| kind.field_at(key)?.hidden_until)) {
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
) -> serde_json::Map<String, Json> {
    let shown = set.iter().filter(|(key, _)| is_shown(kind, key, state));
    shown.map(|(key, value)| (key.clone(), field_json(kind, key, value, zone))).collect()
}

/// The value of the field a key names as JSON; as it came where the kind declares no such field.
#[must_use]
pub fn field_json(kind: Option<&Kind>, key: &str, value: &Value, zone: &TimeZone) -> Json {
    match kind.and_then(|kind| kind.field_at(key)) {
        Some(field) => to_json(field.ty, value, zone),
        None => raw_json(value),
    }
}

/// RFC 3339, with milliseconds where there are any: a due at the end of a day must not lose its last second.
fn exact_rfc3339(at: Timestamp, zone: &TimeZone) -> String {
    let mut text = at.rfc3339(zone);
    let ms = at.0.rem_euclid(1000);
    if ms != 0 {
        let seconds_end = text.find('T').map_or(text.len(), |at| at + "T08:30:00".len());
        text.insert_str(seconds_end, &format!(".{ms:03}"));
    }
    text
}

/// What was given, and what would fit.
pub fn mismatch(ty: Type, given: &str) -> Mismatch {
    let given: String = given.chars().take(60).collect();
    Mismatch {
        zh: format!("“{given}”不符：须为{}", ty.expectation_zh()),
        en: format!("'{given}' does not fit: expected {}", ty.expectation()),
    }
}
