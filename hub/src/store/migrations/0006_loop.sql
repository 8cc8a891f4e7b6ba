-- Documents that the hub opens, that several sites work on, or that are compared across sites.

-- Counters of the hub's printed numbers. The file hub.numbers repeats the leases.
CREATE TABLE number_lease (
    series    TEXT PRIMARY KEY,
    next      INTEGER NOT NULL,
    lease_end INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Sites besides a document's own that are told of it: they hold or held its pen, or it says so. Site 0 is every site.
CREATE TABLE document_reader (
    document INTEGER NOT NULL,
    site     INTEGER NOT NULL,
    PRIMARY KEY (document, site)
) STRICT, WITHOUT ROWID;
CREATE INDEX document_reader_by_site ON document_reader (site, document);

-- Documents of which their own site has been told nothing yet.
CREATE TABLE document_untold (document INTEGER PRIMARY KEY) STRICT;

-- Between which sites documents went: those of `owner` are told to `site` ('*' is every site), which may hold their pen.
-- Only ever added to. The file hub.reach repeats it.
CREATE TABLE reach (
    owner    TEXT NOT NULL,
    site     TEXT NOT NULL,
    has_pen  INTEGER NOT NULL,
    PRIMARY KEY (owner, site)
) STRICT, WITHOUT ROWID;

-- What documents contribute to rules across documents, and whether they clash with another one.
CREATE TABLE trait (
    rule       TEXT NOT NULL,
    document   INTEGER NOT NULL,
    key        TEXT NOT NULL,
    at         INTEGER NOT NULL,
    value      INTEGER NOT NULL,
    is_flagged INTEGER NOT NULL,
    PRIMARY KEY (rule, document)
) STRICT, WITHOUT ROWID;
CREATE INDEX trait_by_key ON trait (rule, key, at);
CREATE INDEX trait_flagged ON trait (document) WHERE is_flagged = 1;
