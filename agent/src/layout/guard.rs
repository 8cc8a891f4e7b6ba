//! Text that a spreadsheet would run as a formula is written with an apostrophe before it (OWASP, CSV injection), and
//! read back without. Text that already looks so written gets one more, so that nothing is lost on the way.

/// As it is written where a spreadsheet may take text for a formula: CSV.
pub fn guarded(text: &str) -> String {
    if is_formula(text.trim_start_matches('\'')) { format!("'{text}") } else { text.to_owned() }
}

/// As it is written where text is text: a workbook. Only what [`unguarded`] would change needs the apostrophe.
pub fn escaped(text: &str) -> String {
    if text.starts_with('\'') { guarded(text) } else { text.to_owned() }
}

/// As it was before either.
pub fn unguarded(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(rest) if is_formula(rest.trim_start_matches('\'')) => rest,
        _ => text,
    }
}

fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_disarmed_and_come_back() {
        for (text, in_csv, in_workbook) in [
            ("=1+1", "'=1+1", "=1+1"),
            ("－x", "'－x", "－x"),
            ("'=1", "''=1", "''=1"),
            ("''@", "'''@", "'''@"),
            ("'quoted'", "'quoted'", "'quoted'"),
            ("\t", "'\t", "\t"),
            ("plain", "plain", "plain"),
            ("", "", ""),
        ] {
            assert_eq!((guarded(text).as_str(), escaped(text).as_str()), (in_csv, in_workbook));
            assert_eq!((unguarded(in_csv), unguarded(in_workbook)), (text, text));
        }
    }
}
