-- Use of keys by hour, when each was last used, and who changed what. The same text for SQLite and PostgreSQL: whole
-- numbers are BIGINT, times are milliseconds since 1970 in UTC, and an hour is counted in hours since then.

-- One row for a key, an hour, an endpoint and a class of answers, not one a request: a busy service would write a hundred
-- thousand rows a second, and every question that is asked of them is about sums.
CREATE TABLE api_key_usage (
    key_id TEXT NOT NULL,
    hour BIGINT NOT NULL,
    endpoint TEXT NOT NULL,
    -- 2 for 200 to 299, and so on.
    status_class BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    total_us BIGINT NOT NULL,
    max_us BIGINT NOT NULL,
    -- How many answers took at most this long, each counted in the first column that fits.
    within_100us BIGINT NOT NULL,
    within_1ms BIGINT NOT NULL,
    within_10ms BIGINT NOT NULL,
    within_100ms BIGINT NOT NULL,
    within_1s BIGINT NOT NULL,
    over_1s BIGINT NOT NULL,
    PRIMARY KEY (key_id, hour, endpoint, status_class)
);
CREATE INDEX api_key_usage_hour ON api_key_usage (hour);

CREATE TABLE key_last_used (
    key_id TEXT NOT NULL PRIMARY KEY,
    last_used_at BIGINT NOT NULL
);

-- The last batch of each writer that is in the tables: one whose commit went through and whose answer was lost is not
-- counted again.
CREATE TABLE usage_writers (
    writer TEXT NOT NULL PRIMARY KEY,
    batch BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);

CREATE TABLE audit_log (
    -- Begins with the time, so its order is that of the changes.
    id TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    key_id TEXT,
    origin TEXT NOT NULL,
    result TEXT NOT NULL,
    request_id TEXT,
    -- 0 until a service has written the log event of a change that was made on the command line.
    logged BIGINT NOT NULL
);
CREATE INDEX audit_log_key ON audit_log (key_id, id);
CREATE INDEX audit_log_unlogged ON audit_log (id) WHERE logged = 0;
