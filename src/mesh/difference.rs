//! What differs between two generations of one proxy's configuration.

use super::{Generated, Resource};

/// A resource that is not the same on both sides; at least one side has it.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// `listener`, `cluster`, `route`, `endpoint`.
    pub kind: &'static str,
    pub name: &'a str,
    pub before: Option<&'a Resource>,
    pub after: Option<&'a Resource>,
}

impl Change<'_> {
    /// The objects that the resource comes from, on either side, each once.
    pub fn objects(&self) -> Vec<String> {
        let origins = [self.before, self.after].into_iter().flatten().flat_map(|r| r.origins.iter());
        let mut out = vec![];
        for origin in origins {
            let shown = format!("{} {}/{}", origin.kind(), origin.namespace(), origin.name());
            if !out.contains(&shown) {
                out.push(shown);
            }
        }
        out
    }
}

/// Differences by kind and name: removed and changed ones in the order of `before`, then those that are new. Two
/// resources are the same when their bodies are.
pub fn changes<'a>(before: &'a Generated, after: &'a Generated) -> Vec<Change<'a>> {
    let kinds: [(&'static str, &[Resource], &[Resource]); 4] = [
        ("listener", &before.listeners, &after.listeners),
        ("cluster", &before.clusters, &after.clusters),
        ("route", &before.routes, &after.routes),
        ("endpoint", &before.endpoints, &after.endpoints),
    ];
    let mut out = vec![];
    for (kind, before, after) in kinds {
        for old in before {
            let new = after.iter().find(|r| r.name == old.name);
            if new.is_none_or(|new| new.body != old.body) {
                out.push(Change { kind, name: &old.name, before: Some(old), after: new });
            }
        }
        for new in after.iter().filter(|new| !before.iter().any(|old| old.name == new.name)) {
            out.push(Change { kind, name: &new.name, before: None, after: Some(new) });
        }
    }
    out
}
