//! The hub's settings: flags over `WAYSTATION_…` variables over a TOML file over defaults, as one validated `Config`.
//!
//! Each layer is the same `Settings` with every key optional; unknown keys in the file are errors. Whoever is asked
//! for something unsafe (an address other machines reach, before there are identities) must be told `insecure`.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use crate::rules::Rules;
use crate::store::Retention;

/// What precedes a key's name, in capitals, in the environment.
pub const ENV_PREFIX: &str = "WAYSTATION_";

/// Days for which agents keep what is processed, unless the settings say otherwise.
const RETENTION_DAYS: u16 = 14;

/// One layer of settings. What it leaves out, the next layer below says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder of the hub's database and key [default: waystation-hub]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address of the API and the pages; port 0 picks a free one [default: 127.0.0.1:8480]
    #[arg(long, global = true, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// `embedded`, or the broker to use: mqtt://HOST:PORT [default: embedded]
    #[arg(long, global = true, value_name = "BROKER")]
    pub broker: Option<BrokerChoice>,
    /// Address of the embedded broker; port 0 picks a free one [default: 127.0.0.1:1883]
    #[arg(long, global = true, value_name = "ADDR")]
    pub mqtt: Option<SocketAddr>,
    /// Listen on addresses that other machines reach although nobody is asked who they are
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub insecure: Option<bool>,
    /// Days for which agents keep what the hub has processed, at least [default: 14]
    #[arg(long, global = true, value_name = "DAYS")]
    pub retention_days: Option<u16>,
    /// Let agents delete nothing before a first backup was made and checked
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub require_backup: Option<bool>,
    /// The network's rules, by name: in the file only.
    #[arg(skip)]
    pub rules: Option<Rules>,
    /// What to log, such as info or waystation_hub=debug,info [default: info]
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// How log lines are written [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Which broker carries the messages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum BrokerChoice {
    /// The one inside this process.
    Embedded,
    /// Another, spoken to over plain TCP.
    Remote {
        /// Its host name or address.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything the hub is told, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Folder of the hub's database and key.
    pub data: PathBuf,
    /// Address of the API and the pages.
    pub http: SocketAddr,
    /// Which broker.
    pub broker: BrokerChoice,
    /// Address of the embedded broker.
    pub mqtt: SocketAddr,
    /// Whether other machines may reach a hub that asks nobody who they are.
    pub insecure: bool,
    /// Days for which agents keep what is processed.
    pub retention_days: u16,
    /// Whether agents keep everything until a first backup was made.
    pub require_backup: bool,
    /// The network's rules.
    pub rules: Rules,
    /// What to log.
    pub log: String,
    /// How log lines are written.
    pub log_format: LogFormat,
}

/// Why the settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("could not read the configuration {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no TOML, or has a key or a value that does not exist. The message names line and column.
    #[error("configuration {path}: {message}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// What is wrong where.
        message: String,
    },
    /// A variable of the environment has no such value.
    #[error("environment variable {name}: {message}")]
    Variable {
        /// Which one.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// An address that other machines reach, without `insecure`.
    #[error(
        "{what} address {addr} is reachable from other machines, but nobody is asked who they are yet; use a loopback address, or --insecure on a trusted network"
    )]
    NotLoopback {
        /// `http` or `mqtt`.
        what: &'static str,
        /// The address asked for.
        addr: SocketAddr,
    },
    /// A broker that is neither `embedded` nor an address.
    #[error("'{0}' is no broker: expected embedded or mqtt://HOST:PORT")]
    Broker(String),
}

impl FromStr for BrokerChoice {
    type Err = ConfigError;
    fn from_str(text: &str) -> Result<BrokerChoice, ConfigError> {
        if text == "embedded" {
            return Ok(BrokerChoice::Embedded);
        }
        let bad = || ConfigError::Broker(text.to_owned());
        let rest = text.strip_prefix("mqtt://").ok_or_else(bad)?.trim_end_matches('/');
        let (host, port) = match rest.rsplit_once(':') {
            // the colons of a bare IPv6 address end with its bracket
            Some(_) if rest.ends_with(']') => (rest, 1883),
            Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
            None => (rest, 1883),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(bad());
        }
        Ok(BrokerChoice::Remote { host: host.to_owned(), port })
    }
}

impl TryFrom<String> for BrokerChoice {
    type Error = ConfigError;
    fn try_from(text: String) -> Result<BrokerChoice, ConfigError> {
        text.parse()
    }
}

impl fmt::Display for BrokerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BrokerChoice::Embedded => f.write_str("embedded"),
            BrokerChoice::Remote { host, port } if host.contains(':') => write!(f, "mqtt://[{host}]:{port}"),
            BrokerChoice::Remote { host, port } => write!(f, "mqtt://{host}:{port}"),
        }
    }
}

impl Settings {
    /// Reads a file's layer.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or does not say settings.
    pub fn from_file(path: &Path) -> Result<Settings, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Settings::from_toml(&text).map_err(|message| ConfigError::Parse { path: path.to_owned(), message })
    }

    fn from_toml(text: &str) -> Result<Settings, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
    }

    /// Reads the environment's layer; `variable` gives the value of a name.
    ///
    /// # Errors
    ///
    /// A variable has a value its key does not take.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Settings, ConfigError> {
        let read = Variables { variable: &variable };
        Ok(Settings {
            data: read.text("DATA")?.map(PathBuf::from),
            http: read.parsed("HTTP", "expected an address such as 127.0.0.1:8480")?,
            broker: read.parsed("BROKER", "expected embedded or mqtt://HOST:PORT")?,
            mqtt: read.parsed("MQTT", "expected an address such as 127.0.0.1:1883")?,
            insecure: read.parsed("INSECURE", "expected true or false")?,
            retention_days: read.parsed("RETENTION_DAYS", "expected a number of days such as 14")?,
            require_backup: read.parsed("REQUIRE_BACKUP", "expected true or false")?,
            rules: None,
            log: read.text("LOG")?,
            log_format: match read.text("LOG_FORMAT")?.as_deref() {
                None => None,
                Some("text") => Some(LogFormat::Text),
                Some("json") => Some(LogFormat::Json),
                Some(_) => {
                    return Err(Variables::<fn(&str) -> Option<String>>::refused(
                        "LOG_FORMAT",
                        "expected text or json",
                    ));
                }
            },
        })
    }

    /// This layer, and below it `lower`.
    #[must_use]
    pub fn over(self, lower: Settings) -> Settings {
        Settings {
            data: self.data.or(lower.data),
            http: self.http.or(lower.http),
            broker: self.broker.or(lower.broker),
            mqtt: self.mqtt.or(lower.mqtt),
            insecure: self.insecure.or(lower.insecure),
            retention_days: self.retention_days.or(lower.retention_days),
            require_backup: self.require_backup.or(lower.require_backup),
            rules: self.rules.or(lower.rules),
            log: self.log.or(lower.log),
            log_format: self.log_format.or(lower.log_format),
        }
    }
}

struct Variables<'a, F> {
    variable: &'a F,
}

impl<F: Fn(&str) -> Option<String>> Variables<'_, F> {
    fn refused(key: &str, message: &str) -> ConfigError {
        ConfigError::Variable { name: format!("{ENV_PREFIX}{key}"), message: message.to_owned() }
    }

    fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        Ok((self.variable)(&format!("{ENV_PREFIX}{key}")).filter(|value| !value.is_empty()))
    }

    fn parsed<T: FromStr>(&self, key: &str, expected: &str) -> Result<Option<T>, ConfigError> {
        let text = self.text(key)?;
        text.map(|text| text.parse().map_err(|_| Self::refused(key, expected))).transpose()
    }
}

impl Config {
    /// The defaults under `settings`, checked.
    ///
    /// # Errors
    ///
    /// An address is reachable from other machines and nobody said `insecure`.
    pub fn resolve(settings: Settings) -> Result<Config, ConfigError> {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let config = Config {
            data: settings.data.unwrap_or_else(|| PathBuf::from("waystation-hub")),
            http: settings.http.unwrap_or_else(|| loopback(8480)),
            broker: settings.broker.unwrap_or(BrokerChoice::Embedded),
            mqtt: settings.mqtt.unwrap_or_else(|| loopback(1883)),
            insecure: settings.insecure.unwrap_or(false),
            retention_days: settings.retention_days.unwrap_or(RETENTION_DAYS),
            require_backup: settings.require_backup.unwrap_or(false),
            rules: settings.rules.unwrap_or_default(),
            log: settings.log.unwrap_or_else(|| "info".to_owned()),
            log_format: settings.log_format.unwrap_or(LogFormat::Text),
        };
        let listens = [("http", config.http, true), ("mqtt", config.mqtt, config.broker == BrokerChoice::Embedded)];
        for (what, addr, is_used) in listens {
            if is_used && !config.insecure && !addr.ip().is_loopback() {
                return Err(ConfigError::NotLoopback { what, addr });
            }
        }
        Ok(config)
    }

    /// A hub of one's own on free loopback ports, for programs that run it inside themselves.
    #[must_use]
    pub fn local(data: PathBuf) -> Config {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Config {
            data,
            http: free,
            broker: BrokerChoice::Embedded,
            mqtt: free,
            insecure: false,
            retention_days: RETENTION_DAYS,
            require_backup: false,
            rules: Rules::default(),
            log: "info".to_owned(),
            log_format: LogFormat::Text,
        }
    }

    /// When agents may delete.
    #[must_use]
    pub fn retention(&self) -> Retention {
        let ms = i64::from(self.retention_days) * 24 * 60 * 60 * 1000;
        Retention { ms, needs_backup: self.require_backup }
    }

    /// Writes the effective settings to the log. None of them is secret.
    pub fn log_effective(&self) {
        tracing::info!(
            data = %self.data.display(),
            http = %self.http,
            broker = %self.broker,
            mqtt = %self.mqtt,
            insecure = self.insecure,
            retention_days = self.retention_days,
            require_backup = self.require_backup,
            rules = %self.rules,
            log = %self.log,
            "effective settings"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layered(flags: &[&str], env: &[(&str, &str)], file: &str) -> Result<Config, String> {
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            settings: Settings,
        }
        let flags = <Flags as clap::Parser>::try_parse_from([&["hub"], flags].concat());
        let flags = flags.map_err(|error| error.to_string())?.settings;
        let variable = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let env = Settings::from_env(variable).map_err(|error| error.to_string())?;
        let file = Settings::from_toml(file)?;
        Config::resolve(flags.over(env).over(file)).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let file = "http = '127.0.0.1:1'\ndata = 'from-file'\nbroker = 'mqtt://broker.lan'";
        let env =
            [("WAYSTATION_HTTP", "127.0.0.1:2"), ("WAYSTATION_DATA", "from-env"), ("WAYSTATION_LOG_FORMAT", "json")];
        let config = layered(&["--http", "127.0.0.1:3"], &env, file).unwrap();
        assert_eq!(config.http.port(), 3);
        assert_eq!(config.data, PathBuf::from("from-env"));
        assert_eq!(config.broker, BrokerChoice::Remote { host: "broker.lan".into(), port: 1883 });
        assert_eq!((config.mqtt.port(), config.insecure, config.log_format), (1883, false, LogFormat::Json));
    }

    #[test]
    fn the_example_is_valid_and_says_its_rules() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/hub.toml");
        let config = Config::resolve(Settings::from_file(&path).unwrap()).unwrap();
        assert_eq!((config.retention_days, config.rules.find("claim.run_in_days")), (14, Some(180)));
        assert_eq!(config.rules.find("claim.returnable.ordinary"), Some(1), "what is not set is as declared");
        assert!(config.rules.to_string().contains("claim.max_rounds=3"), "{}", config.rules);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str, &'a str);
        let table: &[Case<'_>] = &[
            (&[], &[], "htpp = '127.0.0.1:1'", "unknown field `htpp`"),
            (&[], &[], "http = 'nowhere'", "line 1, column 8"),
            (&[], &[], "[rules]\nclaim.rounds = 3", "there is no rule 'claim.rounds'; there are: claim.max_rounds"),
            (&[], &[], "[rules]\nclaim.max_rounds = 0", "expected a whole number from 1 to 99"),
            (&[], &[("WAYSTATION_MQTT", "x")], "", "WAYSTATION_MQTT: expected an address"),
            (&[], &[("WAYSTATION_RETENTION_DAYS", "-1")], "", "WAYSTATION_RETENTION_DAYS: expected a number of days"),
            (&[], &[("WAYSTATION_LOG_FORMAT", "xml")], "", "WAYSTATION_LOG_FORMAT: expected text or json"),
            (&["--http", "0.0.0.0:80"], &[], "", "http address 0.0.0.0:80 is reachable from other machines"),
            (&["--mqtt", "[::]:80"], &[], "", "mqtt address [::]:80 is reachable from other machines"),
            (&["--broker", "amqp://x"], &[], "", "'amqp://x' is no broker"),
        ];
        for (flags, env, file, expected) in table {
            let error = layered(flags, env, file).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn insecure_opens_what_was_closed_and_a_remote_broker_needs_no_address() {
        assert!(layered(&["--http", "0.0.0.0:80", "--insecure"], &[], "").unwrap().insecure);
        assert!(layered(&["--mqtt", "0.0.0.0:1", "--broker", "mqtt://b:1"], &[], "").is_ok());
        assert!(!layered(&["--insecure", "false"], &[], "insecure = true").unwrap().insecure);
    }

    #[test]
    fn brokers_read_as_they_are_written() {
        for text in ["embedded", "mqtt://broker:1884", "mqtt://10.0.0.1:1883", "mqtt://[::1]:1883"] {
            assert_eq!(text.parse::<BrokerChoice>().unwrap().to_string(), text);
        }
        assert_eq!("mqtt://[::1]".parse::<BrokerChoice>().unwrap().to_string(), "mqtt://[::1]:1883");
        for bad in ["", "mqtt://", "mqtt://:1", "mqtt://a:b", "mqtts://a:1", "mqtt://u@h:1"] {
            assert!(bad.parse::<BrokerChoice>().is_err(), "{bad}");
        }
    }
}
