//! Capture: a clerk's wish becomes an entry, or the list of everything that is wrong with it.
//!
//! Here, and only here, run the checks beyond types, flow and pen. The writer then commits the entry together with
//! those its effects open.

use std::collections::BTreeMap;

use super::field::{Field, Key};
use super::filling::Filling;
use super::flow::{Step, VOID};
use super::fold::{self, Refusal, Writer};
use super::{Document, Party};
use crate::entry::Entry;
use crate::id::{DocId, EntryId};
use crate::kind::{self, Kind, header};
use crate::limits;
use crate::site::SiteId;
use crate::time::Timestamp;
use crate::value::{Type, Value};

/// What someone wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The document to act on; none opens one.
    pub document: Option<DocId>,
    /// The kind's name.
    pub kind: String,
    /// The act's name; empty for the kind's first opening act.
    pub act: String,
    /// Fields to set.
    pub set: BTreeMap<String, Value>,
    /// Who wants it.
    pub author: String,
    /// The entry whose effect it is.
    pub cause: Option<EntryId>,
}

/// What only the writer's store knows.
pub trait Books {
    /// Stock on hand, in thousandths, of an item at a location as far as this store has it.
    fn on_hand_milli(&self, item: &str, location: &str) -> i64;
    /// How far the upward and the downward journal go.
    fn positions(&self) -> (u64, u64);
    /// Kilometres that a vehicle's odometer last showed, until a time, on another document than this; at an outlet only.
    fn odometer(&self, _vin: &str, _until: Timestamp, _but: DocId) -> Option<i64> {
        None
    }
    /// A rule of the network's by name, such as `claim.max_rounds`, where this store knows one: the hub does.
    fn rule(&self, _name: &str) -> Option<i64> {
        None
    }
    /// When the hub received an entry; none elsewhere.
    fn received_at(&self, _entry: EntryId) -> Option<Timestamp> {
        None
    }
    /// A document, where this store has it.
    fn find(&self, _document: DocId) -> Option<Document> {
        None
    }
    /// Every document of a kind that belongs to a site, in the order they were opened; at the hub only.
    fn documents(&self, _kind: &str, _site: &SiteId) -> Vec<Document> {
        Vec::new()
    }
}

/// When and where an act is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The new entry's id.
    pub id: EntryId,
    /// Wall time.
    pub now: Timestamp,
    /// Milliseconds since the process started.
    pub mono_ms: u64,
    /// Which process start.
    pub boot: u32,
    /// `ClockQuality::code`.
    pub clock: u8,
}

/// One thing that is wrong, told to the person who can mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field's key; none if it concerns the whole.
    pub field: Option<String>,
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

/// What a check or an effect looks at.
pub struct Change<'a> {
    /// The document before; none if it is being opened.
    pub before: Option<&'a Document>,
    /// The document after.
    pub after: &'a Document,
    /// The act's name.
    pub act: &'a str,
    /// The fields it sets.
    pub set: &'a BTreeMap<String, Value>,
    /// Who does it.
    pub author: &'a str,
    /// When.
    pub now: Timestamp,
    /// What the writer's store knows.
    pub books: &'a dyn Books,
}

/// What an act brings about elsewhere, in its own commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Opens a document, of the same site unless its fields name another.
    Open {
        /// The kind's name.
        kind: &'static str,
        /// The opening act.
        act: &'static str,
        /// Its fields.
        set: BTreeMap<String, Value>,
    },
    /// Adds a note to a document.
    Note {
        /// Which.
        document: DocId,
        /// What it says.
        set: BTreeMap<String, Value>,
    },
}

/// A captured act.
#[derive(Debug, Clone)]
pub struct Captured {
    /// The entry to commit.
    pub entry: Entry,
    /// The document as it then is.
    pub document: Document,
    /// What it brings about.
    pub effects: Vec<Effect>,
}

impl Problem {
    /// A problem with one field.
    pub fn at(field: impl Into<String>, zh: impl Into<String>, en: impl Into<String>) -> Problem {
        Problem { field: Some(field.into()), zh: zh.into(), en: en.into() }
    }

    /// A problem with the whole.
    pub fn whole(zh: impl Into<String>, en: impl Into<String>) -> Problem {
        Problem { field: None, zh: zh.into(), en: en.into() }
    }
}

/// Captures a wish on the document as it stands. All that is wrong is said at once.
pub fn capture(
    before: Option<&Document>,
    wish: Wish,
    moment: Moment,
    writer: Writer<'_>,
    books: &dyn Books,
) -> Result<Captured, Vec<Problem>> {
    let kind = kind::find(&wish.kind).ok_or_else(|| vec![unknown_kind(&wish.kind)])?;
    let mut entry = entry_of(kind, before, wish, moment);
    let is_import = entry.act == header::IMPORTED;
    let mut problems = if is_import { Vec::new() } else { stated_problems(kind, &entry, writer) };
    if let (Some(fill), false) = (kind.fill, is_import || entry.act == header::NOTE) {
        let Entry { act, author, set, .. } = &mut entry;
        fill(&Filling { before, act, author, now: moment.now, books }, set);
    }
    problems.extend(size_problems(&entry));
    let document = match fold::fold(before, &entry, writer, &|_| true) {
        Ok(document) => document,
        Err(refusal) => {
            problems.push(refused(&refusal));
            return Err(problems);
        }
    };
    let (act, set, author) = (entry.act.as_str(), &entry.set, entry.author.as_str());
    let change = Change { before, after: &document, act, set, author, now: moment.now, books };
    if !is_import && entry.act != header::NOTE {
        problems.extend(taken_problems(kind, &change));
        problems.extend(required_problems(kind, &document));
        problems.extend(future_problems(kind, &change));
        problems.extend(currency_problems(kind, &document));
        problems.extend(kind.checks.iter().flat_map(|check| check(&change)));
    }
    if entry.act != header::NOTE {
        problems.extend(kind.bounds.iter().flat_map(|check| check(&change)));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let effects = if is_import { Vec::new() } else { kind.effects.map_or_else(Vec::new, |effects| effects(&change)) };
    Ok(Captured { entry, document, effects })
}

fn entry_of(kind: &Kind, before: Option<&Document>, wish: Wish, moment: Moment) -> Entry {
    let act = if wish.act.is_empty() && before.is_none() {
        kind.flow.iter().find(|step| step.is_opening()).map_or(String::new(), |step| step.act.to_owned())
    } else {
        wish.act
    };
    let is_note = act == header::NOTE;
    Entry {
        id: moment.id,
        document: before.map(|document| document.id),
        after: before.filter(|_| !is_note).map(|document| document.head),
        kind: wish.kind,
        form: kind.form,
        act,
        set: wish.set,
        author: wish.author,
        cause: wish.cause,
        occurred_at: moment.now,
        mono_ms: moment.mono_ms,
        boot: moment.boot,
        clock: moment.clock,
    }
}

fn size_problems(entry: &Entry) -> Vec<Problem> {
    let mut problems = Vec::new();
    if entry.author.trim().is_empty() || entry.author.len() > limits::AUTHOR_BYTES {
        problems.push(Problem::at("author", "须注明经办人", "an author of 1 to 128 bytes is required"));
    }
    if entry.set.len() > limits::ENTRY_FIELDS {
        problems.push(Problem::whole("字段过多", "too many fields in one act"));
    }
    for (key, value) in &entry.set {
        if value.as_text().is_some_and(|text| text.len() > limits::TEXT_BYTES) {
            problems.push(Problem::at(key, "文字过长（上限 64 KB）", "text longer than 64 KB"));
        }
    }
    if problems.is_empty() && entry.to_bytes().len() > limits::ENTRY_BYTES {
        problems.push(Problem::whole("内容过大（上限 256 KB）", "the act is larger than 256 KB"));
    }
    problems
}

/// What the store fills in nobody states, except where it is the effect of another act, or the hub's people note it: what becomes
/// of an old part that was tagged after the approval of its claim, say.
fn stated_problems(kind: &Kind, entry: &Entry, writer: Writer<'_>) -> Vec<Problem> {
    let is_hubs_word = matches!(writer, Writer::Hub) && entry.act == header::NOTE;
    let may_state = entry.cause.is_some() || is_hubs_word;
    let is_filled = |key: &&String| !may_state && kind.field_at(key).is_some_and(|field| field.is_filled);
    let stated = entry.set.keys().filter(is_filled);
    stated.map(|key| Problem::at(key, "此字段由系统填写", "the store states this, not a person")).collect()
}

/// A step sets all it takes; what some step takes, no other step sets.
fn taken_problems(kind: &Kind, change: &Change<'_>) -> Vec<Problem> {
    let state = change.before.map(|document| document.state.as_str());
    let step: Option<&Step> = kind.step(change.act, state);
    let takes = step.map_or(&[][..], |step| step.takes);
    let unset = |name: &&&str| !is_stated(change.after, name);
    let mut problems: Vec<Problem> = takes.iter().filter(unset).map(|name| required(kind.field(name), name)).collect();
    for key in change.set.keys() {
        let is_taken = kind.flow.iter().any(|step| step.takes.contains(&key.as_str()));
        if is_taken && !takes.contains(&key.as_str()) {
            problems.push(Problem::at(key, "此步骤不能填写该字段", "this act does not set this field"));
        }
    }
    if change.act == header::VOIDED && !is_stated(change.after, header::REASON.name()) {
        problems.push(Problem::at(header::REASON.name(), "作废须填写原因", "voiding needs a reason"));
    }
    if change.act == header::VOIDED && kind.stands_once_ended && state.is_some_and(|state| kind.has_ended(state)) {
        problems
            .push(Problem::whole("已办结的单据不能作废", "what has ended stands: others have counted or paid by it"));
    }
    if change.act == header::RECLAIMED && !change.set.contains_key(header::RECLAIM_REASON.name()) {
        problems.push(Problem::at(header::RECLAIM_REASON.name(), "收回须填写原因", "reclaiming needs a reason"));
    }
    let is_at_hub = change.before.is_some_and(|document| document.pen == Party::Hub);
    if change.act == header::RECLAIMED && is_at_hub {
        problems.push(Problem::whole("单据已在中心手中", "the hub holds the pen already"));
    }
    problems
}

/// Whether a field says anything: text of blanks does not.
fn is_stated(document: &Document, key: &str) -> bool {
    let value = document.fields.get(key);
    value.is_some_and(|value| value.as_text().is_none_or(|text| !text.trim().is_empty()))
}

fn required_problems(kind: &Kind, document: &Document) -> Vec<Problem> {
    if document.state == VOID.name {
        return Vec::new();
    }
    let is_due = |field: &&Field| field.required_from.is_some_and(|from| kind.has_reached(&document.state, from));
    let missing = kind.fields.iter().filter(is_due).filter(|field| !is_stated(document, field.name));
    let mut problems: Vec<Problem> = missing.map(|field| required(Some(field), field.name)).collect();
    for group in kind.lines {
        for line in document.lines(group.name) {
            for field in group.fields.iter().filter(is_due) {
                let key = format!("{}#{}.{}", group.name, line.number, field.name);
                if !is_stated(document, &key) {
                    problems.push(required(Some(field), &key));
                }
            }
        }
    }
    problems
}

/// Sums over a document mean something because all its money is of one currency.
fn currency_problems(kind: &Kind, document: &Document) -> Vec<Problem> {
    let is_money = |key: &str| kind.field_at(key).is_some_and(|field| field.ty == Type::Money);
    let mut currencies =
        document.fields.iter().filter(|(key, _)| is_money(key)).filter_map(|(_, value)| value.as_measured());
    match currencies.next() {
        Some((_, first)) if currencies.any(|(_, currency)| currency != first) => {
            vec![Problem::whole("一张单据只能用一种货币", "one document has one currency")]
        }
        Some(_) | None => Vec::new(),
    }
}

/// What happened cannot lie in the future by more than a wrong clock's lead. Due dates may.
fn future_problems(kind: &Kind, change: &Change<'_>) -> Vec<Problem> {
    let latest = change.now.0 + limits::CLOCK_LEAD_MS;
    let is_past_fact = |key: &&String| {
        matches!(Key::parse(key), Some(Key::Field(name)) if name == header::OCCURRED_AT.name())
            || matches!(Key::parse(key), Some(Key::Field(name))
                if name.ends_with("_at") && kind.field(name).is_some_and(|field| field.ty == Type::Time))
    };
    let too_late = change.set.iter().filter(|(key, value)| is_past_fact(key) && value.as_int() > Some(latest));
    too_late.map(|(key, _)| Problem::at(key, "时间晚于现在", "this lies in the future")).collect()
}

fn required(field: Option<&Field>, key: &str) -> Problem {
    let (zh, en) = field.map_or((key, key), |field| (field.zh, field.en));
    Problem::at(key, format!("{zh}必填"), format!("{en} is required"))
}

fn unknown_kind(name: &str) -> Problem {
    let known: Vec<&str> = kind::KINDS.iter().map(|kind| kind.name).collect();
    Problem::at(
        "kind",
        format!("没有单据类型“{name}”"),
        format!("there is no kind '{name}'; known kinds: {}", known.join(", ")),
    )
}

fn refused(refusal: &Refusal) -> Problem {
    let en = refusal.to_string();
    match refusal {
        Refusal::WrongType { field, .. } => Problem::at(field, "类型不符", en),
        Refusal::UnknownField(field) => Problem::at(field, "没有这个字段", en),
        Refusal::WrongSite => Problem::at(header::SITE.name(), "未注明网点，或本机不代表该网点", en),
        Refusal::NoPen { holder } => {
            let zh = match (holder.as_str(), holder.strip_prefix("site ")) {
                (_, Some(site)) => format!("单据不在本方手中，现由网点 {site} 持有"),
                ("the hub", None) => "单据不在本方手中，现由中心持有".to_owned(),
                (_, None) => "此操作由网点执行".to_owned(),
            };
            Problem::whole(zh, en)
        }
        Refusal::HubsAct { .. } => Problem::whole("此操作只能由中心人员执行", en),
        Refusal::WrongState { .. } => Problem::whole("当前状态不能执行此操作", en),
        Refusal::UnknownAct { .. } => Problem::whole("没有这个操作", en),
        Refusal::Superseded { .. } => Problem::whole("单据已被他人更改", en),
        Refusal::UnknownKind(_) | Refusal::NewerForm { .. } | Refusal::Ahead | Refusal::Mismatch(_) => {
            Problem::whole("无法记录", en)
        }
    }
}

#[cfg(test)]
#[path = "capture_tests.rs"]
mod tests;
