//! From a resource to its index entries.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html>
//!
//! Leaves out what the store has anyway (`_id`, `_lastUpdated`) and what has no expression (`_text`, `_content`,
//! `_query`). An element of the wrong shape gives no entry; refusing it is validation's business.

use std::collections::HashMap;
use std::sync::OnceLock;

use conformance::{Definitions, ParamType, ResourceTypeId};

use crate::datatype::date::Zone;
use crate::fhirpath::Expression;
use crate::fhirpath::compile::CompileError;
use crate::fhirpath::eval::{Element, Item, evaluate};
use crate::index::{IndexEntry, IndexValue};
use crate::json::ValueRef;

use super::convert::{Conversion, Setting, Texts, convert, convert_computed};
use super::program::{Action, CompositeGroup, ParamDefinition, Problem, TypeProgram};
use super::trie::Surroundings;

/// Most values of one composite parameter that one element may give: parts multiply. Real data stays under 100.
pub const COMPOSITE_VALUES_MAX: usize = 10_000;

/// What extraction needs to know of the server.
#[derive(Debug, Clone, Copy)]
pub struct Context<'c> {
    /// Own base urls: absolute references below them are local.
    pub base_urls: &'c [&'c str],
    /// The zone of dates and times that name none.
    pub zone: Zone,
}

impl Default for Context<'_> {
    fn default() -> Self {
        Self {
            base_urls: &[],
            zone: Zone::UTC,
        }
    }
}

/// The compiled search parameters of all resource types; each type is compiled at its first resource.
#[derive(Debug)]
pub struct Extractor {
    programs: Vec<OnceLock<TypeProgram>>,
    custom: HashMap<ResourceTypeId, Vec<ParamDefinition>>,
}

impl Extractor {
    /// The official parameters of R4.
    pub fn r4() -> &'static Extractor {
        static EXTRACTOR: OnceLock<Extractor> = OnceLock::new();
        EXTRACTOR.get_or_init(|| Self::with_custom([]))
    }

    /// The official parameters and custom ones; check those with [`Extractor::check`] before.
    pub fn with_custom(
        params: impl IntoIterator<Item = (ResourceTypeId, ParamDefinition)>,
    ) -> Self {
        let mut custom: HashMap<ResourceTypeId, Vec<ParamDefinition>> = HashMap::new();
        for (resource_type, param) in params {
            custom.entry(resource_type).or_default().push(param);
        }
        let programs = Definitions::r4()
            .resource_types()
            .iter()
            .map(|_| OnceLock::new())
            .collect();
        Self { programs, custom }
    }

    /// Whether a parameter could be extracted from resources of a type.
    ///
    /// # Errors
    /// [`CompileError`] of its expression or that of a part.
    pub fn check(
        resource_type: ResourceTypeId,
        param: ParamDefinition,
    ) -> Result<(), CompileError> {
        let mut problems = TypeProgram::new(resource_type, vec![param]).problems;
        problems.pop().map_or(Ok(()), |problem| Err(problem.error))
    }

    /// Parameters of a type that could not be compiled and so give no entries.
    pub fn problems(&self, resource_type: ResourceTypeId) -> &[Problem] {
        self.program(resource_type).map_or(&[], |p| &p.problems)
    }

    /// How many parameters of a type are path programs, and how many need the evaluator.
    pub fn shares(&self, resource_type: ResourceTypeId) -> (usize, usize) {
        self.program(resource_type).map_or((0, 0), |program| {
            let with_expression = program
                .params
                .iter()
                .filter(|p| !p.expression.is_empty())
                .count();
            let in_groups = program
                .groups
                .iter()
                .filter(|g| !g.evaluated.is_empty())
                .count();
            let evaluated = program.evaluated.len() + in_groups;
            (
                with_expression - program.problems.len() - evaluated,
                evaluated,
            )
        })
    }

    fn program(&self, resource_type: ResourceTypeId) -> Option<&TypeProgram> {
        let cell = self.programs.get(usize::from(resource_type.0))?;
        Some(cell.get_or_init(|| {
            let official = Definitions::r4().search_params(resource_type);
            let stored = |code: &str| matches!(code, "_id" | "_lastUpdated");
            let mut params: Vec<ParamDefinition> = official
                .iter()
                .filter(|p| !stored(p.code))
                .map(|p| ParamDefinition::official(p, official))
                .collect();
            params.extend(
                self.custom
                    .get(&resource_type)
                    .into_iter()
                    .flatten()
                    .cloned(),
            );
            TypeProgram::new(resource_type, params)
        }))
    }

    /// The entries of a resource of this type, sorted and each once.
    pub fn extract<'a>(
        &self,
        resource_type: ResourceTypeId,
        resource: ValueRef<'a>,
        context: &Context<'_>,
    ) -> Vec<IndexEntry<'a>> {
        /// Room for the entries of most resources: an Observation has about 20.
        const ENTRIES_EXPECTED: usize = 32;
        let Some(program) = self.program(resource_type) else {
            return Vec::new();
        };
        let mut entries = Vec::with_capacity(ENTRIES_EXPECTED);
        let extraction = Extraction {
            program,
            resource,
            around: Surroundings {
                resource,
                base_urls: context.base_urls,
            },
            zone: context.zone,
        };
        extraction.run(&mut entries);
        entries.sort_unstable();
        entries.dedup_by(|entry, kept| *entry == *kept || merge_texts(entry, kept));
        entries
    }
}

/// Joins the texts of one parameter into one entry; true when `entry` is used up.
fn merge_texts(entry: &mut IndexEntry<'_>, kept: &mut IndexEntry<'_>) -> bool {
    if entry.param != kept.param {
        return false;
    }
    let (IndexValue::TokenText(more), IndexValue::TokenText(texts)) =
        (&mut entry.value, &mut kept.value)
    else {
        return false;
    };
    texts.append(more);
    texts.sort_unstable();
    texts.dedup();
    true
}

/// One extraction under way.
struct Extraction<'p, 'a, 'c> {
    program: &'p TypeProgram,
    resource: ValueRef<'a>,
    around: Surroundings<'a, 'c>,
    zone: Zone,
}

impl<'a> Extraction<'_, 'a, '_> {
    fn run(&self, entries: &mut Vec<IndexEntry<'a>>) {
        self.program.trie.walk(
            self.resource,
            self.around,
            &mut |action, value| match action {
                Action::Value(params, conversion) => {
                    self.value(params, *conversion, value, entries)
                }
                Action::Composites(group) => {
                    if let Some(group) = self.program.groups.get(*group) {
                        self.composites(group, value, entries);
                    }
                }
            },
        );
        for (index, expression) in &self.program.evaluated {
            if let Some(param) = self.program.params.get(*index) {
                let mut emit = |value| {
                    entries.push(IndexEntry {
                        param: param.id,
                        value,
                    })
                };
                self.evaluated(
                    param.kind,
                    expression,
                    Element::resource(self.resource),
                    &param.targets,
                    &mut emit,
                );
            }
        }
    }

    fn setting<'s>(&'s self, targets: &'s [ResourceTypeId], texts: Texts) -> Setting<'s> {
        Setting {
            base_urls: self.around.base_urls,
            zone: self.zone,
            targets,
            texts,
        }
    }

    fn value(
        &self,
        params: &[usize],
        conversion: Conversion,
        value: ValueRef<'a>,
        entries: &mut Vec<IndexEntry<'a>>,
    ) {
        let mut params = params.iter().filter_map(|p| self.program.params.get(*p));
        let Some(first) = params.next() else {
            return;
        };
        let start = entries.len();
        let setting = self.setting(&first.targets, Texts::Wanted);
        convert(conversion, value, setting, &mut |value| {
            entries.push(IndexEntry {
                param: first.id,
                value,
            });
        });
        let end = entries.len();
        for param in params {
            for at in start..end {
                let value = entries.get(at).map(|entry| entry.value.clone());
                entries.extend(value.map(|value| IndexEntry {
                    param: param.id,
                    value,
                }));
            }
        }
    }

    fn evaluated(
        &self,
        kind: ParamType,
        expression: &Expression,
        focus: Element<'a>,
        targets: &[ResourceTypeId],
        emit: &mut impl FnMut(IndexValue<'a>),
    ) {
        // An expression that fails on this resource gives no entry, like an element of the wrong shape.
        let items =
            evaluate(expression, focus, Element::resource(self.resource)).unwrap_or_default();
        for item in items {
            match &item {
                Item::Element(element) => {
                    if let Some(conversion) = Conversion::of(kind, element.type_path) {
                        convert(
                            conversion,
                            element.value,
                            self.setting(targets, Texts::Wanted),
                            emit,
                        );
                    }
                }
                computed => convert_computed(kind, computed, emit),
            }
        }
    }

    /// Collects the values of every part, then joins them for each composite.
    fn composites(
        &self,
        group: &CompositeGroup,
        value: ValueRef<'a>,
        entries: &mut Vec<IndexEntry<'a>>,
    ) {
        let mut slots: Vec<Vec<IndexValue<'a>>> = vec![Vec::new(); group.slot_count()];
        let setting = self.setting(&[], Texts::Left);
        let mut fill = |(slot, conversion): &(usize, Conversion), value: ValueRef<'a>| {
            if let Some(slot) = slots.get_mut(*slot) {
                convert(*conversion, value, setting, &mut |value| slot.push(value));
            }
        };
        group.focus_trie.walk(value, self.around, &mut fill);
        if !group.resource_trie.is_empty() {
            group
                .resource_trie
                .walk(self.resource, self.around, &mut fill);
        }
        for (slot, kind, expression) in &group.evaluated {
            let focus = Element {
                value,
                sibling: None,
                type_path: group.type_path,
            };
            if let Some(slot) = slots.get_mut(*slot) {
                self.evaluated(*kind, expression, focus, &[], &mut |value| {
                    if !matches!(value, IndexValue::TokenText(_)) {
                        slot.push(value);
                    }
                });
            }
        }
        for (param, parts) in &group.composites {
            let of_part = |part: &usize| slots.get(*part).map_or(&[][..], Vec::as_slice);
            if parts.iter().any(|part| of_part(part).is_empty()) {
                continue;
            }
            if let Some(param) = self.program.params.get(*param) {
                let parts: Vec<&[IndexValue<'a>]> = parts.iter().map(of_part).collect();
                combinations(&parts, |parts| {
                    entries.push(IndexEntry {
                        param: param.id,
                        value: IndexValue::Composite(parts),
                    });
                });
            }
        }
    }
}

/// Every way to take one value of each part, up to [`COMPOSITE_VALUES_MAX`].
fn combinations<'a>(parts: &[&[IndexValue<'a>]], mut emit: impl FnMut(Vec<IndexValue<'a>>)) {
    let count = parts
        .iter()
        .fold(1_usize, |count, part| count.saturating_mul(part.len()));
    for number in 0..count.min(COMPOSITE_VALUES_MAX) {
        let mut rest = number;
        let mut taken = Vec::with_capacity(parts.len());
        for part in parts {
            taken.extend(part.get(rest % part.len()).cloned());
            rest /= part.len();
        }
        emit(taken);
    }
}
