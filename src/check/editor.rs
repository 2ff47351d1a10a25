//! What an editor asks while a person types: checks of texts that are not saved, and what there is to name.

use super::files::{Cache, Files};
use super::places::Roots;
use super::{dedup, file, manifest as one, objects};
use crate::diag::{Diagnostic, Place, Source};
use crate::plan::{self, Expanded, ManifestObject, Manifests, Scenario};
use crate::syntax::Parsed;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Texts that stand for files, by the files' canonical paths.
pub type Unsaved = HashMap<PathBuf, String>;

/// Reads one scenario whose text is at hand; manifests that are being edited are read as they are in the editor.
pub fn source_beside(source: &Arc<Source>, path: &Path, unsaved: &Unsaved) -> (Vec<Scenario>, Vec<Diagnostic>) {
    let mut scenarios = vec![];
    let mut found = file(source, path, &Cache::with(unsaved.clone()), &mut |scenario| scenarios.push(scenario));
    dedup(&mut found);
    (scenarios, found)
}

/// What is wrong with a manifest by itself. A text that is no manifest (neither `apiVersion` nor `kind` stands at the
/// start of a line) is nobody's mistake.
pub fn manifest(source: &Arc<Source>) -> Vec<Diagnostic> {
    let is_manifest = |line: &str| ["apiVersion:", "kind:", "{"].iter().any(|start| line.starts_with(start));
    if !source.text.lines().any(is_manifest) {
        return vec![];
    }
    let whole = Place { source: source.clone(), span: 0..source.text.len() };
    match objects::read(&source.text, &whole, &|span| Place { source: source.clone(), span }) {
        Ok(objects) => objects.iter().flat_map(one::check).collect(),
        Err(found) => found,
    }
}

/// Every object that a scenario at this path can name, and what the target starts with; what cannot be read is left out.
pub fn surroundings(path: &Path, unsaved: &Unsaved) -> Vec<ManifestObject> {
    let cache = Cache::with(unsaved.clone());
    let files = Files::new(Roots::of(path), &cache);
    let mut out = vec![];
    let mut seen = std::collections::HashSet::new();
    for folder in files.roots().folders() {
        for ending in ["yaml", "yml", "json"] {
            for found in folder.expand(&format!("**/*.{ending}"), true).unwrap_or_default() {
                if files.roots().hold(&found) && seen.insert(found.clone()) {
                    out.extend(files.read(&found).unwrap_or_default());
                }
            }
        }
    }
    out
}

/// The objects of the files that a word of `apply` names at this path; none when it names nothing.
pub fn word(path: &Path, word: &str, unsaved: &Unsaved) -> Vec<ManifestObject> {
    let cache = Cache::with(unsaved.clone());
    let files = Files::new(Roots::of(path), &cache);
    let nowhere = Place { source: Arc::new(Source { name: String::new(), text: String::new() }), span: 0..0 };
    let word = Expanded { text: word.to_owned(), quoted: false, span: 0..0 };
    files.files(&word, &nowhere).unwrap_or_default()
}

/// The files of named steps that a scenario includes.
pub fn included(parsed: &Parsed, path: &Path, unsaved: &Unsaved) -> Vec<Parsed> {
    let cache = Cache::with(unsaved.clone());
    plan::included(parsed, &Files::new(Roots::of(path), &cache))
}

/// What `include` can name at this path.
pub fn step_files(path: &Path) -> Vec<String> {
    let own = path.file_name().and_then(|name| name.to_str());
    let mut out: Vec<String> = Roots::of(path).folders().iter().flat_map(|folder| folder.names(true)).collect();
    out.retain(|name| Some(name.as_str()) != own);
    out
}

/// What `apply` can name at this path: files, and folders of files with a `/` behind.
pub fn manifest_names(path: &Path) -> Vec<String> {
    let roots = Roots::of(path);
    let mut out: Vec<String> = roots.folders().iter().flat_map(|folder| folder.names(false)).collect();
    for folder in roots.folders() {
        for found in folder.expand("*/*", true).unwrap_or_default() {
            let inside = found.strip_prefix(&folder.path).ok().and_then(Path::to_str);
            if let Some((name, _)) = inside.and_then(|inside| inside.split_once('/')) {
                out.extend([format!("{name}/"), inside.unwrap_or_default().to_owned()]);
            }
        }
    }
    out.sort();
    out.dedup();
    out
}
