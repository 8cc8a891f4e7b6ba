//! The downward journals on their way out: one sender per agent that is in touch, the same as agents use upward.
//!
//! Rows are the truth: a sender is made from what agent and hub said when they met, and dropped without loss. After
//! silence it gives up until the agent's next HELLO or heartbeat.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use waystation_protocol::chain::{Hash, Seq, SeqRange};
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::limits;
use waystation_protocol::message::Ack;
use waystation_protocol::sync::{Command, Resume, Sender};

use super::outbox::Post;
use crate::clock;
use crate::down::{Downward, Meeting};
use crate::store::{Store, StoreError};

/// What is told together costs one look; an agent hears of it this much later at most.
const GATHER: Duration = Duration::from_millis(20);
/// With no timer running, the task wakes only for what happens.
const IDLE: Duration = Duration::from_secs(3600);

/// One agent that is in touch.
struct Course {
    stream: StreamId,
    sender: Sender,
    credit: u64,
}

struct Downwards {
    store: Store,
    post: Post,
    courses: HashMap<AgentId, Course>,
    /// The last entry looked at.
    seen: i64,
}

/// Sends until the link stops.
pub(super) async fn run(
    mut told: UnboundedReceiver<Downward>,
    store: Store,
    post: Post,
    mut stopping: watch::Receiver<bool>,
) {
    let mut changes = store.watch_changes();
    let mut downwards = Downwards { store, post, courses: HashMap::new(), seen: 0 };
    loop {
        let timer = downwards.until_timer();
        let work = tokio::select! {
            downward = told.recv() => match downward {
                Some(downward) => Work::Told(downward),
                None => return,
            },
            changed = changes.changed(), if !downwards.courses.is_empty() => match changed {
                Ok(()) => Work::Look,
                Err(_) => return,
            },
            () = tokio::time::sleep(timer) => Work::Timer,
            _ = stopping.changed() => return,
        };
        tokio::select! {
            () = downwards.handle(work) => {}
            _ = stopping.changed() => return,
        }
    }
}

enum Work {
    Told(Downward),
    /// Something was committed.
    Look,
    Timer,
}

impl Downwards {
    async fn handle(&mut self, work: Work) {
        match work {
            Work::Told(Downward::Meet(meeting)) => {
                let agent = meeting.agent;
                self.meet(meeting).await;
                self.send(agent).await;
            }
            Work::Told(Downward::Ack(agent, ack, own_hash)) => {
                self.ack(agent, &ack, own_hash);
                self.send(agent).await;
            }
            Work::Look => {
                tokio::time::sleep(GATHER).await;
                for agent in self.look().await {
                    self.send(agent).await;
                }
            }
            Work::Timer => {
                let now = clock::tick();
                let is_due = |course: &Course| course.sender.poll_timer().is_some_and(|at| at <= now);
                let due: Vec<AgentId> =
                    self.courses.iter().filter(|(_, course)| is_due(course)).map(|(agent, _)| *agent).collect();
                for agent in due {
                    self.send(agent).await;
                }
            }
        }
    }

    fn until_timer(&self) -> Duration {
        let next = self.courses.values().filter_map(|course| course.sender.poll_timer()).min();
        next.map_or(IDLE, |at| Duration::from_millis(at.since(clock::tick()).max(1)))
    }

    async fn meet(&mut self, meeting: Meeting) {
        let known = self.courses.get(&meeting.agent).filter(|course| course.stream == meeting.stream);
        // a heartbeat tells nothing to a sender at work
        if known.is_some() && meeting.credit.is_none() {
            return;
        }
        let credit = meeting.credit.or(self.courses.get(&meeting.agent).map(|course| course.credit));
        let credit = credit.unwrap_or(limits::FIRST_CREDIT_BYTES);
        if self.courses.is_empty()
            && let Some(newest) = self.ask(Store::down_newest).await
        {
            self.seen = newest;
        }
        let stream = meeting.stream;
        let Some(head) = self.ask(move |store| store.down_head(stream)).await else { return };
        let now = clock::tick();
        let mut sender = Sender::new(head.max(meeting.stored.seq), meeting.stored);
        sender.handle_connected(meeting.session, now);
        sender.handle_hello_sent(now);
        sender.handle_resume(Resume { stored: meeting.stored, floor: Seq(0), must_register: false, credit }, now);
        self.courses.insert(meeting.agent, Course { stream, sender, credit });
    }

    fn ack(&mut self, agent: AgentId, ack: &Ack, own_hash: Option<Hash>) {
        let Some(course) = self.courses.get_mut(&agent).filter(|course| course.stream == ack.stream) else { return };
        course.credit = ack.credit;
        course.sender.handle_ack(ack, own_hash, clock::tick());
    }

    /// The agents whose journals grew.
    async fn look(&mut self) -> Vec<AgentId> {
        let mut seen = self.seen;
        let looked = self.ask(move |store| store.down_news(&mut seen).map(|news| (seen, news))).await;
        let Some((seen, news)) = looked else { return Vec::new() };
        self.seen = seen;
        let news: HashMap<StreamId, Seq> = news.into_iter().collect();
        let mut grown = Vec::new();
        for (agent, course) in &mut self.courses {
            if let Some(head) = news.get(&course.stream).filter(|head| **head > course.sender.head()) {
                course.sender.handle_head(*head);
                grown.push(*agent);
            }
        }
        grown
    }

    /// Sends what is due. A sender that wants a HELLO or another connection has given up: only the agent can begin.
    async fn send(&mut self, agent: AgentId) {
        loop {
            let Some(course) = self.courses.get_mut(&agent) else { return };
            match course.sender.poll_command(clock::tick()) {
                Some(Command::Batch(range)) => {
                    if !self.send_batch(agent, range).await {
                        self.courses.remove(&agent);
                        return;
                    }
                }
                Some(Command::Hello | Command::Rebuild) => {
                    tracing::debug!(%agent, "an agent does not answer; its downward journal waits");
                    self.courses.remove(&agent);
                    return;
                }
                // a downward stream begins at its first entry: there is nothing to make known
                Some(Command::Register(_)) | None => return,
            }
        }
    }

    async fn send_batch(&mut self, agent: AgentId, range: SeqRange) -> bool {
        let Some(course) = self.courses.get(&agent) else { return false };
        let stream = course.stream;
        let Some(Some(batch)) = self.ask(move |store| store.down_batch(stream, range)).await else { return false };
        let last = Seq(batch.first_seq.0 + u64::from(batch.count) - 1);
        let bytes = batch.payload.len() as u64;
        if !self.post.publish(agent, &batch).await {
            return false;
        }
        let now = clock::tick();
        if let Some(course) = self.courses.get_mut(&agent) {
            course.sender.handle_sent(SeqRange { first: range.first, last }, bytes, now);
        }
        true
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Option<T> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || question(&store)).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a downward journal could not be read");
                None
            }
            Err(error) => {
                tracing::error!(%error, "a question about a downward journal did not end");
                None
            }
        }
    }
}
