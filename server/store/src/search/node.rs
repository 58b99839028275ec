//! A predicate whose parameters, terms and hashes are resolved: what the index is asked, nothing of FHIR left.

use fhir_core::search::predicate::{DateTest, RangeTest, TextPlace};

use crate::hash::HashKey;

/// The tree. Every leaf tests one row `r` of `res`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    True,
    False,
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    /// `res.h` is one of these.
    Ids(Vec<i64>),
    Updated(DateTest),
    /// Words of the resource's text: which text, and the alternatives.
    Words {
        place: TextPlace,
        any_of: Vec<Vec<String>>,
    },
    /// A bit of `res.present`.
    Present(u32),
    /// Postings of interned terms.
    Post(Vec<i64>),
    /// Postings of hashes, each with its check.
    Hash(Vec<HashKey>),
    /// Postings of all terms that pass a test.
    Terms {
        param: u16,
        test: TermTest,
    },
    Ref {
        p: i64,
        targets: Vec<i64>,
    },
    RefType {
        p: i64,
        t: i64,
    },
    Date {
        p: i64,
        test: DateTest,
    },
    Number {
        p: i64,
        units: UnitTests,
    },
    Text {
        p: i64,
        test: TextTest,
    },
    Composite {
        p: i64,
        first: FirstTest,
        second: PartTest,
        third: Option<PartTest>,
    },
    Position {
        p: i64,
        bands: Vec<Band>,
    },
    /// One look-up in the clinical core and in the ordinary index, where those outside of the core are.
    CoreOrPlain {
        core: Box<Node>,
        plain: Box<Node>,
    },
    /// The same in the clinical core; `any` is the key of "any token".
    CoreToken {
        any: i64,
        keys: Vec<i64>,
    },
    CoreDate {
        any: i64,
        test: DateTest,
    },
    CoreSubject {
        any: i64,
        targets: Vec<i64>,
    },
    CoreSubjectType {
        any: i64,
        t: i64,
    },
    /// The resource is not in the clinical core.
    OutsideCore,
    /// A reference of this resource leads to one that matches.
    Chain {
        link: Link,
        target: i64,
        inner: Box<Node>,
    },
    /// A resource that matches refers to this one.
    Has {
        link: Link,
        source: i64,
        inner: Box<Node>,
    },
}

/// Where references are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Ref { p: i64 },
    Core { any: i64 },
}

/// A test of the table of terms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TermTest {
    System(Vec<u8>),
    UriBelow(Vec<u8>),
    UriAbove(Vec<u8>),
    Text(Vec<u8>),
}

/// Which numbers of which units pass.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum UnitTests {
    /// Whatever the unit.
    Any(RangeTest),
    /// One of these units, each with its own range.
    Each(Vec<(Vec<i64>, RangeTest)>),
}

/// A test of `str`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TextTest {
    StartsWith(Vec<u8>),
    Contains(Vec<u8>),
    Exact(Vec<u8>),
    /// The normalised text is this.
    Equals(Vec<u8>),
    EndsWith(Vec<u8>),
    /// Starts with this or has a word that does.
    WordStartsWith(Vec<u8>),
    /// This starts with the whole value.
    IsStartOf(Vec<u8>),
}

/// The first component of a composite.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FirstTest {
    In(Vec<i64>),
    System(Vec<u8>),
}

/// The second or third component of a composite.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PartTest {
    /// One of these bytes.
    In(Vec<Vec<u8>>),
    Date(DateTest),
    Number(RangeTest),
    Quantity(UnitTests),
    Text(TextTest),
}

/// A strip of a circle on the globe, in degrees × 10^7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Band {
    pub(crate) latitude: (i64, i64),
    pub(crate) longitude: (i64, i64),
}

impl Node {
    /// And, without needless nesting.
    pub(crate) fn and(nodes: Vec<Node>) -> Node {
        let mut flat = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node {
                Node::True => {}
                Node::False => return Node::False,
                Node::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        if flat.len() > 1 {
            Node::And(flat)
        } else {
            flat.pop().unwrap_or(Node::True)
        }
    }

    /// Or, without needless nesting.
    pub(crate) fn or(nodes: Vec<Node>) -> Node {
        let mut flat: Vec<Node> = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node {
                Node::False => {}
                Node::True => return Node::True,
                Node::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        merge_alike(&mut flat);
        if flat.len() > 1 {
            Node::Or(flat)
        } else {
            flat.pop().unwrap_or(Node::False)
        }
    }

    /// Not.
    pub(crate) fn negated(self) -> Node {
        match self {
            Node::True => Node::False,
            Node::False => Node::True,
            Node::Not(inner) => *inner,
            other => Node::Not(Box::new(other)),
        }
    }

    /// The parts that must all hold.
    pub(crate) fn into_conjuncts(self) -> Vec<Node> {
        match self {
            Node::And(nodes) => nodes,
            Node::True => Vec::new(),
            other => vec![other],
        }
    }
}

/// Alternatives that look into the same index become one look-up of several keys.
fn merge_alike(nodes: &mut Vec<Node>) {
    let mut merged: Vec<Node> = Vec::with_capacity(nodes.len());
    'next: for node in nodes.drain(..) {
        for earlier in &mut merged {
            match (earlier, &node) {
                (Node::Post(all), Node::Post(more)) => all.extend(more),
                (Node::Hash(all), Node::Hash(more)) => all.extend(more),
                (Node::Ids(all), Node::Ids(more)) => all.extend(more),
                (
                    Node::CoreToken { any, keys },
                    Node::CoreToken {
                        any: same,
                        keys: more,
                    },
                ) if any == same => {
                    keys.extend(more);
                }
                (
                    Node::CoreSubject { any, targets },
                    Node::CoreSubject {
                        any: same,
                        targets: more,
                    },
                ) if any == same => {
                    targets.extend(more);
                }
                (
                    Node::Ref { p, targets },
                    Node::Ref {
                        p: same,
                        targets: more,
                    },
                ) if p == same => targets.extend(more),
                _ => continue,
            }
            continue 'next;
        }
        merged.push(node);
    }
    *nodes = merged;
}
