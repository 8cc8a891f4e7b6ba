//! The languages of the outlet's screens, tables and messages.

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// Chinese as written in China.
    #[default]
    Zh,
    /// English.
    En,
}

impl Lang {
    /// One of two wordings.
    pub const fn pick<'a>(self, zh: &'a str, en: &'a str) -> &'a str {
        match self {
            Lang::Zh => zh,
            Lang::En => en,
        }
    }
}
