//! A clerk at an outlet's terminal, who keeps a list of what was confirmed to them. That list is the truth.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::Http;

/// A document whose capture was confirmed: what the clerk saw.
#[derive(Debug, Clone)]
pub struct Confirmed {
    /// Its id.
    pub id: String,
    /// A word no other capture carries.
    pub tag: String,
    /// How many acts on it were confirmed, the opening included.
    pub acts: usize,
    /// Whether an act's answer never came: it may or may not stand.
    pub has_doubt: bool,
}

/// A clerk at work.
pub struct Clerk {
    stop: Arc<AtomicBool>,
    confirmed: Arc<Mutex<Vec<Confirmed>>>,
    thread: Option<JoinHandle<()>>,
}

impl Clerk {
    /// Captures repair orders without pause, two acts each, against the agent at `http`, until stopped. An act whose
    /// answer was missed is never repeated: it may have counted.
    pub fn start(name: &str, http: Http) -> Clerk {
        let (stop, confirmed) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, list, name) = (Arc::clone(&stop), Arc::clone(&confirmed), name.to_owned());
        let thread = std::thread::spawn(move || {
            for index in 0.. {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                match capture(&http, &format!("{name}-{index}")) {
                    Some(document) => list.lock().expect("clerks do not panic").push(document),
                    None => std::thread::park_timeout(Duration::from_millis(20)),
                }
            }
        });
        Clerk { stop, confirmed, thread: Some(thread) }
    }

    /// How many documents were confirmed so far.
    pub fn count(&self) -> usize {
        self.confirmed.lock().expect("clerks do not panic").len()
    }

    /// Ends the work and gives the list.
    pub fn finish(mut self) -> Vec<Confirmed> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().expect("a clerk finishes once").join().expect("clerks do not panic");
        self.confirmed.lock().expect("clerks do not panic").clone()
    }
}

/// One repair order: opened, then estimated. None if the opening was not confirmed.
pub fn capture(http: &Http, tag: &str) -> Option<Confirmed> {
    let opening = json!({
        "kind": "repair_order", "act": "check_in", "author": "李娜",
        "set": {"category": "Laptop", "symptom": tag, "pre_inspection": "外观完好", "checked_in_at": "2026-11-20 08:30"},
    });
    let answer = http.try_post("/api/v1/documents", &opening).ok()?;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let id = answer.body["id"].as_str().expect("a captured document has an id").to_owned();
    let mut confirmed = Confirmed { id, tag: tag.to_owned(), acts: 1, has_doubt: false };
    let estimate = json!({"author": "李娜", "set": {"promised_at": "2026-11-20 18:00"}});
    match http.try_post(&format!("/api/v1/documents/{}/acts/estimate", confirmed.id), &estimate) {
        Ok(answer) if answer.status == 200 => confirmed.acts = 2,
        Ok(answer) => panic!("{}", answer.body),
        Err(_) => confirmed.has_doubt = true,
    }
    Some(confirmed)
}

/// The figures of an agent's status.
pub fn status(http: &Http) -> Result<Value, String> {
    let answer = http.try_get("/api/v1/status")?;
    if answer.status == 200 { Ok(answer.body) } else { Err(answer.body.to_string()) }
}

/// Entries the hub has not confirmed.
pub fn unsent(http: &Http) -> Option<u64> {
    status(http).ok()?["unsent"].as_u64()
}
