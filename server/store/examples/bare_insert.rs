//! The limit for imports: the same bytes into one table, groups of 1,000, the same durability, no index at all.
//!
//! Usage: `bare_insert FILE [ROWS GROUP BYTES]`; with `BYTES` each row has so many. Prints `INSERTS SECONDS CPU_SECONDS`.

use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

#[path = "shared/cpu.rs"]
mod cpu;
#[path = "../../../tests/src/synthetic.rs"]
#[allow(dead_code)]
mod synthetic;

use cpu::cpu_seconds;

diesel::table! {
    bare (rid) {
        rid -> BigInt,
        body -> Binary,
    }
}

const ROWS: u64 = 100_000;
const GROUP: u64 = 1_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: bare_insert FILE")?;
    let number = |at: usize| std::env::args().nth(at).map(|text| text.parse::<u64>());
    let rows = number(2).transpose()?.unwrap_or(ROWS);
    let group_rows = number(3).transpose()?.unwrap_or(GROUP).max(1);
    let bytes = number(4).transpose()?;
    let mut connection = SqliteConnection::establish(&file)?;
    connection.batch_execute(
        "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
         CREATE TABLE bare (rid INTEGER PRIMARY KEY, body BLOB NOT NULL);",
    )?;
    let body = |n: u64| {
        let mut body = synthetic::observation(n, 1_000).into_bytes();
        if let Some(bytes) = bytes.and_then(|bytes| usize::try_from(bytes).ok()) {
            let whole = body.clone();
            while body.len() < bytes {
                body.extend_from_slice(&whole);
            }
            body.truncate(bytes);
        }
        body
    };
    let bodies: Vec<Vec<u8>> = (0..rows).map(body).collect();
    let (start, cpu_before) = (Instant::now(), cpu_seconds());
    for (group, rows) in (0u64..).zip(bodies.chunks(group_rows as usize)) {
        connection.transaction(|connection| {
            for (number, body) in (group * group_rows..).zip(rows) {
                diesel::insert_into(bare::table)
                    .values((bare::rid.eq(number as i64), bare::body.eq(body)))
                    .execute(connection)?;
            }
            diesel::result::QueryResult::Ok(())
        })?;
    }
    println!(
        "{rows} {} {}",
        start.elapsed().as_secs_f64(),
        cpu_seconds() - cpu_before
    );
    Ok(())
}
