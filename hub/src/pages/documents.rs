//! `/documents` and `/documents/{id}`: what the outlets captured, in their own words.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use jiff::tz::TimeZone;
use waystation_protocol::document::field::{Field, Key, Lines};
use waystation_protocol::document::{Document, Party};
use waystation_protocol::form::{self, local_minute};
use waystation_protocol::id::DocId;
use waystation_protocol::kind::{self, KINDS, Kind, header};
use waystation_protocol::site::SiteId;
use waystation_protocol::value::{Type, Value};

use super::{Lang, Shell, Trouble, Visitor};
use crate::api::App;
use crate::api::documents::{DocumentQuery, Found, find};
use crate::api::problem::Problem;
use crate::board;
use crate::store::{Flag, HistoryEntry, SiteRow};
use crate::view;

/// Fields shown in a list's row.
const GLANCE: usize = 4;

#[derive(Template)]
#[template(path = "documents.html")]
struct ListPage {
    t: Lang,
    shell: Shell,
    kinds: Vec<Choice>,
    states: Vec<Choice>,
    sites: Vec<Choice>,
    is_flagged: bool,
    q: String,
    rows: Vec<ListRow>,
    older: Option<String>,
    newest: Option<String>,
}

pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) is_chosen: bool,
}

pub(super) struct ListRow {
    pub(super) address: String,
    pub(super) number: String,
    pub(super) kind: String,
    pub(super) site: String,
    pub(super) state: String,
    pub(super) opened: String,
    changed: String,
    pub(super) glance: String,
}

#[derive(Template)]
#[template(path = "document.html")]
struct DocumentPage {
    t: Lang,
    shell: Shell,
    number: String,
    kind: String,
    state: String,
    is_void: bool,
    facts: Vec<Named>,
    odd: Vec<String>,
    flags: Vec<Warning>,
    fields: Vec<Named>,
    groups: Vec<Group>,
    notes: Vec<Remark>,
    history: Vec<Happening>,
}

pub(super) struct Named {
    pub(super) label: String,
    pub(super) value: String,
    pub(super) link: Option<String>,
}

/// Where the document clashes with others.
struct Warning {
    text: &'static str,
    others: Vec<Named>,
}

struct Group {
    label: String,
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

struct Remark {
    author: String,
    at: String,
    text: String,
}

struct Happening {
    act: String,
    author: String,
    at: String,
    received: String,
    place: String,
    set: Vec<Named>,
    /// Whose fix stands for it.
    amended: Option<String>,
}

/// How a document's values are told.
pub(super) struct Telling<'a> {
    pub(super) t: Lang,
    pub(super) kind: Option<&'static Kind>,
    pub(super) state: &'a str,
    pub(super) zone: &'a TimeZone,
}

impl Telling<'_> {
    fn label(&self, key: &str) -> String {
        let of = |field: &Field| self.t.pick(field.zh, field.en).to_owned();
        let named = self.kind.and_then(|kind| kind.field_at(key)).map(of);
        match (Key::parse(key), named) {
            (Some(Key::Line { group, number, .. }), Some(label)) => {
                let lines = self.kind.and_then(|kind| kind.lines.iter().find(|lines| lines.name == group));
                let group = lines.map_or(group, |lines| self.t.pick(lines.zh, lines.en));
                format!("{group} {number} · {label}")
            }
            (_, named) => named.unwrap_or_else(|| key.to_owned()),
        }
    }

    fn value(&self, key: &str, value: &Value) -> String {
        view::display(self.kind.and_then(|kind| kind.field_at(key)).map(|field| field.ty), value, self.zone, self.t)
    }

    pub(super) fn named(&self, key: &str, value: &Value) -> Named {
        let is_link =
            matches!(self.kind.and_then(|kind| kind.field_at(key)).map(|field| field.ty), Some(Type::Link(_)));
        let target = value.as_text().and_then(|text| text.parse::<DocId>().ok()).filter(|_| is_link);
        let shown = if *value == Value::Null { self.t.cleared().to_owned() } else { self.value(key, value) };
        Named { label: self.label(key), value: shown, link: target.map(|id| format!("/documents/{id}")) }
    }

    fn state_word(&self, name: &str) -> String {
        let state = self.kind.and_then(|kind| kind.state(name));
        state.map_or(name, |state| self.t.pick(state.zh, state.en)).to_owned()
    }

    pub(super) fn act_word(&self, name: &str) -> String {
        let t = self.t;
        let step = self.kind.and_then(|kind| kind.flow.iter().find(|step| step.act == name));
        match (name, step) {
            (_, Some(step)) => t.pick(step.zh, step.en),
            (header::IMPORTED, None) => t.imported(),
            (header::VOIDED, None) => t.voided(),
            (header::NOTE, None) => t.note(),
            (header::RECLAIMED, None) => t.reclaimed(),
            (header::HANDED_OVER, None) => t.handed_over(),
            (name, None) => name,
        }
        .to_owned()
    }

    /// Fields that stand alone, declared ones first and in the order of the form.
    fn fields<'d>(&self, document: &'d Document) -> Vec<(&'d String, &'d Value)> {
        let place = |key: &str| {
            let own = self.kind.and_then(|kind| kind.fields.iter().position(|field| field.name == key));
            own.unwrap_or(usize::MAX)
        };
        let is_alone = |key: &str| !matches!(Key::parse(key), Some(Key::Line { .. }));
        let shown = |(key, _): &(&String, &Value)| is_alone(key) && form::is_shown(self.kind, key, self.state);
        let mut fields: Vec<_> = document.fields.iter().filter(shown).collect();
        fields.sort_by_key(|(key, _)| place(key));
        fields
    }

    fn group(&self, lines: &Lines, document: &Document) -> Option<Group> {
        let mut rows: BTreeMap<u32, BTreeMap<&str, String>> = BTreeMap::new();
        for (key, value) in &document.fields {
            let Some(Key::Line { group, number, field }) = Key::parse(key) else { continue };
            if group == lines.name && form::is_shown(self.kind, key, self.state) {
                rows.entry(number).or_default().insert(field, self.value(key, value));
            }
        }
        let used: BTreeSet<&str> = rows.values().flat_map(|row| row.keys().copied()).collect();
        let columns: Vec<&Field> = lines.fields.iter().filter(|field| used.contains(field.name)).collect();
        let cell = |row: &mut BTreeMap<&str, String>, field: &Field| row.remove(field.name).unwrap_or_default();
        let line = |(number, mut row): (u32, BTreeMap<&str, String>)| {
            std::iter::once(number.to_string()).chain(columns.iter().map(|field| cell(&mut row, field))).collect()
        };
        let labels = columns.iter().map(|field| self.t.pick(field.zh, field.en).to_owned());
        let heads = std::iter::once(self.t.line().to_owned()).chain(labels).collect();
        let label = self.t.pick(lines.zh, lines.en).to_owned();
        (!rows.is_empty()).then(|| Group { label, heads, rows: rows.into_iter().map(line).collect() })
    }

    fn happening(&self, history: &HistoryEntry) -> Happening {
        let entry = &history.entry;
        let shown = entry.set.iter().filter(|(key, _)| form::is_shown(self.kind, key, self.state));
        Happening {
            act: self.act_word(&entry.act),
            author: entry.author.clone(),
            at: local_minute(entry.occurred_at, self.zone),
            received: local_minute(history.received_at, self.zone),
            place: format!("#{}", history.seq.0),
            set: shown.map(|(key, value)| self.named(key, value)).collect(),
            amended: history.amended.as_ref().map(|fix| {
                format!("{} · {} · {} · {}", self.t.fixed(), fix.who, local_minute(fix.at, self.zone), fix.why)
            }),
        }
    }
}

/// Labels of kinds for a choice, with the chosen one marked.
fn kind_choices(t: Lang, chosen: Option<&str>) -> Vec<Choice> {
    let choice = |kind: &&Kind| Choice {
        value: kind.name.to_owned(),
        label: t.pick(kind.zh, kind.en).to_owned(),
        is_chosen: chosen == Some(kind.name),
    };
    KINDS.iter().map(choice).collect()
}

fn state_choices(t: Lang, kind: Option<&'static Kind>, chosen: Option<&str>) -> Vec<Choice> {
    let void = [waystation_protocol::document::flow::VOID];
    let states = kind.into_iter().flat_map(|kind| kind.states.iter().chain(&void).copied().collect::<Vec<_>>());
    let choice = |state: waystation_protocol::document::flow::State| Choice {
        value: state.name.to_owned(),
        label: t.pick(state.zh, state.en).to_owned(),
        is_chosen: chosen == Some(state.name),
    };
    states.map(choice).collect()
}

pub(super) fn site_choices(sites: &[SiteRow], chosen: Option<&str>) -> Vec<Choice> {
    let choice = |site: &SiteRow| Choice {
        value: site.site.to_string(),
        label: site.name.clone(),
        is_chosen: chosen == Some(site.site.as_str()),
    };
    sites.iter().map(choice).collect()
}

pub(super) fn list_row(t: Lang, document: &Document, sites: &HashMap<&str, &SiteRow>) -> ListRow {
    let site = sites.get(document.site.as_str());
    let zone = site.map_or(TimeZone::UTC, |site| board::zone_of(site));
    let telling = Telling { t, kind: kind::find(&document.kind), state: &document.state, zone: &zone };
    let is_own = |key: &str| telling.kind.is_some_and(|kind| kind.fields.iter().any(|field| field.name == key));
    let fields = telling.fields(document);
    let glance =
        fields.iter().filter(|(key, _)| is_own(key)).take(GLANCE).map(|(key, value)| telling.value(key, value));
    ListRow {
        address: format!("/documents/{}", document.id),
        number: number(document),
        kind: telling.kind.map_or(document.kind.as_str(), |kind| t.pick(kind.zh, kind.en)).to_owned(),
        site: site.map_or_else(|| document.site.to_string(), |site| site.name.clone()),
        state: telling.state_word(&document.state),
        opened: local_minute(document.opened_at, &zone),
        changed: local_minute(document.changed_at, &zone),
        glance: glance.collect::<Vec<_>>().join(" · "),
    }
}

/// The printed number; else the end of the id.
fn number(document: &Document) -> String {
    document.number().map_or_else(|| tail(&document.id), str::to_owned)
}

fn tail(id: &DocId) -> String {
    format!("…{}", id.to_string().chars().skip(24).collect::<String>())
}

/// The list.
pub async fn documents(State(app): State<App>, visitor: Visitor) -> Result<Response, Trouble> {
    let t = visitor.lang;
    let given = |name: &str| visitor.parameter(name).map(str::to_owned);
    let query = DocumentQuery {
        kind: given("kind"),
        site: given("site"),
        state: given("state"),
        flagged: given("flagged").map(|flagged| flagged == "true"),
        q: given("q"),
        cursor: given("cursor"),
        limit: None,
    };
    let mut filter = query.filter().map_err(|problem| visitor.trouble(problem))?;
    let kind = filter.kind.as_deref().and_then(kind::find);
    // a state left over from another kind asks for nothing
    filter.state = filter.state.filter(|state| kind.is_none_or(|kind| kind.state(state).is_some()));
    let state = filter.state.clone();
    let asked = app.ask(move |store| Ok::<_, Problem>((store.documents(&filter)?, store.sites()?))).await;
    let (page, sites) = asked.map_err(|problem| visitor.trouble(problem))?;
    let by_id: HashMap<&str, &SiteRow> = sites.iter().map(|site| (site.site.as_str(), site)).collect();
    let without_cursor = || {
        let pairs = visitor.pairs.iter().filter(|(name, value)| name != "cursor" && !value.is_empty());
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    };
    let older = page.next.as_deref().map(|next| visitor.address(without_cursor().chain([("cursor", next)])));
    let list = ListPage {
        t,
        shell: visitor.shell("documents"),
        kinds: kind_choices(t, query.kind.as_deref()),
        states: state_choices(t, kind, state.as_deref()),
        sites: site_choices(&sites, query.site.as_deref()),
        is_flagged: query.flagged == Some(true),
        q: query.q.clone().unwrap_or_default(),
        rows: page.items.iter().map(|document| list_row(t, document, &by_id)).collect(),
        older,
        newest: query.cursor.is_some().then(|| visitor.address(without_cursor())),
    };
    Ok(visitor.render(&list))
}

/// One document.
pub async fn document(State(app): State<App>, Path(id): Path<String>, visitor: Visitor) -> Result<Response, Trouble> {
    let t = visitor.lang;
    let asked = app.ask(move |store| Ok::<_, Problem>((find(store, &id)?, store.sites()?))).await;
    let (Found { document, history, flags, zone }, sites) = asked.map_err(|problem| visitor.trouble(problem))?;
    let telling = Telling { t, kind: kind::find(&document.kind), state: &document.state, zone: &zone };
    let own = telling.fields(&document);
    let groups = telling.kind.map_or(&[][..], |kind| kind.lines);
    let page = DocumentPage {
        t,
        shell: visitor.shell("documents"),
        number: number(&document),
        kind: telling.kind.map_or(document.kind.as_str(), |kind| t.pick(kind.zh, kind.en)).to_owned(),
        state: telling.state_word(&document.state),
        is_void: document.state == waystation_protocol::document::flow::VOID.name,
        facts: facts(t, &document, &history, &sites, &zone),
        odd: kind::odd(&document).iter().map(|odd| t.pick(&odd.zh, &odd.en).to_owned()).collect(),
        flags: flags.into_iter().map(|flag| warning(t, flag)).collect(),
        fields: own.into_iter().map(|(key, value)| telling.named(key, value)).collect(),
        groups: groups.iter().filter_map(|lines| telling.group(lines, &document)).collect(),
        notes: remarks(&telling, &document),
        history: history.iter().rev().map(|entry| telling.happening(entry)).collect(),
    };
    Ok(visitor.render(&page))
}

fn warning(t: Lang, flag: Flag) -> Warning {
    let other = |(id, printed): (DocId, Option<String>)| Named {
        label: String::new(),
        value: printed.unwrap_or_else(|| tail(&id)),
        link: Some(format!("/documents/{id}")),
    };
    Warning { text: t.pick(flag.rule.zh, flag.rule.en), others: flag.others.into_iter().map(other).collect() }
}

fn facts(t: Lang, document: &Document, history: &[HistoryEntry], sites: &[SiteRow], zone: &TimeZone) -> Vec<Named> {
    let name = |id: &SiteId| {
        let site = sites.iter().find(|site| site.site == *id);
        site.map_or_else(|| id.to_string(), |site| site.name.clone())
    };
    let fact = |label: &str, value: String| Named { label: label.to_owned(), value, link: None };
    let pen = match &document.pen {
        Party::Hub => t.hub().to_owned(),
        Party::Site(site) => name(site),
    };
    let received = history.iter().map(|entry| entry.received_at).max();
    vec![
        fact(t.site(), name(&document.site)),
        fact(t.pen(), pen),
        fact(t.opened_by(), document.opened_by.clone()),
        fact(t.opened(), local_minute(document.opened_at, zone)),
        fact(t.changed(), local_minute(document.changed_at, zone)),
        fact(t.received(), received.map_or_else(|| t.none().to_owned(), |at| local_minute(at, zone))),
        fact(t.identity(), document.id.to_string()),
        fact(t.digest(), view::digest(document)),
    ]
}

fn remarks(telling: &Telling<'_>, document: &Document) -> Vec<Remark> {
    let remark = |note: &waystation_protocol::document::Note| Remark {
        author: note.author.clone(),
        at: local_minute(note.occurred_at, telling.zone),
        text: note.set.iter().map(|(key, value)| telling.value(key, value)).collect::<Vec<_>>().join(" · "),
    };
    document.notes.values().map(remark).collect()
}
