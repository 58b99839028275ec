//! Opening a database: connections with their settings, migrations, the first values of `meta`.

use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::db::{Db, Engine};
use crate::error::StoreError;
use crate::options::StoreOptions;
use crate::shared::Shared;
use crate::sql::Sql;
use crate::write::load_units;

const SQLITE: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// One process at a time changes the tables.
const MIGRATION_LOCK: i64 = 7_240_893_127;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Write,
    Read,
}

/// The engine a url names, and the path of SQLite's file.
pub(crate) fn engine_of(url: &str) -> Result<Engine, StoreError> {
    if url.starts_with("sqlite:") {
        Ok(Engine::Sqlite)
    } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        Ok(Engine::Postgres)
    } else {
        Err(StoreError::Invalid(
            "a database url begins with `sqlite:` or `postgres://`".into(),
        ))
    }
}

pub(crate) fn sqlite_path(url: &str) -> &str {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    path.strip_prefix("//")
        .filter(|rest| !rest.is_empty())
        .unwrap_or(path)
}

/// Connects and sets what the purpose needs.
pub(crate) fn connect(
    engine: Engine,
    options: &StoreOptions,
    purpose: Purpose,
) -> Result<Db, StoreError> {
    match engine {
        Engine::Sqlite => {
            let mut db = Db::connect_sqlite(sqlite_path(&options.url))?;
            db.batch(&sqlite_settings(options, purpose))?;
            Ok(db)
        }
        Engine::Postgres => {
            let mut db = Db::connect_postgres(&options.url)?;
            let timeout_ms = if purpose == Purpose::Read {
                options.search_time_max.as_millis()
            } else {
                0
            };
            db.batch(&format!(
                "SET TIME ZONE 'UTC'; SET synchronous_commit = on; SET statement_timeout = {timeout_ms}; SET jit = off"
            ))?;
            Ok(db)
        }
    }
}

fn sqlite_settings(options: &StoreOptions, purpose: Purpose) -> String {
    let cache_kib = if purpose == Purpose::Write {
        options.cache_kib
    } else {
        options.cache_kib / 8
    };
    let common = format!(
        "PRAGMA busy_timeout = 10000; PRAGMA cache_size = -{cache_kib}; PRAGMA mmap_size = {}; \
         PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = OFF;",
        options.mmap_bytes
    );
    if purpose == Purpose::Read {
        return format!("{common} PRAGMA query_only = ON;");
    }
    let limit = options.database_bytes_max.map_or(String::new(), |bytes| {
        format!("PRAGMA max_page_count = {};", (bytes / PAGE_BYTES).max(1))
    });
    format!(
        "PRAGMA page_size = {PAGE_BYTES}; {common} PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         PRAGMA wal_autocheckpoint = 0; {limit}"
    )
}

/// 4 KiB: a commit touches about ten pages of indexes for a row in each, and the log takes them whole. Rows are small
/// enough (a packed Observation 250 bytes) that larger pages would not be fuller.
pub(crate) const PAGE_BYTES: u64 = 4_096;

/// Creates or updates the tables.
///
/// # Errors
/// [`StoreError::NewerSchema`] when the database has migrations this release does not know; it is left as it is.
pub(crate) fn migrate(db: &mut Db) -> Result<(), StoreError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        StoreError::Unavailable(format!("the tables cannot be created or updated: {error}"))
    };
    match db {
        Db::Sqlite(connection) => {
            let known = MigrationSource::<Sqlite>::migrations(&SQLITE).map_err(failed)?;
            let known = known
                .iter()
                .map(|m| m.name().version().to_string())
                .collect::<Vec<_>>();
            refuse_newer(&known, connection.applied_migrations().map_err(failed)?)?;
            connection.run_pending_migrations(SQLITE).map_err(failed)?;
        }
        Db::Postgres(connection) => {
            let known = MigrationSource::<Pg>::migrations(&POSTGRES).map_err(failed)?;
            let known = known
                .iter()
                .map(|m| m.name().version().to_string())
                .collect::<Vec<_>>();
            refuse_newer(&known, connection.applied_migrations().map_err(failed)?)?;
            connection
                .run_pending_migrations(POSTGRES)
                .map_err(failed)?;
        }
    }
    Ok(())
}

fn refuse_newer(
    known: &[String],
    applied: Vec<diesel::migration::MigrationVersion<'static>>,
) -> Result<(), StoreError> {
    let unknown = applied
        .iter()
        .map(ToString::to_string)
        .find(|version| !known.contains(version));
    unknown.map_or(Ok(()), |found| Err(StoreError::NewerSchema { found }))
}

/// Opens the writer's connection, with everything in place, and what all threads share.
pub(crate) fn open(options: StoreOptions) -> Result<(Db, Shared), StoreError> {
    let engine = engine_of(&options.url)?;
    let mut db = connect(engine, &options, Purpose::Write)?;
    if engine == Engine::Postgres {
        db.batch(&format!("SELECT pg_advisory_lock({MIGRATION_LOCK})"))?;
    }
    let values = migrate(&mut db).and_then(|()| identity(&mut db, options.hash_seed));
    if engine == Engine::Postgres {
        db.batch(&format!("SELECT pg_advisory_unlock({MIGRATION_LOCK})"))?;
    }
    let (seed, secret) = values?;
    let shared = Shared::new(engine, options, seed, secret);
    load_units(&mut db, &shared.terms, 0)?;
    load_terms(&mut db, &shared)?;
    crate::read::load_dictionaries(&mut db, &shared)?;
    for t in crate::read::plain_types(&mut db)? {
        if let Some(flag) = shared.plain.get(usize::from(t)) {
            flag.store(true, std::sync::atomic::Ordering::Release);
        }
    }
    if db.row(Sql::new("SELECT id FROM series LIMIT 1"))?.is_some() {
        shared
            .samples
            .store(true, std::sync::atomic::Ordering::Release);
    }
    Ok((db, shared))
}

/// Terms read when opening; others are looked up when they are needed.
const TERMS_AT_OPEN: i64 = 50_000;

fn load_terms(db: &mut Db, shared: &Shared) -> Result<(), StoreError> {
    let mut sql = Sql::new("SELECT tid, sys, code FROM term ORDER BY tid LIMIT ");
    sql.int(TERMS_AT_OPEN);
    for row in db.rows(sql)? {
        shared.terms.add(row.bytes(1)?, row.bytes(2)?, row.int(0)?);
    }
    Ok(())
}

/// The hash key and the secret of the database; drawn from its randomness the first time.
fn identity(
    db: &mut Db,
    wanted_seed: Option<[u8; 16]>,
) -> Result<([u8; 16], [u8; 32]), StoreError> {
    let mut put =
        |name: &str, value: Option<&[u8]>, length: usize| -> Result<Vec<u8>, StoreError> {
            let mut sql = Sql::new("INSERT INTO meta (name, num, bytes) VALUES (");
            sql.text(name).push(", 0, ");
            match value {
                Some(value) => {
                    sql.bytes(value);
                }
                None => db.engine().random_bytes(&mut sql, length),
            }
            sql.push(") ON CONFLICT (name) DO NOTHING");
            db.run(sql)?;
            let mut find = Sql::new("SELECT bytes FROM meta WHERE name = ");
            find.text(name);
            let row = db
                .row(find)?
                .ok_or_else(|| StoreError::Internal("`meta` is empty".into()))?;
            Ok(row.bytes(0)?.to_vec())
        };
    let damaged = |_| StoreError::Internal("`meta` holds a key of another length".into());
    let seed = put("seed", wanted_seed.as_ref().map(<[u8; 16]>::as_slice), 16)?;
    let secret = put("secret", None, 32)?;
    Ok((
        seed.try_into().map_err(damaged)?,
        secret.try_into().map_err(damaged)?,
    ))
}
