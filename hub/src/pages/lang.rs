//! The languages of the pages, and which one a visitor gets.
//!
//! `?lang=` wins and is remembered in a cookie; then the cookie; then what the browser prefers; then Chinese.

/// The cookie that remembers the choice.
pub(super) const COOKIE: &str = "waystation_lang";

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
    /// Its tag, as in HTML and in `?lang=`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Lang::Zh => "zh-CN",
            Lang::En => "en",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Lang {
        match self {
            Lang::Zh => Lang::En,
            Lang::En => Lang::Zh,
        }
    }

    /// One of two wordings.
    #[must_use]
    pub const fn pick<'a>(self, zh: &'a str, en: &'a str) -> &'a str {
        match self {
            Lang::Zh => zh,
            Lang::En => en,
        }
    }

    /// The language a tag names, if it is one of ours.
    #[must_use]
    pub fn of_tag(tag: &str) -> Option<Lang> {
        match tag.trim().split('-').next()?.to_ascii_lowercase().as_str() {
            "zh" => Some(Lang::Zh),
            "en" => Some(Lang::En),
            _ => None,
        }
    }

    /// The visitor's language, from `?lang=`, the `Cookie` header and the `Accept-Language` header.
    #[must_use]
    pub fn choose(query: Option<&str>, cookies: Option<&str>, accepted: Option<&str>) -> Lang {
        let cookie = || {
            let mut pairs = cookies?.split(';').filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(name, _)| *name == COOKIE).and_then(|(_, value)| Lang::of_tag(value))
        };
        query.and_then(Lang::of_tag).or_else(cookie).or_else(|| accepted.and_then(preferred)).unwrap_or_default()
    }
}

/// The best-weighted language of ours in an `Accept-Language` header; the first of equals.
fn preferred(accepted: &str) -> Option<Lang> {
    let mut best: Option<(u32, Lang)> = None;
    for item in accepted.split(',') {
        let (tag, parameters) = item.split_once(';').unwrap_or((item, ""));
        let Some(lang) = Lang::of_tag(tag) else { continue };
        let weight = parameters.trim().strip_prefix("q=").map_or(1000, thousandths);
        if weight > 0 && best.is_none_or(|(heaviest, _)| weight > heaviest) {
            best = Some((weight, lang));
        }
    }
    best.map(|(_, lang)| lang)
}

fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
    whole.parse::<u32>().unwrap_or(0).min(1) * 1000 + padded.parse::<u32>().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visitor_gets_the_language_asked_for() {
        let table = [
            (None, None, None, Lang::Zh),
            (None, None, Some("en-US,en;q=0.9"), Lang::En),
            (None, None, Some("en;q=0.5, zh-TW;q=0.8"), Lang::Zh),
            (None, None, Some("fr, en;q=0.1"), Lang::En),
            (None, None, Some("en;q=0, de"), Lang::Zh),
            (None, Some("a=b; waystation_lang=en"), Some("zh"), Lang::En),
            (Some("zh-CN"), Some("waystation_lang=en"), Some("en"), Lang::Zh),
            (Some("xx"), None, Some("en"), Lang::En),
        ];
        for (query, cookies, accepted, expected) in table {
            assert_eq!(Lang::choose(query, cookies, accepted), expected, "{query:?} {cookies:?} {accepted:?}");
        }
    }
}
