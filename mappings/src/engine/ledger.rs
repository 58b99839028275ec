//! The ledger of a run: which leaves arrived in a resource, and which are ignored on purpose.
//!
//! Left out on purpose: what was merely looked at. Only what arrived counts.

use super::Run;
use crate::language::{Body, MessageMapping};
use crate::output::Ledger;
use crate::path::{Base, Path};
use crate::scope::Place;
use crate::source::SourceTree;

impl Run<'_> {
    /// Everything that arrived, and everything ignored on purpose.
    pub(super) fn ledger(&self, mapping: &MessageMapping) -> Ledger {
        let mut ledger = empty_ledger(self.scope.source);
        for entry in self
            .produced
            .iter()
            .chain(&self.referred)
            .flat_map(|p| &p.lineage)
        {
            ledger.mark(entry.leaves.clone());
        }
        let templates = mapping.rules.iter().filter_map(|rule| match rule.body {
            Body::Type(index) => self.library.template(index),
            Body::Inline(_) => None,
        });
        for path in mapping
            .ignored
            .iter()
            .chain(templates.flat_map(|t| &t.ignored))
        {
            self.ignore(path, &mut ledger);
        }
        ledger
    }

    pub(super) fn ignore(&self, path: &Path, ledger: &mut Ledger) {
        let places = match (path, self.scope.source) {
            (Path::Hl7(hl7), _) => match hl7.base {
                Base::Segment(id) => self.scope.segments_everywhere(id),
                Base::Value(_) => Vec::new(),
            }
            .into_iter()
            .map(|s| self.scope.segment_place(s))
            .collect(),
            (Path::Json(_), SourceTree::Json(document)) => vec![Place::Json(document.root())],
            (Path::Json(_), SourceTree::Hl7v2(_)) => Vec::new(),
        };
        for place in places {
            for found in self.scope.many(&place, path) {
                ledger.mark(self.scope.leaves(&found));
            }
        }
    }
}

fn empty_ledger(source: &SourceTree) -> Ledger {
    match source {
        SourceTree::Hl7v2(tree) => Ledger {
            used: vec![false; tree.leaf_count() as usize],
        },
        SourceTree::Json(document) => {
            // Only nodes with content can be lost; objects, arrays and names count as used.
            let mut used = Vec::new();
            crate::json::leaves(document.root(), &mut |node| {
                used.resize(node as usize, true);
                used.push(false);
            });
            Ledger { used }
        }
    }
}
