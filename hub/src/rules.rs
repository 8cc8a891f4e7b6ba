//! The network's rules: the `[rules]` table of the configuration, checked against what the kinds declare.
//!
//! ```toml
//! [rules]
//! claim.max_rounds = 3
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use waystation_protocol::kind::{self, Rule};

/// What is set; everything else is as its kind declares it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Table")]
pub struct Rules(BTreeMap<&'static str, i64>);

/// A rule that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRule {
    /// No kind looks it up.
    #[error("there is no rule '{name}'; there are: {known}")]
    Unknown {
        /// What was set.
        name: String,
        /// What can be.
        known: String,
    },
    /// It is no whole number within its bounds.
    #[error("rule '{name}': expected a whole number from {least} to {most}")]
    Value {
        /// Which.
        name: &'static str,
        /// The least it may be.
        least: i64,
        /// The most.
        most: i64,
    },
}

impl TryFrom<toml::Table> for Rules {
    type Error = BadRule;
    fn try_from(table: toml::Table) -> Result<Rules, BadRule> {
        Rules::read(&table, &kind::rules().collect::<Vec<_>>())
    }
}

impl Rules {
    /// What a rule is; none where no kind declares it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<i64> {
        let declared = || kind::rules().find(|rule| rule.name == name).map(|rule| rule.default);
        self.0.get(name).copied().or_else(declared)
    }

    /// `known`: every rule there is.
    fn read(table: &toml::Table, known: &[&'static Rule]) -> Result<Rules, BadRule> {
        let mut rules = Rules::default();
        let mut tables = vec![(String::new(), table)];
        while let Some((before, table)) = tables.pop() {
            for (key, value) in table {
                let name = format!("{before}{key}");
                if let toml::Value::Table(inner) = value {
                    tables.push((format!("{name}."), inner));
                    continue;
                }
                let Some(rule) = known.iter().find(|rule| rule.name == name) else {
                    let known = known.iter().map(|rule| rule.name).collect::<Vec<_>>().join(", ");
                    return Err(BadRule::Unknown { name, known });
                };
                let number = value.as_integer().filter(|number| (rule.least..=rule.most).contains(number));
                let bad = BadRule::Value { name: rule.name, least: rule.least, most: rule.most };
                rules.0.insert(rule.name, number.ok_or(bad)?);
            }
        }
        Ok(rules)
    }
}

impl fmt::Display for Rules {
    /// Every rule as it is in force.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, rule) in kind::rules().enumerate() {
            let gap = if place == 0 { "" } else { " " };
            write!(f, "{gap}{}={}", rule.name, self.0.get(rule.name).copied().unwrap_or(rule.default))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static ROUNDS: Rule =
        Rule { name: "claim.max_rounds", zh: "最多退回次数", en: "Most rounds", default: 3, least: 1, most: 9 };
    static DAYS: Rule = Rule { name: "days", zh: "天数", en: "Days", default: 7, least: 1, most: 365 };

    fn check(text: &str, expected: Result<&[(&str, i64)], &str>) {
        let table: toml::Table = toml::from_str(text).unwrap();
        let found = Rules::read(&table, &[&ROUNDS, &DAYS]).map(|rules| rules.0.into_iter().collect::<Vec<_>>());
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn only_declared_rules_may_be_set_and_only_within_their_bounds() {
        check("", Ok(&[]));
        check("claim.max_rounds = 2\ndays = 30", Ok(&[("claim.max_rounds", 2), ("days", 30)]));
        check("'claim.max_rounds' = 2", Ok(&[("claim.max_rounds", 2)]));
        check("claim.max = 2", Err("there is no rule 'claim.max'; there are: claim.max_rounds, days"));
        check("days = 0", Err("rule 'days': expected a whole number from 1 to 365"));
        check("days = '7'", Err("rule 'days': expected a whole number from 1 to 365"));
    }
}
