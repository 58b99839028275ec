//! An HL7 v2 message: decoded, normalised, split, mapped.
//!
//! Spec: HL7 v2 chapter 2. Promises: any bytes give something to keep, raw bytes included; what was mapped is JSON with a
//! known resource type.

use std::sync::OnceLock;

use adapters::feed::{Feed, FeedSettings};
use adapters::pipeline::Pipeline;
use bytes::Bytes;
use conformance::Definitions;
use fhir_core::body::resource_type_name;
use fhir_core::json::Document;
use mappings::Library;

fn pipeline() -> &'static Pipeline {
    static PIPELINE: OnceLock<Pipeline> = OnceLock::new();
    PIPELINE.get_or_init(|| {
        let settings = FeedSettings {
            mapping: [("zone".into(), "Europe/Berlin".into())].into(),
            ..FeedSettings::default()
        };
        Pipeline::new(
            Feed::new(&settings).expect("the settings"),
            Library::embedded().expect("the mappings"),
        )
    })
}

pub fn run(data: &[u8]) {
    let reading = pipeline().read(Bytes::copy_from_slice(data));
    assert_eq!(reading.intake.raw, data, "the message was changed");
    for produced in &reading.intake.resources {
        let text = produced.value.to_bytes();
        let document = Document::parse(&text).expect("a resource that is no JSON");
        let is_known = resource_type_name(document.root())
            .is_some_and(|name| Definitions::r4().resource_type(&name).is_some());
        assert!(is_known, "a resource of no type");
    }
}
