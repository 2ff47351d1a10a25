//! Steps that change an object or wait for one: `patch`, `delete`, `restart`, `scale`, `wait`.

use super::shell::quote;
use super::step::Context;
use crate::plan::*;

/// What the API server sets itself; an object is put back without it.
const OWN: &str = "grep -vE '^  (resourceVersion|uid|creationTimestamp|generation):'";
/// How long kubectl is told to wait when the scenario does not say.
const PATIENCE: u64 = 60;

impl Context<'_> {
    pub fn namespace_of(&self, object: &ObjectRef) -> String {
        object.namespace.clone().unwrap_or_else(|| self.scenario.namespace.clone())
    }

    /// `KIND NAME`, as kubectl takes it.
    fn object_words(object: &ObjectRef) -> String {
        format!("{} {}", quote(&object.kind), quote(&object.name))
    }

    /// Keeps an object in a file: the command, and the file.
    fn keep(&self, object: &ObjectRef) -> (String, String) {
        let namespace = self.namespace_of(object);
        let kept = format!("{}-{}.yaml", object.kind.to_lowercase().replace('/', "-"), object.name);
        let words = Self::object_words(object);
        (format!("kubectl -n {} get {words} -o yaml | {OWN} > {}", quote(&namespace), quote(&kept)), kept)
    }

    pub fn delete(&mut self, objects: &[ObjectRef]) -> (String, Vec<String>) {
        let mut commands = vec![];
        let mut names = vec![];
        for object in objects {
            let namespace = self.namespace_of(object);
            names.push(format!("{} {namespace}/{}", object.kind, object.name));
            let (keep, kept) = self.keep(object);
            commands.push(keep);
            commands.push(format!("kubectl -n {} delete {}", quote(&namespace), Self::object_words(object)));
            self.undo.push(format!("kubectl apply -f {}", quote(&kept)));
        }
        let names = names.join(", ");
        (
            self.say(format!("Delete {names}, and keep what it was"), format!("{names} 삭제 (내용은 남겨 둔다)")),
            commands,
        )
    }

    pub fn patch(&mut self, object: &ObjectRef, patch: &serde_json::Value) -> (String, Vec<String>) {
        let namespace = self.namespace_of(object);
        let name = format!("{} {namespace}/{}", object.kind, object.name);
        let words = self.say(
            format!("Merge this into {name}, and keep what it was"),
            format!("{name}에 합친다 (전의 내용은 남겨 둔다)"),
        );
        let (keep, kept) = self.keep(object);
        let merge = format!(
            "kubectl -n {} patch {} --type merge -p {}",
            quote(&namespace),
            Self::object_words(object),
            quote(&patch.to_string())
        );
        if self.refused {
            return (words, vec![self.refuse(merge, String::new())]);
        }
        self.undo.push(format!("kubectl replace -f {}", quote(&kept)));
        (words, vec![keep, merge])
    }

    pub fn restart(&self, workload: &Workload) -> (String, Vec<String>) {
        let Workload { name, namespace } = workload;
        let words = self.say(
            format!("Restart the pods of {name}, and wait for the new ones"),
            format!("{name}의 pod를 다시 시작하고 새 pod를 기다린다"),
        );
        let commands =
            vec![format!("kubectl -n {namespace} rollout restart deploy/{name}"), rollout(workload, PATIENCE)];
        (words, commands)
    }

    pub fn scale(&mut self, workload: &Workload, replicas: u32) -> (String, Vec<String>) {
        let Workload { name, namespace } = workload;
        let words = self.say(
            format!("Give {name} {replicas} pods, and keep how many it had"),
            format!("{name}의 pod를 {replicas}개로 (전의 수는 남겨 둔다)"),
        );
        let kept = format!("{name}-replicas.txt");
        let commands = vec![
            format!("kubectl -n {namespace} get deploy/{name} -o jsonpath='{{.spec.replicas}}' > {kept}"),
            format!("kubectl -n {namespace} scale deploy/{name} --replicas={replicas}"),
            rollout(workload, PATIENCE),
        ];
        self.undo.push(format!("kubectl -n {namespace} scale deploy/{name} --replicas=\"$(cat {kept})\""));
        (words, commands)
    }

    pub fn wait(&self, wait: &Wait) -> (String, Vec<String>) {
        let object = &wait.object;
        let namespace = self.namespace_of(object);
        let name = format!("{} {namespace}/{}", object.kind, object.name);
        let seconds = wait.within.map_or(PATIENCE, |w| w.as_secs().max(1));
        let is_workload = matches!(
            object.kind.to_lowercase().trim_end_matches('s'),
            "deployment" | "deploy" | "statefulset" | "st" | "daemonset" | "d"
        );
        let kind = quote(&format!("{}/{}", object.kind.to_lowercase(), object.name));
        let namespace = quote(&namespace);
        let wait_for =
            |what: &str| format!("kubectl -n {namespace} wait {kind} --for={} --timeout={seconds}s", quote(what));
        let (words, command) = match &wait.condition {
            Condition::Ready if is_workload => (
                self.say(
                    format!("Wait until all pods of {name} are new and available"),
                    format!("{name}의 pod가 모두 새것이고 쓸 수 있을 때까지 기다린다"),
                ),
                format!("kubectl -n {namespace} rollout status {kind} --timeout={seconds}s"),
            ),
            Condition::Ready => (
                self.say(format!("Wait until {name} is ready"), format!("{name}이 준비될 때까지 기다린다")),
                wait_for("condition=Ready"),
            ),
            Condition::Available => (
                self.say(format!("Wait until {name} is available"), format!("{name}을 쓸 수 있을 때까지 기다린다")),
                wait_for("condition=Available"),
            ),
            Condition::Gone => (
                self.say(format!("Wait until {name} is gone"), format!("{name}이 사라질 때까지 기다린다")),
                wait_for("delete"),
            ),
            Condition::Is { condition, status } => (
                self.say(
                    format!("Wait until condition {condition} of {name} is {status}"),
                    format!("{name}의 조건 {condition}이 {status}일 때까지 기다린다"),
                ),
                wait_for(&format!("condition={condition}={status}")),
            ),
        };
        let words = match &wait.because {
            Some(because) => format!("{words} — {because}"),
            None => words,
        };
        (words, vec![command])
    }
}

fn rollout(workload: &Workload, seconds: u64) -> String {
    format!("kubectl -n {} rollout status deploy/{} --timeout={seconds}s", workload.namespace, workload.name)
}
