//! Running a command in a pod, over WebSocket. stdout, stderr and the exit code come back whole.

use super::{Cluster, Error, Pod};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::AttachParams;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a command in a pod did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The exit code; 128 + N for signal N.
    pub exit: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub took: Duration,
}

/// Output is buffered in the client until it is read; this much before the server is slowed.
const BUFFER: usize = 256 * 1024;

impl Cluster {
    /// Runs `command` in the pod's container and returns when it has ended.
    ///
    /// # Errors
    /// [`Error::Refused`] when it could not be started (no such container, no such program);
    /// [`Error::Broken`] when the stream broke before the exit code came.
    pub async fn exec(&self, pod: &Pod, container: Option<&str>, command: &[String]) -> Result<Output, Error> {
        let container = container.unwrap_or(&pod.default_container);
        let doing = format!("running a command in {}/{} ({container})", pod.namespace, pod.name);
        let api: Api<core::Pod> = Api::namespaced(self.client().clone(), &pod.namespace);
        let params = AttachParams::default()
            .container(container)
            .stdin(false)
            .stdout(true)
            .stderr(true)
            .max_stdout_buf_size(BUFFER)
            .max_stderr_buf_size(BUFFER);
        let begun = Instant::now();
        let mut process = api
            .exec(&pod.name, command.iter().map(String::as_str), &params)
            .await
            .map_err(|e| Error::from_kube(doing.clone(), e))?;
        let stdout = process.stdout();
        let stderr = process.stderr();
        let status = process.take_status();
        let (stdout, stderr, status) = tokio::join!(whole(stdout), whole(stderr), async {
            match status {
                Some(status) => status.await,
                None => None,
            }
        });
        let took = begun.elapsed();
        let stdout = stdout.map_err(|e| Error::broken(doing.clone(), &e))?;
        let stderr = stderr.map_err(|e| Error::broken(doing.clone(), &e))?;
        let Some(status) = status else {
            return Err(Error::says(doing, "the stream ended before the exit code came"));
        };
        let exit = exit_code(&doing, &status)?;
        Ok(Output { exit, stdout, stderr, took })
    }
}

async fn whole(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![];
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// The exit code in the Status that ends an exec stream; an error when the command never ran.
fn exit_code(doing: &str, status: &Status) -> Result<i32, Error> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    if status.reason.as_deref() == Some("NonZeroExitCode") {
        let causes = status.details.as_ref().and_then(|d| d.causes.as_ref());
        let code = causes
            .into_iter()
            .flatten()
            .find(|c| c.reason.as_deref() == Some("ExitCode"))
            .and_then(|c| c.message.as_deref()?.parse().ok());
        if let Some(code) = code {
            return Ok(code);
        }
    }
    Err(Error::Refused {
        doing: doing.to_owned(),
        code: status.code.and_then(|c| u16::try_from(c).ok()).filter(|c| *c < 500).unwrap_or(400),
        reason: status.reason.clone().unwrap_or_default(),
        message: status.message.clone().unwrap_or_else(|| "the command could not be run".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(value: serde_json::Value) -> Status {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_exit_code_is_in_the_status() {
        assert_eq!(exit_code("x", &status(json!({"status": "Success"}))).unwrap(), 0);
        let failed = json!({"status": "Failure", "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": "35"}]}});
        assert_eq!(exit_code("x", &status(failed)).unwrap(), 35);
    }

    #[test]
    fn a_command_that_never_ran_is_an_error_not_an_exit_code() {
        let refused = json!({"status": "Failure", "reason": "InternalError", "code": 500,
            "message": "exec: \"curl\": executable file not found in $PATH"});
        let error = exit_code("running", &status(refused)).unwrap_err();
        assert!(!error.is_broken());
        assert!(error.to_string().contains("executable file not found"), "{error}");
    }
}
