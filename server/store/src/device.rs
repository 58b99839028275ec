//! What the server keeps about devices beside resources: tokens, and which payloads still wait in quarantine.
//!
//! Left out: samples, which are in `sample/`.

use fhir_core::ids::{Instant, ResourceKey, VersionId};

use crate::api::{SearchPage, SearchQuery, Stored};
use crate::db::Db;
use crate::error::StoreError;
use crate::log;
use crate::message::Message;
use crate::sql::{Bind, Sql};
use crate::store::Store;

/// Tokens listed at most.
const TOKENS_MAX: i64 = 100_000;

/// A device's token, without the token itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceToken {
    /// Its name, for people.
    pub name: String,
    /// The identifier of the device it speaks for, as payloads name it.
    pub device: String,
    /// When it was made.
    pub created: Instant,
    /// When it ends; `None` for never.
    pub expires: Option<Instant>,
    /// When it was revoked.
    pub revoked: Option<Instant>,
}

const TOKEN: &str = "SELECT name, device, created_at, expires_at, revoked_at FROM device_token";

impl Store {
    /// Keeps a token by the SHA-256 of it. Answers whether the name was free.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing was written then.
    pub async fn add_device_token(
        &self,
        hash: [u8; 32],
        token: DeviceToken,
    ) -> Result<bool, StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| {
                let mut sql = Sql::new(
                    "INSERT INTO device_token (hash, name, device, created_at, expires_at) VALUES (",
                );
                sql.bytes(hash.as_slice())
                    .push(", ")
                    .text(token.name)
                    .push(", ");
                sql.text(token.device)
                    .push(", ")
                    .int(token.created.0)
                    .push(", ");
                sql.bind(Bind::OptInt(token.expires.map(|at| at.0)))
                    .push(") ON CONFLICT (name) DO NOTHING");
                Ok(transaction.db.run(sql)? == 1)
            })
        })
        .await
    }

    /// The token of a hash, revoked and ended ones too.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn device_token(&self, hash: [u8; 32]) -> Result<Option<DeviceToken>, StoreError> {
        self.inline(move |reader| {
            let mut sql = Sql::new(TOKEN);
            sql.push(" WHERE hash = ").bytes(hash.as_slice());
            Ok(tokens(reader.db, sql)?.pop())
        })
        .await
    }

    /// All tokens by name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn device_tokens(&self) -> Result<Vec<DeviceToken>, StoreError> {
        self.on_reader(|reader| {
            let mut sql = Sql::new(TOKEN);
            sql.push(" ORDER BY name LIMIT ").int(TOKENS_MAX);
            tokens(reader.db, sql)
        })
        .await
    }

    /// Revokes a token by its name; answers whether there was one to revoke.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn revoke_device_token(&self, name: String, at: Instant) -> Result<bool, StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| {
                let mut sql = Sql::new("UPDATE device_token SET revoked_at = ");
                sql.int(at.0)
                    .push(" WHERE revoked_at IS NULL AND name = ")
                    .text(name);
                Ok(transaction.db.run(sql)? == 1)
            })
        })
        .await
    }

    /// Whether a message made this version of a resource. A sample is always made by one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn is_made_by_message(
        &self,
        key: ResourceKey,
        version: VersionId,
    ) -> Result<bool, StoreError> {
        self.inline(move |reader| {
            let mut sql = Sql::new("SELECT 1 FROM message_resource WHERE h = ");
            sql.int(reader.shared.hasher.resource(&key));
            sql.push(" AND ver = ").int(version.0).push(" LIMIT 1");
            if reader.db.row(sql)?.is_some() {
                return Ok(true);
            }
            Ok(crate::sample::find(reader.db, &key)?.is_some())
        })
        .await
    }

    /// The latest samples of each dense series that match, newest first, at most `per_series` of each: what `$lastn` needs
    /// without walking through millions.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn latest_samples(
        &self,
        query: SearchQuery,
        per_series: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.on_reader(move |reader| {
            reader.at_one_moment(|reader| reader.latest_samples(&query, per_series))
        })
        .await
    }

    /// A search that leaves samples of dense series out.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub async fn search_without_samples(
        &self,
        query: SearchQuery,
    ) -> Result<SearchPage, StoreError> {
        self.on_reader(move |reader| reader.at_one_moment(|reader| reader.search_wide(&query)))
            .await
    }

    /// Payloads of a media type that were refused or not wholly taken over and still wait, newest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn quarantine(
        &self,
        media_type: &'static str,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.on_reader(move |reader| log::waiting(reader.db, media_type, before, limit))
            .await
    }

    /// Says that a payload waits no more: how, and by which message. Answers whether it waited.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn end_quarantine(
        &self,
        message: i64,
        at: Instant,
        how: &'static str,
        by_message: Option<i64>,
    ) -> Result<bool, StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| {
                let mut sql =
                    Sql::new("INSERT INTO quarantine_end (message, at, how, by_message) VALUES (");
                sql.int(message).push(", ").int(at.0).push(", ");
                sql.text(how).push(", ").bind(Bind::OptInt(by_message));
                sql.push(") ON CONFLICT (message) DO NOTHING");
                Ok(transaction.db.run(sql)? == 1)
            })
        })
        .await
    }
}

fn tokens(db: &mut Db, sql: Sql) -> Result<Vec<DeviceToken>, StoreError> {
    let rows = db.rows(sql)?;
    let read = |row: &crate::db::Row| {
        Ok(DeviceToken {
            name: row.text(0)?.to_owned(),
            device: row.text(1)?.to_owned(),
            created: Instant(row.int(2)?),
            expires: row.opt_int(3)?.map(Instant),
            revoked: row.opt_int(4)?.map(Instant),
        })
    };
    rows.iter().map(read).collect()
}
