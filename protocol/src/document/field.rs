//! Declared fields, groups of lines, and the keys under which entries set them.

use super::flow::State;
use crate::value::Type;

/// A field as a kind declares it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The wire name.
    pub name: &'static str,
    /// The label in Chinese.
    pub zh: &'static str,
    /// The label in English.
    pub en: &'static str,
    /// What it holds.
    pub ty: Type,
    /// The state from which it must be filled; none if it never must.
    pub required_from: Option<State>,
    /// Whether people look documents up by it.
    pub is_searched: bool,
    /// The state before which the API omits it.
    pub hidden_until: Option<State>,
    /// Whether the store fills it in, or an effect of another act; no person states it.
    pub is_filled: bool,
}

/// A group of lines as a kind declares it.
#[derive(Debug, Clone, Copy)]
pub struct Lines {
    /// The group's wire name: keys are `name#number.field`.
    pub name: &'static str,
    /// The label in Chinese.
    pub zh: &'static str,
    /// The label in English.
    pub en: &'static str,
    /// The fields of each line; those required are so in every line that exists.
    pub fields: &'static [Field],
}

impl Field {
    /// An optional field.
    pub const fn new(name: &'static str, zh: &'static str, en: &'static str, ty: Type) -> Field {
        Field { name, zh, en, ty, required_from: None, is_searched: false, hidden_until: None, is_filled: false }
    }

    /// Must be filled from `state` on.
    pub const fn from(mut self, state: State) -> Field {
        self.required_from = Some(state);
        self
    }

    /// People look documents up by it.
    pub const fn searched(mut self) -> Field {
        self.is_searched = true;
        self
    }

    /// The store fills it in, or an effect of another act.
    pub const fn filled(mut self) -> Field {
        self.is_filled = true;
        self
    }

    /// The API omits it until `state`.
    pub const fn hidden_until(mut self, state: State) -> Field {
        self.hidden_until = Some(state);
        self
    }
}

/// A key of an entry's `set`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// A field of the document.
    Field(&'a str),
    /// A field of one line.
    Line {
        /// The group's name.
        group: &'a str,
        /// The line's number within it.
        number: u32,
        /// The field's name.
        field: &'a str,
    },
    /// A field the hub defined.
    Custom(&'a str),
}

impl<'a> Key<'a> {
    /// Takes a key apart; none if it is of no known form.
    pub fn parse(key: &'a str) -> Option<Key<'a>> {
        let Some((before, field)) = key.split_once('.') else {
            return (!key.is_empty() && !key.contains('#')).then_some(Key::Field(key));
        };
        if before == "custom" {
            return Some(Key::Custom(field));
        }
        let (group, number) = before.split_once('#')?;
        let number = number.parse().ok()?;
        Some(Key::Line { group, number, field })
    }
}

/// Declares fields: typed constants and `FIELDS`, from one list.
///
/// `pub CLAIMED: Money = "claimed" "申报金额" / "Claimed", from SUBMITTED;`
#[macro_export]
macro_rules! fields {
    ($($(#[$meta:meta])* pub $name:ident : $ty:ident $(($arg:expr))? = $wire:literal $zh:literal / $en:literal
        $(, $modifier:ident $($argument:ident)?)* ;)*) => {
        $(
            #[doc = concat!($en, " (", $zh, ").")]
            $(#[$meta])*
            pub const $name: $crate::document::column::Col<$crate::document::column::$ty> =
                $crate::document::column::Col::new($wire);
        )*
        /// Every field of this list, in the order forms show them.
        pub static FIELDS: &[$crate::document::field::Field] = &[
            $($crate::document::field::Field::new($wire, $zh, $en, $crate::value::Type::$ty $(($arg))?)
                $(.$modifier($($argument)?))*,)*
        ];
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_apart() {
        for (key, expected) in [
            ("vin", Some(Key::Field("vin"))),
            ("part#12.price", Some(Key::Line { group: "part", number: 12, field: "price" })),
            ("custom.colour", Some(Key::Custom("colour"))),
            ("part#x.price", None),
            ("part.price", None),
            ("part#1", None),
            ("", None),
        ] {
            assert_eq!(Key::parse(key), expected, "{key}");
        }
    }
}
