#!/bin/bash
# A copy of the primary when there is none yet, which then follows it.
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    chown -R postgres "$PGDATA" 2>/dev/null || true
    PGPASSWORD=$REPLICATION_PASSWORD pg_basebackup --pgdata "$PGDATA" --wal-method stream --checkpoint fast --write-recovery-conf \
        --dbname "host=$PRIMARY port=${PRIMARY_PORT:-5432} user=standby"
    chmod 700 "$PGDATA"
    chown -R postgres "$PGDATA" 2>/dev/null || true
fi
exec docker-entrypoint.sh postgres -c hot_standby_feedback=on
