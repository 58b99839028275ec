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
use fhir_core::ids::ResourceId;

use crate::deadline;
use crate::error::StoreError;
use crate::sql::{Current, Sql};

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
}

impl QueryableByName<Sqlite> for Row {
    fn build<'a>(row: &impl NamedRow<'a, Sqlite>) -> diesel::deserialize::Result<Self> {
        let cells = (0..row.field_count()).map(|index| sqlite_cell(row, index));
        Ok(Self(cells.collect::<Result<_, _>>()?))
    }
}

fn sqlite_cell<'a>(
    row: &impl NamedRow<'a, Sqlite>,
    index: usize,
) -> diesel::deserialize::Result<Cell> {
    let Some(field) = diesel::row::Row::get(row, index) else {
        return Ok(Cell::Null);
    };
    let Some(mut value) = field.value() else {
        return Ok(Cell::Null);
    };
    Ok(match value.value_type() {
        None => Cell::Null,
        Some(SqliteType::Text) => Cell::Text(<String as FromSql<Text, Sqlite>>::from_sql(value)?),
        Some(SqliteType::Binary) => Cell::Bytes(value.read_blob().to_vec()),
        Some(_) => Cell::Int(value.read_long()),
    })
}

/// A version of a resource as its row has it, in the order of [`crate::search::COLUMNS`], and what stands behind those.
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) rid: i64,
    /// The type's number + 1, negative when deleted.
    pub(crate) signed_type: i64,
    /// `None` for a text that is no id.
    pub(crate) id: Option<ResourceId>,
    pub(crate) version: i64,
    pub(crate) updated: i64,
    pub(crate) flags: i64,
    pub(crate) gap: i64,
    pub(crate) body: Vec<u8>,
    /// Values a search is sorted by.
    pub(crate) sort: Vec<Cell>,
}

/// Columns of a [`Match`] before its sort values.
const MATCH_COLUMNS: usize = 8;

impl QueryableByName<Sqlite> for Match {
    fn build<'a>(row: &impl NamedRow<'a, Sqlite>) -> diesel::deserialize::Result<Self> {
        let int = |index: usize| {
            let field = diesel::row::Row::get(row, index);
            field
                .as_ref()
                .and_then(Field::value)
                .map_or(0, |mut value| value.read_long())
        };
        let id = diesel::row::Row::get(row, 2);
        let id = id.as_ref().and_then(Field::value);
        let body = diesel::row::Row::get(row, 7);
        let body = body.as_ref().and_then(Field::value);
        let sort = (MATCH_COLUMNS..row.field_count()).map(|index| sqlite_cell(row, index));
        Ok(Self {
            rid: int(0),
            signed_type: int(1),
            id: id.and_then(|mut text| ResourceId::parse(text.read_text())),
            version: int(3),
            updated: int(4),
            flags: int(5),
            gap: int(6),
            body: body.map_or_else(Vec::new, |mut bytes| bytes.read_blob().to_vec()),
            sort: sort.collect::<Result<_, _>>()?,
        })
    }
}

impl QueryableByName<Pg> for Match {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> diesel::deserialize::Result<Self> {
        let mut row = <Row as QueryableByName<Pg>>::build(row)?;
        let sort = row.0.split_off(MATCH_COLUMNS.min(row.0.len()));
        let body = match row.0.pop() {
            Some(Cell::Bytes(bytes)) => bytes,
            _ => Vec::new(),
        };
        Ok(Self {
            rid: row.int(0)?,
            signed_type: row.int(1)?,
            id: ResourceId::parse(row.text(2)?),
            version: row.int(3)?,
            updated: row.int(4)?,
            flags: row.int(5)?,
            gap: row.int(6)?,
            body,
            sort,
        })
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
            StoreError::TooCostly(deadline::REASON.into())
        }
        Error::DatabaseError(_, info) if info.message().contains(deadline::IN_TIME) => {
            StoreError::TooCostly(deadline::REASON.into())
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
        let mut connection = SqliteConnection::establish(path)
            .map_err(|e| StoreError::Unavailable(e.to_string()))?;
        deadline::register(&mut connection).map_err(classify)?;
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
            Self::Sqlite(connection) => {
                deadline::check()?;
                sql.load::<Row>(connection)
            }
            Self::Postgres(connection) => sql.load::<Row>(connection.as_mut()),
        }
        .map_err(classify)
    }

    /// Runs a query for versions of resources.
    pub(crate) fn matches(&mut self, sql: Sql) -> Result<Vec<Match>, StoreError> {
        match self {
            Self::Sqlite(connection) => {
                deadline::check()?;
                sql.load::<Match>(connection)
            }
            Self::Postgres(connection) => sql.load::<Match>(connection.as_mut()),
        }
        .map_err(classify)
    }

    /// The current version of the resource with this key in `res.h`.
    pub(crate) fn current(&mut self, h: i64) -> Result<Option<Match>, StoreError> {
        let rows = match self {
            Self::Sqlite(connection) => {
                Current { h }.load::<Match>(connection).map_err(classify)?
            }
            Self::Postgres(_) => {
                let mut sql = Sql::new(Current::TEXT);
                sql.int(h);
                self.matches(sql)?
            }
        };
        Ok(rows.into_iter().next())
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
