//! Functions.
//!
//! Spec: <http://hl7.org/fhirpath/N1/#functions>, <https://hl7.org/fhir/R4/fhirpath.html#functions>

use std::borrow::Cow;
use std::cmp::Ordering;

use conformance::Definitions;

use crate::datatype::date::Precision;
use crate::datatype::reference::Reference;
use crate::fhirpath::Expression;
use crate::fhirpath::compile::is_type_or_base;
use crate::json::ValueRef;

use super::operators::{contains, distinct};
use super::{
    Collection, Element, EvalError, Evaluator, Item, Result, Scope, check_type, convert,
    index_item, math, members_of, moment, single, strings, truth,
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
            ("allTrue", []) => boolean(booleans(&on)?.iter().all(|b| *b)),
            ("anyTrue", []) => boolean(booleans(&on)?.iter().any(|b| *b)),
            ("allFalse", []) => boolean(booleans(&on)?.iter().all(|b| !*b)),
            ("anyFalse", []) => boolean(booleans(&on)?.iter().any(|b| !*b)),
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
                check_type(&type_name)?;
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
                let this = single(&on)?.cloned();
                let scope = Scope {
                    this: scope.this.clone().or(this),
                    ..scope.with_focus(on)
                };
                let criteria = self.run(criteria, &scope)?;
                let is_met = match single(&criteria)? {
                    None => false,
                    Some(item) => item.as_bool().ok_or(EvalError::WrongType)?,
                };
                let branch = if is_met { Some(then) } else { rest.first() };
                branch.map_or_else(|| Ok(Vec::new()), |branch| self.run(branch, &scope))
            }
            ("aggregate", [step, start @ ..]) if start.len() <= 1 => {
                let mut total = match start.first() {
                    Some(start) => self.run(start, scope)?,
                    None => Vec::new(),
                };
                for (index, item) in on.iter().enumerate() {
                    let scope = Scope {
                        total: Some(total),
                        ..Scope::of_item(item, index)
                    };
                    total = self.run(step, &scope)?;
                }
                Ok(total)
            }
            ("sort", keys) => self.sorted(on, keys),
            ("join", separator) if separator.len() <= 1 => {
                let separator = match separator.first() {
                    Some(separator) => self.text(separator, scope)?.unwrap_or_default(),
                    None => Cow::Borrowed(""),
                };
                let texts: Option<Vec<_>> = on.iter().map(Item::as_text).collect();
                let texts = texts.ok_or(EvalError::WrongType)?;
                one(Item::String(texts.join(&separator).into()))
            }
            ("type", []) => Ok(on.iter().map(Item::type_of).collect()),
            ("now" | "today" | "timeOfDay", []) => self.now(name),
            ("memberOf", [value_set]) => self.member_of(&on, value_set, scope),
            ("conformsTo", [profile]) => self.conforms_to(&on, profile, scope),
            ("subsumes" | "subsumedBy", [other]) => self.subsumes(&on, name, other, scope),
            ("htmlChecks", []) => boolean(on.iter().all(|item| {
                item.as_text()
                    .is_some_and(|text| crate::validate::narrative::is_safe(&text))
            })),
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
        let known = ON_SINGLE.iter().find(|(known, ..)| *known == name);
        let Some((_, least, most)) = known else {
            return Err(EvalError::Unsupported(name.into()));
        };
        if !(*least..=*most).contains(&arguments.len()) {
            return Err(EvalError::WrongType);
        }
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let found = self.argument(argument, scope)?;
            match single(&found)? {
                Some(item) => values.push(item.clone()),
                // "If length is empty, as if it had not been given."
                None if name == "substring" && values.len() == 1 => {}
                None => return Ok(Vec::new()),
            }
        }
        let Some(item) = single(on)? else {
            return Ok(Vec::new());
        };
        if name == "getValue" {
            return one(item.to_system());
        }
        if let Some(found) = convert::call(name, item) {
            return Ok(found.into_iter().collect());
        }
        if let Some(found) = math::call(name, item, &values)? {
            return Ok(found);
        }
        let text = item.as_text().ok_or(EvalError::WrongType)?;
        self.count(text.len() / 64)?;
        strings::call(name, &text, &values)?.ok_or_else(|| EvalError::Unsupported(name.into()))
    }

    /// Ordered by keys in turn; a key with a minus sign goes down, nothing goes first.
    fn sorted(&self, on: Collection<'a>, keys: &[Expression]) -> Result<Collection<'a>> {
        let own = [Expression::This];
        let keys = if keys.is_empty() { &own[..] } else { keys };
        let keys: Vec<(&Expression, bool)> = keys
            .iter()
            .map(|key| match key {
                Expression::Negate(inner) => (inner.as_ref(), true),
                key => (key, false),
            })
            .collect();
        let mut rows = Vec::with_capacity(on.len());
        for (index, item) in on.into_iter().enumerate() {
            let mut values = Vec::with_capacity(keys.len());
            for (key, _) in &keys {
                let found = self.run(key, &Scope::of_item(&item, index))?;
                values.push(single(&found)?.cloned());
            }
            rows.push((values, item));
        }
        rows.sort_by(|(a, _), (b, _)| {
            let mut pairs = a.iter().zip(b).zip(&keys);
            let order = pairs.find_map(|((a, b), (_, is_down))| {
                let order = match (a, b) {
                    (Some(a), Some(b)) => {
                        let order = a.compares(b).flatten().unwrap_or(Ordering::Equal);
                        if *is_down { order.reverse() } else { order }
                    }
                    (a, b) => a.is_some().cmp(&b.is_some()),
                };
                order.is_ne().then_some(order)
            });
            order.unwrap_or(Ordering::Equal)
        });
        Ok(rows.into_iter().map(|(_, item)| item).collect())
    }

    fn now(&self, name: &str) -> Result<Collection<'a>> {
        let Some(now) = self.environment.now else {
            return Err(EvalError::Unsupported(name.into()));
        };
        let text = now.to_fhir();
        let Some((mut date, _)) = moment::parse(&text) else {
            return Ok(Vec::new());
        };
        one(match name {
            "now" => Item::DateTime(date),
            "today" => {
                date.precision = Precision::Day;
                Item::Date(date)
            }
            _ => Item::Time(text.get(11..23).unwrap_or_default().to_owned().into()),
        })
    }

    fn member_of(
        &self,
        on: &[Item<'a>],
        value_set: &Expression,
        scope: &Scope<'a>,
    ) -> Result<Collection<'a>> {
        let (Some(item), Some(url)) = (single(on)?, self.text(value_set, scope)?) else {
            return Ok(Vec::new());
        };
        let Item::Element(element) = item else {
            return Err(EvalError::WrongType);
        };
        let knowledge = self.environment.knowledge;
        match knowledge.and_then(|k| k.member_of(element.value, &url)) {
            Some(is_member) => boolean(is_member),
            None => Err(EvalError::Unsupported("memberOf".into())),
        }
    }

    fn conforms_to(
        &self,
        on: &[Item<'a>],
        profile: &Expression,
        scope: &Scope<'a>,
    ) -> Result<Collection<'a>> {
        let (Some(item), Some(url)) = (single(on)?, self.text(profile, scope)?) else {
            return Ok(Vec::new());
        };
        let Item::Element(element) = item else {
            return Err(EvalError::WrongType);
        };
        let base = url.strip_prefix("http://hl7.org/fhir/StructureDefinition/");
        if let Some(name) = base.filter(|name| Definitions::r4().type_kind(name).is_some()) {
            return boolean(is_type_or_base(element.type_path, name));
        }
        let knowledge = self.environment.knowledge;
        match knowledge.and_then(|k| k.conforms_to(*element, &url)) {
            Some(conforms) => boolean(conforms),
            None => Err(EvalError::Unsupported(
                "conformsTo an unknown profile".into(),
            )),
        }
    }

    fn subsumes(
        &self,
        on: &[Item<'a>],
        name: &str,
        other: &Expression,
        scope: &Scope<'a>,
    ) -> Result<Collection<'a>> {
        let other = self.argument(other, scope)?;
        let (Some(on), Some(other)) = (single(on)?, single(&other)?) else {
            return Ok(Vec::new());
        };
        let coding =
            |item: &Item<'a>| Some((member_text(item, "system")?, member_text(item, "code")?));
        let (Some((system, code)), Some((other_system, other_code))) = (coding(on), coding(other))
        else {
            return Err(EvalError::WrongType);
        };
        if system != other_system {
            return boolean(false);
        }
        let (general, special) = match name {
            "subsumes" => (&code, &other_code),
            _ => (&other_code, &code),
        };
        let knowledge = self.environment.knowledge;
        match knowledge.and_then(|k| k.subsumes(&system, general, special)) {
            Some(subsumes) => boolean(subsumes),
            None => Err(EvalError::Unsupported(name.into())),
        }
    }
}

fn booleans(items: &[Item<'_>]) -> Result<Vec<bool>> {
    let booleans: Option<Vec<bool>> = items.iter().map(Item::as_bool).collect();
    booleans.ok_or(EvalError::WrongType)
}

/// Functions on one value, with the least and the greatest number of their arguments.
const ON_SINGLE: &[(&str, usize, usize)] = &[
    ("getValue", 0, 0),
    ("toString", 0, 0),
    ("toInteger", 0, 0),
    ("toDecimal", 0, 0),
    ("toBoolean", 0, 0),
    ("toQuantity", 0, 1),
    ("toDate", 0, 0),
    ("toDateTime", 0, 0),
    ("toTime", 0, 0),
    ("convertsToInteger", 0, 0),
    ("convertsToDecimal", 0, 0),
    ("convertsToBoolean", 0, 0),
    ("convertsToString", 0, 0),
    ("convertsToQuantity", 0, 1),
    ("convertsToDate", 0, 0),
    ("convertsToDateTime", 0, 0),
    ("convertsToTime", 0, 0),
    ("abs", 0, 0),
    ("ceiling", 0, 0),
    ("floor", 0, 0),
    ("truncate", 0, 0),
    ("round", 0, 1),
    ("sqrt", 0, 0),
    ("exp", 0, 0),
    ("ln", 0, 0),
    ("log", 1, 1),
    ("power", 1, 1),
    ("lowBoundary", 0, 1),
    ("highBoundary", 0, 1),
    ("precision", 0, 0),
    ("comparable", 1, 1),
    ("startsWith", 1, 1),
    ("endsWith", 1, 1),
    ("contains", 1, 1),
    ("indexOf", 1, 1),
    ("lastIndexOf", 1, 1),
    ("replace", 2, 2),
    ("matches", 1, 1),
    ("matchesFull", 1, 1),
    ("replaceMatches", 2, 2),
    ("length", 0, 0),
    ("upper", 0, 0),
    ("lower", 0, 0),
    ("trim", 0, 0),
    ("toChars", 0, 0),
    ("split", 1, 1),
    ("encode", 1, 1),
    ("decode", 1, 1),
    ("escape", 1, 1),
    ("unescape", 1, 1),
    ("substring", 1, 2),
];

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
