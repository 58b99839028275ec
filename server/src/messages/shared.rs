//! What all feeds share about messages: how each reads them, what it does on an error, and the lock of merges.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock as SyncRwLock};

use adapters::pipeline::Pipeline;
use tokio::sync::RwLock;

/// Setting of a feed's `mapping` table that names its [`OnError`].
pub const ON_ERROR: &str = "on-error";

/// Setting of a feed's `mapping` table: what becomes of a message that names nobody. `refuse` (AE), `park` (it waits for
/// a person), `keep` (a record of that message alone; the mappings read it).
pub const UNIDENTIFIED: &str = "unidentified";

/// What a message that cannot be carried out does to those after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnError {
    /// Nothing: the error is answered, the others go on.
    #[default]
    Continue,
    /// Later messages of its patient wait.
    ParkPatient,
    /// All later messages of the feed wait.
    Halt,
}

impl OnError {
    /// The policy of a word.
    ///
    /// # Errors
    /// Names the setting and the words it takes.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "continue" => Ok(Self::Continue),
            "park-patient" => Ok(Self::ParkPatient),
            "halt" => Ok(Self::Halt),
            _ => Err(format!(
                "`{ON_ERROR}` is one of continue, park-patient, halt"
            )),
        }
    }
}

/// Shared by all feeds of a server.
#[derive(Default)]
pub struct Shared {
    /// Held together by messages, alone by merges.
    pub merging: RwLock<()>,
    readers: SyncRwLock<BTreeMap<String, Reader>>,
}

#[derive(Clone)]
struct Reader {
    pipeline: Pipeline,
    on_error: OnError,
    parks_unidentified: bool,
}

impl Shared {
    /// Notes how a feed reads its messages. Kept when the feed is removed: its messages can still be read again.
    ///
    /// # Errors
    /// When the feed's policy is none
    pub fn register(&self, pipeline: Pipeline) -> Result<(), String> {
        let feed = pipeline.feed();
        let on_error = match feed.context.settings.get(ON_ERROR) {
            Some(text) => OnError::parse(text)?,
            None => OnError::default(),
        };
        let unidentified = feed.context.settings.get(UNIDENTIFIED);
        let parks_unidentified = match unidentified.map(|text| &**text) {
            None | Some("refuse" | "keep") => false,
            Some("park") => true,
            Some(_) => {
                return Err(format!("`{UNIDENTIFIED}` is one of refuse, park, keep"));
            }
        };
        let name = feed.name.clone();
        self.readers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(
                name,
                Reader {
                    pipeline,
                    on_error,
                    parks_unidentified,
                },
            );
        Ok(())
    }

    /// How a feed reads its messages.
    pub fn pipeline(&self, feed: &str) -> Option<Pipeline> {
        self.read(feed).map(|reader| reader.pipeline)
    }

    /// What an error does to the messages after it.
    pub fn on_error(&self, feed: &str) -> OnError {
        self.read(feed)
            .map(|reader| reader.on_error)
            .unwrap_or_default()
    }

    /// Whether a message that names nobody waits for a person instead of being refused.
    pub fn parks_unidentified(&self, feed: &str) -> bool {
        let readers = self.readers.read().unwrap_or_else(PoisonError::into_inner);
        readers
            .get(feed)
            .is_some_and(|reader| reader.parks_unidentified)
    }

    /// The feeds known.
    pub fn feeds(&self) -> Vec<String> {
        let readers = self.readers.read().unwrap_or_else(PoisonError::into_inner);
        readers.keys().cloned().collect()
    }

    fn read(&self, feed: &str) -> Option<Reader> {
        let readers = self.readers.read().unwrap_or_else(PoisonError::into_inner);
        readers.get(feed).cloned()
    }
}
