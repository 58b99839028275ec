//! TEMPORARY
#![allow(missing_docs, unused)]
pub mod structure { use fhir_core::{issue::*, json::*}; pub fn check(_: conformance::ResourceTypeId, _: ValueRef<'_>) -> Vec<Issue> { vec![] } }
pub mod extract {
    use fhir_core::{index::*, json::*};
    pub struct Extractor; pub struct Context<'a> { pub base_urls: &'a [&'a str] }
    impl Extractor { pub fn r4() -> Self { Self } pub fn extract<'a>(&self, _: conformance::ResourceTypeId, _: ValueRef<'a>, _: &Context) -> Vec<IndexEntry<'a>> { vec![] } }
}
pub mod supported { pub fn is_supported(p: &conformance::SearchParam) -> bool { !p.expression.is_empty() } }
