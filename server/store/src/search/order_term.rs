//! Sorting by a token or uri: the codes a parameter has in this database are few, and each has its own posting.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#sort>. Codes are compared as text. Left out: identifiers, and codes so
//! long that they are kept as hashes: neither has an order. The search's parser does not offer identifiers.

use super::compile::Compiler;
use crate::catalog::{Core, ParamPlan};
use crate::error::StoreError;
use crate::sql::Sql;
use crate::terms::SYSTEM_TEXT;

/// Different codes of one parameter that a search can be sorted by. Every one costs a look at an index for each match.
const SORT_CODES_MAX: usize = 200;

/// The smallest (or largest) code of a resource `r`, `NULL` when it has none.
pub(crate) fn order_by_term(
    compiler: &mut Compiler<'_>,
    plan: &ParamPlan,
    is_descending: bool,
) -> Result<Sql, StoreError> {
    let mut codes = Vec::new();
    for param in &plan.stored_as {
        for key in keys(compiler, *param, plan.core)? {
            let mut sql = Sql::new("SELECT sys, code FROM term WHERE tid = ");
            sql.int(key & i64::from(u32::MAX));
            if let Some(row) = compiler.db.row(sql)?
                && row.bytes(0)? != SYSTEM_TEXT
            {
                codes.push((row.bytes(1)?.to_vec(), key));
            }
        }
    }
    codes.sort();
    if is_descending {
        codes.reverse();
    }
    if codes.is_empty() {
        // No resource has a value; the comparison only keeps the column's type known.
        return Ok(Sql::new("nullif(r.rid, r.rid)"));
    }
    let mut value = Sql::new("CASE");
    for (code, key) in codes {
        value
            .push(" WHEN EXISTS (SELECT 1 FROM post x WHERE x.rid = r.rid AND x.k = ")
            .int(key);
        if plan.core == Core::Token {
            value
                .push(") OR EXISTS (SELECT 1 FROM sd x WHERE x.s = 0 AND x.lo = r.at AND x.rid = r.rid AND x.k = ")
                .int(key);
        }
        value.push(") THEN ").bytes(code);
    }
    value.push(" END");
    Ok(value)
}

/// The keys of a parameter's terms, from one to the next along the index.
fn keys(compiler: &mut Compiler<'_>, param: u16, core: Core) -> Result<Vec<i64>, StoreError> {
    let end = (i64::from(param) + 1) << 32;
    let mut found = Vec::new();
    let tables: &[&'static str] = if core == Core::Token {
        &[" FROM post WHERE", " FROM sd WHERE s = 0 AND"]
    } else {
        &[" FROM post WHERE"]
    };
    for table in tables {
        let mut after = i64::from(param) << 32;
        loop {
            let mut sql = Sql::new("SELECT min(k)");
            sql.push(table).push(" k > ").int(after);
            sql.push(" AND k < ").int(end);
            let next = compiler
                .db
                .row(sql)?
                .map(|row| row.opt_int(0))
                .transpose()?;
            let Some(next) = next.flatten() else { break };
            if !found.contains(&next) {
                found.push(next);
            }
            if found.len() > SORT_CODES_MAX {
                return Err(StoreError::TooCostly(format!(
                    "the sort parameter has more than {SORT_CODES_MAX} different codes"
                )));
            }
            after = next;
        }
    }
    Ok(found)
}
