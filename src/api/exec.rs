//! `pods/NAME/exec` and `attach`: over WebSocket, or over plain SPDY as kubectl before 1.30 asks.

use super::answer::Answer;
use super::context::Context;
use super::exec_session::Wanted;
use super::failure::Failure;
use super::kubelet::{ExecRequest, Kubelet};
use super::object;
use super::pod;
use super::request::{Request, Target};
use super::{exec_spdy, exec_websocket, spdy_upgrade, websocket};
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;

pub async fn answer(
    ctx: Arc<Context>,
    target: &Target,
    request: &Request,
    upgrade: Option<OnUpgrade>,
) -> Result<Answer, Failure> {
    let query = &request.query;
    let pod = pod::of(&ctx, target)?;
    let container = pod::container(&pod, query.get("container"))?;
    let attach = target.subresource() == "attach";
    let command: Vec<String> = if attach { vec![] } else { query.all("command").map(str::to_string).collect() };
    if command.is_empty() && !attach {
        return Err(Failure::bad_request("you must specify at least one command for the container"));
    }
    let (stdin, stdout, stderr) = (query.flag("stdin"), query.flag("stdout"), query.flag("stderr"));
    if !stdin && !stdout && !stderr {
        return Err(Failure::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    let tty = query.flag("tty");
    let wanted = ExecRequest {
        namespace: object::namespace(&pod).into(),
        pod: object::name(&pod).into(),
        container: Some(container),
        command,
        stdin,
        tty,
    };
    begin(
        ctx.kubelet.clone(),
        request,
        upgrade,
        wanted,
        Wanted { stdin, stdout, stderr: stderr && !tty, from_api: true },
    )
}

/// Accepts the upgrade and runs the command over it.
pub fn begin(
    kubelet: Arc<dyn Kubelet>,
    request: &Request,
    upgrade: Option<OnUpgrade>,
    command: ExecRequest,
    wanted: Wanted,
) -> Result<Answer, Failure> {
    if spdy_upgrade::is_asked(request) {
        let (answer, upgrade) = spdy_upgrade::accept(request, upgrade, &[exec_spdy::PROTOCOL])?;
        tokio::spawn(async move {
            if let Some(connection) = spdy_upgrade::connection(upgrade).await {
                exec_spdy::run(kubelet, connection, command, wanted).await;
            }
        });
        return Ok(answer);
    }
    let accepted = websocket::accept(request, upgrade, exec_websocket::PROTOCOLS)?;
    let upgrade = accepted.upgrade;
    tokio::spawn(async move {
        if let Some(socket) = websocket::socket(upgrade).await {
            exec_websocket::run(kubelet, socket, command, wanted).await;
        }
    });
    Ok(accepted.answer)
}
