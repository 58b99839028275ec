//! A resource's index entries as rows ready to write, made on the caller's thread.

/// The rows of the index that a change removes and adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreparedIndex {}
