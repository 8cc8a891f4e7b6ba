//! Site names: any text on the outlet's side, mapped to what topics, numbers and file names can carry.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits;

/// An outlet, by the name its operator gave it, exactly: any text of 1 to 128 bytes without control characters that is
/// not blank.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SiteId(String);

/// A site name that is empty, too long, or holds control characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a site name: expected 1 to {max} bytes without control characters", max = limits::SITE_BYTES)]
pub struct BadSite(String);

/// Which sites an agent captures for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sites {
    /// Any site its documents name: a migration agent.
    All,
    /// These, and no other.
    Only(Vec<SiteId>),
}

impl Sites {
    /// Whether the agent stands for `site`. For the hub's own nobody does.
    pub fn include(&self, site: &SiteId) -> bool {
        match self {
            _ if site.is_hub() => false,
            Sites::All => true,
            Sites::Only(sites) => sites.contains(site),
        }
    }

    /// The one site a document belongs to when it names none.
    pub fn default_site(&self) -> Option<&SiteId> {
        match self {
            Sites::Only(sites) if sites.len() == 1 => sites.first(),
            Sites::Only(_) | Sites::All => None,
        }
    }
}

/// The name that documents of no outlet bear.
const HUB: &str = "hub";

impl SiteId {
    /// Where documents of no outlet belong, such as a supplier's settlement. No outlet may be called so.
    pub fn hub() -> SiteId {
        SiteId(HUB.to_owned())
    }

    /// Whether this is where documents of no outlet belong.
    pub fn is_hub(&self) -> bool {
        self.0 == HUB
    }

    /// The name as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A short code of capitals and digits for printed numbers: the name itself where it fits in ten of them,
    /// else six characters of its hash.
    pub fn code(&self) -> String {
        let fits = self.0.len() <= 10 && self.0.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if fits { self.0.clone() } else { self.hashed(6) }
    }

    /// A name for topics and files: letters, digits and hyphens of the name, and six characters of its hash where
    /// anything had to be left out.
    pub fn topic_safe(&self) -> String {
        let kept: String = self.0.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(32).collect();
        if kept == self.0 { kept } else { format!("{kept}-{}", self.hashed(6).to_ascii_lowercase()) }
    }

    fn hashed(&self, chars: usize) -> String {
        let hash = blake3::hash(self.0.as_bytes());
        let mut code = data_encoding::BASE32_NOPAD.encode(&hash.as_bytes()[..8]);
        code.truncate(chars);
        code
    }
}

impl FromStr for SiteId {
    type Err = BadSite;
    fn from_str(text: &str) -> Result<SiteId, BadSite> {
        let good = !text.trim().is_empty() && text.len() <= limits::SITE_BYTES && !text.chars().any(char::is_control);
        if good { Ok(SiteId(text.to_owned())) } else { Err(BadSite(text.chars().take(64).collect())) }
    }
}

impl TryFrom<String> for SiteId {
    type Error = BadSite;
    fn try_from(text: String) -> Result<SiteId, BadSite> {
        text.parse()
    }
}

impl From<SiteId> for String {
    fn from(site: SiteId) -> String {
        site.0
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, topic: &str, code: &str) {
        let site: SiteId = name.parse().unwrap();
        assert_eq!((site.topic_safe().as_str(), site.code().as_str()), (topic, code), "{name}");
    }

    #[test]
    fn any_name_becomes_a_topic_and_a_code() {
        check("3702", "3702", "3702");
        check("S-01", "S-01", &"S-01".parse::<SiteId>().unwrap().hashed(6));
        let east: SiteId = "城东站".parse().unwrap();
        check("城东站", &format!("-{}", east.code().to_ascii_lowercase()), &east.hashed(6));
        let plus: SiteId = "a/+#b".parse().unwrap();
        assert!(plus.topic_safe().starts_with("ab-") && !plus.topic_safe().contains(['/', '+', '#']));
        let blank: SiteId = "3702 ".parse().unwrap();
        assert_ne!(blank.topic_safe(), "3702");
    }

    #[test]
    fn no_agent_stands_for_the_hubs_own_site() {
        let named = Sites::Only(vec![SiteId::hub(), "3702".parse().unwrap()]);
        for sites in [Sites::All, named] {
            assert!(!sites.include(&SiteId::hub()) && sites.include(&"3702".parse().unwrap()), "{sites:?}");
        }
    }

    #[test]
    fn names_that_cannot_be_shown_are_refused() {
        for bad in ["", "  ", "a\nb", &"站".repeat(43)] {
            assert!(bad.parse::<SiteId>().is_err(), "{bad:?}");
        }
    }
}
