//! JSON Patch on a resource, digits untouched where the patch does not touch them.
//!
//! Spec: RFC 6902 with JSON Pointer, RFC 6901, as <https://hl7.org/fhir/R4/http.html#patch> uses them. All operations
//! apply or none; the caller keeps the original.

use crate::issue::{ErrorKind, Problem};
use crate::json::{Map, Value};

/// Most operations in one patch. A patch is an edit; what changes more sends the resource.
pub const OPERATIONS_MAX: usize = 1_000;

/// Applies a patch document.
///
/// # Errors
/// `bad-json` for something that is no patch, `bad-value` for an operation that cannot be carried out, naming it by index.
pub fn apply(resource: &Value, patch: &Value) -> Result<Value, Problem> {
    let operations = patch.as_array().ok_or_else(|| {
        Problem::new(
            ErrorKind::BAD_JSON,
            "a JSON Patch is an array of operations (RFC 6902 section 3)",
        )
    })?;
    if operations.len() > OPERATIONS_MAX {
        return Err(Problem::new(
            ErrorKind::TOO_LARGE,
            format!("a patch has at most {OPERATIONS_MAX} operations"),
        ));
    }
    let mut patched = resource.clone();
    for (index, operation) in operations.iter().enumerate() {
        step(&mut patched, operation).map_err(|what| {
            Problem::new(ErrorKind::BAD_VALUE, what).at(format!("patch[{index}]"))
        })?;
    }
    Ok(patched)
}

fn step(root: &mut Value, operation: &Value) -> Result<(), String> {
    let text = |name: &str| {
        let value = operation.get(name).and_then(Value::as_str);
        value.ok_or_else(|| format!("the operation needs a string `{name}`"))
    };
    let value = || {
        operation
            .get("value")
            .cloned()
            .ok_or_else(|| "the operation needs `value`".to_owned())
    };
    let path = pointer(text("path")?)?;
    match text("op")? {
        "add" => add(root, &path, value()?),
        "remove" => remove(root, &path).map(|_| ()),
        "replace" => {
            let new = value()?;
            *find_mut(root, &path).ok_or_else(absent)? = new;
            Ok(())
        }
        "move" => {
            let from = pointer(text("from")?)?;
            if path.len() > from.len() && path.starts_with(&from) {
                return Err("a value cannot be moved into itself".to_owned());
            }
            let moved = remove(root, &from)?;
            add(root, &path, moved)
        }
        "copy" => {
            let from = pointer(text("from")?)?;
            let copied = find(root, &from).ok_or_else(absent)?.clone();
            add(root, &path, copied)
        }
        "test" if same(find(root, &path).ok_or_else(absent)?, &value()?) => Ok(()),
        "test" => Err("the test failed: the value at `path` is another one".to_owned()),
        _ => Err("`op` is one of add, remove, replace, move, copy, test".to_owned()),
    }
}

fn absent() -> String {
    "there is nothing at this path".to_owned()
}

/// The reference tokens of a JSON Pointer (RFC 6901 section 4).
fn pointer(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let tokens = text
        .strip_prefix('/')
        .ok_or("a path is empty or begins with `/` (RFC 6901)")?;
    let unescape = |token: &str| {
        let mut rest = token.split('~');
        let mut out = rest.next().unwrap_or("").to_owned();
        for part in rest {
            let (escaped, tail) = part
                .split_at_checked(1)
                .ok_or("`~` is followed by 0 or 1 (RFC 6901)")?;
            out.push(match escaped {
                "0" => '~',
                "1" => '/',
                _ => return Err("`~` is followed by 0 or 1 (RFC 6901)".to_owned()),
            });
            out.push_str(tail);
        }
        Ok(out)
    };
    tokens.split('/').map(unescape).collect()
}

/// An index is digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let is_index =
        token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
    if is_index { token.parse().ok() } else { None }
}

fn find<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |at, token| match at {
        Value::Object(map) => map.get(token),
        Value::Array(items) => items.get(index(token)?),
        _ => None,
    })
}

fn find_mut<'v>(value: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |at, token| match at {
        Value::Object(map) => map.get_mut(token),
        Value::Array(items) => items.get_mut(index(token)?),
        _ => None,
    })
}

fn add(root: &mut Value, path: &[String], value: Value) -> Result<(), String> {
    let Some((last, parent)) = path.split_last() else {
        *root = value;
        return Ok(());
    };
    match find_mut(root, parent).ok_or_else(absent)? {
        Value::Object(map) => map.insert(last.as_str(), value),
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(last).filter(|at| *at <= items.len());
            items.insert(at.ok_or("the index lies outside the array")?, value);
        }
        _ => return Err("the parent is neither object nor array".to_owned()),
    }
    Ok(())
}

fn remove(root: &mut Value, path: &[String]) -> Result<Value, String> {
    let (last, parent) = path
        .split_last()
        .ok_or("the whole resource cannot be removed")?;
    match find_mut(root, parent).ok_or_else(absent)? {
        Value::Object(map) => map.remove(last).ok_or_else(absent),
        Value::Array(items) => {
            let at = index(last)
                .filter(|at| *at < items.len())
                .ok_or_else(absent)?;
            Ok(items.remove(at))
        }
        _ => Err(absent()),
    }
}

/// Equal as RFC 6902 section 4.6 says, but numbers by their digits: `2.5` and `2.50` differ in FHIR.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let has = |map: &Map, name: &str, value: &Value| {
                map.get(name).is_some_and(|other| same(value, other))
            };
            a.len() == b.len() && a.iter().all(|(name, value)| has(b, name, value))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(resource: &str, patch: &str) -> Result<String, String> {
        let parse = |text: &str| Value::parse(text.as_bytes()).unwrap();
        apply(&parse(resource), &parse(patch))
            .map(|v| v.to_string())
            .map_err(|p| p.to_string())
    }

    /// Spec: RFC 6902 appendix A.
    #[test]
    fn operations_follow_the_rfc() {
        for (resource, patch, expected) in [
            (
                r#"{"a":1}"#,
                r#"[{"op":"add","path":"/b","value":2.50}]"#,
                r#"{"a":1,"b":2.50}"#,
            ),
            (
                r#"{"a":["x","z"]}"#,
                r#"[{"op":"add","path":"/a/1","value":"y"}]"#,
                r#"{"a":["x","y","z"]}"#,
            ),
            (
                r#"{"a":["x"]}"#,
                r#"[{"op":"add","path":"/a/-","value":"y"}]"#,
                r#"{"a":["x","y"]}"#,
            ),
            (
                r#"{"a":1,"b":2}"#,
                r#"[{"op":"remove","path":"/a"}]"#,
                r#"{"b":2}"#,
            ),
            (
                r#"{"a":["x","y"]}"#,
                r#"[{"op":"remove","path":"/a/0"}]"#,
                r#"{"a":["y"]}"#,
            ),
            (
                r#"{"a":1}"#,
                r#"[{"op":"replace","path":"/a","value":null}]"#,
                r#"{"a":null}"#,
            ),
            (
                r#"{"a":{"b":1},"c":{}}"#,
                r#"[{"op":"move","from":"/a/b","path":"/c/d"}]"#,
                r#"{"a":{},"c":{"d":1}}"#,
            ),
            (
                r#"{"a":[1]}"#,
                r#"[{"op":"copy","from":"/a","path":"/b"}]"#,
                r#"{"a":[1],"b":[1]}"#,
            ),
            (
                r#"{"a/b":1,"c~d":2}"#,
                r#"[{"op":"remove","path":"/a~1b"},{"op":"remove","path":"/c~0d"}]"#,
                "{}",
            ),
            (
                r#"{"a":{"x":1,"y":2}}"#,
                r#"[{"op":"test","path":"/a","value":{"y":2,"x":1}}]"#,
                r#"{"a":{"x":1,"y":2}}"#,
            ),
        ] {
            assert_eq!(run(resource, patch).as_deref(), Ok(expected), "{patch}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_and_changes_nothing() {
        for patch in [
            r#"{"op":"add"}"#,
            r#"[{"op":"add","path":"b","value":1}]"#,
            r#"[{"op":"add","path":"/a/b/c","value":1}]"#,
            r#"[{"op":"add","path":"/l/3","value":1}]"#,
            r#"[{"op":"add","path":"/l/01","value":1}]"#,
            r#"[{"op":"add","path":"/b"}]"#,
            r#"[{"op":"remove","path":"/b"}]"#,
            r#"[{"op":"remove","path":""}]"#,
            r#"[{"op":"replace","path":"/b","value":1}]"#,
            r#"[{"op":"move","from":"/o","path":"/o/x"}]"#,
            r#"[{"op":"test","path":"/a","value":1.0}]"#,
            r#"[{"op":"test","path":"/a","value":2}]"#,
            r#"[{"op":"increment","path":"/a"}]"#,
            r#"[{"op":"remove","path":"/a~2"}]"#,
            r#"[{"op":"remove","path":"/a~"}]"#,
        ] {
            assert!(
                run(r#"{"a":1,"l":[1,2],"o":{}}"#, patch).is_err(),
                "{patch}"
            );
        }
    }
}
