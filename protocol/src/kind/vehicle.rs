//! What every kind that names a vehicle and its owner checks alike: VIN, telephone, and the odometer across sites.

use super::{Clash, Cross, Trait};
use crate::document::Document;
use crate::document::capture::{Change, Problem};
use crate::document::column::{Col, Flag, Km, Text};
use crate::document::filling::{Filling, Set};
use crate::document::flow::VOID;
use crate::phone;
use crate::time::Timestamp;
use crate::value::Value;
use crate::vin::{self, VinCheck};

const VIN: Col<Text> = Col::new("vin");
const METER_REPLACED: Col<Flag> = Col::new("meter_replaced");
const METER_PHOTO: Col<Text> = Col::new("meter_photo");
const PHONE: Col<Text> = Col::new("phone");
const ODOMETER: Col<Km> = Col::new("odometer");

/// The odometer of one vehicle, wherever it was read. A kind says when it was.
pub const fn odometer_falls(of: fn(&Document) -> Option<Trait>) -> Cross {
    let (zh, en) = ("里程小于此前在其他单据上的读数", "the odometer is below an earlier reading on another document");
    Cross { name: "odometer", zh, en, of, clash: Clash::Falls }
}

/// What a document compares by [`odometer_falls`], where it was read at `at`. A new meter begins anew.
pub fn compared(document: &Document, at: Timestamp) -> Option<Trait> {
    let is_old = document.get(METER_REPLACED) != Some(true);
    is_old.then(|| Some(Trait { key: document.get(VIN)?.to_owned(), at, value: document.get(ODOMETER)? })).flatten()
}

/// What a vehicle's odometer showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading<'a> {
    /// The vehicle.
    pub vin: &'a str,
    /// When.
    pub at: Timestamp,
    /// Kilometres.
    pub km: i64,
}

/// What a document says of its vehicle's odometer. A draft says nothing yet, what is void nothing any more.
pub fn reading(document: &Document) -> Option<Reading<'_>> {
    if ["draft", VOID.name].contains(&document.state.as_str()) {
        return None;
    }
    Some(Reading { vin: document.get(VIN)?, at: document.occurred_at(), km: document.get(ODOMETER)? })
}

/// No odometer goes back, as far as its outlet knows, unless it was replaced. The hub compares all outlets, and flags.
pub fn odometer_stands(change: &Change<'_>) -> Vec<Problem> {
    let after = change.after;
    let is_stated =
        [VIN.name(), ODOMETER.name(), METER_REPLACED.name()].iter().any(|name| change.set.contains_key(*name));
    let (Some(vin), Some(km), true) = (after.get(VIN), after.get(ODOMETER), is_stated) else { return Vec::new() };
    if after.get(METER_REPLACED) == Some(true) {
        return Vec::new();
    }
    match change.books.odometer(vin, after.occurred_at(), after.id) {
        Some(known) if km < known => vec![Problem::at(
            ODOMETER.name(),
            format!("里程小于此车上次的读数 {known} 公里；换过里程表的，须注明并附照片"),
            format!("below the {known} km that this vehicle showed last; a replaced meter is stated, with its photo"),
        )],
        Some(_) | None => Vec::new(),
    }
}

/// A replaced meter is shown.
pub fn new_meter_is_shown(change: &Change<'_>) -> Vec<Problem> {
    if change.after.get(METER_REPLACED) == Some(true) && change.after.get(METER_PHOTO).is_none() {
        return vec![Problem::at(METER_PHOTO.name(), "更换里程表须附照片", "a replaced meter is shown by a photo")];
    }
    Vec::new()
}

/// A check digit that differs where makers need not compute it is worth a second look.
pub fn vin_is_odd(document: &Document) -> Vec<Problem> {
    match document.get(VIN).map(vin::check) {
        Some(VinCheck::DigitUnused) => {
            let (zh, en) = ("车架号校验位不符，请核对", "the VIN's check digit differs: look at it again");
            vec![Problem::at(VIN.name(), zh, en)]
        }
        Some(VinCheck::Good | VinCheck::Malformed | VinCheck::WrongDigit) | None => Vec::new(),
    }
}

/// A VIN is stored in capitals and without blanks, a telephone number that can be read as E.164.
pub fn fill(filling: &Filling<'_>, set: &mut Set) {
    if let Some(vin) = set.get(VIN.name()).and_then(Value::as_text) {
        let vin: String = vin.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
        filling.state(set, VIN.name(), Some(Value::Text(vin)));
    }
    if let Some(number) = set.get(PHONE.name()).and_then(Value::as_text).and_then(phone::e164) {
        filling.state(set, PHONE.name(), Some(Value::Text(number)));
    }
}

/// A number that cannot be dialled is refused.
pub fn phone_is_sound(change: &Change<'_>) -> Vec<Problem> {
    let stated = change.set.get(PHONE.name()).and_then(Value::as_text);
    if stated.is_none_or(|text| phone::e164(text).is_some()) {
        return Vec::new();
    }
    vec![Problem::at(PHONE.name(), "电话号码不正确", "this is no telephone number")]
}

/// A wrong check digit is an error where the digit is mandatory, nothing where it is not.
pub fn vin_is_sound(change: &Change<'_>) -> Vec<Problem> {
    let Some(vin) = change.set.get(VIN.name()).and_then(Value::as_text) else { return Vec::new() };
    match vin::check(vin) {
        VinCheck::Good | VinCheck::DigitUnused => Vec::new(),
        VinCheck::Malformed => {
            vec![Problem::at(VIN.name(), "车架号须为 17 位，不含 I、O、Q", "a VIN has 17 characters without I, O, Q")]
        }
        VinCheck::WrongDigit => vec![Problem::at(VIN.name(), "车架号校验位不符", "the VIN's check digit is wrong")],
    }
}
