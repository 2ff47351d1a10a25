//! The changes that a run makes: written to the journal first, made, and remembered for undo.

use super::journal::{self, Action, Journal};
use crate::cluster::{Applied, Cluster, Error, Kind, content, describe, identity};
use crate::plan::ObjectRef;
use futures::future::try_join_all;
use serde_json::Value;
use std::time::Duration;

/// How long a deleted object may take to go (finalizers, grace periods).
pub(super) const GONE_LIMIT: Duration = Duration::from_secs(60);

/// Changes made and not yet undone.
pub struct Changes {
    pub(super) cluster: Cluster,
    pub(super) journal: Journal,
    pub(super) made: Vec<Made>,
}

/// One change.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub number: u64,
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
    pub before: Option<Value>,
    pub after: After,
}

/// What a change left.
#[derive(Debug, Clone)]
pub(super) enum After {
    /// It was begun; whether the server did it is not known.
    Unknown,
    Object(Box<Value>),
    Nothing,
}

/// What became of one object of an `apply`.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub applied: Applied,
    /// The object as the server has it now.
    pub object: Value,
}

/// A change that could not be made. `object` is its place in the list that was applied.
#[derive(Debug)]
pub struct Failed {
    pub object: usize,
    pub error: Error,
    /// What had been applied before it.
    pub done: Vec<Outcome>,
}

impl Changes {
    pub fn new(cluster: Cluster, journal: Journal) -> Changes {
        Changes { cluster, journal, made: vec![] }
    }

    /// True when there is something to undo.
    pub fn any(&self) -> bool {
        !self.made.is_empty()
    }

    /// Applies objects in order. Objects without a namespace go to `namespace`. Those that would not
    /// change are left untouched.
    pub async fn apply(
        &mut self,
        objects: &[Value],
        namespace: &str,
        scenario: &str,
    ) -> Result<Vec<Outcome>, Box<Failed>> {
        let mut done = vec![];
        let mut from = 0;
        while from < objects.len() {
            let to = batch_end(objects, from);
            if let Err((at, error)) = self.apply_batch(&objects[from..to], namespace, scenario, &mut done).await {
                return Err(Box::new(Failed { object: from + at, error, done }));
            }
            from = to;
        }
        Ok(done)
    }

    /// Looks at all objects at once, writes all intents with one sync, then applies in order.
    async fn apply_batch(
        &mut self,
        objects: &[Value],
        namespace: &str,
        scenario: &str,
        done: &mut Vec<Outcome>,
    ) -> Result<(), (usize, Error)> {
        let cluster = self.cluster.clone();
        let looks = objects.iter().enumerate().map(|(at, object)| look(&cluster, object, namespace, at));
        let looked = try_join_all(looks).await?;
        let mut intents = vec![];
        let mut numbers = vec![];
        for found in &looked {
            let number = self.journal.number();
            numbers.push(number);
            if found.applied != Applied::Unchanged {
                let id = identity(&found.object);
                intents.push(journal::intent(number, scenario, Action::Apply, &found.kind, id, found.live.clone()));
            }
        }
        self.journal.intend(&intents).map_err(|e| (0, no_journal(&e)))?;
        for (at, (found, number)) in looked.into_iter().zip(numbers).enumerate() {
            let Look { kind, object, live, applied } = found;
            if applied == Applied::Unchanged {
                let object = live.unwrap_or(object);
                done.push(Outcome { applied, object });
                continue;
            }
            let (namespace, name) = identity(&object);
            let index = self.made.len();
            self.made.push(Made {
                number,
                kind: kind.clone(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                before: live.clone(),
                after: After::Unknown,
            });
            let now = self.apply_one(&kind, &object, live.as_ref()).await.map_err(|e| (at, e))?;
            self.made[index].after = After::Object(Box::new(now.clone()));
            let _ = self.journal.done(number, text(&now, "/metadata/uid"), text(&now, "/metadata/resourceVersion"));
            if kind.kind == "CustomResourceDefinition" {
                self.cluster.forget_kinds();
            }
            done.push(Outcome { applied, object: now });
        }
        Ok(())
    }

    /// Applies over exactly the object that the journal holds: if another hand changed it meanwhile
    /// in nothing that an author writes (its status, say), the newer version will do.
    async fn apply_one(&self, kind: &Kind, object: &Value, live: Option<&Value>) -> Result<Value, Error> {
        let Some(live) = live else { return self.cluster.apply(kind, object, None).await };
        let mut version = text(live, "/metadata/resourceVersion");
        loop {
            let error = match self.cluster.apply(kind, object, version.as_deref()).await {
                Ok(now) => return Ok(now),
                Err(error) if error.is_conflict() => error,
                Err(error) => return Err(error),
            };
            let (namespace, name) = identity(object);
            match self.cluster.get(kind, Some(namespace), name).await? {
                Some(now) if content(&now) == content(live) && text(&now, "/metadata/resourceVersion") != version => {
                    version = text(&now, "/metadata/resourceVersion");
                }
                _ => return Err(error),
            }
        }
    }

    /// The object that a line names, as the target has it, with its kind and namespace (empty for kinds without).
    async fn find<'a>(
        &self,
        object: &'a ObjectRef,
        namespace: &'a str,
        verb: &str,
    ) -> Result<(Kind, &'a str, Value), Error> {
        let kind = match &object.api_version {
            Some(version) => self.cluster.kind(version, &object.kind).await?,
            None => self.cluster.kind_by_word(&object.kind).await?,
        };
        let namespace = match kind.namespaced {
            true => object.namespace.as_deref().unwrap_or(namespace),
            false => "",
        };
        match self.cluster.get(&kind, Some(namespace), &object.name).await? {
            Some(live) => Ok((kind, namespace, live)),
            None => Err(Error::Absent {
                message: format!("there is no {} to {verb}", describe(&kind.kind, Some(namespace), &object.name)),
                help: format!("see `kubectl get {} -A`", kind.plural),
            }),
        }
    }

    /// Patches an object. One that would not change is left untouched.
    ///
    /// # Errors
    /// [`Error::Absent`] when there is none.
    pub async fn patch(
        &mut self,
        object: &ObjectRef,
        patch: &Value,
        namespace: &str,
        scenario: &str,
    ) -> Result<(Kind, Applied, Value), Error> {
        let (kind, namespace, live) = self.find(object, namespace, "patch").await?;
        let merged = self.cluster.patch(&kind, Some(namespace), &object.name, patch, true).await?;
        if content(&merged) == content(&live) {
            return Ok((kind, Applied::Unchanged, live));
        }
        let number = self.journal.number();
        let id = (namespace, object.name.as_str());
        let intent = journal::intent(number, scenario, Action::Patch, &kind, id, Some(live.clone()));
        self.journal.intend(&[intent]).map_err(|e| no_journal(&e))?;
        let index = self.made.len();
        self.made.push(Made {
            number,
            kind: kind.clone(),
            namespace: namespace.to_owned(),
            name: object.name.clone(),
            before: Some(live.clone()),
            after: After::Unknown,
        });
        // Over exactly the object that the journal holds.
        let mut exact = patch.clone();
        if let (Some(version), Some(fields)) = (text(&live, "/metadata/resourceVersion"), exact.as_object_mut()) {
            let metadata = fields.entry("metadata").or_insert_with(|| serde_json::json!({}));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("resourceVersion".into(), version.into());
            }
        }
        let now = match self.cluster.patch(&kind, Some(namespace), &object.name, &exact, false).await {
            // Somebody else's hand, its status perhaps: the patch says only what it changes.
            Err(error) if error.is_conflict() => {
                self.cluster.patch(&kind, Some(namespace), &object.name, patch, false).await?
            }
            patched => patched?,
        };
        self.made[index].after = After::Object(Box::new(now.clone()));
        let _ = self.journal.done(number, text(&now, "/metadata/uid"), text(&now, "/metadata/resourceVersion"));
        Ok((kind, Applied::Changed, now))
    }

    /// Deletes an object and waits until it is gone.
    ///
    /// # Errors
    /// [`Error::Absent`] when there is none; namespaces are only deleted when this run made them.
    pub async fn delete(&mut self, object: &ObjectRef, namespace: &str, scenario: &str) -> Result<Kind, Error> {
        let (kind, namespace, live) = self.find(object, namespace, "delete").await?;
        let ours = self.made.iter().any(|m| m.kind == kind && m.name == object.name && m.before.is_none());
        if kind.kind == "Namespace" && !ours {
            let label = describe(&kind.kind, Some(namespace), &object.name);
            return Err(Error::Absent {
                message: format!("{label} was not made by this run, so it is not deleted"),
                help: "a namespace takes everything in it along, which cannot be undone".into(),
            });
        }
        let number = self.journal.number();
        let id = (namespace, object.name.as_str());
        let intent = journal::intent(number, scenario, Action::Delete, &kind, id, Some(live.clone()));
        self.journal.intend(&[intent]).map_err(|e| no_journal(&e))?;
        let index = self.made.len();
        let uid = text(&live, "/metadata/uid");
        self.made.push(Made {
            number,
            kind: kind.clone(),
            namespace: namespace.to_owned(),
            name: object.name.clone(),
            before: Some(live),
            after: After::Unknown,
        });
        self.cluster.delete(&kind, Some(namespace), &object.name, uid.as_deref(), GONE_LIMIT).await?;
        self.made[index].after = After::Nothing;
        let _ = self.journal.done(number, None, None);
        Ok(kind)
    }
}

/// One object beside what the target has.
struct Look {
    kind: Kind,
    object: Value,
    live: Option<Value>,
    applied: Applied,
}

async fn look(cluster: &Cluster, object: &Value, namespace: &str, at: usize) -> Result<Look, (usize, Error)> {
    let (kind, object) = placed(cluster, object, namespace).await.map_err(|e| (at, e))?;
    let (namespace, name) = identity(&object);
    let live = cluster.get(&kind, Some(namespace), name).await.map_err(|e| (at, e))?;
    let applied = cluster.compare(&kind, &object, live.as_ref()).await.map_err(|e| (at, e))?;
    Ok(Look { kind, object, live, applied })
}

/// The object's kind, and the object with its namespace written in.
pub(super) async fn placed(cluster: &Cluster, object: &Value, namespace: &str) -> Result<(Kind, Value), Error> {
    let word = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let kind = cluster.kind(word("apiVersion"), word("kind")).await?;
    let mut object = object.clone();
    let missing = identity(&object).0.is_empty();
    if let (true, Some(metadata)) =
        (kind.namespaced && missing, object.get_mut("metadata").and_then(Value::as_object_mut))
    {
        metadata.insert("namespace".into(), namespace.into());
    }
    Ok((kind, object))
}

/// Objects that can be looked at before any of them is applied: up to and with the next
/// CustomResourceDefinition, and none twice.
fn batch_end(objects: &[Value], from: usize) -> usize {
    let key = |o: &Value| {
        (o["apiVersion"].clone(), o["kind"].clone(), o["metadata"]["namespace"].clone(), o["metadata"]["name"].clone())
    };
    for to in from + 1..objects.len() {
        let again = objects[from..to].iter().any(|o| key(o) == key(&objects[to]));
        if again || objects[to - 1]["kind"] == "CustomResourceDefinition" {
            return to;
        }
    }
    objects.len()
}

fn no_journal(error: &std::io::Error) -> Error {
    Error::Absent {
        message: format!("the undo journal could not be written, so nothing was changed: {error}"),
        help: "make room there, or set XDG_STATE_HOME to a folder that can be written".into(),
    }
}

pub(super) fn text(object: &Value, pointer: &str) -> Option<String> {
    object.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(kind: &str, name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}})
    }

    #[test]
    fn a_batch_ends_where_looking_ahead_would_lie() {
        let objects = [object("A", "1"), object("B", "1"), object("A", "1"), object("C", "1")];
        assert_eq!(batch_end(&objects, 0), 2, "the same object twice");
        assert_eq!(batch_end(&objects, 2), 4);
        let with_crd = [object("CustomResourceDefinition", "x"), object("X", "1")];
        assert_eq!(batch_end(&with_crd, 0), 1);
        assert_eq!(batch_end(&with_crd, 1), 2);
    }
}
