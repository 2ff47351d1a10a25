//! What was asked of a scope while a piece of a configuration was made: all that the piece depends on beside what it was
//! given and the ground that all pieces of a proxy stand on (`memo`). Nothing in a scope can be read without a question.

use super::registry::service::Service;
use std::cell::RefCell;
use std::sync::Arc;

/// Answers are compared by `Scope::answers_as`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// The service of a host, as it is in scope.
    Service(Arc<str>),
    /// The services of a host in any namespace.
    InNamespaces(Arc<str>),
    /// Endpoints and identities of a service.
    Endpoints { namespace: Arc<str>, host: Arc<str> },
    /// A host's DestinationRule but for its subsets.
    Rule(Arc<str>),
    /// One subset of it.
    Subset(Arc<str>, Arc<str>),
    /// All subsets and their order.
    Subsets(Arc<str>),
    /// The VirtualServices of an egress listener that are about a host.
    VirtualServices(usize, Arc<str>),
    /// The VirtualServices bound to a gateway.
    BoundTo(Arc<str>),
    /// What has no name, such as all services. It never has the same answer again.
    Everything,
}

impl Question {
    pub fn endpoints(service: &Service) -> Self {
        Self::Endpoints { namespace: service.namespace.as_str().into(), host: service.hostname.as_str().into() }
    }
}

/// Notes questions while pieces are made, one of them within another perhaps.
#[derive(Debug, Default)]
pub struct Asked {
    open: RefCell<Vec<Vec<Question>>>,
}

impl Asked {
    pub fn note(&self, question: impl FnOnce() -> Question) {
        if let Some(piece) = self.open.borrow_mut().last_mut() {
            let question = question();
            if !piece.contains(&question) {
                piece.push(question);
            }
        }
    }

    /// Notes what a piece depends on that is taken over into another.
    pub fn note_all(&self, questions: &[Question]) {
        for question in questions {
            self.note(|| question.clone());
        }
    }

    /// Begins a piece.
    pub fn begin(&self) {
        self.open.borrow_mut().push(Vec::new());
    }

    /// Ends the piece begun last: what was asked for it, which the one around it depends on too.
    pub fn end(&self) -> Vec<Question> {
        let questions = self.open.borrow_mut().pop().unwrap_or_default();
        self.note_all(&questions);
        questions
    }
}
