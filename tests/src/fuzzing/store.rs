//! What the agent's API and its list read from a query: cursors, words, limits, JSON.

use std::sync::LazyLock;

use tempfile::TempDir;
use waystation_agent::api::work::{Change, Opening, Query, Work};
use waystation_agent::clock::Clock;
use waystation_agent::store::{OpenOptions, Store};
use waystation_protocol::form;
use waystation_protocol::kind;
use waystation_protocol::site::Sites;
use waystation_protocol::time::zone;

use super::Input;

/// A store of three documents, opened once: what is asked here changes nothing in it.
static WORK: LazyLock<(TempDir, Work)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let zone = zone("").expect("the default zone is bundled");
    let options = OpenOptions {
        sites: Sites::Only(vec!["3702".parse().expect("a site's name")]),
        letter: 'A',
        random: [3; 10],
        boot: 1,
        new_ids: [[1; 16], [2; 16]],
        new_key: [3; 32],
        zone: zone.clone(),
        reserve_bytes: 0,
    };
    let store = Store::open(folder.path(), options).expect("a fresh store opens");
    let work = Work { store, clock: Clock::start(1), zone };
    for score in [70, 80, 90] {
        let opening = serde_json::json!({ "kind": "survey", "set": { "form": "F", "score": score, "weight": 1 } });
        let opening: Opening = serde_json::from_value(opening).expect("a sound request");
        work.open(opening).unwrap_or_else(|fault| panic!("a survey is captured: {fault:?}"));
    }
    (folder, work)
});

/// One cursor, one query, or one request's body.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (how, limit) = (input.byte(), usize::from(input.byte()));
    let text = input.rest_text();
    let work = &WORK.1;
    match how % 4 {
        0 => pages(work, Query { cursor: Some(text), limit: Some(limit), ..Query::default() }),
        1 => pages(work, Query { q: Some(text), limit: Some(limit), ..Query::default() }),
        2 => {
            drop(work.lookup(&text));
            drop(work.show(&text));
            pages(work, Query { site: Some(text), ..Query::default() });
        }
        _ => {
            if let Ok(opening) = serde_json::from_str::<Opening>(&text)
                && let Some(kind) = kind::find(&opening.kind)
            {
                let _ = form::set_from_json(kind, &opening.set, &work.zone);
            }
            drop(serde_json::from_str::<Change>(&text));
        }
    }
}

/// Every page from here on: each is within its limit, and together they end.
fn pages(work: &Work, mut query: Query) {
    let (most, mut seen) = (query.limit.filter(|limit| *limit > 0).unwrap_or(50), 0);
    while let Ok(page) = work.page(query.clone()) {
        assert!(page.items.len() <= most, "a page is within its limit");
        seen += page.items.len();
        assert!(seen <= 3, "a document is listed twice");
        let Some(next) = page.next else { return };
        query.cursor = Some(next);
    }
}
