//! Agents and hubs as real processes, on folders and ports of their own.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::http::Http;
use crate::wait::eventually;

/// A running (or killed) binary of ours that can be started again with the same arguments.
pub struct Process {
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
    ready: Value,
}

/// The program's path beside the test's own: `tests/run` builds them first.
pub fn program(name: &str) -> PathBuf {
    let mut folder = std::env::current_exe().expect("a test knows its own path");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is not built: run tests/run, or cargo build --release --workspace --bins",
        path.display()
    );
    path
}

/// Copies a folder of files over whatever is at `to`.
pub fn copy_folder(from: &Path, to: &Path) {
    drop(std::fs::remove_dir_all(to));
    std::fs::create_dir_all(to).expect("a folder can be made");
    for file in std::fs::read_dir(from).expect("the folder is there") {
        let file = file.expect("its entries can be read");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("a file can be copied");
    }
}

/// A port that is free now. Taken by the kernel's choice; a clash shows at once as a failed start.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// Runs a command of ours to its end.
pub fn run(name: &str, arguments: &[&str]) -> Output {
    Command::new(program(name)).args(arguments).stdin(Stdio::null()).output().expect("our binaries start")
}

impl Process {
    /// Starts `name` and waits for its ready line. Standard error goes to `log`, which is shown on failure.
    pub fn start(name: &str, arguments: &[String], log: &Path) -> Process {
        let mut process = Process {
            program: program(name),
            arguments: arguments.to_vec(),
            log: log.to_owned(),
            child: None,
            ready: Value::Null,
        };
        process.restart();
        process
    }

    /// Starts it again after a kill.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "a process is started again only after it ended");
        let error = || panic!("{}: no ready line\n{}", self.program.display(), self.log_tail());
        let stderr = File::options().create(true).append(true).open(&self.log).expect("the log can be written");
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("our binaries start");
        let mut lines = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap_or(0) == 0 {
            drop(child.wait());
            error();
        }
        self.ready = serde_json::from_str(&line).unwrap_or_else(|_| error());
        assert_eq!(self.ready["ready"], true, "{line}");
        std::thread::spawn(move || drop(lines.read_to_end(&mut Vec::new())));
        self.child = Some(child);
    }

    /// Starts with this option from the next restart on.
    pub fn set_argument(&mut self, name: &str, value: &str) {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
    }

    /// The address the ready line names.
    pub fn address(&self, name: &str) -> String {
        let text = self.ready[name].as_str().unwrap_or_else(|| panic!("the ready line has no {name}: {}", self.ready));
        text.rsplit("//").next().unwrap_or(text).trim_end_matches('/').to_owned()
    }

    /// Requests to its HTTP address.
    pub fn http(&self) -> Http {
        Http::new(&self.address("http"))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// kill -9.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("a killed child can be waited for");
        }
    }

    /// SIGTERM; gives the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("it runs");
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
        assert!(killed.success());
        eventually(Duration::from_secs(20), "a clean end after SIGTERM", || match child.try_wait() {
            Ok(Some(status)) => Ok(status.code()),
            Ok(None) => Err("still running".into()),
            Err(error) => Err(error.to_string()),
        })
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Lines of its log at level ERROR.
    pub fn error_lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log_tail());
        }
        self.kill9();
    }
}

/// A hub on `folder`, with fixed ports so that it can be killed and started again. `broker` is `embedded` or a URL.
pub fn hub(folder: &Path, broker: &str) -> Process {
    hub_at(folder, broker, free_port())
}

/// A hub whose embedded broker listens on `mqtt_port`.
pub fn hub_at(folder: &Path, broker: &str, mqtt_port: u16) -> Process {
    let arguments = [
        "run".to_owned(),
        "--data".to_owned(),
        folder.join("hub").display().to_string(),
        "--http".to_owned(),
        format!("127.0.0.1:{}", free_port()),
        "--broker".to_owned(),
        broker.to_owned(),
        "--mqtt".to_owned(),
        format!("127.0.0.1:{mqtt_port}"),
    ];
    Process::start("waystation-hub", &arguments, &folder.join("hub.log"))
}

/// An agent for `site` in `folder/site`, with a fixed HTTP port. `more` are further arguments.
pub fn agent(folder: &Path, site: &str, broker: &str, more: &[&str]) -> Process {
    let mut arguments = vec![
        "run".to_owned(),
        "--data".to_owned(),
        folder.join(site_folder(site)).display().to_string(),
        if site == "*" { "--sites".to_owned() } else { "--site".to_owned() },
        site.to_owned(),
        "--broker".to_owned(),
        format!("mqtt://{broker}"),
        "--http".to_owned(),
        format!("127.0.0.1:{}", free_port()),
    ];
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    Process::start("waystation-agent", &arguments, &folder.join(format!("agent-{}.log", site_folder(site))))
}

/// The name of a site's folder.
pub fn site_folder(site: &str) -> &str {
    if site == "*" { "all" } else { site }
}
