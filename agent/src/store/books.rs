//! What an act may look up in the store while it is captured: stock, documents and odometers as the stage leaves them.

use std::cell::RefCell;

use waystation_protocol::chain::Seq;
use waystation_protocol::document::Document;
use waystation_protocol::document::capture::Books;
use waystation_protocol::id::DocId;
use waystation_protocol::kind::stock_movement;
use waystation_protocol::site::SiteId;
use waystation_protocol::time::Timestamp;

use super::error::StoreError;
use super::overlay::balance_key;
use super::readings::{self, Readings};
use super::stage::Stage;

/// The stage as a kind's `fill` and checks see it. A failed read is kept for after the capture.
pub(super) struct StageBooks<'a, 'b> {
    pub(super) stage: &'a Stage<'b>,
    /// Of the document.
    pub(super) site: Option<SiteId>,
    pub(super) up: Seq,
    pub(super) failure: RefCell<Option<StoreError>>,
}

impl StageBooks<'_, '_> {
    fn kept<T: Default>(&self, found: Result<T, StoreError>) -> T {
        found.unwrap_or_else(|error| {
            self.failure.replace(Some(error));
            T::default()
        })
    }

    fn stock(&self, site: &SiteId, item: &str, location: &str) -> Result<i64, StoreError> {
        let key = balance_key(stock_movement::STOCK.name, site, &[item, location]);
        let staged = self.stage.gained.balances.get(&key).copied().unwrap_or(0);
        let recent = self.stage.shared.overlay().balances.get(&key).copied().unwrap_or(0);
        Ok(self.stage.snapshot.balance(&key)?.saturating_add(recent).saturating_add(staged))
    }

    fn last_reading(&self, vin: &str, until: Timestamp, but: DocId) -> Result<Option<i64>, StoreError> {
        let mut all = self.stage.snapshot.readings(vin)?;
        let of_vehicle = |readings: &Readings| {
            let first = readings::beginning(vin);
            let rows = readings.range(first.clone()..).take_while(|(key, _)| key.starts_with(&first));
            rows.map(|(key, km)| (key.clone(), *km)).collect::<Vec<_>>()
        };
        all.extend(of_vehicle(&self.stage.shared.overlay().readings));
        all.extend(of_vehicle(&self.stage.gained.readings));
        Ok(readings::latest(&all, vin, until, but))
    }
}

impl Books for StageBooks<'_, '_> {
    fn on_hand_milli(&self, item: &str, location: &str) -> i64 {
        self.site.as_ref().map_or(0, |site| self.kept(self.stock(site, item, location)))
    }

    fn positions(&self) -> (u64, u64) {
        (self.up.0, self.stage.down.head().seq.0)
    }

    fn find(&self, document: DocId) -> Option<Document> {
        self.kept(self.stage.held(document)).and_then(|held| held.document.clone())
    }

    fn odometer(&self, vin: &str, until: Timestamp, but: DocId) -> Option<i64> {
        self.kept(self.last_reading(vin, until, but))
    }
}
