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
    pub lists: Vec<Kept<'s>>,
    /// What puts back what was changed, last change first.
    pub undo: Vec<String>,
    /// The change at hand is to be refused.
    pub refused: bool,
    /// The last change that was to be refused: its command, and what stands below it.
    pub last_refused: Option<(String, String)>,
}

/// A list that was captured.
pub struct Kept<'s> {
    pub name: &'s str,
    pub list: ProxyList,
    pub on: Workload,
}

pub fn scenario(scenario: &Scenario, language: Language, containers: HashMap<Workload, String>) -> Explained {
    let mut context = Context {
        language,
        scenario,
        containers,
        probe: None,
        lists: vec![],
        undo: vec![],
        refused: false,
        last_refused: None,
    };
    let mut steps: Vec<ExplainedStep> = scenario.skips.iter().map(|skip| context.skip(skip)).collect();
    steps.extend(scenario.disruptive.iter().map(|disruptive| context.disruptive(disruptive)));
    steps.extend(scenario.requires.iter().map(|require| context.require(require)));
    for (index, step) in scenario.steps.iter().enumerate() {
        let next = scenario.steps.get(index + 1).map(|next| &next.kind);
        let is_refusal = |e: &Expect| matches!(e.what, Expectation::Rejected { .. }) && !e.negated;
        context.refused = matches!(next, Some(StepKind::Expect(e)) if is_refusal(e));
        steps.push(context.step(step));
    }
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

/// A requirement as it is written behind `require`.
fn written(requirement: &Requirement) -> String {
    match requirement {
        Requirement::Outbound(OutboundPolicy::RegistryOnly) => "outbound REGISTRY_ONLY".into(),
        Requirement::Outbound(OutboundPolicy::AllowAny) => "outbound ALLOW_ANY".into(),
        Requirement::GatewayPort(port) => format!("gateway port {port}"),
        Requirement::AccessLog { peer: true } => "access-log peer".into(),
        Requirement::AccessLog { peer: false } => "access-log".into(),
        Requirement::Secret { name, namespace: Some(namespace) } => format!("secret {name} in {namespace}"),
        Requirement::Secret { name, namespace: None } => format!("secret {name}"),
        Requirement::Version { comparison, version } => format!("version {} {version}", sign(*comparison)),
        Requirement::Crd(name) => format!("crd {name}"),
    }
}

pub fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::AtLeast => ">=",
        Comparison::AtMost => "<=",
        Comparison::Equal => "==",
        Comparison::More => ">",
        Comparison::Less => "<",
    }
}

impl<'s> Context<'s> {
    pub fn say(&self, english: impl Into<String>, korean: impl Into<String>) -> String {
        self.language.say(english, korean)
    }

    fn skip(&self, skip: &Skip) -> ExplainedStep {
        let words = match &skip.when {
            SkipWhen::NotOn(TargetKind::Lab) => self.say("Only on the lab", "lab에서만"),
            SkipWhen::NotOn(TargetKind::Cluster) => self.say("Only on a cluster", "클러스터에서만"),
            SkipWhen::If { negated, requirement } => {
                let what = written(requirement);
                match negated {
                    false => self.say(
                        format!("Skipped where the target meets: {what}"),
                        format!("대상이 이것을 갖추면 건너뛴다: {what}"),
                    ),
                    true => self.say(
                        format!("Skipped where the target does not meet: {what}"),
                        format!("대상이 이것을 갖추지 않으면 건너뛴다: {what}"),
                    ),
                }
            }
        };
        self.header(&skip.place, words, skip.because.as_deref())
    }

    fn disruptive(&self, disruptive: &Disruptive) -> ExplainedStep {
        let words = self.say("This changes what others depend on", "다른 것이 의존하는 것을 바꾼다");
        self.header(&disruptive.place, words, disruptive.because.as_deref())
    }

    fn header(&self, place: &crate::diag::Place, words: String, because: Option<&str>) -> ExplainedStep {
        let words = because.map_or(words.clone(), |because| format!("{words} — {because}"));
        ExplainedStep { place: Some(place.clone()), text: String::new(), words, commands: vec![] }
    }

    /// A change that is to be refused: what it was is kept for the expectation behind it.
    pub fn refuse(&mut self, command: String, rest: String) -> String {
        let refused = format!("! {command}{rest}");
        self.last_refused = Some((command, rest));
        refused
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
            Requirement::Secret { name, namespace } => {
                let namespace = namespace.as_ref().unwrap_or(&self.scenario.namespace);
                let words = self.say(
                    format!("Needed: the Secret {name} in {namespace}"),
                    format!("필요: {namespace}의 Secret {name}"),
                );
                (words, format!("kubectl -n {} get secret {}", quote(namespace), quote(name)))
            }
            Requirement::Crd(name) => {
                let words = self.say(
                    format!("Needed: the resource definition {name}"),
                    format!("필요: CustomResourceDefinition {name}"),
                );
                (words, format!("kubectl get crd {}", quote(name)))
            }
            Requirement::Version { comparison, version } => {
                let sign = sign(*comparison);
                let words =
                    self.say(format!("Needed: Istio {sign} {version}"), format!("필요: Istio {sign} {version}"));
                let is = "kubectl -n istio-system get deployment istiod -o \
                          jsonpath='{.spec.template.spec.containers[0].image}' | sed 's/.*://'";
                // A version stands for all its patches.
                let last = if version.0.len() < 3 { format!("{version}.999") } else { version.to_string() };
                let command = match comparison {
                    Comparison::AtLeast => format!("{{ echo {version}; {is}; }} | sort -VC"),
                    Comparison::Less => format!("! {{ echo {version}; {is}; }} | sort -VC"),
                    Comparison::AtMost => format!("{{ {is} | sed 's/$/\\n/'; echo {last}; }} | grep . | sort -VC"),
                    Comparison::More => format!("! {{ {is} | sed 's/$/\\n/'; echo {last}; }} | grep . | sort -VC"),
                    Comparison::Equal => format!("{is} | grep -E '^{}([.-]|$)'", shell::escaped(&version.to_string())),
                };
                (words, command)
            }
        };
        let commands = vec![command];
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
            StepKind::Patch { object, patch } => self.patch(object, patch),
            StepKind::Restart(workload) => self.restart(workload),
            StepKind::Scale { workload, replicas } => self.scale(workload, *replicas),
            StepKind::Wait(wait) => self.wait(wait),
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
            let (command, rest) = (format!("kubectl apply{namespace} -f - <<'{tag}'"), format!("\n{text}{tag}"));
            if self.refused {
                return (words, vec![self.refuse(command, rest)]);
            }
            for object in objects {
                self.undo.push(self.delete_object(&object.body));
            }
            return (words, vec![format!("{command}{rest}")]);
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
        if let ([(namespace, options)], true) = (groups.as_slice(), self.refused) {
            return (words, vec![self.refuse(format!("kubectl apply{namespace}{options}"), String::new())]);
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
                self.lists.push(Kept { name, list: *list, on: self.proxy(on.as_ref()).clone() });
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
            CaptureSource::Json(path) => {
                let words = self.say(
                    format!("Keep the value at {path} of the answer in ${variable}"),
                    format!("응답의 {path} 값을 ${variable}에 남긴다"),
                );
                let command =
                    shell::jq(path).zip(probe("")).map(|(jq, command)| format!("{variable}=$({command} | jq -r {jq})"));
                (words, command.into_iter().collect())
            }
            CaptureSource::Object { object, path } => {
                let namespace = self.namespace_of(object);
                let words = self.say(
                    format!("Keep the value at {path} of {} {} in ${variable}", object.kind, object.name),
                    format!("{} {}의 {path} 값을 ${variable}에 남긴다", object.kind, object.name),
                );
                let template = quote(&format!("{{{}}}", path.trim_start_matches('$')));
                let get =
                    format!("kubectl -n {} get {} {}", quote(&namespace), quote(&object.kind), quote(&object.name));
                (words, vec![format!("{variable}=$({get} -o jsonpath={template})")])
            }
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
            Operand::Capture(name) if self.lists.iter().any(|kept| kept.name == name) => commands::capture_file(name),
            Operand::Capture(name) => format!("<(printf '%s\\n' \"${{{}}}\")", shell::variable(name)),
            Operand::List { list, on } => format!("<({})", commands::list(*list, self.proxy(on.as_ref()))),
        }
    }
}

fn yaml(body: &Value) -> String {
    // A JSON value has nothing that YAML lacks.
    serde_yaml::to_string(body).unwrap_or_default()
}
