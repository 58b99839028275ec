//! SQLite's inserts of many rows: one prepared statement for a table and a number of rows.
//!
//! Diesel finds the prepared statement by the type here, not by its text, and a statement writes up to
//! [`ROWS_MAX`] rows; both cost more than writing a row does otherwise.

use std::marker::PhantomData;

use diesel::RunQueryDsl;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Binary, Nullable};
use diesel::sqlite::{Sqlite, SqliteConnection};

use super::rows::Value;
use crate::db::classify;
use crate::error::StoreError;
use crate::sql::Bind;

/// Rows of one statement; the widest table then has 768 values of the 32,766 SQLite allows.
const ROWS_MAX: usize = 64;
/// For what is left over.
const ROWS_SOME: usize = 8;

/// Where rows go.
pub(crate) trait Into {
    /// `INSERT INTO table (columns)`.
    const INSERT: &'static str;
}

/// The values of one row.
pub(crate) trait RowValues: Send + 'static {
    /// Adds them, separated by commas.
    fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Sqlite>) -> QueryResult<()>;
}

impl<const N: usize> RowValues for [i64; N] {
    fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        for (index, value) in self.iter().enumerate() {
            out.push_sql(if index == 0 { "" } else { "," });
            out.push_bind_param::<BigInt, _>(value)?;
        }
        Ok(())
    }
}

impl<const N: usize> RowValues for [Value; N] {
    fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        for (index, value) in self.iter().enumerate() {
            out.push_sql(if index == 0 { "" } else { "," });
            match value {
                Value::Int(value) => out.push_bind_param::<BigInt, _>(value)?,
                Value::Bytes(value) => out.push_bind_param::<Binary, [u8]>(value)?,
                Value::Null => out.push_bind_param::<Nullable<Binary>, _>(&None::<Vec<u8>>)?,
            }
        }
        Ok(())
    }
}

impl<const N: usize> RowValues for [Bind; N] {
    fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        for (index, value) in self.iter().enumerate() {
            out.push_sql(if index == 0 { "" } else { "," });
            value.push(out)?;
        }
        Ok(())
    }
}

struct Insert<'a, T, R, const ROWS: usize> {
    rows: &'a [R],
    table: PhantomData<T>,
}

impl<T: Into + 'static, R: RowValues, const ROWS: usize> QueryId for Insert<'_, T, R, ROWS> {
    type QueryId = Insert<'static, T, R, ROWS>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<T: Into, R: RowValues, const ROWS: usize> QueryFragment<Sqlite> for Insert<'_, T, R, ROWS> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(T::INSERT);
        for (index, row) in self.rows.iter().enumerate() {
            out.push_sql(if index == 0 { " VALUES (" } else { ",(" });
            row.push(&mut out)?;
            out.push_sql(")");
        }
        Ok(())
    }
}

impl<T, R, const ROWS: usize> RunQueryDsl<SqliteConnection> for Insert<'_, T, R, ROWS> {}

/// Writes rows in their order.
pub(crate) fn insert<T: Into + 'static, R: RowValues>(
    connection: &mut SqliteConnection,
    rows: &[R],
) -> Result<(), StoreError> {
    let (many, rest) = rows.as_chunks::<ROWS_MAX>();
    for rows in many {
        insert_exactly::<T, R, ROWS_MAX>(connection, rows)?;
    }
    let (some, rest) = rest.as_chunks::<ROWS_SOME>();
    for rows in some {
        insert_exactly::<T, R, ROWS_SOME>(connection, rows)?;
    }
    for row in rest {
        insert_exactly::<T, R, 1>(connection, std::array::from_ref(row))?;
    }
    Ok(())
}

fn insert_exactly<T: Into + 'static, R: RowValues, const ROWS: usize>(
    connection: &mut SqliteConnection,
    rows: &[R; ROWS],
) -> Result<(), StoreError> {
    let statement = Insert::<T, R, ROWS> {
        rows,
        table: PhantomData,
    };
    statement.execute(connection).map(|_| ()).map_err(classify)
}
