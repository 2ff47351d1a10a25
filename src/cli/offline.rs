//! The proxy of a world made from files (`-f`), for the subcommands that ask for one.

use super::{fail, output};
use crate::check;
use crate::mesh::documents::Documents;
use crate::mesh::{Compiler, Generated};
use std::path::PathBuf;

/// What the proxy gets from these documents. `Err` is the exit code, with the reason already printed.
pub fn generate(files: &[PathBuf], proxy: &str) -> Result<Generated, i32> {
    let objects = check::documents(files).map_err(|problems| output::problems(&problems, 2))?;
    let documents = objects.into_iter().map(|object| (*object.body).clone());
    let documents = Documents::read(documents).map_err(|message| fail(&message, 2))?;
    let wanted = documents.proxy(proxy).map_err(|none| {
        let there = match none.pods.as_slice() {
            [] => "they have neither a Pod nor a Deployment".to_owned(),
            pods => format!("their pods: {}", pods.join(", ")),
        };
        fail(&format!("the documents have no proxy \"{proxy}\"; {there}"), 2)
    })?;
    output::remarks("note", &documents.notes);
    let generated = Compiler::new(&documents.world).compile(&wanted);
    let said: Vec<String> = generated.warnings.iter().map(|line| line.replacen('\t', " ", 1)).collect();
    output::remarks("istiod", &said);
    Ok(generated)
}

/// The proxy's name, when it stands behind the files and was read as one of them.
pub fn proxy_of(given: Option<String>, last: &mut Vec<PathBuf>) -> Result<String, i32> {
    if let Some(name) = given {
        return Ok(name);
    }
    if last.len() > 1 && last.last().is_some_and(|path| !path.exists()) {
        let name = last.pop().unwrap_or_default();
        return Ok(name.to_string_lossy().into_owned());
    }
    Err(fail("which proxy? Name it as NAME.NAMESPACE or deploy/NAME.NAMESPACE", 2))
}
