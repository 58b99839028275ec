//! From a [`Node`] to SQL: as a condition on a row of `res`, or as the set of numbers a search begins with.

use fhir_core::search::predicate::{Comparison, DateTest, RangeTest};

use super::node::{FirstTest, Link, Node, PartTest, TermTest, TextTest, UnitTests};
use super::tests_of_values::{
    Columns, End, date_condition, date_ends, low_bounds, number_condition, number_ends,
};
use crate::catalog::WIDE;
use crate::db::Engine;
use crate::hash::HashKey;
use crate::index::{
    KEY_TEXT_BYTES_MAX, TAG_DATE, TAG_NUMBER, TAG_POSITION, TAG_QUANTITY, TAG_STRING, sortable,
    tagged,
};
use crate::sql::{Bind, Sql};
use crate::terms::{SYSTEM_TEXT, SYSTEM_URI};

/// Writes conditions; gives each table its own alias.
pub(crate) struct Emitter {
    engine: Engine,
    aliases: usize,
}

const LOW_HIGH: Columns<'_> = Columns {
    low: "x.lo",
    high: "coalesce(x.hi, x.lo)",
};
const LOW_ONLY: Columns<'_> = Columns {
    low: "x.lo",
    high: "x.lo",
};
const DATES: Columns<'_> = Columns {
    low: "x.lo",
    high: "x.hi",
};

/// In the clinical core the length is stored, not the end; see [`crate::index::CoreRow::length`].
const CORE_DATES: Columns<'_> = Columns {
    low: "x.lo",
    high: "(x.lo + (x.len + 1000000))",
};

impl Emitter {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, aliases: 0 }
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("y{}", self.aliases)
    }

    /// A condition on the row `r` of `res`.
    pub(crate) fn condition(&mut self, out: &mut Sql, r: &str, node: &Node) {
        match node {
            Node::True => {
                out.push("1 = 1");
            }
            Node::False => {
                out.push("1 = 0");
            }
            Node::And(nodes) => self.list(out, r, nodes, " AND "),
            Node::Or(nodes) => self.list(out, r, nodes, " OR "),
            Node::CoreOrPlain { core, plain } => {
                out.push("(");
                self.condition(out, r, core);
                out.push(" OR ");
                self.condition(out, r, plain);
                out.push(")");
            }
            Node::Not(inner) => {
                out.push("NOT (");
                self.condition(out, r, inner);
                out.push(")");
            }
            Node::Ids(keys) => {
                out.push_owned(format!("{r}.h")).in_ints(keys);
            }
            Node::Updated(test) => {
                let column = format!("{r}.upd");
                let next = format!("({r}.upd + 1)");
                let (start, end) = date_ends(test);
                date_condition(
                    out,
                    &Columns {
                        low: &column,
                        high: &next,
                    },
                    test.comparison,
                    &start,
                    &end,
                );
            }
            Node::Present(bit) => {
                out.push_owned(format!("({r}.present & "))
                    .int(1 << bit)
                    .push(") <> 0");
            }
            Node::Post(keys) => {
                out.push_owned(format!(
                    "EXISTS (SELECT 1 FROM post x WHERE x.rid = {r}.rid AND x.k"
                ))
                .in_ints(keys);
                out.push(")");
            }
            Node::Hash(keys) => {
                out.push_owned(format!(
                    "EXISTS (SELECT 1 FROM post x WHERE x.rid = {r}.rid AND "
                ));
                hash_condition(out, keys);
                out.push(")");
            }
            Node::Date { p, test } => {
                out.push_owned(format!(
                    "EXISTS (SELECT 1 FROM dat x WHERE x.rid = {r}.rid AND x.p"
                ));
                out.in_ints(&[*p, *p | WIDE]).push(" AND ");
                date_rows(out, &DATES, test);
                out.push(")");
            }
            Node::Number { p, units } => {
                out.push_owned(format!(
                    "EXISTS (SELECT 1 FROM num x WHERE x.rid = {r}.rid AND x.p"
                ));
                out.in_ints(&[*p, *p | WIDE]).push(" AND ");
                unit_rows(out, &LOW_HIGH, units);
                out.push(")");
            }
            Node::Text { p, test } => {
                out.push_owned(format!(
                    "EXISTS (SELECT 1 FROM str x WHERE x.rid = {r}.rid AND x.p = "
                ))
                .int(*p);
                out.push(" AND ");
                self.text_rows(out, "x.norm", "x.exact", "x.whole", test);
                out.push(")");
            }
            Node::Ref { p, targets } => {
                out.push_owned(format!(
                    "EXISTS (SELECT 1 FROM ref x WHERE x.rid = {r}.rid AND x.p = "
                ))
                .int(*p);
                out.push(" AND x.h").in_ints(targets).push(")");
            }
            Node::CoreToken { keys, .. } => {
                core_exists(out, r, 0);
                out.push(" AND x.k").in_ints(keys).push(")");
            }
            Node::CoreSubject { any, targets } => {
                out.push_owned(format!(
                    "EXISTS (SELECT 1 FROM sd x WHERE x.lo = {r}.at AND x.rid = {r}.rid AND x.k = "
                ));
                out.int(*any).push(" AND x.s").in_ints(targets).push(")");
            }
            Node::CoreSubjectType { any, t } => {
                core_exists(out, r, 0);
                out.push(" AND x.k = ")
                    .int(*any)
                    .push(" AND x.t = ")
                    .int(*t)
                    .push(")");
            }
            Node::CoreDate { any, test } => {
                core_exists(out, r, 0);
                out.push(" AND x.k = ")
                    .int(*any)
                    .push(" AND x.lo > ")
                    .int(i64::MIN)
                    .push(" AND ");
                date_rows(out, &CORE_DATES, test);
                out.push(")");
            }
            Node::OutsideCore => {
                out.push_owned(format!("{r}.at IS NULL"));
            }
            Node::Has {
                link,
                source,
                inner,
            } => self.has(out, r, *link, *source, inner),
            Node::Words { .. }
            | Node::Terms { .. }
            | Node::RefType { .. }
            | Node::Composite { .. }
            | Node::Position { .. }
            | Node::Chain { .. } => {
                out.push_owned(format!("{r}.rid IN ("));
                self.set(out, node);
                out.push(")");
            }
        }
    }

    fn list(&mut self, out: &mut Sql, r: &str, nodes: &[Node], between: &'static str) {
        out.push("(");
        for (index, node) in nodes.iter().enumerate() {
            out.push(if index == 0 { "" } else { between });
            self.condition(out, r, node);
        }
        out.push(")");
    }

    /// Whether a search can begin with the node.
    pub(crate) fn can_begin(node: &Node) -> bool {
        match node {
            Node::Or(nodes) => nodes.iter().all(Self::can_begin),
            Node::CoreOrPlain { core, plain } => Self::can_begin(core) && Self::can_begin(plain),
            Node::Date { test, .. } => test.comparison != Comparison::NotEqual,
            Node::True
            | Node::False
            | Node::And(_)
            | Node::Not(_)
            | Node::Ids(_)
            | Node::Updated(_)
            | Node::Present(_)
            | Node::OutsideCore
            | Node::CoreDate { .. }
            | Node::CoreSubjectType { .. }
            | Node::Has { .. } => false,
            Node::Text { test, .. } => {
                !matches!(test, TextTest::Contains(_) | TextTest::EndsWith(_))
            }
            Node::Words { .. }
            | Node::Post(_)
            | Node::Hash(_)
            | Node::Terms { .. }
            | Node::Ref { .. }
            | Node::RefType { .. }
            | Node::Number { .. }
            | Node::Composite { .. }
            | Node::Position { .. }
            | Node::CoreToken { .. }
            | Node::CoreSubject { .. }
            | Node::Chain { .. } => true,
        }
    }

    /// `SELECT rid …` of everything that passes the node; a number may come twice.
    pub(crate) fn set(&mut self, out: &mut Sql, node: &Node) {
        match node {
            Node::Or(nodes) => {
                for (index, node) in nodes.iter().enumerate() {
                    out.push(if index == 0 { "" } else { " UNION ALL " });
                    self.set(out, node);
                }
            }
            Node::CoreOrPlain { core, plain } => {
                self.set(out, core);
                out.push(" UNION ALL ");
                self.set(out, plain);
            }
            Node::Post(keys) => {
                out.push("SELECT x.rid FROM post x WHERE x.k").in_ints(keys);
            }
            Node::Hash(keys) => {
                out.push("SELECT x.rid FROM post x WHERE ");
                hash_condition(out, keys);
            }
            Node::Terms { param, test } => {
                out.push("SELECT x.rid FROM post x WHERE x.k IN (SELECT ")
                    .int(i64::from(*param) << 32);
                out.push(" + v.tid FROM term v WHERE ");
                self.term_condition(out, test);
                out.push(")");
            }
            Node::Ref { p, targets } => {
                out.push("SELECT x.rid FROM ref x WHERE x.p = ")
                    .int(*p)
                    .push(" AND x.h")
                    .in_ints(targets);
            }
            Node::RefType { p, t } => {
                out.push("SELECT x.rid FROM ref x WHERE x.p = ")
                    .int(*p)
                    .push(" AND x.t = ")
                    .int(*t);
            }
            Node::Date { p, test } => {
                let (from, to) = low_bounds(test);
                out.push("SELECT x.rid FROM dat x WHERE x.p = ").int(*p);
                out.push(" AND x.lo >= ")
                    .int(from)
                    .push(" AND x.lo <= ")
                    .int(to)
                    .push(" AND ");
                date_rows(out, &DATES, test);
                out.push(" UNION ALL SELECT x.rid FROM dat x WHERE x.p = ")
                    .int(*p | WIDE)
                    .push(" AND ");
                date_rows(out, &DATES, test);
            }
            Node::Number { p, units } => {
                out.push("SELECT x.rid FROM num x WHERE x.p = ")
                    .int(*p)
                    .push(" AND ");
                unit_rows(out, &LOW_ONLY, units);
                out.push(" UNION ALL SELECT x.rid FROM num x WHERE x.p = ")
                    .int(*p | WIDE)
                    .push(" AND ");
                unit_rows(out, &LOW_HIGH, units);
            }
            Node::Text { p, test } => {
                out.push("SELECT x.rid FROM str x WHERE x.p = ")
                    .int(*p)
                    .push(" AND ");
                self.text_rows(out, "x.norm", "x.exact", "x.whole", test);
            }
            Node::Words { place, any_of } => self.engine.words_rows(out, *place, any_of),
            Node::Composite {
                p,
                first,
                second,
                third,
            } => self.composite(out, *p, first, second, third.as_ref()),
            Node::Position { p, bands } => {
                for (index, band) in bands.iter().enumerate() {
                    out.push(if index == 0 { "" } else { " UNION ALL " });
                    out.push("SELECT x.rid FROM comp x WHERE x.p = ").int(*p);
                    out.push(" AND x.a >= ")
                        .int(band.latitude.0)
                        .push(" AND x.a <= ")
                        .int(band.latitude.1);
                    out.push(" AND x.s >= ")
                        .bytes(tagged(TAG_POSITION, &sortable(band.longitude.0)));
                    out.push(" AND x.s <= ")
                        .bytes(tagged(TAG_POSITION, &sortable(band.longitude.1)));
                }
            }
            Node::CoreToken { keys, .. } => {
                out.push("SELECT x.rid FROM sd x WHERE x.s = 0 AND x.k")
                    .in_ints(keys);
            }
            Node::CoreSubject { any, targets } => {
                out.push("SELECT x.rid FROM sd x WHERE x.k = ")
                    .int(*any)
                    .push(" AND x.s")
                    .in_ints(targets);
            }
            Node::Chain {
                link,
                target,
                inner,
            } => {
                let y = self.alias();
                match link {
                    Link::Ref { p } => {
                        out.push_owned(format!("SELECT x.rid FROM res {y} CROSS JOIN ref x WHERE x.h = {y}.h AND x.p = "));
                        out.int(*p);
                    }
                    Link::Core { any } => {
                        out.push_owned(format!(
                            "SELECT x.rid FROM res {y} CROSS JOIN sd x WHERE x.s = {y}.h AND x.k = "
                        ));
                        out.int(*any);
                    }
                }
                out.push(" AND ");
                self.rows_of(out, &y, *target, inner);
            }
            // Nothing begins with these; see `can_begin`.
            other => {
                let y = self.alias();
                out.push_owned(format!("SELECT {y}.rid FROM res {y} WHERE "));
                self.condition(out, &y, other);
            }
        }
    }

    /// Rows `y` of a type that match, beginning where it is best.
    pub(crate) fn rows_of(&mut self, out: &mut Sql, y: &str, type_number: i64, node: &Node) {
        let conjuncts = node.clone().into_conjuncts();
        let first = conjuncts
            .iter()
            .filter(|node| Self::can_begin(node))
            .min_by_key(|node| rank(node))
            .cloned();
        let has_ids = conjuncts.iter().any(|node| matches!(node, Node::Ids(_)));
        let first = first.filter(|_| !has_ids);
        out.push_owned(if first.is_some() || has_ids {
            format!("+{y}.type = ")
        } else {
            format!("{y}.type = ")
        });
        out.int(type_number);
        for conjunct in conjuncts {
            out.push(" AND ");
            if first.as_ref() == Some(&conjunct) {
                out.push_owned(format!("{y}.rid IN ("));
                self.set(out, &conjunct);
                out.push(")");
            } else {
                self.condition(out, y, &conjunct);
            }
        }
    }

    fn has(&mut self, out: &mut Sql, r: &str, link: Link, source: i64, inner: &Node) {
        match link {
            Link::Ref { p } => {
                let y = self.alias();
                out.push_owned(format!(
                    "EXISTS (SELECT 1 FROM ref x CROSS JOIN res {y} WHERE {y}.rid = x.rid AND x.h = {r}.h AND x.p = "
                ));
                out.int(p)
                    .push_owned(format!(" AND +{y}.type = "))
                    .int(source)
                    .push(" AND ");
                self.condition(out, &y, inner);
            }
            Link::Core { any } => {
                let mut rest = inner.clone().into_conjuncts();
                let token = rest
                    .iter()
                    .position(|node| matches!(node, Node::CoreToken { .. }));
                let keys = match token.map(|index| rest.swap_remove(index)) {
                    Some(Node::CoreToken { keys, .. }) => keys,
                    _ => vec![any],
                };
                let y = self.alias();
                out.push(if rest.is_empty() {
                    "EXISTS (SELECT 1 FROM sd x WHERE "
                } else {
                    "EXISTS (SELECT 1 FROM sd x CROSS JOIN res "
                });
                if !rest.is_empty() {
                    out.push_owned(format!("{y} WHERE {y}.rid = x.rid AND "));
                    for node in &rest {
                        self.condition(out, &y, node);
                        out.push(" AND ");
                    }
                }
                out.push_owned(format!("x.s = {r}.h AND x.k"))
                    .in_ints(&keys);
            }
        }
        out.push(")");
    }

    fn term_condition(&self, out: &mut Sql, test: &TermTest) {
        match test {
            TermTest::System(system) => {
                out.push("v.sys = ").bytes(system.clone());
            }
            TermTest::UriBelow(uri) => {
                out.push("v.sys = ").bytes(SYSTEM_URI);
                starts_with(out, "v.code", uri);
            }
            TermTest::UriAbove(uri) => {
                out.push("v.sys = ")
                    .bytes(SYSTEM_URI)
                    .push(" AND v.code <= ")
                    .bytes(uri.clone());
                out.push(" AND substr(")
                    .bytes(uri.clone())
                    .push_owned(self.whole_column("v.code"));
            }
            TermTest::Text(text) => {
                out.push("v.sys = ").bytes(SYSTEM_TEXT).push(" AND ((1 = 1");
                starts_with(out, "v.code", text);
                out.push(") OR ");
                self.engine
                    .contains(out, "v.code", &[b" ", text.as_slice()].concat());
                out.push(")");
            }
        }
    }

    /// The rest of `substr(value, 1, length of the column) = column`.
    fn whole_column(&self, column: &str) -> String {
        format!(", 1, {}) = {column}", self.engine.length(column))
    }

    fn text_rows(
        &self,
        out: &mut Sql,
        norm: &'static str,
        exact: &'static str,
        whole: &'static str,
        test: &TextTest,
    ) {
        out.push("(1 = 1");
        match test {
            TextTest::StartsWith(text) => {
                let head = text.get(..KEY_TEXT_BYTES_MAX).unwrap_or(text);
                starts_with(out, norm, head);
                if head.len() < text.len() {
                    out.push_owned(format!(" AND {whole} >= "))
                        .bytes(text.clone());
                    if let Some(end) = successor(text) {
                        out.push_owned(format!(" AND {whole} < ")).bytes(end);
                    }
                }
            }
            TextTest::Contains(text) => {
                out.push(" AND ");
                self.engine
                    .contains(out, &format!("coalesce({whole}, {norm})"), text);
            }
            TextTest::Exact(text) => {
                out.push_owned(format!(" AND coalesce({exact}, {whole}, {norm}) = "))
                    .bytes(text.clone());
            }
            TextTest::Equals(text) if text.len() <= KEY_TEXT_BYTES_MAX => {
                // The key ends the search in the index; a text of just this length has no `whole`.
                out.push_owned(format!(" AND {norm} = "))
                    .bytes(text.clone())
                    .push_owned(format!(" AND {whole} IS NULL"));
            }
            TextTest::Equals(text) => {
                let head = text.get(..KEY_TEXT_BYTES_MAX).unwrap_or(text);
                starts_with(out, norm, head);
                out.push_owned(format!(" AND {whole} = "))
                    .bytes(text.clone());
            }
            TextTest::EndsWith(text) => {
                let column = format!("coalesce({whole}, {norm})");
                let length = self.engine.length(&column);
                let size = text.len();
                out.push_owned(format!(
                    " AND {length} >= {size} AND substr({column}, {length} - {size} + 1) = "
                ))
                .bytes(text.clone());
            }
            TextTest::WordStartsWith(text) => {
                out.push(" AND ((1 = 1");
                starts_with(out, &format!("coalesce({whole}, {norm})"), text);
                out.push(") OR ");
                self.engine.contains(
                    out,
                    &format!("coalesce({whole}, {norm})"),
                    &[b" ", text.as_slice()].concat(),
                );
                out.push(")");
            }
            TextTest::IsStartOf(text) => {
                out.push(" AND substr(")
                    .bytes(text.clone())
                    .push_owned(self.whole_column("coalesce(x.whole, x.norm)"));
            }
        }
        out.push(")");
    }

    fn composite(
        &mut self,
        out: &mut Sql,
        p: i64,
        first: &FirstTest,
        second: &PartTest,
        third: Option<&PartTest>,
    ) {
        for (index, (p, is_wide)) in [(p, false), (p | WIDE, true)].into_iter().enumerate() {
            out.push(if index == 0 { "" } else { " UNION ALL " });
            out.push("SELECT x.rid FROM comp x WHERE x.p = ")
                .int(p)
                .push(" AND x.a");
            match first {
                FirstTest::In(keys) => {
                    out.in_ints(keys);
                }
                FirstTest::System(system) => {
                    out.push(" IN (SELECT v.tid FROM term v WHERE v.sys = ")
                        .bytes(system.clone())
                        .push(")");
                }
            }
            out.push(" AND ");
            self.part(out, "x.s", "x.hi", second, is_wide);
            if let Some(third) = third {
                out.push(" AND ");
                self.part(out, "x.t", "x.thi", third, true);
            }
        }
    }

    /// A test of a component in `low` (tag and bytes) and `high` (bytes).
    fn part(
        &self,
        out: &mut Sql,
        low: &'static str,
        high: &'static str,
        test: &PartTest,
        is_wide: bool,
    ) {
        match test {
            PartTest::In(values) if values.is_empty() => {
                out.push("1 = 0");
            }
            PartTest::In(values) => {
                out.push(low).push(" IN (");
                for (index, value) in values.iter().enumerate() {
                    out.push(if index == 0 { "" } else { ", " })
                        .bytes(value.clone());
                }
                out.push(")");
            }
            PartTest::Date(test) => {
                let end = |value: i64| End {
                    low: Bind::Bytes(tagged(TAG_DATE, &sortable(value))),
                    high: Bind::Bytes(sortable(value).to_vec()),
                };
                starts_with_tag(out, low, TAG_DATE);
                if !is_wide {
                    let (from, to) = low_bounds(test);
                    out.push(" AND ")
                        .push(low)
                        .push(" >= ")
                        .bytes(tagged(TAG_DATE, &sortable(from)));
                    out.push(" AND ")
                        .push(low)
                        .push(" <= ")
                        .bytes(tagged(TAG_DATE, &sortable(to)));
                }
                out.push(" AND ");
                date_condition(
                    out,
                    &Columns { low, high },
                    test.comparison,
                    &end(test.start),
                    &end(test.end),
                );
            }
            PartTest::Number(range) => number_part(out, low, high, &[TAG_NUMBER], range, is_wide),
            PartTest::Quantity(UnitTests::Any(range)) => {
                // Whatever the unit: tag and four bytes of unit stand before the number.
                let number = format!("substr({low}, 6)");
                let upper = if is_wide {
                    format!("coalesce({high}, {number})")
                } else {
                    number.clone()
                };
                starts_with_tag(out, low, TAG_QUANTITY);
                out.push(" AND ");
                let (start, end) = number_ends(range);
                number_condition(
                    out,
                    &Columns {
                        low: &number,
                        high: &upper,
                    },
                    range,
                    &start,
                    &end,
                );
            }
            PartTest::Quantity(UnitTests::Each(groups)) => {
                let all = groups
                    .iter()
                    .flat_map(|(units, range)| units.iter().map(move |unit| (*unit, range)));
                let mut is_first = true;
                for (unit, range) in all {
                    let prefix = tagged(TAG_QUANTITY, &(unit as u32).to_be_bytes());
                    out.push(if is_first { "((" } else { " OR (" });
                    number_part(out, low, high, &prefix, range, is_wide);
                    out.push(")");
                    is_first = false;
                }
                out.push(if is_first { "1 = 0" } else { ")" });
            }
            PartTest::Text(TextTest::StartsWith(text)) => {
                let text = text.get(..KEY_TEXT_BYTES_MAX).unwrap_or(text);
                out.push("(1 = 1");
                starts_with(out, low, &tagged(TAG_STRING, text));
                out.push(")");
            }
            PartTest::Text(TextTest::Exact(text)) => {
                starts_with_tag(out, low, TAG_STRING);
                out.push(" AND ").push(high).push(" = ").bytes(text.clone());
            }
            PartTest::Text(TextTest::Equals(text)) => {
                let text = text.get(..KEY_TEXT_BYTES_MAX).unwrap_or(text);
                out.push(low).push(" = ").bytes(tagged(TAG_STRING, text));
            }
            PartTest::Text(TextTest::EndsWith(text)) => {
                starts_with_tag(out, low, TAG_STRING);
                let length = self.engine.length(low);
                // The tag is one byte before the text.
                let size = text.len();
                out.push_owned(format!(
                    " AND {length} > {size} AND substr({low}, {length} - {size} + 1) = "
                ))
                .bytes(text.clone());
            }
            PartTest::Text(
                TextTest::Contains(text)
                | TextTest::WordStartsWith(text)
                | TextTest::IsStartOf(text),
            ) => {
                starts_with_tag(out, low, TAG_STRING);
                out.push(" AND ");
                self.engine
                    .contains(out, &format!("substr({low}, 2)"), text);
            }
        }
    }
}

/// A number behind a prefix of tag and unit.
fn number_part(
    out: &mut Sql,
    low: &'static str,
    high: &'static str,
    prefix: &[u8],
    range: &RangeTest,
    is_wide: bool,
) {
    let end = |key: &[u8]| End {
        low: Bind::Bytes([prefix, key].concat()),
        high: Bind::Bytes(key.to_vec()),
    };
    let (mut start, mut stop) = (end(range.low.as_bytes()), end(range.high.as_bytes()));
    out.push("(1 = 1");
    starts_with(out, low, prefix);
    out.push(") AND ");
    if is_wide {
        let upper = format!("coalesce({high}, substr({low}, {}))", prefix.len() + 1);
        number_condition(out, &Columns { low, high: &upper }, range, &start, &stop);
    } else {
        start.high = start.low.clone();
        stop.high = stop.low.clone();
        number_condition(out, &Columns { low, high: low }, range, &start, &stop);
    }
}

fn starts_with_tag(out: &mut Sql, column: &'static str, tag: u8) {
    out.push("(1 = 1");
    starts_with(out, column, &[tag]);
    out.push(")");
}

/// ` AND column` lies between the prefix and what follows it.
fn starts_with(out: &mut Sql, column: &str, prefix: &[u8]) {
    if prefix.is_empty() {
        return;
    }
    out.push_owned(format!(" AND {column} >= ")).bytes(prefix);
    if let Some(end) = successor(prefix) {
        out.push_owned(format!(" AND {column} < ")).bytes(end);
    }
}

/// The first bytes behind everything that starts with a prefix.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xFF {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

fn hash_condition(out: &mut Sql, keys: &[HashKey]) {
    out.push("(");
    for (index, key) in keys.iter().enumerate() {
        out.push(if index == 0 { "(" } else { " OR (" });
        if key.from == key.to {
            out.push("x.k = ").int(key.from);
        } else {
            out.push("x.k >= ").int(key.from);
            out.push(" AND x.k <= ").int(key.to);
        }
        out.push(" AND x.c = ").int(key.check).push(")");
    }
    out.push(")");
}

fn core_exists(out: &mut Sql, r: &str, subject: i64) {
    out.push_owned(format!(
        "EXISTS (SELECT 1 FROM sd x WHERE x.lo = {r}.at AND x.rid = {r}.rid AND x.s = "
    ));
    out.int(subject);
}

pub(crate) fn date_rows(out: &mut Sql, columns: &Columns<'_>, test: &DateTest) {
    let (start, end) = date_ends(test);
    date_condition(out, columns, test.comparison, &start, &end);
}

fn unit_rows(out: &mut Sql, columns: &Columns<'_>, units: &UnitTests) {
    match units {
        UnitTests::Any(range) => {
            let (start, end) = number_ends(range);
            number_condition(out, columns, range, &start, &end);
        }
        UnitTests::Each(groups) => {
            out.push(if groups.is_empty() { "(1 = 0" } else { "(" });
            for (index, (units, range)) in groups.iter().enumerate() {
                let (start, end) = number_ends(range);
                out.push(if index == 0 { "(x.u" } else { " OR (x.u" })
                    .in_ints(units)
                    .push(" AND ");
                number_condition(out, columns, range, &start, &end);
                out.push(")");
            }
            out.push(")");
        }
    }
}

/// How good a node is to begin with; the smallest is best.
pub(crate) fn rank(node: &Node) -> u32 {
    match node {
        Node::Ids(_) => 0,
        Node::Hash(_) => 1,
        Node::CoreSubject { .. } | Node::Ref { .. } => 2,
        Node::Composite { .. } => 3,
        Node::Chain { .. } | Node::Text { .. } | Node::Position { .. } | Node::Words { .. } => 4,
        Node::Or(nodes) => nodes.iter().map(rank).max().unwrap_or(9),
        Node::CoreOrPlain { core, plain } => rank(core).max(rank(plain)),
        Node::Post(_) | Node::CoreToken { .. } | Node::Terms { .. } => 6,
        Node::Date { .. } | Node::Number { .. } => 7,
        _ => 9,
    }
}
