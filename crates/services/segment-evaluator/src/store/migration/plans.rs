//! Runs and their batches. `late` counts how often customers came to share an address while the run
//! was being planned. Places are counted from their index alone.

use carillon_service_kit::database::{Text, differs};

pub(super) const TABLES: Text<'static> = differs(SQLITE, POSTGRES);

const SQLITE: &str = "
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id BLOB NOT NULL UNIQUE,
    organisation_id BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    run_day INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    audience BLOB NOT NULL,
    content BLOB NOT NULL,
    position TEXT NOT NULL,
    step INTEGER NOT NULL,
    sms_batches INTEGER NOT NULL,
    email_batches INTEGER NOT NULL,
    matched INTEGER NOT NULL,
    planned INTEGER NOT NULL,
    skipped TEXT NOT NULL,
    closed BOOLEAN NOT NULL,
    late INTEGER NOT NULL DEFAULT 0,
    traceparent TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX runs_open ON runs (organisation_id, seq) WHERE NOT closed;
CREATE TABLE run_addresses (
    run_id BLOB NOT NULL,
    channel INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (run_id, channel, hash)
) WITHOUT ROWID;
CREATE TABLE halts (
    organisation_id BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    halt INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, campaign_id)
) WITHOUT ROWID;
CREATE TABLE lanes (
    organisation_id BLOB NOT NULL,
    channel INTEGER NOT NULL,
    class INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, channel, class)
) WITHOUT ROWID;
CREATE TABLE batches (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id BLOB NOT NULL UNIQUE,
    organisation_id BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    run_id BLOB NOT NULL,
    run_day INTEGER NOT NULL,
    channel INTEGER NOT NULL,
    class INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    customer_ids BLOB NOT NULL,
    key_id TEXT NOT NULL,
    wrapped_key BLOB NOT NULL,
    block BLOB,
    planned_at INTEGER NOT NULL,
    released_at INTEGER,
    cause INTEGER NOT NULL DEFAULT 0,
    taken_until INTEGER,
    sent BOOLEAN NOT NULL DEFAULT FALSE,
    sent_at INTEGER,
    version INTEGER NOT NULL DEFAULT 0,
    progress_at INTEGER,
    accepted BOOLEAN NOT NULL DEFAULT FALSE,
    unattempted INTEGER NOT NULL,
    closed BOOLEAN NOT NULL DEFAULT FALSE,
    given_up_at INTEGER,
    overtaken INTEGER NOT NULL DEFAULT 0,
    parked_at INTEGER
);
CREATE INDEX batches_waiting ON batches (organisation_id, channel, class, seq)
    WHERE released_at IS NULL;
CREATE INDEX batches_placed ON batches
    (organisation_id, channel, class, accepted, deadline, campaign_id, released_at, given_up_at,
        parked_at)
    WHERE released_at IS NOT NULL AND given_up_at IS NULL AND parked_at IS NULL;
CREATE INDEX batches_given_up ON batches (organisation_id, channel, class, given_up_at)
    WHERE given_up_at IS NOT NULL;
CREATE INDEX batches_unsent ON batches (seq)
    WHERE released_at IS NOT NULL AND NOT sent AND parked_at IS NULL;
CREATE INDEX batches_out ON batches (channel, class, sent_at)
    WHERE sent AND NOT accepted AND NOT closed AND parked_at IS NULL;
CREATE INDEX batches_progressed ON batches (channel, class, released_at)
    WHERE progress_at >= released_at;
CREATE INDEX batches_parked ON batches (parked_at) WHERE parked_at IS NOT NULL;
";

const POSTGRES: &str = r#"
CREATE TABLE runs (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id UUID NOT NULL UNIQUE,
    organisation_id UUID NOT NULL,
    campaign_id UUID NOT NULL,
    run_day BIGINT NOT NULL,
    deadline BIGINT NOT NULL,
    audience BYTEA NOT NULL,
    content BYTEA NOT NULL,
    position TEXT COLLATE "C" NOT NULL,
    step BIGINT NOT NULL,
    sms_batches BIGINT NOT NULL,
    email_batches BIGINT NOT NULL,
    matched BIGINT NOT NULL,
    planned BIGINT NOT NULL,
    skipped TEXT COLLATE "C" NOT NULL,
    closed BOOLEAN NOT NULL,
    late BIGINT NOT NULL DEFAULT 0,
    traceparent TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX runs_open ON runs (organisation_id, seq) WHERE NOT closed;
CREATE TABLE run_addresses (
    run_id UUID NOT NULL,
    channel BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (run_id, channel, hash)
);
CREATE TABLE halts (
    organisation_id UUID NOT NULL,
    campaign_id UUID NOT NULL,
    halt BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, campaign_id)
);
CREATE TABLE lanes (
    organisation_id UUID NOT NULL,
    channel BIGINT NOT NULL,
    class BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, channel, class)
);
CREATE TABLE batches (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id UUID NOT NULL UNIQUE,
    organisation_id UUID NOT NULL,
    campaign_id UUID NOT NULL,
    run_id UUID NOT NULL,
    run_day BIGINT NOT NULL,
    channel BIGINT NOT NULL,
    class BIGINT NOT NULL,
    deadline BIGINT NOT NULL,
    customer_ids BYTEA NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    wrapped_key BYTEA NOT NULL,
    block BYTEA,
    planned_at BIGINT NOT NULL,
    released_at BIGINT,
    cause BIGINT NOT NULL DEFAULT 0,
    taken_until BIGINT,
    sent BOOLEAN NOT NULL DEFAULT FALSE,
    sent_at BIGINT,
    version BIGINT NOT NULL DEFAULT 0,
    progress_at BIGINT,
    accepted BOOLEAN NOT NULL DEFAULT FALSE,
    unattempted BIGINT NOT NULL,
    closed BOOLEAN NOT NULL DEFAULT FALSE,
    given_up_at BIGINT,
    overtaken BIGINT NOT NULL DEFAULT 0,
    parked_at BIGINT
);
CREATE INDEX batches_waiting ON batches (organisation_id, channel, class, seq)
    WHERE released_at IS NULL;
CREATE INDEX batches_placed ON batches
    (organisation_id, channel, class, accepted, deadline, campaign_id, released_at, given_up_at,
        parked_at)
    WHERE released_at IS NOT NULL AND given_up_at IS NULL AND parked_at IS NULL;
CREATE INDEX batches_given_up ON batches (organisation_id, channel, class, given_up_at)
    WHERE given_up_at IS NOT NULL;
CREATE INDEX batches_unsent ON batches (seq)
    WHERE released_at IS NOT NULL AND NOT sent AND parked_at IS NULL;
CREATE INDEX batches_out ON batches (channel, class, sent_at)
    WHERE sent AND NOT accepted AND NOT closed AND parked_at IS NULL;
CREATE INDEX batches_progressed ON batches (channel, class, released_at)
    WHERE progress_at >= released_at;
CREATE INDEX batches_parked ON batches (parked_at) WHERE parked_at IS NOT NULL;
"#;
