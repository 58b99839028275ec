//! Paths into a payload: `body.groups[].items[]`, `items[type=10].value`, `^.date`, `/zone`, `samples.*`.
//!
//! `[]` and `.*` stand for every item or member; `[name=text]` for the first item that says so; `^` is the value the
//! current one was found in, one `[]` or `.*` further out; `/` starts at the whole payload.
//!
//! Left out on purpose: expressions. A payload that needs one is cleaned by its sender or gets a reader of its own.

use fhir_core::json::{Kind, ValueRef};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Member(Box<str>),
    Index(usize),
    /// The first item whose member has this text.
    Find(Box<str>, Box<str>),
    /// Every item.
    Items,
    /// Every member of an object.
    Members,
}

/// A path and where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    /// How many values out; `None` for the whole payload.
    out: Option<usize>,
    steps: Vec<Step>,
}

/// A value and the values it was found in, the payload first.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    chain: Vec<ValueRef<'a>>,
    /// The member's name, when it was found by `.*`.
    pub key: Option<String>,
    /// Its pointer, for reports.
    pub pointer: String,
}

impl<'a> Place<'a> {
    pub(super) fn root(value: ValueRef<'a>) -> Self {
        Self {
            chain: vec![value],
            key: None,
            pointer: String::new(),
        }
    }

    fn current(&self) -> Option<ValueRef<'a>> {
        self.chain.last().copied()
    }

    fn inner(&self, value: ValueRef<'a>, key: Option<String>, name: &str) -> Self {
        let mut chain = self.chain.clone();
        chain.push(value);
        Self {
            chain,
            key,
            pointer: format!(
                "{}/{}",
                self.pointer,
                name.replace('~', "~0").replace('/', "~1")
            ),
        }
    }
}

impl Path {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no path like body.items[].value, ^.date, /zone or $");
        let (out, rest) = match text.strip_prefix('/') {
            Some(rest) => (None, rest),
            None => {
                let rest = text.trim_start_matches('^');
                let out = text.len() - rest.len();
                (
                    Some(out),
                    if out > 0 {
                        rest.strip_prefix('.').unwrap_or(rest)
                    } else {
                        rest
                    },
                )
            }
        };
        if rest == "$" || (rest.is_empty() && out.is_none_or(|n| n > 0)) {
            return Ok(Self {
                out,
                steps: Vec::new(),
            });
        }
        let mut steps = Vec::new();
        let mut rest = rest;
        loop {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, after) = rest.split_at_checked(end).ok_or_else(wrong)?;
            let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':');
            match name {
                "*" => steps.push(Step::Members),
                "" if steps.is_empty() && after.starts_with('[') => {}
                name if !name.is_empty() && name.chars().all(word) => {
                    steps.push(Step::Member(name.into()))
                }
                _ => return Err(wrong()),
            }
            rest = after;
            while let Some(inside) = rest.strip_prefix('[') {
                let (inside, after) = inside.split_once(']').ok_or_else(wrong)?;
                steps.push(match inside.split_once('=') {
                    _ if inside.is_empty() => Step::Items,
                    Some((name, value)) => Step::Find(name.trim().into(), value.trim().into()),
                    None => Step::Index(inside.parse().map_err(|_| wrong())?),
                });
                rest = after;
            }
            match rest.strip_prefix('.') {
                Some(after) => rest = after,
                None if rest.is_empty() => return Ok(Self { out, steps }),
                None => return Err(wrong()),
            }
        }
    }

    /// The one value a path names; `None` when there is none, or null.
    pub(super) fn one<'a>(&self, place: &Place<'a>) -> Option<ValueRef<'a>> {
        let start = match self.out {
            None => place.chain.first(),
            Some(out) => place
                .chain
                .len()
                .checked_sub(out + 1)
                .and_then(|i| place.chain.get(i)),
        };
        let found = self
            .steps
            .iter()
            .try_fold(*start?, |value, step| match step {
                Step::Member(name) => value.get(name),
                Step::Index(n) => value.items().nth(*n),
                Step::Find(name, text) => value.items().find(|item| says(*item, name, text)),
                Step::Items | Step::Members => None,
            });
        found.filter(|value| value.kind() != Kind::Null)
    }

    /// True when the path stands for several values.
    pub(super) fn is_many(&self) -> bool {
        self.steps
            .iter()
            .any(|s| matches!(s, Step::Items | Step::Members))
    }

    /// Every value the path names, each with what it was found in. A single value where a list may stand is a list
    /// of one: senders write both.
    pub(super) fn every<'a>(&self, root: &Place<'a>) -> Vec<Place<'a>> {
        let mut found = Vec::new();
        if let Some(value) = root.current() {
            expand(root, value, &self.steps, &mut found);
        }
        found
    }
}

fn expand<'a>(from: &Place<'a>, value: ValueRef<'a>, steps: &[Step], found: &mut Vec<Place<'a>>) {
    let Some((step, rest)) = steps.split_first() else {
        let same = from
            .current()
            .is_some_and(|c| c.position() == value.position());
        match value.kind() {
            Kind::Null => {}
            _ if same => found.push(from.clone()),
            _ => found.push(from.inner(value, from.key.clone(), "")),
        }
        return;
    };
    match step {
        Step::Member(name) => {
            if let Some(inner) = value.get(name) {
                let mut named = from.clone();
                named.pointer = format!("{}/{name}", from.pointer);
                expand(&named, inner, rest, found);
            }
        }
        Step::Index(n) => {
            if let Some(inner) = value.items().nth(*n) {
                expand(from, inner, rest, found);
            }
        }
        Step::Find(name, text) => {
            if let Some(inner) = value.items().find(|item| says(*item, name, text)) {
                expand(from, inner, rest, found);
            }
        }
        Step::Items => {
            for (i, item) in value.each().enumerate() {
                expand(
                    &from.inner(item, from.key.clone(), &i.to_string()),
                    item,
                    rest,
                    found,
                );
            }
        }
        Step::Members => {
            for (name, member) in value.members() {
                let place = from.inner(member, Some(name.to_string()), &name);
                expand(&place, member, rest, found);
            }
        }
    }
}

fn says(item: ValueRef<'_>, name: &str, text: &str) -> bool {
    item.get(name)
        .and_then(|v| v.primitive_text())
        .is_some_and(|t| t == text)
}

#[cfg(test)]
mod tests {
    use fhir_core::json::Document;

    use super::*;

    fn show(each: &str, path: &str, json: &str) -> Vec<String> {
        let document = Document::parse(json.as_bytes()).expect("json");
        let places = Path::parse(each)
            .expect(each)
            .every(&Place::root(document.root()));
        let path = Path::parse(path).expect(path);
        places
            .iter()
            .map(|p| path.one(p).map_or("-", |v| v.raw()).to_owned())
            .collect()
    }

    #[test]
    fn paths_reach_in_and_out() {
        let json = r#"{"zone":"Z","g":[{"d":1,"m":[{"t":9,"v":1.50},{"t":10,"v":2}]},{"d":2,"m":[{"t":9,"v":3}]}]}"#;
        assert_eq!(show("g[].m[]", "v", json), ["1.50", "2", "3"]);
        assert_eq!(show("g[].m[]", "^.d", json), ["1", "1", "2"]);
        assert_eq!(
            show("g[].m[]", "^^.zone", json),
            ["\"Z\"", "\"Z\"", "\"Z\""]
        );
        assert_eq!(show("g[].m[]", "/zone", json), ["\"Z\"", "\"Z\"", "\"Z\""]);
        assert_eq!(show("g[]", "m[t=10].v", json), ["2", "-"]);
        assert_eq!(show("$", "g[1].d", json), ["2"]);
        assert_eq!(show("s.*", "$", r#"{"s":{"0":60,"15":61}}"#), ["60", "61"]);
        assert_eq!(show("s[]", "$", r#"{"s":60}"#), ["60"]);
        assert_eq!(show("[]", "a", r#"[{"a":1},{"a":null}]"#), ["1", "-"]);
    }

    #[test]
    fn other_texts_are_no_paths() {
        for text in ["", "a..b", "a[", "a[x]", "a b", "a.", "[1]x", ".a"] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }
}
