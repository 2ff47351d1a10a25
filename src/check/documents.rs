//! Documents named on the command line (`-f`): objects with their places, and mesh configs.

use super::{files, objects, places, text, yaml};
use crate::diag::{Diagnostic, Place, Source};
use crate::plan::ManifestObject;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The documents of files, of the manifests in folders, and of standard input (`-`), in order. A document without
/// `apiVersion`, `kind` and `metadata` is a MeshConfig and comes as it is.
///
/// # Errors
/// Everything that cannot be read, or is neither.
pub fn documents(paths: &[PathBuf]) -> Result<Vec<ManifestObject>, Vec<Diagnostic>> {
    let mut out = vec![];
    let mut errors = vec![];
    for path in paths {
        match expand(path) {
            Ok(found) => found.iter().for_each(|path| read(path, &mut out, &mut errors)),
            Err(why) => errors.push(Diagnostic::error("E0303", format!("cannot read {}: {why}", path.display()))),
        }
    }
    if errors.is_empty() { Ok(out) } else { Err(errors) }
}

/// A folder stands for the manifests in it.
fn expand(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = std::fs::read_dir(path).map_err(|e| e.to_string())?;
    let mut found: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    found.retain(|path| path.is_file() && places::is_manifest(path));
    found.sort();
    if found.is_empty() { Err("no .yaml, .yml or .json file is in it".into()) } else { Ok(found) }
}

fn read(path: &Path, out: &mut Vec<ManifestObject>, errors: &mut Vec<Diagnostic>) {
    let (name, text) = if path == Path::new("-") {
        ("standard input".to_owned(), standard_input())
    } else {
        (path.display().to_string(), text::read(path, files::MAX_MANIFEST))
    };
    let text = match text {
        Ok(text) => text,
        Err(why) => return errors.push(Diagnostic::error("E0303", format!("cannot read {name}: {why}"))),
    };
    let source = Arc::new(Source { name, text });
    let place = |span| Place { source: source.clone(), span };
    let documents = match yaml::read(&source.text) {
        Ok(documents) => documents,
        Err(found) => return errors.extend(found.into_iter().map(|error| objects::yaml_error(error, &place))),
    };
    for document in documents {
        let is_mesh_config = document.value.is_object()
            && ["apiVersion", "kind", "metadata"].iter().all(|field| document.value.get(field).is_none());
        if is_mesh_config {
            let place = place(document.span);
            out.push(ManifestObject::new(document.value, place, document.spans));
        } else {
            objects::objects(document, &place, out, errors);
        }
    }
}

fn standard_input() -> Result<String, String> {
    let mut text = String::new();
    let limit = files::MAX_MANIFEST + 1;
    std::io::stdin().lock().take(limit).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if text.len() as u64 == limit {
        Err(format!("it is larger than {} MiB", files::MAX_MANIFEST >> 20))
    } else {
        Ok(text)
    }
}

/// The line of the field that a message starts with (`spec.http[0].route: …`, or a path alone), as far as the object
/// has it; else of the object.
pub fn line_of_path(object: &ManifestObject, message: &str) -> usize {
    let path: String = message
        .trim_start_matches(['"', '.'])
        .chars()
        .take_while(|c| c.is_alphanumeric() || "._-[]/".contains(*c))
        .collect();
    let mut pointer = String::new();
    let mut found = None;
    for part in path.split(['.', '[', ']']).filter(|part| !part.is_empty()) {
        pointer.push('/');
        pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
        match object.spans.iter().find(|(known, _)| *known == pointer) {
            Some((_, span)) => found = Some(span.clone()),
            None => break,
        }
    }
    Place { source: object.place.source.clone(), span: found.unwrap_or(object.place.span.clone()) }.line()
}
