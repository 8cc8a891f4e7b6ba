//! A TCP proxy between agent and broker that counts, delays, cuts and swallows.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Counters and switches shared with the pumping threads.
#[derive(Default)]
struct State {
    up: AtomicU64,
    down: AtomicU64,
    is_cut: AtomicBool,
    swallows: AtomicBool,
    delay_ms: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

/// Forwards connections to a target.
pub struct Proxy {
    address: String,
    state: Arc<State>,
}

impl Proxy {
    /// Listens on a free port and forwards to `target` (host:port).
    pub fn start(target: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let state = Arc::new(State::default());
        let (shared, target) = (Arc::clone(&state), target.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&target) else { continue };
                forward(&shared, client, server);
            }
        });
        Proxy { address, state }
    }

    /// Where agents connect.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Bytes from agents to the broker, and back.
    pub fn bytes(&self) -> (u64, u64) {
        (self.state.up.load(Ordering::SeqCst), self.state.down.load(Ordering::SeqCst))
    }

    /// Cuts every connection and refuses new ones.
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
        for stream in self.state.open.lock().expect("no pump panics").drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// Keeps connections open and swallows what they carry, both ways: a half-open link.
    pub fn swallow(&self) {
        self.state.swallows.store(true, Ordering::SeqCst);
    }

    /// Holds back every piece that passes for so many milliseconds, each way.
    pub fn delay(&self, ms: u64) {
        self.state.delay_ms.store(ms, Ordering::SeqCst);
    }

    /// Lets everything through again. A link that was swallowed lost bytes for good, so it is closed.
    pub fn restore(&self) {
        if self.state.swallows.load(Ordering::SeqCst) {
            self.cut();
        }
        self.state.delay_ms.store(0, Ordering::SeqCst);
        self.state.swallows.store(false, Ordering::SeqCst);
        self.state.is_cut.store(false, Ordering::SeqCst);
    }
}

fn forward(state: &Arc<State>, client: TcpStream, server: TcpStream) {
    let (Ok(client_copy), Ok(server_copy)) = (client.try_clone(), server.try_clone()) else { return };
    let kept = [client.try_clone(), server.try_clone()];
    state.open.lock().expect("no pump panics").extend(kept.into_iter().flatten());
    let (up, down) = (Arc::clone(state), Arc::clone(state));
    std::thread::spawn(move || pump(client, server, &up, &up.up));
    std::thread::spawn(move || pump(server_copy, client_copy, &down, &down.down));
}

fn pump(mut from: TcpStream, mut to: TcpStream, state: &State, count: &AtomicU64) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        if state.swallows.load(Ordering::SeqCst) {
            continue;
        }
        count.fetch_add(bytes as u64, Ordering::SeqCst);
        std::thread::park_timeout(Duration::from_millis(state.delay_ms.load(Ordering::SeqCst)));
        if to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}
