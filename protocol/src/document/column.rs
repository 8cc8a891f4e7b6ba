//! Typed names of fields: `document.get(DUE_AT)` gives an instant or nothing.

use std::marker::PhantomData;

use crate::id::DocId;
use crate::time;
use crate::value;

/// A field's name together with what it holds.
pub struct Col<T> {
    name: &'static str,
    holds: PhantomData<fn() -> T>,
}

/// How a stored value of some type is read.
pub trait Read {
    /// What reading gives.
    type Out<'a>;
    /// Reads; none if the value is of another type.
    fn read(value: &value::Value) -> Option<Self::Out<'_>>;
}

impl<T> Col<T> {
    /// A column by its wire name.
    pub const fn new(name: &'static str) -> Col<T> {
        Col { name, holds: PhantomData }
    }

    /// The wire name.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

impl<T> Clone for Col<T> {
    fn clone(&self) -> Col<T> {
        *self
    }
}

impl<T> Copy for Col<T> {}

macro_rules! column {
    ($($(#[$meta:meta])* $name:ident $out:ty, $read:expr;)*) => { $(
        $(#[$meta])*
        pub struct $name;

        impl Read for $name {
            type Out<'a> = $out;
            fn read(value: &value::Value) -> Option<$out> {
                let read: fn(&value::Value) -> Option<$out> = $read;
                read(value)
            }
        }
    )* };
}

column! {
    /// A whole number.
    Integer i64, value::Value::as_int;
    /// Kilometres.
    Km i64, value::Value::as_int;
    /// Thousandths of a unit.
    Quantity i64, |value| value.as_measured().map(|(milli, _)| milli);
    /// Minor units of the document's currency.
    Money i64, |value| value.as_measured().map(|(minor, _)| minor);
    /// Hundredths of an hour.
    Labour i64, value::Value::as_int;
    /// A civil day.
    Date time::Day, |value| value.as_int().and_then(|day| i32::try_from(day).ok()).map(time::Day);
    /// An instant.
    Time time::Timestamp, |value| value.as_int().map(time::Timestamp);
    /// An instant by which something is due.
    Due time::Timestamp, |value| value.as_int().map(time::Timestamp);
    /// Yes or no.
    Flag bool, |value| if let value::Value::Flag(flag) = value { Some(*flag) } else { None };
    /// Another document.
    Link DocId, |value| value.as_text().and_then(|text| text.parse().ok());
}

/// Free text.
pub struct Text;
/// One of the declared choices, by its stored name.
pub struct Choice;

impl Read for Text {
    type Out<'a> = &'a str;
    fn read(value: &value::Value) -> Option<&str> {
        value.as_text()
    }
}

impl Read for Choice {
    type Out<'a> = &'a str;
    fn read(value: &value::Value) -> Option<&str> {
        value.as_text()
    }
}
