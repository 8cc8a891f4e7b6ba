//! Short texts with a meaning: ids, site names, days, instants, zones, printed numbers, VINs, topics, keys.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use waystation_protocol::document::field::Key;
use waystation_protocol::id::{AgentId, DocId, EntryId};
use waystation_protocol::limits;
use waystation_protocol::number::{self, Series, Tag};
use waystation_protocol::site::SiteId;
use waystation_protocol::time::{Day, Timestamp, zone};
use waystation_protocol::topic;
use waystation_protocol::vin::{self, VinCheck};

use super::Input;

/// Every reader of short texts on one text.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let number = input.number();
    let text = input.rest_text();
    ids(&text);
    site(&text, number);
    times(&text, number);
    vin(&text);
    assert!(Key::parse(&text).is_none_or(|key| rebuilt(key, &text)), "a key's parts are all of it");
    let _ = number::is_valid(&text);
}

fn rebuilt(key: Key<'_>, text: &str) -> bool {
    match key {
        Key::Field(name) => name == text,
        Key::Custom(name) => format!("custom.{name}") == text,
        // A number may be written with zeros or a plus before it.
        Key::Line { group, field, .. } => text.starts_with(group) && text.ends_with(field),
    }
}

fn ids(text: &str) {
    same::<EntryId>(text);
    if let Some(id) = same::<DocId>(text) {
        assert_eq!(id.opening().opens(), id);
    }
    if let Some(agent) = same::<AgentId>(text) {
        assert_eq!(topic::sender(&topic::up(agent)), Some(agent));
    }
    if let Some(agent) = topic::sender(text) {
        assert_eq!(topic::sender(&topic::up(agent)), Some(agent));
    }
}

/// What a text is read as is read again from its own text.
fn same<T: FromStr + Display + Debug + PartialEq>(text: &str) -> Option<T> {
    let read = text.parse::<T>().ok()?;
    let again = read.to_string().parse::<T>().ok();
    assert_eq!(again.as_ref(), Some(&read), "{text:?} is read again as another");
    Some(read)
}

fn site(text: &str, number: u64) {
    let Some(site) = same::<SiteId>(text) else { return };
    assert!(site.as_str() == text && text.len() <= limits::SITE_BYTES, "a site's name is taken exactly");
    let (topic, code) = (site.topic_safe(), site.code());
    let is_safe = |character: char| character.is_ascii_alphanumeric() || character == '-';
    assert!(!topic.is_empty() && topic.len() <= 39 && topic.chars().all(is_safe), "{topic}");
    assert!((1..=10).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{code}");
    let letter = Tag::Letter(char::from(b'A' + (number % 26) as u8));
    let tag =
        if number.is_multiple_of(3) { Tag::provisional([(number >> 3) as u8, (number >> 9) as u8, 7]) } else { letter };
    let series = Series::new("WC", &site, tag, Day((number >> 8) as i32));
    let printed = series.number(number);
    assert!(number::is_valid(&printed), "{printed}");
    assert_eq!(Series::of_number(&printed), Some((series, number)), "{printed}");
    let at = number as usize % printed.len();
    let mut chars: Vec<char> = printed.chars().collect();
    if let Some(digit) = chars[at].to_digit(36) {
        chars[at] = char::from_digit((digit + 1 + (number >> 5) as u32 % 35) % 36, 36).unwrap_or('0');
        chars[at].make_ascii_uppercase();
        assert!(!number::is_valid(&chars.iter().collect::<String>()), "{printed}: character {at} may be mistyped");
    }
}

fn times(text: &str, number: u64) {
    let shanghai = zone("").expect("the default zone is bundled");
    let of_text = zone(text);
    for day in [same::<Day>(text), Some(Day(number as i32))].into_iter().flatten() {
        let is_in_calendar = (-4_371_580..2_932_890).contains(&day.0);
        assert!(!is_in_calendar || day.start(&shanghai) <= day.end(&shanghai), "{day}");
        assert!(day.month().len() >= 7, "{day}");
        if let Ok(zone) = &of_text {
            let _ = (day.start(zone), day.end(zone));
        }
    }
    for at in [text.parse::<Timestamp>().ok(), Some(Timestamp(number as i64))].into_iter().flatten() {
        let zones = [Some(&shanghai), of_text.as_ref().ok()];
        for zone in zones.into_iter().flatten() {
            let (printed, day) = (at.rfc3339(zone), at.day(zone));
            let is_usual = (0..253_000_000_000_000).contains(&at.0);
            let again: Option<Timestamp> = printed.parse().ok().filter(|_| is_usual);
            assert!(!is_usual || again == Some(Timestamp(at.0 - at.0.rem_euclid(1000))), "{printed} is not {at:?}");
            assert!(!is_usual || printed.starts_with(&day.to_string()), "{printed} is not on {day}");
        }
    }
}

fn vin(text: &str) {
    let checked = vin::check(text);
    if checked == VinCheck::Malformed {
        return;
    }
    assert!(text.len() == 17 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{text}");
    let digits = "0123456789X".chars().filter(|digit| {
        let other: String = text.chars().enumerate().map(|(at, c)| if at == 8 { *digit } else { c }).collect();
        vin::check(&other) == VinCheck::Good
    });
    assert_eq!(digits.count(), 1, "{text}: exactly one check digit is right");
}
