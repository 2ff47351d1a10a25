//! `capture` and `diff`: values of the last exec or of a proxy, kept under a name, and two of them side
//! by side.

use super::scenario::Runner;
use crate::cluster::Error;
use crate::expect::{self, Captured, Need};
use crate::plan::{CaptureSource, Expectation, Operand, ProxyList, Scenario, Step, StepKind, Workload};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

impl Runner {
    pub(super) async fn capture(&mut self, scenario: &Scenario, source: &CaptureSource) -> Result<Captured, Error> {
        match source {
            CaptureSource::List { list, on } => {
                let names = self.list(scenario, *list, on.as_ref()).await?;
                self.baseline(scenario, on.as_ref()).await?;
                Ok(Captured::List(names))
            }
            CaptureSource::Json(path) => {
                let stdout = self.last_stdout()?;
                let body = stdout.find(['{', '[']).map_or("", |at| &stdout[at..]);
                let value: Value = serde_json::from_str(body.trim()).map_err(|error| Error::Absent {
                    message: format!("the last exec printed no JSON: {error}"),
                    help: "curl prints the body without -I and -o".into(),
                })?;
                value_at(&value, path, "the last exec's output").map(Captured::Text)
            }
            CaptureSource::Object { object, path } => {
                let label = format!("{} {}", object.kind, object.name);
                let Some(found) = self.object(object, &scenario.namespace).await? else {
                    return Err(Error::Absent {
                        message: format!("there is no {label} to capture from"),
                        help: format!("see `kubectl get {} -A`", object.kind),
                    });
                };
                value_at(&found, path, &label).map(Captured::Text)
            }
            CaptureSource::Stdout => Ok(Captured::Text(self.last_stdout()?.trim_end_matches('\n').to_owned())),
            CaptureSource::Header(name) => {
                let stdout = self.last_stdout()?;
                header(&stdout, name).map(Captured::Text).ok_or_else(|| Error::Absent {
                    message: format!("the last exec printed no header {name}"),
                    help: "curl prints headers with -i or -I".into(),
                })
            }
        }
    }

    /// The names of a proxy's resources after propagation; of each of its pods, once.
    async fn list(
        &mut self,
        scenario: &Scenario,
        list: ProxyList,
        on: Option<&Workload>,
    ) -> Result<Vec<String>, Error> {
        let workload = match on.or(self.state.workload.as_ref()) {
            Some(workload) => workload.clone(),
            None => scenario.gateway.clone(),
        };
        self.settle(scenario, &[Need::Dump(workload.clone())]).await?;
        let mut names = vec![];
        for proxy in self.proxies.of(&workload).await? {
            let dump = proxy.dump(self.gatherer.change, false).await?;
            names.extend(expect::list(&dump, list));
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Keeps the proxy's whole configuration where the scenario asks what alone changed.
    async fn baseline(&mut self, scenario: &Scenario, on: Option<&Workload>) -> Result<(), Error> {
        let asks = |s: &Step| matches!(&s.kind, StepKind::Expect(e) if matches!(e.what, Expectation::Only { .. }));
        let workload = on.or(self.state.workload.as_ref()).cloned();
        if let (Some(workload), true) = (workload, scenario.steps.iter().any(asks)) {
            let dumps = self.raw_dumps(&workload).await?;
            self.state.baselines.insert(workload.to_string(), dumps);
        }
        Ok(())
    }

    fn last_stdout(&self) -> Result<String, Error> {
        match &self.state.probe {
            Some(probe) => Ok(String::from_utf8_lossy(&probe.stdout).into_owned()),
            None => Err(Error::Absent { message: "there was no exec before this".into(), help: String::new() }),
        }
    }

    pub(super) async fn diff(
        &mut self,
        scenario: &Scenario,
        left: &Operand,
        right: &Operand,
    ) -> Result<Vec<String>, Error> {
        let left = self.operand(scenario, left).await?;
        let right = self.operand(scenario, right).await?;
        Ok(changed_lines(&left, &right))
    }

    async fn operand(&mut self, scenario: &Scenario, operand: &Operand) -> Result<Vec<String>, Error> {
        match operand {
            Operand::Number(number) => Ok(vec![number.to_string()]),
            Operand::List { list, on } => self.list(scenario, *list, on.as_ref()).await,
            Operand::Capture(name) => match self.state.captures.get(name) {
                Some(Captured::List(values)) => Ok(values.clone()),
                Some(Captured::Text(text)) => Ok(text.lines().map(str::to_owned).collect()),
                None => Err(Error::Absent { message: format!("nothing was captured as {name}"), help: String::new() }),
            },
        }
    }
}

/// The lines that only one side has, and how many both have.
fn changed_lines(left: &[String], right: &[String]) -> Vec<String> {
    let left: Vec<&str> = left.iter().map(String::as_str).collect();
    let right: Vec<&str> = right.iter().map(String::as_str).collect();
    let diff = TextDiff::from_slices(&left, &right);
    let mut lines = vec![];
    let mut same = 0;
    for change in diff.iter_all_changes() {
        match change.tag() {
            ChangeTag::Equal => same += 1,
            ChangeTag::Delete => lines.push(format!("- {}", change.value())),
            ChangeTag::Insert => lines.push(format!("+ {}", change.value())),
        }
    }
    lines.push(format!("  {same} the same ({} → {})", left.len(), right.len()));
    lines
}

/// The values that a path finds, a line each.
fn value_at(value: &Value, path: &str, of: &str) -> Result<String, Error> {
    let absent =
        |message| Error::Absent { message, help: "look at it with `exec` and `jq`, or `kubectl get -o json`".into() };
    match expect::json_values(value, path) {
        Ok(found) if found.is_empty() => Err(absent(format!("{path} finds nothing in {of}"))),
        Ok(found) => Ok(found.join("\n")),
        Err(why) => Err(absent(why)),
    }
}

/// A header's value in what curl printed, of the last response that has it.
fn header(stdout: &str, name: &str) -> Option<String> {
    let mut fields = stdout.lines().filter_map(|line| line.split_once(':'));
    fields.rfind(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_shows_what_only_one_side_has() {
        let words = |s: &str| s.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(changed_lines(&words("a b c"), &words("a c d")), ["- b", "+ d", "  2 the same (3 → 3)"]);
    }

    #[test]
    fn the_last_response_has_the_header() {
        let stdout = "HTTP/1.1 301 Moved\r\nLocation: /a\r\n\r\nHTTP/1.1 200 OK\r\nlocation: /b: c\r\n\r\n";
        assert_eq!(header(stdout, "Location").as_deref(), Some("/b: c"));
        assert_eq!(header(stdout, "x"), None);
    }
}
