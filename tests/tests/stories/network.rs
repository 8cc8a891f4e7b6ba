//! A hub and three agents behind networks that can be cut. Each story has outlets of its own, which agents share.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use waystation_tests::api;
use waystation_tests::http::Http;
use waystation_tests::process::{self, Process};
use waystation_tests::proxy::Proxy;
use waystation_tests::wait::eventually;

const SETTLE: Duration = Duration::from_secs(60);

/// Who stands for the stories' outlets `A`, `B` and `C`.
const OUTLETS: [&str; 3] = ["A", "B", "C"];

/// Everybody.
pub(crate) struct Network {
    _folder: tempfile::TempDir,
    hub: Process,
    outlets: Vec<(Process, Proxy)>,
    stories: usize,
}

/// The site of an outlet in a story; the hub's is `hub` in each.
pub(crate) fn site(outlet: &str, story: usize) -> String {
    if outlet == "hub" { outlet.to_owned() } else { format!("{outlet}{story}") }
}

impl Network {
    /// A hub with these rules that knows all outlets of so many stories.
    pub(crate) fn start(stories: usize, rules: &BTreeMap<String, i64>) -> Network {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = folder.path().join("hub.toml");
        let rules: String = rules.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        std::fs::write(&config, format!("[rules]\n{rules}")).expect("a file can be written");
        let mut hub = process::hub(folder.path(), "embedded");
        hub.kill9();
        hub.set_argument("--config", &config.display().to_string());
        hub.restart();
        let broker = hub.address("mqtt");
        let outlets = OUTLETS.map(|outlet| {
            let proxy = Proxy::start(&broker);
            let more: Vec<String> = (2..=stories).map(|story| site(outlet, story)).collect();
            let mut arguments = vec!["--reconnect-max-s", "1"];
            more.iter().for_each(|site| arguments.extend(["--site", site]));
            (process::agent(folder.path(), &site(outlet, 1), proxy.address(), &arguments), proxy)
        });
        let network = Network { _folder: folder, hub, outlets: outlets.into(), stories };
        eventually(SETTLE, "the hub to know every outlet", || {
            let sites = network.hub.http().try_get("/api/v1/sites")?.body;
            let count = sites.as_array().map_or(0, Vec::len);
            if count >= OUTLETS.len() * network.stories { Ok(()) } else { Err(format!("{count} sites")) }
        });
        network
    }

    /// Where somebody of a story acts.
    pub(crate) fn http(&self, who: &str) -> Http {
        let outlet = OUTLETS.iter().position(|outlet| *outlet == who);
        outlet.map_or_else(|| self.hub.http(), |index| self.outlets[index].0.http())
    }

    /// Nobody reaches anybody.
    pub(crate) fn cut(&self) {
        self.outlets.iter().for_each(|(_, proxy)| proxy.cut());
    }

    /// Everybody can be reached again.
    pub(crate) fn plug_in(&self) {
        self.outlets.iter().for_each(|(_, proxy)| proxy.restore());
    }

    /// The hub is killed, and starts again.
    pub(crate) fn kill_hub(&mut self) {
        self.hub.kill9();
        self.hub.restart();
    }

    /// The agents are killed, and start again.
    pub(crate) fn kill_outlets(&mut self) {
        for (agent, _) in &mut self.outlets {
            agent.kill9();
            agent.restart();
        }
    }

    /// All documents of the hub.
    pub(crate) fn at_hub(&self) -> Vec<Value> {
        documents(&self.hub.http()).expect("the hub answers")
    }

    /// What the hub has set aside.
    pub(crate) fn quarantined(&self) -> Vec<Value> {
        api::quarantined(&self.hub.http()).expect("the hub answers")
    }

    /// Waits until whoever may read a document has it as the hub has it, and nobody has another.
    pub(crate) fn agree(&self) {
        eventually(SETTLE, "everybody to have the same documents", || {
            let at_hub = documents(&self.hub.http())?;
            for (outlet, (agent, _)) in OUTLETS.iter().zip(&self.outlets) {
                let shown = digests(&documents(&agent.http())?);
                let theirs = digests(&at_hub);
                if let Some((id, _)) = shown.iter().find(|(id, digest)| theirs.get(*id) != Some(digest)) {
                    return Err(format!("{id} is not the same at {outlet} and at the hub"));
                }
                let lacks =
                    |document: &&Value| is_read_by(document, outlet) && !shown.contains_key(&text(document, "id"));
                if let Some(document) = at_hub.iter().find(lacks) {
                    return Err(format!("{outlet} lacks {document}"));
                }
                let stays = |document: &&Value| {
                    document["kind"] == "recovery" || document["site"] == "hub" && document["kind"] == "settlement"
                };
                if let Some(document) =
                    at_hub.iter().filter(stays).find(|document| shown.contains_key(&text(document, "id")))
                {
                    panic!("{outlet} was told of {document}");
                }
            }
            Ok(())
        });
    }
}

/// Its own documents, those it has the pen of, and notices to everybody.
fn is_read_by(document: &Value, outlet: &str) -> bool {
    let is_its = |site: &str| site.strip_prefix(outlet).is_some_and(|story| story.parse::<usize>().is_ok());
    let pen = text(document, "pen");
    is_its(&text(document, "site")) || pen.strip_prefix("site:").is_some_and(is_its) || document["kind"] == "notice"
}

fn text(document: &Value, key: &str) -> String {
    document[key].as_str().unwrap_or_default().to_owned()
}

fn digests(documents: &[Value]) -> BTreeMap<String, String> {
    documents.iter().map(|document| (text(document, "id"), text(document, "digest"))).collect()
}

fn documents(http: &Http) -> Result<Vec<Value>, String> {
    let (mut all, mut path) = (Vec::new(), "/api/v1/documents?limit=500".to_owned());
    loop {
        let mut page = http.try_get(&path)?.body;
        all.append(page["items"].as_array_mut().ok_or("a list has items")?);
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/documents?limit=500&cursor={next}"),
            None => return Ok(all),
        }
    }
}

/// Money as it is shown, in hundredths.
pub(crate) fn minor(shown: &Value) -> i64 {
    let amount = shown["amount"].as_str().unwrap_or_default();
    let (whole, part) = amount.split_once('.').unwrap_or((amount, "00"));
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    let number = |text: &str| text.parse::<i64>().unwrap_or_else(|_| panic!("no amount: {shown}"));
    number(whole) * 100 + sign * number(part)
}
