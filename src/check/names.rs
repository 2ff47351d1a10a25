//! Names of workloads, namespaces, kinds and objects that nothing here has, but that are nearly those of something: slips.
//! A name that is like no other is left alone: a cluster has more than the manifests tell.

use super::manifest::kinds;
use super::narrow;
use crate::diag::suggest::nearest;
use crate::diag::{Diagnostic, Place};
use crate::plan::*;

/// What is known, and what was told.
struct Names<'a> {
    workloads: Vec<(&'a str, &'a str)>,
    namespaces: Vec<&'a str>,
    /// Kind and name.
    objects: Vec<(&'a str, &'a str)>,
    found: Vec<Diagnostic>,
    told: Vec<String>,
}

pub fn check(scenario: &Scenario, objects: &[ManifestObject], ambient: &[ManifestObject]) -> Vec<Diagnostic> {
    let mut names = Names { workloads: vec![], namespaces: vec![], objects: vec![], found: vec![], told: vec![] };
    for object in ambient.iter().chain(objects) {
        let Identity { kind, name, namespace, .. } = &*object.identity;
        let namespace = if namespace.is_empty() { &scenario.namespace } else { namespace };
        match kind.as_str() {
            "Deployment" | "StatefulSet" | "DaemonSet" | "Pod" => names.workloads.push((name, namespace)),
            "Namespace" => names.namespaces.push(name),
            _ => {}
        }
        names.objects.push((kind, name));
    }
    names.namespaces_of_objects(objects);
    names.namespace_header(scenario);
    let start = Place { source: scenario.file.clone(), span: 0..scenario.file.text.len() };
    if (scenario.gateway.name.as_str(), scenario.gateway.namespace.as_str()) != DEFAULT_GATEWAY {
        names.workload(&scenario.gateway, &start);
    }
    for step in &scenario.steps {
        for workload in workloads(&step.kind) {
            names.workload(workload, &step.place);
        }
        match &step.kind {
            StepKind::Delete(gone) => gone.iter().for_each(|object| names.object(object, &step.place, true)),
            StepKind::Patch { object, .. } => names.object(object, &step.place, true),
            StepKind::Wait(wait) => names.object(&wait.object, &step.place, false),
            StepKind::Capture { source: CaptureSource::Object { object, .. }, .. } => {
                names.object(object, &step.place, true)
            }
            StepKind::Expect(Expect { what: Expectation::Resource { object, .. }, negated, .. }) => {
                names.object(object, &step.place, !negated)
            }
            _ => {}
        }
    }
    names.found
}

/// The workloads that a step names.
fn workloads(kind: &StepKind) -> Vec<&Workload> {
    use Expectation as E;
    match kind {
        StepKind::Exec(exec) => exec.workload.iter().collect(),
        StepKind::Restart(workload) | StepKind::Scale { workload, .. } => vec![workload],
        StepKind::Expect(expect) => match &expect.what {
            E::Via { gateway, .. } => vec![gateway],
            E::Log { proxy, .. } => vec![proxy],
            E::Only { on, .. } | E::Config { on, .. } => vec![on],
            E::Listener { on, .. }
            | E::Cluster { on, .. }
            | E::Route { on, .. }
            | E::Endpoint { on, .. }
            | E::Secret { on, .. }
            | E::List { on, .. } => on.iter().collect(),
            _ => vec![],
        },
        StepKind::Capture { source: CaptureSource::List { on, .. }, .. } => on.iter().collect(),
        _ => vec![],
    }
}

impl Names<'_> {
    fn tell(&mut self, what: &str, name: &str, near: &str, at: Place) {
        let title = format!("no {what} `{name}` is known");
        if self.told.contains(&title) {
            return;
        }
        self.told.push(title.clone());
        self.found.push(Diagnostic::warning("W0242", title).at(at, format!("did you mean `{near}`?")));
    }

    fn workload(&mut self, workload: &Workload, place: &Place) {
        let Workload { name, namespace } = workload;
        if self.workloads.is_empty() || self.workloads.contains(&(name, namespace)) {
            return;
        }
        if !self.namespaces.contains(&namespace.as_str()) {
            if let Some(near) = nearest(namespace, self.namespaces.iter().copied()) {
                let at = narrow(place, &workload.to_string());
                self.tell("namespace", namespace, near, at);
            }
            return;
        }
        let here = self.workloads.iter().filter(|(_, n)| n == namespace).map(|(name, _)| *name);
        if let Some(near) = nearest(name, here) {
            let at = narrow(place, name);
            self.tell("workload", &workload.to_string(), near, at);
        }
    }

    fn namespaces_of_objects(&mut self, objects: &[ManifestObject]) {
        for object in objects {
            let namespace = object.identity.namespace.as_str();
            if namespace.is_empty() || self.namespaces.contains(&namespace) {
                continue;
            }
            if let Some(near) = nearest(namespace, self.namespaces.iter().copied()) {
                self.tell("namespace", namespace, near, super::links::place(object, "/metadata/namespace"));
            }
        }
    }

    fn namespace_header(&mut self, scenario: &Scenario) {
        let namespace = scenario.namespace.as_str();
        if self.namespaces.contains(&namespace) {
            return;
        }
        let Some(near) = nearest(namespace, self.namespaces.iter().copied()) else { return };
        let mut at = 0;
        for line in scenario.file.text.split_inclusive('\n') {
            let words = line.trim_start().strip_prefix("namespace");
            if words.is_some_and(|w| w.split_whitespace().next() == Some(namespace)) {
                let span = at..at + line.trim_end().len();
                let place = narrow(&Place { source: scenario.file.clone(), span }, namespace);
                return self.tell("namespace", namespace, near, place);
            }
            at += line.len();
        }
    }

    fn object(&mut self, object: &ObjectRef, place: &Place, named: bool) {
        if object.api_version.is_none()
            && let Some(near) = kinds::near(&object.kind)
        {
            let at = narrow(place, &object.kind);
            return self.tell("kind", &object.kind, &near, at);
        }
        let kind = kinds::singular(&object.kind);
        let alike: Vec<&str> =
            self.objects.iter().filter(|(k, _)| k.to_lowercase() == kind).map(|(_, name)| *name).collect();
        if named
            && !alike.contains(&object.name.as_str())
            && let Some(near) = nearest(&object.name, alike)
        {
            let at = narrow(place, &object.name);
            self.tell(&object.kind, &object.name, near, at);
        }
    }
}
