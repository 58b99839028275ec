//! The CPU time a process has used: what a limit is measured in.

/// User and system time of this process, in seconds.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .filter_map(|f| f.parse().ok())
        .collect();
    // The state letter in front is no number, so user and system time stand at 10 and 11.
    fields
        .get(10..12)
        .map_or(0.0, |t| t.iter().sum::<f64>() / 100.0)
}
