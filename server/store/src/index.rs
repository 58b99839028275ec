//! A resource's index entries as rows ready to write, made on the caller's thread.
//!
//! Only numbers of terms and units that nobody has used before, and the resource's own number, are left to the writer.

use conformance::ResourceTypeId;
use fhir_core::index::{IndexEntry, IndexValue};

use crate::catalog::{Catalog, Core, WIDE};
use crate::hash::{KeyHasher, Kind};
use crate::terms::{SYSTEM_TEXT, SYSTEM_URI, Term, Terms, Unit};

/// Texts longer than this are indexed by their beginning and a hash (PostgreSQL's index rows end at 2,704 bytes).
pub(crate) const KEY_TEXT_BYTES_MAX: usize = 1_000;

/// Ranges of time longer than this are wide: 32 days, so that months are not.
pub(crate) const NARROW_US_MAX: i64 = 32 * 86_400 * 1_000_000;

/// Codes and categories a resource may have in the clinical core.
const CORE_TOKENS_MAX: usize = 16;

/// The rows of the index that a change removes and adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreparedIndex {
    pub(crate) remove: IndexRows,
    pub(crate) add: IndexRows,
    /// `res.present` after the change.
    pub(crate) present: i64,
    /// `res.at` after the change.
    pub(crate) at: Option<i64>,
}

/// A posting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PostRow {
    Term(u16, Term),
    /// Key and check.
    Hash(i64, i64),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RefRow {
    pub(crate) p: i64,
    pub(crate) h: i64,
    /// Type + 1 of the target, 0 for a url.
    pub(crate) t: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DatRow {
    pub(crate) p: i64,
    pub(crate) lo: i64,
    pub(crate) hi: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NumRow {
    pub(crate) p: i64,
    pub(crate) unit: Unit,
    pub(crate) lo: Box<[u8]>,
    pub(crate) n: i64,
    pub(crate) hi: Option<Box<[u8]>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StrRow {
    pub(crate) p: i64,
    pub(crate) norm: Box<[u8]>,
    pub(crate) n: i64,
    /// As in the data; `None` when the same as `norm`.
    pub(crate) exact: Option<Box<[u8]>>,
    /// The whole normalised text when `norm` is cut.
    pub(crate) whole: Option<Box<[u8]>>,
}

/// A component that may need a number the writer gives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Bytes(Vec<u8>),
    Term(Term),
    Quantity(Unit, Box<[u8]>),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CompKey {
    Term(Term),
    Number(i64),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CompRow {
    pub(crate) p: i64,
    pub(crate) a: CompKey,
    pub(crate) s: Part,
    pub(crate) hi: Option<Box<[u8]>>,
    pub(crate) t: Option<Part>,
    pub(crate) thi: Option<Box<[u8]>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CoreRow {
    /// The subject's key, 0 for any.
    pub(crate) s: i64,
    /// Parameter and token; `None` for any.
    pub(crate) k: CoreKey,
    pub(crate) lo: i64,
    pub(crate) hi: i64,
    /// In the row of any subject and any token: type + 1 of the subject.
    pub(crate) t: i64,
}

/// A date told to the second lasts this long.
const SECOND_US: i64 = 1_000_000;

impl CoreRow {
    /// `sd.len`: how much longer than a second the date lasts.
    pub(crate) fn length(&self) -> i64 {
        self.hi.saturating_sub(self.lo) - SECOND_US
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CoreKey {
    Any(i64),
    Token(u16, Term),
}

/// Rows by table, sorted and each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IndexRows {
    pub(crate) post: Vec<PostRow>,
    pub(crate) refs: Vec<RefRow>,
    pub(crate) dat: Vec<DatRow>,
    pub(crate) num: Vec<NumRow>,
    pub(crate) str: Vec<StrRow>,
    pub(crate) comp: Vec<CompRow>,
    pub(crate) core: Vec<CoreRow>,
}

impl IndexRows {
    pub(crate) fn is_empty(&self) -> bool {
        self.post.is_empty()
            && self.refs.is_empty()
            && self.dat.is_empty()
            && self.num.is_empty()
            && self.str.is_empty()
            && self.comp.is_empty()
            && self.core.is_empty()
    }

    fn sort(&mut self) {
        fn unique<T: Ord>(rows: &mut Vec<T>) {
            rows.sort_unstable();
            rows.dedup();
        }
        unique(&mut self.post);
        unique(&mut self.refs);
        unique(&mut self.dat);
        unique(&mut self.num);
        unique(&mut self.str);
        unique(&mut self.comp);
        unique(&mut self.core);
    }
}

/// Leaves in each list what the other does not have. Both are sorted.
fn cancel<T: Ord>(left: &mut Vec<T>, right: &mut Vec<T>) {
    if left.is_empty() || right.is_empty() {
        return;
    }
    let is_in = |rows: &[T], row: &T| rows.binary_search(row).is_ok();
    let keep_right: Vec<bool> = right.iter().map(|row| !is_in(left, row)).collect();
    left.retain(|row| !is_in(right, row));
    let mut keep = keep_right.into_iter();
    right.retain(|_| keep.next().unwrap_or(true));
}

/// Turns entries into rows.
pub(crate) struct Preparer<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) hasher: KeyHasher,
    pub(crate) terms: &'a Terms,
}

struct Prepared {
    rows: IndexRows,
    present: i64,
    at: Option<i64>,
}

impl Preparer<'_> {
    pub(crate) fn prepare(
        &self,
        resource_type: ResourceTypeId,
        remove: &[IndexEntry<'_>],
        add: &[IndexEntry<'_>],
    ) -> PreparedIndex {
        let new = self.rows(resource_type, add);
        if remove.is_empty() {
            return PreparedIndex {
                remove: IndexRows::default(),
                add: new.rows,
                present: new.present,
                at: new.at,
            };
        }
        let (mut gone, mut come) = (self.rows(resource_type, remove).rows, new.rows);
        cancel(&mut gone.post, &mut come.post);
        cancel(&mut gone.refs, &mut come.refs);
        cancel(&mut gone.dat, &mut come.dat);
        cancel(&mut gone.num, &mut come.num);
        cancel(&mut gone.str, &mut come.str);
        cancel(&mut gone.comp, &mut come.comp);
        cancel(&mut gone.core, &mut come.core);
        PreparedIndex {
            remove: gone,
            add: come,
            present: new.present,
            at: new.at,
        }
    }

    fn rows(&self, resource_type: ResourceTypeId, entries: &[IndexEntry<'_>]) -> Prepared {
        let mut out = Prepared {
            rows: IndexRows::default(),
            present: 0,
            at: None,
        };
        let core = self.core_rows(resource_type, entries, &mut out);
        for entry in entries {
            let plan = self.catalog.param(entry.param);
            match plan.and_then(|plan| plan.bit) {
                Some(bit) => out.present |= 1 << bit,
                None => out
                    .rows
                    .post
                    .push(PostRow::Hash(i64::from(entry.param.0) << 32, 0)),
            }
            let is_derived = plan.is_some_and(|plan| plan.stored_as != [entry.param.0]);
            if is_derived && is_stored_elsewhere(plan.and_then(|p| p.target), &entry.value) {
                continue;
            }
            let is_in_core = core == InCore::Yes
                && plan.is_some_and(|plan| match plan.core {
                    Core::Token => matches!(entry.value, IndexValue::Token { .. }),
                    Core::Date => matches!(entry.value, IndexValue::Date { .. }),
                    Core::Subject => matches!(
                        entry.value,
                        IndexValue::Reference(_) | IndexValue::ReferenceUrl(_)
                    ),
                    Core::None => false,
                });
            if !is_in_core {
                self.value_rows(entry.param.0, &entry.value, &mut out.rows);
            }
        }
        out.rows.sort();
        out
    }

    /// The rows of the clinical core, if the resource is one of the plain kind: at most one subject, at most one
    /// date and that not wide, codes of ordinary length. Others are indexed like any type; `res.at` tells which.
    // A guard that takes the value would hide that matching changes it.
    #[allow(clippy::collapsible_match)]
    fn core_rows(
        &self,
        resource_type: ResourceTypeId,
        entries: &[IndexEntry<'_>],
        out: &mut Prepared,
    ) -> InCore {
        let Some(core) = self
            .catalog
            .core(resource_type)
            .filter(|_| !entries.is_empty())
        else {
            return InCore::No;
        };
        let (mut subject, mut date, mut tokens) = (None, None, Vec::new());
        for IndexEntry { param, value } in entries {
            match value {
                IndexValue::Reference(key) if param.0 == core.subject => {
                    if subject
                        .replace((
                            self.hasher.resource(key),
                            i64::from(key.resource_type.0) + 1,
                        ))
                        .is_some()
                    {
                        return InCore::No;
                    }
                }
                IndexValue::ReferenceUrl(url) if param.0 == core.subject => {
                    if subject.replace((self.hasher.url(url), 0)).is_some() {
                        return InCore::No;
                    }
                }
                IndexValue::Date { start, end } if param.0 == core.date => {
                    if is_wide(*start, *end) || date.replace((*start, *end)).is_some() {
                        return InCore::No;
                    }
                }
                IndexValue::Token { system, code } if core.tokens.contains(&param.0) => {
                    if code.len() > KEY_TEXT_BYTES_MAX || tokens.len() == CORE_TOKENS_MAX {
                        return InCore::No;
                    }
                    tokens.push((
                        param.0,
                        self.terms
                            .term(bytes_of(system.as_deref()), code.as_bytes()),
                    ));
                }
                IndexValue::Identifier { .. } | IndexValue::Uri(_)
                    if core.tokens.contains(&param.0) =>
                {
                    return InCore::No;
                }
                _ => {}
            }
        }
        // No real date starts or ends there.
        let (lo, hi) = date.unwrap_or((i64::MIN, i64::MIN));
        let any = || CoreKey::Any(core.any_key());
        let rows = &mut out.rows.core;
        rows.push(CoreRow {
            s: 0,
            k: any(),
            lo,
            hi,
            t: subject.map_or(-1, |(_, t)| t),
        });
        rows.extend(tokens.iter().map(|(p, term)| CoreRow {
            s: 0,
            k: CoreKey::Token(*p, term.clone()),
            lo,
            hi,
            t: 0,
        }));
        if let Some((s, _)) = subject {
            rows.push(CoreRow {
                s,
                k: any(),
                lo,
                hi,
                t: 0,
            });
            rows.extend(tokens.into_iter().map(|(p, term)| CoreRow {
                s,
                k: CoreKey::Token(p, term),
                lo,
                hi,
                t: 0,
            }));
        }
        out.at = Some(lo);
        InCore::Yes
    }

    fn value_rows(&self, param: u16, value: &IndexValue<'_>, rows: &mut IndexRows) {
        let p = i64::from(param);
        match value {
            IndexValue::Token { system, code } => {
                let system = bytes_of(system.as_deref());
                if code.len() <= KEY_TEXT_BYTES_MAX && system.len() <= KEY_TEXT_BYTES_MAX {
                    rows.post.push(PostRow::Term(
                        param,
                        self.terms.term(system, code.as_bytes()),
                    ));
                } else {
                    self.identifier_rows(param, TOKEN_KINDS, system, code.as_bytes(), rows);
                }
            }
            IndexValue::TokenText(texts) => {
                for text in texts {
                    if text.len() <= KEY_TEXT_BYTES_MAX {
                        rows.post.push(PostRow::Term(
                            param,
                            self.terms.term(SYSTEM_TEXT, text.as_bytes()),
                        ));
                    } else {
                        rows.str
                            .push(self.text_row(p, text.as_bytes(), text.as_bytes()));
                    }
                }
            }
            IndexValue::Identifier {
                system,
                value,
                types,
            } => {
                self.identifier_rows(
                    param,
                    TOKEN_KINDS,
                    bytes_of(system.as_deref()),
                    value.as_bytes(),
                    rows,
                );
                for (type_system, type_code) in types {
                    let parts = [
                        bytes_of(type_system.as_deref()),
                        type_code.as_bytes(),
                        value.as_bytes(),
                    ];
                    let (k, c) = self.hasher.posting(Kind::OfType, param, &parts);
                    rows.post.push(PostRow::Hash(k, c));
                }
            }
            IndexValue::ReferenceIdentifier { system, value } => {
                self.identifier_rows(
                    param,
                    REFERENCE_KINDS,
                    bytes_of(system.as_deref()),
                    value.as_bytes(),
                    rows,
                );
            }
            IndexValue::Reference(key) => {
                rows.refs.push(RefRow {
                    p,
                    h: self.hasher.resource(key),
                    t: i64::from(key.resource_type.0) + 1,
                });
            }
            IndexValue::ReferenceUrl(url) => rows.refs.push(RefRow {
                p,
                h: self.hasher.url(url),
                t: 0,
            }),
            IndexValue::Date { start, end } => {
                let p = if is_wide(*start, *end) { p | WIDE } else { p };
                rows.dat.push(DatRow {
                    p,
                    lo: *start,
                    hi: *end,
                });
            }
            IndexValue::Number { low, high } => {
                rows.num
                    .push(self.number_row(p, Unit::Known(0), low.as_bytes(), high.as_bytes()));
            }
            IndexValue::Quantity {
                system,
                code,
                unit,
                low,
                high,
            } => {
                let unit = self.unit(system.as_deref(), code.as_deref(), unit.as_deref());
                rows.num
                    .push(self.number_row(p, unit, low.as_bytes(), high.as_bytes()));
            }
            IndexValue::String { normal, exact } => {
                rows.str
                    .push(self.text_row(p, normal.as_bytes(), exact.as_bytes()));
            }
            IndexValue::Uri(uri) => {
                if uri.len() <= KEY_TEXT_BYTES_MAX {
                    rows.post.push(PostRow::Term(
                        param,
                        self.terms.term(SYSTEM_URI, uri.as_bytes()),
                    ));
                } else {
                    let (k, c) = self.hasher.posting(Kind::Url, param, &[uri.as_bytes()]);
                    rows.post.push(PostRow::Hash(k, c));
                    rows.str
                        .push(self.text_row(p, uri.as_bytes(), uri.as_bytes()));
                }
            }
            IndexValue::Composite(parts) => rows.comp.extend(self.composite_row(p, parts)),
            IndexValue::Position {
                latitude_e7,
                longitude_e7,
            } => rows.comp.push(CompRow {
                p,
                a: CompKey::Number(*latitude_e7),
                s: Part::Bytes(tagged(TAG_POSITION, &sortable(*longitude_e7))),
                hi: None,
                t: None,
                thi: None,
            }),
        }
    }

    fn unit(&self, system: Option<&str>, code: Option<&str>, unit: Option<&str>) -> Unit {
        // Over-long units exist only by mistake; they are told apart by their beginning.
        let cut = |text: Option<&str>| -> Box<[u8]> {
            let bytes = bytes_of(text);
            bytes.get(..KEY_TEXT_BYTES_MAX / 2).unwrap_or(bytes).into()
        };
        self.terms.unit(&cut(system), &cut(code), &cut(unit))
    }

    fn identifier_rows(
        &self,
        param: u16,
        kinds: [Kind; 3],
        system: &[u8],
        value: &[u8],
        rows: &mut IndexRows,
    ) {
        let (k, c) = self.hasher.identifier(kinds, param, system, value);
        rows.post.push(PostRow::Hash(k, c));
        if !system.is_empty() {
            let (k, c) = self.hasher.posting(kinds[2], param, &[system]);
            rows.post.push(PostRow::Hash(k, c));
        }
    }

    fn number_row(&self, p: i64, unit: Unit, low: &[u8], high: &[u8]) -> NumRow {
        if low == high {
            NumRow {
                p,
                unit,
                lo: low.into(),
                n: 0,
                hi: None,
            }
        } else {
            NumRow {
                p: p | WIDE,
                unit,
                lo: low.into(),
                n: self.hasher.short(&[high]),
                hi: Some(high.into()),
            }
        }
    }

    fn text_row(&self, p: i64, normal: &[u8], exact: &[u8]) -> StrRow {
        let cut = normal.get(..KEY_TEXT_BYTES_MAX);
        let n = if cut.is_none_or(|cut| cut == normal) && normal == exact {
            0
        } else {
            self.hasher.short(&[normal, exact])
        };
        StrRow {
            p,
            norm: cut.unwrap_or(normal).into(),
            n,
            exact: (exact != normal).then(|| exact.into()),
            whole: cut.filter(|cut| *cut != normal).map(|_| normal.into()),
        }
    }

    fn composite_row(&self, p: i64, parts: &[IndexValue<'_>]) -> Option<CompRow> {
        let (first, second) = (parts.first()?, parts.get(1)?);
        let a = match self.part(first)?.0 {
            Part::Term(term) => CompKey::Term(term),
            Part::Bytes(bytes) if bytes.first() == Some(&TAG_REFERENCE) => {
                CompKey::Number(i64::from_be_bytes(bytes.get(1..9)?.try_into().ok()?))
            }
            // No composite begins with another kind; a definition that did is refused by the search as well.
            _ => return None,
        };
        let (s, hi) = self.part(second)?;
        let (t, thi) = parts
            .get(2)
            .and_then(|third| self.part(third))
            .map_or((None, None), |(t, thi)| (Some(t), thi));
        let is_wide = match second {
            IndexValue::Date { start, end } => is_wide(*start, *end),
            IndexValue::Number { .. } | IndexValue::Quantity { .. } => hi.is_some(),
            _ => false,
        };
        Some(CompRow {
            p: if is_wide { p | WIDE } else { p },
            a,
            s,
            hi,
            t,
            thi,
        })
    }

    /// A component in an order of bytes, and its upper end.
    fn part(&self, value: &IndexValue<'_>) -> Option<(Part, Option<Box<[u8]>>)> {
        let upper = |low: &[u8], high: &[u8]| (low != high).then(|| high.into());
        Some(match value {
            IndexValue::Token { system, code } => (
                Part::Term(self.key_term(bytes_of(system.as_deref()), code.as_bytes())),
                None,
            ),
            IndexValue::Identifier { system, value, .. } => (
                Part::Term(self.key_term(bytes_of(system.as_deref()), value.as_bytes())),
                None,
            ),
            IndexValue::Uri(uri) => (Part::Term(self.key_term(SYSTEM_URI, uri.as_bytes())), None),
            IndexValue::Reference(key) => (
                Part::Bytes(tagged(
                    TAG_REFERENCE,
                    &self.hasher.resource(key).to_be_bytes(),
                )),
                None,
            ),
            IndexValue::ReferenceUrl(url) => (
                Part::Bytes(tagged(TAG_REFERENCE, &self.hasher.url(url).to_be_bytes())),
                None,
            ),
            IndexValue::Date { start, end } => (
                Part::Bytes(tagged(TAG_DATE, &sortable(*start))),
                Some(sortable(*end).as_slice().into()),
            ),
            IndexValue::Number { low, high } => (
                Part::Bytes(tagged(TAG_NUMBER, low.as_bytes())),
                upper(low.as_bytes(), high.as_bytes()),
            ),
            IndexValue::Quantity {
                system,
                code,
                unit,
                low,
                high,
            } => {
                let unit = self.unit(system.as_deref(), code.as_deref(), unit.as_deref());
                (
                    Part::Quantity(unit, low.as_bytes().into()),
                    upper(low.as_bytes(), high.as_bytes()),
                )
            }
            IndexValue::String { normal, exact } => {
                let cut = normal
                    .as_bytes()
                    .get(..KEY_TEXT_BYTES_MAX)
                    .unwrap_or(normal.as_bytes());
                (
                    Part::Bytes(tagged(TAG_STRING, cut)),
                    Some(exact.as_bytes().into()),
                )
            }
            IndexValue::TokenText(_)
            | IndexValue::ReferenceIdentifier { .. }
            | IndexValue::Composite(_)
            | IndexValue::Position { .. } => return None,
        })
    }

    /// A term for a component; one that is too long for the key is cut (and told apart by its hash).
    fn key_term(&self, system: &[u8], code: &[u8]) -> Term {
        let code = cut_code(&self.hasher, code);
        self.terms.term(system, &code)
    }
}

/// A code as a component stores it.
pub(crate) fn cut_code<'a>(hasher: &KeyHasher, code: &'a [u8]) -> std::borrow::Cow<'a, [u8]> {
    match code.get(..KEY_TEXT_BYTES_MAX) {
        Some(cut) if cut.len() < code.len() => {
            let (a, b) = hasher.wide(Kind::Text, 1, &[code]);
            [cut, &a.to_be_bytes(), &b.to_be_bytes()].concat().into()
        }
        _ => code.into(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum InCore {
    Yes,
    No,
}

/// Kinds of an identifier's three postings.
pub(crate) const TOKEN_KINDS: [Kind; 3] = [Kind::SystemValue, Kind::Value, Kind::System];
/// The same for `Reference.identifier`.
pub(crate) const REFERENCE_KINDS: [Kind; 3] = [
    Kind::ReferenceSystemValue,
    Kind::ReferenceValue,
    Kind::ReferenceSystem,
];

pub(crate) const TAG_TERM: u8 = b'T';
pub(crate) const TAG_REFERENCE: u8 = b'R';
pub(crate) const TAG_DATE: u8 = b'D';
pub(crate) const TAG_NUMBER: u8 = b'N';
pub(crate) const TAG_QUANTITY: u8 = b'Q';
pub(crate) const TAG_STRING: u8 = b'S';
pub(crate) const TAG_POSITION: u8 = b'P';

pub(crate) fn tagged(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag], bytes].concat()
}

/// Eight bytes whose order is that of the numbers.
pub(crate) fn sortable(number: i64) -> [u8; 8] {
    ((number as u64) ^ (1 << 63)).to_be_bytes()
}

/// Whether a range of time is longer than the narrow ones, or open.
pub(crate) fn is_wide(start: i64, end: i64) -> bool {
    end.checked_sub(start)
        .is_none_or(|length| length > NARROW_US_MAX)
        || start == i64::MIN
        || end == i64::MAX
}

/// A system; an empty one is none.
pub(crate) fn bytes_of(text: Option<&str>) -> &[u8] {
    text.unwrap_or_default().as_bytes()
}

/// Whether the parameters that a derived one is read through have this value as well.
fn is_stored_elsewhere(target: Option<ResourceTypeId>, value: &IndexValue<'_>) -> bool {
    match (target, value) {
        (None, _) => true,
        (Some(target), IndexValue::Reference(key)) => key.resource_type == target,
        (Some(_), _) => false,
    }
}
