//! What names a resource: the ways of its identity, tried in order, and what else names the same thing.
//!
//! Left out on purpose: how an id is made of a key; see [`crate::identity`].

use super::{Run, plain_text};
use crate::identity::{Identity, derive_id};
use crate::language::{KeyPart, Way};
use crate::scope::Place;

impl<'a> Run<'a> {
    /// The identity by the first way that gives one, and those its other identifiers would have given.
    pub(super) fn identity(
        &mut self,
        resource_type: &str,
        ways: &'a [Way],
        place: &Place<'a>,
    ) -> Option<(Identity, Vec<Identity>)> {
        let mut first: Option<Identity> = None;
        let mut aliases: Vec<Identity> = Vec::new();
        for (index, way) in ways.iter().enumerate() {
            let Some(path) = &way.each else {
                if first.is_none() {
                    first = self.by_way(resource_type, index, way, place, true);
                }
                continue;
            };
            if first.is_some() && way.weak {
                continue;
            }
            for at in self.scope.many(place, path) {
                let found = self.by_way(resource_type, index, way, &at, first.is_none());
                let Some(found) = found else { continue };
                match &first {
                    None => first = Some(found),
                    Some(known) if known.id == found.id || way.weak => {}
                    Some(_) if aliases.iter().any(|alias| alias.id == found.id) => {}
                    Some(_) => aliases.push(found),
                }
            }
        }
        first.map(|first| (first, aliases))
    }

    fn by_way(
        &mut self,
        resource_type: &str,
        index: usize,
        way: &'a Way,
        place: &Place<'a>,
        tells: bool,
    ) -> Option<Identity> {
        if way
            .when
            .as_ref()
            .is_some_and(|when| !self.holds(when, place))
        {
            return None;
        }
        let quiet = std::mem::replace(&mut self.quiet, true);
        let parts = self.key(&way.key, place);
        self.quiet = quiet;
        let parts = parts?;
        if let (Some(code), true) = (way.issue, tells) {
            self.issue(code, Some(place));
        }
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        let id = derive_id(&self.tools.context.id_namespace, resource_type, &parts);
        Some(Identity {
            resource_type: resource_type.into(),
            id: id.into(),
            way: index,
            namespace: self.tools.context.id_namespace.as_str().into(),
            parts: parts.iter().map(|part| Box::from(*part)).collect(),
        })
    }

    /// The parts of a key; `None` when one is missing.
    fn key(&mut self, key: &'a [KeyPart], place: &Place<'a>) -> Option<Vec<String>> {
        let lineage = self.lineage.len();
        let mut parts = Vec::with_capacity(key.len());
        for part in key {
            let value = match part {
                KeyPart::Reference(to) => self.referred(to, place),
                KeyPart::OptionalReference(to) => {
                    Some(self.referred(to, place).unwrap_or_default())
                }
                KeyPart::Here => Some(self.name(place)),
                KeyPart::Read(read) => self.read(read, place).and_then(|v| plain_text(&v)),
                KeyPart::Optional(read) => Some(
                    self.read(read, place)
                        .and_then(|v| plain_text(&v))
                        .unwrap_or_default(),
                ),
            };
            self.lineage.truncate(lineage);
            parts.push(value?);
        }
        Some(parts)
    }
}
