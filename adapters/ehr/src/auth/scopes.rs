//! SMART scopes, versions 1 and 2, as granted by a token endpoint.
//!
//! Spec: <https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#scopes-for-requesting-fhir-resources>.
//! Leaves out launch and identity scopes, which grant no resource; they are kept as text only.

/// One resource scope, such as `system/Observation.rs?category=…|laboratory`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceScope {
    /// `patient`, `user` or `system`.
    pub context: String,
    /// A resource type or `*`.
    pub resource_type: String,
    /// May read single resources.
    pub read: bool,
    /// May search.
    pub search: bool,
    /// May create.
    pub create: bool,
    /// May update.
    pub update: bool,
    /// The restriction after `?`, as `name=value` pairs.
    pub restriction: Vec<(String, String)>,
}

/// Everything a token grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// Scopes that name resources.
    pub resources: Vec<ResourceScope>,
    /// Everything else, as text: `launch`, `openid`, vendor scopes.
    pub others: Vec<String>,
}

impl Granted {
    /// Reads a space-separated scope list. Nothing in it is an error: what we do not know grants nothing.
    pub fn parse(text: &str) -> Self {
        let mut granted = Self::default();
        for word in text.split_ascii_whitespace() {
            match resource_scope(word) {
                Some(scope) => granted.resources.push(scope),
                None => granted.others.push(word.to_owned()),
            }
        }
        granted
    }

    /// True when resources of the type may be searched, in the category if one is given. Several scopes are a union.
    pub fn may_search(&self, resource_type: &str, category: Option<&str>) -> bool {
        self.any(resource_type, category, |scope| scope.search)
    }

    /// True when single resources of the type may be read.
    pub fn may_read(&self, resource_type: &str) -> bool {
        self.any(resource_type, None, |scope| scope.read)
    }

    /// True when resources of the type may be created.
    pub fn may_create(&self, resource_type: &str) -> bool {
        self.any(resource_type, None, |scope| scope.create)
    }

    fn any(&self, of: &str, category: Option<&str>, right: fn(&ResourceScope) -> bool) -> bool {
        self.resources.iter().any(|scope| {
            (scope.resource_type == of || scope.resource_type == "*")
                && right(scope)
                && scope.covers(category)
        })
    }
}

impl ResourceScope {
    /// A restricted scope covers a search only when the search stays inside the restriction. A restriction other
    /// than `category` cannot be compared with our searches; the server filters then, so it counts as covering.
    fn covers(&self, category: Option<&str>) -> bool {
        let mut categories = self
            .restriction
            .iter()
            .filter(|(name, _)| name == "category")
            .peekable();
        let (Some(wanted), Some(_)) = (category, categories.peek()) else {
            return true;
        };
        categories.any(|(_, value)| value.rsplit('|').next() == Some(wanted))
    }
}

/// `context/Type.rights[?restriction]`, or `None` for another kind of scope.
fn resource_scope(word: &str) -> Option<ResourceScope> {
    let (context, rest) = word.split_once('/')?;
    if !matches!(context, "patient" | "user" | "system") {
        return None;
    }
    let (what, restriction) = rest.split_once('?').unwrap_or((rest, ""));
    let (resource_type, rights) = what.rsplit_once('.')?;
    let (read, search, create, update) = match rights {
        "read" => (true, true, false, false),
        "write" => (false, false, true, true),
        "*" => (true, true, true, true),
        // Version 2 letters, each at most once, in the order c r u d s; other orders may be refused, so they are.
        letters if in_order(letters) => (
            letters.contains('r'),
            letters.contains('s'),
            letters.contains('c'),
            letters.contains('u'),
        ),
        _ => return None,
    };
    let restriction = restriction
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.replace("%7C", "|")))
        .collect();
    Some(ResourceScope {
        context: context.to_owned(),
        resource_type: resource_type.to_owned(),
        read,
        search,
        create,
        update,
        restriction,
    })
}

fn in_order(letters: &str) -> bool {
    let mut order = "cruds".chars();
    !letters.is_empty()
        && letters
            .chars()
            .all(|letter| order.by_ref().any(|o| o == letter))
}
