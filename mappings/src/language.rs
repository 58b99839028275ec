//! The mapping language as types. `mappings/README.md` explains it to the people who write mappings.
//!
//! Left out on purpose: text and line numbers. What could be wrong was found by [`crate::compile`].

use fhir_core::json::Value;

use crate::output::{ActionKind, Code, Others, Write};
use crate::path::{Notation, Path};
use crate::script::Script;
use crate::source::SegmentId;

/// A message mapping: which sources it takes and which resources they make.
#[derive(Debug)]
pub(crate) struct MessageMapping {
    pub file: Box<str>,
    pub id: Box<str>,
    pub version: Box<str>,
    pub input: Notation,
    pub select: Vec<SelectRow>,
    pub rules: Vec<Rule>,
    pub actions: Vec<ActionRule>,
    pub ignored: Vec<Path>,
    pub tests: Vec<TestCase>,
}

/// What a mapping says about identities, beside resources.
#[derive(Debug)]
pub(crate) struct ActionRule {
    pub kind: ActionKind,
    pub each: RuleEach,
    pub when: Option<Condition>,
    pub what: Option<Made>,
    pub from: Option<Made>,
    pub into: Made,
    pub revision: Vec<Path>,
}

/// A resource that a rule made.
#[derive(Debug)]
pub(crate) struct Made {
    pub rule: Box<str>,
    /// The first of the message, instead of the last before the place.
    pub first: bool,
}

/// A list merged item by item.
#[derive(Debug)]
pub(crate) struct Keeps {
    pub when: Option<Condition>,
    pub element: Box<str>,
    pub key: Box<str>,
    pub others: Others,
}

/// Elements, when a condition holds.
#[derive(Debug)]
pub(crate) struct Elements {
    pub when: Option<Condition>,
    pub elements: Vec<Box<str>>,
}

/// A message type and event a mapping takes.
#[derive(Debug)]
pub(crate) enum SelectRow {
    Hl7v2 { message: Box<str>, event: Box<str> },
    Device { kind: Box<str> },
}

/// One resource for each place.
#[derive(Debug)]
pub(crate) struct Rule {
    pub name: Box<str>,
    pub each: RuleEach,
    pub when: Option<Condition>,
    pub body: Body,
    pub resource_type: Box<str>,
    /// Empty when the template says how its resource is named.
    pub identity: Vec<Way>,
    /// First whose condition holds; the last has none.
    pub write: Vec<(Option<Condition>, Write)>,
    /// True when the resource is only spoken about, by an action or a reference, and never written.
    pub refers: bool,
    pub repeated: Repeated,
    /// True when a place that names no resource, or lacks what R4 requires, is passed over with an issue instead of
    /// refusing the message.
    pub lacking_skips: bool,
    /// Where the source's own time stands; MSH-7 when empty.
    pub revision: Vec<Path>,
    pub keeps: Vec<Keeps>,
    pub clears: Vec<Elements>,
    /// Elements that count only while the resource is new.
    pub initial: Vec<Elements>,
}

/// What a rule writes.
#[derive(Debug)]
pub(crate) enum Body {
    /// The template of that index.
    Type(usize),
    Inline(Object),
}

/// Where a rule applies.
#[derive(Debug)]
pub(crate) enum RuleEach {
    /// Every segment of this identifier, wherever it stands.
    Segment(SegmentId),
    /// Every value a JSON path names.
    Path(Path),
    /// The whole source, once.
    Source,
}

/// What two resources with one identity in one message are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeated {
    /// One thing told twice: the first is kept.
    Same,
    /// Two things: the second gets a number.
    Distinct,
}

/// One way to name a resource.
#[derive(Debug)]
pub(crate) struct Way {
    /// Tried for each of these places; the first that gives all parts counts.
    pub each: Option<Path>,
    pub when: Option<Condition>,
    pub key: Vec<KeyPart>,
    pub issue: Option<Code>,
    /// True when the identifier may be several people's, so that it is no alias of anybody.
    pub weak: bool,
}

#[derive(Debug)]
pub(crate) enum KeyPart {
    Read(Read),
    Reference(ReferenceTo),
    /// The part is empty when the rule made nothing here.
    OptionalReference(ReferenceTo),
    /// The place itself, `OBX[3]`.
    Here,
    /// Nothing here is fine: the part is then empty.
    Optional(Read),
}

/// A template for a data type or a segment, `CX[Identifier]`.
#[derive(Debug)]
pub(crate) struct TypeTemplate {
    pub file: Box<str>,
    pub name: Box<str>,
    pub source: Box<str>,
    pub target: Box<str>,
    pub body: Object,
    /// How a resource is named; empty for data types.
    pub identity: Vec<Way>,
    pub ignored: Vec<Path>,
    /// Other templates and rules it uses, with the line.
    pub uses: Vec<(Use, usize)>,
    pub tests: Vec<TestCase>,
}

/// What a template depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Use {
    Type(usize),
    Rule(Box<str>),
}

/// What stands at an element.
#[derive(Debug)]
pub(crate) enum Template {
    Constant(Value),
    Read(Read),
    Object(Box<Object>),
    List(Vec<Template>),
    /// A literal reference to the resource a rule made.
    Reference(ReferenceTo),
}

/// Which resource of a rule a `$reference` means.
#[derive(Debug)]
pub(crate) struct ReferenceTo {
    pub rule: Box<str>,
    pub scope: ReferenceScope,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReferenceScope {
    /// Made from the segment of its kind that a path would mean here.
    Nearest,
    /// `own NAME`: made from this very segment.
    Own,
    /// `NAME of GROUP`: the only one made within the group of one of these names around us.
    OnlyOf(Box<[Box<str>]>),
}

/// An object of the target, with its directives.
#[derive(Debug, Default)]
pub(crate) struct Object {
    pub each: Option<Each>,
    pub when: Option<Condition>,
    pub issue: Option<Code>,
    /// A template of a resource to make from this place, once, and to refer to.
    pub make: Option<usize>,
    /// What a rule made, to refer to beside other members.
    pub refer: Option<ReferenceTo>,
    /// The whole object is a reference, one for each place.
    pub reference: Option<Box<Template>>,
    /// Without these the object is left out.
    pub needs: Vec<Need>,
    pub members: Vec<Member>,
    /// True when something in it comes from the source: without any of that it is left out.
    pub dynamic: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub name: Box<str>,
    /// Any type of a choice will do.
    pub choice: bool,
}

#[derive(Debug)]
pub(crate) enum Each {
    Paths(Vec<Path>),
    /// Segments behind ours, up to the next of our own kind, in our group.
    Following(SegmentId),
    /// Segments anywhere in our group and the groups in it.
    Within(SegmentId),
}

#[derive(Debug)]
pub(crate) enum Member {
    Element(Box<str>, Template),
    /// The members of the first alternative that gives anything.
    First(Vec<Object>),
    /// The members of the object read.
    Merge(Read),
}

/// `=A | x ?? B | y`: the first alternative that gives a value.
#[derive(Debug)]
pub(crate) struct Read {
    pub alternatives: Vec<Piped>,
}

#[derive(Debug)]
pub(crate) struct Piped {
    pub start: Start,
    pub converters: Vec<Converter>,
}

#[derive(Debug)]
pub(crate) enum Start {
    Path(Path),
    /// A setting of the feed, `@zone`.
    Setting(Box<str>),
    Script(Box<Script>),
    Literal(Box<str>),
    /// `all OBX-5 if OBX-2 = TX`: the field of all segments in our group, as lines.
    All(Path, Option<Condition>),
}

/// Most components `join` takes.
pub(crate) const JOIN_MAX: usize = 4;

/// What makes FHIR of a source text. The word in mapping files stands behind each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Converter {
    /// `text`: with unescaped delimiters.
    Text,
    /// `lines`: all repetitions, one line each.
    Lines,
    /// `join 6 3 2`: these components with blanks between; zeros are none.
    Join([u16; JOIN_MAX]),
    /// `code`
    Code,
    /// `decimal`
    Decimal,
    /// `comparator` of `<5`
    Comparator,
    /// `comparand` of `<5`
    Comparand,
    /// `low` of `3-5`
    Low,
    /// `high` of `3-5`
    High,
    /// `integer`
    Integer,
    /// `positiveInt`
    PositiveInt,
    /// `unsignedInt`
    UnsignedInt,
    /// `boolean`
    Boolean,
    /// `date`
    Date,
    /// `dateTime`
    DateTime,
    /// `dateTime-with-time`: nothing when there is only a day
    DateTimeWithTime,
    /// `instant`
    Instant,
    /// `time`
    Time,
    /// `uri`
    Uri,
    /// `base64`: the text as bytes of UTF-8
    Base64,
    /// `base64-data`: what is base64 already
    Base64Data,
    /// `hexadecimal`: hexadecimal digits as base64
    Hexadecimal,
    /// `coding-system`
    CodingSystem,
    /// `authority` of an HD
    Authority,
    /// `entity-authority` of an EI
    EntityAuthority,
    /// `map NAME`
    Map(usize),
    /// `coding NAME`
    Coding(usize),
    /// `CX[Identifier]`
    Type(usize),
}

/// Any of these groups whose terms all hold.
#[derive(Debug)]
pub(crate) enum Condition {
    AnyOf(Vec<Vec<Term>>),
    Script(Box<Script>),
}

#[derive(Debug)]
pub(crate) struct Term {
    pub subject: Subject,
    pub test: Test,
    pub negated: bool,
}

/// What a term asks about.
#[derive(Debug)]
pub(crate) enum Subject {
    Path(Path),
    /// `@event`, or a setting of the feed.
    Setting(Box<str>),
}

#[derive(Debug)]
pub(crate) enum Test {
    Valued,
    In(Vec<Box<str>>),
    Null,
    Repeated,
    Decimal,
    Comparison,
    HasLow,
    HasHigh,
    Date,
    DateTime,
    /// A date with a time of day.
    Timed,
    Time,
    Ucum,
    UcumBeyondDoubt,
    Map(usize),
    /// The same text as stands at another path.
    SameAs(Path),
}

/// An example that a mapping carries and that must come true before it is used.
#[derive(Debug)]
pub(crate) struct TestCase {
    pub name: Box<str>,
    pub line: usize,
    pub input: Box<str>,
    pub settings: Vec<(Box<str>, Box<str>)>,
    pub output: Vec<Value>,
    pub issues: Option<Vec<Box<str>>>,
    /// `merge Patient[1] into Patient[0]`, numbers counting the resources that come out.
    pub actions: Option<Vec<Box<str>>>,
    pub unread: Option<Vec<Box<str>>>,
}
