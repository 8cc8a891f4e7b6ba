//! A broken invariant.

use std::fmt;

/// What was found, and which of SYNC.md's invariants it breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// `I1` to `I9`, or `liveness` where the simulation never settles, or `defect` where the product panics.
    pub invariant: &'static str,
    /// What was found.
    pub what: String,
}

/// A violation.
pub(crate) fn broken(invariant: &'static str, what: impl Into<String>) -> Violation {
    Violation { invariant, what: what.into() }
}

impl Violation {
    /// Whether another says the same, but for the numbers in it.
    pub(crate) fn is_like(&self, other: &Violation) -> bool {
        let words = |violation: &Violation| -> Vec<String> {
            let words = violation.what.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
            words.map(str::to_owned).collect()
        };
        self.invariant == other.invariant && words(self) == words(other)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}
