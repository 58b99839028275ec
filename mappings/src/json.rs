//! JSON sources: walking a path, and naming a node by its pointer (RFC 6901).

use fhir_core::json::{Document, Kind, ValueRef};

use crate::path::Step;

/// The value at a path.
pub(crate) fn walk<'a>(from: ValueRef<'a>, steps: &[Step]) -> Option<ValueRef<'a>> {
    steps.iter().try_fold(from, |value, step| match step {
        Step::Member(name) => value.get(name),
        Step::Index(n) => value.items().nth(*n),
    })
}

/// Marks the nodes that carry content: numbers, strings and booleans.
pub(crate) fn leaves(value: ValueRef<'_>, mark: &mut impl FnMut(u32)) {
    match value.kind() {
        Kind::Object => value.members().for_each(|(_, member)| leaves(member, mark)),
        Kind::Array => value.items().for_each(|item| leaves(item, mark)),
        Kind::Null => {}
        _ => mark(value.position()),
    }
}

/// The pointer to the node at a position.
pub(crate) fn pointer(document: &Document, position: u32) -> Option<Box<str>> {
    let mut path = String::new();
    find(document.root(), position, &mut path).then(|| path.into())
}

fn find(value: ValueRef<'_>, position: u32, path: &mut String) -> bool {
    if value.position() == position {
        return true;
    }
    let mark = path.len();
    match value.kind() {
        Kind::Object => {
            for (name, member) in value.members() {
                path.push('/');
                path.push_str(&name.replace('~', "~0").replace('/', "~1"));
                if find(member, position, path) {
                    return true;
                }
                path.truncate(mark);
            }
        }
        Kind::Array => {
            for (i, item) in value.items().enumerate() {
                path.push('/');
                path.push_str(&i.to_string());
                if find(item, position, path) {
                    return true;
                }
                path.truncate(mark);
            }
        }
        _ => {}
    }
    false
}
