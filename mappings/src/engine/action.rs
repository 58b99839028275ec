//! What a message says about identities: merges, moves, changes of number, links.
//!
//! HL7 v2 chapter 3, "Merging patient/person information" (<https://www.hl7.eu/HL7v2x/v291/std291/ch03.html>).
//! Left out on purpose: doing it. The server knows what is stored.

use fhir_core::json::Value;

use super::{Run, Slot};
use crate::error::MapError;
use crate::identity::Identity;
use crate::language::{ActionRule, Made};
use crate::output::{Action, ActionKind, Code, Produced};
use crate::path::Path;
use crate::revision::{Revision, Span};
use crate::scope::{Content, Place};

impl<'a> Run<'a> {
    /// All actions, in the order of the rules and of the message.
    pub(super) fn actions(&mut self, rules: &'a [ActionRule]) -> Result<Vec<Action>, MapError> {
        let mut actions = Vec::new();
        for rule in rules {
            self.rule_name = rule.kind.as_str();
            self.target.clear();
            for place in self.rule_places(&rule.each) {
                if rule
                    .when
                    .as_ref()
                    .is_some_and(|when| !self.holds(when, &place))
                {
                    continue;
                }
                actions.extend(self.action(rule, &place)?);
            }
        }
        Ok(actions)
    }

    fn action(
        &mut self,
        rule: &'a ActionRule,
        place: &Place<'a>,
    ) -> Result<Option<Action>, MapError> {
        let missing = |made: &Made| MapError::NoIdentity {
            rule: made.rule.to_string(),
            place: self.name(place),
        };
        let into = self
            .party(&rule.into, place)
            .ok_or_else(|| missing(&rule.into))?;
        let into = into.identity.clone();
        let from = match &rule.from {
            None => None,
            Some(made) => match self.party(made, place) {
                Some(found) => Some(found),
                // A move need not say whose it was.
                None if rule.kind == ActionKind::Move => None,
                None => return Err(missing(made)),
            },
        };
        let what = match &rule.what {
            None => None,
            Some(made) => Some(self.party(made, place).ok_or_else(|| missing(made))?),
        };
        let what = what.map(|w| w.identity.clone());
        let (from_identity, from_aliases, from_identifiers) = match from {
            None => (None, Vec::new(), Vec::new()),
            Some(from) => (
                Some(from.identity.clone()),
                from.aliases.clone(),
                identifiers(from),
            ),
        };
        if from_identity
            .as_ref()
            .is_some_and(|from: &Identity| from.id == into.id)
        {
            // The second of two persons is compared with the first; the first with itself is no news.
            if !matches!(rule.kind, ActionKind::Link | ActionKind::Unlink) {
                self.issue(Code::SameIdentity, Some(place));
            }
            return Ok(None);
        }
        Ok(Some(Action {
            kind: rule.kind,
            what,
            from: from_identity,
            into,
            from_aliases,
            from_identifiers,
            revision: self.revision(&rule.revision, place),
            rule: rule.kind.as_str().into(),
            source: self.scope.position(place),
        }))
    }

    /// The resource a rule made, for an action at a place.
    fn party(&self, made: &Made, place: &Place<'a>) -> Option<&Produced> {
        match place {
            Place::Hl7(here) if !made.first => self.nearest(&made.rule, here.segment),
            _ => {
                let first = self.made.get(&*made.rule)?.first()?;
                self.at(first.slot)
            }
        }
    }

    pub(super) fn at(&self, slot: Slot) -> Option<&Produced> {
        match slot {
            Slot::Produced(index) => self.produced.get(index),
            Slot::Referred(index) => self.referred.get(index),
        }
    }

    /// The source's own time by the first path that holds one; without paths MSH-7.
    pub(super) fn revision(&self, paths: &[Path], place: &Place<'a>) -> Option<Revision> {
        let changed = paths.iter().find_map(|path| {
            let (at, _) = self.scope.one(place, path)?;
            match self.scope.content(&at) {
                Content::Text(text, _) => Span::of(text.trim(), &self.tools.clock),
                _ => None,
            }
        });
        Some(Revision {
            changed: changed.or_else(|| self.sent.clone())?,
            sent: self.sent.clone(),
        })
    }
}

fn identifiers(from: &Produced) -> Vec<Value> {
    match from.value.get("identifier") {
        Some(Value::Array(items)) => items.clone(),
        _ => Vec::new(),
    }
}
