//! Elements as index values, by the type of the parameter and the type of the element.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#token>, `#string`, `#reference`, `#date`, `#quantity`, `#uri`, `#number`

use std::borrow::Cow;

use conformance::{Definitions, ParamType, ResourceTypeId};

use crate::datatype::date::{self, Zone};
use crate::datatype::decimal::Decimal;
use crate::datatype::quantity;
use crate::datatype::reference::{Canonical, Reference, versioned};
use crate::datatype::string::normalise;
use crate::fhirpath::eval::Item;
use crate::ids::{ResourceId, ResourceKey};
use crate::index::IndexValue;
use crate::json::ValueRef;

/// How an element becomes index values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Conversion {
    Coding,
    CodeableConcept,
    /// A primitive out of a small set: code, boolean, string.
    Code,
    /// A primitive that is nearly unique: id, uri.
    UniqueCode,
    Identifier,
    ContactPoint,
    Text,
    HumanName,
    Address,
    Reference,
    Canonical,
    /// A resource that stands in place of a reference (`Bundle.entry[0].resource`).
    InlineResource,
    Uri,
    Date,
    Number,
    Quantity,
    Position,
}

impl Conversion {
    /// The conversion for elements of type `type_path`; `None` where the spec has none.
    pub fn of(kind: ParamType, type_path: &str) -> Option<Self> {
        Some(match (kind, type_path) {
            (ParamType::Token, "Coding") => Self::Coding,
            (ParamType::Token, "CodeableConcept") => Self::CodeableConcept,
            (ParamType::Token, "Identifier") => Self::Identifier,
            (ParamType::Token, "ContactPoint") => Self::ContactPoint,
            (ParamType::Token, "code" | "boolean" | "string" | "markdown") => Self::Code,
            (ParamType::Token, "integer" | "positiveInt" | "unsignedInt") => Self::Code,
            (ParamType::Token, "id" | "uri" | "url" | "canonical" | "oid" | "uuid") => {
                Self::UniqueCode
            }
            (ParamType::String, "HumanName") => Self::HumanName,
            (ParamType::String, "Address") => Self::Address,
            (
                ParamType::String,
                "string" | "markdown" | "code" | "id" | "uri" | "url" | "canonical",
            ) => Self::Text,
            (ParamType::Reference, "Reference") => Self::Reference,
            (ParamType::Reference, "canonical" | "uri" | "url") => Self::Canonical,
            (ParamType::Reference, "Resource") => Self::InlineResource,
            (ParamType::Reference, name) if Definitions::r4().resource_type(name).is_some() => {
                Self::InlineResource
            }
            (ParamType::Uri, "uri" | "url" | "canonical" | "oid" | "uuid") => Self::Uri,
            (ParamType::Date, "date" | "dateTime" | "instant" | "Period" | "Timing") => Self::Date,
            (
                ParamType::Number,
                "decimal" | "integer" | "positiveInt" | "unsignedInt" | "Range",
            ) => Self::Number,
            (ParamType::Number, type_path) if is_quantity(type_path) => Self::Number,
            (ParamType::Quantity, "Money" | "Range" | "SampledData") => Self::Quantity,
            (ParamType::Quantity, type_path) if is_quantity(type_path) => Self::Quantity,
            (ParamType::Special, "Location.position") => Self::Position,
            _ => return None,
        })
    }
}

fn is_quantity(type_path: &str) -> bool {
    matches!(
        type_path,
        "Quantity" | "Age" | "Count" | "Distance" | "Duration" | "SimpleQuantity" | "MoneyQuantity"
    )
}

/// What conversions need to know.
#[derive(Clone, Copy)]
pub(super) struct Setting<'c> {
    pub base_urls: &'c [&'c str],
    pub zone: Zone,
    /// Types a parameter of kind reference may lead to.
    pub targets: &'c [ResourceTypeId],
    /// Whether texts for `:text` are wanted.
    pub texts: Texts,
}

/// Whether [`IndexValue::TokenText`] is wanted: composites have none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Texts {
    Wanted,
    Left,
}

/// Appends the index values of one element; an element of the wrong shape gives none.
pub(super) fn convert<'a>(
    conversion: Conversion,
    value: ValueRef<'a>,
    setting: Setting<'_>,
    found: &mut impl FnMut(IndexValue<'a>),
) {
    match conversion {
        Conversion::Coding => coding(value, setting, found),
        Conversion::CodeableConcept => codeable_concept(value, setting, found),
        Conversion::Code => {
            if let Some(code) = non_empty(value.primitive_text()) {
                found(IndexValue::Token { system: None, code });
            }
        }
        Conversion::UniqueCode => {
            if let Some(value) = non_empty(value.as_str()) {
                found(IndexValue::Identifier {
                    system: None,
                    value,
                    types: Vec::new(),
                });
            }
        }
        Conversion::Identifier => identifier(value, setting, found),
        Conversion::ContactPoint => {
            if let Some(text) = member(value, "value") {
                found(IndexValue::Identifier {
                    system: member(value, "system"),
                    value: text,
                    types: Vec::new(),
                });
            }
        }
        Conversion::Text => text(value, found),
        Conversion::HumanName => members(
            value,
            &["text", "family", "given", "prefix", "suffix"],
            found,
        ),
        Conversion::Address => {
            let parts = [
                "text",
                "line",
                "city",
                "district",
                "state",
                "postalCode",
                "country",
            ];
            members(value, &parts, found);
        }
        Conversion::Reference => reference(value, setting, found),
        Conversion::Canonical => {
            if let Some(text) = non_empty(value.as_str()) {
                canonical(text, found);
            }
        }
        Conversion::InlineResource => inline_resource(value, setting, found),
        Conversion::Uri => uri(value, found),
        Conversion::Date => {
            if let Some(range) = date::range_of(value, setting.zone) {
                found(IndexValue::Date {
                    start: range.start,
                    end: range.end,
                });
            }
        }
        Conversion::Number => {
            if let Some((low, high)) = quantity::number_range_of(value) {
                found(IndexValue::Number { low, high });
            }
        }
        Conversion::Quantity => {
            if let Some(q) = quantity::range_of(value) {
                found(IndexValue::Quantity {
                    system: q.system,
                    code: q.code,
                    unit: q.unit,
                    low: q.low,
                    high: q.high,
                });
            }
        }
        Conversion::Position => {
            if let (Some(latitude_e7), Some(longitude_e7)) =
                (degrees(value, "latitude"), degrees(value, "longitude"))
            {
                found(IndexValue::Position {
                    latitude_e7,
                    longitude_e7,
                });
            }
        }
    }
}

/// A computed value, such as the boolean of `deceased.exists()`, as an index value.
pub(super) fn convert_computed<'a>(
    kind: ParamType,
    item: &Item<'a>,
    found: &mut impl FnMut(IndexValue<'a>),
) {
    let Some(text) = item.to_text() else {
        return;
    };
    match kind {
        ParamType::Token => found(IndexValue::Token {
            system: None,
            code: text,
        }),
        ParamType::String => found(IndexValue::String {
            normal: normalise(&text).into_owned(),
            exact: text,
        }),
        ParamType::Uri => found(IndexValue::Uri(text)),
        _ => {}
    }
}

fn non_empty(text: Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    text.filter(|t| !t.is_empty())
}

fn member<'a>(value: ValueRef<'a>, name: &str) -> Option<Cow<'a, str>> {
    non_empty(value.get(name).and_then(ValueRef::as_str))
}

/// Texts for `:text`. Displays and texts mostly repeat each other word for word; those are normalised once.
struct TextList<'a> {
    is_wanted: bool,
    last: Option<Cow<'a, str>>,
    normal: Vec<String>,
}

impl<'a> TextList<'a> {
    fn new(setting: Setting<'_>) -> Self {
        Self {
            is_wanted: setting.texts == Texts::Wanted,
            last: None,
            normal: Vec::new(),
        }
    }

    fn push(&mut self, text: Option<ValueRef<'a>>) {
        if !self.is_wanted {
            return;
        }
        let text = non_empty(text.and_then(ValueRef::as_str));
        if text.is_some() && text != self.last {
            self.normal.extend(
                text.as_deref()
                    .map(normalise)
                    .filter(|t| !t.is_empty())
                    .map(Cow::into_owned),
            );
            self.last = text;
        }
    }

    fn emit(self, found: &mut impl FnMut(IndexValue<'a>)) {
        if !self.normal.is_empty() {
            found(IndexValue::TokenText(self.normal));
        }
    }
}

fn coding<'a>(value: ValueRef<'a>, setting: Setting<'_>, found: &mut impl FnMut(IndexValue<'a>)) {
    let mut texts = TextList::new(setting);
    token_of_coding(value, &mut texts, found);
    texts.emit(found);
}

/// A Coding without a code is found by nothing but its display.
fn token_of_coding<'a>(
    value: ValueRef<'a>,
    texts: &mut TextList<'a>,
    found: &mut impl FnMut(IndexValue<'a>),
) {
    let (mut system, mut code) = (None, None);
    for (name, value) in value.members() {
        match name.as_ref() {
            "system" => system = non_empty(value.as_str()),
            "code" => code = non_empty(value.as_str()),
            "display" => texts.push(Some(value)),
            _ => {}
        }
    }
    if let Some(code) = code {
        found(IndexValue::Token { system, code });
    }
}

fn codeable_concept<'a>(
    value: ValueRef<'a>,
    setting: Setting<'_>,
    found: &mut impl FnMut(IndexValue<'a>),
) {
    let mut texts = TextList::new(setting);
    for (name, value) in value.members() {
        match name.as_ref() {
            "coding" => value
                .each()
                .for_each(|coding| token_of_coding(coding, &mut texts, found)),
            "text" => texts.push(Some(value)),
            _ => {}
        }
    }
    texts.emit(found);
}

fn identifier<'a>(
    value: ValueRef<'a>,
    setting: Setting<'_>,
    found: &mut impl FnMut(IndexValue<'a>),
) {
    let mut types = Vec::new();
    let mut texts = TextList::new(setting);
    let (mut system, mut text) = (None, None);
    for (name, value) in value.members() {
        match name.as_ref() {
            "system" => system = non_empty(value.as_str()),
            "value" => text = non_empty(value.as_str()),
            "type" => {
                for coding in value.get("coding").into_iter().flat_map(ValueRef::each) {
                    types.extend(member(coding, "code").map(|c| (member(coding, "system"), c)));
                    texts.push(coding.get("display"));
                }
                texts.push(value.get("text"));
            }
            _ => {}
        }
    }
    if let Some(value) = text {
        found(IndexValue::Identifier {
            system,
            value,
            types,
        });
    }
    texts.emit(found);
}

fn text<'a>(value: ValueRef<'a>, found: &mut impl FnMut(IndexValue<'a>)) {
    if let Some(exact) = non_empty(value.as_str()) {
        found(IndexValue::String {
            normal: normalise(&exact).into_owned(),
            exact,
        });
    }
}

/// "any of the string fields in the HumanName, including family, give, prefix, suffix, suffix, and/or text".
fn members<'a>(value: ValueRef<'a>, names: &[&str], found: &mut impl FnMut(IndexValue<'a>)) {
    for (name, value) in value.members() {
        if names.contains(&name.as_ref()) {
            value.each().for_each(|part| text(part, found));
        }
    }
}

fn reference<'a>(
    value: ValueRef<'a>,
    setting: Setting<'_>,
    found: &mut impl FnMut(IndexValue<'a>),
) {
    for (name, value) in value.members() {
        match name.as_ref() {
            "reference" => {
                if let Some(text) = non_empty(value.as_str()) {
                    literal_reference(text, setting, found);
                }
            }
            "identifier" => {
                if let Some(text) = member(value, "value") {
                    found(IndexValue::ReferenceIdentifier {
                        system: member(value, "system"),
                        value: text,
                    });
                }
            }
            _ => {}
        }
    }
}

/// A contained resource has no address of its own; its `#id` still shows that there is a reference. A reference to a
/// version leads to the resource, and is found by the version too.
fn literal_reference<'a>(
    text: Cow<'a, str>,
    setting: Setting<'_>,
    found: &mut impl FnMut(IndexValue<'a>),
) {
    match Reference::parse(&text, setting.base_urls) {
        Some(Reference::Local { key, version }) => {
            if let Some(version) = version {
                let url = versioned(&key, version);
                found(IndexValue::ReferenceUrl(url.into()));
            }
            found(IndexValue::Reference(key));
        }
        Some(Reference::Absolute { url, version, .. }) if version.is_some() => {
            let length = url.len();
            found(IndexValue::ReferenceUrl(prefix(text.clone(), length)));
            found(IndexValue::ReferenceUrl(text));
        }
        _ => found(IndexValue::ReferenceUrl(text)),
    }
}

fn prefix(text: Cow<'_, str>, length: usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(..length).unwrap_or(text)),
        Cow::Owned(mut text) => {
            text.truncate(length);
            Cow::Owned(text)
        }
    }
}

/// A canonical is found by its url, and with the version that it names.
fn canonical<'a>(text: Cow<'a, str>, found: &mut impl FnMut(IndexValue<'a>)) {
    let parts = Canonical::parse(&text);
    if parts.url.is_empty() {
        return;
    }
    if let Some(version) = parts.version {
        let whole = format!("{}|{version}", parts.url);
        found(IndexValue::ReferenceUrl(whole.into()));
    }
    let length = parts.url.len();
    found(IndexValue::ReferenceUrl(prefix(text, length)));
}

/// The url of a canonical; `None` for a mere fragment.
fn without_version(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let length = Canonical::parse(&text).url.len();
    (length > 0).then(|| prefix(text, length))
}

/// "if the bundle type is document - this is a composition": only types that the parameter leads to count.
fn inline_resource<'a>(
    value: ValueRef<'a>,
    setting: Setting<'_>,
    found: &mut impl FnMut(IndexValue<'a>),
) {
    let resource_type =
        member(value, "resourceType").and_then(|n| Definitions::r4().resource_type(&n));
    let id = member(value, "id").and_then(|id| ResourceId::parse(&id));
    if let (Some(resource_type), Some(id)) = (resource_type, id)
        && setting.targets.contains(&resource_type)
    {
        found(IndexValue::Reference(ResourceKey { resource_type, id }));
    }
}

/// A canonical with a version is also found without it.
fn uri<'a>(value: ValueRef<'a>, found: &mut impl FnMut(IndexValue<'a>)) {
    let Some(text) = non_empty(value.as_str()) else {
        return;
    };
    if text.contains('|') {
        let bare = without_version(text.clone());
        bare.into_iter().for_each(|url| found(IndexValue::Uri(url)));
    }
    found(IndexValue::Uri(text));
}

/// Digits behind the point of a position: 10^-7 degrees is about a centimetre.
const DEGREE_PLACES: u32 = 7;

fn degrees(value: ValueRef<'_>, name: &str) -> Option<i64> {
    Decimal::parse(value.get(name)?.number_text()?)
        .ok()?
        .to_scaled_i64(DEGREE_PLACES)
}
