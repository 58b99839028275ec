//! Narrow samples without the server: the limit for dense series, and a series made long for a benchmark.
//!
//! `narrow limit FILE` inserts 2 million rows into a bare table in groups of 1,000 with durable commits and prints
//! `ROWS SECONDS CPU_SECONDS`. `narrow fill FILE ROWS` makes the longest series of a store's file longer by ROWS samples,
//! one a second before its first; no server may have the file open.

use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;

#[path = "shared/cpu.rs"]
mod cpu;

use cpu::cpu_seconds;

const ROWS: i64 = 2_000_000;
const GROUP: i64 = 1_000;
/// Rows of one commit while a series is made longer.
const FILL_GROUP: i64 = 100_000;

diesel::table! {
    narrow (channel, at) {
        channel -> BigInt,
        at -> BigInt,
        series -> BigInt,
        value -> BigInt,
        shown -> BigInt,
        batch -> BigInt,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["limit", file] => limit(file),
        ["fill", file, rows] => fill(file, rows.parse()?),
        _ => Err("usage: narrow limit FILE | narrow fill FILE ROWS".into()),
    }
}

fn limit(file: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut connection = SqliteConnection::establish(file)?;
    connection.batch_execute(
        "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
         CREATE TABLE narrow (channel INTEGER NOT NULL, at INTEGER NOT NULL, series INTEGER NOT NULL, value INTEGER NOT NULL,
         shown INTEGER NOT NULL, batch INTEGER NOT NULL, PRIMARY KEY (channel, at)) WITHOUT ROWID;",
    )?;
    let (start, cpu_before) = (Instant::now(), cpu_seconds());
    for group in 0..ROWS / GROUP {
        let rows: Vec<_> = (group * GROUP..(group + 1) * GROUP)
            .map(|n| {
                (
                    narrow::channel.eq(1),
                    narrow::at.eq(1_772_355_600_000_000 + n * 1_000_000),
                    narrow::series.eq(1),
                    narrow::value.eq((600 + n % 400) * 16 + 1),
                    narrow::shown.eq(1),
                    narrow::batch.eq(group),
                )
            })
            .collect();
        connection.transaction(|connection| {
            diesel::insert_into(narrow::table)
                .values(&rows)
                .execute(connection)
        })?;
    }
    println!(
        "{ROWS} {} {}",
        start.elapsed().as_secs_f64(),
        cpu_seconds() - cpu_before
    );
    Ok(())
}

fn fill(file: &str, rows: i64) -> Result<(), Box<dyn std::error::Error>> {
    let mut connection = SqliteConnection::establish(file)?;
    connection.batch_execute(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
         CREATE TEMP TABLE longest AS SELECT channel, series, min(at) AS first, min(shown) AS shown, min(batch) AS batch
         FROM sample GROUP BY channel, series ORDER BY count(*) DESC LIMIT 1;",
    )?;
    let mut from = rows;
    while from > 0 {
        let to = (from - FILL_GROUP).max(0);
        // From the past on, so that the table grows at its end.
        let text = format!(
            "WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i - 1 FROM n WHERE i - 1 > {to}) \
             INSERT INTO sample (channel, at, series, value, shown, batch) \
             SELECT channel, first - i * 1000000, series, (600 + i % 400) * 16 + 1, shown, batch FROM n, longest"
        );
        sql_query(text).execute(&mut connection)?;
        from = to;
    }
    connection.batch_execute("PRAGMA wal_checkpoint(TRUNCATE);")?;
    Ok(())
}
