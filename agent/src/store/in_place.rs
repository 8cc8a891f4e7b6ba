//! A store without a thread: its writer works on the thread of whoever calls, at the moment of the call.
//!
//! For simulations, where one thread and one seed decide everything. All else is the store as it always is.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Calls, Folder, OpenOptions, Opener, Store, StoreError, Writer};

impl Store {
    /// Opens the store in `dir` on the database that `opener` gives for a path.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    #[doc(hidden)]
    pub fn open_in_place(dir: &Path, options: OpenOptions, opener: Opener) -> Result<Store, StoreError> {
        let (writer, requests) = Store::load(Folder::take(dir, options.reserve_bytes, false)?, options, opener)?;
        let shared = Arc::clone(&writer.shared);
        let writer = Writer::InPlace(Mutex::new(Some(Box::new(writer))));
        Ok(Store { shared, calls: Arc::new(Calls { requests, writer }) })
    }

    /// What the writer does when nobody has asked for anything for a while.
    #[doc(hidden)]
    pub fn pause_in_place(&self) {
        if let Writer::InPlace(writer) = &self.calls.writer
            && let Some(writer) = writer.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            writer.pause();
        }
    }

    /// Ends as a killed process ends: nothing more is written. Later calls fail.
    #[doc(hidden)]
    pub fn abandon(&self) {
        if let Writer::InPlace(writer) = &self.calls.writer {
            writer.lock().unwrap_or_else(PoisonError::into_inner).take();
            *self.shared.database_mut() = None;
        }
    }
}

impl Writer {
    /// Serves the call that was just queued, where no thread does.
    pub(super) fn take_turn(&self) {
        if let Writer::InPlace(writer) = self
            && let Some(writer) = writer.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            writer.take_turn();
        }
    }

    /// Ends a writer that has no thread.
    pub(super) fn finish(&self) {
        if let Writer::InPlace(writer) = self
            && let Some(mut writer) = writer.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            writer.finish();
        }
    }
}
