//! A connection as the rest of the store sees it: run a statement, read rows, transactions.

use diesel::RunQueryDsl;
use diesel::connection::{Connection, SimpleConnection};
use diesel::deserialize::{FromSql, QueryableByName};
use diesel::pg::Pg;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::row::{Field, NamedRow};
use diesel::sql_types::{BigInt, Binary, Integer, Text};
use diesel::sqlite::{Sqlite, SqliteConnection, SqliteType};
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;

use crate::error::StoreError;
use crate::sql::Sql;

/// The engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row(pub(crate) Vec<Cell>);

fn shape_error(column: usize) -> StoreError {
    StoreError::Internal(format!("column {column} of a result is of another type"))
}

impl Row {
    pub(crate) fn int(&self, column: usize) -> Result<i64, StoreError> {
        match self.0.get(column) {
            Some(Cell::Int(value)) => Ok(*value),
            _ => Err(shape_error(column)),
        }
    }

    pub(crate) fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self.0.get(column) {
            Some(Cell::Int(value)) => Ok(Some(*value)),
            Some(Cell::Null) => Ok(None),
            _ => Err(shape_error(column)),
        }
    }

    pub(crate) fn bytes(&self, column: usize) -> Result<&[u8], StoreError> {
        match self.0.get(column) {
            Some(Cell::Bytes(value)) => Ok(value),
            Some(Cell::Null) => Ok(&[]),
            _ => Err(shape_error(column)),
        }
    }

    pub(crate) fn text(&self, column: usize) -> Result<&str, StoreError> {
        match self.0.get(column) {
            Some(Cell::Text(value)) => Ok(value),
            _ => Err(shape_error(column)),
        }
    }

    pub(crate) fn opt_text(&self, column: usize) -> Result<Option<String>, StoreError> {
        match self.0.get(column) {
            Some(Cell::Text(value)) => Ok(Some(value.clone())),
            Some(Cell::Null) => Ok(None),
            _ => Err(shape_error(column)),
        }
    }

    pub(crate) fn cell(&self, column: usize) -> Result<&Cell, StoreError> {
        self.0.get(column).ok_or_else(|| shape_error(column))
    }
}

impl QueryableByName<Sqlite> for Row {
    fn build<'a>(row: &impl NamedRow<'a, Sqlite>) -> diesel::deserialize::Result<Self> {
        let mut cells = Vec::with_capacity(row.field_count());
        for index in 0..row.field_count() {
            let Some(field) = diesel::row::Row::get(row, index) else {
                break;
            };
            cells.push(match field.value() {
                None => Cell::Null,
                Some(value) => match value.value_type() {
                    None => Cell::Null,
                    Some(SqliteType::Text) => {
                        Cell::Text(<String as FromSql<Text, Sqlite>>::from_sql(value)?)
                    }
                    Some(SqliteType::Binary) => {
                        Cell::Bytes(<Vec<u8> as FromSql<Binary, Sqlite>>::from_sql(value)?)
                    }
                    Some(_) => Cell::Int(<i64 as FromSql<BigInt, Sqlite>>::from_sql(value)?),
                },
            });
        }
        Ok(Self(cells))
    }
}

/// PostgreSQL's numbers of the types the tables use.
mod oid {
    pub(super) const BYTEA: u32 = 17;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
}

impl QueryableByName<Pg> for Row {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> diesel::deserialize::Result<Self> {
        let mut cells = Vec::with_capacity(row.field_count());
        for index in 0..row.field_count() {
            let Some(field) = diesel::row::Row::get(row, index) else {
                break;
            };
            cells.push(match field.value() {
                None => Cell::Null,
                Some(value) => match value.get_oid().get() {
                    oid::INT8 => Cell::Int(<i64 as FromSql<BigInt, Pg>>::from_sql(value)?),
                    oid::INT4 => {
                        Cell::Int(i64::from(<i32 as FromSql<Integer, Pg>>::from_sql(value)?))
                    }
                    oid::BYTEA => Cell::Bytes(<Vec<u8> as FromSql<Binary, Pg>>::from_sql(value)?),
                    oid::TEXT => Cell::Text(<String as FromSql<Text, Pg>>::from_sql(value)?),
                    other => {
                        return Err(format!("unexpected type {other} of column {index}").into());
                    }
                },
            });
        }
        Ok(Self(cells))
    }
}

/// Why a statement failed, as far as it makes a difference.
pub(crate) fn classify(error: Error) -> StoreError {
    let is_unavailable = |text: &str| {
        [
            "disk is full",
            "disk I/O error",
            "readonly database",
            "unable to open",
            "locked",
            "No space left",
            "connection",
            "Connection",
            "closed",
            "terminating",
            "shutting down",
            "too many clients",
        ]
        .iter()
        .any(|sign| text.contains(sign))
    };
    match error {
        Error::DatabaseError(DatabaseErrorKind::ClosedConnection, info) => {
            StoreError::Unavailable(info.message().into())
        }
        Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand, info) => {
            StoreError::Unavailable(info.message().into())
        }
        Error::DatabaseError(_, info) if info.message().contains("statement timeout") => {
            StoreError::TooCostly("it ran into the time limit".into())
        }
        Error::DatabaseError(_, info) if is_unavailable(info.message()) => {
            StoreError::Unavailable(info.message().into())
        }
        Error::DatabaseError(_, info) => StoreError::Internal(info.message().into()),
        Error::BrokenTransactionManager => StoreError::Unavailable("the connection broke".into()),
        other => StoreError::Internal(other.to_string()),
    }
}

/// PostgreSQL through its asynchronous driver, used from the store's own threads.
pub(crate) type PgConnection = AsyncConnectionWrapper<AsyncPgConnection>;

/// A connection to either engine.
pub(crate) enum Db {
    Sqlite(SqliteConnection),
    Postgres(Box<PgConnection>),
}

impl Db {
    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    pub(crate) fn connect_sqlite(path: &str) -> Result<Self, StoreError> {
        let connection = SqliteConnection::establish(path)
            .map_err(|e| StoreError::Unavailable(e.to_string()))?;
        Ok(Self::Sqlite(connection))
    }

    pub(crate) fn connect_postgres(url: &str) -> Result<Self, StoreError> {
        let connection =
            PgConnection::establish(url).map_err(|e| StoreError::Unavailable(e.to_string()))?;
        Ok(Self::Postgres(Box::new(connection)))
    }

    /// Runs statements without values.
    pub(crate) fn batch(&mut self, text: &str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(connection) => connection.batch_execute(text),
            Self::Postgres(connection) => connection.batch_execute(text),
        }
        .map_err(classify)
    }

    /// Runs a statement and answers the number of rows it changed.
    pub(crate) fn run(&mut self, sql: Sql) -> Result<usize, StoreError> {
        match self {
            Self::Sqlite(connection) => sql.execute(connection),
            Self::Postgres(connection) => sql.execute(connection.as_mut()),
        }
        .map_err(classify)
    }

    /// Runs a query.
    pub(crate) fn rows(&mut self, sql: Sql) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(connection) => sql.load::<Row>(connection),
            Self::Postgres(connection) => sql.load::<Row>(connection.as_mut()),
        }
        .map_err(classify)
    }

    /// Runs a query that answers at most one row.
    pub(crate) fn row(&mut self, sql: Sql) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql)?.into_iter().next())
    }

    /// Runs a query that answers one whole number.
    pub(crate) fn number(&mut self, sql: Sql) -> Result<i64, StoreError> {
        self.row(sql)?.ok_or_else(|| shape_error(0))?.int(0)
    }
}
