//! One probe: an `exec` and the expectations behind it; or expectations about state alone. Tried until
//! all hold, at most within their limit.

use super::event::{Event, EvidenceKind, Verdict};
use super::evidence::{AT_ONCE, Known, Marks, log_patience};
use super::retry::Retry;
use super::scenario::{Runner, Stop};
use super::steadiness::{STABLE_LOOK, Steadiness};
use super::{analysis, curl};
use crate::cluster::{Error, Settled};
use crate::diag::Diagnostic;
use crate::expect::{self, Evidence, Judgement, Need};
use crate::plan::{Exec, Expect, Expectation, Scenario, Step};
use std::time::{Duration, Instant};

/// A probe and what is expected of it. Numbers are steps of the scenario.
pub(super) struct Group<'a> {
    pub exec: Option<(usize, &'a Step, &'a Exec)>,
    pub expects: Vec<(usize, &'a Step, &'a Expect)>,
}

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
        let mut needs = self.needs(scenario, group);
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
        let flush = self.flush_interval().await;
        let at_once = flush.is_some_and(|flush| flush <= AT_ONCE);
        let retry = Retry::new(&given, scenario.within, settled.proven && at_once, every);
        let begun = Instant::now();
        let gateway_optional = !group.expects.iter().any(|(_, _, e)| is_about_gateway(&e.what));
        let mut stable = Steadiness::of(group.expects.iter().filter_map(|(_, _, e)| e.stable));
        let mut number = 1;
        let mut fresh = false;
        loop {
            let patience = log_patience(flush, retry.limit.saturating_sub(begun.elapsed()));
            let evidence = self.evidence(scenario, &needs, gateway_optional, patience, fresh).await?;
            let judgements = judge_all(group, &evidence);
            let exec_fails = match &group.exec {
                Some((_, _, exec)) if !exec.has_expects => self.state.probe.as_ref().is_some_and(|p| p.exit != 0),
                _ => false,
            };
            let fails = exec_fails || judgements.iter().any(|j| matches!(j, Judgement::Fails(_)));
            // Nothing is called failed or not shown on a part of the configuration.
            let shown = judgements.iter().all(|j| matches!(j, Judgement::Holds { .. }));
            if (fails || !shown) && widens(&mut needs) {
                continue;
            }
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
        let patience = log_patience(self.flush_interval().await, Duration::ZERO);
        let Ok(evidence) = self.evidence(scenario, needs, true, patience, false).await else {
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

    /// How long a line of the followed logs may take; a lab's come at once.
    async fn flush_interval(&self) -> Option<Duration> {
        if self.lab { Some(Duration::ZERO) } else { self.state.marks.flush_interval().await }
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
        let gathered = match self.gatherer.gather(cluster, proxies, marks, needs, &known, fresh).await {
            // A pod went since it was looked up: ask those that are there now.
            Err(error) if error.is_not_found() || error.is_broken() => {
                proxies.forget_pods();
                self.gatherer.gather(cluster, proxies, marks, needs, &known, true).await
            }
            gathered => gathered,
        };
        let mut evidence = gathered?;
        self.state_evidence(scenario, needs, &mut evidence).await?;
        Ok(evidence)
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

/// Asks for the whole configuration where a part was looked at; false where all of it was.
fn widens(needs: &mut Vec<Need>) -> bool {
    let all = expect::widened(needs);
    let more = all != *needs;
    *needs = all;
    more
}

fn judge_all(group: &Group<'_>, evidence: &Evidence) -> Vec<Judgement> {
    group.expects.iter().map(|(_, _, e)| expect::judge(&e.what, e.negated, evidence)).collect()
}

/// Whether repeating the command can change the answer.
fn is_about_exec(what: &Expectation) -> bool {
    !what.is_about_state()
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
        Expectation::Only { .. } => EvidenceKind::Diff,
        what if what.is_about_state() => EvidenceKind::Config,
        _ => EvidenceKind::Path,
    }
}
