//! Reads the generated tables: slices into the text, no copies.
//!
//! Leaves out tolerance: a row that cannot be read is a broken build, found by the tests, so it panics with its text.

use std::collections::HashMap;
use std::ops::Range;

use crate::Definitions;
use crate::model::{
    Binding, BindingStrength, Code, CodeList, Element, ElementType, Max, ParamId, ResourceTypeDef,
    ResourceTypeId, TypeKind,
};
use crate::search::{Component, ParamType, SearchParam};

pub(crate) const RESOURCE_TYPES: &str = include_str!("../generated/resource_types.tsv");
const TYPES: &str = include_str!("../generated/types.tsv");
const ELEMENTS: &str = include_str!("../generated/elements.tsv");
pub(crate) const SEARCH_PARAMS: &str = include_str!("../generated/search_params.tsv");
const COMPARTMENTS: &str = include_str!("../generated/compartments.tsv");
const CODES: &str = include_str!("../generated/codes.tsv");

/// Parses all tables, the two long ones side by side: this is on the way of every start.
pub(crate) fn load() -> Definitions {
    std::thread::scope(|scope| {
        let elements = scope.spawn(|| {
            let elements = elements();
            (children(&elements), elements)
        });
        let resource_types = resource_types();
        let search_params = search_params(&resource_types);
        let (compartments, compartment_params) = compartments(&resource_types);
        let types = types(&resource_types);
        let params_of_type = params_of_type(&resource_types, &search_params);
        let code_lists = code_lists();
        let (children, elements) = elements.join().unwrap_or_else(|_| broken("elements.tsv"));
        Definitions {
            resource_types,
            types,
            elements,
            children,
            search_params,
            params_of_type,
            compartments,
            compartment_params,
            code_lists,
        }
    })
}

/// The rows of a table without its header, cut into exactly `N` cells.
fn rows<const N: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut cells = [""; N];
            let mut parts = line.split('\t');
            for cell in &mut cells {
                *cell = parts.next().unwrap_or_else(|| broken(line));
            }
            if parts.next().is_some() {
                broken(line)
            } else {
                cells
            }
        })
}

/// All rows made into values, in one allocation.
fn read<const N: usize, T>(
    table: &'static str,
    value: impl FnMut([&'static str; N]) -> T,
) -> Vec<T> {
    let mut values = Vec::with_capacity(table.lines().count());
    values.extend(rows(table).map(value));
    values
}

fn broken(row: &str) -> ! {
    panic!("generated table has a broken row, run `cargo xtask codegen`: {row}")
}

fn resource_types() -> Vec<ResourceTypeDef> {
    rows(RESOURCE_TYPES)
        .map(|[name, base, kind]| ResourceTypeDef {
            name,
            base,
            is_abstract: kind == "abstract",
        })
        .collect()
}

fn resource_type(types: &[ResourceTypeDef], name: &str) -> ResourceTypeId {
    let index = types
        .binary_search_by(|definition| definition.name.cmp(name))
        .unwrap_or_else(|_| broken(name));
    ResourceTypeId(u16::try_from(index).unwrap_or_else(|_| broken(name)))
}

fn types(resource_types: &[ResourceTypeDef]) -> HashMap<&'static str, (TypeKind, &'static str)> {
    let data_types = rows(TYPES).map(|[name, kind, base, regex]| {
        let regex = (!regex.is_empty()).then_some(regex);
        let is_primitive = kind == "primitive";
        let kind = if is_primitive {
            TypeKind::Primitive { regex }
        } else {
            TypeKind::Complex
        };
        (name, (kind, base))
    });
    let resources = resource_types.iter();
    data_types
        .chain(resources.map(|definition| (definition.name, (TypeKind::Resource, definition.base))))
        .collect()
}

fn elements() -> Vec<Element> {
    read(ELEMENTS, element)
}

fn element(cells: [&'static str; 8]) -> Element {
    let [
        path,
        min,
        max,
        types,
        content_reference,
        strength,
        value_set,
        flags,
    ] = cells;
    Element {
        name: path
            .rsplit_once('.')
            .map_or_else(|| broken(path), |(_, name)| name),
        path,
        min: min.parse().unwrap_or_else(|_| broken(path)),
        max: match max {
            "1" => Max::One,
            "*" => Max::Many,
            number => Max::Exactly(number.parse().unwrap_or_else(|_| broken(path))),
        },
        types: element_types(types),
        content_reference: (!content_reference.is_empty()).then_some(content_reference),
        binding: binding(strength, value_set),
        is_summary: flags.contains('S'),
        is_modifier: flags.contains('M'),
    }
}

fn element_types(cell: &'static str) -> Vec<ElementType> {
    let mut types = Vec::with_capacity(cell.split('|').count());
    types.extend(
        cell.split('|')
            .filter(|part| !part.is_empty())
            .map(element_type),
    );
    types
}

fn element_type(cell: &'static str) -> ElementType {
    let Some((code, targets)) = cell.split_once('(') else {
        return ElementType {
            code: cell,
            target_types: Vec::new(),
        };
    };
    ElementType {
        code,
        target_types: targets.trim_end_matches(')').split(',').collect(),
    }
}

fn binding(strength: &str, value_set: &'static str) -> Option<Binding> {
    let strength = match strength {
        "R" => BindingStrength::Required,
        "E" => BindingStrength::Extensible,
        "P" => BindingStrength::Preferred,
        "X" => BindingStrength::Example,
        _ => return None,
    };
    Some(Binding {
        strength,
        value_set,
    })
}

/// Children of one parent stand next to each other, so a range finds them.
fn children(elements: &[Element]) -> HashMap<&'static str, Range<usize>> {
    let mut children: HashMap<&'static str, Range<usize>> = HashMap::with_capacity(1024);
    let mut start = 0;
    for group in elements.chunk_by(|left, right| parent(left.path) == parent(right.path)) {
        let end = start + group.len();
        if let Some(first) = group.first()
            && children.insert(parent(first.path), start..end).is_some()
        {
            broken(first.path);
        }
        start = end;
    }
    children
}

fn parent(path: &'static str) -> &'static str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

fn search_params(types: &[ResourceTypeDef]) -> Vec<SearchParam> {
    let mut numbers = 1_u16..;
    read(SEARCH_PARAMS, |cells| {
        let number = numbers.next().unwrap_or_else(|| broken("too many rows"));
        search_param(types, ParamId(number), cells)
    })
}

fn search_param(types: &[ResourceTypeDef], id: ParamId, cells: [&'static str; 11]) -> SearchParam {
    let [
        base,
        code,
        kind,
        url,
        expression,
        targets,
        components,
        comparators,
        or,
        and,
        description,
    ] = cells;
    let kind = ParamType::from_code(kind).unwrap_or_else(|| broken(url));
    SearchParam {
        id,
        base: resource_type(types, base),
        code,
        url,
        kind,
        expression,
        targets: targets_of(types, targets),
        components: list(components, ";;").map(component).collect(),
        comparators: list(comparators, ",").collect(),
        modifiers: kind.modifiers(),
        multiple_or: or != "false",
        multiple_and: and != "false",
        description,
    }
}

fn targets_of(types: &[ResourceTypeDef], cell: &'static str) -> Vec<ResourceTypeId> {
    if cell != "*" {
        return list(cell, ",")
            .map(|name| resource_type(types, name))
            .collect();
    }
    let every = types.iter().zip(0_u16..);
    every
        .filter(|(definition, _)| !definition.is_abstract && definition.name != "Parameters")
        .map(|(_, index)| ResourceTypeId(index))
        .collect()
}

fn component(cell: &'static str) -> Component {
    let mut parts = cell.splitn(3, ' ');
    let mut next = || parts.next().unwrap_or_else(|| broken(cell));
    Component {
        url: next(),
        code: next(),
        expression: next(),
    }
}

fn params_of_type(types: &[ResourceTypeDef], params: &[SearchParam]) -> Vec<Range<usize>> {
    let mut ranges = vec![0..0; types.len()];
    let mut start = 0;
    for group in params.chunk_by(|left, right| left.base == right.base) {
        let end = start + group.len();
        if let Some(range) = group
            .first()
            .and_then(|first| ranges.get_mut(usize::from(first.base.0)))
        {
            *range = start..end;
        }
        start = end;
    }
    ranges
}

type CompartmentParams = HashMap<(&'static str, ResourceTypeId), Vec<&'static str>>;

fn compartments(types: &[ResourceTypeDef]) -> (Vec<&'static str>, CompartmentParams) {
    let (mut names, mut params) = (Vec::new(), HashMap::new());
    for [compartment, resource, codes] in rows(COMPARTMENTS) {
        if names.last() != Some(&compartment) {
            names.push(compartment);
        }
        params.insert(
            (compartment, resource_type(types, resource)),
            list(codes, ",").collect(),
        );
    }
    (names, params)
}

fn code_lists() -> HashMap<&'static str, CodeList> {
    let mut lists: Vec<CodeList> = Vec::with_capacity(256);
    let mut system = "";
    for line in CODES.lines().filter(|line| !line.starts_with('#')) {
        let (kind, rest) = line.split_once('\t').unwrap_or_else(|| broken(line));
        match (kind, rest.split_once('\t'), lists.last_mut()) {
            ("V", None, _) => lists.push(CodeList {
                value_set: rest,
                codes: Vec::new(),
            }),
            ("S", None, Some(_)) => system = rest,
            ("C", Some((code, display)), Some(list)) => list.codes.push(Code {
                system,
                code,
                display,
            }),
            _ => broken(line),
        }
    }
    lists
        .into_iter()
        .map(|list| (list.value_set, list))
        .collect()
}

/// The parts of a cell; none for an empty cell.
fn list(cell: &'static str, separator: &'static str) -> impl Iterator<Item = &'static str> {
    cell.split(separator).filter(|part| !part.is_empty())
}
