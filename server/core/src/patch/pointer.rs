//! The way from the top of a document to one of its values, and changes at that place of an owned tree.

use crate::json::{Value, ValueRef};

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Member(String),
    Item(usize),
}

/// The steps to the value at `position`; `None` when the document has no such value.
pub(super) fn to_position(root: ValueRef<'_>, position: u32) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    walk(root, position, &mut steps).then_some(steps)
}

fn walk(value: ValueRef<'_>, position: u32, steps: &mut Vec<Step>) -> bool {
    if value.position() == position {
        return true;
    }
    let span = |child: ValueRef<'_>| child.position() <= position;
    // Children come in document order, so the one that holds the position is the last that begins at or before it.
    if let Some((name, child)) = value.members().take_while(|(_, child)| span(*child)).last() {
        steps.push(Step::Member(name.into_owned()));
        return walk(child, position, steps);
    }
    if let Some((index, child)) = value
        .items()
        .enumerate()
        .take_while(|(_, child)| span(*child))
        .last()
    {
        steps.push(Step::Item(index));
        return walk(child, position, steps);
    }
    false
}

/// The value at the end of the steps.
pub(super) fn get_mut<'v>(root: &'v mut Value, steps: &[Step]) -> Option<&'v mut Value> {
    steps
        .iter()
        .try_fold(root, |value, step| match (value, step) {
            (Value::Object(map), Step::Member(name)) => map.get_mut(name),
            (Value::Array(items), Step::Item(index)) => items.get_mut(*index),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    #[test]
    fn every_value_is_found_by_its_position() {
        let document = Document::parse(br#"{"a":[1,{"b":2}],"c":{"d":[]},"e":3}"#).unwrap();
        let d = document.root().get("c").and_then(|c| c.get("d")).unwrap();
        let found = to_position(document.root(), d.position()).unwrap();
        assert_eq!(found, [Step::Member("c".into()), Step::Member("d".into())]);
        let b = document
            .root()
            .get("a")
            .unwrap()
            .items()
            .nth(1)
            .unwrap()
            .get("b")
            .unwrap();
        let found = to_position(document.root(), b.position()).unwrap();
        assert_eq!(
            found,
            [
                Step::Member("a".into()),
                Step::Item(1),
                Step::Member("b".into())
            ]
        );
        assert_eq!(to_position(document.root(), 0), Some(Vec::new()));
    }
}
