//! What all declarations together must keep, so that tables, numbers and journals can tell them apart.

use std::collections::BTreeSet;

use waystation_protocol::document::field::Field;
use waystation_protocol::document::flow::Holder;
use waystation_protocol::down;
use waystation_protocol::kind::{KINDS, header};
use waystation_protocol::value::Type;

#[test]
fn names_and_codes_of_kinds_are_their_own() {
    let names: BTreeSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let codes: BTreeSet<&str> = KINDS.iter().map(|kind| kind.code).collect();
    assert_eq!((names.len(), codes.len()), (KINDS.len(), KINDS.len()));
    for kind in KINDS {
        assert!(down::is_on_document(kind.name), "{}: the downward journal has this name", kind.name);
    }
    let measures: Vec<&str> = KINDS.iter().flat_map(|kind| kind.measures).map(|measure| measure.name).collect();
    assert_eq!(measures.iter().collect::<BTreeSet<_>>().len(), measures.len(), "{measures:?}");
}

/// A header of a table is a wire name or a label: no two fields answer to one.
#[test]
fn no_two_fields_of_a_form_share_a_word() {
    for kind in KINDS {
        let own: Vec<&Field> = kind.fields.iter().chain(header::FIELDS).collect();
        let groups = kind.lines.iter().map(|group| group.fields.iter().collect::<Vec<_>>());
        for fields in std::iter::once(own).chain(groups) {
            let mut seen = BTreeSet::new();
            for field in fields {
                let words: BTreeSet<String> = [field.name, field.zh, field.en].map(str::to_lowercase).into();
                for word in words {
                    assert!(seen.insert(word), "{}: {} shares a word with another field", kind.name, field.name);
                }
            }
        }
    }
}

#[test]
fn links_name_kinds_and_pens_go_to_fields_that_exist() {
    for kind in KINDS {
        for field in kind.fields.iter().chain(kind.lines.iter().flat_map(|group| group.fields)) {
            if let Type::Link(name) = field.ty {
                assert!(KINDS.iter().any(|kind| kind.name == name), "{}: {} links to {name}", kind.name, field.name);
            }
        }
        for step in kind.flow {
            if let Some(Holder::Named(field)) = step.pen {
                assert!(step.takes.contains(&field), "{}: {} sets who gets the pen", kind.name, step.act);
            }
        }
    }
}
