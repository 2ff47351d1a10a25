//! Steps that change what is there, or wait for it: `delete`, `patch`, `restart`, `scale`, `kill`, `wait`.

use super::build::Builder;
use super::headers::namespace_name;
use super::step::*;
use super::steps::is_file_word;
use super::value;
use crate::diag::Diagnostic;
use crate::syntax::{self, Heredoc, ModifierKind, Statement, Word};

impl Builder<'_> {
    pub(super) fn delete(&mut self, words: &[Word], statement: &Statement) -> Option<Vec<ObjectRef>> {
        self.changed(statement);
        let mut errors = vec![];
        let expanded = self.scope.words(words, &mut errors);
        let failed = !errors.is_empty();
        self.errors.extend(errors);
        let first = expanded.first().filter(|_| !failed)?;
        if let Some(word) = expanded.iter().find(|w| w.text.starts_with('-') && !w.quoted) {
            let d = Diagnostic::error("E0107", format!("`delete` has no option `{}`", word.text))
                .at(self.place(&word.span), "kubectl's, not needed here")
                .help("write delete KIND NAME [in NAMESPACE], or delete FILE…");
            self.error(d);
            return None;
        }
        if let Some((kind, name)) = first.text.split_once('/').filter(|_| expanded.len() == 1)
            && !first.text.contains('.')
            && !name.is_empty()
            && !name.contains('/')
            && self.manifests.files(first, &self.place(&first.span)).is_err()
        {
            let d = Diagnostic::error("E0107", "`delete` takes a kind and a name, or files")
                .at(self.place(&first.span), "no such file, and kind and name are two words")
                .help(format!("write delete {kind} {name}"));
            self.error(d);
            return None;
        }
        if is_file_word(&first.text) {
            self.reserved("delete", words)?;
            let objects = self.objects(words)?;
            return Some(objects.iter().filter_map(object_ref).collect());
        }
        let text: Vec<&str> = expanded.iter().map(|w| w.text.as_str()).collect();
        let (name, namespace) = match text.as_slice() {
            [_, name] => (name, None),
            [_, name, "in", namespace] => (name, Some(namespace.to_string())),
            _ => {
                let d = Diagnostic::error("E0107", "`delete` takes a kind and a name, or files")
                    .at(self.place(&statement.span), format!("{} behind `delete`", if text.len() == 1 { "1 word".to_string() } else { format!("{} words", text.len()) }))
                    .help("write delete KIND NAME [in NAMESPACE], or delete FILE… (a file ends in .yaml, .yml or .json; a folder in /)");
                self.error(d);
                return None;
            }
        };
        let (kind, name) = (text[0].to_string(), name.to_string());
        Some(vec![ObjectRef { api_version: None, kind, namespace, name }])
    }

    /// `KIND NAME [in NAMESPACE]`.
    pub(super) fn object(&mut self, object: &syntax::Object) -> Option<ObjectRef> {
        let kind = self.value(&object.kind, object_kind)?;
        let name = self.fixed(&object.name)?;
        let namespace = match &object.namespace {
            Some(word) => Some(self.value(word, namespace_name)?),
            None => None,
        };
        Some(ObjectRef { api_version: None, kind, namespace, name })
    }

    pub(super) fn patch(
        &mut self,
        object: &syntax::Object,
        patch: &Heredoc,
        statement: &Statement,
    ) -> Option<StepKind> {
        self.changed(statement);
        let object = self.object(object)?;
        let patch = self.document(patch)?;
        if !patch.is_object() {
            return None;
        }
        Some(StepKind::Patch { object, patch })
    }

    /// A heredoc as one YAML map.
    pub(super) fn document(&mut self, heredoc: &Heredoc) -> Option<serde_json::Value> {
        let inline = self.scope.heredoc(heredoc).map_err(|d| self.errors.push(*d)).ok()?;
        let place = self.place(&heredoc.body);
        let document = self.manifests.document(&inline, &place).map_err(|d| self.errors.extend(d)).ok()?;
        if !document.is_object() {
            let d = Diagnostic::error("E0307", "a part of an object is a map").at(place, "not a map of fields");
            self.error(d.help("write FIELD: VALUE lines, as in the manifest, with only the fields that matter"));
            return None;
        }
        Some(document)
    }

    pub(super) fn wait(
        &mut self,
        object: &syntax::Object,
        condition: &syntax::Condition,
        modifiers: &[syntax::Modifier],
    ) -> Option<StepKind> {
        let object = self.object(object);
        let condition = match condition {
            syntax::Condition::Ready => Some(Condition::Ready),
            syntax::Condition::Available => Some(Condition::Available),
            syntax::Condition::Gone => Some(Condition::Gone),
            syntax::Condition::Is(word) => {
                self.value(word, value::condition).map(|(condition, status)| Condition::Is { condition, status })
            }
        };
        let mut wait = Wait { object: object?, condition: condition?, within: None, because: None };
        for modifier in modifiers {
            match modifier.kind {
                ModifierKind::Within => wait.within = Some(self.value(&modifier.word, value::duration)?),
                ModifierKind::Because => wait.because = Some(self.fixed(&modifier.word)?),
                _ => {
                    let d = Diagnostic::error("E0210", "`wait` takes `within` and `because` only")
                        .at(self.place(&modifier.span), "the object is watched; nothing is repeated");
                    self.error(d);
                    return None;
                }
            }
        }
        Some(StepKind::Wait(wait))
    }

    pub(super) fn scale(&mut self, workload: &Word, replicas: &Word, statement: &Statement) -> Option<StepKind> {
        self.changed(statement);
        let workload = self.workload(workload);
        let replicas = self.value(replicas, value::replicas);
        Some(StepKind::Scale { workload: workload?, replicas: replicas? })
    }
}

/// A kind, or a word that stands for one; not `KIND/NAME`.
fn object_kind(word: &str) -> Result<String, value::Unfit> {
    match word.split_once('/') {
        Some((kind, name)) => {
            Err(value::Unfit { why: "kind and name are two words".into(), help: Some(format!("write {kind} {name}")) })
        }
        None if word.is_empty() => Err(value::Unfit { why: "the kind is missing".into(), help: None }),
        None => Ok(word.to_string()),
    }
}

fn object_ref(object: &ManifestObject) -> Option<ObjectRef> {
    let Identity { api_version, kind, namespace, name } = &*object.identity;
    let given = |word: &String| Some(word.clone()).filter(|w| !w.is_empty());
    Some(ObjectRef {
        api_version: given(api_version),
        kind: given(kind)?,
        namespace: given(namespace),
        name: given(name)?,
    })
}
