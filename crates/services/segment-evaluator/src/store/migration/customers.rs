//! Customers, and what they did and said. They lie in the order of their external ids' bytes, in
//! which they are planned and listed on both databases.

use carillon_service_kit::database::{Text, differs};

pub(super) const TABLES: Text<'static> = differs(SQLITE, POSTGRES);

const SQLITE: &str = "
CREATE TABLE data_keys (
    organisation_id BLOB PRIMARY KEY,
    key_id TEXT NOT NULL,
    wrapped BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE customers (
    organisation_id BLOB NOT NULL,
    external_id TEXT NOT NULL,
    id BLOB NOT NULL,
    profile BLOB NOT NULL,
    phone_hash BLOB,
    email_hash BLOB,
    name_hash BLOB,
    display_name_hash BLOB,
    birth_mmdd INTEGER,
    language TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    categories TEXT NOT NULL,
    points INTEGER NOT NULL,
    favourite BOOLEAN NOT NULL,
    consent INTEGER NOT NULL,
    subscribe_sms INTEGER NOT NULL,
    subscribe_email INTEGER NOT NULL,
    blacklisted BOOLEAN NOT NULL,
    joined_on TEXT NOT NULL,
    programmes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, external_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX customers_by_id ON customers (id);
CREATE INDEX customers_by_phone ON customers (organisation_id, phone_hash)
    WHERE phone_hash IS NOT NULL;
CREATE INDEX customers_by_email ON customers (organisation_id, email_hash)
    WHERE email_hash IS NOT NULL;
CREATE INDEX customers_by_name ON customers (organisation_id, name_hash)
    WHERE name_hash IS NOT NULL;
CREATE INDEX customers_by_display_name ON customers (organisation_id, display_name_hash)
    WHERE display_name_hash IS NOT NULL;
CREATE TABLE customer_categories (
    organisation_id BLOB NOT NULL,
    category TEXT NOT NULL,
    external_id TEXT NOT NULL,
    PRIMARY KEY (organisation_id, category, external_id)
) WITHOUT ROWID;
CREATE INDEX customer_categories_by_customer
    ON customer_categories (organisation_id, external_id);
CREATE TABLE cards (
    organisation_id BLOB NOT NULL,
    hash BLOB NOT NULL,
    external_id TEXT NOT NULL,
    PRIMARY KEY (organisation_id, hash)
) WITHOUT ROWID;
CREATE INDEX cards_by_customer ON cards (organisation_id, external_id);
CREATE TABLE address_uses (
    organisation_id BLOB NOT NULL,
    channel INTEGER NOT NULL,
    hash BLOB NOT NULL,
    customers INTEGER NOT NULL CHECK (customers >= 0),
    PRIMARY KEY (organisation_id, channel, hash)
) WITHOUT ROWID;
CREATE TABLE activities (
    organisation_id BLOB NOT NULL,
    event_id TEXT NOT NULL,
    external_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    amount INTEGER,
    rating TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, event_id)
) WITHOUT ROWID;
CREATE INDEX activities_by_customer ON activities (organisation_id, external_id, kind, at);
CREATE TABLE replies (
    organisation_id BLOB NOT NULL,
    external_id TEXT NOT NULL,
    replied_at INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, external_id)
) WITHOUT ROWID;
CREATE TABLE consent_log (
    organisation_id BLOB NOT NULL,
    n INTEGER NOT NULL,
    customer_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    from_consent TEXT NOT NULL,
    to_consent TEXT NOT NULL,
    prev_hash BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (organisation_id, n)
) WITHOUT ROWID;
CREATE TRIGGER consent_log_kept BEFORE UPDATE ON consent_log
BEGIN SELECT RAISE(ABORT, 'the consent log is append-only'); END;
CREATE TRIGGER consent_log_whole BEFORE DELETE ON consent_log
BEGIN SELECT RAISE(ABORT, 'the consent log is append-only'); END;
";

const POSTGRES: &str = r#"
CREATE TABLE data_keys (
    organisation_id UUID PRIMARY KEY,
    key_id TEXT COLLATE "C" NOT NULL,
    wrapped BYTEA NOT NULL
);
CREATE TABLE customers (
    organisation_id UUID NOT NULL,
    external_id TEXT COLLATE "C" NOT NULL,
    id UUID NOT NULL,
    profile BYTEA NOT NULL,
    phone_hash BYTEA,
    email_hash BYTEA,
    name_hash BYTEA,
    display_name_hash BYTEA,
    birth_mmdd BIGINT,
    language TEXT COLLATE "C" NOT NULL,
    time_zone TEXT COLLATE "C" NOT NULL,
    categories TEXT COLLATE "C" NOT NULL,
    points BIGINT NOT NULL,
    favourite BOOLEAN NOT NULL,
    consent BIGINT NOT NULL,
    subscribe_sms BIGINT NOT NULL,
    subscribe_email BIGINT NOT NULL,
    blacklisted BOOLEAN NOT NULL,
    joined_on TEXT COLLATE "C" NOT NULL,
    programmes TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, external_id)
);
CREATE UNIQUE INDEX customers_by_id ON customers (id);
CREATE INDEX customers_by_phone ON customers (organisation_id, phone_hash)
    WHERE phone_hash IS NOT NULL;
CREATE INDEX customers_by_email ON customers (organisation_id, email_hash)
    WHERE email_hash IS NOT NULL;
CREATE INDEX customers_by_name ON customers (organisation_id, name_hash)
    WHERE name_hash IS NOT NULL;
CREATE INDEX customers_by_display_name ON customers (organisation_id, display_name_hash)
    WHERE display_name_hash IS NOT NULL;
CREATE TABLE customer_categories (
    organisation_id UUID NOT NULL,
    category TEXT COLLATE "C" NOT NULL,
    external_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (organisation_id, category, external_id)
);
CREATE INDEX customer_categories_by_customer
    ON customer_categories (organisation_id, external_id);
CREATE TABLE cards (
    organisation_id UUID NOT NULL,
    hash BYTEA NOT NULL,
    external_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (organisation_id, hash)
);
CREATE INDEX cards_by_customer ON cards (organisation_id, external_id);
CREATE TABLE address_uses (
    organisation_id UUID NOT NULL,
    channel BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    customers BIGINT NOT NULL CHECK (customers >= 0),
    PRIMARY KEY (organisation_id, channel, hash)
);
CREATE TABLE activities (
    organisation_id UUID NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    external_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    amount BIGINT,
    rating TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, event_id)
);
CREATE INDEX activities_by_customer ON activities (organisation_id, external_id, kind, at);
CREATE TABLE replies (
    organisation_id UUID NOT NULL,
    external_id TEXT COLLATE "C" NOT NULL,
    replied_at BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, external_id)
);
CREATE TABLE consent_log (
    organisation_id UUID NOT NULL,
    n BIGINT NOT NULL,
    customer_id UUID NOT NULL,
    at BIGINT NOT NULL,
    changed_by TEXT COLLATE "C" NOT NULL,
    from_consent TEXT COLLATE "C" NOT NULL,
    to_consent TEXT COLLATE "C" NOT NULL,
    prev_hash BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (organisation_id, n)
);
CREATE FUNCTION consent_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the consent log is append-only'; END $$;
CREATE TRIGGER consent_log_kept BEFORE UPDATE ON consent_log
    FOR EACH ROW EXECUTE FUNCTION consent_log_is_append_only();
CREATE TRIGGER consent_log_whole BEFORE DELETE ON consent_log
    FOR EACH ROW EXECUTE FUNCTION consent_log_is_append_only();
"#;
