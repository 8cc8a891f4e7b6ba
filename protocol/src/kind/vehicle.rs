//! What every kind that names a vehicle and its owner checks alike: VIN, telephone, and the odometer across sites.

use super::{Clash, Cross, Trait};
use crate::document::Document;
use crate::document::capture::{Change, Problem};
use crate::document::column::{Col, Km, Text};
use crate::document::filling::{Filling, Set};
use crate::phone;
use crate::time::Timestamp;
use crate::value::Value;
use crate::vin::{self, VinCheck};

const VIN: Col<Text> = Col::new("vin");
const PHONE: Col<Text> = Col::new("phone");
const ODOMETER: Col<Km> = Col::new("odometer");

/// The odometer of one vehicle, wherever it was read. A kind says when it was.
pub const fn odometer_falls(of: fn(&Document) -> Option<Trait>) -> Cross {
    let (zh, en) = ("里程小于此前在其他单据上的读数", "the odometer is below an earlier reading on another document");
    Cross { name: "odometer", zh, en, of, clash: Clash::Falls }
}

/// The reading of a document's odometer, for [`odometer_falls`].
pub fn reading(document: &Document, at: Timestamp) -> Option<Trait> {
    Some(Trait { key: document.get(VIN)?.to_owned(), at, value: document.get(ODOMETER)? })
}

/// A telephone number that can be read is stored as E.164.
pub fn fill_phone(filling: &Filling<'_>, set: &mut Set) {
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
