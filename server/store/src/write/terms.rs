//! Numbers for terms and units nobody has used before, given inside the transaction that uses them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::db::Db;
use crate::error::StoreError;
use crate::sql::Sql;
use crate::terms::{Term, TermText, Terms, Unit, UnitText};

/// The terms and units a group has looked up or added; they become known to others after its commit.
#[derive(Default)]
pub(crate) struct NewTerms {
    terms: HashMap<Arc<TermText>, i64>,
    units: HashMap<Arc<UnitText>, i64>,
    last_term: Option<i64>,
    last_unit: Option<i64>,
}

impl NewTerms {
    pub(crate) fn term(
        &mut self,
        db: &mut Db,
        shared: &Terms,
        term: &Term,
    ) -> Result<i64, StoreError> {
        let text = match term {
            Term::Known(number) => return Ok(*number),
            Term::New(text) => text,
        };
        if let Some(number) = self
            .terms
            .get(text)
            .copied()
            .or_else(|| shared.get(&text.system, &text.code))
        {
            return Ok(number);
        }
        let mut find = Sql::new("SELECT tid FROM term WHERE code = ");
        find.bytes(text.code.to_vec())
            .push(" AND sys = ")
            .bytes(text.system.to_vec());
        let number = match db.row(find)? {
            Some(row) => row.int(0)?,
            None => {
                let number = next(
                    db,
                    &mut self.last_term,
                    "SELECT coalesce(max(tid), 0) FROM term",
                )?;
                let mut add = Sql::new("INSERT INTO term (tid, sys, code) VALUES (");
                add.int(number)
                    .push(", ")
                    .bytes(text.system.to_vec())
                    .push(", ")
                    .bytes(text.code.to_vec())
                    .push(")");
                db.run(add)?;
                number
            }
        };
        self.terms.insert(text.clone(), number);
        Ok(number)
    }

    pub(crate) fn unit(
        &mut self,
        db: &mut Db,
        shared: &Terms,
        unit: &Unit,
    ) -> Result<i64, StoreError> {
        let text = match unit {
            Unit::Known(number) => return Ok(*number),
            Unit::New(text) => text,
        };
        let known = self.units.get(text).copied();
        let shared_known = || match shared.unit(&text.system, &text.code, &text.unit) {
            Unit::Known(number) => Some(number),
            Unit::New(_) => None,
        };
        if let Some(number) = known.or_else(shared_known) {
            return Ok(number);
        }
        let mut find = Sql::new("SELECT uid FROM unit WHERE code = ");
        find.bytes(text.code.to_vec())
            .push(" AND sys = ")
            .bytes(text.system.to_vec());
        find.push(" AND unit = ").bytes(text.unit.to_vec());
        let number = match db.row(find)? {
            Some(row) => row.int(0)?,
            None => {
                let number = next(
                    db,
                    &mut self.last_unit,
                    "SELECT coalesce(max(uid), 0) FROM unit",
                )?;
                let mut add = Sql::new("INSERT INTO unit (uid, sys, code, unit) VALUES (");
                add.int(number)
                    .push(", ")
                    .bytes(text.system.to_vec())
                    .push(", ")
                    .bytes(text.code.to_vec());
                add.push(", ").bytes(text.unit.to_vec()).push(")");
                db.run(add)?;
                number
            }
        };
        self.units.insert(text.clone(), number);
        Ok(number)
    }

    /// Tells everyone, after the commit.
    pub(crate) fn publish(self, shared: &Terms) {
        for (text, number) in self.terms {
            shared.add(&text.system, &text.code, number);
        }
        for (text, number) in self.units {
            shared.add_unit(UnitText::clone(&text), number);
        }
    }
}

fn next(db: &mut Db, last: &mut Option<i64>, query: &'static str) -> Result<i64, StoreError> {
    let before = match *last {
        Some(number) => number,
        None => db.number(Sql::new(query))?,
    };
    *last = Some(before + 1);
    Ok(before + 1)
}

/// Reads units behind a number into the cache.
pub(crate) fn load_units(db: &mut Db, terms: &Terms, after: i64) -> Result<(), StoreError> {
    let mut sql = Sql::new("SELECT uid, sys, code, unit FROM unit WHERE uid > ");
    sql.int(after);
    for row in db.rows(sql)? {
        let text = UnitText {
            system: row.bytes(1)?.into(),
            code: row.bytes(2)?.into(),
            unit: row.bytes(3)?.into(),
        };
        terms.add_unit(text, row.int(0)?);
    }
    Ok(())
}
