//! Map files and headers: what is accepted can be used on any rows.

use std::path::Path;

use waystation_agent::import::identity::Identities;
use waystation_agent::import::map::{Map, MapError};
use waystation_agent::import::mapping::{IsoDates, Mapped, Mapper, MappingError, RowKey};
use waystation_agent::layout::map_of;
use waystation_protocol::document::field::Key;
use waystation_protocol::kind::{self, KINDS, Kind};
use waystation_protocol::site::Sites;
use waystation_protocol::time::zone;

use super::Input;

/// A map's text, or headers, and after a NUL the cells of one row with line ends between them.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let how = input.byte();
    let text = input.rest_text();
    let (text, cells) = text.split_once('\0').unwrap_or((&text, ""));
    let cells: Vec<String> = cells.lines().map(str::to_owned).collect();
    if how & 1 == 1 {
        let headers: Vec<String> = text.lines().map(str::to_owned).collect();
        let kind = KINDS[usize::from(how / 2) % KINDS.len()];
        if let Ok(map) = map_of(kind, &headers) {
            uses(&map, kind, headers, cells);
        }
        return;
    }
    match Map::parse(text, Path::new("m.toml")) {
        Err(error) => names_its_line(&error, text),
        Ok(map) => {
            let Some(kind) = kind::find(&map.kind) else { return };
            let mut columns: Vec<String> = map.columns().map(str::to_owned).collect();
            columns.sort();
            columns.dedup();
            uses(&map, kind, columns, cells);
        }
    }
}

fn names_its_line(error: &MapError, text: &str) {
    let line = match error {
        MapError::Syntax { line, .. } | MapError::Meaning { line, .. } => *line,
        MapError::Io { .. } | MapError::Encoding { .. } => panic!("no file is read here"),
    };
    let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
    assert!((1..=lines).contains(&line), "line {line} of {lines}");
    assert!(error.to_string().starts_with(&format!("m.toml, line {line}")), "{error}");
}

/// Maps rows; what a map made of one is a row that the kind's declaration takes.
fn uses(map: &Map, kind: &'static Kind, columns: Vec<String>, mut cells: Vec<String>) {
    let sites = Sites::Only(vec!["3702".parse().expect("a site's name"), "城东站".parse().expect("a site's name")]);
    let zone = zone("").expect("the default zone is bundled");
    assert!(
        map.delimiter.is_none_or(|delimiter| delimiter.is_ascii() && !matches!(delimiter, '"' | '\n' | '\r' | '\0'))
    );
    let mapper = match Mapper::new(map, kind, &columns, &sites, &zone) {
        Ok(mapper) => mapper,
        Err(MappingError::MissingColumn { column, .. }) => panic!("'{column}' is among the map's columns"),
        Err(_) => return,
    };
    cells.resize(columns.len(), "3702".to_owned());
    let mut identities = Identities::new(&std::env::temp_dir());
    for dates in [IsoDates::None, IsoDates::Unread, IsoDates::Cells((0..columns.len()).collect())] {
        let identity = match mapper.row_key(&cells) {
            Ok(RowKey::Known(known)) => known,
            Ok(RowKey::Cells(key)) => identities.next(&key, &cells).expect("one row is held in memory"),
            Err(_) => continue,
        };
        match mapper.map(&cells, &dates, identity.clone()) {
            Mapped::Skipped => {}
            Mapped::Bad(bad) => assert!(!bad.reason.is_empty()),
            Mapped::Row(row) => {
                assert!(row.key == identity.key && row.occurrence == identity.occurrence && row.kind == kind.name);
                assert!(kind.state(&row.state).is_some() && row.site.parse().is_ok_and(|site| sites.include(&site)));
                for (key, value) in &row.set {
                    let field = kind.field_at(key);
                    let is_custom = matches!(Key::parse(key), Some(Key::Custom(_)));
                    assert!(is_custom || field.is_some_and(|field| field.ty.fits(value)), "{key}: {value:?}");
                }
            }
        }
    }
}
