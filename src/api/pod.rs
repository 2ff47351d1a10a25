//! What the streams share: which pod and which container is meant.

use super::context::Context;
use super::failure::Failure;
use super::object;
use super::request::Target;
use super::write;
use serde_json::Value;
use std::sync::Arc;

/// The pod a stream goes to. It must be on a node.
pub fn of(ctx: &Context, target: &Target) -> Result<Arc<Value>, Failure> {
    let pod = write::live(&ctx.store.lock(), target)?;
    if object::text(&pod, &["spec", "nodeName"]).is_empty() {
        return Err(Failure::bad_request(format!("pod {} does not have a host assigned", object::name(&pod))));
    }
    Ok(pod)
}

/// The container that is named, or the only one.
pub fn container(pod: &Value, asked: Option<&str>) -> Result<String, Failure> {
    let names = |list: &str| -> Vec<&str> {
        object::list(pod, &["spec", list]).iter().map(|c| object::text(c, &["name"])).collect()
    };
    let (containers, inits) = (names("containers"), names("initContainers"));
    match asked {
        Some(name) if containers.contains(&name) || inits.contains(&name) => Ok(name.to_string()),
        Some(name) => Err(Failure::bad_request(format!("container {name} is not valid for pod {}", object::name(pod)))),
        None if containers.len() == 1 => Ok(containers[0].to_string()),
        None => {
            let init = if inits.is_empty() {
                String::new()
            } else {
                format!(" or one of the init containers: [{}]", inits.join(" "))
            };
            Err(Failure::bad_request(format!(
                "a container name must be specified for pod {}, choose one of: [{}]{init}",
                object::name(pod),
                containers.join(" ")
            )))
        }
    }
}
