//! Random changes to inputs, the same for the same seed.
//!
//! Left out: coverage. The guided run has it; this is the run without any instrument.

/// A small random number generator (xorshift64*).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Starts at a seed; 0 counts as 1.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// A number below `n`; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(value).unwrap_or_default() % n.max(1)
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }
}

/// Longest input in bytes that changes may lead to: what breaks a reader is seldom long, and short ones run fast.
pub const LENGTH_MAX: usize = 16_384;

/// Changes `data`, with pieces of `seeds` and words that mean something to the target.
pub fn mutate(random: &mut Random, data: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str]) {
    for _ in 0..=random.below(4) {
        let at = random.below(data.len() + 1);
        match random.below(8) {
            0 if at < data.len() => {
                data.remove(at);
            }
            1 => {
                if let (Some(byte), bit) = (data.get_mut(at), random.below(8)) {
                    *byte ^= 1 << bit;
                }
            }
            2 | 3 => {
                let word = random.pick(words).copied().unwrap_or_default();
                data.splice(at..at, word.bytes());
            }
            4 => {
                let end = (at + random.below(32)).min(data.len());
                data.drain(at.min(end)..end);
            }
            5 => {
                let end = (at + random.below(64)).min(data.len());
                let piece = data.get(at..end).unwrap_or_default().to_vec();
                let to = random.below(data.len() + 1);
                data.splice(to..to, piece);
            }
            6 => {
                let other = random.pick(seeds).map_or(&[][..], Vec::as_slice);
                let from = random.below(other.len());
                let end = (from + random.below(128)).min(other.len());
                let piece = other.get(from..end).unwrap_or_default().to_vec();
                data.splice(at..at, piece);
            }
            _ => {
                let end = (at + 1 + random.below(8)).min(data.len());
                let word = random.pick(words).copied().unwrap_or_default();
                data.splice(at.min(end)..end, word.bytes());
            }
        }
        data.truncate(LENGTH_MAX);
    }
}
