//! The two folders that manifests may come from, and how a word finds files in them.

use glob::{MatchOptions, Pattern};
use std::path::{Path, PathBuf};
use unicode_normalization::UnicodeNormalization;

/// Entries that a glob looks at, at most.
const MAX_ENTRIES: usize = 20_000;
const MAX_DEPTH: usize = 16;

#[derive(Debug, Clone)]
pub struct Folder {
    pub path: PathBuf,
}

/// Beside the scenario, and the nearest `manifests/` at its side or above.
#[derive(Debug, Clone)]
pub struct Roots {
    folders: Vec<Folder>,
    canonical: Vec<PathBuf>,
    here: Option<PathBuf>,
}

impl Roots {
    pub fn of(scenario: &Path) -> Self {
        let absolute = std::path::absolute(scenario).unwrap_or_else(|_| scenario.to_path_buf());
        let beside = absolute.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
        let manifests = beside.ancestors().map(|a| a.join("manifests")).find(|m| m.is_dir());
        let mut folders = vec![Folder { path: beside }];
        folders.extend(manifests.map(|path| Folder { path }));
        let canonical = folders.iter().filter_map(|f| f.path.canonicalize().ok()).collect();
        Roots { folders, canonical, here: std::env::current_dir().ok() }
    }

    pub fn folders(&self) -> &[Folder] {
        &self.folders
    }

    /// Whether the file, links followed, lies in one of the folders.
    pub fn hold(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|p| self.canonical.iter().any(|root| p.starts_with(root)))
    }

    /// The path as a person here would type it.
    pub fn shown(&self, path: &Path) -> String {
        let short = self.here.as_ref().and_then(|h| path.strip_prefix(h).ok()).unwrap_or(path);
        let shown = short.display().to_string();
        if shown.is_empty() { ".".into() } else { shown }
    }
}

impl Folder {
    /// The files that a word names in this folder, sorted: a file, a folder's manifests, or a glob's.
    pub fn expand(&self, word: &str, globs: bool) -> Result<Vec<PathBuf>, String> {
        let word: String = word.nfc().collect();
        let parts: Vec<&str> = word.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
        let is_glob = globs && word.contains(['*', '?', '[']);
        let mut found = vec![];
        let mut budget = MAX_ENTRIES;
        walk(&self.path, &parts, is_glob, &mut found, &mut budget, MAX_DEPTH)?;
        if !is_glob && found.len() == 1 && found[0].is_dir() {
            let folder = found.remove(0);
            found = entries(&folder, &mut budget)?.into_iter().map(|(_, p)| p).filter(|p| is_manifest(p)).collect();
        } else if is_glob {
            found.retain(|p| is_manifest(p));
        }
        found.retain(|p| p.is_file());
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// The manifests' names, or those of files of steps, for suggestions.
    pub fn names(&self, is_steps: bool) -> Vec<String> {
        let mut budget = MAX_ENTRIES;
        let all = entries(&self.path, &mut budget).unwrap_or_default();
        let is_one = |p: &Path| if is_steps { p.extension().is_some_and(|e| e == "egress") } else { is_manifest(p) };
        all.into_iter().filter(|(_, p)| is_one(p)).map(|(n, _)| n).collect()
    }
}

pub(super) fn is_manifest(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| matches!(e, "yaml" | "yml" | "json"))
}

/// The names in a folder, in NFC, with their paths as they are.
fn entries(folder: &Path, budget: &mut usize) -> Result<Vec<(String, PathBuf)>, String> {
    let mut out = vec![];
    for entry in std::fs::read_dir(folder).map_err(|e| e.to_string())? {
        *budget = budget.checked_sub(1).ok_or("too many files")?;
        let entry = entry.map_err(|e| e.to_string())?;
        if let Some(name) = entry.file_name().to_str() {
            out.push((name.nfc().collect(), entry.path()));
        }
    }
    out.sort();
    Ok(out)
}

fn walk(
    folder: &Path,
    parts: &[&str],
    globs: bool,
    found: &mut Vec<PathBuf>,
    budget: &mut usize,
    depth: usize,
) -> Result<(), String> {
    let Some((part, rest)) = parts.split_first() else {
        found.push(folder.to_path_buf());
        return Ok(());
    };
    if depth == 0 || !folder.is_dir() {
        return Ok(());
    }
    if globs && *part == "**" {
        walk(folder, rest, globs, found, budget, depth - 1)?;
        for (name, path) in entries(folder, budget)? {
            if !name.starts_with('.') && path.is_dir() {
                walk(&path, parts, globs, found, budget, depth - 1)?;
            }
        }
        return Ok(());
    }
    let options =
        MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let pattern = match globs {
        true => Some(Pattern::new(part).map_err(|e| e.to_string())?),
        false => None,
    };
    for (name, path) in entries(folder, budget)? {
        let fits = pattern.as_ref().map_or(name == *part, |p| p.matches_with(&name, options));
        if fits {
            walk(&path, rest, globs, found, budget, depth - 1)?;
        }
    }
    Ok(())
}
