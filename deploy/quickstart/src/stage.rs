//! The stage: one hub and three outlets in this process, each on its own folder and ports.

use std::path::{Path, PathBuf};

use anyhow::Context;
use waystation_hub as hub;
use waystation_protocol::site::SiteId;

use crate::outlet::Outlet;
use crate::sample::Trade;

const OUTLETS: [(&str, &str, Trade); 3] = [
    ("3702", "城东汽车服务站", Trade::CarService),
    ("6105", "滨江邮政网点", Trade::Post),
    ("8801", "高新连锁门店", Trade::Store),
];

/// What runs.
pub(crate) struct Stage {
    hub: hub::Running,
    /// The hub's data folder.
    pub(crate) hub_folder: PathBuf,
    /// The outlets.
    pub(crate) outlets: Vec<Outlet>,
}

impl Stage {
    /// Starts everything below `folder`. `switches` puts a network switch on the outlets' pages.
    pub(crate) async fn start(folder: &Path, switches: bool) -> anyhow::Result<Stage> {
        let hub_folder = folder.join("hub");
        let hub = hub::run(hub::config::Config::local(hub_folder.clone())).await.context("the hub does not start")?;
        let broker = hub.mqtt.context("the embedded broker has no address")?;
        let mut outlets = Vec::new();
        for (seed, (site, name, trade)) in OUTLETS.into_iter().enumerate() {
            let site: SiteId = site.parse()?;
            hub.store.add_site(&site, name, "Asia/Shanghai")?;
            let outlet_folder = folder.join(site.topic_safe());
            let outlet = Outlet::start(&outlet_folder, site, name, trade, seed as u64 + 1, broker, switches).await;
            outlets.push(outlet.with_context(|| format!("outlet {name} does not start"))?);
        }
        Ok(Stage { hub, hub_folder, outlets })
    }

    /// The hub's address for a browser.
    pub(crate) fn hub_url(&self) -> String {
        format!("http://{}/", self.hub.http)
    }

    /// The hub's store.
    pub(crate) fn hub_store(&self) -> &hub::store::Store {
        &self.hub.store
    }

    /// Every outlet takes `acts` acts, side by side.
    pub(crate) async fn play(&self, acts: usize) -> anyhow::Result<()> {
        let mut at_work = Vec::new();
        for outlet in &self.outlets {
            let outlet = outlet.clone();
            at_work.push(tokio::spawn(async move { outlet.play(acts).await }));
        }
        for outlet in at_work {
            outlet.await.context("an outlet broke off")??;
        }
        Ok(())
    }

    /// Stops outlets first, then the hub.
    pub(crate) async fn stop(self) {
        for outlet in self.outlets {
            outlet.stop().await;
        }
        self.hub.stop().await;
    }
}

/// Fresh random bytes for one process start of an agent or hub.
pub(crate) fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system gives no random bytes")?;
    Ok(seed)
}
