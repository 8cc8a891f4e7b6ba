//! The fold: a document and its next entry give the next document, or a reason why not.
//!
//! One accepted successor per state entry: a state entry counts only if it follows the document's head. Notes follow
//! nothing and are a set.

use std::collections::BTreeMap;

use super::field::Key;
use super::flow::{Holder, VOID};
use super::{Document, Note, Party};
use crate::entry::Entry;
use crate::id::EntryId;
use crate::kind::{self, Kind, header};
use crate::plant::{Plant, is_planted};
use crate::site::{SiteId, Sites};
use crate::value::{Type, Value};

/// Whose journal an entry stands in.
#[derive(Debug, Clone, Copy)]
pub enum Writer<'a> {
    /// An agent's, which stands for these sites.
    Agent(&'a Sites),
    /// The hub's.
    Hub,
    /// Whoever's it was: a hub accepted the entry before and lost its database since. Chain and flow must still fit.
    Accepted,
}

/// Why an entry was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This build knows no such kind; a newer one may.
    #[error("unknown kind '{0}'")]
    UnknownKind(String),
    /// The form is newer than this build's.
    #[error("form version {found} of '{kind}' is newer than {known}, the newest known here")]
    NewerForm {
        /// The kind's name.
        kind: String,
        /// The entry's form version.
        found: u16,
        /// This build's.
        known: u16,
    },
    /// Its document, or the entry it follows, has not arrived.
    #[error("what it follows has not arrived")]
    Ahead,
    /// Another entry already follows the same one.
    #[error("superseded: another entry already follows {after}")]
    Superseded {
        /// What both follow.
        after: EntryId,
    },
    /// It opens a document that exists with other bytes, or is of another kind than its document.
    #[error("does not belong to its document: {0}")]
    Mismatch(&'static str),
    /// The kind has no such act.
    #[error("'{kind}' has no act '{act}'")]
    UnknownAct {
        /// The kind's name.
        kind: String,
        /// The act's name.
        act: String,
    },
    /// The act may not be taken from this state.
    #[error("'{act}' is not possible in state '{state}'")]
    WrongState {
        /// The act's name.
        act: String,
        /// The document's state.
        state: String,
    },
    /// The writer does not hold the pen.
    #[error("the writer does not hold the pen, {holder} does")]
    NoPen {
        /// Who does.
        holder: String,
    },
    /// The act is the hub's, whoever holds the pen.
    #[error("'{act}' is for the hub's people alone, wherever the pen is")]
    HubsAct {
        /// The act's name.
        act: String,
    },
    /// A field is unknown to the kind.
    #[error("unknown field '{0}'")]
    UnknownField(String),
    /// A value is not of its field's type.
    #[error("field '{field}': expected {}", .expected.expectation())]
    WrongType {
        /// The field's key.
        field: String,
        /// Its type.
        expected: Type,
    },
    /// A document must name a site its writer stands for.
    #[error("no site, or one its writer does not stand for")]
    WrongSite,
}

impl Refusal {
    /// Whether waiting may help: a newer build, or an entry still under way. Otherwise a person must look.
    pub fn may_pass(&self) -> bool {
        matches!(self, Refusal::UnknownKind(_) | Refusal::NewerForm { .. } | Refusal::Ahead)
    }

    /// A stable name for this reason, for the API and for counting.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::UnknownKind(_) => "unknown_kind",
            Refusal::NewerForm { .. } => "newer_form",
            Refusal::Ahead => "ahead",
            Refusal::Superseded { .. } => "superseded",
            Refusal::Mismatch(_) => "mismatch",
            Refusal::UnknownAct { .. } => "unknown_act",
            Refusal::WrongState { .. } => "wrong_state",
            Refusal::NoPen { .. } => "no_pen",
            Refusal::HubsAct { .. } => "hubs_act",
            Refusal::UnknownField(_) => "unknown_field",
            Refusal::WrongType { .. } => "wrong_type",
            Refusal::WrongSite => "wrong_site",
        }
    }
}

/// Folds one entry. `follows_known` tells whether an entry id stands on this document already.
pub fn fold(
    document: Option<&Document>,
    entry: &Entry,
    writer: Writer<'_>,
    follows_known: &dyn Fn(EntryId) -> bool,
) -> Result<Document, Refusal> {
    let kind = kind::find(&entry.kind).ok_or_else(|| Refusal::UnknownKind(entry.kind.clone()))?;
    if entry.form > kind.form {
        return Err(Refusal::NewerForm { kind: entry.kind.clone(), found: entry.form, known: kind.form });
    }
    check_values(kind, entry)?;
    match document {
        None if entry.is_opening() => open(kind, entry, writer),
        None => Err(Refusal::Ahead),
        Some(_) if entry.is_opening() => Err(Refusal::Mismatch("it opens a document that exists")),
        Some(document) if document.kind != entry.kind => Err(Refusal::Mismatch("its document is of another kind")),
        Some(document) if entry.act == header::NOTE => Ok(noted(document, entry)),
        Some(document) => advance(kind, document, entry, writer, follows_known),
    }
}

fn open(kind: &Kind, entry: &Entry, writer: Writer<'_>) -> Result<Document, Refusal> {
    let state = if entry.act == header::IMPORTED {
        let named = entry.set.get(header::STATE.name()).and_then(Value::as_text).unwrap_or_default();
        kind.state(named).ok_or_else(|| Refusal::WrongState { act: entry.act.clone(), state: named.to_owned() })?
    } else {
        let step = kind.step(&entry.act, None).ok_or_else(|| unknown_act(kind, entry))?;
        let may_open = match writer {
            Writer::Agent(_) => step.is_for_sites(),
            // what an act of the hub's brings about at an outlet, the outlet's people would do
            Writer::Hub => step.is_for_hub() || entry.cause.is_some(),
            Writer::Accepted => true,
        };
        if !may_open {
            let holder = if step.is_for_hub() { "the hub" } else { "a site" };
            return Err(Refusal::NoPen { holder: holder.to_owned() });
        }
        step.to.ok_or(Refusal::Mismatch("an opening step leads nowhere"))?
    };
    let site: Option<SiteId> =
        entry.set.get(header::SITE.name()).and_then(Value::as_text).and_then(|text| text.parse().ok());
    let site = site.filter(|site| match writer {
        Writer::Agent(sites) => sites.include(site),
        Writer::Hub | Writer::Accepted => true,
    });
    let site = site.ok_or(Refusal::WrongSite)?;
    let holder = kind.step(&entry.act, None).and_then(|step| step.pen);
    let mut document = Document {
        id: entry.id.opens(),
        kind: entry.kind.clone(),
        form: entry.form,
        pen: Party::of(site.clone()),
        site,
        state: state.name.to_owned(),
        round: 1,
        head: entry.id,
        opened_by: entry.author.clone(),
        opened_at: entry.occurred_at,
        changed_at: entry.occurred_at,
        fields: BTreeMap::new(),
        notes: BTreeMap::new(),
    };
    put(&mut document, entry);
    hand_over(&mut document, holder)?;
    Ok(document)
}

/// Who holds the pen next, once the step's fields are set.
fn hand_over(document: &mut Document, holder: Option<Holder>) -> Result<(), Refusal> {
    match holder {
        Some(Holder::Hub) => document.pen = Party::Hub,
        Some(Holder::Origin) if document.pen != Party::Hub && is_planted(Plant::PenKept) => {}
        Some(Holder::Origin) => document.pen = Party::of(document.site.clone()),
        Some(Holder::Named(field)) => {
            let named = document.fields.get(field).and_then(Value::as_text).and_then(|text| text.parse().ok());
            document.pen = Party::of(named.ok_or(Refusal::Mismatch("the pen goes to a site it does not name"))?);
        }
        None => {}
    }
    Ok(())
}

fn advance(
    kind: &Kind,
    document: &Document,
    entry: &Entry,
    writer: Writer<'_>,
    follows_known: &dyn Fn(EntryId) -> bool,
) -> Result<Document, Refusal> {
    let after = entry.after.ok_or(Refusal::Mismatch("a state entry names what it follows"))?;
    if is_planted(Plant::OrderByClock) && entry.occurred_at < document.changed_at {
        return Err(wrong_state(document, entry));
    }
    if after != document.head && !is_planted(Plant::AnyAfter) {
        return Err(if follows_known(after) { Refusal::Superseded { after } } else { Refusal::Ahead });
    }
    let is_reclaim = entry.act == header::RECLAIMED;
    let holds_pen = match (&document.pen, writer) {
        (Party::Hub, Writer::Hub) | (_, Writer::Accepted) => true,
        (Party::Site(_), Writer::Hub) if is_reclaim => true,
        (Party::Site(site), Writer::Agent(sites)) => sites.include(site),
        (Party::Hub, Writer::Agent(_)) | (Party::Site(_), Writer::Hub) => false,
    };
    if !holds_pen && !is_planted(Plant::AnyPen) {
        let holder = match &document.pen {
            Party::Hub => "the hub".to_owned(),
            Party::Site(site) => format!("site {site}"),
        };
        return Err(Refusal::NoPen { holder });
    }
    let mut next = document.clone();
    if entry.act == header::VOIDED {
        if document.state == VOID.name {
            return Err(wrong_state(document, entry));
        }
        next.state = VOID.name.to_owned();
        put(&mut next, entry);
    } else if is_reclaim || entry.act == header::HANDED_OVER {
        pass_pen(&mut next, entry, writer)?;
    } else {
        if !kind.flow.iter().any(|step| step.act == entry.act) {
            return Err(unknown_act(kind, entry));
        }
        let step = kind.step(&entry.act, Some(&document.state)).ok_or_else(|| wrong_state(document, entry))?;
        if matches!(writer, Writer::Agent(_)) && step.is_for_hub_alone() && !is_planted(Plant::AnyPen) {
            return Err(Refusal::HubsAct { act: entry.act.clone() });
        }
        if let Some(to) = step.to {
            next.state = to.name.to_owned();
        }
        put(&mut next, entry);
        hand_over(&mut next, step.pen)?;
        next.round += u16::from(step.is_next_round);
    }
    next.head = entry.id;
    next.changed_at = entry.occurred_at;
    Ok(next)
}

/// Reclaiming takes the pen from a site, handing over gives it to one. Only the hub does either.
fn pass_pen(document: &mut Document, entry: &Entry, writer: Writer<'_>) -> Result<(), Refusal> {
    let is_hubs = match writer {
        Writer::Agent(_) => false,
        Writer::Hub | Writer::Accepted => true,
    };
    if document.state == VOID.name || !is_hubs {
        return Err(wrong_state(document, entry));
    }
    put(document, entry);
    let holder = match (entry.act == header::RECLAIMED, entry.set.contains_key(header::PEN_SITE.name())) {
        (true, _) => Holder::Hub,
        (false, true) => Holder::Named(header::PEN_SITE.name()),
        (false, false) => Holder::Origin,
    };
    hand_over(document, Some(holder))
}

fn noted(document: &Document, entry: &Entry) -> Document {
    let mut next = document.clone();
    let note = Note { author: entry.author.clone(), occurred_at: entry.occurred_at, set: entry.set.clone() };
    next.notes.insert(entry.id, note);
    if is_planted(Plant::NotesMoveHead) {
        next.head = entry.id;
    }
    next
}

/// Every key is known and every value of its type. Fields the hub defined are kept raw.
fn check_values(kind: &Kind, entry: &Entry) -> Result<(), Refusal> {
    for (key, value) in &entry.set {
        if matches!(Key::parse(key), Some(Key::Custom(_))) {
            continue;
        }
        let ty: Type = kind.field_at(key).map(|field| field.ty).ok_or_else(|| Refusal::UnknownField(key.clone()))?;
        if !ty.fits(value) {
            return Err(Refusal::WrongType { field: key.clone(), expected: ty });
        }
    }
    Ok(())
}

fn put(document: &mut Document, entry: &Entry) {
    for (key, value) in &entry.set {
        let is_kept_elsewhere = key == header::SITE.name() || key == header::STATE.name();
        match value {
            _ if is_kept_elsewhere => {}
            Value::Null => {
                document.fields.remove(key);
            }
            value => {
                document.fields.insert(key.clone(), value.clone());
            }
        }
    }
}

fn unknown_act(kind: &Kind, entry: &Entry) -> Refusal {
    Refusal::UnknownAct { kind: kind.name.to_owned(), act: entry.act.clone() }
}

fn wrong_state(document: &Document, entry: &Entry) -> Refusal {
    Refusal::WrongState { act: entry.act.clone(), state: document.state.clone() }
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
