-- Users, where they are logged in, and who guesses at passwords. The same text for SQLite and PostgreSQL: whole numbers are
-- BIGINT, times are milliseconds since 1970 in UTC, digests are SHA-256 as 'sha256:<hex>'.

-- One row. An id is counted here and not by the table, so that one is never given twice, and a login that is taken uses up none.
CREATE TABLE user_ids (
    last BIGINT NOT NULL
);
INSERT INTO user_ids (last) VALUES (0);

CREATE TABLE users (
    id BIGINT NOT NULL PRIMARY KEY,
    -- As it was typed, and the form in which two of them are the same.
    login TEXT NOT NULL,
    login_key TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    -- Sessions of another epoch are over. It grows with a new password and when the user is disabled, in the same row and
    -- so at the same moment.
    epoch BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_login BIGINT,
    disabled_at BIGINT,
    -- The user is being deleted: nobody can log in any more, and the deletion can be repeated until it is done.
    leaving_at BIGINT
);

-- One row a login. Empty where sessions are kept in Redis.
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    user_id BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    -- Of the access token that was issued last, and of the one before.
    jti_digest TEXT NOT NULL,
    previous_jti_digest TEXT,
    -- How often it was refreshed.
    rotation BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    rotated_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    user_agent TEXT,
    address TEXT NOT NULL
);
CREATE UNIQUE INDEX sessions_jti ON sessions (jti_digest);
CREATE INDEX sessions_previous_jti ON sessions (previous_jti_digest);
CREATE INDEX sessions_user ON sessions (user_id, expires_at);
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- Refresh tokens, the spent ones too, so that one which is used twice is recognised.
CREATE TABLE session_refreshes (
    digest TEXT NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    -- The session's rotation that it was issued with.
    rotation BIGINT NOT NULL
);
CREATE INDEX session_refreshes_session ON session_refreshes (session_id, rotation);

-- Failed guesses at passwords, by digest of a login or of an address, and when the wait for the next began.
CREATE TABLE guesses (
    subject TEXT NOT NULL PRIMARY KEY,
    failures BIGINT NOT NULL,
    last_at BIGINT NOT NULL
);
CREATE INDEX guesses_last_at ON guesses (last_at);
