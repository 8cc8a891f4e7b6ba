//! Lists of documents, newest change first, from the cache and what changed since.
//!
//! The cached list is ordered by kind, state and change, and carries what people search for beside each key; so a
//! page is read by merging a few ranges from their ends, and searching never decodes a document it does not show.

use std::collections::HashSet;

use redb::{Range, ReadTransaction, ReadableTable};

use waystation_protocol::document::Document;
use waystation_protocol::document::field::Key;
use waystation_protocol::document::flow::VOID;
use waystation_protocol::id::DocId;
use waystation_protocol::kind;
use waystation_protocol::site::SiteId;
use waystation_protocol::value::Value;

use super::error::StoreError;
use super::overlay::Overlay;
use super::tables::{DOCUMENTS, LIST, Place, list_key, list_prefix, parse_document, place};

/// Most documents on one page.
pub const PAGE_LIMIT: usize = 500;

/// Which documents a list shows. Everything unset matches all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The kind's name.
    pub kind: Option<String>,
    /// The outlet.
    pub site: Option<SiteId>,
    /// The state's name.
    pub state: Option<String>,
    /// Words, each of which some searched field contains, whatever the case.
    pub q: Option<String>,
    /// The end of the page before.
    pub cursor: Option<String>,
    /// Most documents to give; 0 stands for 50, and [`PAGE_LIMIT`] is the most.
    pub limit: usize,
}

/// Part of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The documents, newest change first.
    pub items: Vec<Document>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// A filter made ready.
pub(super) struct Wanted {
    kind: Option<String>,
    site: Option<SiteId>,
    state: Option<String>,
    words: Vec<String>,
    below: Option<Place>,
    limit: usize,
}

impl Wanted {
    pub(super) fn new(filter: &Filter) -> Result<Wanted, StoreError> {
        let below = filter.cursor.as_deref().map(parse_cursor).transpose()?;
        let q = filter.q.as_deref().unwrap_or_default().to_lowercase();
        Ok(Wanted {
            kind: filter.kind.clone(),
            site: filter.site.clone(),
            state: filter.state.clone(),
            words: q.split_whitespace().map(str::to_owned).collect(),
            below,
            limit: if filter.limit == 0 { 50 } else { filter.limit.min(PAGE_LIMIT) },
        })
    }

    fn matches(&self, document: &Document) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is(&self.kind, &document.kind)
            && is(&self.state, &document.state)
            && self.below.is_none_or(|below| place_of(document) < below)
            && self.matches_text(searched_text(document).as_bytes())
    }

    /// Whether site and words fit a list row's value.
    fn matches_text(&self, row: &[u8]) -> bool {
        if self.site.is_none() && self.words.is_empty() {
            return true;
        }
        let Ok(row) = std::str::from_utf8(row) else { return false };
        let Some((site, text)) = row.split_once('\0') else { return false };
        self.site.as_ref().is_none_or(|wanted| wanted.as_str() == site)
            && self.words.iter().all(|word| text.contains(word.as_str()))
    }

    /// The kinds and states whose ranges hold what is wanted.
    fn ranges(&self) -> Vec<(&'static str, &'static str)> {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let kinds = kind::KINDS.iter().filter(|kind| is(&self.kind, kind.name));
        kinds
            .flat_map(|kind| kind.states.iter().map(|state| state.name).chain([VOID.name]).map(|s| (kind.name, s)))
            .filter(|(_, state)| is(&self.state, state))
            .collect()
    }
}

/// What changed since the cache was written, as far as a list needs it.
pub(super) struct Fresh {
    /// The ids of all of it: their cached rows are outdated.
    ids: HashSet<DocId>,
    /// What matches, newest first.
    matching: Vec<Document>,
}

impl Fresh {
    /// Copies from the overlay what `wanted` may show.
    pub(super) fn of(overlay: &Overlay, wanted: &Wanted) -> Fresh {
        let ids = overlay.documents.keys().copied().collect();
        let matching = overlay.documents.values().filter_map(|held| held.document.as_ref());
        let mut matching: Vec<&Document> = matching.filter(|document| wanted.matches(document)).collect();
        matching.sort_unstable_by_key(|document| std::cmp::Reverse(place_of(document)));
        matching.truncate(wanted.limit + 1);
        Fresh { ids, matching: matching.into_iter().cloned().collect() }
    }
}

/// The page that `wanted` describes.
pub(super) fn page(read: &ReadTransaction, fresh: &Fresh, wanted: &Wanted) -> Result<Page, StoreError> {
    let list = read.open_table(LIST)?;
    let documents = read.open_table(DOCUMENTS)?;
    let mut cached = Merge::open(&list, wanted)?;
    let mut fresh_ones = fresh.matching.iter().peekable();
    let mut older = cached.next_match(wanted, &fresh.ids)?;
    let mut page = Page::default();
    loop {
        let newest = fresh_ones.peek().map(|document| place_of(document));
        let Some(next) = newest.max(older) else { return Ok(page) };
        if page.items.len() == wanted.limit {
            page.next = page.items.last().map(|last| data_encoding::HEXLOWER.encode(&place_of(last)));
            return Ok(page);
        }
        if newest == Some(next) {
            page.items.extend(fresh_ones.next().cloned());
        } else {
            let id = id_at(&next);
            let row = documents.get(id.as_bytes())?;
            let row =
                row.ok_or_else(|| StoreError::Damaged(format!("the list names document {id}, the cache lacks it")))?;
            page.items.extend(parse_document(id, row.value())?.document);
            older = cached.next_match(wanted, &fresh.ids)?;
        }
    }
}

/// Several ranges of the cached list, read together from their ends.
struct Merge<'a> {
    ranges: Vec<Backwards<'a>>,
}

struct Backwards<'a> {
    range: Range<'a, &'static [u8], &'static [u8]>,
    /// The last place read that matches, not yet given out.
    ready: Option<Place>,
}

impl<'a> Merge<'a> {
    fn open(
        list: &'a impl ReadableTable<&'static [u8], &'static [u8]>,
        wanted: &Wanted,
    ) -> Result<Merge<'a>, StoreError> {
        let mut ranges = Vec::new();
        for (kind, state) in wanted.ranges() {
            let first = list_prefix(kind, state);
            let end = list_key(kind, state, &wanted.below.unwrap_or([0xff; 24]));
            ranges.push(Backwards { range: list.range(first.as_slice()..end.as_slice())?, ready: None });
        }
        Ok(Merge { ranges })
    }

    /// The next place that matches and is not outdated.
    fn next_match(&mut self, wanted: &Wanted, outdated: &HashSet<DocId>) -> Result<Option<Place>, StoreError> {
        let mut index = 0;
        while index < self.ranges.len() {
            let backwards = &mut self.ranges[index];
            if backwards.ready.is_none() {
                backwards.ready = backwards.read(wanted, outdated)?;
            }
            if backwards.ready.is_some() {
                index += 1;
            } else {
                self.ranges.swap_remove(index);
            }
        }
        let newest = self.ranges.iter_mut().max_by_key(|backwards| backwards.ready);
        Ok(newest.and_then(|backwards| backwards.ready.take()))
    }
}

impl Backwards<'_> {
    fn read(&mut self, wanted: &Wanted, outdated: &HashSet<DocId>) -> Result<Option<Place>, StoreError> {
        while let Some(row) = self.range.next_back() {
            let (key, value) = row?;
            let Some(place) = key.value().last_chunk::<24>().copied() else { continue };
            if wanted.matches_text(value.value()) && !outdated.contains(&id_at(&place)) {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }
}

/// A list row's value: the site, NUL, and what people search for, in lower case.
pub(super) fn searched_text(document: &Document) -> String {
    let mut text = document.site.as_str().to_owned();
    text.push('\0');
    let Some(kind) = kind::find(&document.kind) else { return text };
    for (key, value) in &document.fields {
        let field = match Key::parse(key) {
            Some(Key::Field(name)) => kind.field(name),
            Some(Key::Line { group, field, .. }) => kind.line_field(group, field),
            Some(Key::Custom(_)) | None => None,
        };
        if let (true, Some(value)) = (field.is_some_and(|field| field.is_searched), Value::as_text(value)) {
            text.push_str(&value.to_lowercase());
            text.push('\n');
        }
    }
    text
}

fn place_of(document: &Document) -> Place {
    place(document.changed_at, document.id)
}

fn id_at(place: &Place) -> DocId {
    let mut id = [0; 16];
    id.copy_from_slice(&place[8..]);
    DocId::from_bytes(id)
}

fn parse_cursor(text: &str) -> Result<Place, StoreError> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
    let place = bytes.and_then(|bytes| Place::try_from(bytes.as_slice()).ok());
    place.ok_or_else(|| StoreError::BadCursor(text.chars().take(64).collect()))
}
