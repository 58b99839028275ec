//! Device data: payloads come in over HTTP and MQTT, measurements come out as Observations.
//!
//! Guide: `docs/guide/devices.md`. Reading and judging are in the crate `device`; here are its sources, its directory of
//! devices out of FHIR resources, its commits through the one write path, and the quarantine.

mod commit;
pub mod directory;
mod feed;
pub mod http;
pub mod mqtt;
mod plan;
pub mod quarantine;
pub mod settings;
pub mod stream;
pub mod token;

use std::collections::HashMap;
use std::sync::Arc;

use device::ingest::{Dense, Ingest, Source};
use device::observation::Observer;
use device::payload::{self, PayloadMapping};
use mappings::Library;

use crate::config::Config;
use settings::DeviceSource;

pub use commit::ServerPort;

/// Bytes of one mapping file at most: the largest shipped has 5 kB.
const MAPPING_BYTES_MAX: u64 = 1 << 20;

/// All sources by name; a payload mapping without a source of its own is one too, with the defaults.
#[derive(Debug, Default)]
pub struct Sources {
    by_name: HashMap<String, Arc<Ingest>>,
}

impl Sources {
    /// Loads mappings and sources.
    ///
    /// # Errors
    /// A mapping file that cannot be used, or a source that names none; with file and line or the source's name.
    pub fn load(config: &Config) -> Result<Self, String> {
        let library = match &config.mappings {
            Some(folder) => Library::load(folder),
            None => Library::embedded(),
        };
        let library = library.map_err(|errors| errors.to_string())?;
        let namespace = config.mllp_id_namespace.as_deref().unwrap_or_default();
        let observer = Observer::new(&library, namespace)
            .ok_or("the mapping library has no mapping for measurements")?;
        let mappings = payload_mappings(config)?;
        let mut sources = Self::default();
        let own = mappings
            .keys()
            .map(|name| DeviceSource::of_mapping(name))
            .collect::<Vec<_>>();
        for source in own.iter().chain(&config.device) {
            let mapping = mappings.get(&source.mapping).ok_or_else(|| {
                format!(
                    "`device` source `{}` names the payload mapping `{}`, which is not there",
                    source.name, source.mapping
                )
            })?;
            let ingest = Ingest::new(read_source(source)?, mapping.clone(), observer.clone());
            sources
                .by_name
                .insert(source.name.clone(), Arc::new(ingest));
        }
        Ok(sources)
    }

    /// A source by its name or by the name of its mapping.
    pub fn get(&self, name: &str) -> Option<&Arc<Ingest>> {
        self.by_name.get(name)
    }

    /// The names, in order.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

fn read_source(source: &DeviceSource) -> Result<Source, String> {
    let zone = source.zone.as_deref().map(|name| {
        device::time::zone(name).ok_or_else(|| {
            format!(
                "`device` source `{}`: `zone` is not a zone name like Europe/Berlin",
                source.name
            )
        })
    });
    Ok(Source {
        feed: source.name.clone(),
        device_system: source.device_system.clone(),
        zone: zone.transpose()?,
        future_us_max: i64::try_from(source.future_seconds_max)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000),
        dense: if source.dense {
            Dense::Samples
        } else {
            Dense::Resources
        },
    })
}

/// The shipped payload mappings, and those of the configured folder, which replace shipped ones of their name.
fn payload_mappings(config: &Config) -> Result<HashMap<String, PayloadMapping>, String> {
    let mut all: HashMap<String, PayloadMapping> = payload::embedded()
        .map_err(|errors| errors.to_string())?
        .into_iter()
        .map(|mapping| (mapping.id.clone(), mapping))
        .collect();
    let Some(folder) = &config.device_mappings else {
        return Ok(all);
    };
    let place = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = std::fs::read_dir(folder)
        .map_err(place)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(place)?;
    files.retain(|file| file.extension().is_some_and(|e| e == "yaml" || e == "yml"));
    files.sort();
    for file in files {
        let name = file.display().to_string();
        let size = std::fs::metadata(&file).map_err(place)?.len();
        if size > MAPPING_BYTES_MAX {
            return Err(format!("{name}: larger than {MAPPING_BYTES_MAX} bytes"));
        }
        let text = std::fs::read_to_string(&file).map_err(|e| format!("{name}: {e}"))?;
        let mapping = payload::load(&name, &text).map_err(|errors| errors.to_string())?;
        all.insert(mapping.id.clone(), mapping);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_the_names_of_their_mappings_and_their_own() {
        let config = Config {
            device: vec![DeviceSource {
                name: "scales".into(),
                zone: Some("Europe/Berlin".into()),
                ..DeviceSource::of_mapping("withings")
            }],
            ..Config::default()
        };
        let sources = Sources::load(&config).unwrap();
        assert!(sources.get("scales").is_some() && sources.get("generic-json").is_some());
        assert!(sources.get("other").is_none());
    }

    #[test]
    fn sources_that_cannot_work_are_told() {
        let broken = |change: fn(&mut DeviceSource)| {
            let mut source = DeviceSource::of_mapping("withings");
            change(&mut source);
            let config = Config {
                device: vec![source],
                ..Config::default()
            };
            Sources::load(&config).unwrap_err()
        };
        assert!(broken(|s| s.mapping = "nothing".into()).contains("`nothing`"));
        assert!(broken(|s| s.zone = Some("Mars".into())).contains("`zone`"));
    }
}
