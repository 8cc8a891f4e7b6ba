//! One validated configuration from a file, the environment and flags; later sources win.
//!
//! The keys are the same everywhere: `reconnect_max_s` in the file, `WAYSTATION_RECONNECT_MAX_S` in the environment,
//! `--reconnect-max-s` as a flag. Unknown keys of the file are errors. Nothing after this module looks at any of the
//! three again.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::tz::TimeZone;
use serde::Deserialize;
use waystation_protocol::site::{BadSite, SiteId, Sites};
use waystation_protocol::time;

/// Where the API listens unless told otherwise.
pub const DEFAULT_HTTP: &str = "127.0.0.1:7381";
/// The longest pause between two attempts to connect, in seconds.
pub const DEFAULT_RECONNECT_MAX_S: u64 = 30;
/// Disk kept in reserve, so that sync and pruning go on when capture must stop.
pub const RESERVE_BYTES: u64 = 1024 * 1024;
const MQTT_PORT: u16 = 1883;

/// The settings as one source states them: the TOML file, or the environment and the flags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Args)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Data folder: the journal and everything else the agent keeps
    #[arg(long, global = true, value_name = "DIR", env = "WAYSTATION_DATA")]
    pub data: Option<PathBuf>,
    /// Site the agent captures for; repeat it for several (in the environment: one per line)
    #[arg(long, global = true, value_name = "ID", env = "WAYSTATION_SITE", value_delimiter = '\n')]
    #[serde(default)]
    pub site: Vec<String>,
    /// File with one site per line
    #[arg(long, global = true, value_name = "FILE", env = "WAYSTATION_SITES_FILE")]
    pub sites_file: Option<PathBuf>,
    /// '*': capture for any site a document names (a migration agent)
    #[arg(long, global = true, value_name = "*", env = "WAYSTATION_SITES")]
    pub sites: Option<String>,
    /// MQTT broker of the hub; without it the agent captures and waits
    #[arg(long, global = true, value_name = "mqtt://HOST:PORT", env = "WAYSTATION_BROKER", hide_env_values = true)]
    pub broker: Option<String>,
    /// Address of the API and the status page; port 0 picks a free one [default: 127.0.0.1:7381]
    #[arg(long, global = true, value_name = "ADDR", env = "WAYSTATION_HTTP")]
    pub http: Option<String>,
    /// Allow addresses beyond this machine, although nobody is asked who they are
    #[arg(long, global = true, env = "WAYSTATION_INSECURE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub insecure: Option<bool>,
    /// Letter of this agent in printed numbers, until the hub assigns one [default: A]
    #[arg(long, global = true, value_name = "A-Z", env = "WAYSTATION_LETTER")]
    pub letter: Option<char>,
    /// IANA time zone of the site [default: Asia/Shanghai]
    #[arg(long, global = true, value_name = "ZONE", env = "WAYSTATION_ZONE")]
    pub zone: Option<String>,
    /// Longest pause between two attempts to connect, in seconds [default: 30]
    #[arg(long, global = true, value_name = "S", env = "WAYSTATION_RECONNECT_MAX_S")]
    pub reconnect_max_s: Option<u64>,
    /// What to log, such as info or waystation_agent=debug [default: info]
    #[arg(long, global = true, value_name = "FILTER", env = "WAYSTATION_LOG")]
    pub log: Option<String>,
    /// Log one JSON object per line
    #[arg(long, global = true, env = "WAYSTATION_LOG_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub log_json: Option<bool>,
}

/// The agent's settings, checked.
#[derive(Clone)]
pub struct Config {
    /// The data folder.
    pub data: PathBuf,
    /// The sites it captures for.
    pub sites: Sites,
    /// The hub's broker; none to capture and wait.
    pub broker: Option<Broker>,
    /// Where the API listens.
    pub http: SocketAddr,
    /// Whether other machines may reach it.
    pub insecure: bool,
    /// The agent's letter in printed numbers until the hub assigns one.
    pub letter: char,
    /// The site's time zone.
    pub zone: TimeZone,
    /// The longest pause between two attempts to connect.
    pub reconnect_max_ms: u64,
    /// Directives of the log filter.
    pub log: String,
    /// Whether logs are JSON.
    pub log_json: bool,
    /// Disk kept in reserve.
    pub reserve_bytes: u64,
    /// Whether the status page can cut the network. Only the quickstart sets it.
    pub network_switch: bool,
    /// Fresh random bytes of this process start: ids, keys and pauses are drawn from them.
    pub seed: [u8; 32],
}

/// A broker's address.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User and password, where the broker asks for them.
    pub login: Option<(String, String)>,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key no agent has.
    #[error("{path}, line {line}: {reason}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there; it names the key.
        reason: String,
    },
    /// A value is not usable.
    #[error("{key}: {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong, and the cure.
        reason: String,
    },
    /// A site's name is not usable.
    #[error("site")]
    Site(#[from] BadSite),
}

impl Settings {
    /// Reads the settings of a TOML file.
    pub fn read(path: &Path) -> Result<Settings, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
        Settings::parse(&text, path)
    }

    /// Reads the settings in `text`; `path` names it in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Settings, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1),
            reason: error.message().to_owned(),
        })
    }

    /// These settings, where `stronger` does not state others. The three ways to name sites count as one setting.
    pub fn overlaid_by(self, stronger: Settings) -> Settings {
        let names_sites = !stronger.site.is_empty() || stronger.sites_file.is_some() || stronger.sites.is_some();
        let (site, sites_file, sites) = if names_sites {
            (stronger.site, stronger.sites_file, stronger.sites)
        } else {
            (self.site, self.sites_file, self.sites)
        };
        Settings {
            data: stronger.data.or(self.data),
            site,
            sites_file,
            sites,
            broker: stronger.broker.or(self.broker),
            http: stronger.http.or(self.http),
            insecure: stronger.insecure.or(self.insecure),
            letter: stronger.letter.or(self.letter),
            zone: stronger.zone.or(self.zone),
            reconnect_max_s: stronger.reconnect_max_s.or(self.reconnect_max_s),
            log: stronger.log.or(self.log),
            log_json: stronger.log_json.or(self.log_json),
        }
    }

    /// Whether any site is named.
    pub fn names_sites(&self) -> bool {
        !self.site.is_empty() || self.sites_file.is_some() || self.sites.is_some()
    }
}

impl Config {
    /// Checks `settings`. `seed` must be fresh random bytes at every process start.
    pub fn new(settings: Settings, seed: [u8; 32]) -> Result<Config, ConfigError> {
        let data =
            settings.data.clone().ok_or_else(|| wrong("data", "name the data folder, such as --data ./outlet"))?;
        let insecure = settings.insecure.unwrap_or(false);
        let sites = sites(&settings)?;
        let http = settings.http.as_deref().unwrap_or(DEFAULT_HTTP);
        let http: SocketAddr = http
            .parse()
            .map_err(|_| wrong("http", format!("'{http}' is not an address and port, such as {DEFAULT_HTTP}")))?;
        if !insecure && !http.ip().is_loopback() {
            let reason = format!("{http} is reachable from other machines; use a loopback address, or --insecure");
            return Err(wrong("http", reason));
        }
        let broker = settings.broker.as_deref().map(|text| Broker::parse(text, insecure)).transpose()?;
        let letter = settings.letter.unwrap_or('A');
        if !letter.is_ascii_uppercase() || letter == 'H' {
            return Err(wrong(
                "letter",
                format!("'{letter}' is not a letter from A to Z without H, which is the hub's"),
            ));
        }
        let zone = settings.zone.as_deref().unwrap_or_default();
        let zone = time::zone(zone)
            .map_err(|_| wrong("zone", format!("'{zone}' is not an IANA time zone, such as Asia/Shanghai")))?;
        let reconnect_max_s = settings.reconnect_max_s.unwrap_or(DEFAULT_RECONNECT_MAX_S);
        if !(1..=3600).contains(&reconnect_max_s) {
            return Err(wrong("reconnect_max_s", "use 1 to 3600 seconds"));
        }
        Ok(Config {
            data,
            sites,
            broker,
            http,
            insecure,
            letter,
            zone,
            reconnect_max_ms: reconnect_max_s * 1000,
            log: settings.log.unwrap_or_else(|| "info".to_owned()),
            log_json: settings.log_json.unwrap_or(false),
            reserve_bytes: RESERVE_BYTES,
            network_switch: false,
            seed,
        })
    }
}

impl fmt::Display for Config {
    /// The effective settings on one line, secrets hidden.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sites = match &self.sites {
            Sites::All => "*".to_owned(),
            Sites::Only(sites) => sites.iter().map(SiteId::as_str).collect::<Vec<_>>().join(", "),
        };
        let broker = self.broker.as_ref().map_or_else(|| "none".to_owned(), |broker| format!("{broker:?}"));
        write!(
            f,
            "data={} sites=[{sites}] broker={broker} http={} insecure={} letter={} zone={} reconnect_max_s={} log={} log_json={}",
            self.data.display(),
            self.http,
            self.insecure,
            self.letter,
            self.zone.iana_name().unwrap_or("fixed"),
            self.reconnect_max_ms / 1000,
            self.log,
            self.log_json,
        )
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Broker {
    /// Reads `mqtt://[user:password@]host[:port]`. Beyond this machine only where `insecure`.
    pub fn parse(text: &str, insecure: bool) -> Result<Broker, ConfigError> {
        let wrong = |reason: &str| wrong("broker", reason);
        if text.starts_with("mqtts://") {
            return Err(wrong(
                "mqtts needs device identities, which this version does not have; use mqtt:// on loopback",
            ));
        }
        let rest = text.strip_prefix("mqtt://").ok_or_else(|| wrong("expected mqtt://HOST:PORT"))?;
        let (login, address) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((login, address)) => {
                (login.split_once(':').map(|(user, word)| (user.to_owned(), word.to_owned())), address)
            }
        };
        let address = address.trim_end_matches('/');
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && !port.contains(']') => {
                (host, port.parse().map_err(|_| wrong("the port is not a number from 1 to 65535"))?)
            }
            Some(_) | None => (address, MQTT_PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '?', '#', ' ']) {
            return Err(wrong("expected mqtt://HOST:PORT"));
        }
        let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if !insecure && !is_loopback {
            return Err(wrong(
                "the broker is on another machine, and nobody is asked who they are; add --insecure if that network is yours alone",
            ));
        }
        Ok(Broker { host: host.to_owned(), port, login })
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = if self.login.is_some() { "***@" } else { "" };
        write!(f, "mqtt://{login}{}:{}", self.host, self.port)
    }
}

fn sites(settings: &Settings) -> Result<Sites, ConfigError> {
    let ways = [!settings.site.is_empty(), settings.sites_file.is_some(), settings.sites.is_some()];
    if ways.iter().filter(|is_used| **is_used).count() > 1 {
        return Err(wrong("sites", "use one of --site, --sites-file and --sites '*'"));
    }
    if let Some(text) = &settings.sites {
        return if text == "*" {
            Ok(Sites::All)
        } else {
            Err(wrong("sites", "only '*' is possible; name a site with --site"))
        };
    }
    let mut names = settings.site.clone();
    if let Some(path) = &settings.sites_file {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Io { path: path.clone(), source })?;
        names = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    }
    let mut sites: Vec<SiteId> = names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    sites.sort();
    sites.dedup();
    if sites.iter().any(SiteId::is_hub) {
        return Err(wrong("site", "'hub' is where documents of no outlet belong; no agent stands for it"));
    }
    if sites.is_empty() {
        return Err(wrong("site", "name the site the agent captures for, such as --site 3702"));
    }
    Ok(Sites::Only(sites))
}

fn wrong(key: &'static str, reason: impl Into<String>) -> ConfigError {
    ConfigError::Value { key, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The effective settings of a file (overlaid by `flags`, in the file's syntax), or the error.
    fn check(file: &str, flags: &str, expected: &str) {
        let read = |text: &str| Settings::parse(&text.replace("; ", "\n"), Path::new("agent.toml"));
        let config = read(file).and_then(|weak| Config::new(weak.overlaid_by(read(flags)?), [0; 32]));
        let found = config.map_or_else(|error| error.to_string(), |config| config.to_string());
        assert!(found.contains(expected), "{file} | {flags}: {found}");
    }

    #[test]
    fn a_stronger_source_wins_and_defaults_fill_the_rest() {
        let least = "data = 'd'; site = ['3702']";
        check(
            least,
            "",
            "data=d sites=[3702] broker=none http=127.0.0.1:7381 insecure=false letter=A zone=Asia/Shanghai",
        );
        check(least, "http = '127.0.0.1:0'; zone = 'UTC'", "http=127.0.0.1:0");
        check(least, "site = ['b', 'a', 'b']", "sites=[a, b]");
        check(least, "sites = '*'", "sites=[*]");
        check("data = 'd'; sites = '*'", "site = ['3702']", "sites=[3702]");
        check(least, "broker = 'mqtt://localhost'", "broker=mqtt://localhost:1883");
        check(least, "broker = 'mqtt://[::1]:7'", "broker=mqtt://::1:7");
        check(least, "broker = 'mqtt://me:word@127.0.0.1:7/'", "broker=mqtt://***@127.0.0.1:7");
        check(least, "reconnect_max_s = 5; log_json = true", "reconnect_max_s=5 log=info log_json=true");
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_cure() {
        let least = "data = 'd'; site = ['3702']";
        check("data = 'd'; sight = 'x'", "", "agent.toml, line 2: unknown field `sight`");
        check("data = 'd'; site = '3702'", "", "agent.toml, line 2");
        check("site = ['3702']", "", "data: name the data folder");
        check("data = 'd'", "", "site: name the site");
        check("data = 'd'; site = ['a']; sites = '*'", "", "use one of");
        check(least, "sites = '3702'", "only '*' is possible");
        check(least, "site = ['3702', 'hub']", "no agent stands for it");
        check(least, "http = '0.0.0.0:80'", "--insecure");
        check(least, "http = '0.0.0.0:80'; insecure = true", "http=0.0.0.0:80 insecure=true");
        check(least, "http = 'localhost'", "is not an address and port");
        check(least, "broker = 'mqtt://hub.example:1883'", "--insecure");
        check(least, "broker = 'mqtts://localhost'", "device identities");
        check(least, "broker = 'http://localhost'", "expected mqtt://");
        check(least, "broker = 'mqtt://localhost:99999'", "port is not a number");
        check(least, "letter = 'a'", "not a letter");
        check(least, "zone = 'Moon'", "not an IANA time zone");
        check(least, "reconnect_max_s = 0", "1 to 3600");
    }

    #[test]
    fn the_example_is_sound() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/agent.toml"));
        let config = Config::new(Settings::read(path).unwrap(), [0; 32]).unwrap();
        assert_eq!(config.sites, Sites::Only(vec!["3702".parse().unwrap()]));
    }

    #[test]
    fn sites_can_stand_in_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "城东站\n\n 3702 \n").unwrap();
        check("data = 'd'", &format!("sites_file = '{}'", file.path().display()), "sites=[3702, 城东站]");
        check("data = 'd'", "sites_file = '/none'", "cannot read /none");
    }
}
