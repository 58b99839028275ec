//! Parts of resources: `_summary` and `_elements`, written from the stored text.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#summary>, <https://hl7.org/fhir/R4/search.html#elements>. "Resources returned in this way
//! SHOULD be tagged with SUBSETTED", so that nobody writes half a resource back.

use crate::body::resource_type_name;
use crate::json::{ValueRef, write_string};
use crate::validate::shape::{Content, Shape};

/// System of the tag.
const TAG_SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";

/// The tag as JSON.
fn write_tag(out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"system\":");
    write_string(TAG_SYSTEM, out);
    out.extend_from_slice(b",\"code\":\"SUBSETTED\"}");
}

/// Which part is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subset {
    /// `_summary=true`: the elements that the definitions mark as summary, at every level.
    Summary,
    /// `_summary=text`: "only the text element, the id element, the meta element, and … top-level mandatory elements".
    Text,
    /// `_summary=data`: everything but the narrative.
    Data,
    /// `_elements`: these, and the mandatory and modifier ones, since a resource without them would mislead.
    Elements(Vec<String>),
}

/// Appends the part of a resource, tagged. A resource of a type that R4 does not have is written as it is.
pub fn write(resource: ValueRef<'_>, subset: &Subset, out: &mut Vec<u8>) {
    let Some((name, shape)) =
        resource_type_name(resource).and_then(|name| Some((name.clone(), Shape::of(&name)?)))
    else {
        return resource.write_compact(out);
    };
    out.extend_from_slice(b"{\"resourceType\":");
    write_string(&name, out);
    if let Some(id) = resource.get("id") {
        member("id", id, out);
    }
    write_meta(resource.get("meta"), out);
    let mut hint = 0;
    for (json_name, value) in resource.members() {
        if matches!(json_name.as_ref(), "resourceType" | "id" | "meta") {
            continue;
        }
        let plain = json_name.strip_prefix('_').unwrap_or(&json_name);
        let found = shape.name(plain, &mut hint);
        let keep = found
            .and_then(|found| shape.members.get(found.member))
            .map_or(Keep::No, |kept| {
                let element = kept.element;
                subset.keeps(
                    element.base_name(),
                    element.min > 0,
                    element.is_summary,
                    element.is_modifier,
                )
            });
        match (keep, found) {
            (Keep::No, _) | (_, None) => {}
            (Keep::All, Some(_)) => member(&json_name, value, out),
            (Keep::Summary, Some(found)) => {
                out.push(b',');
                write_string(&json_name, out);
                out.push(b':');
                write_summary(&found.content, value, out);
            }
        }
    }
    out.push(b'}');
}

/// How much of an element stays.
enum Keep {
    No,
    All,
    Summary,
}

impl Subset {
    fn keeps(&self, name: &str, is_mandatory: bool, is_summary: bool, is_modifier: bool) -> Keep {
        let all = |keep: bool| if keep { Keep::All } else { Keep::No };
        match self {
            // A modifier extension always stays: without it the rest would be read wrongly.
            Subset::Summary if name == "modifierExtension" => Keep::All,
            Subset::Summary if is_summary || is_mandatory => Keep::Summary,
            Subset::Summary => Keep::No,
            Subset::Text => all(is_mandatory || is_modifier || name == "text"),
            Subset::Data => all(name != "text"),
            Subset::Elements(names) => {
                all(is_mandatory || is_modifier || names.iter().any(|wanted| wanted == name))
            }
        }
    }
}

fn member(name: &str, value: ValueRef<'_>, out: &mut Vec<u8>) {
    out.push(b',');
    write_string(name, out);
    out.push(b':');
    value.write_compact(out);
}

/// `meta` with the tag added to those it has.
fn write_meta(meta: Option<ValueRef<'_>>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"meta\":{");
    for (name, value) in meta
        .into_iter()
        .flat_map(ValueRef::members)
        .filter(|(name, _)| name != "tag")
    {
        write_string(&name, out);
        out.push(b':');
        value.write_compact(out);
        out.push(b',');
    }
    out.extend_from_slice(b"\"tag\":[");
    for tag in meta
        .and_then(|meta| meta.get("tag"))
        .into_iter()
        .flat_map(ValueRef::items)
    {
        tag.write_compact(out);
        out.push(b',');
    }
    write_tag(out);
    out.extend_from_slice(b"]}");
}

/// The summary of a value: in backbone elements what is marked there; data types stay whole, as their parts mean little
/// alone.
fn write_summary(content: &Content, value: ValueRef<'_>, out: &mut Vec<u8>) {
    let backbone = content.shape().filter(|shape| shape.path.contains('.'));
    let Some(shape) = backbone else {
        return value.write_compact(out);
    };
    if value.is_array() {
        out.push(b'[');
        for (at, item) in value.items().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_backbone(shape, item, out);
        }
        out.push(b']');
    } else {
        write_backbone(shape, value, out);
    }
}

fn write_backbone(shape: &'static Shape, object: ValueRef<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    let (mut hint, mut is_first) = (0, true);
    for (json_name, value) in object.members() {
        let plain = json_name.strip_prefix('_').unwrap_or(&json_name);
        let Some(found) = shape.name(plain, &mut hint) else {
            continue;
        };
        let is_kept = shape.members.get(found.member).is_some_and(|member| {
            let element = member.element;
            element.is_summary
                || element.min > 0
                || matches!(element.name, "id" | "modifierExtension")
        });
        if !is_kept {
            continue;
        }
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        write_string(&json_name, out);
        out.push(b':');
        write_summary(&found.content, value, out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    const OBSERVATION: &str = r#"{"resourceType":"Observation","id":"1","meta":{"versionId":"2","tag":[{"code":"x"}]},
        "text":{"status":"generated","div":"<div>a</div>"},"status":"final","code":{"text":"c"},"note":[{"text":"n"}],
        "valueQuantity":{"value":2.50,"unit":"mg"},"referenceRange":[{"text":"r"}],
        "component":[{"code":{"text":"k"},"referenceRange":[{"text":"r"}],"valueInteger":1}]}"#;

    const META: &str = r#""meta":{"versionId":"2","tag":[{"code":"x"},{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}]}"#;

    fn check(subset: &Subset, expected: &str) {
        let document = Document::parse(OBSERVATION.as_bytes()).unwrap();
        let mut out = Vec::new();
        write(document.root(), subset, &mut out);
        Document::parse(&out).expect("valid JSON");
        let expected = format!(r#"{{"resourceType":"Observation","id":"1",{META}{expected}}}"#);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{subset:?}");
    }

    /// Spec: <https://hl7.org/fhir/R4/search.html#summary>
    /// Verifies: SRS-001, RC-001
    #[test]
    fn parts_are_tagged_and_keep_their_digits() {
        check(
            &Subset::Summary,
            r#","status":"final","code":{"text":"c"},"valueQuantity":{"value":2.50,"unit":"mg"},"component":[{"code":{"text":"k"},"valueInteger":1}]"#,
        );
        check(
            &Subset::Text,
            r#","text":{"status":"generated","div":"<div>a</div>"},"status":"final","code":{"text":"c"}"#,
        );
        check(
            &Subset::Data,
            r#","status":"final","code":{"text":"c"},"note":[{"text":"n"}],"valueQuantity":{"value":2.50,"unit":"mg"},"referenceRange":[{"text":"r"}],"component":[{"code":{"text":"k"},"referenceRange":[{"text":"r"}],"valueInteger":1}]"#,
        );
        check(
            &Subset::Elements(vec!["value".to_owned()]),
            r#","status":"final","code":{"text":"c"},"valueQuantity":{"value":2.50,"unit":"mg"}"#,
        );
    }

    #[test]
    fn a_resource_without_meta_is_tagged_too() {
        let document = Document::parse(br#"{"resourceType":"Patient","active":true}"#).unwrap();
        let mut out = Vec::new();
        write(document.root(), &Subset::Elements(vec![]), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with(r#"{"resourceType":"Patient","meta":{"tag":[{"#),
            "{text}"
        );
        Document::parse(text.as_bytes()).expect("valid JSON");
    }
}
