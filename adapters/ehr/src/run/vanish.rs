//! What a sweep did not see again: missed once is noted, missed twice is deleted here.
//!
//! Spec: none of FHIR's; sources without a deletion feed leave no other way.
//! Leaves out sweeps that were not whole or met a new gap, and, as long as there are gaps, members last seen before one
//! came up: what a source begins to keep back looks like what it deleted, and silence proves nothing then.

use std::collections::BTreeSet;

use super::{Run, store};
use crate::EhrError;
use crate::plan::Task;
use crate::port::{Action, Known, SourceKey, UnderWay, WalkKind, WalkState, Write};

/// Sweeps in a row that must miss a record before it is deleted here.
const MISSES_TO_DELETE: u32 = 2;

/// Records a sweep missed.
#[derive(Default)]
pub(super) struct Vanished {
    pub(super) missed: Vec<SourceKey>,
    pub(super) deletes: Vec<Write>,
}

impl Run {
    /// Compares the members of the walk with what this sweep saw; `seen` is the last page, not stored yet.
    pub(super) async fn vanished(
        &self,
        task: &Task,
        state: &WalkState,
        way: &UnderWay,
        seen: &[SourceKey],
    ) -> Result<Vanished, EhrError> {
        let mut vanished = Vanished::default();
        if way.kind != WalkKind::Sweep || !way.whole || is_new_gap(state, way) {
            return Ok(vanished);
        }
        let kept_back_since = state.kept_back_since.filter(|_| !way.gaps.is_empty());
        let seen: BTreeSet<&SourceKey> = seen.iter().collect();
        let members = self.port.members(&task.walk).await.map_err(store)?;
        let mut gone = Vec::new();
        for member in members {
            let may_be_kept_back = kept_back_since.is_some_and(|since| member.seen_in < since);
            if member.seen_in == state.sweep || seen.contains(&member.source) || may_be_kept_back {
                continue;
            }
            if member.missed + 1 < MISSES_TO_DELETE {
                vanished.missed.push(member.source);
            } else {
                gone.push(member.source);
            }
        }
        vanished.deletes = self.deletes(gone).await?;
        Ok(vanished)
    }

    /// Deletes what was missed only once, because the source itself says that it is gone.
    pub(super) async fn delete_missed(&self, vanished: Vanished) -> Result<Vanished, EhrError> {
        let mut deletes = vanished.deletes;
        deletes.extend(self.deletes(vanished.missed).await?);
        Ok(Vanished {
            missed: Vec::new(),
            deletes,
        })
    }

    async fn deletes(&self, gone: Vec<SourceKey>) -> Result<Vec<Write>, EhrError> {
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.port.known(&gone).await.map_err(store)?;
        let pairs = gone.into_iter().zip(known);
        let deletes = pairs.filter_map(|(source, known)| delete(source, known?));
        Ok(deletes.collect())
    }
}

/// The walk met something that was not kept back at the last one.
fn is_new_gap(before: &WalkState, way: &UnderWay) -> bool {
    way.gaps.iter().any(|gap| !before.gaps.contains(gap))
}

/// From which sweep on a member must have been seen to count as missed; `before` is the state without this walk's gaps.
pub(super) fn kept_back_since(before: &WalkState, way: &UnderWay) -> Option<u64> {
    if is_new_gap(before, way) {
        // A walk for changes sees only some members; those of the next sweep are the first that prove something.
        let more = u64::from(way.kind == WalkKind::Changes);
        return Some(before.sweep + more);
    }
    before.kept_back_since.filter(|_| !way.gaps.is_empty())
}

/// A tombstone, unless another persona still sees the record or it is gone already.
fn delete(source: SourceKey, known: Known) -> Option<Write> {
    if known.deleted || known.fuller_elsewhere || known.other_persona {
        return None;
    }
    Some(Write {
        source,
        local_id: known.local_id,
        action: Action::Delete,
        hash: String::new(),
        version: None,
        last_updated: known.last_updated,
        rules: known.rules,
        masked: known.masked,
        replaces: None,
        raw_at: 0..0,
    })
}
