//! Running a probe's command: in a pod of its workload, or on this machine, with curl's own account taken
//! from its output.

use super::scenario::Runner;
use super::{curl, outside};
use crate::cluster::{Cluster, Error, Pod};
use crate::expect::{Captured, Probe};
use crate::plan::{Exec, Part, Workload};
use std::time::Instant;

impl Runner {
    /// Runs the command once; the probe is kept for the expectations.
    pub(super) async fn run_exec(&mut self, exec: &Exec) -> Result<(), Error> {
        self.captured(exec)?;
        if exec.command.iter().any(|text| text.0.contains(&Part::Capture("ingress".into()))) {
            let address = outside::ingress(&self.cluster).await?;
            self.state.captures.insert("ingress".into(), Captured::Text(address));
        }
        let command = self.words(exec);
        let probe = match &exec.workload {
            Some(workload) => self.run_in_pod(workload, exec, command).await?,
            None => match outside::client(&self.cluster, self.lab).await? {
                Some(client) => run_in_client(&self.cluster, &client, command).await?,
                None => run_local(command).await?,
            },
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
        if crate::plan::curl::is_curl(&command) {
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

    /// # Errors
    /// A capture without a value: the step that takes it did not run.
    fn captured(&self, exec: &Exec) -> Result<(), Error> {
        let parts = exec.command.iter().flat_map(|text| &text.0);
        let missing = parts.into_iter().find_map(|part| match part {
            Part::Capture(name) if name != "ingress" && !self.state.captures.contains_key(name) => Some(name),
            _ => None,
        });
        match missing {
            None => Ok(()),
            Some(name) => Err(Error::Absent {
                message: format!("nothing was captured as {name}: the step that captures it did not run"),
                help: String::new(),
            }),
        }
    }

    /// The command with captures filled in.
    pub(super) fn words(&self, exec: &Exec) -> Vec<String> {
        exec.command.iter().map(|t| self.state.text(t)).collect()
    }
}

/// `exec local` in a lab: in its outside client, which sees this machine's files, in the folder that the run stands in.
async fn run_in_client(cluster: &Cluster, client: &Pod, command: Vec<String>) -> Result<Probe, Error> {
    let marker = format!("<egress-scn {}>", uuid::Uuid::new_v4());
    let instrumented = curl::instrument(&command, &marker, |name| std::fs::read_to_string(name).ok());
    let words = instrumented.as_ref().map_or(&command, |i| &i.command);
    let folder = std::env::current_dir().unwrap_or_else(|_| "/".into()).display().to_string();
    let there = ["sh", "-c", r#"cd "$0" 2>/dev/null; exec "$@""#].map(str::to_owned).into_iter().chain([folder]);
    let words: Vec<String> = there.chain(words.iter().cloned()).collect();
    let mut output = cluster.exec(client, None, &words).await?;
    let transfers = instrumented.map_or(vec![], |i| i.strip(&mut output.stdout, &mut output.stderr));
    Ok(Probe {
        workload: None,
        pod: client.name.clone(),
        command,
        exit: output.exit,
        stdout: output.stdout,
        stderr: output.stderr,
        transfers,
        took: output.took,
    })
}

/// `exec local`: on this machine, outside the mesh.
async fn run_local(command: Vec<String>) -> Result<Probe, Error> {
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

    #[tokio::test]
    async fn a_local_command_is_run_as_it_is() {
        let command = ["sh", "-c", "printf out; printf err >&2; exit 7"].map(str::to_owned).to_vec();
        let probe = run_local(command).await.unwrap();
        assert_eq!((probe.exit, probe.stdout.as_slice(), probe.stderr.as_slice()), (7, &b"out"[..], &b"err"[..]));
        assert!(probe.transfers.is_empty());
    }

    #[tokio::test]
    async fn real_curl_accounts_for_itself_and_its_output_is_unchanged() {
        let line = ["curl", "-s", "-w", "code=%{http_code}\\n", "http://127.0.0.1:1/"].map(str::to_owned).to_vec();
        let plain = std::process::Command::new("curl").args(&line[1..]).output().unwrap();
        let probe = run_local(line).await.unwrap();
        assert_eq!(probe.exit, 7);
        assert_eq!(String::from_utf8_lossy(&probe.stdout), String::from_utf8_lossy(&plain.stdout));
        assert_eq!(String::from_utf8_lossy(&probe.stderr), String::from_utf8_lossy(&plain.stderr));
        assert_eq!(probe.transfers.len(), 1);
        assert_eq!(probe.transfers[0]["exitcode"], 7);
    }
}
