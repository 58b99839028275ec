//! Prints how long the definitions take to load: they are on the cold-start path.

use std::time::Instant;

fn main() {
    let start = Instant::now();
    let definitions = conformance::Definitions::r4();
    let elapsed = start.elapsed();
    println!(
        "{} search parameters loaded in {} µs",
        definitions.all_search_params().len(),
        elapsed.as_micros()
    );
}
