//! What the hub had to say, as JSON: entries set aside, notices, definitions of fields.

use serde_json::{Map, Value as Json, json};
use waystation_protocol::definition::{Choice, Defined};
use waystation_protocol::document::Document;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::DocId;
use waystation_protocol::kind::{self, header, notice};

use super::fault::Fault;
use super::work::{Change, Work};
use crate::store::{Filter, Origin, SetAside};
use waystation_protocol::form;

impl Work {
    /// Documents with entries set aside that may still change.
    pub fn set_aside(&self) -> Result<Json, Fault> {
        let mut items = Vec::new();
        for id in self.store.documents_set_aside()? {
            let number = self.store.document(id)?.and_then(|document| document.number().map(str::to_owned));
            items.push(json!({ "id": id, "number": number, "aside": self.aside(id)? }));
        }
        Ok(json!({ "items": items }))
    }

    /// A document's entries that do not count as they were captured.
    pub(super) fn aside(&self, id: DocId) -> Result<Vec<Json>, Fault> {
        let json = |aside: SetAside| {
            json!({
                "entry": aside.entry,
                "origin": origin(aside.origin).0,
                "seq": origin(aside.origin).1,
                "kind": aside.kind,
                "act": aside.act,
                "author": aside.author,
                "at": aside.at.rfc3339(&self.zone),
                "standing": aside.standing.name(),
                "code": aside.code,
                "zh": aside.zh,
                "en": aside.en,
            })
        };
        Ok(self.store.set_aside(id)?.into_iter().map(json).collect())
    }

    /// A document's entries that are here, those among them that do not count with their standing.
    pub(super) fn history(&self, id: DocId, document: Option<&Document>, aside: &[Json]) -> Result<Vec<Json>, Fault> {
        let json = |(at, entry): (Origin, Entry)| {
            let kind = kind::find(&entry.kind);
            let fields = document.map(|document| form::fields_json(kind, &document.state, &entry.set, &self.zone));
            json!({
                "origin": origin(at).0,
                "seq": origin(at).1,
                "id": entry.id,
                "act": entry.act,
                "author": entry.author,
                "at": entry.occurred_at.rfc3339(&self.zone),
                "standing": aside.iter().find(|aside| aside["entry"] == json!(entry.id)).map(|aside| &aside["standing"]),
                "set": fields.map_or_else(|| json!(entry.set), |fields| json!(fields)),
            })
        };
        Ok(self.store.whole_history(id)?.into_iter().map(json).collect())
    }

    /// What is told of a document whose opening does not stand.
    pub(super) fn show_unopened(&self, id: DocId) -> Result<Option<Json>, Fault> {
        let aside = self.aside(id)?;
        if aside.is_empty() {
            return Ok(None);
        }
        Ok(Some(json!({
            "id": id,
            "kind": aside[0]["kind"],
            "state": null,
            "whereabouts": self.store.whereabouts(id)?.name(),
            "history": self.history(id, None, &aside)?,
            "aside": aside,
            "actions": [],
        })))
    }

    /// Why nothing can be done with a document whose opening does not stand.
    pub(super) fn hindrance(&self, id: &str) -> Option<Fault> {
        let aside = self.store.set_aside(id.parse().ok()?).ok()?.into_iter().next()?;
        Some(Fault::problems(vec![aside.hindrance()]))
    }

    /// The notices that stand, the latest first, each with whether someone here has read it.
    pub fn current_notices(&self) -> Result<Vec<(Document, bool)>, Fault> {
        let of = |text: &str| Some(text.to_owned());
        let filter = Filter { kind: of(notice::NOTICE.name), state: of(notice::PUBLISHED.name), ..Filter::default() };
        let notices = self.store.documents(&filter)?.items.into_iter();
        notices.map(|notice| Ok((self.is_read(notice.id)?, notice))).map(|read| read.map(|(is, of)| (of, is))).collect()
    }

    /// What stands in this journal on a notice are acknowledgements and remarks; whoever remarks has read it.
    fn is_read(&self, notice: DocId) -> Result<bool, Fault> {
        Ok(self.store.last_seq(notice)?.is_some())
    }

    /// The fields that the hub has defined, as they stand here.
    pub fn definitions(&self) -> Result<Json, Fault> {
        let labels = |zh: &str, en: &str| json!({ "zh-CN": zh, "en": en });
        let items = self.store.definitions()?.into_iter().map(|defined| {
            let Defined { definition, since, retired } = defined;
            let choice = |choice: &Choice| json!({ "value": choice.value, "labels": labels(&choice.zh, &choice.en) });
            json!({
                "id": definition.id,
                "kind": definition.kind,
                "labels": labels(&definition.zh, &definition.en),
                "type": definition.ty.name(),
                "choices": definition.choices.iter().map(choice).collect::<Vec<_>>(),
                "range": definition.range.map(|(min, max)| json!({ "min": min, "max": max })),
                "pattern": definition.pattern,
                "required_in_state": definition.required_in_state,
                "since": since,
                "retired": retired,
                "version": definition.version,
            })
        });
        Ok(json!({ "items": items.collect::<Vec<_>>() }))
    }

    /// Captures that someone here has read a notice, once.
    pub fn acknowledge(&self, id: &str, author: Option<String>) -> Result<(), Fault> {
        let id: DocId = id.parse().map_err(|_| Fault::not_found(&format!("there is no notice {id}")))?;
        if !self.is_read(id)? {
            let set = Map::from_iter([(notice::ACKNOWLEDGED.name().to_owned(), json!(true))]);
            self.act(&id.to_string(), header::NOTE, Change { set, author, ..Change::default() })?;
        }
        Ok(())
    }
}

/// The journal an entry stands in, and its seq there.
fn origin(origin: Origin) -> (&'static str, u64) {
    match origin {
        Origin::Own(seq) => ("here", seq.0),
        Origin::Down(seq) => ("hub", seq.0),
    }
}
