//! What a run would change on a target, before it is asked to: for the question that stands between a plan
//! and somebody's cluster. Changes nothing: only reads and dry runs.

use super::changes::placed;
use crate::cluster::{Cluster, Error, Kind, content, describe, identity};
use crate::plan::{ManifestObject, ObjectRef, Plan, Scenario, StepKind, Workload};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use std::collections::BTreeSet;
use std::time::Duration;

/// The plan of what would change.
#[derive(Debug, Clone, Default)]
pub struct Preview {
    /// Left untouched.
    pub identical: Vec<String>,
    /// Changed for as long as a scenario runs, and put back.
    pub differing: Vec<Difference>,
    /// Created, and deleted again.
    pub new: Vec<String>,
    /// Deleted, and created again (with a new creationTimestamp).
    pub deleted: Vec<String>,
    /// What the scenarios need and the target does not have, each with a way to get it.
    pub lacks: Vec<Lack>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `Gateway mesh-test/egress`.
    pub object: String,
    /// The lines that change, `- ` and `+ `.
    pub lines: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    pub what: String,
    pub help: String,
}

impl Preview {
    /// True when the run would change nothing that is there now.
    pub fn changes_nothing(&self) -> bool {
        self.differing.is_empty() && self.new.is_empty() && self.deleted.is_empty()
    }
}

/// Looks at everything that the plan would apply or delete, and at what it needs.
///
/// # Errors
/// Only when the target cannot be asked; what it lacks is in the preview.
pub async fn preview(plan: &Plan, cluster: &Cluster) -> Result<Preview, Error> {
    let mut preview = Preview::default();
    let mut seen = BTreeSet::new();
    for scenario in &plan.scenarios {
        workloads(cluster, scenario, &mut preview, &mut seen).await?;
        for step in &scenario.steps {
            match &step.kind {
                StepKind::Apply(objects) => {
                    for object in objects {
                        if seen.insert(format!("{} {}", scenario.namespace, object.body)) {
                            add(cluster, scenario, object, &mut preview).await?;
                        }
                    }
                }
                StepKind::Delete(objects) => {
                    for object in objects {
                        deletion(cluster, scenario, object, &mut preview).await?;
                    }
                }
                StepKind::Patch { object, patch } => patched(cluster, scenario, object, patch, &mut preview).await?,
                StepKind::Restart(workload) => rolled(workload, "restarted", &mut preview),
                StepKind::Scale { workload, replicas } => {
                    rolled(workload, &format!("scaled to {replicas}"), &mut preview)
                }
                _ => (),
            }
        }
    }
    Ok(preview)
}

async fn patched(
    cluster: &Cluster,
    scenario: &Scenario,
    object: &ObjectRef,
    patch: &Value,
    preview: &mut Preview,
) -> Result<(), Error> {
    let compared = async {
        let kind = match &object.api_version {
            Some(version) => cluster.kind(version, &object.kind).await?,
            None => cluster.kind_by_word(&object.kind).await?,
        };
        let namespace = object.namespace.as_deref().unwrap_or(&scenario.namespace);
        let namespace = Some(namespace).filter(|_| kind.namespaced);
        // What the scenario makes itself is not there yet.
        let Some(live) = cluster.get(&kind, namespace, &object.name).await? else { return Ok(None) };
        let merged = cluster.patch(&kind, namespace, &object.name, patch, true).await?;
        let lines = changed(&content(&live), &content(&merged));
        Ok::<_, Error>(Some(Difference { object: describe(&kind.kind, namespace, &object.name), lines }))
    };
    match compared.await {
        Ok(difference) => preview.differing.extend(difference.filter(|d| !d.lines.is_empty())),
        Err(error) => lack(preview, error)?,
    }
    Ok(())
}

fn rolled(workload: &Workload, what: &str, preview: &mut Preview) {
    let object = describe("Deployment", Some(&workload.namespace), &workload.name);
    preview.differing.push(Difference { object, lines: vec![format!("  {what}")] });
}

async fn add(
    cluster: &Cluster,
    scenario: &Scenario,
    object: &ManifestObject,
    preview: &mut Preview,
) -> Result<(), Error> {
    let compared = async {
        let (kind, object) = placed(cluster, &object.body, &scenario.namespace).await?;
        let (namespace, name) = identity(&object);
        let live = cluster.get(&kind, Some(namespace), name).await?;
        let label = describe(&kind.kind, Some(namespace), name);
        if live.is_none() {
            namespace_of(cluster, &kind, namespace, preview).await?;
        }
        let merged = match &live {
            Some(_) => cluster.apply_dry_run(&kind, &object).await?,
            None => object,
        };
        Ok::<_, Error>((label, live, merged))
    };
    match compared.await {
        Ok((label, None, _)) => preview.new.push(label),
        Ok((label, Some(live), merged)) => match content(&merged) == content(&live) {
            true => preview.identical.push(label),
            false => {
                preview.differing.push(Difference { object: label, lines: changed(&content(&live), &content(&merged)) })
            }
        },
        Err(error) => lack(preview, error)?,
    }
    Ok(())
}

/// An object cannot be created where its namespace is missing.
async fn namespace_of(cluster: &Cluster, kind: &Kind, namespace: &str, preview: &mut Preview) -> Result<(), Error> {
    let planned = preview.new.contains(&describe("Namespace", None, namespace));
    if !kind.namespaced || planned {
        return Ok(());
    }
    let namespaces = cluster.kind("v1", "Namespace").await?;
    if cluster.get(&namespaces, None, namespace).await?.is_none() {
        push(
            preview,
            Lack {
                what: format!("namespace {namespace}"),
                help: format!(
                    "kubectl create namespace {namespace} && kubectl label namespace {namespace} istio-injection=enabled"
                ),
            },
        );
    }
    Ok(())
}

async fn deletion(
    cluster: &Cluster,
    scenario: &Scenario,
    object: &ObjectRef,
    preview: &mut Preview,
) -> Result<(), Error> {
    let kind = match &object.api_version {
        Some(version) => cluster.kind(version, &object.kind).await,
        None => cluster.kind_by_word(&object.kind).await,
    };
    let kind = match kind {
        Ok(kind) => kind,
        Err(error) => return lack(preview, error),
    };
    let namespace = object.namespace.as_deref().unwrap_or(&scenario.namespace);
    if cluster.get(&kind, Some(namespace), &object.name).await?.is_some() {
        preview.deleted.push(describe(&kind.kind, Some(namespace).filter(|_| kind.namespaced), &object.name));
    }
    Ok(())
}

/// The workloads that scenarios run commands in, and their gateways.
async fn workloads(
    cluster: &Cluster,
    scenario: &Scenario,
    preview: &mut Preview,
    seen: &mut BTreeSet<String>,
) -> Result<(), Error> {
    let mut wanted: Vec<&Workload> = vec![];
    for step in &scenario.steps {
        if let StepKind::Exec(exec) = &step.kind {
            wanted.extend(&exec.workload);
        }
    }
    let asks_gateway = scenario.steps.iter().any(|s| matches!(s.kind, StepKind::Expect(_)));
    if asks_gateway {
        wanted.push(&scenario.gateway);
    }
    for workload in wanted {
        if !seen.insert(format!("workload {workload}")) {
            continue;
        }
        match cluster.pods(&workload.namespace, &workload.name, Duration::from_millis(1)).await {
            Ok(pods) if pods.iter().all(|p| p.proxy_container.is_none()) => push(
                preview,
                Lack {
                    what: format!("a sidecar in {workload}"),
                    help: format!(
                        "kubectl label namespace {0} istio-injection=enabled && kubectl -n {0} rollout restart deploy/{1}",
                        workload.namespace, workload.name
                    ),
                },
            ),
            Ok(_) => (),
            Err(error) => lack(preview, error)?,
        }
    }
    Ok(())
}

/// What the target refuses is something that it lacks; what it cannot answer is an error.
fn lack(preview: &mut Preview, error: Error) -> Result<(), Error> {
    let lack = match error {
        Error::Absent { message, help } => Lack { what: message, help },
        error if error.is_broken() => return Err(error),
        error => Lack { what: error.to_string(), help: String::new() },
    };
    push(preview, lack);
    Ok(())
}

fn push(preview: &mut Preview, lack: Lack) {
    if !preview.lacks.contains(&lack) {
        preview.lacks.push(lack);
    }
}

fn changed(live: &Value, merged: &Value) -> Vec<String> {
    let yaml = |value: &Value| serde_yaml::to_string(value).unwrap_or_else(|_| value.to_string());
    let (live, merged) = (yaml(live), yaml(merged));
    let diff = TextDiff::from_lines(&live, &merged);
    let lines = diff.iter_all_changes().filter_map(|change| match change.tag() {
        ChangeTag::Delete => Some(format!("- {}", change.value().trim_end())),
        ChangeTag::Insert => Some(format!("+ {}", change.value().trim_end())),
        ChangeTag::Equal => None,
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_is_shown_as_the_lines_that_change() {
        let lines = changed(&json!({"spec": {"a": 1, "b": 2}}), &json!({"spec": {"a": 1, "b": 3}}));
        assert_eq!(lines, ["-   b: 2", "+   b: 3"]);
    }
}
