//! Mosquitto from Debian, on a free port, with persistence off: the most forgetful broker there is.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::process::free_port;
use crate::wait::eventually;

/// A running (or killed) Mosquitto.
pub struct Mosquitto {
    program: PathBuf,
    config: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Mosquitto {
    /// Starts it with its files in `folder`.
    pub fn start(folder: &Path) -> Mosquitto {
        let places = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto", "/usr/local/sbin/mosquitto"];
        let program = places.iter().map(PathBuf::from).find(|path| path.exists());
        let program = program.expect("mosquitto is installed by tests/run");
        let port = free_port();
        let config = folder.join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\nmax_inflight_messages 0\nmessage_size_limit 0\n"
        );
        std::fs::write(&config, text).expect("the test's folder can be written");
        let mut mosquitto = Mosquitto { program, config, port, child: None };
        mosquitto.restart();
        mosquitto
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// kill -9.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("a killed child can be waited for");
        }
    }

    /// Starts it again, having forgotten everything.
    pub fn restart(&mut self) {
        let quiet = || Stdio::null();
        let child = Command::new(&self.program).arg("-c").arg(&self.config).stdout(quiet()).stderr(quiet()).spawn();
        self.child = Some(child.expect("mosquitto starts"));
        let address = self.address();
        eventually(Duration::from_secs(10), "mosquitto to listen", || {
            std::net::TcpStream::connect(&address).map(drop).map_err(|error| error.to_string())
        });
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill9();
    }
}
