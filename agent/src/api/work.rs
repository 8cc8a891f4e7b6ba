//! What the API does, without HTTP: requests and answers as JSON on the store. Every call blocks.

use std::str::FromStr;

use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use waystation_protocol::document::Document;
use waystation_protocol::document::Party;
use waystation_protocol::document::capture::{Problem, Wish};
use waystation_protocol::document::flow::VOID;
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::kind::{self, Kind, header};
use waystation_protocol::site::{SiteId, Sites};
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use super::fault::Fault;
use super::salvaged;
use crate::clock::Clock;
use crate::link::{BUILD, LinkState};
use crate::store::{At, Draft, DraftId, Filter, ImportOutcome, ImportRow, Page, Receipt, Store, Whereabouts};
use waystation_protocol::form;

/// Who is named where a request names nobody.
pub const DEFAULT_AUTHOR: &str = "clerk";
/// How many documents a look-up gives.
const LOOKUP_LIMIT: usize = 20;

/// A store with what is needed to speak JSON about it.
#[derive(Clone)]
pub struct Work {
    /// The store.
    pub store: Store,
    /// The clock.
    pub clock: Clock,
    /// The zone in which times are shown and read.
    pub zone: TimeZone,
}

/// A request to open a document.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The kind's name.
    pub kind: String,
    /// The opening act; the kind's first where absent.
    #[serde(default)]
    pub act: String,
    /// The site; the agent's only one where absent.
    #[serde(default)]
    pub site: Option<String>,
    /// Who does it.
    #[serde(default, alias = "by")]
    pub author: Option<String>,
    /// The fields.
    #[serde(default)]
    pub set: Map<String, Json>,
    /// The draft it was written in; dropped once captured.
    #[serde(default)]
    pub draft: Option<String>,
}

/// A request to act on a document, or to save a draft for it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The fields.
    #[serde(default)]
    pub set: Map<String, Json>,
    /// Who does it.
    #[serde(default, alias = "by")]
    pub author: Option<String>,
    /// The draft it was written in; dropped once captured.
    #[serde(default)]
    pub draft: Option<String>,
    /// The document's `head` as its author saw it: refused if it has changed since. A draft remembers its own.
    #[serde(default)]
    pub seen: Option<String>,
}

/// Which documents a list shows, as a query states it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Query {
    /// The kind's name.
    pub kind: Option<String>,
    /// The site.
    pub site: Option<String>,
    /// The state's name.
    pub state: Option<String>,
    /// Words to look for.
    pub q: Option<String>,
    /// The end of the page before.
    pub cursor: Option<String>,
    /// Most documents to give.
    pub limit: Option<usize>,
}

impl Work {
    /// Opens a document.
    pub fn open(&self, opening: Opening) -> Result<Json, Fault> {
        let kind = find_kind(&opening.kind)?;
        let mut set = form::set_from_json(kind, &opening.set, &self.zone).map_err(Fault::problems)?;
        let sites = self.store.identity().sites;
        let site = opening.site.as_deref().or(sites.default_site().map(SiteId::as_str));
        if let Some(site) = site {
            set.entry(header::SITE.name().to_owned()).or_insert_with(|| Value::from(site.trim()));
        }
        let draft = opening.draft.as_deref().map(parse::<DraftId>).transpose()?;
        let wish = Wish {
            document: None,
            kind: opening.kind,
            act: opening.act,
            set,
            author: author(opening.author),
            cause: None,
        };
        let receipt = self.store.capture(wish, self.at())?;
        self.forget(draft)?;
        Ok(receipt_json(&receipt))
    }

    /// Acts on a document.
    pub fn act(&self, id: &str, act: &str, change: Change) -> Result<Json, Fault> {
        let document = self.find(id).map_err(|fault| self.hindrance(id).unwrap_or(fault))?;
        let kind = find_kind(&document.kind)?;
        let set = form::set_from_json(kind, &change.set, &self.zone).map_err(Fault::problems)?;
        let draft = change.draft.as_deref().map(parse::<DraftId>).transpose()?;
        let wish = Wish {
            document: Some(document.id),
            kind: document.kind,
            act: act.to_owned(),
            set,
            author: author(change.author),
            cause: None,
        };
        let stated = change.seen.as_deref().map(parse::<EntryId>).transpose()?;
        let drafted = || -> Result<_, Fault> {
            Ok(draft.map(|id| self.store.draft(id)).transpose()?.flatten().and_then(|draft| draft.seen))
        };
        let seen = stated.map_or_else(drafted, |stated| Ok(Some(stated)))?;
        let receipt = self.store.capture_seen(wish, seen, self.at())?;
        self.forget(draft)?;
        Ok(receipt_json(&receipt))
    }

    /// A page of documents.
    pub fn list(&self, query: Query) -> Result<Json, Fault> {
        let page = self.page(query)?;
        let items: Result<Vec<Json>, Fault> = page.items.iter().map(|document| self.item(document)).collect();
        Ok(json!({ "items": items?, "next": page.next }))
    }

    /// Documents by their searched fields.
    pub fn lookup(&self, words: &str) -> Result<Json, Fault> {
        let query = Query { q: Some(words.to_owned()), limit: Some(LOOKUP_LIMIT), ..Query::default() };
        let page = if words.trim().is_empty() { Page::default() } else { self.page(query)? };
        let items: Result<Vec<Json>, Fault> = page.items.iter().map(|document| self.item(document)).collect();
        Ok(json!({ "items": items? }))
    }

    /// A page of documents as they are stored.
    pub fn page(&self, query: Query) -> Result<Page, Fault> {
        let site = query.site.as_deref().map(str::parse::<SiteId>).transpose();
        let filter = Filter {
            kind: query.kind,
            site: site.map_err(|error| Fault::bad_request(error.to_string()))?,
            state: query.state,
            q: query.q,
            cursor: query.cursor,
            limit: query.limit.unwrap_or(0),
        };
        Ok(self.store.documents(&filter)?)
    }

    /// A document with its history and the acts possible now.
    pub fn show(&self, id: &str) -> Result<Json, Fault> {
        let document = match self.find(id) {
            Ok(document) => document,
            Err(fault) => {
                let unopened = id.parse().ok().map(|id| self.show_unopened(id)).transpose()?;
                return unopened.flatten().ok_or(fault);
            }
        };
        let kind = kind::find(&document.kind);
        let mut item = self.item(&document)?;
        let aside = self.aside(document.id)?;
        item["history"] = Json::Array(self.history(document.id, Some(&document), &aside)?);
        item["aside"] = Json::Array(aside);
        let earlier = self.store.earlier(document.id)?;
        if earlier > 0 {
            item["earlier_entries"] = json!(earlier);
            item["remark"] = json!("earlier entries are at the hub");
        }
        if self.store.whereabouts(document.id)? == Whereabouts::Damaged {
            item["remark"] =
                json!("entries of it could not be read from a damaged file: what is shown may be on no other machine");
        }
        item["actions"] = json!(kind.map_or_else(Vec::new, |kind| self.actions(kind, &document)));
        Ok(item)
    }

    /// Saves a draft that would open a document.
    pub fn draft_opening(&self, opening: Opening) -> Result<Json, Fault> {
        let kind = find_kind(&opening.kind)?;
        let mut set = form::set_from_json(kind, &opening.set, &self.zone).map_err(Fault::problems)?;
        if let Some(site) = &opening.site {
            set.insert(header::SITE.name().to_owned(), Value::from(site.trim()));
        }
        let id = opening.draft.as_deref().map(parse::<DraftId>).transpose()?;
        let draft = Draft {
            document: None,
            kind: opening.kind,
            set,
            author: author(opening.author),
            changed_at: self.clock.now(),
            seen: None,
        };
        let id = self.store.save_draft(id, draft)?;
        Ok(json!({ "draft": id.to_string() }))
    }

    /// Saves fields into the one draft of a document.
    pub fn draft_change(&self, id: &str, change: Change) -> Result<Json, Fault> {
        let document = self.find(id)?;
        let kind = find_kind(&document.kind)?;
        let set = form::set_from_json(kind, &change.set, &self.zone).map_err(Fault::problems)?;
        let existing = self.store.drafts()?.into_iter().find(|(_, draft)| draft.document == Some(document.id));
        let (id, mut fields, seen) = match existing {
            Some((id, draft)) => (Some(id), draft.set, draft.seen),
            None => (None, Default::default(), Some(document.head)),
        };
        fields.extend(set);
        let draft = Draft {
            document: Some(document.id),
            kind: document.kind,
            set: fields,
            author: author(change.author),
            changed_at: self.clock.now(),
            seen,
        };
        let id = self.store.save_draft(id, draft)?;
        Ok(json!({ "draft": id.to_string() }))
    }

    /// All drafts, the last saved first.
    pub fn drafts(&self) -> Result<Json, Fault> {
        let items = self.store.drafts()?.into_iter().map(|(id, draft)| {
            let kind = kind::find(&draft.kind);
            let text = |(key, value): (&String, &Value)| (key.clone(), form::field_json(kind, key, value, &self.zone));
            json!({
                "draft": id.to_string(),
                "document": draft.document,
                "kind": draft.kind,
                "set": draft.set.iter().map(text).collect::<Map<_, _>>(),
                "author": draft.author,
                "changed_at": draft.changed_at.rfc3339(&self.zone),
            })
        });
        Ok(json!({ "items": items.collect::<Vec<_>>() }))
    }

    /// Drops a draft, if it is there.
    pub fn drop_draft(&self, id: &str) -> Result<(), Fault> {
        self.forget(Some(parse(id)?))
    }

    /// Imports rows in one commit; the outcomes come in their order.
    pub fn import(&self, rows: Vec<ImportRow>) -> Result<Vec<ImportOutcome>, Fault> {
        Ok(self.store.capture_import(rows, self.at())?)
    }

    /// What importing these rows would give; nothing is captured.
    pub fn rehearse(&self, rows: Vec<ImportRow>) -> Result<Vec<ImportOutcome>, Fault> {
        Ok(self.store.rehearse_import(rows, self.at())?)
    }

    /// The agent as it stands.
    pub fn status(&self, link: &LinkState) -> Result<Json, Fault> {
        let identity = self.store.identity();
        let (head, stored, backlog) = (self.store.head(), self.store.stored(), self.store.backlog());
        let now = self.clock.now();
        let sites = match &identity.sites {
            Sites::All => json!("*"),
            Sites::Only(sites) => json!(sites),
        };
        let age_s = |at: Timestamp| (now.0 - at.0).max(0) / 1000;
        Ok(json!({
            "agent": identity.agent,
            "sites": sites,
            "stream": identity.stream,
            "letter": identity.letter,
            "number_tag": self.store.tag().to_string(),
            "is_copy": self.store.is_copy(),
            "head_seq": head.seq.0,
            "head_hash": head.hash.to_string(),
            "stored_seq": stored.seq.0,
            "processed_seq": self.store.processed_and_prunable().0.0,
            "pruned_seq": self.store.pruned().0,
            "pruned_since_start": self.store.counts().pruned,
            "salvage": self.store.salvage().map(|salvage| salvaged::json(&salvage)),
            "down_seq": self.store.down().map_or(0, |down| down.head.seq.0),
            "set_aside": self.store.count_set_aside()?,
            "waits_for_copy": self.store.is_waiting_for_copy(),
            "unread_notices": self.current_notices()?.iter().filter(|(_, is_read)| !is_read).count(),
            "form_definitions": self.store.definitions()?.len(),
            "unsent": backlog.entries,
            "unsent_bytes": backlog.bytes,
            "oldest_unsent_age_s": backlog.oldest_at.map_or(0, age_s),
            "connected": link.is_connected,
            "session_open": link.is_open,
            "network_plugged": link.is_plugged,
            "last_ack_at": link.last_ack_at.map(|at| at.rfc3339(&self.zone)),
            "last_error": link.last_error,
            "clock_offset_ms": link.clock_offset_ms,
            "clock_quality": self.store.clock_quality(now).name(),
            "clock_steps": self.store.clock_steps(),
            "disk_free": self.store.disk_free()?,
            "build": BUILD,
            "problem": self.problem(link).map(|problem| problem.en),
        }))
    }

    /// What a person must do something about, if anything.
    pub fn problem(&self, link: &LinkState) -> Option<Problem> {
        if self.store.is_short_of_room() {
            return Some(Problem::whole(
                "磁盘将满，已停止录入；请清理磁盘",
                "the disk is nearly full and nothing more is captured: make room",
            ));
        }
        if let Some(salvage) = self.store.salvage() {
            return Some(salvaged::problem(&salvage));
        }
        if let Some(trouble) = link.trouble {
            return Some(Problem::whole(trouble.zh(), trouble.en()));
        }
        if self.store.is_copy() {
            let tag = self.store.tag();
            return Some(Problem::whole(
                format!("本机数据是复制、移动或还原来的；连上中心之前，单号用临时标记 {tag}"),
                format!(
                    "this store was copied, moved or put back: until it meets the hub, numbers carry the tag {tag}"
                ),
            ));
        }
        self.store.is_waiting_for_copy().then(|| {
            Problem::whole(
                "本机数据来自较旧的副本：旧单据须等中心送来最新内容，新单据可照常录入",
                "this store went on from an older copy: older documents wait for the hub's copy, new ones can be opened",
            )
        })
    }

    /// People know what was salvaged: the status says it no more.
    pub fn dismiss_salvage(&self) -> Result<(), Fault> {
        Ok(self.store.dismiss_salvage()?)
    }

    fn item(&self, document: &Document) -> Result<Json, Fault> {
        Ok(json!({
            "id": document.id,
            "kind": document.kind,
            "site": document.site,
            "number": document.number(),
            "state": document.state,
            "pen": document.pen,
            "opened_at": document.opened_at.rfc3339(&self.zone),
            "changed_at": document.changed_at.rfc3339(&self.zone),
            "digest": digest(document),
            "fields": form::fields_json(kind::find(&document.kind), &document.state, &document.fields, &self.zone),
            "head": document.head,
            "warnings": kind::odd(document).into_iter().map(|odd| json!({ "field": odd.field, "zh": odd.zh, "en": odd.en })).collect::<Vec<_>>(),
            "whereabouts": self.store.whereabouts(document.id)?.name(),
        }))
    }

    /// Acts that may be taken now: the pen's holder's steps, and a note at any time.
    fn actions(&self, kind: &'static Kind, document: &Document) -> Vec<&'static str> {
        let has_pen = match &document.pen {
            Party::Site(site) => self.store.identity().sites.include(site),
            Party::Hub => false,
        };
        let mut acts: Vec<&str> = if has_pen {
            kind.steps_from(&document.state).filter(|step| !step.is_for_hub_alone()).map(|step| step.act).collect()
        } else {
            vec![]
        };
        if has_pen && document.state != VOID.name {
            acts.push(header::VOIDED);
        }
        acts.push(header::NOTE);
        acts
    }

    fn find(&self, id: &str) -> Result<Document, Fault> {
        let missing = || Fault::not_found(&format!("there is no document {id}"));
        let id: DocId = id.parse().map_err(|_| missing())?;
        self.store.document(id)?.ok_or_else(missing)
    }

    fn forget(&self, draft: Option<DraftId>) -> Result<(), Fault> {
        Ok(draft.map_or(Ok(()), |draft| self.store.drop_draft(draft))?)
    }

    /// The clock as it is now; a step since it was last read is in the journal before anything that happens after it.
    pub(super) fn at(&self) -> At {
        let (now, tick) = self.clock.both();
        let at = At { now, mono_ms: tick.0 };
        if let Err(error) = self.store.observe_clock(at) {
            tracing::warn!(%error, "a step of the clock could not be journalled");
        }
        at
    }
}

fn find_kind(name: &str) -> Result<&'static Kind, Fault> {
    kind::find(name).ok_or_else(|| {
        let known: Vec<&str> = kind::KINDS.iter().map(|kind| kind.name).collect();
        let en = format!("there is no kind '{name}'; known kinds: {}", known.join(", "));
        Fault::problems(vec![Problem::at("kind", format!("没有单据类型“{name}”"), en)])
    })
}

fn parse<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(|error: T::Err| Fault::bad_request(error.to_string()))
}

fn author(named: Option<String>) -> String {
    named.unwrap_or_else(|| DEFAULT_AUTHOR.to_owned())
}

fn digest(document: &Document) -> String {
    data_encoding::HEXLOWER.encode(&document.digest())
}

fn receipt_json(receipt: &Receipt) -> Json {
    let document = &receipt.document;
    json!({
        "id": document.id,
        "entry": receipt.entry,
        "seq": receipt.seq.0,
        "number": document.number(),
        "state": document.state,
        "kind": document.kind,
        "site": document.site,
        "digest": digest(document),
    })
}
