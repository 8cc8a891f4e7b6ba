//! Drives the downward journals over the link: what is told, committed or due goes in, batches come out.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::outbox::Post;
use crate::clock;
use crate::down::{Courses, Downward, News};
use crate::store::Store;

/// What is told together costs one look; an agent hears of it this much later at most.
const GATHER: Duration = Duration::from_millis(20);
/// With no timer running, the task wakes only for what happens.
const IDLE: Duration = Duration::from_secs(3600);

/// Sends until the link stops.
pub(super) async fn run(
    mut told: UnboundedReceiver<Downward>,
    store: Store,
    post: Post,
    mut stopping: watch::Receiver<bool>,
) {
    let mut changes = store.watch_changes();
    let mut courses = Courses::default();
    loop {
        let timer = courses.poll_timer().map(|at| Duration::from_millis(at.since(clock::tick()).max(1)));
        let news = tokio::select! {
            downward = told.recv() => match downward {
                Some(downward) => News::Told(downward),
                None => return,
            },
            changed = changes.changed(), if !courses.is_empty() => match changed {
                Ok(()) => News::Committed,
                Err(_) => return,
            },
            () = tokio::time::sleep(timer.unwrap_or(IDLE)) => News::Timer,
            _ = stopping.changed() => return,
        };
        tokio::select! {
            followed = follow(courses, news, &store, &post) => courses = followed,
            _ = stopping.changed() => return,
        }
    }
}

/// Takes what happened and sends what follows. What cannot be read or sent begins anew with the agent's next word.
async fn follow(mut courses: Courses, news: News, store: &Store, post: &Post) -> Courses {
    if matches!(news, News::Committed) {
        tokio::time::sleep(GATHER).await;
    }
    let store = store.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let batches = store.reader().and_then(|conn| courses.handle(&conn, news, clock::tick()));
        (courses, batches)
    });
    let (mut courses, batches) = match asked.await {
        Ok((courses, Ok(batches))) => (courses, batches),
        Ok((_, Err(error))) => {
            tracing::warn!(%error, "a downward journal could not be read");
            return Courses::default();
        }
        Err(error) => {
            tracing::error!(%error, "a question about a downward journal did not end");
            return Courses::default();
        }
    };
    for (agent, batch) in batches {
        if !post.publish(agent, &batch).await {
            courses.forget(agent);
        }
    }
    courses
}
