//! What the official definitions promise, quoted from the specification.

use super::*;

fn r4() -> &'static Definitions {
    Definitions::r4()
}

#[test]
fn counts_are_those_of_r4() {
    assert_eq!(r4().resource_types().len(), 148);
    assert_eq!(r4().concrete_types().count(), 146);
}
