-- The instances of the service, each of which writes its own row every few seconds. Times are milliseconds since 1970 in UTC.

CREATE TABLE instances (
    -- Made anew at each start.
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    -- Of the keys in force, when they came into force, and how old the newest word of the store was at seen_at. -1 is none:
    -- before the first keys are in force, and for a document without a generation.
    generation BIGINT NOT NULL,
    keys BIGINT NOT NULL,
    loaded_at BIGINT NOT NULL,
    age_ms BIGINT NOT NULL,
    -- By the clock of the instance.
    seen_at BIGINT NOT NULL
);
CREATE INDEX instances_seen_at ON instances (seen_at);
