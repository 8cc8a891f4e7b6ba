//! Server-sent events: the rows of the board that changed, at most twice a second.
//!
//! One task looks at the board after commits and as time passes, only while someone listens. Each listener gets every
//! row at first, then those that changed for it; a slow one skips states in between and never sees an old one last.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::WatchStream;

use crate::api::App;
use crate::api::sites::SiteJson;
use crate::board::{self, Site};
use crate::clock;
use crate::store::Store;

/// At most two looks a second.
const PACE: Duration = Duration::from_millis(500);
/// States change with time alone; nobody minds learning it a few seconds late.
const IDLE: Duration = Duration::from_secs(5);
/// How often the task checks whether someone listens.
const UNHEARD: Duration = Duration::from_millis(500);

/// The board as of one moment.
pub type Board = Arc<Vec<Site>>;

/// The board as it changes.
#[derive(Debug, Clone)]
pub struct Feed {
    boards: Arc<watch::Sender<Board>>,
}

impl Feed {
    /// Starts the task that looks; it ends once `stopping` turns true.
    #[must_use]
    pub fn start(store: Store, stopping: watch::Receiver<bool>) -> Feed {
        let boards = Arc::new(watch::Sender::new(Board::default()));
        tokio::spawn(look(store, boards.clone(), stopping));
        Feed { boards }
    }

    /// The board now and whenever it may have changed. Its first item may be older than now.
    #[must_use]
    pub fn boards(&self) -> WatchStream<Board> {
        WatchStream::new(self.boards.subscribe())
    }
}

async fn look(store: Store, boards: Arc<watch::Sender<Board>>, mut stopping: watch::Receiver<bool>) {
    let mut changes = store.watch_changes();
    loop {
        let pause = async {
            if boards.receiver_count() == 0 {
                tokio::time::sleep(UNHEARD).await;
                return;
            }
            refresh(&store, &boards).await;
            tokio::time::sleep(PACE).await;
            // a closed store changes no more; time still passes
            let _ = tokio::time::timeout(IDLE, changes.changed()).await;
        };
        tokio::select! {
            () = pause => {}
            _ = stopping.changed() => return,
        }
    }
}

async fn refresh(store: &Store, boards: &watch::Sender<Board>) {
    let (store, now) = (store.clone(), clock::now());
    let looked = tokio::task::spawn_blocking(move || Ok((store.sites()?, store.agents()?))).await;
    match looked {
        Ok(Ok((sites, agents))) => {
            boards.send_replace(Arc::new(board::sites(&sites, &agents, now)));
        }
        Ok(Err(error)) => log_failure(&error),
        Err(error) => tracing::error!(%error, "could not look at the board"),
    }
}

fn log_failure(error: &crate::store::StoreError) {
    tracing::warn!(%error, "could not look at the board");
}

/// What a listener was last told of each row.
struct Told<T>(HashMap<String, T>);

impl<T: PartialEq + Clone> Told<T> {
    /// The rows that differ from what was told.
    fn news(&mut self, rows: impl Iterator<Item = (String, T)>) -> Vec<T> {
        let mut news = Vec::new();
        for (key, row) in rows {
            if self.0.get(&key) != Some(&row) {
                self.0.insert(key, row.clone());
                news.push(row);
            }
        }
        news
    }
}

/// Turns boards into events named `sites`, of the rows that `row` gives and that changed.
pub fn changes<T, R, D>(app: &App, row: R, data: D) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<T, R, D>>
where
    T: PartialEq + Clone + Send + 'static,
    R: Fn(&Site) -> T + Send + 'static,
    D: Fn(Event, Vec<T>) -> Event + Send + 'static,
{
    let mut told = Told(HashMap::new());
    let stopped = WatchStream::new(app.stopping.clone()).filter(|is_stopping| *is_stopping).map(|_| None);
    let boards = app.feed.boards().map(Some).merge(stopped).take_while(Option::is_some);
    let events = boards.filter_map(move |board| {
        let board = board?;
        let news = told.news(board.iter().map(|site| (site.site.to_string(), row(site))));
        (!news.is_empty()).then(|| Ok(data(Event::default().event("sites"), news)))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

/// Rows of `GET /sites` as they change: events named `sites`, each a JSON array.
#[utoipa::path(get, path = "/api/v1/events", tag = "sync",
    responses((status = 200, body = Vec<SiteJson>, content_type = "text/event-stream")))]
pub async fn events(State(app): State<App>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    // the age of a backlog grows by itself; alone it is no news, and it starts anew with each row that is
    let row = |site: &Site| Fresh(SiteJson::from(site));
    changes(&app, row, |event, rows| {
        let rows: Vec<SiteJson> = rows.into_iter().map(|row| row.0).collect();
        event.json_data(rows).expect("rows of plain fields always encode")
    })
}

/// A row that equals another if they differ in nothing but the age of the backlog.
#[derive(Clone)]
struct Fresh(SiteJson);

impl PartialEq for Fresh {
    fn eq(&self, other: &Fresh) -> bool {
        let ageless = |row: &SiteJson| SiteJson { oldest_unsent_age_s: 0, ..row.clone() };
        ageless(&self.0) == ageless(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_told_all_rows_once_and_then_what_changed() {
        let mut told = Told(HashMap::new());
        let mut check = |rows: &[(&str, u8)], news: &[u8]| {
            let rows = rows.iter().map(|(key, row)| ((*key).to_owned(), *row));
            assert_eq!(told.news(rows), news);
        };
        check(&[("east", 1), ("west", 2)], &[1, 2]);
        check(&[("east", 1), ("west", 2)], &[]);
        check(&[("east", 1), ("west", 3), ("north", 4)], &[3, 4]);
    }
}
