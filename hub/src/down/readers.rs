//! Who is told of a document: its own site, sites that hold or held its pen, and whom its kind names.
//!
//! Whoever was told once is told on. Of most documents only their own site is told; rows are kept for the others alone.

use rusqlite::{OptionalExtension, params};
use waystation_protocol::document::{Document, Party};
use waystation_protocol::kind::{self, Audience};
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::site::SiteId;

use super::relay::{Applied, Relay};
use crate::store::{StoreError, presence, reach};

/// In the place of a site's row: every agent.
pub(super) const EVERYONE: i64 = 0;

/// Who is told of a document as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Readers {
    /// Whether its own site is.
    own: bool,
    everyone: bool,
    /// Other sites.
    sites: Vec<SiteId>,
    /// The other site that holds its pen, which is one of them.
    pen: Option<SiteId>,
}

impl Readers {
    /// As document and kind say.
    pub(crate) fn of(document: &Document) -> Readers {
        let holder = match &document.pen {
            Party::Site(site) => Some(site),
            Party::Hub => None,
        };
        let audience = kind::find(&document.kind).map_or(Audience::Holders, |kind| (kind.audience)(document));
        let mut readers =
            Readers { own: true, pen: holder.filter(|site| **site != document.site).cloned(), ..Readers::default() };
        match audience {
            Audience::Holders => {}
            Audience::Nobody => readers.own = holder == Some(&document.site),
            Audience::Sites(sites) => readers.sites = sites,
            Audience::Everyone => readers.everyone = true,
        }
        readers.sites.extend(readers.pen.clone());
        readers.sites.retain(|site| *site != document.site && !site.is_hub());
        readers
    }

    /// The sites besides its own.
    pub(super) fn others(&self) -> &[SiteId] {
        &self.sites
    }

    /// Whether only its own site is told, as of most documents.
    fn is_plain(&self) -> bool {
        self.own && !self.everyone && self.sites.is_empty()
    }
}

impl Relay<'_> {
    /// The rows of the sites that are told of a document from now on, each with whether this is the first time.
    pub(super) fn circles(&mut self, applied: &Applied) -> Result<Vec<(i64, bool)>, StoreError> {
        let mut circles = Vec::new();
        if let Some(is_new) = self.own_circle(applied)? {
            circles.push((self.site_row(&applied.site)?, is_new));
        }
        let joining = if applied.readers.is_plain() { Vec::new() } else { self.join(applied)? };
        let sql = "SELECT site FROM document_reader WHERE document = ?1 ORDER BY site";
        let mut statement = self.conn.prepare_cached(sql)?;
        let others = statement.query_map([applied.n], |row| row.get(0))?;
        for circle in others {
            let circle = circle?;
            circles.push((circle, joining.contains(&circle)));
        }
        Ok(circles)
    }

    /// Whether the document's own site is told, and if so whether for the first time.
    fn own_circle(&self, applied: &Applied) -> Result<Option<bool>, StoreError> {
        let n = [applied.n];
        match (applied.readers.own, applied.is_opening) {
            (true, true) => Ok(Some(true)),
            (false, true) => {
                self.conn.prepare_cached("INSERT OR IGNORE INTO document_untold (document) VALUES (?1)")?.execute(n)?;
                Ok(None)
            }
            (true, false) => {
                let sql = "DELETE FROM document_untold WHERE document = ?1";
                Ok(Some(self.conn.prepare_cached(sql)?.execute(n)? == 1))
            }
            (false, false) => {
                let sql = "SELECT 1 FROM document_untold WHERE document = ?1";
                let is_untold = self.conn.prepare_cached(sql)?.query_row(n, |_| Ok(())).optional()?.is_some();
                Ok((!is_untold).then_some(false))
            }
        }
    }

    /// Keeps who is told from now on, and gives the rows of those that were not before.
    fn join(&mut self, applied: &Applied) -> Result<Vec<i64>, StoreError> {
        let readers = &applied.readers;
        let mut joining = Vec::new();
        if readers.everyone {
            reach::note(self.conn, &applied.site, None, false)?;
            joining.push(EVERYONE);
        }
        for site in readers.sites.iter().filter(|_| !is_planted(Plant::OtherSiteUntold)) {
            reach::note(self.conn, &applied.site, Some(site), readers.pen.as_ref() == Some(site))?;
            joining.push(self.site_row(site)?);
        }
        let sql = "INSERT OR IGNORE INTO document_reader (document, site) VALUES (?1, ?2)";
        let mut insert = self.conn.prepare_cached(sql)?;
        let mut joined = Vec::new();
        for circle in joining {
            if insert.execute(params![applied.n, circle])? == 1 {
                joined.push(circle);
            }
        }
        Ok(joined)
    }

    fn site_row(&mut self, site: &SiteId) -> Result<i64, StoreError> {
        if let Some(row) = self.sites.get(site) {
            return Ok(*row);
        }
        let row = presence::ensure_site(self.conn, site)?;
        self.sites.insert(site.clone(), row);
        Ok(row)
    }
}
