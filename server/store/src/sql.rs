//! SQL text with its values, written piece by piece and run by Diesel on either engine.
//!
//! Values are always binds. Statements are prepared once for each text; after [`SHAPES_MAX`] different texts new ones
//! are no longer kept, so that odd searches cannot fill the memory.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, OnceLock};

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Binary, Nullable, Text, Untyped};
use diesel::sqlite::Sqlite;

/// Different statements that are kept prepared.
const SHAPES_MAX: usize = 4_096;

/// A value for a placeholder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Bind {
    Int(i64),
    OptInt(Option<i64>),
    Bytes(Vec<u8>),
    OptBytes(Option<Vec<u8>>),
    Text(String),
    OptText(Option<String>),
    /// PostgreSQL only: columns of many rows.
    Ints(Vec<Option<i64>>),
    /// PostgreSQL only.
    Blobs(Vec<Option<Vec<u8>>>),
}

impl Bind {
    /// Adds the value to a statement for SQLite.
    pub(crate) fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        match self {
            Self::Int(value) => out.push_bind_param::<BigInt, _>(value),
            Self::OptInt(value) => out.push_bind_param::<Nullable<BigInt>, _>(value),
            Self::Bytes(value) => out.push_bind_param::<Binary, _>(value),
            Self::OptBytes(value) => out.push_bind_param::<Nullable<Binary>, _>(value),
            Self::Text(value) => out.push_bind_param::<Text, _>(value),
            Self::OptText(value) => out.push_bind_param::<Nullable<Text>, _>(value),
            Self::Ints(_) | Self::Blobs(_) => Err(diesel::result::Error::QueryBuilderError(
                "SQLite has no arrays".into(),
            )),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Static(&'static str),
    Owned(String),
    Bind(Bind),
}

/// A statement.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sql {
    pieces: Vec<Piece>,
    /// Asked several times a run, and worked out from all pieces.
    is_kept: OnceLock<bool>,
}

impl Sql {
    pub(crate) fn new(text: &'static str) -> Self {
        Self {
            pieces: vec![Piece::Static(text)],
            is_kept: OnceLock::new(),
        }
    }

    pub(crate) fn push(&mut self, text: &'static str) -> &mut Self {
        self.pieces.push(Piece::Static(text));
        self
    }

    /// Text made of our own words, such as aliases and column names; never of values.
    pub(crate) fn push_owned(&mut self, text: String) -> &mut Self {
        self.pieces.push(Piece::Owned(text));
        self
    }

    pub(crate) fn append(&mut self, other: Sql) -> &mut Self {
        self.pieces.extend(other.pieces);
        self
    }

    pub(crate) fn bind(&mut self, bind: Bind) -> &mut Self {
        self.pieces.push(Piece::Bind(bind));
        self
    }

    pub(crate) fn int(&mut self, value: i64) -> &mut Self {
        self.bind(Bind::Int(value))
    }

    pub(crate) fn bytes(&mut self, value: impl Into<Vec<u8>>) -> &mut Self {
        self.bind(Bind::Bytes(value.into()))
    }

    pub(crate) fn text(&mut self, value: impl Into<String>) -> &mut Self {
        self.bind(Bind::Text(value.into()))
    }

    /// `IN (?, ?, …)`; the list is filled up to a power of two so that few statements differ. An empty list matches
    /// nothing.
    pub(crate) fn in_ints(&mut self, values: &[i64]) -> &mut Self {
        let Some(&last) = values.last() else {
            return self.push(" IN (NULL)");
        };
        if values.len() == 1 {
            return self.push(" = ").int(last);
        }
        self.push(" IN (");
        for index in 0..values.len().next_power_of_two() {
            self.push(if index == 0 { "" } else { ", " });
            self.int(values.get(index).copied().unwrap_or(last));
        }
        self.push(")")
    }

    /// The text with `?` for values, for people.
    pub(crate) fn explain(&self) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Static(piece) => text.push_str(piece),
                Piece::Owned(piece) => text.push_str(piece),
                Piece::Bind(_) => text.push('?'),
            }
        }
        text
    }

    fn is_worth_keeping(&self) -> bool {
        *self.is_kept.get_or_init(|| self.is_known_or_fits())
    }

    fn is_known_or_fits(&self) -> bool {
        static SHAPES: OnceLock<Mutex<HashSet<u64>>> = OnceLock::new();
        let mut hasher = DefaultHasher::new();
        for piece in &self.pieces {
            match piece {
                Piece::Static(text) => text.hash(&mut hasher),
                Piece::Owned(text) => text.as_str().hash(&mut hasher),
                Piece::Bind(_) => 0_u8.hash(&mut hasher),
            }
        }
        let shape = hasher.finish();
        thread_local! {
            static KNOWN: std::cell::RefCell<HashSet<u64>> = std::cell::RefCell::default();
        }
        KNOWN.with_borrow_mut(|known| {
            if known.contains(&shape) {
                return true;
            }
            let Ok(mut shapes) = SHAPES.get_or_init(Mutex::default).lock() else {
                return false;
            };
            let is_kept =
                shapes.contains(&shape) || (shapes.len() < SHAPES_MAX && shapes.insert(shape));
            if is_kept {
                known.insert(shape);
            }
            is_kept
        })
    }
}

impl QueryId for Sql {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Sql {
    type SqlType = Untyped;
}

impl QueryFragment<Sqlite> for Sql {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        if !self.is_worth_keeping() {
            out.unsafe_to_cache_prepared();
        }
        for piece in &self.pieces {
            match piece {
                Piece::Static(text) => out.push_sql(text),
                Piece::Owned(text) => out.push_sql(text),
                Piece::Bind(bind) => bind.push(&mut out)?,
            }
        }
        Ok(())
    }
}

impl QueryFragment<Pg> for Sql {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if !self.is_worth_keeping() {
            out.unsafe_to_cache_prepared();
        }
        for piece in &self.pieces {
            match piece {
                Piece::Static(text) => out.push_sql(text),
                Piece::Owned(text) => out.push_sql(text),
                Piece::Bind(Bind::Int(value)) => out.push_bind_param::<BigInt, _>(value)?,
                Piece::Bind(Bind::OptInt(value)) => {
                    out.push_bind_param::<Nullable<BigInt>, _>(value)?
                }
                Piece::Bind(Bind::Bytes(value)) => out.push_bind_param::<Binary, _>(value)?,
                Piece::Bind(Bind::OptBytes(value)) => {
                    out.push_bind_param::<Nullable<Binary>, _>(value)?
                }
                Piece::Bind(Bind::Text(value)) => out.push_bind_param::<Text, _>(value)?,
                Piece::Bind(Bind::OptText(value)) => {
                    out.push_bind_param::<Nullable<Text>, _>(value)?
                }
                Piece::Bind(Bind::Ints(value)) => {
                    out.push_bind_param::<Array<Nullable<BigInt>>, _>(value)?
                }
                Piece::Bind(Bind::Blobs(value)) => {
                    out.push_bind_param::<Array<Nullable<Binary>>, _>(value)?
                }
            }
        }
        Ok(())
    }
}

impl<Conn> diesel::RunQueryDsl<Conn> for Sql {}

/// The read of one current version: the statement of every `GET [type]/[id]`, found by its type and not by its text.
pub(crate) struct Current {
    pub(crate) h: i64,
}

impl Current {
    pub(crate) const TEXT: &'static str =
        "SELECT r.rid, r.type, r.id, r.ver, r.upd, r.flags, r.gap, r.body FROM res r WHERE r.h = ";
}

impl QueryId for Current {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for Current {
    type SqlType = Untyped;
}

impl QueryFragment<Sqlite> for Current {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(Self::TEXT);
        out.push_bind_param::<BigInt, _>(&self.h)
    }
}

impl<Conn> diesel::RunQueryDsl<Conn> for Current {}
