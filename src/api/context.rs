//! What every request handler has at hand, and what the lab may hang into writes.

use super::failure::Failure;
use super::kubelet::Kubelet;
use super::resource::{Registry, Resource};
use super::review::Tokens;
use super::schema::Schema;
use super::store::Store;
use serde_json::Value;
use std::sync::{Arc, PoisonError, RwLock};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
}

/// A write about to happen.
pub struct Review<'a> {
    pub operation: Operation,
    pub resource: &'a Resource,
    pub version: &'a str,
    pub namespace: &'a str,
    /// The namespace object, for namespaced resources.
    pub namespace_object: Option<&'a Value>,
    /// The object before the write, if it exists.
    pub old: Option<&'a Value>,
    pub dry_run: bool,
}

/// Changes or refuses writes, as admission webhooks do. Runs inside the write: it must not block.
pub trait Admission: Send + Sync + 'static {
    /// May change `object`; returns warnings for the client, or why the write is refused
    /// (`admission webhook "x" denied the request: ...`).
    fn admit(&self, review: &Review<'_>, object: &mut Value) -> Result<Vec<String>, Failure>;
}

pub struct Context {
    pub store: Store,
    registry: RwLock<Arc<Registry>>,
    pub kubelet: Arc<dyn Kubelet>,
    pub admission: Vec<Arc<dyn Admission>>,
    pub schema: &'static Schema,
    pub tokens: Tokens,
}

impl Context {
    pub fn new(registry: Registry, kubelet: Arc<dyn Kubelet>, admission: Vec<Arc<dyn Admission>>) -> Context {
        let registry = RwLock::new(Arc::new(registry));
        Context {
            store: Store::default(),
            registry,
            kubelet,
            admission,
            schema: Schema::builtin(),
            tokens: Tokens::default(),
        }
    }

    pub fn registry(&self) -> Arc<Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the table of resources by a changed copy.
    pub fn change_registry(&self, change: impl FnOnce(&mut Registry)) {
        let mut slot = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        let mut copy = (**slot).clone();
        change(&mut copy);
        *slot = Arc::new(copy);
    }
}
