//! Undo: every object that a run changed is put back as it was, whole; what it created is deleted; what it
//! deleted is created again. No field manager of ours and no changed annotation remains.
//!
//! Nothing is overwritten that another hand changed meanwhile: that is said instead, and the
//! journal keeps the object as it was.

use super::changes::{After, Changes, GONE_LIMIT, Made, text};
use crate::cluster::{Cluster, Error, FIELD_MANAGER, Kind, content, describe, rolled_out};
use crate::run::event::ObjectAction;
use futures::StreamExt;
use serde_json::Value;

/// What became of one object.
#[derive(Debug, Clone)]
pub struct Undone {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub result: Result<ObjectAction, String>,
    /// Worth saying though it worked, e.g. that a new creationTimestamp may change which of two wins.
    pub note: Option<String>,
}

/// Requests at once.
const AT_ONCE: usize = 8;

/// All changes of one object: the first says how it was, the last how we left it.
struct Story {
    numbers: Vec<u64>,
    kind: Kind,
    namespace: String,
    name: String,
    before: Option<Value>,
    after: After,
}

impl Changes {
    /// Undoes everything, latest first; namespaces and definitions of kinds last of all. What
    /// fails stays in the journal, and the rest is undone all the same.
    pub async fn undo(&mut self) -> Vec<Undone> {
        let (late, early): (Vec<Story>, Vec<Story>) = stories(std::mem::take(&mut self.made))
            .into_iter()
            .rev()
            .partition(|s| matches!(s.kind.kind.as_str(), "Namespace" | "CustomResourceDefinition"));
        let cluster = self.cluster.clone();
        let mut results = vec![];
        for (group, at_once) in [(early, AT_ONCE), (late, 1)] {
            let undoing = futures::stream::iter(group.into_iter().map(|story| {
                let cluster = cluster.clone();
                async move {
                    let result = undo_one(&cluster, &story).await;
                    (story, result)
                }
            }));
            results.extend(undoing.buffered(at_once).collect::<Vec<_>>().await);
        }
        let mut undone = vec![];
        for (story, result) in results {
            if result.is_ok() {
                for number in &story.numbers {
                    let _ = self.journal.undone(*number);
                }
            }
            let (result, note) = match result {
                Ok((action, note)) => (Ok(action), note),
                Err(error) => (Err(error.to_string()), None),
            };
            undone.push(Undone { kind: story.kind.kind, namespace: story.namespace, name: story.name, result, note });
        }
        undone
    }

    /// Ends the journal. Returns its path when something could not be undone.
    pub fn close(&mut self) -> Option<std::path::PathBuf> {
        self.journal.close()
    }
}

fn stories(made: Vec<Made>) -> Vec<Story> {
    let mut stories: Vec<Story> = vec![];
    for change in made {
        let same = |s: &&mut Story| s.kind == change.kind && s.namespace == change.namespace && s.name == change.name;
        match stories.iter_mut().find(same) {
            Some(story) => {
                story.numbers.push(change.number);
                story.after = change.after;
            }
            None => stories.push(Story {
                numbers: vec![change.number],
                kind: change.kind,
                namespace: change.namespace,
                name: change.name,
                before: change.before,
                after: change.after,
            }),
        }
    }
    stories
}

async fn undo_one(cluster: &Cluster, story: &Story) -> Result<(ObjectAction, Option<String>), Error> {
    match &story.before {
        None => remove(cluster, story).await.map(|()| (ObjectAction::Deleted, None)),
        Some(before) => restore(cluster, story, before).await,
    }
}

/// Deletes what the run created: by uid, so never a namesake.
async fn remove(cluster: &Cluster, story: &Story) -> Result<(), Error> {
    let namespace = Some(story.namespace.as_str());
    let uid = match &story.after {
        After::Nothing => return Ok(()),
        After::Object(object) => text(object, "/metadata/uid"),
        After::Unknown => match cluster.get(&story.kind, namespace, &story.name).await? {
            Some(live) if is_ours(&live) => text(&live, "/metadata/uid"),
            _ => return Ok(()),
        },
    };
    match cluster.delete(&story.kind, namespace, &story.name, uid.as_deref(), GONE_LIMIT).await {
        Ok(_) => Ok(()),
        // Another object took the name: ours is gone.
        Err(error) if error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Puts the object back: over the one that is there, or anew.
async fn restore(cluster: &Cluster, story: &Story, before: &Value) -> Result<(ObjectAction, Option<String>), Error> {
    let namespace = Some(story.namespace.as_str());
    let label = describe(&story.kind.kind, namespace, &story.name);
    loop {
        let Some(live) = cluster.get(&story.kind, namespace, &story.name).await? else {
            let fresh = as_new(before);
            let created = cluster.create(&story.kind, &fresh).await?;
            restore_managers(cluster, &story.kind, created, before).await?;
            let note = format!("{label} has a new creationTimestamp: where objects conflict, the older one wins");
            return Ok((ObjectAction::Restored, Some(note)));
        };
        if comparable(&live) != comparable(before) {
            let left = match &story.after {
                After::Object(left) => comparable(left) == comparable(&live),
                // Whatever was begun, only our own hand has changed it since.
                After::Unknown => is_ours(&live),
                After::Nothing => false,
            };
            if !left {
                return Err(Error::Absent {
                    message: format!("{label} was changed by another hand meanwhile, so it is left as it is now"),
                    help: String::new(),
                });
            }
        }
        match cluster.replace(&story.kind, &over(before, &live)).await {
            Ok(now) => {
                restore_managers(cluster, &story.kind, now, before).await?;
                rolled_back(cluster, story, before).await;
                return Ok((ObjectAction::Restored, None));
            }
            // It moved between the two requests: look again.
            Err(error) if error.is_conflict() => continue,
            Err(error) => return Err(error),
        }
    }
}

/// The pods of a Deployment that was put back are those of before when its rollout is done; if it was
/// whole before. Whoever comes next shall not meet pods that are about to go.
async fn rolled_back(cluster: &Cluster, story: &Story, before: &Value) {
    if story.kind.kind != "Deployment" || rolled_out("Deployment", before).is_err() {
        return;
    }
    let done = |o: Option<&Value>| o.map_or(Ok(()), |o| rolled_out("Deployment", o));
    let namespace = Some(story.namespace.as_str());
    // It is put back all the same: a rollout that hangs shows where somebody needs its pods.
    let _ = cluster.wait_for(&story.kind, namespace, &story.name, "rolled back", GONE_LIMIT, &done).await;
}

/// The server notes every PUT as ours. A second one that changes nothing but the managed fields
/// is not noted, and leaves them as they were.
async fn restore_managers(cluster: &Cluster, kind: &Kind, mut now: Value, before: &Value) -> Result<(), Error> {
    for _ in 0..3 {
        let wanted = before.pointer("/metadata/managedFields");
        if now.pointer("/metadata/managedFields") == wanted {
            return Ok(());
        }
        match cluster.replace(kind, &over(before, &now)).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_conflict() => {
                let (namespace, name) = crate::cluster::identity(before);
                match cluster.get(kind, Some(namespace), name).await? {
                    Some(live) => now = live,
                    None => return Ok(()),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `before`, to be written over `live`: only what identifies this very object is taken from it.
fn over(before: &Value, live: &Value) -> Value {
    let mut object = before.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for own in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
            match live.pointer(&format!("/metadata/{own}")) {
                Some(value) => metadata.insert(own.into(), value.clone()),
                None => metadata.remove(own),
            };
        }
    }
    object
}

/// `before`, to be created anew.
fn as_new(before: &Value) -> Value {
    let mut object = before.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for own in ["uid", "resourceVersion", "creationTimestamp", "generation", "selfLink", "deletionTimestamp"] {
            metadata.remove(own);
        }
    }
    object
}

/// The content, without what controllers count up by themselves.
fn comparable(object: &Value) -> Value {
    let mut copy = content(object);
    if let Some(annotations) = copy.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove("deployment.kubernetes.io/revision");
        if annotations.is_empty()
            && let Some(metadata) = copy.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.remove("annotations");
        }
    }
    copy
}

/// Whether our field manager has a hand in the object.
fn is_ours(object: &Value) -> bool {
    let managers = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    managers.into_iter().flatten().any(|m| m["manager"] == FIELD_MANAGER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_state_and_the_last_are_what_counts() {
        let kind =
            Kind { api_version: "v1".into(), kind: "ConfigMap".into(), plural: "configmaps".into(), namespaced: true };
        let made = |number, before: Option<Value>, after| Made {
            number,
            kind: kind.clone(),
            namespace: "a".into(),
            name: "b".into(),
            before,
            after,
        };
        let story = stories(vec![
            made(1, None, After::Object(Box::new(json!(1)))),
            made(2, Some(json!(1)), After::Object(Box::new(json!(2)))),
        ]);
        assert_eq!(story.len(), 1);
        assert_eq!(story[0].before, None);
        assert_eq!(story[0].numbers, [1, 2]);
        assert!(matches!(&story[0].after, After::Object(o) if **o == json!(2)));
    }

    #[test]
    fn writing_back_keeps_everything_but_the_identity() {
        let before = json!({"metadata": {"uid": "1", "resourceVersion": "5", "managedFields": [], "annotations": {"a": "b"}}, "spec": 1});
        let live = json!({"metadata": {"uid": "2", "resourceVersion": "9"}, "spec": 2});
        let expected = json!({"metadata": {"uid": "2", "resourceVersion": "9", "managedFields": [], "annotations": {"a": "b"}}, "spec": 1});
        assert_eq!(over(&before, &live), expected);
    }
}
