//! TEMPORARY
#![allow(missing_docs, unused)]
pub mod versioning {
    use fhir_core::{ids::*, issue::*};
    pub struct ReadCondition;
    impl ReadCondition { pub fn parse(_: Option<&str>, _: Option<&str>) -> Self { Self } }
    pub fn is_not_modified(_: &ReadCondition, _: VersionId, _: Instant) -> bool { false }
    pub fn parse_if_match(_: Option<&str>) -> Result<Option<VersionId>, Problem> { Ok(None) }
}
pub mod structure { use fhir_core::{issue::*, json::*}; pub fn check(_: conformance::ResourceTypeId, _: ValueRef<'_>) -> Vec<Issue> { vec![] } }
pub mod extract {
    use fhir_core::{index::*, json::*};
    pub struct Extractor; pub struct Context<'a> { pub base_urls: &'a [&'a str] }
    impl Extractor { pub fn r4() -> Self { Self } pub fn extract<'a>(&self, _: conformance::ResourceTypeId, _: ValueRef<'a>, _: &Context) -> Vec<IndexEntry<'a>> { vec![] } }
}
pub mod response {
    use fhir_core::ids::*;
    pub struct Link { pub relation: &'static str, pub url: String }
    pub struct HistoryEntry<'a> { pub key: &'a ResourceKey, pub version: VersionId, pub updated: Instant, pub is_deleted: bool, pub json: &'a [u8] }
    pub fn history(_: &str, _: Option<u64>, _: &[Link], _: &[HistoryEntry]) -> Vec<u8> { vec![] }
}
pub mod supported { pub fn is_supported(p: &conformance::SearchParam) -> bool { !p.expression.is_empty() } }
