#!/bin/bash
# Runs once, when a database's volume is made: the owner role (no superuser) and its database.
# TXC_DATABASE says whose; the role's password is a secret.
set -euo pipefail
psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname postgres \
    -v name="txcoord_$TXC_DATABASE" <<'SQL'
\set password `cat "/run/secrets/${TXC_DATABASE}_password"`
CREATE ROLE txcoord LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE;
GRANT pg_read_all_stats TO txcoord;
CREATE DATABASE :"name" OWNER txcoord TEMPLATE template0 ENCODING 'UTF8';
REVOKE CONNECT, TEMPORARY ON DATABASE :"name" FROM PUBLIC;
SQL
