//! Reads a StructureDefinition: its snapshot, or its differential over the base.
//!
//! Spec: <https://hl7.org/fhir/R4/profiling.html#snapshot>, <https://hl7.org/fhir/R4/elementdefinition.html#id>

use std::collections::HashMap;
use std::sync::Arc;

use conformance::{BindingStrength, Definitions};

use super::{
    BindingRule, Constraint, Discriminator, DiscriminatorKind, Fixed, Node, Profile, Slice,
    Slicing, Strength, TypeRule,
};
use crate::fhirpath::parse;
use crate::issue::Severity;
use crate::json::{Document, ValueRef};
use crate::terminology::Catalogue;

const STRUCTURE_URL: &str = "http://hl7.org/fhir/StructureDefinition/";

/// Elements of one profile at most; the largest published have some thousand.
const ELEMENTS_MAX: usize = 20_000;

fn text(value: ValueRef<'_>, name: &str) -> Option<String> {
    value
        .get(name)
        .and_then(ValueRef::as_str)
        .map(|t| t.into_owned())
}

fn texts(value: ValueRef<'_>, name: &str) -> Vec<String> {
    let items = value.get(name).into_iter().flat_map(ValueRef::each);
    items
        .filter_map(|item| item.as_str().map(|t| t.into_owned()))
        .collect()
}

impl Profile {
    /// `None` for a definition that constrains no known type, or whose base is not known.
    pub(crate) fn read(catalogue: &Catalogue, root: ValueRef<'_>, depth: usize) -> Option<Profile> {
        let url = text(root, "url")?;
        let type_name = text(root, "type")?;
        Definitions::r4().type_kind(&type_name)?;
        if text(root, "derivation").as_deref() == Some("specialization") {
            return None;
        }
        let elements = |part: &str| -> Vec<ValueRef<'_>> {
            let list = root.get(part).and_then(|p| p.get("element"));
            list.into_iter()
                .flat_map(ValueRef::items)
                .take(ELEMENTS_MAX)
                .collect()
        };
        let snapshot = elements("snapshot");
        let (mut node, elements) = if snapshot.is_empty() {
            let base = text(root, "baseDefinition")?;
            let is_core = base
                .strip_prefix(STRUCTURE_URL)
                .is_some_and(|name| Definitions::r4().type_kind(name).is_some());
            let node = if is_core {
                Node::default()
            } else {
                catalogue.profile_at(&base, depth + 1)?.root.clone()
            };
            (node, elements("differential"))
        } else {
            (Node::default(), snapshot)
        };
        let mut reader = Reader {
            type_name: &type_name,
            ids: HashMap::new(),
        };
        for element in elements {
            reader.add(&mut node, element);
        }
        node.name.clone_from(&type_name);
        Some(Profile {
            url,
            type_name,
            root: node,
        })
    }
}

struct Reader<'a> {
    type_name: &'a str,
    /// The id of the element last seen at a path, for definitions without ids.
    ids: HashMap<String, String>,
}

impl Reader<'_> {
    fn add(&mut self, root: &mut Node, element: ValueRef<'_>) {
        let Some(path) = text(element, "path") else {
            return;
        };
        let id = text(element, "id").unwrap_or_else(|| {
            let own = match path.rsplit_once('.') {
                Some((parent, name)) => {
                    let parent = self.ids.get(parent).map_or(parent, String::as_str);
                    format!("{parent}.{name}")
                }
                None => path.clone(),
            };
            match text(element, "sliceName") {
                Some(slice) => format!("{own}:{slice}"),
                None => own,
            }
        });
        self.ids.insert(path, id.clone());
        let (mut node, mut type_path) = (root, self.type_name.to_owned());
        // A slice's name may hold a point only by mistake; names that hold one are not found and stay unchecked.
        for segment in id.split('.').skip(1) {
            let (name, slice) = match segment.split_once(':') {
                Some((name, slice)) => (name.to_owned(), Some(slice.to_owned())),
                None => (segment.to_owned(), None),
            };
            let (name, slice) = chosen(&type_path, name, slice);
            type_path = next_type(&type_path, &name, slice.as_deref(), node);
            node = enter(node, &name, slice);
        }
        fill(node, element, &id);
    }
}

/// `valueQuantity` where the type has `value[x]` is that choice's slice of type Quantity.
fn chosen(type_path: &str, name: String, slice: Option<String>) -> (String, Option<String>) {
    match Definitions::r4().element(type_path, &name) {
        Some(found) if found.element.is_choice() => {
            let slice = slice.or(Some(name));
            (found.element.name.to_owned(), slice)
        }
        _ => (name, slice),
    }
}

fn next_type(type_path: &str, name: &str, slice: Option<&str>, node: &Node) -> String {
    let definitions = Definitions::r4();
    if let Some(found) = definitions.element(type_path, name) {
        return found.type_path().to_owned();
    }
    let by_slice = slice.and_then(|slice| definitions.element(type_path, slice));
    if let Some(found) = by_slice {
        return found.type_path().to_owned();
    }
    // A choice narrowed to one type has that type's children.
    let known = node.child(name).filter(|child| child.types.len() == 1);
    known
        .and_then(|child| child.types.first())
        .map_or_else(String::new, |t| t.code.clone())
}

fn enter<'n>(node: &'n mut Node, name: &str, slice: Option<String>) -> &'n mut Node {
    let at = match node.children.iter().position(|child| child.name == name) {
        Some(at) => at,
        None => {
            node.children.push(Node {
                name: name.to_owned(),
                ..Node::default()
            });
            node.children.len() - 1
        }
    };
    let Some(slice) = slice else {
        return &mut node.children[at];
    };
    let child = &mut node.children[at];
    let at = match child.slices.iter().position(|known| known.name == slice) {
        Some(at) => at,
        None => {
            child.slices.push(Slice {
                name: slice,
                node: Node {
                    name: name.to_owned(),
                    ..Node::default()
                },
            });
            child.slices.len() - 1
        }
    };
    &mut child.slices[at].node
}

/// Sets what the element says; what it does not say stays as the base has it.
fn fill(node: &mut Node, element: ValueRef<'_>, id: &str) {
    let number = |name: &str| {
        element
            .get(name)
            .and_then(ValueRef::number_text)
            .and_then(|n| n.parse().ok())
    };
    let is_root = !id.contains('.');
    if !is_root {
        node.min = number("min").or(node.min);
        if let Some(max) = text(element, "max") {
            node.max = Some(max.parse().ok());
        }
    }
    if let Some(length) = number("maxLength") {
        node.length_max = usize::try_from(length).ok();
    }
    let types: Vec<TypeRule> = element
        .get("type")
        .into_iter()
        .flat_map(ValueRef::items)
        .filter_map(|kind| {
            Some(TypeRule {
                code: text(kind, "code")?,
                profiles: texts(kind, "profile"),
                targets: texts(kind, "targetProfile"),
            })
        })
        .collect();
    if !types.is_empty() && !is_root {
        node.types = types;
    }
    for (name, value) in element.members() {
        let fixed = || {
            Document::parse(value.raw().as_bytes())
                .ok()
                .map(|d| Fixed(Arc::new(d)))
        };
        if name.starts_with("fixed") {
            node.fixed = fixed();
        } else if name.starts_with("pattern") {
            node.pattern = fixed();
        }
    }
    if let Some(binding) = element.get("binding") {
        node.binding = binding_rule(binding, element);
    }
    if let Some(slicing) = element.get("slicing") {
        node.slicing = Some(read_slicing(slicing));
    }
    for constraint in element
        .get("constraint")
        .into_iter()
        .flat_map(ValueRef::items)
    {
        add_constraint(node, constraint);
    }
}

/// Bindings that R4 itself makes are not the profile's, and are checked with the structure.
fn binding_rule(binding: ValueRef<'_>, element: ValueRef<'_>) -> Option<BindingRule> {
    let strength = match text(binding, "strength")?.as_str() {
        "required" => Strength::Required,
        "extensible" => Strength::Extensible,
        _ => return None,
    };
    let value_set = text(binding, "valueSet")?;
    let path = text(element, "path").unwrap_or_default();
    let (parent, name) = path.rsplit_once('.').unwrap_or_default();
    let own = Definitions::r4()
        .elements(parent)
        .iter()
        .find(|e| e.name == name)
        .and_then(|e| e.binding);
    let is_own = own.is_some_and(|own| {
        own.value_set == value_set.split('|').next().unwrap_or_default()
            && match own.strength {
                BindingStrength::Required => true,
                BindingStrength::Extensible => strength == Strength::Extensible,
                _ => false,
            }
    });
    (!is_own).then_some(BindingRule {
        strength,
        value_set,
    })
}

fn read_slicing(slicing: ValueRef<'_>) -> Slicing {
    let discriminators = slicing
        .get("discriminator")
        .into_iter()
        .flat_map(ValueRef::items);
    Slicing {
        discriminators: discriminators
            .filter_map(|d| {
                Some(Discriminator {
                    kind: match text(d, "type")?.as_str() {
                        "exists" => DiscriminatorKind::Exists,
                        "type" => DiscriminatorKind::Type,
                        "profile" => DiscriminatorKind::Profile,
                        _ => DiscriminatorKind::Value,
                    },
                    path: text(d, "path")?,
                })
            })
            .collect(),
        is_closed: text(slicing, "rules").as_deref() == Some("closed"),
    }
}

fn add_constraint(node: &mut Node, constraint: ValueRef<'_>) {
    let Some(key) = text(constraint, "key") else {
        return;
    };
    if is_base(&key) || node.constraints.iter().any(|known| known.key == key) {
        return;
    }
    let severity = match text(constraint, "severity").as_deref() {
        Some("warning") => Severity::Warning,
        _ => Severity::Error,
    };
    node.constraints.push(Constraint {
        key,
        severity,
        human: text(constraint, "human").unwrap_or_default(),
        expression: text(constraint, "expression").and_then(|e| parse(&e).ok()),
    });
}

/// Snapshots repeat the invariants of R4, which are checked anyway.
fn is_base(key: &str) -> bool {
    crate::validate::invariants::is_known(key)
}
