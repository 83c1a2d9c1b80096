-- The buffer's tables. Small columns come first, so that a scan never touches overflow pages.
-- state: 0 settling, 1 sealed, 2 ambiguous. checksum: CRC-32 of body. body: one gzip member of one OTLP request.
CREATE TABLE rows (
    id INTEGER PRIMARY KEY,
    state INTEGER NOT NULL,
    destination TEXT NOT NULL,
    trace_id BLOB NOT NULL,
    randomness INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    threshold INTEGER NOT NULL,
    spans INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL,
    body_bytes INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    seal_at_ms INTEGER,
    checksum INTEGER NOT NULL,
    body BLOB NOT NULL
);

-- Holds settling rows only, so that sealed ones, which are most, pay nothing for it.
CREATE INDEX settling ON rows (seal_at_ms, trace_id) WHERE state = 0;

-- Ranges that are being sent, written before the first byte leaves. Whatever is still here at a start is ambiguous.
CREATE TABLE in_flight (
    lease_id INTEGER NOT NULL,
    destination TEXT NOT NULL,
    first_row INTEGER NOT NULL,
    last_row INTEGER NOT NULL
);

CREATE TABLE dead (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination TEXT NOT NULL,
    trace_id BLOB NOT NULL,
    randomness INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    threshold INTEGER NOT NULL,
    spans INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL,
    body_bytes INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    buried_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    answer TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE delivered (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination TEXT NOT NULL,
    trace_id BLOB NOT NULL,
    spans INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL,
    body_bytes INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    delivered_ms INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE ledger (
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    spans INTEGER NOT NULL,
    PRIMARY KEY (state, reason)
) WITHOUT ROWID;

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
