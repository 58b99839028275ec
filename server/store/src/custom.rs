//! Numbers of search parameters that were added to the official ones.
//!
//! A number is given once for a definition (its url, type and expression) and never reused, so that index rows of an
//! older definition can never be taken for those of a newer one.

use crate::error::StoreError;
use crate::sql::Sql;
use crate::store::Store;

/// First number: far above the official ones.
const NUMBER_MIN: i64 = 20_000;

/// Last number; above it lies the mark of wide ranges.
const NUMBER_MAX: i64 = 0x7fff;

/// A number and whether every resource has been indexed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomParam {
    /// The number.
    pub number: u16,
    /// Whether the index is complete.
    pub is_complete: bool,
}

impl Store {
    /// The number of a definition, given now if it has none.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when there are no more numbers.
    pub async fn custom_param(&self, key: String) -> Result<CustomParam, StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| {
                let db = &mut *transaction.db;
                let mut sql = Sql::new("SELECT no, done FROM custom_param WHERE key = ");
                sql.text(key.as_str());
                let (number, done) = match db.row(sql)? {
                    Some(row) => (row.int(0)?, row.int(1)?),
                    None => {
                        let last = Sql::new("SELECT coalesce(max(no), 0) FROM custom_param");
                        let number = (db.number(last)? + 1).max(NUMBER_MIN);
                        if number > NUMBER_MAX {
                            return Err(StoreError::Invalid(
                                "no more search parameters can be added to this database".into(),
                            ));
                        }
                        let mut sql = Sql::new("INSERT INTO custom_param (no, key, done) VALUES (");
                        sql.int(number).push(", ").text(key.as_str()).push(", 0)");
                        db.run(sql)?;
                        (number, 0)
                    }
                };
                let number = u16::try_from(number)
                    .map_err(|_| StoreError::Internal("a parameter's number is wrong".into()))?;
                Ok(CustomParam {
                    number,
                    is_complete: done != 0,
                })
            })
        })
        .await
    }

    /// The definitions that have a number, with their numbers.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn custom_params(&self) -> Result<Vec<(u16, String)>, StoreError> {
        self.on_reader(|reader| {
            let sql = Sql::new("SELECT no, key FROM custom_param WHERE done >= 0 ORDER BY no");
            let mut found = Vec::new();
            for row in reader.db.rows(sql)? {
                if let Ok(number) = u16::try_from(row.int(0)?) {
                    found.push((number, row.text(1)?.to_owned()));
                }
            }
            Ok(found)
        })
        .await
    }

    /// Takes a number out of use: what was indexed under it is out of date from now on.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn retire_custom_param(&self, number: u16) -> Result<(), StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| {
                let number = i64::from(number);
                let mut sql = Sql::new("UPDATE custom_param SET done = -1, key = ");
                sql.text(format!("retired {number}"))
                    .push(" WHERE no = ")
                    .int(number);
                transaction.db.run(sql).map(|_| ())
            })
        })
        .await
    }

    /// Notes whether every resource has been indexed for a parameter.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn set_custom_param(&self, number: u16, is_complete: bool) -> Result<(), StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| {
                let mut sql = Sql::new("UPDATE custom_param SET done = ");
                sql.int(i64::from(is_complete))
                    .push(" WHERE no = ")
                    .int(i64::from(number));
                transaction.db.run(sql).map(|_| ())
            })
        })
        .await
    }
}
