//! How a store is opened: where the database is and every limit, each with its default.

use std::sync::Arc;
use std::time::Duration;

use fhir_core::ids::Instant;

/// Tells the time; passed in so that tests decide it.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Converts a decimal between UCUM units of one dimension: number text, from code, to code.
/// `None` when a code is unknown, the dimensions differ or the result is not exact enough to bound.
/// The answer is a lower and an upper bound of the converted number as decimal text.
pub type UnitConversion = Arc<dyn Fn(&str, &str, &str) -> Option<(String, String)> + Send + Sync>;

/// How to open a store.
#[derive(Clone)]
pub struct StoreOptions {
    /// `sqlite:path/to/file.db` or `postgres://user@host/database`.
    pub url: String,
    /// The time; the store never lets `lastUpdated` run backwards, whatever this says.
    pub clock: Clock,
    /// Key of the hashes for a new database; `None` draws one from the database's randomness.
    pub hash_seed: Option<[u8; 16]>,
    /// Conversion between UCUM units; without it a quantity is found in the unit it was recorded in only.
    pub unit_conversion: Option<UnitConversion>,
    /// Threads, each with a connection, that run searches.
    pub reader_threads: usize,
    /// Searches that may wait for a reader; more are refused as overloaded.
    pub queue_reads_max: usize,
    /// Commits that may wait for the writer; more are refused as overloaded.
    pub queue_commits_max: usize,
    /// Commits written in one transaction of the database.
    pub group_commits_max: usize,
    /// For loading: the writer waits for so many changes before it writes a group, unless none comes for
    /// [`Self::GROUP_IDLE_MAX`]. 0 writes what is there.
    pub group_changes_min: usize,
    /// A search that runs longer is stopped and refused as too costly.
    pub search_time_max: Duration,
    /// SQLite: page cache of the writer, KiB. Readers use an eighth of it each, beside the memory map.
    pub cache_kib: u32,
    /// SQLite: bytes of the file that are read through a memory map.
    pub mmap_bytes: u64,
    /// SQLite: the write-ahead log is folded into the database when it is larger.
    pub checkpoint_bytes: u64,
    /// SQLite: the file may not grow larger than this; writes are refused then.
    pub database_bytes_max: Option<u64>,
}

impl StoreOptions {
    /// Two searches at a time are what a small machine has cores for.
    pub const READER_THREADS: usize = 2;
    /// A search waits at most for this many before it.
    pub const QUEUE_READS_MAX: usize = 1_024;
    /// About half a second of writing.
    pub const QUEUE_COMMITS_MAX: usize = 4_096;
    /// Larger groups gain little and make every waiting commit slower.
    pub const GROUP_COMMITS_MAX: usize = 1_024;
    /// Changes of a group when loading: the pages of an index are written once for many rows.
    pub const LOAD_CHANGES: usize = 16 * 1024;
    /// Longest wait for another commit when loading.
    pub const GROUP_IDLE_MAX: Duration = Duration::from_millis(100);
    /// A person has given up waiting by then.
    pub const SEARCH_TIME_MAX: Duration = Duration::from_secs(20);
    /// 64 MiB.
    pub const CACHE_KIB: u32 = 64 * 1024;
    /// 8 GiB; only address space.
    pub const MMAP_BYTES: u64 = 8 << 30;
    /// 128 MiB: longer logs slow readers, shorter ones write pages more often.
    pub const CHECKPOINT_BYTES: u64 = 128 << 20;

    /// The defaults for a database.
    pub fn new(url: impl Into<String>, clock: Clock) -> Self {
        Self {
            url: url.into(),
            clock,
            hash_seed: None,
            unit_conversion: None,
            reader_threads: Self::READER_THREADS,
            queue_reads_max: Self::QUEUE_READS_MAX,
            queue_commits_max: Self::QUEUE_COMMITS_MAX,
            group_commits_max: Self::GROUP_COMMITS_MAX,
            group_changes_min: 0,
            search_time_max: Self::SEARCH_TIME_MAX,
            cache_kib: Self::CACHE_KIB,
            mmap_bytes: Self::MMAP_BYTES,
            checkpoint_bytes: Self::CHECKPOINT_BYTES,
            database_bytes_max: None,
        }
    }
}
