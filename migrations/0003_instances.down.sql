-- Takes back 0003_instances.up.sql.
DROP TABLE instances;
