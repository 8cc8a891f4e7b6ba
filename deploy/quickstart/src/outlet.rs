//! One outlet: its agent, and the stories its people are in the middle of.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use waystation_agent as agent;
use waystation_agent::store::{At, Receipt, Store};
use waystation_protocol::document::capture::Wish;
use waystation_protocol::id::DocId;
use waystation_protocol::site::SiteId;
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use crate::sample::{self, Chance, Story, Trade};

/// Stories an outlet has under way at once.
const OPEN_STORIES: usize = 12;

/// An outlet at work. Clones share it.
#[derive(Clone)]
pub(crate) struct Outlet {
    /// Its name for people.
    pub(crate) name: &'static str,
    /// Its site.
    pub(crate) site: SiteId,
    running: Arc<agent::Running>,
    clock: agent::clock::Clock,
    desk: Arc<Mutex<Desk>>,
}

/// What lies on the desk.
struct Desk {
    trade: Trade,
    chance: Chance,
    open: Vec<(Option<DocId>, Story)>,
}

impl Outlet {
    /// Starts the outlet's agent in `folder`.
    pub(crate) async fn start(
        folder: &Path,
        site: SiteId,
        name: &'static str,
        trade: Trade,
        seed: u64,
        broker: SocketAddr,
        has_switch: bool,
    ) -> anyhow::Result<Outlet> {
        let settings = agent::config::Settings {
            data: Some(folder.to_owned()),
            site: vec![site.as_str().to_owned()],
            http: Some("127.0.0.1:0".into()),
            broker: Some(format!("mqtt://{broker}")),
            reconnect_max_s: Some(5),
            ..agent::config::Settings::default()
        };
        let mut config = agent::config::Config::new(settings, crate::stage::seed()?)?;
        config.network_switch = has_switch;
        let running = Arc::new(agent::run(config).await?);
        let desk = Desk { trade, chance: Chance::new(seed), open: Vec::new() };
        let clock = agent::clock::Clock::start(0);
        Ok(Outlet { name, site, running, clock, desk: Arc::new(Mutex::new(desk)) })
    }

    /// The outlet's address for a browser.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.running.http)
    }

    /// The agent's store.
    pub(crate) fn store(&self) -> &Store {
        &self.running.store
    }

    /// Cuts or restores the network.
    pub(crate) fn set_plugged(&self, plugged: bool) {
        self.running.network.set(plugged);
    }

    /// Takes `acts` acts.
    pub(crate) async fn play(&self, acts: usize) -> anyhow::Result<()> {
        let outlet = self.clone();
        tokio::task::spawn_blocking(move || (0..acts).try_for_each(|_| outlet.act().map(drop))).await?
    }

    /// The time here.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Somebody acts on a document, or opens one; gives its id.
    pub(crate) fn take(
        &self,
        document: Option<DocId>,
        kind: &str,
        act: &str,
        mut set: BTreeMap<String, Value>,
    ) -> anyhow::Result<DocId> {
        if document.is_none() {
            set.insert("site".into(), self.site.as_str().into());
        }
        let wish = Wish { document, kind: kind.into(), act: act.into(), set, author: "李娜".into(), cause: None };
        let receipt = self.store().capture(wish, At { now: self.now(), mono_ms: self.clock.mono_ms() });
        let receipt = receipt.map_err(|error| anyhow::anyhow!("{act} of {kind}: {error:?}"))?;
        Ok(receipt.document.id)
    }

    /// Ends the agent, once nobody else holds the outlet.
    pub(crate) async fn stop(self) {
        if let Ok(running) = Arc::try_unwrap(self.running) {
            running.stop().await;
        }
    }

    /// The next act of some story.
    fn act(&self) -> anyhow::Result<Receipt> {
        let now = self.clock.now();
        let mut desk = self.desk.lock().expect("a desk is left tidy even after an error");
        let desk = &mut *desk;
        if desk.open.len() < OPEN_STORIES {
            let story = sample::story(desk.trade, &mut desk.chance, now);
            desk.open.push((None, story));
        }
        let index = desk.chance.below(desk.open.len());
        let (document, mut story) = desk.open.swap_remove(index);
        let (act, mut set) = story.acts.pop_front().expect("a story on the desk has acts left");
        if document.is_none() {
            set.insert("site".into(), self.site.as_str().into());
        }
        let author = desk.chance.person().to_owned();
        let wish = Wish { document, kind: story.kind.into(), act: act.into(), set, author, cause: None };
        let receipt = self.store().capture(wish, At { now, mono_ms: self.clock.mono_ms() });
        let receipt = receipt.map_err(|error| anyhow::anyhow!("{} of {}: {error:?}", act, story.kind))?;
        if !story.acts.is_empty() {
            desk.open.push((Some(receipt.document.id), story));
        }
        Ok(receipt)
    }
}
