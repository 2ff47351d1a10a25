//! One probe: an `exec` and the expectations behind it; or expectations about state alone. Tried until
//! all hold, at most within their limit.

use super::event::{Event, EvidenceKind, Verdict};
use super::evidence::{Known, Marks, log_patience};
use super::retry::Retry;
use super::scenario::{Runner, Stop};
use super::{analysis, curl};
use crate::cluster::{Error, Settled};
use crate::diag::Diagnostic;
use crate::expect::{self, Evidence, Judgement, Need, Probe};
use crate::plan::{Exec, Expect, Expectation, Scenario, Stable, Step, Workload};
use std::time::{Duration, Instant};

/// A probe and what is expected of it. Numbers are steps of the scenario.
pub(super) struct Group<'a> {
    pub exec: Option<(usize, &'a Step, &'a Exec)>,
    pub expects: Vec<(usize, &'a Step, &'a Expect)>,
}

/// Between two looks at something that has to stay as it is.
const STABLE_LOOK: Duration = Duration::from_millis(200);

impl Runner {
    /// Runs a group and emits its events. The worst verdict of its steps comes back.
    pub(super) async fn group(&mut self, scenario: &Scenario, group: &Group<'_>) -> Result<Verdict, Stop> {
        let begun = Instant::now();
        let first = match (&group.exec, group.expects.first()) {
            (Some((index, step, _)), _) => (*index, *step),
            (None, Some((index, step, _))) => (*index, *step),
            (None, None) => return Ok(Verdict::Passed),
        };
        self.started(first.0, first.1);
        let result = self.try_group(scenario, group, first.0).await;
        let tried = match result {
            Ok(tried) => tried,
            Err(error) => {
                return Err(self.broke(first, begun, &error).await);
            }
        };
        let mut worst = Verdict::Passed;
        let mut took = begun.elapsed();
        if let Some((index, step, exec)) = &group.exec {
            let (verdict, failure) = self.exec_verdict(*index, step, exec);
            self.finished(*index, step, verdict, std::mem::take(&mut took), failure);
            worst = worst.max(verdict);
        }
        for (nth, ((index, step, expect), judgement)) in group.expects.iter().zip(tried.judgements).enumerate() {
            if group.exec.is_some() || nth > 0 {
                self.started(*index, step);
            }
            let verdict =
                self.report(scenario, *index, step, expect, judgement, &tried.settled, std::mem::take(&mut took));
            worst = worst.max(verdict);
        }
        Ok(worst)
    }

    /// Tries until all hold or the time is over.
    async fn try_group(&mut self, scenario: &Scenario, group: &Group<'_>, step: usize) -> Result<Tried, Error> {
        if let Some((_, _, exec)) = &group.exec {
            self.state.workload = exec.workload.clone().or(self.state.workload.take());
        }
        let needs = self.needs(scenario, group);
        let all_needs = self.needs_to_explain(scenario, group, &needs);
        let settled = self.settle(scenario, &needs).await?;
        if let Some((_, _, exec)) = &group.exec {
            self.set_marks(&all_needs).await?;
            // What is proven to have arrived does not change by a probe.
            let asked: &[Need] = if settled.proven { &needs } else { &[] };
            let ahead = self.gatherer.ahead(&mut self.proxies, asked).await;
            let (_, ran) = tokio::join!(ahead, self.run_exec(exec));
            ran?;
        }
        let repeatable = match &group.exec {
            Some((_, _, exec)) => exec.every.is_some() || curl::is_safe_to_repeat(&self.words(exec)),
            None => false,
        };
        let given: Vec<Option<Duration>> = group.expects.iter().map(|(_, _, e)| e.within).collect();
        let every = group.exec.as_ref().and_then(|(_, _, e)| e.every);
        let retry = Retry::new(&given, scenario.within, settled.proven && self.lab, every);
        let begun = Instant::now();
        let gateway_optional = !group.expects.iter().any(|(_, _, e)| is_about_gateway(&e.what));
        let mut stable = Steadiness::of(group);
        let mut number = 1;
        let mut fresh = false;
        loop {
            let patience = log_patience(self.lab, retry.limit.saturating_sub(begun.elapsed()));
            let evidence = self.evidence(scenario, &needs, gateway_optional, patience, fresh).await?;
            let judgements = judge_all(group, &evidence);
            let exec_fails = match &group.exec {
                Some((_, _, exec)) if !exec.has_expects => self.state.probe.as_ref().is_some_and(|p| p.exit != 0),
                _ => false,
            };
            let fails = exec_fails || judgements.iter().any(|j| matches!(j, Judgement::Fails(_)));
            let pause = match fails {
                false if stable.holds() => return Ok(Tried { judgements, settled }),
                false => STABLE_LOOK,
                true => {
                    stable.broke();
                    retry.pause(number + 1)
                }
            };
            let may_change = repeatable || self.may_change(scenario, group, &judgements);
            if fails && (!may_change || begun.elapsed() + pause > retry.limit.max(stable.allowance())) {
                let judgements = self.explained(scenario, group, judgements, &all_needs).await;
                return Ok(Tried { judgements, settled });
            }
            self.state.marks.wait_any(pause).await;
            number += 1;
            fresh = true;
            self.emit(Event::Attempt { step, number });
            let about_exec = group
                .expects
                .iter()
                .zip(&judgements)
                .any(|((_, _, e), j)| is_about_exec(&e.what) && (!fails || matches!(j, Judgement::Fails(_))));
            if let (true, Some((_, _, exec))) = (repeatable && (about_exec || exec_fails), &group.exec) {
                self.set_marks(&all_needs).await?;
                self.run_exec(exec).await?;
            }
        }
    }

    /// Judges what failed once more with all that may explain it. The verdict stays.
    async fn explained(
        &mut self,
        scenario: &Scenario,
        group: &Group<'_>,
        judgements: Vec<Judgement>,
        needs: &[Need],
    ) -> Vec<Judgement> {
        if !judgements.iter().any(|j| matches!(j, Judgement::Fails(_))) {
            return judgements;
        }
        let Ok(evidence) = self.evidence(scenario, needs, true, log_patience(self.lab, Duration::ZERO), false).await
        else {
            return judgements;
        };
        self.state.ambient = analysis::ambient(&evidence, &self.state.applied);
        self.state.control_plane = match self.state.begun {
            Some(begun) => analysis::control_plane_log(&self.cluster, begun).await,
            None => vec![],
        };
        let again = judge_all(group, &evidence);
        let better = judgements.into_iter().zip(again).map(|pair| match pair {
            (Judgement::Fails(_), Judgement::Fails(explained)) => Judgement::Fails(explained),
            (first, _) => first,
        });
        better.collect()
    }

    /// Whether what failed may still hold without running the command again: by a log line or a change
    /// of configuration that comes late.
    fn may_change(&self, scenario: &Scenario, group: &Group<'_>, judgements: &[Judgement]) -> bool {
        let workload = self.state.workload.as_ref();
        group.expects.iter().zip(judgements).any(|((_, _, e), j)| {
            matches!(j, Judgement::Fails(_))
                && !expect::needs(&e.what, e.negated, &scenario.gateway, workload).is_empty()
        })
    }

    /// The same, and what would explain a failure: its logs must be followed from before the probe.
    fn needs_to_explain(&self, scenario: &Scenario, group: &Group<'_>, needs: &[Need]) -> Vec<Need> {
        let mut all = needs.to_vec();
        for (_, _, expect) in &group.expects {
            let workload = self.state.workload.as_ref();
            for need in expect::needs_to_explain(&expect.what, &scenario.gateway, workload) {
                if !all.contains(&need) {
                    all.push(need);
                }
            }
        }
        all
    }

    /// What all expectations of the group need, once each.
    fn needs(&self, scenario: &Scenario, group: &Group<'_>) -> Vec<Need> {
        let mut needs: Vec<Need> = vec![];
        for (_, _, expect) in &group.expects {
            let workload = self.state.workload.as_ref();
            for need in expect::needs(&expect.what, expect.negated, &scenario.gateway, workload) {
                if !needs.contains(&need) {
                    needs.push(need);
                }
            }
        }
        needs
    }

    async fn set_marks(&mut self, needs: &[Need]) -> Result<(), Error> {
        let mut marks = Marks::default();
        marks.set(&self.cluster, &mut self.proxies, needs).await?;
        self.state.marks = marks;
        Ok(())
    }

    /// `gateway_optional`: judging may do without the scenario's gateway. Waits at most `limit` for
    /// log lines.
    async fn evidence(
        &mut self,
        scenario: &Scenario,
        needs: &[Need],
        gateway_optional: bool,
        limit: Duration,
        fresh: bool,
    ) -> Result<Evidence, Error> {
        if let (Some(probe), true) = (&self.state.probe, needs.iter().any(|n| matches!(n, Need::Log(_)))) {
            self.state.marks.wait_joined(probe, limit).await;
        }
        let known = Known {
            probe: self.state.probe.as_ref(),
            captures: &self.state.captures,
            gateway: &scenario.gateway,
            workload: self.state.workload.as_ref(),
            optional: Some(&scenario.gateway).filter(|_| gateway_optional),
        };
        let (cluster, proxies, marks) = (&self.cluster, &mut self.proxies, &self.state.marks);
        match self.gatherer.gather(cluster, proxies, marks, needs, &known, fresh).await {
            // A pod went since it was looked up: ask those that are there now.
            Err(error) if error.is_not_found() || error.is_broken() => {
                proxies.forget_pods();
                self.gatherer.gather(cluster, proxies, marks, needs, &known, true).await
            }
            gathered => gathered,
        }
    }

    /// Runs the command once; the probe is kept for the expectations.
    async fn run_exec(&mut self, exec: &Exec) -> Result<(), Error> {
        let command = self.words(exec);
        let probe = match &exec.workload {
            Some(workload) => self.run_in_pod(workload, exec, command).await?,
            None => run_local(self.lab, command).await?,
        };
        self.state.probe = Some(probe);
        Ok(())
    }

    /// In the first pod of the workload. A pod that went since it was looked up did not run it: then
    /// in its successor.
    async fn run_in_pod(&mut self, workload: &Workload, exec: &Exec, command: Vec<String>) -> Result<Probe, Error> {
        match self.run_in_known_pod(workload, exec, command.clone()).await {
            Err(error) if error.is_not_found() => {
                self.proxies.forget_pods();
                self.run_in_known_pod(workload, exec, command).await
            }
            ran => ran,
        }
    }

    async fn run_in_known_pod(
        &mut self,
        workload: &Workload,
        exec: &Exec,
        command: Vec<String>,
    ) -> Result<Probe, Error> {
        let pods = self.proxies.of(workload).await?;
        let Some(proxy) = pods.first() else {
            return Err(Error::Absent { message: format!("no pod of {workload}"), help: String::new() });
        };
        let container = exec.container.as_deref();
        let mut files = std::collections::HashMap::new();
        if curl::is_curl(&command) {
            for name in curl::write_out_files(&command) {
                let cat = ["cat".to_owned(), name.clone()];
                let read = self.cluster.exec(&proxy.pod, container, &cat).await.ok().filter(|o| o.exit == 0);
                if let Some(text) = read.and_then(|o| String::from_utf8(o.stdout).ok()) {
                    files.insert(name, text);
                }
            }
        }
        let marker = format!("<egress-scn {}>", self.marker);
        let instrumented = curl::instrument(&command, &marker, |name| files.get(name).cloned());
        let words = instrumented.as_ref().map_or(&command, |i| &i.command);
        let mut output = self.cluster.exec(&proxy.pod, container, words).await?;
        let transfers = match &instrumented {
            Some(instrumented) => instrumented.strip(&mut output.stdout, &mut output.stderr),
            None => vec![],
        };
        Ok(Probe {
            workload: Some(workload.clone()),
            pod: proxy.pod.name.clone(),
            command,
            exit: output.exit,
            stdout: output.stdout,
            stderr: output.stderr,
            transfers,
            took: output.took,
        })
    }

    /// The command with captures filled in.
    fn words(&self, exec: &Exec) -> Vec<String> {
        exec.command.iter().map(|t| self.state.text(t)).collect()
    }

    /// Shows what the command printed; without expectations it must have exited 0.
    fn exec_verdict(&self, index: usize, step: &Step, exec: &Exec) -> (Verdict, Option<Diagnostic>) {
        let Some(probe) = &self.state.probe else { return (Verdict::Broken, None) };
        self.emit(Event::Output {
            step: index,
            command: probe.command.join(" "),
            stdout: probe.stdout.clone(),
            stderr: probe.stderr.clone(),
            exit: probe.exit,
        });
        if exec.has_expects || probe.exit == 0 {
            return (Verdict::Passed, None);
        }
        let mut failure =
            Diagnostic::error("E0505", format!("the command exited {}, and nothing expects that", probe.exit))
                .at(step.place.clone(), "");
        let stderr = String::from_utf8_lossy(&probe.stderr);
        let last: Vec<&str> = stderr.lines().rev().take(5).collect();
        failure.evidence.extend(last.into_iter().rev().map(str::to_owned));
        failure.help.push(format!("add `expect exit {}` beneath it if that is what should happen", probe.exit));
        (Verdict::Failed, Some(failure))
    }

    #[allow(clippy::too_many_arguments)]
    fn report(
        &mut self,
        scenario: &Scenario,
        index: usize,
        step: &Step,
        expect: &Expect,
        judgement: Judgement,
        settled: &Settled,
        took: Duration,
    ) -> Verdict {
        let negative = expect.negated || matches!(expect.what, Expectation::Blocked(_) | Expectation::Direct);
        match judgement {
            Judgement::Holds { mut show } => {
                self.checked += 1;
                if let (true, Some(reason)) = (negative && !settled.proven, &settled.reason) {
                    show.push(reason.clone());
                }
                if !show.is_empty() {
                    self.emit(Event::Evidence { step: index, kind: evidence_kind(&expect.what), lines: show });
                }
                self.finished(index, step, Verdict::Passed, took, None);
                Verdict::Passed
            }
            Judgement::Fails(failure) => {
                self.checked += 1;
                let mut failure = failure.into_diagnostic();
                failure.labels.insert(0, analysis::label(step, expect));
                failure.evidence.extend(settled.rejections.iter().map(|r| format!("refused by {r}")));
                if let Some(reason) = settled.reason.as_ref().filter(|_| !settled.proven) {
                    failure.evidence.push(reason.clone());
                }
                // Told once: the expectations of one probe fail for one reason.
                if !std::mem::replace(&mut self.state.explained, true) {
                    let said = self.state.control_plane.iter();
                    failure.evidence.extend(said.map(|line| format!("istiod: {line}")));
                    analysis::attach(&mut failure, scenario, &self.state.applied, &self.state.ambient);
                }
                self.finished(index, step, Verdict::Failed, took, Some(failure));
                Verdict::Failed
            }
            Judgement::NotShown { reason, help } => {
                let failure =
                    Diagnostic::error("E0520", format!("not shown: {reason}")).at(step.place.clone(), "").help(help);
                self.finished(index, step, Verdict::NotShown, took, Some(failure));
                Verdict::NotShown
            }
        }
    }
}

/// What a group came to.
struct Tried {
    judgements: Vec<Judgement>,
    settled: Settled,
}

fn judge_all(group: &Group<'_>, evidence: &Evidence) -> Vec<Judgement> {
    group.expects.iter().map(|(_, _, e)| expect::judge(&e.what, e.negated, evidence)).collect()
}

/// Whether repeating the command can change the answer.
fn is_about_exec(what: &Expectation) -> bool {
    !matches!(what, Expectation::Listener { .. } | Expectation::Cluster { .. } | Expectation::List { .. })
}

/// Whether it cannot be judged without the scenario's gateway.
fn is_about_gateway(what: &Expectation) -> bool {
    matches!(
        what,
        Expectation::Via { .. }
            | Expectation::Path(_)
            | Expectation::Peer(_)
            | Expectation::Log { .. }
            | Expectation::Listener { .. }
    )
}

fn evidence_kind(what: &Expectation) -> EvidenceKind {
    match what {
        Expectation::Log { .. } => EvidenceKind::Log,
        Expectation::List { .. } => EvidenceKind::Diff,
        Expectation::Listener { .. } | Expectation::Cluster { .. } => EvidenceKind::Config,
        _ => EvidenceKind::Path,
    }
}

/// `stable 2s`, `stable 3x`: how long, and how often in a row, all must hold.
struct Steadiness {
    times: u32,
    duration: Duration,
    held: u32,
    since: Option<Instant>,
}

impl Steadiness {
    fn of(group: &Group<'_>) -> Steadiness {
        let mut all = Steadiness { times: 1, duration: Duration::ZERO, held: 0, since: None };
        for stable in group.expects.iter().filter_map(|(_, _, e)| e.stable) {
            match stable {
                Stable::Times(n) => all.times = all.times.max(n),
                Stable::For(d) => all.duration = all.duration.max(d),
            }
        }
        all
    }

    /// It held once more. True when that is enough.
    fn holds(&mut self) -> bool {
        self.held += 1;
        let since = *self.since.get_or_insert_with(Instant::now);
        self.held >= self.times && since.elapsed() >= self.duration
    }

    fn broke(&mut self) {
        self.held = 0;
        self.since = None;
    }

    /// The time that holding itself takes is granted beyond the limit.
    fn allowance(&self) -> Duration {
        self.duration + STABLE_LOOK * self.times.saturating_sub(1)
    }
}

/// `exec local`: on this machine, outside the mesh.
async fn run_local(lab: bool, command: Vec<String>) -> Result<Probe, Error> {
    if lab {
        return Err(Error::Absent {
            message: "`exec local` needs an outside client, which the lab does not have yet".into(),
            help: "run it from a pod without a sidecar: `exec NAME.NAMESPACE …`".into(),
        });
    }
    let Some((program, arguments)) = command.split_first() else {
        return Err(Error::Absent { message: "no command".into(), help: String::new() });
    };
    let begun = Instant::now();
    let marker = format!("<egress-scn {}>", uuid::Uuid::new_v4());
    let instrumented = curl::instrument(&command, &marker, |name| std::fs::read_to_string(name).ok());
    let arguments = instrumented.as_ref().map_or(arguments, |i| &i.command[1..]);
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|e| Error::Absent {
            message: format!("{program} could not be run on this machine: {e}"),
            help: String::new(),
        })?;
    let (mut stdout, mut stderr) = (output.stdout, output.stderr);
    let transfers = instrumented.map_or(vec![], |i| i.strip(&mut stdout, &mut stderr));
    Ok(Probe {
        workload: None,
        pod: String::new(),
        command,
        exit: output.status.code().unwrap_or(-1),
        stdout,
        stderr,
        transfers,
        took: begun.elapsed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steadiness_counts_in_a_row() {
        let mut stable = Steadiness { times: 3, duration: Duration::ZERO, held: 0, since: None };
        assert!(!stable.holds());
        assert!(!stable.holds());
        stable.broke();
        assert!(!stable.holds());
        assert!(!stable.holds());
        assert!(stable.holds());
    }

    #[tokio::test]
    async fn a_local_command_is_run_as_it_is() {
        let command = ["sh", "-c", "printf out; printf err >&2; exit 7"].map(str::to_owned).to_vec();
        let probe = run_local(false, command).await.unwrap();
        assert_eq!((probe.exit, probe.stdout.as_slice(), probe.stderr.as_slice()), (7, &b"out"[..], &b"err"[..]));
        assert!(probe.transfers.is_empty());
    }

    #[tokio::test]
    async fn real_curl_accounts_for_itself_and_its_output_is_unchanged() {
        let line = ["curl", "-s", "-w", "code=%{http_code}\\n", "http://127.0.0.1:1/"].map(str::to_owned).to_vec();
        let plain = std::process::Command::new("curl").args(&line[1..]).output().unwrap();
        let probe = run_local(false, line).await.unwrap();
        assert_eq!(probe.exit, 7);
        assert_eq!(String::from_utf8_lossy(&probe.stdout), String::from_utf8_lossy(&plain.stdout));
        assert_eq!(String::from_utf8_lossy(&probe.stderr), String::from_utf8_lossy(&plain.stderr));
        assert_eq!(probe.transfers.len(), 1);
        assert_eq!(probe.transfers[0]["exitcode"], 7);
    }
}
