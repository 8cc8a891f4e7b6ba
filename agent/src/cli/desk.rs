//! Where a command works: through the running agent's API, or on the store of a stopped agent.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json, json};
use waystation_protocol::id::DocId;
use waystation_protocol::site::{SiteId, Sites};

use crate::api::routes::{Imported, Outcome};
use crate::api::work::{Change, Opening, Query};
use crate::api::{Fault, Work};
use crate::config::Config;
use crate::link::LinkStatus;
use crate::presence::Presence;
use crate::store::{ImportRow, StoreError};

/// A commit behind a slow disk and a long queue.
const PATIENCE: Duration = Duration::from_secs(60);
/// Whether anybody answers at all.
const GREETING: Duration = Duration::from_secs(3);
/// A page of documents with long texts.
const ANSWER_BYTES: u64 = 256 * 1024 * 1024;

pub(super) enum Desk {
    /// On the store.
    Local(Work),
    /// Through the API.
    Remote(Remote),
}

/// A site of `asked` that the folder's agent does not stand for. A mistyped site would open documents nobody expects.
fn stranger<'a>(known: &Sites, asked: &'a Sites) -> Option<&'a SiteId> {
    match asked {
        Sites::Only(asked) => asked.iter().find(|site| !known.include(site)),
        Sites::All => None,
    }
}

pub(super) struct Remote {
    base: String,
    client: ureq::Agent,
}

impl Desk {
    pub(super) fn open(config: &Config) -> Result<Desk> {
        let presence = Presence::read(&config.data);
        if let Some(remote) = presence.as_ref().and_then(Remote::find) {
            return Ok(Desk::Remote(remote));
        }
        if let Some(stranger) = presence.as_ref().and_then(|presence| stranger(&presence.sites, &config.sites)) {
            bail!(
                "the agent of {} does not stand for site {stranger}: leave --site out, or start it once with `run --site {stranger}`",
                config.data.display()
            );
        }
        if config.sites == Sites::All && presence.as_ref().is_some_and(|presence| presence.sites != Sites::All) {
            bail!(
                "the agent of {} stands for its own sites only: give a migration agent another --data folder, or start this one once with `run --sites '*'`",
                config.data.display()
            );
        }
        let store = crate::open_store(config).map_err(|error| match error {
            StoreError::InUse { dir } => anyhow::anyhow!(
                "{} is in use by another command, or by an agent whose API does not answer: wait until that has ended or the \
                 agent has started, or stop it",
                dir.display()
            ),
            error => anyhow::Error::new(error).context("cannot open the store"),
        })?;
        if presence.is_none() {
            let identity = store.identity();
            let zone = config.zone.iana_name().unwrap_or_default().to_owned();
            let first = Presence { http: None, agent: identity.agent, sites: identity.sites, zone };
            first.write(&config.data).context("cannot write agent.json into the data folder")?;
        }
        Ok(Desk::Local(Work { store, clock: crate::running::clock(config), zone: config.zone.clone() }))
    }

    pub(super) fn close(self) {
        match self {
            Desk::Local(work) => work.store.close(),
            Desk::Remote(_) => {}
        }
    }

    pub(super) fn open_document(&self, body: Map<String, Json>) -> Result<Json> {
        match self {
            Desk::Local(work) => Ok(work.open(parsed::<Opening>(body)?)?),
            Desk::Remote(remote) => remote.post("/api/v1/documents", &Json::Object(body)),
        }
    }

    pub(super) fn act(&self, id: &str, act: &str, body: Map<String, Json>) -> Result<Json> {
        match self {
            Desk::Local(work) => Ok(work.act(id, act, parsed::<Change>(body)?)?),
            Desk::Remote(remote) => {
                if !act.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                    bail!("'{act}' is not the name of an act");
                }
                remote.post(&format!("/api/v1/documents/{id}/acts/{act}"), &Json::Object(body))
            }
        }
    }

    pub(super) fn list(&self, query: Query) -> Result<Json> {
        match self {
            Desk::Local(work) => Ok(work.list(query)?),
            Desk::Remote(remote) => remote.list(query),
        }
    }

    pub(super) fn show(&self, id: &str) -> Result<Json> {
        match self {
            Desk::Local(work) => Ok(work.show(id)?),
            Desk::Remote(remote) => remote.get(&format!("/api/v1/documents/{id}"), &[]),
        }
    }

    pub(super) fn status(&self) -> Result<Json> {
        match self {
            Desk::Local(work) => {
                let mut status = work.status(&LinkStatus::new(false).snapshot())?;
                status["running"] = json!(false);
                Ok(status)
            }
            Desk::Remote(remote) => {
                let mut status = remote.get("/api/v1/status", &[])?;
                status["running"] = json!(true);
                Ok(status)
            }
        }
    }

    pub(super) fn dismiss_salvage(&self) -> Result<()> {
        match self {
            Desk::Local(work) => Ok(work.dismiss_salvage()?),
            Desk::Remote(remote) => remote.delete("/api/v1/salvage"),
        }
    }

    pub(super) fn import(&self, rows: Vec<ImportRow>) -> Result<Vec<Outcome>> {
        match self {
            Desk::Local(work) => Ok(work.import(rows)?.into_iter().map(Outcome::from).collect()),
            Desk::Remote(remote) => {
                let imported: Imported = remote.post("/api/v1/imports", &json!({ "rows": rows }))?;
                Ok(imported.outcomes)
            }
        }
    }

    /// What importing these rows would give; nothing is captured.
    pub(super) fn rehearse(&self, rows: Vec<ImportRow>) -> Result<Vec<Outcome>> {
        match self {
            Desk::Local(work) => Ok(work.rehearse(rows)?.into_iter().map(Outcome::from).collect()),
            Desk::Remote(remote) => {
                let imported: Imported = remote.post("/api/v1/imports/rehearsal", &json!({ "rows": rows }))?;
                Ok(imported.outcomes)
            }
        }
    }

    /// The id of a document named by its number or id.
    pub(super) fn resolve(&self, named: &str) -> Result<String> {
        if let Ok(id) = named.parse::<DocId>() {
            return Ok(id.to_string());
        }
        let found = self.list(Query { q: Some(named.to_owned()), limit: Some(100), ..Query::default() })?;
        let items = found["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let matching: Vec<&str> =
            items.iter().filter(|item| item["number"] == named).filter_map(|item| item["id"].as_str()).collect();
        match matching.as_slice() {
            [id] => Ok((*id).to_owned()),
            [] => bail!("there is no document with the number or id '{named}'"),
            ids => bail!("several documents have the number '{named}': name one by its id: {}", ids.join(", ")),
        }
    }
}

impl Remote {
    /// The running agent of a data folder, if it answers.
    fn find(presence: &Presence) -> Option<Remote> {
        let config = ureq::Agent::config_builder();
        let config = config.http_status_as_error(false).proxy(None).timeout_global(Some(PATIENCE)).build();
        let remote = Remote { base: presence.http.clone()?, client: config.into() };
        let greeting =
            remote.client.get(format!("{}/healthz", remote.base)).config().timeout_global(Some(GREETING)).build();
        let answer: Json = greeting.call().ok()?.body_mut().read_json().ok()?;
        (answer["agent"] == json!(presence.agent)).then_some(remote)
    }

    fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Json> {
        let request = self.client.get(format!("{}{path}", self.base));
        let request = query.iter().fold(request, |request, (name, value)| request.query(name, value));
        answer(request.call().with_context(|| self.unreachable())?)
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &Json) -> Result<T> {
        answer(self.client.post(format!("{}{path}", self.base)).send_json(body).with_context(|| self.unreachable())?)
    }

    fn delete(&self, path: &str) -> Result<()> {
        let response = self.client.delete(format!("{}{path}", self.base)).call().with_context(|| self.unreachable())?;
        if response.status().is_success() { Ok(()) } else { answer::<Json>(response).map(|_| ()) }
    }

    fn list(&self, query: Query) -> Result<Json> {
        let named = [
            ("kind", query.kind),
            ("site", query.site),
            ("state", query.state),
            ("q", query.q),
            ("cursor", query.cursor),
            ("limit", query.limit.map(|limit| limit.to_string())),
        ];
        let query: Vec<(&str, String)> = named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        self.get("/api/v1/documents", &query)
    }

    fn unreachable(&self) -> String {
        format!("the agent at {} does not answer", self.base)
    }
}

fn answer<T: DeserializeOwned>(mut response: ureq::http::Response<ureq::Body>) -> Result<T> {
    let status = response.status();
    let body = response.body_mut().with_config().limit(ANSWER_BYTES);
    if status.is_success() {
        return body.read_json().context("the agent's answer cannot be read");
    }
    let fault: Fault = body.read_json().with_context(|| format!("the agent answered {status}"))?;
    Err(fault.into())
}

fn parsed<T: DeserializeOwned>(body: Map<String, Json>) -> Result<T> {
    serde_json::from_value(Json::Object(body)).context("the JSON object is not as expected")
}
