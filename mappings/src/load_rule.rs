//! Rules and actions of a mapping: which keys they have and what they become.
//!
//! Left out on purpose: what stands under `emit`; see [`crate::compile`].

use conformance::Definitions;

use crate::compile::Compiler;
use crate::language::{
    ActionRule, Body, Elements, Keeps, Made, Repeated, Rule, RuleEach, Start, TypeTemplate, Use,
};
use crate::load::{plain_value, unknown};
use crate::output::{ActionKind, Others, Write};
use crate::path::{Notation, Path};
use crate::source::SegmentId;
use crate::yaml::Node;

/// Compiles one rule.
pub(crate) fn rule(
    compiler: &mut Compiler<'_>,
    templates: &[TypeTemplate],
    before: &[Rule],
    node: &Node,
) -> Option<Rule> {
    let name: Box<str> = node
        .get("rule")
        .and_then(Node::text)
        .unwrap_or_default()
        .into();
    let mut rule = Rule {
        name,
        each: RuleEach::Source,
        when: None,
        body: Body::Inline(Default::default()),
        resource_type: "".into(),
        identity: Vec::new(),
        write: Vec::new(),
        refers: false,
        repeated: Repeated::Distinct,
        lacking_skips: false,
        revision: Vec::new(),
        keeps: Vec::new(),
        clears: Vec::new(),
        initial: Vec::new(),
    };
    let own_uses = compiler.uses.len();
    for (key, value) in node.map().unwrap_or_default() {
        let text = value.text().unwrap_or_default();
        match key.text.as_str() {
            "rule" | "comment" | "emit" | "type" => {}
            "each" => rule.each = rule_each(compiler, value)?,
            "when" => rule.when = compiler.condition(value),
            "resource" => match templates.iter().position(|t| &*t.name == text) {
                Some(index) => rule.body = Body::Type(index),
                None => compiler.error(value.line, format!("there is no template `{text}`")),
            },
            "identity" => rule.identity = compiler.identity(value),
            "write" if text == "refer" => {
                rule.refers = true;
                rule.write.push((None, Write::Create));
            }
            "write" => {
                rule.write = value
                    .each()
                    .iter()
                    .filter_map(|w| write(compiler, w))
                    .collect()
            }
            "repeated" => match text {
                "same" => rule.repeated = Repeated::Same,
                "distinct" => rule.repeated = Repeated::Distinct,
                _ => compiler.error(value.line, "`repeated` is same or distinct"),
            },
            "lacking" => match text {
                "skip" => rule.lacking_skips = true,
                "refuse" => rule.lacking_skips = false,
                _ => compiler.error(value.line, "`lacking` is skip or refuse"),
            },
            "revision" => rule.revision = revision(compiler, value),
            "keeps" => {
                rule.keeps = value
                    .each()
                    .iter()
                    .filter_map(|item| keeps(compiler, item))
                    .collect()
            }
            "clears" => rule.clears = value.each().iter().map(|i| elements(compiler, i)).collect(),
            "initial" => {
                rule.initial = value.each().iter().map(|i| elements(compiler, i)).collect()
            }
            other => unknown(
                compiler,
                key,
                other,
                "rule, comment, each, when, resource, type, emit, identity, lacking, write, repeated, revision, keeps, clears, initial",
            ),
        }
    }
    finish_rule(compiler, templates, before, node, rule, own_uses)
}

fn finish_rule(
    compiler: &mut Compiler<'_>,
    templates: &[TypeTemplate],
    before: &[Rule],
    node: &Node,
    mut rule: Rule,
    own_uses: usize,
) -> Option<Rule> {
    if let (Some(emit), Some(resource_type)) =
        (node.get("emit"), node.get("type").and_then(Node::text))
    {
        let body = compiler.object(emit, resource_type, resource_type);
        rule.body = Body::Inline(compiler.complete(body, emit.line, resource_type, resource_type));
        rule.resource_type = resource_type.into();
    }
    let mut uses = compiler.uses.split_off(own_uses);
    if let Body::Type(index) = rule.body
        && let Some(template) = templates.get(index)
    {
        rule.resource_type = template.target.clone();
        uses.extend(
            template
                .uses
                .iter()
                .map(|(used, _)| (used.clone(), node.line)),
        );
    } else if rule.identity.is_empty() {
        compiler.error(
            node.line,
            "`identity` is missing: what makes the resource this one and no other",
        );
    }
    for (used, line) in uses {
        if let Use::Rule(name) = used
            && !before.iter().any(|r| r.name == name)
        {
            compiler.error(
                line,
                format!("`$reference: {name}` needs a rule `{name}` before this one"),
            );
        }
    }
    if Definitions::r4()
        .resource_type(&rule.resource_type)
        .is_none()
    {
        compiler.error(
            node.line,
            "a rule has `resource: SEGMENT[Type]`, or `type` and `emit`, for an R4 resource type",
        );
    }
    if rule.write.is_empty() || rule.write.last().is_some_and(|(when, _)| when.is_some()) {
        compiler.error(
            node.line,
            "`write` is missing or its last row has a condition: merge, create, replace or refer",
        );
    }
    check_elements(compiler, node, &rule);
    if rule.name.is_empty() || before.iter().any(|r| r.name == rule.name) {
        compiler.error(node.line, "a rule has a name of its own");
    }
    Some(rule)
}

fn rule_each(compiler: &mut Compiler<'_>, node: &Node) -> Option<RuleEach> {
    if compiler.notation == Notation::Json {
        return compiler.path(node).map(RuleEach::Path);
    }
    let id = SegmentId::parse(node.text().unwrap_or_default());
    if id.is_none() {
        compiler.error(node.line, "`each` is a segment: PID");
    }
    id.map(RuleEach::Segment)
}

fn write(
    compiler: &mut Compiler<'_>,
    node: &Node,
) -> Option<(Option<crate::language::Condition>, Write)> {
    let (when, word) = match node.map() {
        Some(_) => (node.get("when"), node.get("as").and_then(Node::text)),
        None => (None, node.text()),
    };
    let write = match word.unwrap_or_default() {
        "merge" => Write::Merge,
        "create" => Write::Create,
        "replace" => Write::Replace,
        _ => {
            compiler.error(
                node.line,
                "`write` is merge, create or replace, or {when: CONDITION, as: …}",
            );
            return None;
        }
    };
    Some((when.and_then(|w| compiler.condition(w)), write))
}

/// `revision: =OBR-22 ?? MSH-7`: paths only, the first that holds a time counts.
fn revision(compiler: &mut Compiler<'_>, node: &Node) -> Vec<Path> {
    let mut paths = Vec::new();
    for piped in compiler.read(node).into_iter().flat_map(|r| r.alternatives) {
        match piped.start {
            Start::Path(path) if piped.converters.is_empty() => paths.push(path),
            _ => compiler.error(
                node.line,
                "`revision` is a path or several: =OBR-22 ?? MSH-7",
            ),
        }
    }
    paths
}

/// `{list: location, by: location.reference, others: {status: completed}}`.
fn keeps(compiler: &mut Compiler<'_>, node: &Node) -> Option<Keeps> {
    let text = |key: &str| node.get(key).and_then(Node::text);
    let one = |key: &str| {
        let (name, value) = node.get(key)?.map()?.first()?;
        Some((name.text.as_str().into(), plain_value(value)))
    };
    let others = match (one("others"), one("drops")) {
        (Some((name, value)), None) => Others::Set(name, value),
        (None, Some((name, value))) => Others::Drop(name, value),
        _ => Others::Stay,
    };
    let known = ["list", "by", "others", "drops", "when"];
    let all_known = node
        .map()
        .unwrap_or_default()
        .iter()
        .all(|(key, _)| known.contains(&key.text.as_str()));
    let (Some(element), Some(key), true) = (text("list"), text("by"), all_known) else {
        let message = "write {list: location, by: location.reference}, with when, others or drops";
        compiler.error(node.line, message);
        return None;
    };
    let when = node.get("when").and_then(|w| compiler.condition(w));
    Some(Keeps {
        when,
        element: element.into(),
        key: key.into(),
        others,
    })
}

/// `{when: @event = A13, elements: [period.end]}`.
fn elements(compiler: &mut Compiler<'_>, node: &Node) -> Elements {
    let names = node.get("elements").map(Node::each).unwrap_or_default();
    if names.is_empty() {
        compiler.error(node.line, "write {when: CONDITION, elements: [period.end]}");
    }
    Elements {
        when: node.get("when").and_then(|w| compiler.condition(w)),
        elements: names
            .iter()
            .filter_map(Node::text)
            .map(Into::into)
            .collect(),
    }
}

/// Elements named in `keeps` and `clears` must be R4's.
fn check_elements(compiler: &mut Compiler<'_>, node: &Node, rule: &Rule) {
    let definitions = Definitions::r4();
    let known = |path: &str| {
        let mut type_path = rule.resource_type.to_string();
        path.split('.')
            .all(|name| match definitions.element(&type_path, name) {
                Some(found) => {
                    found.type_path().clone_into(&mut type_path);
                    true
                }
                None => false,
            })
    };
    let keeps = rule
        .keeps
        .iter()
        .flat_map(|k| [k.element.to_string(), format!("{}.{}", k.element, k.key)]);
    let clears = rule
        .clears
        .iter()
        .flat_map(|c| &c.elements)
        .map(|e| e.to_string());
    for path in keeps.chain(clears) {
        if !known(&path) {
            compiler.error(
                node.line,
                format!("{} has no element `{path}`", rule.resource_type),
            );
        }
    }
}

/// Compiles one action.
pub(crate) fn action(
    compiler: &mut Compiler<'_>,
    rules: &[Rule],
    node: &Node,
) -> Option<ActionRule> {
    let word = node.get("action").and_then(Node::text).unwrap_or_default();
    let kind = ActionKind::named(word);
    if kind.is_none() {
        compiler.error(
            node.line,
            "`action` is merge, move, change-id, link or unlink",
        );
    }
    for (key, _) in node.map().unwrap_or_default() {
        let known = [
            "action", "comment", "each", "when", "what", "from", "into", "revision",
        ];
        if !known.contains(&key.text.as_str()) {
            unknown(compiler, key, &key.text, &known.join(", "));
        }
    }
    let mut made = |name: &str| {
        let value = node.get(name)?;
        let text = value.text().unwrap_or_default();
        let (first, rule) = match text.strip_prefix("first ") {
            Some(rule) => (true, rule.trim()),
            None => (false, text),
        };
        if !rules.iter().any(|r| &*r.name == rule) {
            compiler.error(value.line, format!("there is no rule `{rule}`"));
        }
        Some(Made {
            rule: rule.into(),
            first,
        })
    };
    let (what, from, into) = (made("what"), made("from"), made("into"));
    let (Some(into), Some(each)) = (into, node.get("each")) else {
        compiler.error(node.line, "an action has `each` and `into`, mostly `from`");
        return None;
    };
    Some(ActionRule {
        kind: kind?,
        each: rule_each(compiler, each)?,
        when: node.get("when").and_then(|w| compiler.condition(w)),
        what,
        from,
        into,
        revision: node
            .get("revision")
            .map(|r| revision(compiler, r))
            .unwrap_or_default(),
    })
}
