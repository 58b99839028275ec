//! Index rows on their way into the tables: gathered over a group, sorted, written together.
//!
//! Sorted rows touch each page of an index once. SQLite takes cached statements for some rows each; PostgreSQL one statement a
//! table with the rows in arrays.

use crate::db::Db;
use crate::error::StoreError;
use crate::hash::KeyHasher;
use crate::index::{
    CompKey, CompRow, CoreKey, IndexRows, Part, PostRow, TAG_QUANTITY, TAG_TERM, sortable, tagged,
};
use crate::sql::{Bind, Sql};
use crate::terms::Terms;
use crate::write::insert;
use crate::write::terms::NewTerms;

/// A table of rows to write and how.
pub(crate) struct Table {
    name: &'static str,
    columns: &'static [&'static str],
    /// Types of the columns, for PostgreSQL's arrays.
    types: &'static [&'static str],
}

const POST: Table = Table {
    name: "post",
    columns: &["k", "rid", "c"],
    types: &["bigint", "bigint", "bigint"],
};
const REF: Table = Table {
    name: "ref",
    columns: &["p", "h", "rid", "t"],
    types: &["bigint", "bigint", "bigint", "bigint"],
};
const DAT: Table = Table {
    name: "dat",
    columns: &["p", "lo", "rid", "hi"],
    types: &["bigint", "bigint", "bigint", "bigint"],
};
const NUM: Table = Table {
    name: "num",
    columns: &["p", "u", "lo", "rid", "n", "hi"],
    types: &["bigint", "bigint", "bytea", "bigint", "bigint", "bytea"],
};
const STR: Table = Table {
    name: "str",
    columns: &["p", "norm", "rid", "n", "exact", "whole"],
    types: &["bigint", "bytea", "bigint", "bigint", "bytea", "bytea"],
};
const COMP: Table = Table {
    name: "comp",
    columns: &["p", "a", "s", "rid", "n", "hi", "t", "thi"],
    types: &[
        "bigint", "bigint", "bytea", "bigint", "bigint", "bytea", "bytea", "bytea",
    ],
};
const CORE: Table = Table {
    name: "sd",
    columns: &["s", "k", "lo", "rid", "len", "t"],
    types: &["bigint", "bigint", "bigint", "bigint", "bigint", "bigint"],
};

/// The tables as SQLite's inserts name them. A row that is there already stays: the index is a set.
macro_rules! inserts {
    ($($name:ident: $table:literal),*) => {
        $(pub(crate) struct $name;
        impl insert::Into for $name {
            const INSERT: &'static str = concat!("INSERT OR IGNORE INTO ", $table);
        })*
    };
}
inserts!(Post: "post", Ref: "ref", Dat: "dat", Core: "sd", Num: "num", Str: "str", Comp: "comp");

/// A value in the order of the table's key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Int(i64),
    Bytes(Box<[u8]>),
    Null,
}

impl From<Value> for Bind {
    fn from(value: Value) -> Self {
        match value {
            Value::Int(number) => Bind::Int(number),
            Value::Bytes(bytes) => Bind::Bytes(bytes.into_vec()),
            Value::Null => Bind::OptBytes(None),
        }
    }
}

fn optional(bytes: Option<Box<[u8]>>) -> Value {
    bytes.map_or(Value::Null, Value::Bytes)
}

type PostValues = [i64; 3];
type CoreValues = [i64; 6];

/// Rows of a group.
#[derive(Default)]
pub(crate) struct Pending {
    post: Vec<PostValues>,
    refs: Vec<[i64; 4]>,
    dat: Vec<[i64; 4]>,
    core: Vec<CoreValues>,
    num: Vec<[Value; 6]>,
    str: Vec<[Value; 6]>,
    comp: Vec<[Value; 8]>,
}

/// What numbers are taken from.
pub(crate) struct Resolver<'a> {
    pub(crate) db: &'a mut Db,
    pub(crate) hasher: KeyHasher,
    pub(crate) shared: &'a Terms,
    pub(crate) new: &'a mut NewTerms,
}

impl Pending {
    /// Adds the rows of one resource.
    pub(crate) fn add(
        &mut self,
        resolver: &mut Resolver<'_>,
        rid: i64,
        rows: &IndexRows,
    ) -> Result<(), StoreError> {
        for row in &rows.post {
            self.post.push(match row {
                PostRow::Hash(k, c) => [*k, rid, *c],
                PostRow::Term(p, term) => [i64::from(*p) << 32 | resolver.term(term)?, rid, 0],
            });
        }
        self.refs
            .extend(rows.refs.iter().map(|row| [row.p, row.h, rid, row.t]));
        self.dat
            .extend(rows.dat.iter().map(|row| [row.p, row.lo, rid, row.hi]));
        for row in &rows.core {
            let k = match &row.k {
                CoreKey::Any(k) => *k,
                CoreKey::Token(p, term) => i64::from(*p) << 32 | resolver.term(term)?,
            };
            self.core.push([row.s, k, row.lo, rid, row.length(), row.t]);
        }
        for row in &rows.num {
            let unit = resolver.new.unit(resolver.db, resolver.shared, &row.unit)?;
            self.num.push([
                Value::Int(row.p),
                Value::Int(unit),
                Value::Bytes(row.lo.clone()),
                Value::Int(rid),
                Value::Int(row.n),
                optional(row.hi.clone()),
            ]);
        }
        self.str.extend(rows.str.iter().map(|row| {
            [
                Value::Int(row.p),
                Value::Bytes(row.norm.clone()),
                Value::Int(rid),
                Value::Int(row.n),
                optional(row.exact.clone()),
                optional(row.whole.clone()),
            ]
        }));
        for row in &rows.comp {
            self.comp.push(resolver.composite(rid, row)?);
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.post.is_empty()
            && self.refs.is_empty()
            && self.dat.is_empty()
            && self.core.is_empty()
            && self.num.is_empty()
            && self.str.is_empty()
            && self.comp.is_empty()
    }

    /// Writes all rows.
    pub(crate) fn insert(self, db: &mut Db) -> Result<(), StoreError> {
        insert_ints::<Post, _>(db, &POST, self.post)?;
        insert_ints::<Ref, _>(db, &REF, self.refs)?;
        insert_ints::<Dat, _>(db, &DAT, self.dat)?;
        insert_ints::<Core, _>(db, &CORE, self.core)?;
        insert_values::<Num, _>(db, &NUM, self.num)?;
        insert_values::<Str, _>(db, &STR, self.str)?;
        insert_values::<Comp, _>(db, &COMP, self.comp)
    }

    /// Removes all rows.
    pub(crate) fn delete(self, db: &mut Db) -> Result<(), StoreError> {
        for [k, rid, c] in self.post {
            delete(db, &POST, 3, [k, rid, c].map(Value::Int))?;
        }
        for [p, h, rid, t] in self.refs {
            delete(db, &REF, 3, [p, h, rid, t].map(Value::Int))?;
        }
        for row in self.dat {
            delete(db, &DAT, 4, row.map(Value::Int))?;
        }
        for row in self.core {
            delete(db, &CORE, 4, row.map(Value::Int))?;
        }
        for row in self.num {
            delete(db, &NUM, 5, row)?;
        }
        for row in self.str {
            delete(db, &STR, 4, row)?;
        }
        for row in self.comp {
            delete(db, &COMP, 5, row)?;
        }
        Ok(())
    }
}

impl Resolver<'_> {
    fn term(&mut self, term: &crate::terms::Term) -> Result<i64, StoreError> {
        self.new.term(self.db, self.shared, term)
    }

    fn part(&mut self, part: &Part) -> Result<Box<[u8]>, StoreError> {
        Ok(match part {
            Part::Bytes(bytes) => bytes.as_slice().into(),
            Part::Term(term) => tagged(TAG_TERM, &sortable(self.term(term)?)).into(),
            Part::Quantity(unit, low) => {
                let unit = self.new.unit(self.db, self.shared, unit)?;
                [&[TAG_QUANTITY], (unit as u32).to_be_bytes().as_slice(), low]
                    .concat()
                    .into()
            }
        })
    }

    fn composite(&mut self, rid: i64, row: &CompRow) -> Result<[Value; 8], StoreError> {
        let a = match &row.a {
            CompKey::Number(number) => *number,
            CompKey::Term(term) => self.term(term)?,
        };
        let s = self.part(&row.s)?;
        let t = row.t.as_ref().map(|part| self.part(part)).transpose()?;
        // Rows that differ only beside the key are told apart by a hash.
        let n = if row.hi.is_none() && t.is_none() && row.thi.is_none() {
            0
        } else {
            let bytes = |part: &Option<Box<[u8]>>| part.as_deref().unwrap_or_default().to_vec();
            self.hasher
                .short(&[&bytes(&row.hi), &bytes(&t), &bytes(&row.thi)])
        };
        Ok([
            Value::Int(row.p),
            Value::Int(a),
            Value::Bytes(s),
            Value::Int(rid),
            Value::Int(n),
            optional(row.hi.clone()),
            optional(t),
            optional(row.thi.clone()),
        ])
    }
}

fn insert_ints<T: insert::Into + 'static, const N: usize>(
    db: &mut Db,
    table: &Table,
    mut rows: Vec<[i64; N]>,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_unstable();
    match db {
        Db::Sqlite(connection) => insert::insert::<T, _>(connection, &rows),
        Db::Postgres(_) => {
            let column =
                |index: usize| Bind::Ints(rows.iter().map(|row| row.get(index).copied()).collect());
            db.run(insert_arrays(table, (0..N).map(column).collect()))
                .map(|_| ())
        }
    }
}

fn insert_values<T: insert::Into + 'static, const N: usize>(
    db: &mut Db,
    table: &Table,
    mut rows: Vec<[Value; N]>,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_unstable();
    match db {
        Db::Sqlite(connection) => insert::insert::<T, _>(connection, &rows),
        Db::Postgres(_) => {
            let column = |(index, kind): (usize, &&str)| {
                let values = rows.iter().map(|row| row.get(index));
                if *kind == "bigint" {
                    Bind::Ints(
                        values
                            .map(|v| {
                                if let Some(Value::Int(n)) = v {
                                    Some(*n)
                                } else {
                                    None
                                }
                            })
                            .collect(),
                    )
                } else {
                    Bind::Blobs(
                        values
                            .map(|v| {
                                if let Some(Value::Bytes(b)) = v {
                                    Some(b.to_vec())
                                } else {
                                    None
                                }
                            })
                            .collect(),
                    )
                }
            };
            db.run(insert_arrays(
                table,
                table.types.iter().enumerate().map(column).collect(),
            ))
            .map(|_| ())
        }
    }
}

fn insert_arrays(table: &Table, columns: Vec<Bind>) -> Sql {
    let mut sql = Sql::new("INSERT INTO ");
    sql.push(table.name).push(" SELECT * FROM unnest(");
    for (index, (column, kind)) in columns.into_iter().zip(table.types).enumerate() {
        sql.push(if index == 0 { "" } else { ", " })
            .bind(column)
            .push("::")
            .push(kind)
            .push("[]");
    }
    sql.push(") ON CONFLICT DO NOTHING");
    sql
}

/// Removes a row by the first columns, which are its key.
fn delete<const N: usize>(
    db: &mut Db,
    table: &Table,
    key_columns: usize,
    row: [Value; N],
) -> Result<(), StoreError> {
    let mut sql = Sql::new("DELETE FROM ");
    sql.push(table.name);
    for (index, (column, value)) in table.columns.iter().zip(row).take(key_columns).enumerate() {
        sql.push(if index == 0 { " WHERE " } else { " AND " })
            .push(column)
            .push(" = ")
            .bind(value.into());
    }
    db.run(sql).map(|_| ())
}
