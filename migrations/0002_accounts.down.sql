-- Takes back 0002_accounts.up.sql, with every user.
DROP TABLE guesses;
DROP TABLE session_refreshes;
DROP TABLE sessions;
DROP TABLE users;
DROP TABLE user_ids;
