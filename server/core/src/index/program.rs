//! All parameters of one resource type compiled into one walk.
//!
//! Spec: <https://hl7.org/fhir/R4/searchparameter.html>

use conformance::{ParamId, ParamType, ResourceTypeId, SearchParam};

use crate::fhirpath::Expression;
use crate::fhirpath::compile::{CompileError, Origin, Path, Program, Step, compile};

use super::convert::Conversion;
use super::trie::Trie;

/// A search parameter as extraction needs it, official or custom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamDefinition {
    /// Its number, which entries carry.
    pub id: ParamId,
    /// Its type.
    pub kind: ParamType,
    /// FHIRPath from the resource; empty when it has none.
    pub expression: String,
    /// For references: the types it may lead to.
    pub targets: Vec<ResourceTypeId>,
    /// For composites: its parts in order.
    pub components: Vec<ComponentDefinition>,
}

/// One part of a composite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentDefinition {
    /// The type of the parameter that defines the part.
    pub kind: ParamType,
    /// FHIRPath from the element that the composite selects.
    pub expression: String,
}

impl ParamDefinition {
    /// An official parameter, given all parameters of its resource type.
    pub fn official(param: &SearchParam, siblings: &[SearchParam]) -> Self {
        let kind_of = |code: &str| {
            siblings
                .iter()
                .find(|p| p.code == code)
                .map_or(ParamType::Token, |p| p.kind)
        };
        let mut components: Vec<ComponentDefinition> = param
            .components
            .iter()
            .map(|c| ComponentDefinition {
                kind: kind_of(c.code),
                expression: c.expression.to_owned(),
            })
            .collect();
        // Deviation: R4 gives `relatesto` (a reference) the expression `code` and `relation` (a token) `target`,
        // which select nothing of their types; the expressions are exchanged.
        if param.url.ends_with("/DocumentReference-relationship")
            && let [relates_to, relation] = components.as_mut_slice()
        {
            std::mem::swap(&mut relates_to.expression, &mut relation.expression);
        }
        Self {
            id: param.id,
            kind: param.kind,
            expression: param.expression.to_owned(),
            targets: param.targets.clone(),
            components,
        }
    }
}

/// What extraction does at a node of the tree.
#[derive(Debug)]
pub(super) enum Action {
    /// Emits the value for these parameters, indices of [`TypeProgram::params`]; it is converted once.
    Value(Vec<usize>, Conversion),
    /// Emits composites, an index of [`TypeProgram::groups`].
    Composites(usize),
}

/// The composites that select the same element, so that it is walked once for all.
#[derive(Debug)]
pub(super) struct CompositeGroup {
    steps: Vec<Step>,
    /// From the element to values for a slot.
    pub focus_trie: Trie<(usize, Conversion)>,
    /// From the resource (`%resource`) to values for a slot.
    pub resource_trie: Trie<(usize, Conversion)>,
    /// Different parts of all its composites.
    slots: Vec<ComponentDefinition>,
    /// Parts that are no path.
    pub evaluated: Vec<(usize, ParamType, Expression)>,
    /// The type of the element.
    pub type_path: &'static str,
    /// Parameter and slots of its parts.
    pub composites: Vec<(usize, Vec<usize>)>,
}

impl CompositeGroup {
    /// How many different parts there are.
    pub fn slot_count(&self) -> usize {
        self.slots.len()
    }
}

/// A parameter that has no program, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The parameter.
    pub param: ParamId,
    /// Why.
    pub error: CompileError,
}

/// One resource type.
#[derive(Debug)]
pub(super) struct TypeProgram {
    pub params: Vec<ParamDefinition>,
    pub trie: Trie<Action>,
    pub groups: Vec<CompositeGroup>,
    /// Parameters whose expression is no path.
    pub evaluated: Vec<(usize, Expression)>,
    pub problems: Vec<Problem>,
}

impl TypeProgram {
    pub fn new(resource_type: ResourceTypeId, params: Vec<ParamDefinition>) -> Self {
        let mut program = Self {
            params: Vec::new(),
            trie: Trie::new(),
            groups: Vec::new(),
            evaluated: Vec::new(),
            problems: Vec::new(),
        };
        for (index, param) in params.iter().enumerate() {
            if param.expression.is_empty() {
                continue;
            }
            if let Err(error) = program.add(index, param, resource_type) {
                program.problems.push(Problem {
                    param: param.id,
                    error,
                });
            }
        }
        program.params = params;
        program
    }

    fn add(
        &mut self,
        index: usize,
        param: &ParamDefinition,
        resource_type: ResourceTypeId,
    ) -> Result<(), CompileError> {
        let paths = match compile(&param.expression, resource_type.name(), resource_type)? {
            Program::Paths(paths) => paths,
            Program::Evaluate(expression) => {
                self.evaluated.push((index, expression));
                return Ok(());
            }
        };
        for path in paths {
            if param.kind == ParamType::Composite {
                self.add_composite(index, param, &path, resource_type)?;
            } else if let Some(conversion) = Conversion::of(param.kind, path.type_path) {
                add_value(self.trie.actions(&path.steps), index, conversion);
            }
        }
        Ok(())
    }

    fn add_composite(
        &mut self,
        index: usize,
        param: &ParamDefinition,
        path: &Path,
        resource_type: ResourceTypeId,
    ) -> Result<(), CompileError> {
        let at = match self.groups.iter().position(|g| g.steps == path.steps) {
            Some(at) => at,
            None => {
                let action = Action::Composites(self.groups.len());
                self.trie.actions(&path.steps).push(action);
                self.groups.push(CompositeGroup {
                    steps: path.steps.clone(),
                    focus_trie: Trie::new(),
                    resource_trie: Trie::new(),
                    slots: Vec::new(),
                    evaluated: Vec::new(),
                    type_path: path.type_path,
                    composites: Vec::new(),
                });
                self.groups.len() - 1
            }
        };
        let Some(group) = self.groups.get_mut(at) else {
            return Ok(());
        };
        let mut slots = Vec::with_capacity(param.components.len());
        for component in &param.components {
            slots.push(group.slot(component, resource_type)?);
        }
        group.composites.push((index, slots));
        Ok(())
    }
}

/// Adds a parameter to those that share a conversion, except where its targets matter.
fn add_value(actions: &mut Vec<Action>, index: usize, conversion: Conversion) {
    for action in actions.iter_mut() {
        match action {
            Action::Value(params, shared)
                if *shared == conversion && conversion != Conversion::InlineResource =>
            {
                return params.push(index);
            }
            _ => {}
        }
    }
    actions.push(Action::Value(vec![index], conversion));
}

impl CompositeGroup {
    /// The slot of a part, compiled at its first use.
    fn slot(
        &mut self,
        component: &ComponentDefinition,
        resource_type: ResourceTypeId,
    ) -> Result<usize, CompileError> {
        if let Some(slot) = self.slots.iter().position(|s| s == component) {
            return Ok(slot);
        }
        let slot = self.slots.len();
        match compile(&component.expression, self.type_path, resource_type)? {
            Program::Evaluate(expression) => {
                self.evaluated.push((slot, component.kind, expression))
            }
            Program::Paths(paths) => {
                for path in paths {
                    let trie = match path.origin {
                        Origin::Focus => &mut self.focus_trie,
                        Origin::Resource => &mut self.resource_trie,
                    };
                    if let Some(conversion) = Conversion::of(component.kind, path.type_path) {
                        trie.actions(&path.steps).push((slot, conversion));
                    }
                }
            }
        }
        self.slots.push(component.clone());
        Ok(slot)
    }
}
