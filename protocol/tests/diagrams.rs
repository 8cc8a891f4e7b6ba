//! `docs/kinds.md` says what the kinds declare.

use std::{env, fs, path::Path};

use waystation_protocol::document::diagram;
use waystation_protocol::kind::KINDS;

#[test]
fn the_diagrams_in_the_docs_are_those_of_the_declarations() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kinds.md");
    let text = diagram::markdown(KINDS);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).expect("docs/ is writable");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let first = found.lines().zip(text.lines()).find(|(found, text)| found != text);
    assert!(found == text, "docs/kinds.md is not what the kinds declare, first at {first:?}; UPDATE=1 rewrites it");
}
