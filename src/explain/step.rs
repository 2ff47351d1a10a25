//! Headers, steps and the undo, in words and commands.

use super::shell::{self, quote};
use super::{Explained, ExplainedStep, Language, commands, containers, expectation};
use crate::plan::*;
use serde_json::Value;
use std::collections::HashMap;

/// What is known while a scenario is explained.
pub struct Context<'s> {
    pub language: Language,
    pub scenario: &'s Scenario,
    /// The first container of each Deployment that is known.
    containers: HashMap<Workload, String>,
    /// The exec that expectations are about.
    pub probe: Option<&'s Exec>,
    /// Captures of lists: they are files; all others are variables.
    lists: Vec<&'s str>,
    /// What puts back what was changed, last change first.
    undo: Vec<String>,
}

pub fn scenario(scenario: &Scenario, language: Language, containers: HashMap<Workload, String>) -> Explained {
    let mut context = Context { language, scenario, containers, probe: None, lists: vec![], undo: vec![] };
    let mut steps: Vec<ExplainedStep> = scenario.requires.iter().map(|require| context.require(require)).collect();
    steps.extend(scenario.steps.iter().map(|step| context.step(step)));
    if !context.undo.is_empty() {
        let mut commands = std::mem::take(&mut context.undo);
        commands.reverse();
        let mut seen = std::collections::HashSet::new();
        commands.retain(|command| seen.insert(command.clone()));
        let words = language.say(
            "Undo, last change first. What was there before the scenario in another form is put back by its own manifest \
             instead.",
            "되돌리기: 마지막 변경부터. 시나리오 전에 다른 내용으로 있던 것은 지우지 말고 그 manifest를 다시 apply한다.",
        );
        steps.push(ExplainedStep { place: None, text: String::new(), words, commands });
    }
    Explained { file: scenario.file.name.clone(), name: scenario.name.clone(), steps }
}

impl<'s> Context<'s> {
    pub fn say(&self, english: impl Into<String>, korean: impl Into<String>) -> String {
        self.language.say(english, korean)
    }

    fn require(&self, require: &Require) -> ExplainedStep {
        let mesh = "kubectl -n istio-system get configmap istio -o jsonpath='{.data.mesh}'";
        let (words, command) = match &require.what {
            Requirement::Outbound(policy) => {
                let policy = match policy {
                    OutboundPolicy::RegistryOnly => "REGISTRY_ONLY",
                    OutboundPolicy::AllowAny => "ALLOW_ANY",
                };
                let words = self.say(
                    format!("Needed: outbound traffic policy {policy} (without a setting it is ALLOW_ANY)"),
                    format!("필요: outbound 정책 {policy} (설정이 없으면 ALLOW_ANY)"),
                );
                (words, format!("{mesh} | grep -A1 outboundTrafficPolicy | grep {policy}"))
            }
            Requirement::GatewayPort(port) => {
                let Workload { name, namespace } = &self.scenario.gateway;
                let words = self.say(
                    format!("Needed: port {port} on the Service of the gateway {name}"),
                    format!("필요: gateway {name}의 Service에 {port} 포트"),
                );
                let command = format!(
                    "kubectl -n {namespace} get service {name} -o jsonpath='{{.spec.ports[*].port}}' | grep -w {port}"
                );
                (words, command)
            }
            Requirement::AccessLog { peer } => {
                let what = if *peer { "DOWNSTREAM_PEER_URI_SAN" } else { "accessLog" };
                let words = match peer {
                    true => self.say(
                        "Needed: access logs that name the client's certificate identity",
                        "필요: 클라이언트 인증서의 신원이 찍히는 access log",
                    ),
                    false => self.say("Needed: access logs", "필요: access log"),
                };
                (words, format!("{mesh} | grep -o {what} | head -n 1 | grep ."))
            }
            #[allow(unreachable_patterns)]
            _ => (self.say("Needed for this scenario", "이 시나리오에 필요한 것"), String::new()),
        };
        let commands = Some(command).filter(|command| !command.is_empty()).into_iter().collect();
        ExplainedStep { place: Some(require.place.clone()), text: String::new(), words, commands }
    }

    fn step(&mut self, step: &'s Step) -> ExplainedStep {
        let (words, commands) = match &step.kind {
            StepKind::Apply(objects) => self.apply(step, objects),
            StepKind::Delete(objects) => self.delete(objects),
            StepKind::Exec(exec) => self.exec(exec),
            StepKind::Expect(expect) => expectation::expectation(self, expect),
            StepKind::Capture { name, source } => self.capture(name, source),
            StepKind::Diff { left, right } => {
                let words = self.say("Show what differs", "차이를 보인다");
                (words, vec![format!("diff {} {} || true", self.as_file(left), self.as_file(right))])
            }
            StepKind::Note(text) => (text.clone(), vec![]),
            StepKind::Pause(text) => {
                (self.say(format!("Stop and look: {text}"), format!("멈추고 본다: {text}")), vec![])
            }
            #[allow(unreachable_patterns)]
            _ => (step.text.clone(), vec![]),
        };
        ExplainedStep { place: Some(step.place.clone()), text: step.text.clone(), words, commands }
    }

    fn apply(&mut self, step: &Step, objects: &[ManifestObject]) -> (String, Vec<String>) {
        let found = containers(objects.iter());
        self.containers.extend(found);
        let inline = objects.iter().all(|object| object.place.source == step.place.source);
        let names = objects.iter().map(|object| self.describe(&object.body)).collect::<Vec<_>>().join(", ");
        let words = self.say(format!("Apply {names}"), format!("{names} 적용"));
        if inline {
            let text = objects.iter().map(|object| yaml(&object.body)).collect::<Vec<_>>().join("---\n");
            let namespace = self.namespace_option(objects.iter());
            let mut tag = "YAML".to_owned();
            while text.lines().any(|line| line == tag) {
                tag.push('_');
            }
            for object in objects {
                self.undo.push(self.delete_object(&object.body));
            }
            return (words, vec![format!("kubectl apply{namespace} -f - <<'{tag}'\n{text}{tag}")]);
        }
        // Files one behind the other, as many in one command as take the same namespace.
        let mut files: Vec<(&str, Vec<&ManifestObject>)> = vec![];
        for object in objects {
            match files.last_mut() {
                Some((file, all)) if *file == object.place.source.name => all.push(object),
                _ => files.push((&object.place.source.name, vec![object])),
            }
        }
        let mut groups: Vec<(String, String)> = vec![];
        for (file, objects) in &files {
            let namespace = self.namespace_option(objects.iter().copied());
            let option = format!(" -f {}", quote(file));
            match groups.last_mut() {
                Some((known, options)) if *known == namespace => options.push_str(&option),
                _ => groups.push((namespace, option)),
            }
        }
        for (namespace, options) in &groups {
            self.undo.push(format!("kubectl delete{namespace} --ignore-not-found{options}"));
        }
        (words, groups.into_iter().map(|(namespace, options)| format!("kubectl apply{namespace}{options}")).collect())
    }

    /// `-n NAMESPACE` where an object names none: kubectl refuses it beside one that names another.
    fn namespace_option<'o>(&self, mut objects: impl Iterator<Item = &'o ManifestObject>) -> String {
        match objects.any(|object| object.body.pointer("/metadata/namespace").is_none()) {
            true => format!(" -n {}", quote(&self.scenario.namespace)),
            false => String::new(),
        }
    }

    /// `Gateway mesh-test/egress`.
    fn describe(&self, body: &Value) -> String {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        let namespace = text("/metadata/namespace").unwrap_or(&self.scenario.namespace);
        format!("{} {namespace}/{}", text("/kind").unwrap_or(""), text("/metadata/name").unwrap_or(""))
    }

    fn delete_object(&self, body: &Value) -> String {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        let namespace = text("/metadata/namespace").unwrap_or(&self.scenario.namespace);
        let version = text("/apiVersion").unwrap_or("");
        let kind = text("/kind").unwrap_or("");
        // `Gateway.v1.networking.istio.io`: a kind that another group has too.
        let kind = match version.split_once('/') {
            Some((group, version)) => format!("{kind}.{version}.{group}"),
            None => kind.to_owned(),
        };
        let name = text("/metadata/name").unwrap_or("");
        format!("kubectl -n {} delete {} {} --ignore-not-found", quote(namespace), quote(&kind), quote(name))
    }

    fn delete(&mut self, objects: &[ObjectRef]) -> (String, Vec<String>) {
        let mut commands = vec![];
        let mut names = vec![];
        for object in objects {
            let namespace = object.namespace.as_deref().unwrap_or(&self.scenario.namespace);
            let kept = format!("{}-{}.yaml", object.kind.to_lowercase().replace('/', "-"), object.name);
            let object_words = format!("{} {}", quote(&object.kind), quote(&object.name));
            names.push(format!("{} {namespace}/{}", object.kind, object.name));
            commands.push(format!("kubectl -n {} get {object_words} -o yaml > {}", quote(namespace), quote(&kept)));
            commands.push(format!("kubectl -n {} delete {object_words}", quote(namespace)));
            self.undo.push(format!("kubectl apply -f {}", quote(&kept)));
        }
        let names = names.join(", ");
        (
            self.say(format!("Delete {names}, and keep what it was"), format!("{names} 삭제 (내용은 남겨 둔다)")),
            commands,
        )
    }

    fn exec(&mut self, exec: &'s Exec) -> (String, Vec<String>) {
        self.probe = Some(exec);
        let command = commands::exec(exec, self.container(exec), "");
        let words = match &exec.workload {
            Some(workload) => self.say(
                format!("In the pod of {}, in namespace {}:", workload.name, workload.namespace),
                format!("namespace {}, {} pod 안에서:", workload.namespace, workload.name),
            ),
            None => self.say("From outside the mesh (your machine):", "mesh 밖(내 컴퓨터)에서:"),
        };
        let mut all = vec![];
        if exec.workload.is_none() && exec.command.iter().any(|t| t.0.contains(&Part::Capture("ingress".into()))) {
            all.push(
                "ingress=$(kubectl -n istio-system get service istio-ingressgateway -o \
                 jsonpath='{.status.loadBalancer.ingress[0].ip}')"
                    .into(),
            );
        }
        all.push(command);
        (words, all)
    }

    /// The container that a command runs in: the one that is named, or the workload's first.
    pub fn container<'a>(&'a self, exec: &'a Exec) -> Option<&'a str> {
        let known = || self.containers.get(exec.workload.as_ref()?).map(String::as_str);
        exec.container.as_deref().or_else(known)
    }

    fn capture(&mut self, name: &'s str, source: &CaptureSource) -> (String, Vec<String>) {
        let probe = |more: &str| self.probe.map(|exec| commands::exec(exec, self.container(exec), more));
        let variable = shell::variable(name);
        match source {
            CaptureSource::List { list, on } => {
                let command = commands::list(*list, self.proxy(on.as_ref()));
                let file = commands::capture_file(name);
                self.lists.push(name);
                let words = self.say(format!("Keep the list in {file}"), format!("목록을 {file}에 남긴다"));
                (words, vec![format!("{command} > {file}")])
            }
            CaptureSource::Stdout => {
                let words =
                    self.say(format!("Keep what it printed in ${variable}"), format!("출력을 ${variable}에 남긴다"));
                (words, probe("").map(|command| format!("{variable}=$({command})")).into_iter().collect())
            }
            CaptureSource::Header(header) => {
                let words = self.say(
                    format!("Keep the header {header} in ${variable}"),
                    format!("{header} 헤더를 ${variable}에 남긴다"),
                );
                let filter = format!("grep -i {} | cut -d' ' -f2- | tr -d '\\r'", quote(&format!("^{header}:")));
                let command = probe("").map(|command| format!("{variable}=$({command} | {filter})"));
                (words, command.into_iter().collect())
            }
            #[allow(unreachable_patterns)]
            _ => (self.say(format!("Keep ${variable}"), format!("${variable}에 남긴다")), vec![]),
        }
    }

    /// The proxy that a list or fact is of: the one named, the last exec's, or the gateway.
    pub fn proxy<'a>(&'a self, on: Option<&'a Workload>) -> &'a Workload {
        on.or_else(|| self.probe?.workload.as_ref()).unwrap_or(&self.scenario.gateway)
    }

    /// A list or capture where a command takes a file.
    pub fn as_file(&self, operand: &Operand) -> String {
        match operand {
            Operand::Number(number) => format!("<(echo {number})"),
            Operand::Capture(name) if self.lists.contains(&name.as_str()) => commands::capture_file(name),
            Operand::Capture(name) => format!("<(printf '%s\\n' \"${{{}}}\")", shell::variable(name)),
            Operand::List { list, on } => format!("<({})", commands::list(*list, self.proxy(on.as_ref()))),
        }
    }
}

fn yaml(body: &Value) -> String {
    // A JSON value has nothing that YAML lacks.
    serde_yaml::to_string(body).unwrap_or_default()
}
