-- Takes back 0001_usage.up.sql, with everything that was recorded.
DROP TABLE audit_log;
DROP TABLE usage_writers;
DROP TABLE key_last_used;
DROP TABLE api_key_usage;
