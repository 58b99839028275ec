//! All mappings, templates and concept maps: loaded once, shared by all threads.
//!
//! An operator's folder has the same shape as ours (`hl7v2/`, `device/`, `code/`): a file of the same path replaces
//! ours, any other is added. Nothing is used unless everything loads and all tests the files carry come true.
//!
//! Left out on purpose: watching the folder. A restart or an explicit reload makes a change visible.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;

use conformance::Definitions;

use crate::code::ConceptMap;
use crate::compile::Environment;
use crate::context::Context;
use crate::embedded;
use crate::error::{LoadError, LoadErrors, MapError};
use crate::language::{MessageMapping, SelectRow, TypeTemplate, Use};
use crate::load::{self, FileKind};
use crate::output::Output;
use crate::source::SourceTree;
use crate::yaml::{self, Node};

/// Most files of an operator's folder, and deepest folder in it.
const FILES_MAX: usize = 2_000;
const FOLDER_DEPTH_MAX: usize = 8;
/// The concept map from coding system names (HL7 table 0396) to URIs.
const TABLE_0396: &str = "hl70396-coding-system";

/// All mappings. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Library {
    catalog: Arc<Catalog>,
}

/// What is loaded.
#[derive(Debug)]
pub(crate) struct Catalog {
    mappings: Vec<MessageMapping>,
    templates: Vec<TypeTemplate>,
    /// Name, file and rows.
    maps: Vec<(Box<str>, Box<str>, ConceptMap)>,
}

impl Catalog {
    pub(crate) fn template(&self, index: usize) -> Option<&TypeTemplate> {
        self.templates.get(index)
    }

    pub(crate) fn templates(&self) -> &[TypeTemplate] {
        &self.templates
    }

    pub(crate) fn mappings(&self) -> &[MessageMapping] {
        &self.mappings
    }

    pub(crate) fn maps(&self) -> &[(Box<str>, Box<str>, ConceptMap)] {
        &self.maps
    }

    pub(crate) fn table_0396(&self) -> Option<&ConceptMap> {
        self.maps
            .iter()
            .find(|(name, ..)| &**name == TABLE_0396)
            .map(|(_, _, map)| map)
    }
}

/// What a source says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select<'a> {
    /// MSH-9: message code, trigger event and, when sent, message structure.
    Hl7v2 {
        /// MSH-9.1, `ORU`.
        code: &'a str,
        /// MSH-9.2, `R01`.
        trigger: &'a str,
        /// MSH-9.3, `ORU_R01`. The event decides; the structure only shaped the tree.
        structure: Option<&'a str>,
    },
    /// A device or vendor payload, by the name its feed is configured with.
    Device {
        /// The name, `scale-cloud`.
        kind: &'a str,
    },
}

/// A mapping, ready to run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mapping {
    catalog: Arc<Catalog>,
    index: usize,
}

impl Library {
    /// The mappings this version ships. Their tests run with this crate's tests, not here.
    ///
    /// # Errors
    /// None, unless the build is broken: the same check is a test.
    pub fn embedded() -> Result<Self, LoadErrors> {
        Self::from_files(shipped())
    }

    /// The shipped mappings with an operator's folder on top, and all tests of both.
    ///
    /// # Errors
    /// Every fault found, each with file and line. Nothing is half loaded.
    pub fn load(folder: &FilePath) -> Result<Self, LoadErrors> {
        let mut files = shipped();
        read_folder(folder, "", 0, &mut files)?;
        let library = Self::from_files(files)?;
        let failures = crate::self_test::run_all(&library.catalog);
        if failures.is_empty() {
            Ok(library)
        } else {
            Err(LoadErrors(failures))
        }
    }

    /// The mapping for a source; `None` when no mapping takes it. The last file that selects it wins, and operators'
    /// files come after ours.
    pub fn mapping_for(&self, select: &Select<'_>) -> Option<Mapping> {
        let fits = |row: &SelectRow| match (row, select) {
            (SelectRow::Hl7v2 { message, event }, Select::Hl7v2 { code, trigger, .. }) => {
                **message == **code && **event == **trigger
            }
            (SelectRow::Device { kind }, Select::Device { kind: asked }) => **kind == **asked,
            _ => false,
        };
        let index = self
            .catalog
            .mappings
            .iter()
            .rposition(|m| m.select.iter().any(fits))?;
        Some(Mapping {
            catalog: Arc::clone(&self.catalog),
            index,
        })
    }

    /// True when some mapping takes this message code, with whatever event.
    pub fn knows_message(&self, code: &str) -> bool {
        let of_code =
            |row: &SelectRow| matches!(row, SelectRow::Hl7v2 { message, .. } if **message == *code);
        let mut mappings = self.catalog.mappings.iter();
        mappings.any(|mapping| mapping.select.iter().any(of_code))
    }

    /// Runs the tests that all files carry.
    pub fn self_test(&self) -> Vec<LoadError> {
        crate::self_test::run_all(&self.catalog)
    }

    fn from_files(files: Files) -> Result<Self, LoadErrors> {
        let mut errors = Vec::new();
        let (maps, nodes) = parse_all(&files, &mut errors);
        if errors.is_empty() {
            let catalog = compile_all(maps, &nodes, &mut errors);
            if errors.is_empty() {
                return Ok(Self {
                    catalog: Arc::new(catalog),
                });
            }
        }
        errors.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        errors.dedup();
        Err(LoadErrors(errors))
    }
}

impl Mapping {
    /// Turns a source into resources.
    ///
    /// # Errors
    /// [`MapError`] when the source does not say whose record it is, or lacks what R4 requires.
    pub fn run(&self, source: &SourceTree, context: &Context) -> Result<Output, MapError> {
        match self.catalog.mappings.get(self.index) {
            Some(mapping) => crate::engine::run(&self.catalog, mapping, source, context),
            None => Err(MapError::WrongInput {
                mapping: String::new(),
            }),
        }
    }

    /// The id of the mapping, for Provenance.
    pub fn id(&self) -> &str {
        self.catalog.mappings.get(self.index).map_or("", |m| &m.id)
    }

    /// The version of the mapping, for Provenance.
    pub fn version(&self) -> &str {
        self.catalog
            .mappings
            .get(self.index)
            .map_or("", |m| &m.version)
    }
}

/// Files by path; `true` for an operator's.
type Files = BTreeMap<(bool, String), String>;

fn shipped() -> Files {
    embedded::FILES
        .iter()
        .map(|(path, text)| ((false, (*path).to_owned()), (*text).to_owned()))
        .collect()
}

/// Reads a folder; each file takes the place of ours of the same path.
fn read_folder(
    folder: &FilePath,
    prefix: &str,
    depth: usize,
    files: &mut Files,
) -> Result<(), LoadErrors> {
    let fail = |path: &str, e: &std::io::Error| {
        LoadError::at(path, 1, format!("cannot be read: {}", e.kind()))
    };
    let entries = std::fs::read_dir(folder).map_err(|e| fail(prefix, &e))?;
    for entry in entries {
        let entry = entry.map_err(|e| fail(prefix, &e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}/{name}")
        };
        let is_folder = entry.file_type().map_err(|e| fail(&path, &e))?.is_dir();
        if is_folder && depth < FOLDER_DEPTH_MAX && !name.starts_with('.') {
            read_folder(&entry.path(), &path, depth + 1, files)?;
        } else if !is_folder && (name.ends_with(".yaml") || name.ends_with(".tsv")) {
            let text = std::fs::read_to_string(entry.path()).map_err(|e| fail(&path, &e))?;
            files.remove(&(false, path.clone()));
            files.insert((true, path), text);
        }
        if files.len() > FILES_MAX {
            return Err(
                LoadError::at(&path_of(folder), 1, format!("more than {FILES_MAX} files")).into(),
            );
        }
    }
    Ok(())
}

fn path_of(folder: &FilePath) -> String {
    folder
        .file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

type Maps = Vec<(Box<str>, Box<str>, ConceptMap)>;

/// Parses all files without looking at what they refer to.
fn parse_all(files: &Files, errors: &mut Vec<LoadError>) -> (Maps, Vec<(String, Node)>) {
    let (mut maps, mut nodes): (Maps, _) = (Vec::new(), Vec::new());
    for ((_, path), text) in files {
        if let Some(stem) = path.strip_suffix(".tsv") {
            let name = stem.rsplit('/').next().unwrap_or(stem);
            match ConceptMap::parse(path, text) {
                Err(found) => errors.extend(found.0),
                Ok(_) if maps.iter().any(|(known, ..)| &**known == name) => {
                    errors.push(LoadError::at(
                        path,
                        1,
                        format!("a second concept map called `{name}`"),
                    ));
                }
                Ok(map) => maps.push((name.into(), path.as_str().into(), map)),
            }
        } else {
            match yaml::parse(path, text) {
                Err(found) => errors.extend(found.0),
                Ok(node) => nodes.push((path.clone(), node)),
            }
        }
    }
    (maps, nodes)
}

fn compile_all(maps: Maps, nodes: &[(String, Node)], errors: &mut Vec<LoadError>) -> Catalog {
    let mut names: Vec<Box<str>> = Vec::new();
    let (mut mapping_files, mut template_files) = (Vec::new(), Vec::new());
    let mut parts: Vec<(&str, &str, &Node)> = Vec::new();
    for (path, node) in nodes {
        match load::classify(path, node) {
            Err(found) => errors.extend(found.0),
            Ok((FileKind::Mapping, _)) => mapping_files.push((path, node)),
            Ok((FileKind::Part, _)) => {
                let name = node.get("part").and_then(Node::text).unwrap_or_default();
                if parts.iter().any(|(known, ..)| *known == name) {
                    errors.push(LoadError::at(
                        path,
                        node.line,
                        format!("a second part `{name}`"),
                    ));
                }
                parts.push((name, path, node));
            }
            Ok((FileKind::Templates, found)) => {
                for (name, line) in found {
                    if names.contains(&name) {
                        errors.push(LoadError::at(
                            path,
                            line,
                            format!("a second template `{name}`"),
                        ));
                    }
                    names.push(name);
                }
                template_files.push((path, node));
            }
        }
    }
    let mut catalog = Catalog {
        mappings: Vec::new(),
        templates: Vec::new(),
        maps,
    };
    let environment = Environment {
        definitions: Definitions::r4(),
        maps: &catalog.maps,
        types: &names,
    };
    let mut templates = Vec::new();
    for (path, node) in template_files {
        match load::templates(&environment, path, node) {
            Ok(found) => templates.extend(found),
            Err(found) => errors.extend(found.0),
        }
    }
    // Indices mean places in the list of names, so mappings wait until every template stands in its place.
    if errors.is_empty() {
        errors.extend(circles(&templates));
        let mut mappings = Vec::new();
        for (path, node) in mapping_files {
            match load::mapping(&environment, &templates, &parts, path, node) {
                Ok(mapping) => mappings.push(mapping),
                Err(found) => errors.extend(found.0),
            }
        }
        catalog.mappings = mappings;
    }
    catalog.templates = templates;
    catalog
}

/// Templates that use themselves, directly or not, would never end.
fn circles(templates: &[TypeTemplate]) -> Vec<LoadError> {
    let uses = |index: usize| {
        let uses = templates.get(index).map_or(&[][..], |t| &t.uses);
        uses.iter().filter_map(|(used, line)| {
            if let Use::Type(i) = used {
                Some((*i, *line))
            } else {
                None
            }
        })
    };
    let mut errors = Vec::new();
    for (start, template) in templates.iter().enumerate() {
        let mut reached: Vec<usize> = uses(start).map(|(i, _)| i).collect();
        let mut at = 0;
        while let Some(next) = reached.get(at).copied() {
            at += 1;
            let more: Vec<usize> = uses(next)
                .map(|(i, _)| i)
                .filter(|i| !reached.contains(i))
                .collect();
            reached.extend(more);
        }
        if reached.contains(&start) {
            let line = uses(start).next().map_or(1, |(_, line)| line);
            errors.push(LoadError::at(
                &template.file,
                line,
                format!("`{}` uses itself", template.name),
            ));
        }
    }
    errors
}
