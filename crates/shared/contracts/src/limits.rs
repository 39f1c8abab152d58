//! Sizes that more than one service must agree on.

/// Recipients of a batch, at most.
pub const BATCH_RECIPIENTS: usize = 500;

/// Bytes of a batch's sealed block after compression, at most.
pub const BATCH_BYTES: usize = 1024 * 1024;

/// Rows of one import request, at most.
pub const IMPORT_ROWS: usize = 1_000;

/// How long a message is tried where the campaign does not say.
pub const PENDING_PERIOD_DEFAULT_SECONDS: i64 = 24 * 3600;
