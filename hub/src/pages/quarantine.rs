//! `/quarantine` and `/quarantine/{id}`: what is set aside, and the forms by which a person resolves it.

use askama::Template;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use waystation_protocol::document::Document;
use waystation_protocol::form::local_minute;
use waystation_protocol::kind;

use super::documents::{Choice, Named, Telling, site_choices};
use super::{Lang, Shell, Trouble, Visitor};
use crate::api::App;
use crate::api::problem::Problem;
use crate::api::quarantine::{Fix, QuarantineQuery, Told, find, request};
use crate::apply::reason::{BEHIND, BRANCH, CAUSE, RESTS_ON_WAIVED, SAME_ID, SUPERSEDED};
use crate::store::{Action, Ask, Case, Change, QuarantineRow, ReasonText, ResolutionRow, SiteRow};

/// The reasons one can filter by, in the order of how often they call for a person: code, Chinese, English.
const CODES: &[(&str, &str, &str)] = &[
    ("undecodable", "内容不是记录", "no entry"),
    ("wrong_type", "类型不符", "wrong type"),
    ("unknown_field", "未知字段", "unknown field"),
    ("unknown_act", "未知操作", "unknown act"),
    ("wrong_state", "状态不符", "wrong state"),
    ("wrong_site", "站点不符", "wrong site"),
    ("no_pen", "单据不在该方手中", "no pen"),
    ("hubs_act", "只能由中心人员执行", "the hub's act"),
    (SUPERSEDED, "已有别的后续记录", "superseded"),
    (SAME_ID, "标识重复", "same id"),
    ("mismatch", "与单据不符", "does not fit its document"),
    (RESTS_ON_WAIVED, "所依据的已放弃", "rests on what was waived"),
    (BRANCH, "属于另一支", "another branch"),
    ("defect", "中心处理出错", "defect of the hub"),
    (BEHIND, "前面有记录被搁置", "behind another"),
    ("ahead", "所跟随的尚未到达", "ahead of what it follows"),
    (CAUSE, "引发它的被搁置", "its cause is set aside"),
    ("unknown_kind", "未知单据类型", "unknown kind"),
    ("newer_form", "表单版本更新", "newer form"),
    ("newer_protocol", "协议版本更新", "newer protocol"),
];

#[derive(Template)]
#[template(path = "quarantine.html")]
struct ListPage {
    t: Lang,
    shell: Shell,
    is_resolved: bool,
    sites: Vec<Choice>,
    codes: Vec<Choice>,
    document: String,
    rows: Vec<ListRow>,
    older: Option<String>,
    newest: Option<String>,
}

struct ListRow {
    address: String,
    what: String,
    site: String,
    word: &'static str,
    class: &'static str,
    reason: String,
    since: String,
}

#[derive(Template)]
#[template(path = "quarantine_case.html")]
struct CasePage {
    t: Lang,
    shell: Shell,
    row: ListRow,
    is_open: bool,
    is_frozen: bool,
    facts: Vec<Named>,
    fields: Vec<Named>,
    bytes: Option<String>,
    behind: Vec<ListRow>,
    trail: Vec<Step>,
    trouble: Option<String>,
    form: ResolveForm,
    can_fix: bool,
}

/// One request of the trail, in words.
struct Step {
    what: String,
    who: String,
    why: String,
    at: String,
    before: String,
    after: String,
    set: Vec<Named>,
}

/// What the forms send.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ResolveForm {
    action: String,
    by: String,
    why: String,
    act: String,
    set: String,
}

/// How a page tells rows: in its language, by the sites' names.
struct Words<'a> {
    t: Lang,
    told: &'a Told,
    sites: &'a [SiteRow],
}

impl Words<'_> {
    fn telling<'a>(&'a self, row: &'a QuarantineRow) -> Telling<'a> {
        let kind = row.entry.as_ref().and_then(|entry| kind::find(&entry.kind));
        Telling { t: self.t, kind, state: "", zone: self.told.zone(row) }
    }

    fn row(&self, row: &QuarantineRow) -> ListRow {
        let (t, zone) = (self.t, self.told.zone(row));
        let (word, class) = match row.resolved.as_ref().map(|(_, word)| word.as_str()) {
            Some(word) => (resolution_word(t, word), "void"),
            None if row.is_parked => (t.parked(), "waiting"),
            None => (t.quarantined(), "alarm"),
        };
        let telling = self.telling(row);
        let what = row.entry.as_ref().map_or_else(
            || t.unreadable().to_owned(),
            |entry| {
                let kind = telling.kind.map_or(entry.kind.as_str(), |kind| t.pick(kind.zh, kind.en));
                format!("{kind} · {}", telling.act_word(&entry.act))
            },
        );
        ListRow {
            address: format!("/quarantine/{}", row.place()),
            what,
            site: self.site(row),
            word,
            class,
            reason: said(t, &row.reason),
            since: local_minute(row.since, zone),
        }
    }

    fn site(&self, row: &QuarantineRow) -> String {
        let Some(id) = &row.site else { return "–".to_owned() };
        let site = self.sites.iter().find(|site| site.site == *id);
        site.map_or_else(|| id.to_string(), |site| site.name.clone())
    }

    fn facts(&self, row: &QuarantineRow, document: Option<&Document>) -> Vec<Named> {
        let (t, zone) = (self.t, self.told.zone(row));
        let fact = |label: &str, value: String| Named { label: label.to_owned(), value, link: None };
        let mut facts = vec![
            fact(t.reason_code(), row.reason.code.clone()),
            fact(t.site(), self.site(row)),
            fact(t.received(), local_minute(row.since, zone)),
            fact(t.entry_place(), row.place().to_string()),
            fact(t.agent(), row.agent.to_string()),
        ];
        if let Some(id) = row.document {
            let link = document.map(|document| format!("/documents/{}", document.id));
            facts.push(Named { label: t.document().to_owned(), value: id.to_string(), link });
        }
        if let Some(entry) = &row.entry {
            facts.push(fact(t.author(), entry.author.clone()));
            facts.push(fact(t.captured_at(), local_minute(entry.occurred_at, zone)));
        }
        if let Some((at, word)) = &row.resolved {
            facts.push(fact(resolution_word(t, word), local_minute(*at, zone)));
        }
        facts
    }

    fn step(&self, row: &ResolutionRow, of: &QuarantineRow) -> Step {
        let t = self.t;
        let outcome = row.outcome.as_deref().map_or(t.asked(), |outcome| outcome_word(t, outcome));
        let telling = self.telling(of);
        let set = row.fix.as_ref().map(|(_, set)| set.iter().map(|(key, value)| telling.named(key, value)).collect());
        let act = row.fix.as_ref().map_or_else(String::new, |(act, _)| format!(" · {}", telling.act_word(act)));
        Step {
            what: format!("{}{act} → {outcome}", action_word(t, &row.action)),
            who: row.who.clone(),
            why: row.why.clone(),
            at: local_minute(row.at, self.told.zone(of)),
            before: said(t, &row.before),
            after: row.after.as_ref().map_or_else(|| outcome.to_owned(), |reason| said(t, reason)),
            set: set.unwrap_or_default(),
        }
    }
}

fn said(t: Lang, reason: &ReasonText) -> String {
    t.pick(&reason.zh, &reason.en).to_owned()
}

fn resolution_word(t: Lang, word: &str) -> &'static str {
    match word {
        "fixed" => t.fixed(),
        "replayed" => t.replayed(),
        "waived" => t.waived(),
        _ => t.released(),
    }
}

fn action_word(t: Lang, action: &str) -> &'static str {
    match action {
        "fix" => t.fix(),
        "waive" => t.waive(),
        _ => t.replay(),
    }
}

fn outcome_word(t: Lang, outcome: &str) -> &'static str {
    match outcome {
        "applied" => t.applied(),
        "waived" => t.waived(),
        "still" => t.still_aside(),
        "refused" => t.fix_refused(),
        _ => t.moot(),
    }
}

/// The list.
pub async fn quarantine(State(app): State<App>, visitor: Visitor) -> Result<Response, Trouble> {
    let t = visitor.lang;
    let given = |name: &str| visitor.parameter(name).map(str::to_owned);
    let query = QuarantineQuery {
        site: given("site"),
        document: given("document"),
        code: given("code"),
        state: given("state"),
        cursor: given("cursor"),
        limit: None,
    };
    let filter = query.filter().map_err(|problem| visitor.trouble(problem))?;
    let is_resolved = filter.is_resolved;
    let asked = app
        .ask(move |store| Ok::<_, Problem>((store.quarantine_page(&filter)?, Told::of(store)?, store.sites()?)))
        .await;
    let (page, told, sites) = asked.map_err(|problem| visitor.trouble(problem))?;
    let words = Words { t, told: &told, sites: &sites };
    let without_cursor = || {
        let pairs = visitor.pairs.iter().filter(|(name, value)| name != "cursor" && !value.is_empty());
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    };
    let code = |(code, zh, en): &(&str, &'static str, &'static str)| Choice {
        value: (*code).to_owned(),
        label: t.pick(zh, en).to_owned(),
        is_chosen: query.code.as_deref() == Some(*code),
    };
    let list = ListPage {
        t,
        shell: visitor.shell("quarantine"),
        is_resolved,
        sites: site_choices(&sites, query.site.as_deref()),
        codes: CODES.iter().map(code).collect(),
        document: query.document.clone().unwrap_or_default(),
        rows: page.items.iter().map(|row| words.row(row)).collect(),
        older: page.next.as_deref().map(|next| visitor.address(without_cursor().chain([("cursor", next)]))),
        newest: query.cursor.is_some().then(|| visitor.address(without_cursor())),
    };
    Ok(visitor.render(&list))
}

/// One entry.
pub async fn quarantine_case(
    State(app): State<App>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Trouble> {
    show(&app, id, &visitor, None).await
}

/// What a form of the page asks for; then the page again.
pub async fn resolve(
    State(app): State<App>,
    Path(id): Path<String>,
    visitor: Visitor,
    Form(form): Form<ResolveForm>,
) -> Result<Response, Trouble> {
    let (place, asked) = (id.clone(), form.clone());
    let done = app.ask(move |store| ask(store, &place, &asked)).await;
    match done {
        Ok(()) => Ok(Redirect::to(&format!("/quarantine/{id}")).into_response()),
        Err(problem) if problem.status() == StatusCode::NOT_FOUND => Err(visitor.trouble(problem)),
        Err(problem) => show(&app, id, &visitor, Some((form, problem))).await,
    }
}

fn ask(store: &crate::store::Store, id: &str, form: &ResolveForm) -> Result<(), Problem> {
    let action = match form.action.as_str() {
        "fix" => {
            let (case, told) = find(store, id)?;
            Action::Fix(change(&case, &told, form)?)
        }
        "replay" => Action::Replay,
        "waive" => Action::Waive,
        other => return Err(Problem::bad_request(format!("'{other}' is no resolution"))),
    };
    request(store, id, Ask { action, who: form.by.clone(), why: form.why.clone() }).map(|_| ())
}

/// The form shows all fields, so what is missing there was taken out.
fn change(case: &Case, told: &Told, form: &ResolveForm) -> Result<Change, Problem> {
    let Some(entry) = &case.row.entry else { return Ok(Change::default()) };
    let set: Map<String, Json> = serde_json::from_str(&form.set)
        .map_err(|error| Problem::bad_request(format!("the fields are no JSON object: {error}")))?;
    let drop = entry.set.keys().filter(|key| !set.contains_key(*key)).cloned().collect();
    let act = Some(form.act.trim().to_owned()).filter(|act| !act.is_empty() && *act != entry.act);
    told.change(&case.row, Fix { set, drop, act })
}

async fn show(
    app: &App,
    id: String,
    visitor: &Visitor,
    refused: Option<(ResolveForm, Problem)>,
) -> Result<Response, Trouble> {
    let t = visitor.lang;
    let asked = app
        .ask(move |store| {
            let (case, told) = find(store, &id)?;
            let document = case.row.document.map(|id| store.document(id)).transpose()?.flatten();
            Ok::<_, Problem>((case, told, document, store.sites()?))
        })
        .await;
    let (case, told, document, sites) = asked.map_err(|problem| visitor.trouble(problem))?;
    let words = Words { t, told: &told, sites: &sites };
    let row = &case.row;
    let telling = words.telling(row);
    let fields = row.entry.iter().flat_map(|entry| &entry.set).map(|(key, value)| telling.named(key, value));
    let captured = row.entry.as_ref().map_or_else(ResolveForm::default, |entry| ResolveForm {
        act: entry.act.clone(),
        set: serde_json::to_string_pretty(&told.set(row, &entry.set)).unwrap_or_default(),
        ..ResolveForm::default()
    });
    let (status, form, trouble) = match refused {
        Some((form, problem)) => {
            // the forms for replay and waive send no fields
            let form = if form.action == "fix" { form } else { ResolveForm { by: form.by, why: form.why, ..captured } };
            (problem.status(), form, Some(problem.detail))
        }
        None => (StatusCode::OK, captured, None),
    };
    let page = CasePage {
        t,
        shell: visitor.shell("quarantine"),
        row: words.row(row),
        is_open: row.resolved.is_none(),
        is_frozen: case.is_frozen,
        facts: words.facts(row, document.as_ref()),
        fields: fields.collect(),
        bytes: row.entry.is_none().then(|| data_encoding::HEXLOWER.encode(&row.bytes)),
        behind: case.behind.iter().map(|row| words.row(row)).collect(),
        trail: case.trail.iter().rev().map(|step| words.step(step, row)).collect(),
        trouble,
        // other values do not make it follow what the document stands on, nor give it an id of its own
        can_fix: row.entry.is_some() && ![SUPERSEDED, SAME_ID].contains(&row.reason.code.as_str()),
        form,
    };
    Ok(visitor.render_as(status, &page))
}
