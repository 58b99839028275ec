//! From a predicate to a [`Node`]: parameters to where they are stored, codes to terms, identifiers to hashes.

use conformance::{ParamId, ResourceTypeId};
use fhir_core::datatype::decimal::SortKey;
use fhir_core::search::predicate::{
    Predicate, QuantityTest, RangeTest, ReferenceTest, StringTest, TokenTest, UnitTest, UriTest,
    ValueTest,
};

use super::near;
use super::node::{FirstTest, Link, Node, PartTest, TermTest, TextTest, UnitTests};
use crate::catalog::{Catalog, Core, CorePlan};
use crate::db::Db;
use crate::error::StoreError;
use crate::hash::{KeyHasher, Kind};
use crate::index::{
    KEY_TEXT_BYTES_MAX, REFERENCE_KINDS, TAG_REFERENCE, TAG_TERM, TOKEN_KINDS, cut_code, sortable,
    tagged,
};
use crate::options::UnitConversion;
use crate::sql::Sql;
use crate::terms::{SYSTEM_URI, Terms};

/// `Quantity.system` of UCUM.
const UCUM: &str = "http://unitsofmeasure.org";
/// Codes of one system that a composite's second component is compared with.
const SYSTEM_CODES_MAX: usize = 20_000;
/// Nesting of chains and the like; deeper predicates are refused.
const DEPTH_MAX: usize = 32;

/// Compiles predicates.
pub(crate) struct Compiler<'a> {
    pub(crate) db: &'a mut Db,
    pub(crate) catalog: &'static Catalog,
    pub(crate) hasher: KeyHasher,
    pub(crate) terms: &'a Terms,
    pub(crate) conversion: Option<&'a UnitConversion>,
    /// Whether a type has resources outside of its clinical core.
    pub(crate) has_plain: &'a dyn Fn(ResourceTypeId) -> bool,
}

/// `res.type` of a live resource.
pub(crate) fn type_number(resource_type: ResourceTypeId) -> i64 {
    i64::from(resource_type.0) + 1
}

/// A stored parameter and its part in the clinical core.
struct Place {
    param: u16,
    core: Option<(Core, i64)>,
}

impl Compiler<'_> {
    pub(crate) fn compile(
        &mut self,
        t: ResourceTypeId,
        predicate: &Predicate,
    ) -> Result<Node, StoreError> {
        self.node(t, predicate, 0)
    }

    fn node(
        &mut self,
        t: ResourceTypeId,
        predicate: &Predicate,
        depth: usize,
    ) -> Result<Node, StoreError> {
        if depth > DEPTH_MAX {
            return Err(StoreError::Invalid(format!(
                "a search may nest {DEPTH_MAX} levels"
            )));
        }
        Ok(match predicate {
            Predicate::Everything => Node::True,
            Predicate::Nothing => Node::False,
            Predicate::And(parts) => Node::and(self.nodes(t, parts, depth)?),
            Predicate::Or(parts) => Node::or(self.nodes(t, parts, depth)?),
            Predicate::Not(inner) => self.node(t, inner, depth + 1)?.negated(),
            Predicate::Id(ids) => Node::Ids(ids.iter().map(|id| self.key(t, id)).collect()),
            Predicate::LastUpdated(test) => Node::Updated(test.clone()),
            Predicate::Words { place, any_of } => Node::Words {
                place: *place,
                any_of: any_of.clone(),
            },
            Predicate::Present(param) => self.present(*param),
            Predicate::Value { param, test } => self.value(t, *param, test)?,
            Predicate::Composite { param, tests } => self.composite(t, *param, tests)?,
            Predicate::Chain {
                param,
                target,
                inner,
            } => {
                let inner = self.node(*target, inner, depth + 1)?;
                if inner == Node::False {
                    return Ok(Node::False);
                }
                let links = self.links(t, *param, *target);
                let chain = |link| Node::Chain {
                    link,
                    target: type_number(*target),
                    inner: Box::new(inner.clone()),
                };
                Node::or(links.into_iter().map(chain).collect())
            }
            Predicate::Has {
                source,
                param,
                inner,
            } => {
                let inner = self.node(*source, inner, depth + 1)?;
                if inner == Node::False {
                    return Ok(Node::False);
                }
                let links = self.links(*source, *param, t);
                let has = |link| Node::Has {
                    link,
                    source: type_number(*source),
                    inner: Box::new(inner.clone()),
                };
                Node::or(links.into_iter().map(has).collect())
            }
        })
    }

    fn nodes(
        &mut self,
        t: ResourceTypeId,
        parts: &[Predicate],
        depth: usize,
    ) -> Result<Vec<Node>, StoreError> {
        parts
            .iter()
            .map(|part| self.node(t, part, depth + 1))
            .collect()
    }

    fn key(&self, resource_type: ResourceTypeId, id: &fhir_core::ids::ResourceId) -> i64 {
        self.hasher.resource(&fhir_core::ids::ResourceKey {
            resource_type,
            id: id.clone(),
        })
    }

    fn present(&self, param: ParamId) -> Node {
        match self.catalog.param(param) {
            Some(plan) if plan.code == "_id" || plan.code == "_lastUpdated" => Node::True,
            Some(plan) => plan.bit.map_or(Node::False, Node::Present),
            None => Node::Hash(vec![(i64::from(param.0) << 32, 0).into()]),
        }
    }

    /// Where entries of a parameter are stored. `target`: what kind of entry is meant, for parameters that are
    /// another one narrowed to a type.
    fn places(
        &self,
        t: ResourceTypeId,
        param: ParamId,
        is_local_target: Option<ResourceTypeId>,
    ) -> Vec<Place> {
        let own = || {
            vec![Place {
                param: param.0,
                core: None,
            }]
        };
        let Some(plan) = self.catalog.param(param) else {
            return own();
        };
        if plan.target.is_some() && plan.target != is_local_target {
            return own();
        }
        let core = self.catalog.core(t);
        let place = |id: &u16| Place {
            param: *id,
            core: core.and_then(|core| core_of(core, *id)),
        };
        plan.stored_as.iter().map(place).collect()
    }

    /// The core look-up of a place beside the ordinary one, each only if it can find something.
    fn both(
        &self,
        t: ResourceTypeId,
        place: &Place,
        core: impl FnOnce(i64) -> Node,
        plain: Node,
    ) -> Node {
        match place.core {
            None => plain,
            Some((_, any)) if (self.has_plain)(t) => match (core(any), plain) {
                (Node::False, plain) => plain,
                (core, Node::False) => core,
                (core, plain) => Node::CoreOrPlain {
                    core: Box::new(core),
                    plain: Box::new(plain),
                },
            },
            Some((_, any)) => core(any),
        }
    }

    fn links(&self, t: ResourceTypeId, param: ParamId, target: ResourceTypeId) -> Vec<Link> {
        let mut links = Vec::new();
        for place in self.places(t, param, Some(target)) {
            if let Some((_, any)) = place.core {
                links.push(Link::Core { any });
            }
            if place.core.is_none() || (self.has_plain)(t) {
                links.push(Link::Ref {
                    p: i64::from(place.param),
                });
            }
        }
        links
    }

    fn value(
        &mut self,
        t: ResourceTypeId,
        param: ParamId,
        test: &ValueTest,
    ) -> Result<Node, StoreError> {
        if let ValueTest::Reference(test) = test {
            return self.reference(t, param, test);
        }
        let mut nodes = Vec::new();
        for place in self.places(t, param, None) {
            let p = i64::from(place.param);
            nodes.push(match test {
                ValueTest::Token(test) => self.token(t, &place, test)?,
                ValueTest::Date(test) => {
                    let plain = Node::Date {
                        p,
                        test: test.clone(),
                    };
                    self.both(
                        t,
                        &place,
                        |any| Node::CoreDate {
                            any,
                            test: test.clone(),
                        },
                        plain,
                    )
                }
                ValueTest::Number(range) => Node::Number {
                    p,
                    units: UnitTests::Each(vec![(vec![0], range.clone())]),
                },
                ValueTest::Quantity(test) => Node::Number {
                    p,
                    units: self.units(test)?,
                },
                ValueTest::String(test) => Node::Text {
                    p,
                    test: text_test(test),
                },
                ValueTest::Uri(test) => self.uri(place.param, test)?,
                ValueTest::Near {
                    latitude_e7,
                    longitude_e7,
                    distance_m,
                } => Node::Position {
                    p,
                    bands: near::bands(*latitude_e7, *longitude_e7, *distance_m),
                },
                ValueTest::Reference(_) => Node::False,
            });
        }
        Ok(Node::or(nodes))
    }

    fn token(
        &mut self,
        t: ResourceTypeId,
        place: &Place,
        test: &TokenTest,
    ) -> Result<Node, StoreError> {
        let param = place.param;
        let key = |tid: i64| i64::from(param) << 32 | tid;
        if let TokenTest::System(system) = test {
            let terms = Node::Terms {
                param,
                test: TermTest::System(system.as_bytes().to_vec()),
            };
            let hashes = self.hashes(param, TOKEN_KINDS, test);
            let plain = Node::or(vec![terms, hashes]);
            if place.core.is_none() {
                return Ok(plain);
            }
            let keys = self
                .system_terms(system.as_bytes())?
                .into_iter()
                .map(key)
                .collect();
            return Ok(self.both(t, place, |any| core_token(any, keys), plain));
        }
        if let TokenTest::Text(text) = test {
            let text = text.as_bytes().to_vec();
            let terms = Node::Terms {
                param,
                test: TermTest::Text(text.clone()),
            };
            return Ok(Node::or(vec![
                terms,
                Node::Text {
                    p: i64::from(param),
                    test: TextTest::WordStartsWith(text),
                },
            ]));
        }
        let keys: Vec<i64> = self.token_terms(test)?.into_iter().map(key).collect();
        let hashes = self.hashes(param, TOKEN_KINDS, test);
        if matches!(test, TokenTest::OfType { .. }) {
            return Ok(hashes);
        }
        let plain = Node::or(vec![post(keys.clone()), hashes]);
        Ok(self.both(t, place, |any| core_token(any, keys), plain))
    }

    /// Numbers of the terms that pass a test of one code.
    fn token_terms(&mut self, test: &TokenTest) -> Result<Vec<i64>, StoreError> {
        let (system, code) = match test {
            TokenTest::Code(code) => (None, code),
            TokenTest::SystemCode(system, code) => (Some(system.as_str()), code),
            TokenTest::NoSystemCode(code) => (Some(""), code),
            TokenTest::System(_) | TokenTest::Text(_) | TokenTest::OfType { .. } => {
                return Ok(Vec::new());
            }
        };
        let code = code.as_bytes();
        if code.len() > KEY_TEXT_BYTES_MAX {
            return Ok(Vec::new());
        }
        match system {
            Some(system) => Ok(self.term(system.as_bytes(), code)?.into_iter().collect()),
            None => self.terms_of_code(code),
        }
    }

    fn terms_of_code(&mut self, code: &[u8]) -> Result<Vec<i64>, StoreError> {
        let mut sql = Sql::new("SELECT tid, sys FROM term WHERE code = ");
        sql.bytes(code);
        let mut found = Vec::new();
        for row in self.db.rows(sql)? {
            if !row.bytes(1)?.starts_with(b"\x01") {
                found.push(row.int(0)?);
            }
        }
        Ok(found)
    }

    fn term(&mut self, system: &[u8], code: &[u8]) -> Result<Option<i64>, StoreError> {
        if let Some(tid) = self.terms.get(system, code) {
            return Ok(Some(tid));
        }
        let mut sql = Sql::new("SELECT tid FROM term WHERE code = ");
        sql.bytes(code).push(" AND sys = ").bytes(system);
        let found = self.db.row(sql)?.map(|row| row.int(0)).transpose()?;
        if let Some(tid) = found {
            self.terms.add(system, code, tid);
        }
        Ok(found)
    }

    fn system_terms(&mut self, system: &[u8]) -> Result<Vec<i64>, StoreError> {
        let mut sql = Sql::new("SELECT tid FROM term WHERE sys = ");
        sql.bytes(system)
            .push(" LIMIT ")
            .int(SYSTEM_CODES_MAX as i64 + 1);
        let rows = self.db.rows(sql)?;
        if rows.len() > SYSTEM_CODES_MAX {
            return Err(StoreError::TooCostly(format!(
                "more than {SYSTEM_CODES_MAX} codes of one system"
            )));
        }
        rows.iter().map(|row| row.int(0)).collect()
    }

    fn hashes(&self, param: u16, kinds: [Kind; 3], test: &TokenTest) -> Node {
        let hash = |kind, parts: &[&[u8]]| {
            Node::Hash(vec![self.hasher.posting(kind, param, parts).into()])
        };
        let identifier = |system: &str, value: &str| {
            let (system, value) = (system.as_bytes(), value.as_bytes());
            Node::Hash(vec![
                self.hasher.identifier(kinds, param, system, value).into(),
            ])
        };
        match test {
            TokenTest::Code(value) => {
                Node::Hash(vec![self.hasher.value(kinds, param, value.as_bytes())])
            }
            TokenTest::SystemCode(system, value) => identifier(system, value),
            TokenTest::NoSystemCode(value) => identifier("", value),
            TokenTest::System(system) => hash(kinds[2], &[system.as_bytes()]),
            TokenTest::OfType {
                system,
                code,
                value,
            } => hash(
                Kind::OfType,
                &[system.as_bytes(), code.as_bytes(), value.as_bytes()],
            ),
            TokenTest::Text(_) => Node::False,
        }
    }

    fn reference(
        &mut self,
        t: ResourceTypeId,
        param: ParamId,
        test: &ReferenceTest,
    ) -> Result<Node, StoreError> {
        let mut nodes = Vec::new();
        match test {
            ReferenceTest::Local(keys) => {
                for key in keys {
                    for place in self.places(t, param, Some(key.resource_type)) {
                        let targets = vec![self.hasher.resource(key)];
                        let plain = Node::Ref {
                            p: i64::from(place.param),
                            targets: targets.clone(),
                        };
                        nodes.push(self.both(
                            t,
                            &place,
                            |any| Node::CoreSubject { any, targets },
                            plain,
                        ));
                    }
                }
            }
            ReferenceTest::OfType(target) => {
                for place in self.places(t, param, Some(*target)) {
                    let number = type_number(*target);
                    let plain = Node::RefType {
                        p: i64::from(place.param),
                        t: number,
                    };
                    nodes.push(self.both(
                        t,
                        &place,
                        |any| Node::CoreSubjectType { any, t: number },
                        plain,
                    ));
                }
            }
            ReferenceTest::Url(url) => {
                for place in self.places(t, param, None) {
                    let targets = vec![self.hasher.url(url)];
                    let plain = Node::Ref {
                        p: i64::from(place.param),
                        targets: targets.clone(),
                    };
                    nodes.push(self.both(
                        t,
                        &place,
                        |any| Node::CoreSubject { any, targets },
                        plain,
                    ));
                }
            }
            ReferenceTest::Identifier(test) => {
                for place in self.places(t, param, None) {
                    nodes.push(self.hashes(place.param, REFERENCE_KINDS, test));
                }
            }
        }
        Ok(Node::or(nodes))
    }

    fn uri(&mut self, param: u16, test: &UriTest) -> Result<Node, StoreError> {
        let p = i64::from(param);
        let long = |test| Node::Text { p, test };
        Ok(match test {
            UriTest::Exact(uri) if uri.len() > KEY_TEXT_BYTES_MAX => Node::Hash(vec![
                self.hasher
                    .posting(Kind::Url, param, &[uri.as_bytes()])
                    .into(),
            ]),
            UriTest::Exact(uri) => {
                let found = self.term(SYSTEM_URI, uri.as_bytes())?;
                post(found.into_iter().map(|tid| p << 32 | tid).collect())
            }
            UriTest::Below(uri) => {
                let uri = uri.as_bytes().to_vec();
                let terms = Node::Terms {
                    param,
                    test: TermTest::UriBelow(uri.clone()),
                };
                Node::or(vec![terms, long(TextTest::StartsWith(uri))])
            }
            UriTest::Above(uri) => {
                let uri = uri.as_bytes().to_vec();
                let is_long = uri.len() > KEY_TEXT_BYTES_MAX;
                let terms = Node::Terms {
                    param,
                    test: TermTest::UriAbove(uri.clone()),
                };
                Node::or(vec![
                    terms,
                    if is_long {
                        long(TextTest::IsStartOf(uri))
                    } else {
                        Node::False
                    },
                ])
            }
        })
    }

    /// The units a quantity may be in, each with the range in that unit.
    fn units(&mut self, test: &QuantityTest) -> Result<UnitTests, StoreError> {
        self.load_new_units()?;
        let units = self.terms.units();
        let pick = |is_meant: &dyn Fn(&crate::terms::UnitText) -> bool| -> UnitTests {
            let found = units
                .iter()
                .filter(|(_, unit)| is_meant(unit))
                .map(|(uid, _)| *uid)
                .collect();
            UnitTests::Each(vec![(found, test.range.clone())])
        };
        Ok(match &test.unit {
            UnitTest::Any => UnitTests::Any(test.range.clone()),
            UnitTest::CodeOrUnit(text) => {
                pick(&|unit| *unit.code == *text.as_bytes() || *unit.unit == *text.as_bytes())
            }
            UnitTest::System(system) => pick(&|unit| *unit.system == *system.as_bytes()),
            UnitTest::SystemCode(system, code) => {
                let mut groups: Vec<(Vec<u8>, Vec<i64>, RangeTest)> = Vec::new();
                for (uid, unit) in units
                    .iter()
                    .filter(|(_, unit)| *unit.system == *system.as_bytes())
                {
                    if let Some(group) = groups.iter_mut().find(|(code, ..)| **code == *unit.code) {
                        group.1.push(*uid);
                    } else if *unit.code == *code.as_bytes() {
                        groups.push((unit.code.to_vec(), vec![*uid], test.range.clone()));
                    } else if system == UCUM
                        && let Some(range) = self.converted(&test.range, code, &unit.code)
                    {
                        groups.push((unit.code.to_vec(), vec![*uid], range));
                    }
                }
                UnitTests::Each(
                    groups
                        .into_iter()
                        .map(|(_, uids, range)| (uids, range))
                        .collect(),
                )
            }
        })
    }

    /// A range in another unit; ends that are not exact are moved outward.
    fn converted(&self, range: &RangeTest, from: &str, to: &[u8]) -> Option<RangeTest> {
        let conversion = self.conversion?;
        let to = std::str::from_utf8(to).ok()?;
        let key = |text: &str| {
            Some(SortKey::from_decimal(
                &fhir_core::datatype::decimal::Decimal::parse(text).ok()?,
            ))
        };
        let (low, above_low) = conversion(&range.low.to_decimal()?.to_string(), from, to)?;
        if range.low == range.high {
            // An exact value whose conversion is not exact becomes the narrowest range around it.
            return Some(RangeTest {
                comparison: range.comparison,
                low: key(&low)?,
                high: key(&above_low)?,
            });
        }
        let (_, high) = conversion(&range.high.to_decimal()?.to_string(), from, to)?;
        Some(RangeTest {
            comparison: range.comparison,
            low: key(&low)?,
            high: key(&high)?,
        })
    }

    /// Units that another process has added.
    fn load_new_units(&mut self) -> Result<(), StoreError> {
        let known = self
            .terms
            .units()
            .iter()
            .map(|(uid, _)| *uid)
            .max()
            .unwrap_or(0);
        crate::write::load_units(self.db, self.terms, known)
    }

    fn composite(
        &mut self,
        t: ResourceTypeId,
        param: ParamId,
        tests: &[ValueTest],
    ) -> Result<Node, StoreError> {
        let (Some(first), Some(second)) = (tests.first(), tests.get(1)) else {
            return Err(StoreError::Invalid(
                "a composite has at least two components".into(),
            ));
        };
        let first = self.first(first)?;
        let second = self.part(second)?;
        let third = tests.get(2).map(|test| self.part(test)).transpose()?;
        let node = |place: Place| Node::Composite {
            p: i64::from(place.param),
            first: first.clone(),
            second: second.clone(),
            third: third.clone(),
        };
        Ok(Node::or(
            self.places(t, param, None).into_iter().map(node).collect(),
        ))
    }

    fn first(&mut self, test: &ValueTest) -> Result<FirstTest, StoreError> {
        Ok(match test {
            ValueTest::Token(TokenTest::System(system)) => {
                FirstTest::System(system.as_bytes().to_vec())
            }
            ValueTest::Token(test) => FirstTest::In(self.part_terms(test)?),
            ValueTest::Uri(UriTest::Exact(uri)) => {
                let uri = cut_code(&self.hasher, uri.as_bytes()).into_owned();
                FirstTest::In(self.term(SYSTEM_URI, &uri)?.into_iter().collect())
            }
            ValueTest::Reference(ReferenceTest::Local(keys)) => {
                FirstTest::In(keys.iter().map(|key| self.hasher.resource(key)).collect())
            }
            ValueTest::Reference(ReferenceTest::Url(url)) => {
                FirstTest::In(vec![self.hasher.url(url)])
            }
            _ => {
                return Err(StoreError::Invalid(
                    "the first component of a composite is a code or a reference".into(),
                ));
            }
        })
    }

    fn part_terms(&mut self, test: &TokenTest) -> Result<Vec<i64>, StoreError> {
        let cut = |code: &String| cut_code(&self.hasher, code.as_bytes()).into_owned();
        match test {
            TokenTest::Code(code) => {
                let code = cut(code);
                self.terms_of_code(&code)
            }
            TokenTest::SystemCode(system, code) => {
                let code = cut(code);
                Ok(self.term(system.as_bytes(), &code)?.into_iter().collect())
            }
            TokenTest::NoSystemCode(code) => {
                let code = cut(code);
                Ok(self.term(b"", &code)?.into_iter().collect())
            }
            TokenTest::System(system) => self.system_terms(system.as_bytes()),
            TokenTest::Text(_) | TokenTest::OfType { .. } => Ok(Vec::new()),
        }
    }

    fn part(&mut self, test: &ValueTest) -> Result<PartTest, StoreError> {
        let reference = |h: i64| tagged(TAG_REFERENCE, &h.to_be_bytes());
        Ok(match test {
            ValueTest::Token(test) => {
                let terms = self.part_terms(test)?;
                PartTest::In(
                    terms
                        .into_iter()
                        .map(|tid| tagged(TAG_TERM, &sortable(tid)))
                        .collect(),
                )
            }
            ValueTest::Uri(UriTest::Exact(uri)) => {
                let uri = cut_code(&self.hasher, uri.as_bytes()).into_owned();
                let found = self.term(SYSTEM_URI, &uri)?;
                PartTest::In(
                    found
                        .into_iter()
                        .map(|tid| tagged(TAG_TERM, &sortable(tid)))
                        .collect(),
                )
            }
            ValueTest::Reference(ReferenceTest::Local(keys)) => PartTest::In(
                keys.iter()
                    .map(|key| reference(self.hasher.resource(key)))
                    .collect(),
            ),
            ValueTest::Reference(ReferenceTest::Url(url)) => {
                PartTest::In(vec![reference(self.hasher.url(url))])
            }
            ValueTest::Date(test) => PartTest::Date(test.clone()),
            ValueTest::Number(range) => PartTest::Number(range.clone()),
            ValueTest::Quantity(test) => PartTest::Quantity(self.units(test)?),
            ValueTest::String(test) => PartTest::Text(text_test(test)),
            ValueTest::Uri(_) | ValueTest::Near { .. } | ValueTest::Reference(_) => {
                return Err(StoreError::Invalid(
                    "this test does not work on a component of a composite".into(),
                ));
            }
        })
    }
}

fn core_of(core: &CorePlan, param: u16) -> Option<(Core, i64)> {
    let role = if param == core.subject {
        Core::Subject
    } else if param == core.date {
        Core::Date
    } else if core.tokens.contains(&param) {
        Core::Token
    } else {
        return None;
    };
    Some((role, core.any_key()))
}

fn post(keys: Vec<i64>) -> Node {
    if keys.is_empty() {
        Node::False
    } else {
        Node::Post(keys)
    }
}

fn core_token(any: i64, keys: Vec<i64>) -> Node {
    if keys.is_empty() {
        Node::False
    } else {
        Node::CoreToken { any, keys }
    }
}

fn text_test(test: &StringTest) -> TextTest {
    match test {
        StringTest::StartsWith(text) => TextTest::StartsWith(text.as_bytes().to_vec()),
        StringTest::Contains(text) => TextTest::Contains(text.as_bytes().to_vec()),
        StringTest::Exact(text) => TextTest::Exact(text.as_bytes().to_vec()),
        StringTest::Equals(text) => TextTest::Equals(text.as_bytes().to_vec()),
        StringTest::EndsWith(text) => TextTest::EndsWith(text.as_bytes().to_vec()),
    }
}
