//! What the hub had to say, as JSON: entries set aside, notices, definitions of fields.

use serde_json::{Value as Json, json};
use waystation_protocol::definition::{Choice, Defined};
use waystation_protocol::document::Document;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::kind;

use super::fault::Fault;
use super::work::{DEFAULT_AUTHOR, Work};
use crate::form;
use crate::store::{Origin, Posted, SetAside};

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

    /// A document's entries that are here.
    pub(super) fn history(&self, id: DocId, document: Option<&Document>) -> Result<Vec<Json>, Fault> {
        let json = |(at, entry): (Origin, Entry)| {
            let kind = kind::find(&entry.kind);
            let fields = document.map(|document| {
                let seen = Document { fields: entry.set.clone(), ..document.clone() };
                form::fields_json(kind, &seen, &self.zone)
            });
            json!({
                "origin": origin(at).0,
                "seq": origin(at).1,
                "id": entry.id,
                "act": entry.act,
                "author": entry.author,
                "at": entry.occurred_at.rfc3339(&self.zone),
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
            "history": self.history(id, None)?,
            "aside": aside,
            "actions": [],
        })))
    }

    /// Why nothing can be done with a document whose opening does not stand.
    pub(super) fn hindrance(&self, id: &str) -> Option<Fault> {
        let aside = self.store.set_aside(id.parse().ok()?).ok()?.into_iter().next()?;
        Some(Fault::problems(vec![aside.hindrance()]))
    }

    /// Notices that still matter, the latest first.
    pub fn current_notices(&self) -> Result<Vec<Posted>, Fault> {
        let now = self.clock.now();
        let notices = self.store.notices()?.into_iter();
        Ok(notices.filter(|posted| posted.notice.until.is_none_or(|until| until > now)).collect())
    }

    /// As [`Work::current_notices`].
    pub fn notices(&self) -> Result<Json, Fault> {
        let items = self.current_notices()?.into_iter().map(|posted| {
            let read = posted.read.map(|read| json!({ "author": read.author, "at": read.at.rfc3339(&self.zone) }));
            json!({
                "id": posted.id,
                "at": posted.at.rfc3339(&self.zone),
                "title": posted.notice.title,
                "text": posted.notice.text,
                "until": posted.notice.until.map(|until| until.rfc3339(&self.zone)),
                "read": read,
            })
        });
        Ok(json!({ "items": items.collect::<Vec<_>>() }))
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

    /// Captures that someone has read a notice.
    pub fn acknowledge(&self, id: &str, author: Option<String>) -> Result<Json, Fault> {
        let missing = || Fault::not_found(&format!("there is no notice {id}"));
        let id: EntryId = id.parse().map_err(|_| missing())?;
        let author = author.unwrap_or_else(|| DEFAULT_AUTHOR.to_owned());
        let is_news = self.store.acknowledge_notice(id, &author, self.at())?;
        Ok(json!({ "id": id, "is_news": is_news }))
    }
}

/// The journal an entry stands in, and its seq there.
fn origin(origin: Origin) -> (&'static str, u64) {
    match origin {
        Origin::Own(seq) => ("here", seq.0),
        Origin::Down(seq) => ("hub", seq.0),
    }
}
