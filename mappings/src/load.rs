//! One mapping or template file: which keys it has and what they become.
//!
//! Left out on purpose: what stands under `emit`; see [`crate::compile`].

use fhir_core::json::{Map, Number, Value};

use crate::compile::{Compiler, Environment};
use crate::error::{LoadError, LoadErrors};
use crate::language::{MessageMapping, SelectRow, TestCase, TypeTemplate};
use crate::path::{Base, Notation, Path};
use crate::yaml::{Key, Kind, Node};

/// What a file is, by its first key.
pub(crate) enum FileKind {
    Mapping,
    Templates,
    /// Rules that several mappings share.
    Part,
}

/// Rules shared by mappings: name, file and content.
pub(crate) type Parts<'p> = [(&'p str, &'p str, &'p Node)];

/// Names with the line each stands on.
pub(crate) type NamesAt = Vec<(Box<str>, usize)>;

/// Tells mappings from templates and lists the templates' names.
pub(crate) fn classify(file: &str, node: &Node) -> Result<(FileKind, NamesAt), LoadErrors> {
    if node.get("mapping").is_some() {
        return Ok((FileKind::Mapping, Vec::new()));
    }
    if node.get("part").is_some() {
        return Ok((FileKind::Part, Vec::new()));
    }
    let mut names = Vec::new();
    for item in node.each() {
        let name = item.get("template").and_then(Node::text);
        let Some(name) = name.filter(|n| n.contains('[') && n.ends_with(']')) else {
            let message =
                "a file starts with `mapping: ID`, `part: NAME` or `template: SOURCE[Target]`";
            return Err(LoadError::at(file, item.line, message).into());
        };
        names.push((name.into(), item.line));
    }
    Ok((FileKind::Templates, names))
}

/// Compiles the templates of a file.
pub(crate) fn templates(
    environment: &Environment<'_>,
    file: &str,
    node: &Node,
) -> Result<Vec<TypeTemplate>, LoadErrors> {
    let mut errors = Vec::new();
    let mut found = Vec::new();
    for item in node.each() {
        let name = item
            .get("template")
            .and_then(Node::text)
            .unwrap_or_default();
        let (source, target) = name.split_once('[').unwrap_or((name, ""));
        let target = target.trim_end_matches(']');
        let json = item.get("input").and_then(Node::text) == Some("json");
        let notation = if json {
            Notation::Json
        } else {
            Notation::Hl7v2
        };
        let mut compiler = Compiler::new(environment, file, notation, source);
        let template = template(&mut compiler, item, name, source, target);
        errors.append(&mut compiler.errors);
        found.push(template);
    }
    if errors.is_empty() {
        Ok(found)
    } else {
        Err(LoadErrors(errors))
    }
}

fn template(
    compiler: &mut Compiler<'_>,
    node: &Node,
    name: &str,
    source: &str,
    target: &str,
) -> TypeTemplate {
    let definitions = compiler.environment.definitions;
    for one in target.split('|') {
        if definitions.elements(one).is_empty() {
            compiler.error(node.line, format!("R4 has no type `{one}`"));
        }
    }
    let mut template = TypeTemplate {
        file: compiler.file.into(),
        name: name.into(),
        source: source.into(),
        target: target.into(),
        body: Default::default(),
        identity: Vec::new(),
        ignored: Vec::new(),
        uses: Vec::new(),
        tests: Vec::new(),
    };
    let mut emitted = false;
    for (key, value) in node.map().unwrap_or_default() {
        match key.text.as_str() {
            "template" | "input" | "comment" => {}
            "emit" => {
                emitted = true;
                let targets: Vec<&str> = target.split('|').collect();
                for one in &targets {
                    let body = compiler.object(value, one, one);
                    // A template for several types is a part of each, so what they require stands around it.
                    template.body = if targets.len() > 1 {
                        body
                    } else {
                        compiler.complete(body, value.line, one, one)
                    };
                }
            }
            "identity" => template.identity = compiler.identity(value),
            "ignored" => template.ignored = ignored(compiler, value),
            "tests" => template.tests = tests(compiler, value),
            other => unknown(
                compiler,
                key,
                other,
                "template, input, comment, emit, identity, ignored, tests",
            ),
        }
    }
    if !emitted {
        compiler.error(node.line, "`emit` is missing: the shape of what comes out");
    }
    if definitions.resource_type(target).is_some() && template.identity.is_empty() {
        compiler.error(
            node.line,
            "`identity` is missing: what makes the resource this one and no other",
        );
    }
    template.uses = std::mem::take(&mut compiler.uses);
    template
}

/// Compiles a message mapping.
pub(crate) fn mapping(
    environment: &Environment<'_>,
    templates: &[TypeTemplate],
    parts: &Parts<'_>,
    file: &str,
    node: &Node,
) -> Result<MessageMapping, LoadErrors> {
    let notation = match node.get("input").and_then(Node::text) {
        Some("hl7v2") => Notation::Hl7v2,
        Some("json") => Notation::Json,
        _ => return Err(LoadError::at(file, node.line, "`input` is hl7v2 or json").into()),
    };
    let mut compiler = Compiler::new(environment, file, notation, "");
    let text = |key: &str| {
        node.get(key)
            .and_then(Node::text)
            .unwrap_or_default()
            .into()
    };
    let mut mapping = MessageMapping {
        file: file.into(),
        id: text("mapping"),
        version: text("version"),
        input: notation,
        select: Vec::new(),
        rules: Vec::new(),
        actions: Vec::new(),
        ignored: Vec::new(),
        tests: Vec::new(),
    };
    if mapping.version.is_empty() {
        compiler.error(node.line, "`version` is missing: it goes into Provenance");
    }
    for (key, value) in node.map().unwrap_or_default() {
        match key.text.as_str() {
            "mapping" | "version" | "input" | "comment" => {}
            "select" => {
                mapping.select = value
                    .each()
                    .iter()
                    .flat_map(|row| select(&mut compiler, row))
                    .collect()
            }
            "rules" => {
                for item in value.each() {
                    match item.get("include").and_then(Node::text) {
                        Some(name) => {
                            include(&mut compiler, templates, parts, &mut mapping, (item, name));
                        }
                        None => add_rule(&mut compiler, templates, &mut mapping, item),
                    }
                }
            }
            "ignored" => mapping.ignored.extend(ignored(&mut compiler, value)),
            "tests" => mapping.tests = tests(&mut compiler, value),
            "actions" => {}
            other => unknown(
                &mut compiler,
                key,
                other,
                "mapping, version, input, comment, select, rules, actions, ignored, tests",
            ),
        }
    }
    // After the rules, wherever they stand: actions name what rules made.
    for item in node.get("actions").map(Node::each).unwrap_or_default() {
        let action = crate::load_rule::action(&mut compiler, &mapping.rules, item);
        mapping.actions.extend(action);
    }
    if mapping.rules.is_empty() || mapping.select.is_empty() {
        compiler.error(node.line, "a mapping has `select` and at least one rule");
    }
    if compiler.errors.is_empty() {
        Ok(mapping)
    } else {
        Err(LoadErrors(compiler.errors))
    }
}

fn add_rule(
    compiler: &mut Compiler<'_>,
    templates: &[TypeTemplate],
    mapping: &mut MessageMapping,
    item: &Node,
) {
    if let Some(rule) = crate::load_rule::rule(compiler, templates, &mapping.rules, item) {
        mapping.rules.push(rule);
    }
}

/// `- include: NAME`: the rules of a part as if they stood here, and what it ignores.
fn include(
    compiler: &mut Compiler<'_>,
    templates: &[TypeTemplate],
    parts: &Parts<'_>,
    mapping: &mut MessageMapping,
    (item, name): (&Node, &str),
) {
    let Some((_, file, part)) = parts.iter().find(|(known, ..)| *known == name) else {
        compiler.error(item.line, format!("there is no `part: {name}`"));
        return;
    };
    let before = compiler.errors.len();
    for (key, value) in part.map().unwrap_or_default() {
        match key.text.as_str() {
            "part" | "comment" => {}
            "rules" => {
                for item in value.each() {
                    add_rule(compiler, templates, mapping, item);
                }
            }
            "ignored" => mapping.ignored.extend(ignored(compiler, value)),
            other => unknown(compiler, key, other, "part, comment, rules, ignored"),
        }
    }
    for error in compiler.errors.iter_mut().skip(before) {
        (*file).clone_into(&mut error.file);
    }
}

/// One row for each event: `{message: ADT, event: A01 A04}`.
fn select(compiler: &mut Compiler<'_>, node: &Node) -> Vec<SelectRow> {
    let text = |key: &str| node.get(key).and_then(Node::text);
    let rows: Vec<SelectRow> = match (text("message"), text("event"), text("device")) {
        (Some(message), Some(events), None) => events
            .split_whitespace()
            .map(|event| SelectRow::Hl7v2 {
                message: message.into(),
                event: event.into(),
            })
            .collect(),
        (None, None, Some(kind)) => vec![SelectRow::Device { kind: kind.into() }],
        _ => Vec::new(),
    };
    if rows.is_empty() {
        compiler.error(
            node.line,
            "select rows are {message: ADT, event: A01 A04} or {device: KIND}",
        );
    }
    rows
}

/// `ignored: {PID-1: why}`: read by nobody, and on purpose.
fn ignored(compiler: &mut Compiler<'_>, node: &Node) -> Vec<Path> {
    let mut paths = Vec::new();
    for (key, reason) in node.map().unwrap_or_default() {
        if reason.text().is_none_or(|r| r.trim().is_empty()) {
            compiler.error(key.line, format!("say why `{}` is ignored", key.text));
        }
        match Path::parse(&key.text, compiler.notation) {
            Ok(Path::Hl7(path)) if matches!(path.base, Base::Value(_)) => {
                compiler.error(key.line, "ignore fields of segments: PID-1");
            }
            Ok(path) => paths.push(path),
            Err(message) => compiler.error(key.line, message),
        }
    }
    paths
}

fn tests(compiler: &mut Compiler<'_>, node: &Node) -> Vec<TestCase> {
    let mut cases = Vec::new();
    for item in node.each() {
        let mut case = TestCase {
            name: "".into(),
            line: item.line,
            input: "".into(),
            settings: Vec::new(),
            output: Vec::new(),
            issues: None,
            actions: None,
            unread: None,
        };
        let words = |n: &Node| {
            n.each()
                .iter()
                .filter_map(Node::text)
                .map(Into::into)
                .collect()
        };
        for (key, value) in item.map().unwrap_or_default() {
            match key.text.as_str() {
                "name" => case.name = value.text().unwrap_or_default().into(),
                "in" => case.input = value.text().unwrap_or_default().into(),
                "settings" => {
                    let pairs = value.map().unwrap_or_default().iter();
                    case.settings = pairs
                        .map(|(k, v)| (k.text.as_str().into(), v.text().unwrap_or_default().into()))
                        .collect();
                }
                "out" => case.output = value.each().iter().map(plain_value).collect(),
                "issues" => case.issues = Some(words(value)),
                "actions" => case.actions = Some(words(value)),
                "unread" => case.unread = Some(words(value)),
                other => unknown(
                    compiler,
                    key,
                    other,
                    "name, in, settings, out, issues, actions, unread",
                ),
            }
        }
        if case.input.is_empty() {
            compiler.error(item.line, "a test has `in`");
        }
        cases.push(case);
    }
    cases
}

/// YAML as JSON by YAML's core schema, digits kept.
pub(crate) fn plain_value(node: &Node) -> Value {
    match &node.kind {
        Kind::List(items) => Value::Array(items.iter().map(plain_value).collect()),
        Kind::Map(members) => Value::Object(
            members
                .iter()
                .map(|(k, v)| (k.text.clone(), plain_value(v)))
                .collect::<Map>(),
        ),
        Kind::Scalar { text, plain: false } => Value::from(text.as_str()),
        Kind::Scalar { text, plain: true } => match text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => Number::parse(text).map_or_else(|| Value::from(text.as_str()), Value::Number),
        },
    }
}

pub(crate) fn unknown(compiler: &mut Compiler<'_>, key: &Key, name: &str, known: &str) {
    compiler.error(key.line, format!("there is no `{name}` here: {known}"));
}
