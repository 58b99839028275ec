//! Functions.
//!
//! Spec: <http://hl7.org/fhirpath/N1/#functions>, <https://hl7.org/fhir/R4/fhirpath.html#functions>

use std::borrow::Cow;

use conformance::Definitions;

use crate::datatype::decimal::Decimal;
use crate::datatype::reference::Reference;
use crate::fhirpath::Expression;
use crate::json::ValueRef;

use super::operators::{contains, distinct};
use super::{
    Collection, Element, EvalError, Evaluator, Item, Result, Scope, index_item, members_of, single,
    truth,
};

fn one<'a>(item: Item<'a>) -> Result<Collection<'a>> {
    Ok(vec![item])
}

fn boolean<'a>(value: bool) -> Result<Collection<'a>> {
    one(Item::Boolean(value))
}

impl<'a> Evaluator<'a> {
    pub(super) fn function(
        &self,
        on: Collection<'a>,
        name: &str,
        arguments: &[Expression],
        scope: &Scope<'a>,
    ) -> Result<Collection<'a>> {
        match (name, arguments) {
            // Existence
            ("empty", []) => boolean(on.is_empty()),
            ("exists", []) => boolean(!on.is_empty()),
            ("exists", [criteria]) => boolean(!self.filtered(on, criteria)?.is_empty()),
            ("not", []) => Ok(truth(&on)?.map(|t| Item::Boolean(!t)).into_iter().collect()),
            ("all", [criteria]) => {
                let count = on.len();
                boolean(self.filtered(on, criteria)?.len() == count)
            }
            ("allTrue", []) => boolean(on.iter().all(|i| i.as_bool() == Some(true))),
            ("anyTrue", []) => boolean(on.iter().any(|i| i.as_bool() == Some(true))),
            ("allFalse", []) => boolean(on.iter().all(|i| i.as_bool() == Some(false))),
            ("anyFalse", []) => boolean(on.iter().any(|i| i.as_bool() == Some(false))),
            ("subsetOf", [other]) => {
                let other = self.argument(other, scope)?;
                boolean(on.iter().all(|i| contains(&other, i)))
            }
            ("supersetOf", [other]) => {
                let other = self.argument(other, scope)?;
                boolean(other.iter().all(|i| contains(&on, i)))
            }
            ("count", []) => one(index_item(on.len())),
            ("distinct", []) => Ok(distinct(on.into_iter())),
            ("isDistinct", []) => boolean(distinct(on.iter().cloned()).len() == on.len()),
            ("hasValue", []) => boolean(
                matches!(on.as_slice(), [Item::Element(e)] if e.value.primitive_text().is_some()),
            ),
            // Filtering and projection
            ("where", [criteria]) => self.filtered(on, criteria),
            ("select", [projection]) => self.selected(&on, projection),
            ("repeat", [projection]) => self.repeated(on, projection),
            ("as" | "ofType" | "is", [type_name]) => {
                let type_name = type_name.as_type_name().ok_or(EvalError::WrongType)?;
                if name == "is" {
                    let item = single(&on)?.map(|item| Item::Boolean(item.is_of(&type_name)));
                    return Ok(item.into_iter().collect());
                }
                Ok(on
                    .into_iter()
                    .filter(|i| i.is_selected_by(&type_name))
                    .collect())
            }
            ("extension", [url]) => {
                let url = self.text(url, scope)?;
                let mut found = self.members(&on, "extension")?;
                found.retain(|item| url.is_some() && member_text(item, "url") == url);
                Ok(found)
            }
            ("resolve", []) => Ok(on.iter().filter_map(|i| self.resolved(i)).collect()),
            ("children", []) => Ok(on.iter().flat_map(children).collect()),
            ("descendants", []) => self.descendants(&on),
            ("iif", [criteria, then, rest @ ..]) if rest.len() <= 1 => {
                let scope = scope.with_focus(on);
                let branch = if truth(&self.run(criteria, &scope)?)? == Some(true) {
                    Some(then)
                } else {
                    rest.first()
                };
                branch.map_or_else(|| Ok(Vec::new()), |branch| self.run(branch, &scope))
            }
            ("trace", [_, ..]) => Ok(on),
            _ => match self.subset(&on, name, arguments, scope)? {
                Some(found) => Ok(found),
                None => self.on_single(&on, name, arguments, scope),
            },
        }
    }

    /// An argument that is a value: asked of `$this`, or of the focus outside a criteria.
    fn argument(&self, argument: &Expression, scope: &Scope<'a>) -> Result<Collection<'a>> {
        self.run(argument, scope)
    }

    fn text(&self, argument: &Expression, scope: &Scope<'a>) -> Result<Option<Cow<'a, str>>> {
        let found = self.argument(argument, scope)?;
        Ok(single(&found)?.and_then(Item::as_text))
    }

    fn filtered(&self, on: Collection<'a>, criteria: &Expression) -> Result<Collection<'a>> {
        let mut kept = Vec::new();
        for (index, item) in on.into_iter().enumerate() {
            if truth(&self.run(criteria, &Scope::of_item(&item, index))?)? == Some(true) {
                kept.push(item);
            }
        }
        Ok(kept)
    }

    fn selected(&self, on: &[Item<'a>], projection: &Expression) -> Result<Collection<'a>> {
        let mut found = Vec::new();
        for (index, item) in on.iter().enumerate() {
            found.extend(self.run(projection, &Scope::of_item(item, index))?);
        }
        Ok(found)
    }

    fn repeated(&self, on: Collection<'a>, projection: &Expression) -> Result<Collection<'a>> {
        let mut found: Collection<'a> = Vec::new();
        let mut next = on;
        while !next.is_empty() {
            let mut fresh = Vec::new();
            for item in self.selected(&next, projection)? {
                self.count(found.len())?;
                if !contains(&found, &item) {
                    found.push(item.clone());
                    fresh.push(item);
                }
            }
            next = fresh;
        }
        Ok(found)
    }

    fn descendants(&self, on: &[Item<'a>]) -> Result<Collection<'a>> {
        let mut found: Collection<'a> = on.iter().flat_map(children).collect();
        let mut done = 0;
        while let Some(item) = found.get(done).cloned() {
            self.count(1)?;
            found.extend(children(&item));
            done += 1;
        }
        Ok(found)
    }

    /// Where a reference leads: a contained resource, or the type it names.
    fn resolved(&self, item: &Item<'a>) -> Option<Item<'a>> {
        let text = member_text(item, "reference").or_else(|| item.as_text());
        let named = member_text(item, "type").and_then(|t| Definitions::r4().resource_type(&t));
        let resource_type = match Reference::parse(text.as_deref().unwrap_or(""), &[]) {
            Some(Reference::Contained(id)) => {
                let contained = self.root.value.get("contained").into_iter();
                let is_it =
                    |r: &ValueRef<'_>| r.get("id").and_then(|i| i.as_str()).as_deref() == Some(id);
                return contained
                    .flat_map(ValueRef::each)
                    .find(is_it)
                    .map(|r| Item::Element(Element::resource(r)));
            }
            Some(Reference::Local { key, .. }) => Some(key.resource_type),
            Some(Reference::Absolute { resource_type, .. }) => resource_type.or(named),
            Some(Reference::Conditional { resource_type, .. }) => Some(resource_type),
            Some(Reference::Urn(_)) | None => named,
        };
        resource_type.map(Item::Resolved)
    }

    /// Functions that take part of a collection or join two.
    fn subset(
        &self,
        on: &[Item<'a>],
        name: &str,
        arguments: &[Expression],
        scope: &Scope<'a>,
    ) -> Result<Option<Collection<'a>>> {
        Ok(Some(match (name, arguments) {
            ("first", []) => on.first().cloned().into_iter().collect(),
            ("last", []) => on.last().cloned().into_iter().collect(),
            ("tail", []) => on.iter().skip(1).cloned().collect(),
            ("single", []) => single(on)?.cloned().into_iter().collect(),
            ("skip", [count]) => {
                let count = self.whole_number(count, scope)?.unwrap_or(0);
                on.iter().skip(count).cloned().collect()
            }
            ("take", [count]) => {
                let count = self.whole_number(count, scope)?.unwrap_or(0);
                on.iter().take(count).cloned().collect()
            }
            ("union", [other]) => {
                let other = self.argument(other, scope)?;
                distinct(on.iter().cloned().chain(other))
            }
            ("combine", [other]) => {
                let other = self.argument(other, scope)?;
                on.iter().cloned().chain(other).collect()
            }
            ("intersect", [other]) => {
                let other = self.argument(other, scope)?;
                distinct(on.iter().filter(|i| contains(&other, i)).cloned())
            }
            ("exclude", [other]) => {
                let other = self.argument(other, scope)?;
                on.iter()
                    .filter(|i| !contains(&other, i))
                    .cloned()
                    .collect()
            }
            _ => return Ok(None),
        }))
    }

    /// Functions on one value; of nothing they make nothing.
    fn on_single(
        &self,
        on: &[Item<'a>],
        name: &str,
        arguments: &[Expression],
        scope: &Scope<'a>,
    ) -> Result<Collection<'a>> {
        let unsupported = || EvalError::Unsupported(name.into());
        if !is_known_on_single(name) {
            return Err(unsupported());
        }
        let Some(item) = single(on)? else {
            return Ok(Vec::new());
        };
        let texts: Vec<Option<Cow<'a, str>>> = match name {
            "startsWith" | "endsWith" | "contains" | "indexOf" | "replace" => arguments
                .iter()
                .map(|a| self.text(a, scope))
                .collect::<Result<_>>()?,
            _ => Vec::new(),
        };
        if texts.iter().any(Option::is_none) {
            return Ok(Vec::new());
        }
        let found = match (name, texts.as_slice()) {
            ("toString", _) => item.to_text().map(Item::String),
            ("toInteger", _) => to_integer(item),
            ("toDecimal", _) => to_decimal(item),
            ("toBoolean", _) => to_boolean(item),
            ("convertsToInteger", _) => Some(Item::Boolean(to_integer(item).is_some())),
            ("convertsToDecimal", _) => Some(Item::Boolean(to_decimal(item).is_some())),
            ("convertsToBoolean", _) => Some(Item::Boolean(to_boolean(item).is_some())),
            ("convertsToString", _) => Some(Item::Boolean(item.to_text().is_some())),
            ("getValue", _) => Some(item.to_system()),
            ("abs", _) => item.as_number().map(|n| Item::Number {
                is_integer: matches!(
                    item.to_system(),
                    Item::Number {
                        is_integer: true,
                        ..
                    }
                ),
                value: if n.is_negative() { n.negated() } else { n },
            }),
            _ => {
                let text = item.as_text().ok_or(EvalError::WrongType)?;
                match (name, texts.as_slice()) {
                    ("startsWith", [Some(part)]) => {
                        Some(Item::Boolean(text.starts_with(part.as_ref())))
                    }
                    ("endsWith", [Some(part)]) => {
                        Some(Item::Boolean(text.ends_with(part.as_ref())))
                    }
                    ("contains", [Some(part)]) => Some(Item::Boolean(text.contains(part.as_ref()))),
                    ("indexOf", [Some(part)]) => Some(match text.find(part.as_ref()) {
                        Some(at) => index_item(text.chars().take_while_bytes(at)),
                        None => Item::integer(-1),
                    }),
                    ("replace", [Some(old), Some(new)]) => {
                        Some(Item::String(text.replace(old.as_ref(), new).into()))
                    }
                    ("length", _) => Some(index_item(text.chars().count())),
                    ("upper", _) => Some(Item::String(text.to_uppercase().into())),
                    ("lower", _) => Some(Item::String(text.to_lowercase().into())),
                    ("toChars", _) => {
                        return Ok(text
                            .chars()
                            .map(|c| Item::String(c.to_string().into()))
                            .collect());
                    }
                    ("substring", _) => self.substring(&text, arguments, scope)?,
                    _ => return Err(unsupported()),
                }
            }
        };
        Ok(found.into_iter().collect())
    }

    fn substring(
        &self,
        text: &str,
        arguments: &[Expression],
        scope: &Scope<'a>,
    ) -> Result<Option<Item<'a>>> {
        let Some(start) = arguments.first() else {
            return Err(EvalError::WrongType);
        };
        let Some(start) = self.whole_number(start, scope)? else {
            return Ok(None);
        };
        let length = match arguments.get(1) {
            Some(length) => self.whole_number(length, scope)?.unwrap_or(0),
            None => usize::MAX,
        };
        if start >= text.chars().count() {
            return Ok(None);
        }
        let part: String = text.chars().skip(start).take(length).collect();
        Ok(Some(Item::String(part.into())))
    }
}

/// Characters before a byte offset.
trait TakeWhileBytes {
    fn take_while_bytes(self, bytes: usize) -> usize;
}

impl TakeWhileBytes for std::str::Chars<'_> {
    fn take_while_bytes(self, bytes: usize) -> usize {
        let mut seen = 0;
        self.take_while(|c| {
            let is_before = seen < bytes;
            seen += c.len_utf8();
            is_before
        })
        .count()
    }
}

fn is_known_on_single(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "toString",
        "toInteger",
        "toDecimal",
        "toBoolean",
        "convertsToInteger",
        "convertsToDecimal",
        "convertsToBoolean",
        "convertsToString",
        "getValue",
        "abs",
        "startsWith",
        "endsWith",
        "contains",
        "indexOf",
        "replace",
        "length",
        "upper",
        "lower",
        "toChars",
        "substring",
    ];
    NAMES.contains(&name)
}

fn to_integer<'a>(item: &Item<'a>) -> Option<Item<'a>> {
    match item.to_system() {
        Item::Number {
            value,
            is_integer: true,
        } => Some(Item::Number {
            value,
            is_integer: true,
        }),
        Item::Boolean(value) => Some(Item::integer(i64::from(value))),
        Item::String(text) => {
            let digits = text.strip_prefix('+').unwrap_or(&text);
            digits.parse().ok().map(Item::integer)
        }
        _ => None,
    }
}

fn to_decimal<'a>(item: &Item<'a>) -> Option<Item<'a>> {
    let value = match item.to_system() {
        Item::Number { value, .. } => value,
        Item::Boolean(value) => Decimal::from(i64::from(value)),
        Item::String(text) => Decimal::parse(text.strip_prefix('+').unwrap_or(&text)).ok()?,
        _ => return None,
    };
    Some(Item::Number {
        value,
        is_integer: false,
    })
}

fn to_boolean<'a>(item: &Item<'a>) -> Option<Item<'a>> {
    let value = match item.to_system() {
        Item::Boolean(value) => value,
        Item::Number { value, .. } if value == Decimal::from(1) => true,
        Item::Number { value, .. } if value.is_zero() => false,
        Item::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" | "1.0" => true,
            "false" | "f" | "no" | "n" | "0" | "0.0" => false,
            _ => return None,
        },
        _ => return None,
    };
    Some(Item::Boolean(value))
}

fn member_text<'a>(item: &Item<'a>, name: &str) -> Option<Cow<'a, str>> {
    match item {
        Item::Element(element) => element.value.get(name).and_then(ValueRef::as_str),
        _ => None,
    }
}

/// All immediate children that the definitions know.
fn children<'a>(item: &Item<'a>) -> Collection<'a> {
    let mut found = Vec::new();
    if let Item::Element(element) = item {
        if element.value.is_object() {
            for child in Definitions::r4().elements(element.type_path) {
                members_of(element, child.base_name(), &mut found);
            }
        } else {
            members_of(element, "extension", &mut found);
        }
    }
    found
}
