//! Extraction, parameter type by parameter type.

use conformance::{Definitions, ParamId};

use super::*;
use crate::json::Document;

#[test]
fn every_official_expression_compiles() {
    let definitions = Definitions::r4();
    let extractor = Extractor::r4();
    let (mut paths, mut evaluated) = (0, 0);
    let mut problems = Vec::new();
    for resource_type in definitions.concrete_types() {
        let shares = extractor.shares(resource_type);
        paths += shares.0;
        evaluated += shares.1;
        problems.extend(extractor.problems(resource_type).iter().map(|p| {
            let param = definitions.search_param_by_id(p.param).unwrap();
            format!("{}.{}: {}", param.base.name(), param.code, p.error)
        }));
    }
    assert_eq!(problems, Vec::<String>::new());
    println!("{paths} paths, {evaluated} evaluated");
}
