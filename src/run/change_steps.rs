//! `patch`, `restart`, `scale` and `wait`: objects changed in part, and rollouts waited for.

use super::event::{Event, ObjectAction};
use super::scenario::Runner;
use crate::cluster::{Applied, Error, Kind, has_condition, rolled_out};
use crate::plan::{Condition, ObjectRef, Scenario, Wait, Workload};
use serde_json::{Value, json};
use std::time::Duration;

/// The least that a rollout is given: pods start and end.
const ROLLOUT_LIMIT: Duration = Duration::from_secs(60);

/// What `kubectl rollout restart` writes into a workload's template.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

impl Runner {
    pub(super) async fn patch(
        &mut self,
        scenario: &Scenario,
        step: usize,
        object: &ObjectRef,
        patch: &Value,
    ) -> Result<(), Error> {
        let name = scenario.name.clone();
        let patched = self.changes.patch(object, patch, &scenario.namespace, &name).await;
        self.changed();
        self.proxies.forget_pods();
        let (kind, applied, now) = patched?;
        self.object_event(step, &kind, &now, &applied);
        Ok(())
    }

    pub(super) async fn restart(&mut self, scenario: &Scenario, step: usize, workload: &Workload) -> Result<(), Error> {
        let now = jiff::Timestamp::now().to_string();
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED: now}}}}});
        self.roll(scenario, step, workload, &patch, "restarted").await
    }

    pub(super) async fn scale(
        &mut self,
        scenario: &Scenario,
        step: usize,
        workload: &Workload,
        replicas: u32,
    ) -> Result<(), Error> {
        let wanted = format!("scaled to {replicas}");
        self.roll(scenario, step, workload, &json!({"spec": {"replicas": replicas}}), &wanted).await
    }

    /// Patches a Deployment and waits until its pods are what it says.
    async fn roll(
        &mut self,
        scenario: &Scenario,
        step: usize,
        workload: &Workload,
        patch: &Value,
        wanted: &str,
    ) -> Result<(), Error> {
        let object = ObjectRef {
            api_version: Some("apps/v1".into()),
            kind: "Deployment".into(),
            namespace: Some(workload.namespace.clone()),
            name: workload.name.clone(),
        };
        self.patch(scenario, step, &object, patch).await?;
        let kind = self.cluster.kind("apps/v1", "Deployment").await?;
        let limit = scenario.within.max(ROLLOUT_LIMIT);
        let done = |o: Option<&Value>| match o {
            Some(o) => rolled_out("Deployment", o),
            None => Err("it is gone".into()),
        };
        let waited =
            self.cluster.wait_for(&kind, Some(&workload.namespace), &workload.name, wanted, limit, &done).await;
        self.proxies.forget_pods();
        waited.map(|_| ())
    }

    pub(super) async fn wait(&mut self, scenario: &Scenario, wait: &Wait) -> Result<(), Error> {
        let kind = self.kind_of(&wait.object).await?;
        let namespace = match kind.namespaced {
            true => Some(wait.object.namespace.as_deref().unwrap_or(&scenario.namespace)),
            false => None,
        };
        let limit = wait.within.unwrap_or(scenario.within);
        let (wanted, condition) = (words(&wait.condition), &wait.condition);
        let done = |object: Option<&Value>| is_so(&kind.kind, condition, object);
        let waited = self.cluster.wait_for(&kind, namespace, &wait.object.name, &wanted, limit, &done).await;
        // Pods may have come and gone meanwhile.
        self.proxies.forget_pods();
        self.changed();
        waited.map(|_| ())
    }

    pub(super) async fn kind_of(&self, object: &ObjectRef) -> Result<Kind, Error> {
        match &object.api_version {
            Some(version) => self.cluster.kind(version, &object.kind).await,
            None => self.cluster.kind_by_word(&object.kind).await,
        }
    }

    fn object_event(&self, step: usize, kind: &Kind, object: &Value, applied: &Applied) {
        let (namespace, name) = crate::cluster::identity(object);
        self.emit(Event::Object {
            step: Some(step),
            action: match applied {
                Applied::Created => ObjectAction::Created,
                Applied::Changed => ObjectAction::Changed,
                Applied::Unchanged => ObjectAction::Unchanged,
            },
            kind: kind.kind.clone(),
            namespace: Some(namespace.to_owned()).filter(|n| !n.is_empty()),
            name: name.to_owned(),
            manifest: None,
        });
    }
}

fn words(condition: &Condition) -> String {
    match condition {
        Condition::Ready => "ready".into(),
        Condition::Available => "available".into(),
        Condition::Gone => "gone".into(),
        Condition::Is { condition, status } => format!("{condition}={status}"),
    }
}

/// Whether the object is as it is waited for; the reason otherwise.
fn is_so(kind: &str, condition: &Condition, object: Option<&Value>) -> Result<(), String> {
    let Some(object) = object else {
        return match condition {
            Condition::Gone => Ok(()),
            _ => Err("there is none".into()),
        };
    };
    match condition {
        Condition::Gone => Err("it is still there".into()),
        Condition::Ready if matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet") => rolled_out(kind, object),
        Condition::Ready => has_condition(object, "Ready", "True"),
        Condition::Available => has_condition(object, "Available", "True"),
        Condition::Is { condition, status } => has_condition(object, condition, status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_is_not_there_is_gone_and_nothing_else() {
        assert_eq!(is_so("Pod", &Condition::Gone, None), Ok(()));
        assert!(is_so("Pod", &Condition::Ready, None).is_err());
        assert!(is_so("Pod", &Condition::Gone, Some(&json!({}))).is_err());
    }
}
