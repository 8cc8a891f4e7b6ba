//! `agent.json` in the data folder: where the running agent's API is, and what the folder is used for.
//!
//! Commands find the running agent by it, and take its sites and time zone from it where they are told none. The
//! file stays when the agent stops, without the address. In a copy of the folder the address counts for nothing: who
//! answers there holds the original.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};
use waystation_protocol::id::AgentId;
use waystation_protocol::site::{SiteId, Sites};

use crate::config::Settings;

const FILE: &str = "agent.json";

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The API's address while the agent runs.
    pub http: Option<String>,
    /// The installation, to tell it from another program on the same port.
    pub agent: AgentId,
    /// The sites it captures for.
    pub sites: Sites,
    /// Its time zone's name.
    pub zone: String,
}

/// The file as it stands.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    presence: Presence,
    /// The device and the inode of the folder it was written in.
    folder: Option<(u64, u64)>,
}

fn inode(folder: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(folder).ok().map(|folder| (folder.dev(), folder.ino()))
}

impl Presence {
    /// What the data folder says; none if no agent ever ran in it, or the file is not readable.
    pub fn read(data: &Path) -> Option<Presence> {
        let text = std::fs::read(data.join(FILE)).ok()?;
        let Written { mut presence, folder } = serde_json::from_slice(&text).ok()?;
        if folder != inode(data) {
            presence.http = None;
        }
        Some(presence)
    }

    /// Writes the file, readable by its owner alone; it is replaced whole or not at all.
    pub fn write(&self, data: &Path) -> io::Result<()> {
        let unnamed = data.join("agent.json.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unnamed)?;
        let written = Written { presence: self.clone(), folder: inode(data) };
        file.write_all(serde_json::to_string(&written).map_err(io::Error::other)?.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unnamed, data.join(FILE))
    }

    /// `settings`, with this folder's sites and zone where they name none.
    pub fn complete(&self, mut settings: Settings) -> Settings {
        if !settings.names_sites() {
            match &self.sites {
                Sites::All => settings.sites = Some("*".to_owned()),
                Sites::Only(sites) => settings.site = sites.iter().map(SiteId::as_str).map(str::to_owned).collect(),
            }
        }
        settings.zone.get_or_insert_with(|| self.zone.clone());
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_takes_sites_and_zone_from_the_folder_unless_told_others() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Presence::read(folder.path()), None);
        let sites = Sites::Only(vec!["3702".parse().unwrap()]);
        let agent = AgentId::from_bytes([1; 16]);
        let presence = Presence { http: Some("http://127.0.0.1:1".into()), agent, sites, zone: "UTC".into() };
        presence.write(folder.path()).unwrap();
        assert_eq!(Presence::read(folder.path()), Some(presence.clone()));
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(folder.path().join(FILE), copy.path().join(FILE)).unwrap();
        assert_eq!(Presence::read(copy.path()), Some(Presence { http: None, ..presence.clone() }));
        let bare = presence.complete(Settings::default());
        assert_eq!((bare.site, bare.zone.as_deref()), (vec!["3702".to_owned()], Some("UTC")));
        let told = presence.complete(Settings { sites: Some("*".into()), ..Settings::default() });
        assert_eq!((told.site, told.sites.as_deref()), (vec![], Some("*")));
    }
}
