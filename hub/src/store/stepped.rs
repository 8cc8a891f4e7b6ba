//! A hub without threads and without a link: each step is one call, on the caller's thread, at the caller's time.
//!
//! For simulations, where one seed decides what happens next. The writer, the applier and what replies say are those of
//! the running hub; only who calls them, and when, is different. Dropping it between two steps is a crash there.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use rusqlite::Connection;
use tokio::sync::{mpsc, watch};
use waystation_protocol::document::Document;
use waystation_protocol::document::capture::Wish;
use waystation_protocol::down::Command;
use waystation_protocol::frame;
use waystation_protocol::id::{AgentId, EntryId, SessionId};
use waystation_protocol::message::Message;
use waystation_protocol::time::{Tick, Timestamp};

use super::case::{Ask, AskError, EntryPlace};
use super::writer::Writer;
use super::{
    Counters, HubIdentity, Options, Shared, StoreError, add_backup, connection, epoch, heads, life, pinned_keys,
};
use super::{quarantine, session};
use crate::apply::{self, Applier, Slice};
use crate::backup::{self, BackupError, Taken};
use crate::down::{ActError, Courses, Deed, Downward, News, act, post};
use crate::ingest::{self, Incoming, Keys, Rejected, Reply};
use crate::link::outbox;
use crate::rules::Rules;

/// Slices built and not yet committed, as in the running hub.
const SLICES: usize = super::queue::SLICES;

/// One worker.
pub struct Stepped {
    dir: PathBuf,
    identity: HubIdentity,
    key: SigningKey,
    keys: Keys,
    shared: Arc<Shared>,
    writer: Writer,
    replies: mpsc::UnboundedReceiver<Reply>,
    applier: Option<Applier>,
    /// What the last applier read through.
    reader: Option<Connection>,
    generation: u64,
    built: VecDeque<Box<Slice>>,
    courses: Courses,
    rules: Rules,
    is_visitor: bool,
}

impl Stepped {
    /// Opens the hub in `dir`, whose key is `key`. A visitor is a further worker beside the hub: it stores and does not
    /// process.
    ///
    /// # Errors
    ///
    /// As [`super::Store::open`].
    pub fn open(dir: &Path, options: &Options, key: SigningKey, now: Timestamp) -> Result<Stepped, StoreError> {
        let mut conn = connection::open_writer(dir)?;
        let identity = if options.is_visitor {
            life::visit(&conn, &options.fresh_id)?
        } else {
            life::wake(&mut conn, dir, &options.fresh_id, now)?
        };
        if !options.is_visitor {
            apply::recount::recount(&mut conn)?;
        }
        let keys = Keys::new(pinned_keys(&conn)?, Some(key.verifying_key()));
        let (sender, replies) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            queues: super::Queues::default(),
            mailbox: apply::Mailbox::default(),
            counters: Counters::default(),
            changes: watch::Sender::new(0),
            replies: Mutex::new(Some(sender)),
        });
        // a job for a writer that has no thread is refused, not waited for
        shared.queues.stop();
        let writer = Writer::new(conn, dir.to_owned(), options.retention, Duration::ZERO, Arc::clone(&shared));
        Ok(Stepped {
            dir: dir.to_owned(),
            identity,
            key,
            keys,
            shared,
            writer,
            replies,
            applier: None,
            reader: None,
            generation: 0,
            built: VecDeque::new(),
            courses: Courses::default(),
            rules: Rules::default(),
            is_visitor: options.is_visitor,
        })
    }

    /// Which hub this is.
    pub fn identity(&self) -> HubIdentity {
        self.identity
    }

    /// Verifies a frame from an agent's topic.
    ///
    /// # Errors
    ///
    /// The frame is dropped.
    pub fn verify(&self, agent: AgentId, bytes: &[u8], now: Timestamp) -> Result<Incoming, Rejected> {
        let message = ingest::verify(agent, bytes, &self.keys)?;
        Ok(Incoming { agent, message, received_at: now, wire_bytes: 0 })
    }

    /// Stores messages in one commit, and answers them if it succeeds.
    pub fn store(&mut self, group: Vec<Incoming>) {
        self.writer.store(group);
    }

    /// Builds a slice, unless two wait. Whether there was anything to do.
    ///
    /// # Errors
    ///
    /// The database fails, or a stored journal is damaged. The next call begins anew.
    pub fn build(&mut self) -> Result<bool, StoreError> {
        // an applier is loaded anew only once what an earlier one built is committed or refused
        let must_wait = self.applier.is_none() && !self.built.is_empty();
        if self.is_visitor || must_wait || self.built.len() >= SLICES {
            return Ok(false);
        }
        if self.applier.is_none() {
            self.shared.mailbox.take(false);
        }
        let on_the_way = self.built.len();
        let stepped = match &mut self.applier {
            Some(applier) => applier.step(on_the_way),
            none => {
                let reader = self.reader.take().map_or_else(|| connection::open_reader(&self.dir), Ok)?;
                let loaded = Applier::load(reader, Arc::clone(&self.shared), self.generation);
                loaded.and_then(|loaded| none.insert(loaded).step(on_the_way))
            }
        };
        match stepped {
            Ok(Some(slice)) if slice.is_empty() => Ok(false),
            Ok(Some(slice)) => {
                self.built.push_back(Box::new(slice));
                Ok(true)
            }
            Ok(None) => {
                self.restart();
                Ok(true)
            }
            Err(error) => {
                self.restart();
                Err(error)
            }
        }
    }

    /// Commits the slice built first. Whether there was one.
    pub fn apply(&mut self) -> bool {
        let Some(slice) = self.built.pop_front() else { return false };
        self.writer.apply(*slice);
        true
    }

    /// The replies to what was committed, sealed, with `credit` bytes granted in each, then what is due of the downward
    /// journals.
    pub fn frames(&mut self, credit: u64, now: Timestamp, tick: Tick) -> Vec<(AgentId, Vec<u8>)> {
        let mut frames = Vec::new();
        let mut news = vec![News::Committed, News::Timer];
        while let Ok(reply) = self.replies.try_recv() {
            match reply {
                Reply::Welcome(mut greeting) => {
                    let agent = greeting.agent;
                    news.extend(greeting.meeting.take().map(|meeting| News::Told(Downward::Meet(meeting))));
                    let welcome = outbox::welcome(*greeting, self.identity, &self.key, credit, now);
                    frames.extend(welcome.map(|welcome| (agent, self.seal(&welcome))));
                }
                Reply::Ack(ack) => {
                    let agent = ack.agent;
                    frames.push((agent, self.seal(&outbox::acknowledgement(*ack, credit, 0))));
                }
                Reply::Down(downward) => news.push(News::Told(*downward)),
            }
        }
        for news in news {
            match self.writer.connection().and_then(|conn| self.courses.handle(conn, news, tick)) {
                Ok(batches) => frames.extend(batches.iter().map(|(agent, batch)| (*agent, self.seal(batch)))),
                Err(error) => {
                    tracing::warn!(%error, "a downward journal could not be read");
                    self.courses = Courses::default();
                }
            }
        }
        frames
    }

    /// The next commit fails, as on a disk that refuses.
    ///
    /// # Errors
    ///
    /// The database cannot be opened.
    pub fn fail_next_commit(&mut self) -> Result<(), StoreError> {
        self.writer.connection()?.commit_hook(Some(|| true))?;
        Ok(())
    }

    /// Commits succeed again, if none failed since.
    ///
    /// # Errors
    ///
    /// The database cannot be opened.
    pub fn mend_commits(&mut self) -> Result<(), StoreError> {
        self.writer.connection()?.commit_hook(None::<fn() -> bool>)?;
        Ok(())
    }

    /// Runs a job in a transaction of its own, as the running hub's writer does.
    ///
    /// # Errors
    ///
    /// What the job says, or the database.
    pub fn run<T>(
        &mut self,
        job: impl FnOnce(&rusqlite::Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.writer.run_here(job)
    }

    /// What the running hub does each minute: how far every journal goes is written beside the database.
    ///
    /// # Errors
    ///
    /// The database or the disk fails.
    pub fn keep_heads(&mut self) -> Result<(), StoreError> {
        let heads = heads::gather(self.writer.connection()?)?;
        heads::write(&self.dir, &heads)
    }

    /// Takes a backup into a folder of `target`, checks it and tells the books.
    ///
    /// # Errors
    ///
    /// No backup was taken; the message says why.
    pub fn back_up(&mut self, target: &Path, now: Timestamp) -> Result<Taken, BackupError> {
        let taken = backup::take(&self.dir, target, now, &mut |_, _, _| {})?;
        let checked = taken.manifest.as_checked(&taken.folder, now);
        self.run(|conn| add_backup(conn, &checked))?;
        Ok(taken)
    }

    /// Somebody acts on a document, or opens one; the act is stored, and applied with what is processed next. `seen`: the last state entry
    /// its author saw. None while an earlier one is not processed.
    ///
    /// # Errors
    ///
    /// Why nothing was done; or the store failed.
    pub fn act(&mut self, wish: Wish, seen: Option<EntryId>, now: Timestamp) -> Result<Option<Deed>, ActError> {
        let office = (self.dir.clone(), self.rules.clone());
        let deed = self.run(|conn| Ok(act::begin(conn, &office, wish, seen, now)))??;
        if let Some(deed) = &deed {
            self.shared.mailbox.tell_stored(&[deed.grown()], false);
        }
        Ok(deed)
    }

    /// What its author is told of an act: the document once it is applied.
    ///
    /// # Errors
    ///
    /// The act was set aside, or the database fails.
    pub fn outcome(&mut self, deed: &Deed) -> Result<Option<Document>, ActError> {
        act::outcome(self.writer.connection()?, deed)
    }

    /// Gives an agent a command; none where there is no such agent.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn give_command(&mut self, agent: AgentId, command: &Command, by: &str) -> Result<Option<EntryId>, StoreError> {
        self.run(|conn| post::give(conn, agent, command, by))
    }

    /// Admits a session that could not answer its challenge: the newest of the agent's. None where there is none.
    ///
    /// # Errors
    ///
    /// There is no such agent, or the database fails.
    pub fn admit(&mut self, agent: AgentId) -> Result<Option<SessionId>, StoreError> {
        self.run(|conn| session::admit(conn, agent, None))
    }

    /// Asks for an entry that is set aside to be fixed, replayed or waived.
    ///
    /// # Errors
    ///
    /// [`AskError`] says what is wrong with it; then nothing was taken down.
    pub fn ask(&mut self, place: EntryPlace, ask: &Ask, now: Timestamp) -> Result<i64, AskError> {
        ask.check()?;
        let taken = self.run(|conn| Ok(quarantine::take_down(conn, place, ask, now)))??;
        self.shared.mailbox.tell_asked();
        Ok(taken)
    }

    /// Ops waits no longer for what a restore still misses.
    ///
    /// # Errors
    ///
    /// Nothing is awaited, or the database fails.
    pub fn release_restore(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.run(|conn| super::restore::release(conn, "ops", "waited long enough", now))
    }

    /// A clean end.
    ///
    /// # Errors
    ///
    /// The database or the disk fails.
    pub fn rest(mut self) -> Result<(), StoreError> {
        let dir = self.dir.clone();
        let stamp = self.run(|conn| life::rest(conn, &dir))?;
        Ok(epoch::write(&self.dir, stamp)?)
    }

    /// The applier begins anew: another worker stored something.
    pub fn restart(&mut self) {
        self.reader = self.applier.take().map(Applier::into_reader).or_else(|| self.reader.take());
        self.generation += 1;
    }

    fn seal<M: Message>(&self, message: &M) -> Vec<u8> {
        frame::seal(M::FRAME, &message.to_body(), &self.key)
    }
}
