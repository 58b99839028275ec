//! The seeds, everything ever found, and a short random run of each target.

use super::mutate::{Random, mutate};
use super::{NAMES, named, seeds};

/// Random inputs of each target: together a few seconds without optimisation.
const RUNS: usize = 1_500;

/// Verifies: SRS-300, RC-300
#[test]
fn seeds_and_changes_to_them_keep_every_promise() {
    for name in NAMES {
        let target = named(name).expect(name);
        let seeds = seeds::of(name);
        assert!(seeds.len() >= 10, "{name}: only {} seeds", seeds.len());
        seeds.iter().for_each(|seed| target(seed));
        let mut random = Random::new(20_261_125);
        // Short seeds: the run is for breadth, and long ones cost most of its time.
        let short: Vec<Vec<u8>> = seeds.into_iter().filter(|s| s.len() < 2_000).collect();
        for _ in 0..RUNS {
            let mut data = short[random.below(short.len())].clone();
            mutate(&mut random, &mut data, &short, seeds::words(name));
            target(&data);
        }
    }
}

/// Verifies: SRS-300, RC-300
#[test]
fn what_was_found_once_stays_mended() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
    let mut count = 0;
    for name in NAMES {
        let target = named(name).expect(name);
        let Ok(folder) = std::fs::read_dir(root.join(name)) else {
            continue;
        };
        for entry in folder {
            let path = entry.expect("an entry").path();
            target(&std::fs::read(&path).expect("an input"));
            count += 1;
        }
    }
    assert!(count > 0, "no input found in {}", root.display());
}
