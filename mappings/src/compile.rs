//! From YAML to compiled mappings, checked against the R4 definitions on the way; every fault with file and line.
//!
//! Element names, cardinality, types and required codes: <https://hl7.org/fhir/R4/formats.html#table>.
//!
//! Left out on purpose: profiles beyond base R4, and fixed texts such as displays.

use conformance::{BindingStrength, Definitions, Element, ElementRef, Max, TypeKind};
use fhir_core::json::{Number, Value};

use crate::code::ConceptMap;
use crate::error::LoadError;
use crate::expression::{self, Names};
use crate::language::{
    Condition, Converter, Each, KeyPart, Member, Need, Object, Piped, Read, ReferenceScope,
    ReferenceTo, Start, Subject, Template, Use, Way,
};
use crate::output::Code;
use crate::path::{Base, CURRENT, Notation, Path};
use crate::source::SegmentId;
use crate::yaml::{Key, Kind, Node};

/// What all files may refer to.
pub(crate) struct Environment<'e> {
    pub definitions: &'static Definitions,
    pub maps: &'e [(Box<str>, Box<str>, ConceptMap)],
    /// Names of templates in index order.
    pub types: &'e [Box<str>],
}

/// Compiles one file or one template.
pub(crate) struct Compiler<'e> {
    pub environment: &'e Environment<'e>,
    pub file: &'e str,
    pub notation: Notation,
    /// The type whose values paths like `CX.1` mean.
    pub source: Box<str>,
    pub errors: Vec<LoadError>,
    pub uses: Vec<(Use, usize)>,
}

impl<'e> Compiler<'e> {
    pub(crate) fn new(
        environment: &'e Environment<'e>,
        file: &'e str,
        notation: Notation,
        source: &str,
    ) -> Self {
        Self {
            environment,
            file,
            notation,
            source: source.into(),
            errors: Vec::new(),
            uses: Vec::new(),
        }
    }

    pub(crate) fn error(&mut self, line: usize, message: impl Into<String>) {
        self.errors.push(LoadError::at(self.file, line, message));
    }

    fn with_names<T>(&self, f: impl FnOnce(&Names<'_>) -> T) -> T {
        let environment = self.environment;
        f(&Names {
            notation: self.notation,
            maps: &|name| {
                environment
                    .maps
                    .iter()
                    .position(|(known, ..)| &**known == name)
            },
            types: &|name| environment.types.iter().position(|known| &**known == name),
        })
    }

    /// Compiles an object of a type: a data type, a backbone element or a resource.
    pub(crate) fn object(&mut self, node: &Node, type_path: &str, label: &str) -> Object {
        let mut object = Object::default();
        let Some(members) = node.map() else {
            self.error(node.line, format!("`{label}` is an object"));
            return object;
        };
        for (key, value) in members {
            if let Some(directive) = key.text.strip_prefix('$') {
                self.directive(&mut object, directive, key, value, type_path, label);
            } else {
                self.element(&mut object, key, value, type_path, label);
            }
        }
        object
    }

    /// Adds to an object's needs what R4 requires of the type, and checks that something gives each.
    pub(crate) fn complete(
        &mut self,
        mut object: Object,
        line: usize,
        type_path: &str,
        label: &str,
    ) -> Object {
        let elements = self.environment.definitions.elements(type_path);
        for element in elements.iter().filter(|e| e.min > 0) {
            let need = Need {
                name: element.base_name().into(),
                choice: element.is_choice(),
            };
            if !gives(&object, &need) && !merges(&object) {
                self.error(
                    line,
                    format!("`{label}.{}` is required in R4", element.name),
                );
            }
            if !object.needs.contains(&need) {
                object.needs.push(need);
            }
        }
        object
    }

    fn directive(
        &mut self,
        object: &mut Object,
        name: &str,
        key: &Key,
        value: &Node,
        type_path: &str,
        label: &str,
    ) {
        // `$first-use` beside `$first-value`: a word tells several of one kind apart.
        let kind = name.split_once('-').map_or(name, |(kind, _)| kind);
        match if matches!(kind, "first" | "merge") { kind } else { name } {
            "when" => object.when = self.condition(value),
            "each" => object.each = self.each(value),
            "issue" => object.issue = self.issue(value),
            "needs" => {
                for item in value.each() {
                    let name = item.text().unwrap_or_default();
                    if self.environment.definitions.element(type_path, name).is_none() {
                        self.error(item.line, format!("{type_path} has no element `{name}`"));
                    }
                    object.needs.push(Need { name: name.into(), choice: false });
                }
            }
            "make" => self.make(object, value, type_path),
            "refer" => {
                let text = value.text().unwrap_or_default();
                if type_path != "Reference" || text.is_empty() {
                    self.error(value.line, "`$refer: RULE` stands where R4 has a Reference");
                }
                object.refer = Some(self.reference_to(text, value.line));
            }
            "first" => {
                let mut alternatives = Vec::new();
                for item in value.list().unwrap_or_default() {
                    alternatives.push(self.object(item, type_path, label));
                }
                if alternatives.is_empty() {
                    self.error(key.line, "`$first` is a list of alternatives");
                }
                object.dynamic |= alternatives.iter().any(|a| a.dynamic);
                object.members.push(Member::First(alternatives));
            }
            "merge" => {
                if let Some(read) = self.read(value) {
                    let fits = read.alternatives.iter().all(|a| self.gives_type(a, type_path));
                    if !fits {
                        self.error(value.line, format!("`$merge` takes a template of {type_path}"));
                    }
                    object.dynamic = true;
                    object.members.push(Member::Merge(read));
                }
            }
            _ => self.error(
                key.line,
                format!("there is no `${name}`: $when, $each, $needs, $issue, $first, $merge, $make, $refer, $reference"),
            ),
        }
    }

    fn element(
        &mut self,
        object: &mut Object,
        key: &Key,
        value: &Node,
        type_path: &str,
        label: &str,
    ) {
        let definitions = self.environment.definitions;
        let plain = key.text.strip_prefix('_').unwrap_or(&key.text);
        let label = format!("{label}.{}", key.text);
        let Some(found) = definitions.element(type_path, plain) else {
            let hint = match definitions.choice(type_path, plain) {
                Some(choice) => format!(": write its type too, `{plain}{}`", suffixes(choice)),
                None => String::new(),
            };
            self.error(
                key.line,
                format!("{type_path} has no element `{}`{hint}", key.text),
            );
            return;
        };
        let template = if plain.len() < key.text.len() {
            let body = self.object(value, "Element", &label);
            Some((body.dynamic, Template::Object(Box::new(body))))
        } else if found.element.max == Max::One {
            self.single(value, found, &label)
        } else {
            self.list(value, found, &label)
        };
        if let Some((dynamic, template)) = template {
            object.dynamic |= dynamic;
            object
                .members
                .push(Member::Element(key.text.as_str().into(), template));
        }
    }

    fn list(
        &mut self,
        node: &Node,
        found: ElementRef<'_>,
        label: &str,
    ) -> Option<(bool, Template)> {
        let Some(items) = node.list() else {
            self.error(
                node.line,
                format!("`{label}` repeats in R4: write a list, `- …`"),
            );
            return None;
        };
        let compiled: Vec<_> = items
            .iter()
            .filter_map(|item| self.single(item, found, label))
            .collect();
        let dynamic = compiled.iter().any(|(dynamic, _)| *dynamic);
        Some((
            dynamic,
            Template::List(compiled.into_iter().map(|(_, template)| template).collect()),
        ))
    }

    fn single(
        &mut self,
        node: &Node,
        found: ElementRef<'_>,
        label: &str,
    ) -> Option<(bool, Template)> {
        match &node.kind {
            Kind::List(_) => {
                self.error(
                    node.line,
                    format!("`{label}` has one value in R4, not a list"),
                );
                None
            }
            Kind::Map(_) if node.get("$reference").is_some() => self.reference(node, found, label),
            Kind::Map(_) => {
                let type_path = found.type_path();
                let body = self.object(node, type_path, label);
                let body = self.complete(body, node.line, type_path, label);
                Some((body.dynamic, Template::Object(Box::new(body))))
            }
            Kind::Scalar { text, plain } => match text.strip_prefix('=') {
                Some(_) => {
                    let read = self.read(node)?;
                    for piped in &read.alternatives {
                        self.check_type(piped, found, node.line, label);
                    }
                    let dynamic = read
                        .alternatives
                        .iter()
                        .any(|a| !matches!(a.start, Start::Literal(_) | Start::Setting(_)));
                    Some((dynamic, Template::Read(read)))
                }
                None => self
                    .constant(text, *plain, found, node.line, label)
                    .map(|v| (false, Template::Constant(v))),
            },
        }
    }

    /// `NAME`, `own NAME` or `NAME of GROUP`; with `?` behind the name a mapping may have no such rule.
    fn reference_to(&mut self, text: &str, line: usize) -> ReferenceTo {
        let (rule, scope) = match (text.strip_prefix("own "), text.split_once(" of ")) {
            (Some(rule), _) => (rule, ReferenceScope::Own),
            (None, Some((rule, groups))) => {
                let groups = groups.split_whitespace().map(Into::into).collect();
                (rule, ReferenceScope::OnlyOf(groups))
            }
            (None, None) => (text, ReferenceScope::Nearest),
        };
        let rule = rule.trim();
        let (rule, optional) = match rule.strip_suffix('?') {
            Some(rule) => (rule, true),
            None => (rule, false),
        };
        if !optional {
            self.uses.push((Use::Rule(rule.into()), line));
        }
        ReferenceTo {
            rule: rule.into(),
            scope,
        }
    }

    /// `$make: XCN[Practitioner]`: a resource made from this place, and the reference to it.
    fn make(&mut self, object: &mut Object, value: &Node, type_path: &str) {
        let name = value.text().unwrap_or_default();
        match self.environment.types.iter().position(|t| &**t == name) {
            Some(index) if type_path == "Reference" => {
                object.make = Some(index);
                object.dynamic = true;
                self.uses.push((Use::Type(index), value.line));
            }
            Some(_) => self.error(value.line, "`$make` stands where R4 has a Reference"),
            None => self.error(value.line, format!("there is no template `{name}`")),
        }
    }

    fn reference(
        &mut self,
        node: &Node,
        found: ElementRef<'_>,
        label: &str,
    ) -> Option<(bool, Template)> {
        let text = node
            .get("$reference")
            .and_then(Node::text)
            .unwrap_or_default();
        let members = node.map().unwrap_or_default();
        let each = node.get("$each").and_then(|each| self.each(each));
        let alone = members.len() == 1 || (members.len() == 2 && each.is_some());
        if found.chosen_type != "Reference" || !alone || text.is_empty() {
            self.error(
                node.line,
                format!("`{label}`: `$reference: RULE` stands alone where R4 has a Reference"),
            );
            return None;
        }
        let template = Template::Reference(self.reference_to(text, node.line));
        let Some(each) = each else {
            return Some((false, template));
        };
        // A list of references is a list of objects with one member each.
        let body = Object {
            each: Some(each),
            reference: Some(Box::new(template)),
            ..Object::default()
        };
        Some((false, Template::Object(Box::new(body))))
    }

    fn constant(
        &mut self,
        text: &str,
        plain: bool,
        found: ElementRef<'_>,
        line: usize,
        label: &str,
    ) -> Option<Value> {
        let value = match found.chosen_type {
            "boolean" if plain => match text {
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                _ => None,
            },
            "decimal" if plain => Number::parse(text).map(Value::Number),
            "integer" | "positiveInt" | "unsignedInt" if plain => text
                .parse::<i32>()
                .ok()
                .and_then(|n| Number::parse(&n.to_string()))
                .map(Value::Number),
            "boolean" | "decimal" | "integer" | "positiveInt" | "unsignedInt" => None,
            kind if self.is_primitive(kind) => {
                self.check_code(text, found, line, label);
                (!text.trim().is_empty()).then(|| Value::from(text))
            }
            _ => None,
        };
        if value.is_none() {
            self.error(
                line,
                format!("`{label}` is a {} in R4; this is none", found.chosen_type),
            );
        }
        value
    }

    fn is_primitive(&self, kind: &str) -> bool {
        matches!(
            self.environment.definitions.type_kind(kind),
            Some(TypeKind::Primitive { .. })
        ) || kind.starts_with("http://hl7.org/fhirpath/")
    }

    fn check_code(&mut self, code: &str, found: ElementRef<'_>, line: usize, label: &str) {
        if !self.code_allowed(code, found) {
            self.error(
                line,
                format!("`{label}`: R4's value set has no code `{code}`"),
            );
        }
        let is_ucum_code = label.ends_with("uantity.code") || found.element.path == "Quantity.code";
        if is_ucum_code && !crate::unit::is_ucum(code) {
            self.error(line, format!("`{label}`: `{code}` is not UCUM"));
        }
    }

    fn code_allowed(&self, code: &str, found: ElementRef<'_>) -> bool {
        let binding = found
            .element
            .binding
            .filter(|b| b.strength == BindingStrength::Required);
        let codes = binding.and_then(|b| self.environment.definitions.required_codes(b.value_set));
        found.chosen_type != "code" || codes.is_none_or(|list| list.contains(code))
    }

    /// Checks that what an alternative gives is what the element holds.
    fn check_type(&mut self, piped: &Piped, found: ElementRef<'_>, line: usize, label: &str) {
        let kind = found.chosen_type;
        if let Start::Literal(text) = &piped.start {
            self.constant(text, false, found, line, label);
            return;
        }
        let last = piped.converters.last();
        let fits = match kind {
            "boolean" => last == Some(&Converter::Boolean),
            "decimal" => matches!(
                last,
                Some(Converter::Decimal | Converter::Comparand | Converter::Low | Converter::High)
            ),
            "integer" => matches!(last, Some(Converter::Integer | Converter::PositiveInt)),
            "positiveInt" => last == Some(&Converter::PositiveInt),
            "unsignedInt" => {
                matches!(last, Some(Converter::PositiveInt | Converter::UnsignedInt))
            }
            "date" => last == Some(&Converter::Date),
            "dateTime" => matches!(
                last,
                Some(Converter::DateTime | Converter::DateTimeWithTime | Converter::Date)
            ),
            "instant" => last == Some(&Converter::Instant),
            "time" => last == Some(&Converter::Time),
            "code" => matches!(
                last,
                Some(Converter::Code | Converter::Map(_) | Converter::Comparator)
            ),
            "base64Binary" => matches!(
                last,
                Some(Converter::Base64 | Converter::Base64Data | Converter::Hexadecimal)
            ),
            "uri" | "url" | "canonical" | "oid" | "uuid" => match last {
                None => matches!(piped.start, Start::Setting(_)),
                Some(c) => matches!(
                    c,
                    Converter::Uri
                        | Converter::CodingSystem
                        | Converter::Authority
                        | Converter::EntityAuthority
                ),
            },
            "string" | "markdown" => !matches!(
                last,
                Some(
                    Converter::Type(_)
                        | Converter::Coding(_)
                        | Converter::Boolean
                        | Converter::Decimal
                        | Converter::Integer
                )
            ),
            _ => self.gives_type(piped, kind),
        };
        if !fits {
            self.error(
                line,
                format!("`{label}` is a {kind} in R4: end with a converter that gives one"),
            );
        }
        if let (Some(Converter::Map(map)), "code") = (last, kind) {
            self.check_targets(*map, found, label);
        }
    }

    /// Every target of a map must be allowed where the map is used.
    fn check_targets(&mut self, map: usize, found: ElementRef<'_>, label: &str) {
        let Some((_, file, map)) = self.environment.maps.get(map) else {
            return;
        };
        let unit = found.element.path == "Quantity.code";
        let wrong: Vec<_> = map
            .targets()
            .filter(|t| {
                !self.code_allowed(&t.code, found) || (unit && !crate::unit::is_ucum(&t.code))
            })
            .collect();
        for target in wrong {
            let message = format!("`{}` is not in R4's value set of `{label}`", target.code);
            self.errors.push(LoadError::at(file, target.line, message));
        }
    }

    fn gives_type(&self, piped: &Piped, type_path: &str) -> bool {
        match piped.converters.last() {
            Some(Converter::Type(index)) => {
                let name = self.environment.types.get(*index).map_or("", |n| n);
                name.split_once('[').is_some_and(|(_, t)| {
                    t.trim_end_matches(']').split('|').any(|t| t == type_path)
                })
            }
            Some(Converter::Coding(_)) => type_path == "Coding",
            _ => false,
        }
    }

    /// Compiles `=…`.
    pub(crate) fn read(&mut self, node: &Node) -> Option<Read> {
        let Some(text) = node.text().and_then(|t| t.strip_prefix('=')) else {
            self.error(node.line, "this is read from the source: start it with `=`");
            return None;
        };
        match self.with_names(|names| expression::read(text.trim(), names)) {
            Ok(read) => {
                for piped in &read.alternatives {
                    self.check_start(&piped.start, node.line);
                    let types = piped.converters.iter().filter_map(|c| match c {
                        Converter::Type(index) => Some((Use::Type(*index), node.line)),
                        _ => None,
                    });
                    self.uses.extend(types);
                }
                Some(read)
            }
            Err(message) => {
                self.error(node.line, message);
                None
            }
        }
    }

    fn check_start(&mut self, start: &Start, line: usize) {
        match start {
            Start::Path(path) => self.check_path(path, line),
            Start::Script(script) => script
                .paths
                .iter()
                .for_each(|(_, path)| self.check_path(path, line)),
            Start::All(path, _) => self.check_path(path, line),
            Start::Setting(_) | Start::Literal(_) => {}
        }
    }

    fn check_path(&mut self, path: &Path, line: usize) {
        if let Path::Hl7(path) = path
            && let Base::Value(name) = &path.base
            && *name != self.source
            && **name != *CURRENT
        {
            let message = match &*self.source {
                "" => format!("`{name}` is no field: write PID-5, not PID.5"),
                own => format!(
                    "`{name}` is not readable here: paths start with {own} or with a segment, PID-5"
                ),
            };
            self.error(line, message);
        }
    }

    pub(crate) fn condition(&mut self, node: &Node) -> Option<Condition> {
        let text = node.text().unwrap_or_default();
        match self.with_names(|names| expression::condition(text, names)) {
            Ok(condition) => {
                match &condition {
                    Condition::AnyOf(groups) => {
                        groups.iter().flatten().for_each(|term| {
                            if let Subject::Path(path) = &term.subject {
                                self.check_path(path, node.line);
                            }
                        });
                    }
                    Condition::Script(script) => {
                        script
                            .paths
                            .iter()
                            .for_each(|(_, path)| self.check_path(path, node.line));
                    }
                }
                Some(condition)
            }
            Err(message) => {
                self.error(node.line, message);
                None
            }
        }
    }

    fn each(&mut self, node: &Node) -> Option<Each> {
        let text = node.text().unwrap_or_default();
        let segment = |word: &str| text.strip_prefix(word).map(|s| s.trim());
        let found = match (segment("following "), segment("within ")) {
            (Some(name), _) => (name, SegmentId::parse(name).map(Each::Following)),
            (_, Some(name)) => (name, SegmentId::parse(name).map(Each::Within)),
            (None, None) => {
                let paths = node.each().iter().filter_map(|item| self.path(item));
                return Some(Each::Paths(paths.collect()));
            }
        };
        if found.1.is_none() {
            self.error(node.line, format!("`{}` is no segment", found.0));
        }
        found.1
    }

    /// Compiles a bare path.
    pub(crate) fn path(&mut self, node: &Node) -> Option<Path> {
        match Path::parse(node.text().unwrap_or_default(), self.notation) {
            Ok(path) => {
                self.check_path(&path, node.line);
                Some(path)
            }
            Err(message) => {
                self.error(node.line, message);
                None
            }
        }
    }

    fn issue(&mut self, node: &Node) -> Option<Code> {
        let id = node.text().unwrap_or_default();
        let code = Code::from_id(id);
        if code.is_none() {
            self.error(
                node.line,
                format!("there is no issue `{id}`; the README lists them"),
            );
        }
        code
    }

    /// Compiles `identity:`.
    pub(crate) fn identity(&mut self, node: &Node) -> Vec<Way> {
        let mut ways = Vec::new();
        for item in node.each() {
            let mut way = Way {
                each: None,
                when: None,
                key: Vec::new(),
                issue: None,
                weak: false,
            };
            for (key, value) in item.map().unwrap_or_default() {
                match key.text.as_str() {
                    "each" => way.each = self.path(value),
                    "when" => way.when = self.condition(value),
                    "issue" => way.issue = self.issue(value),
                    "weak" => way.weak = value.text() == Some("true"),
                    "key" => {
                        way.key = value
                            .each()
                            .iter()
                            .filter_map(|part| self.key_part(part))
                            .collect()
                    }
                    other => self.error(
                        key.line,
                        format!("identity has no `{other}`: each, when, key, issue, weak"),
                    ),
                }
            }
            if way.key.is_empty() {
                self.error(
                    item.line,
                    "identity needs `key`, a list of what makes the resource this one",
                );
            }
            ways.push(way);
        }
        ways
    }

    fn key_part(&mut self, node: &Node) -> Option<KeyPart> {
        for (word, part) in [
            (
                "reference",
                KeyPart::Reference as fn(ReferenceTo) -> KeyPart,
            ),
            ("optional-reference", KeyPart::OptionalReference),
        ] {
            if let Some(rule) = node.get(word).and_then(Node::text) {
                return Some(part(self.reference_to(rule, node.line)));
            }
        }
        if let Some(optional) = node.get("optional") {
            return self.read(optional).map(KeyPart::Optional);
        }
        if node.text() == Some("here") {
            return Some(KeyPart::Here);
        }
        self.read(node).map(KeyPart::Read)
    }
}

/// True when some member may give the element.
fn gives(object: &Object, need: &Need) -> bool {
    object.members.iter().any(|member| match member {
        Member::Element(name, _) => fits(need, name),
        Member::First(alternatives) => alternatives.iter().any(|a| gives(a, need)),
        Member::Merge(_) => false,
    })
}

fn merges(object: &Object) -> bool {
    object.members.iter().any(|member| match member {
        Member::Merge(_) => true,
        Member::First(alternatives) => alternatives.iter().any(merges),
        Member::Element(..) => false,
    })
}

/// True when the member is the element, or one of its types when it is a choice.
pub(crate) fn fits(need: &Need, name: &str) -> bool {
    if need.choice {
        name.strip_prefix(&*need.name)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    } else {
        *need.name == *name
    }
}

fn suffixes(choice: &Element) -> String {
    let mut first = choice.types.first().map_or("", |t| t.code).chars();
    first
        .next()
        .map(|c| c.to_ascii_uppercase())
        .into_iter()
        .chain(first)
        .collect()
}
