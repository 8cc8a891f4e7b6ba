//! The hub's API for programs: JSON under `/api/v1`, errors as problem+json.
//!
//! It reads, takes requests to resolve what is in quarantine, and lets people act as the hub.
//!
//! Handlers ask the store off the async threads and turn its rows into the JSON declared here; nothing is decided here.

pub mod acts;
#[cfg(test)]
mod acts_tests;
pub mod documents;
pub mod forms;
pub mod health;
pub mod journals;
pub mod kinds;
pub mod openapi;
pub mod problem;
pub mod quarantine;
#[cfg(test)]
mod quarantine_tests;
pub mod reports;
pub mod restore;
pub mod sites;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::events::Feed;
use crate::link::Link;
use crate::store::{Store, StoreError};
use problem::Problem;

/// What every handler is given.
#[derive(Clone)]
pub struct App {
    /// The books.
    pub store: Store,
    /// The link to the broker, until it is stopped.
    pub link: Arc<Mutex<Option<Link>>>,
    /// The board as it changes.
    pub feed: Feed,
    /// Turns true when the hub stops: endless answers end.
    pub stopping: watch::Receiver<bool>,
    /// Messages the embedded broker dropped, where there is one.
    pub drops: Option<Drops>,
    /// Whether other machines may ask.
    pub insecure: bool,
}

/// Reads how many messages the embedded broker dropped.
pub type Drops = Arc<dyn Fn() -> u64 + Send + Sync>;

impl App {
    /// Asks the store on a thread that may block.
    ///
    /// # Errors
    ///
    /// What the question gives, or that its thread panicked.
    pub async fn ask<T, E>(&self, question: impl FnOnce(&Store) -> Result<T, E> + Send + 'static) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: Into<Problem> + Send + 'static,
    {
        let store = self.store.clone();
        let asked = tokio::task::spawn_blocking(move || question(&store)).await;
        match asked {
            Ok(answer) => answer.map_err(Into::into),
            Err(error) => {
                tracing::error!(%error, "a question to the store did not end");
                Err(StoreError::Closed.into())
            }
        }
    }

    /// Whether the connection to the broker stands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(Link::is_connected)
    }
}

/// The query's parameters; a problem where they make no sense.
pub struct Params<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params<T>, Problem> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        query.map(|query| Params(query.0)).map_err(|error| Problem::bad_request(error.body_text()))
    }
}
