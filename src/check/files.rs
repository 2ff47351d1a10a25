//! The words of `apply` as files: beside the scenario, then in the nearest `manifests/` upwards.
//! Never a URL, never outside these two folders; a word that finds nothing is an error.

use super::manifest;
use super::objects;
use super::places::{self, Roots};
use super::text;
use crate::diag::suggest::nearest;
use crate::diag::{Diagnostic, Place, Source};
use crate::plan::{Expanded, Inline, ManifestObject, Manifests};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A manifest larger than this is refused (bytes).
pub const MAX_MANIFEST: u64 = 8 << 20;

type Objects = Result<Vec<ManifestObject>, Vec<Diagnostic>>;

/// Files that were read already, and what was found in them, whatever scenario asked for them.
#[derive(Default)]
pub struct Cache {
    files: RefCell<HashMap<PathBuf, Objects>>,
    /// What was found in an object, by where it stands.
    judged: RefCell<HashMap<(String, usize), Vec<Diagnostic>>>,
    /// Texts that are read in place of files, by canonical path: what stands in an editor.
    unsaved: HashMap<PathBuf, String>,
}

/// The manifests that one scenario file can name.
pub struct Files<'c> {
    roots: Roots,
    cache: &'c Cache,
    /// Words that were looked up already: scenarios of one file often apply the same.
    found: RefCell<HashMap<(String, bool), Vec<PathBuf>>>,
}

impl Manifests for Files<'_> {
    fn files(&self, word: &Expanded, place: &Place) -> Objects {
        let key = (word.text.clone(), word.quoted);
        let known = self.found.borrow().get(&key).cloned();
        let found = match known {
            Some(found) => found,
            None => {
                let found = self.find(word, place, false).map_err(|d| vec![*d])?;
                self.found.borrow_mut().insert(key, found.clone());
                found
            }
        };
        let mut out = vec![];
        let mut errors = vec![];
        for path in found {
            match self.cache.read(&path, &self.roots.shown(&path), place) {
                Ok(objects) => out.extend(objects),
                Err(found) => errors.extend(found),
            }
        }
        if errors.is_empty() { Ok(out) } else { Err(errors) }
    }

    fn inline(&self, inline: &Inline, place: &Place) -> Objects {
        objects::read(&inline.text, place, &|span| Place {
            source: inline.source.clone(),
            span: inline.in_source(&span),
        })
    }

    fn document(&self, inline: &Inline, place: &Place) -> Result<serde_json::Value, Vec<Diagnostic>> {
        objects::document(&inline.text, place, &|span| Place {
            source: inline.source.clone(),
            span: inline.in_source(&span),
        })
    }

    fn steps(&self, word: &Expanded, place: &Place) -> Result<Arc<Source>, Vec<Diagnostic>> {
        let found = self.find(word, place, true).map_err(|d| vec![*d])?;
        let path = &found[0];
        let shown = self.roots.shown(path);
        let text = self.cache.text(path, super::MAX_SCENARIO).map_err(|why| {
            vec![Diagnostic::error("E0310", format!("cannot read {shown}: {why}")).at(place.clone(), "")]
        })?;
        Ok(Arc::new(Source { name: shown, text }))
    }
}

impl<'c> Files<'c> {
    pub fn new(roots: Roots, cache: &'c Cache) -> Files<'c> {
        Files { roots, cache, found: RefCell::default() }
    }

    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// What is there before any scenario: `manifests/base/`, which the lab starts with. What cannot
    /// be read of it is left out: nothing here depends on it.
    pub fn ambient(&self) -> Vec<ManifestObject> {
        let Some(folder) = self.roots.folders().last().filter(|f| f.path.ends_with("manifests")) else { return vec![] };
        let nowhere = Place { source: Arc::new(Source { name: String::new(), text: String::new() }), span: 0..0 };
        let files = folder.expand("base", false).unwrap_or_default();
        files
            .into_iter()
            .filter_map(|path| self.cache.read(&path, &self.roots.shown(&path), &nowhere).ok())
            .flatten()
            .collect()
    }

    /// The objects of one file.
    pub fn read(&self, path: &Path) -> Objects {
        let nowhere = Place { source: Arc::new(Source { name: String::new(), text: String::new() }), span: 0..0 };
        self.cache.read(path, &self.roots.shown(path), &nowhere)
    }

    /// `is_steps`: a file of named steps is meant, else manifests.
    fn find(&self, word: &Expanded, place: &Place, is_steps: bool) -> Result<Vec<PathBuf>, Box<Diagnostic>> {
        let text = word.text.as_str();
        let outside = |why: &str| {
            Box::new(
                Diagnostic::error("E0302", format!("`{text}` is outside of the manifests"))
                    .at(place.clone(), why)
                    .help("manifests stand beside the scenario or in the nearest `manifests/` folder above it"),
            )
        };
        if text.is_empty() {
            return Err(Box::new(Diagnostic::error("E0301", "an empty word names no file").at(place.clone(), "")));
        }
        let habit = |title: String, label: &str| Box::new(Diagnostic::error("E0107", title).at(place.clone(), label));
        if text.starts_with("<<") && !word.quoted {
            let tag = text.trim_start_matches(['<', '-', '~']);
            let label = format!("write `<<{tag}`: the closing word may be indented");
            return Err(habit(format!("`{text}` opens no block"), &label));
        }
        if text.starts_with('-') && !word.quoted {
            return Err(habit(format!("`apply` has no option `{text}`"), "write the files alone: apply FILE…"));
        }
        if text.ends_with(".egress") && !is_steps {
            return Err(habit(
                format!("`{text}` is a scenario, not a manifest"),
                "Kubernetes objects stand in .yaml files",
            ));
        }
        if is_steps && places::is_manifest(Path::new(text)) {
            return Err(habit(
                format!("`{text}` is a manifest, and names no steps"),
                "write apply FILE where it is to be applied",
            ));
        }
        if text.contains("://") {
            return Err(Box::new(
                Diagnostic::error("E0304", "a URL is never applied")
                    .at(place.clone(), "would change under the scenario's feet")
                    .help("download it, look at it, and keep it beside the scenario or in `manifests/`"),
            ));
        }
        if text.starts_with(['/', '~', '\\']) || Path::new(text).is_absolute() {
            return Err(outside("an absolute path"));
        }
        if text.split(['/', '\\']).any(|part| part == "..") {
            return Err(outside("`..` leads out"));
        }
        for root in self.roots.folders() {
            let found = root.expand(text, !word.quoted).map_err(|why| {
                Box::new(
                    Diagnostic::error("E0303", format!("`{text}` cannot be looked up: {why}")).at(place.clone(), ""),
                )
            })?;
            if let Some(path) = found.iter().find(|p| !self.roots.hold(p)) {
                return Err(outside(&format!("{} is a link that leads out", self.roots.shown(path))));
            }
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Err(Box::new(self.nothing(text, place, is_steps)))
    }

    fn nothing(&self, text: &str, place: &Place, is_steps: bool) -> Diagnostic {
        let mut names: Vec<String> = vec![];
        for folder in self.roots.folders() {
            names.extend(folder.names(is_steps));
        }
        let d = match is_steps {
            true => Diagnostic::error("E0301", format!("no file `{text}` to include")),
            false => Diagnostic::error("E0301", format!("no manifest matches `{text}`")),
        };
        // `manifests/a.yaml`, `a`, `*.yml`.
        let base = text.rsplit('/').next().unwrap_or(text);
        let ending = if is_steps { ".egress" } else { ".yaml" };
        let other = format!("{}{ending}", base.trim_end_matches(".yml").trim_end_matches(".yaml"));
        let is_there = |word: &str| {
            let found = |f: &super::places::Folder| f.expand(word, true).is_ok_and(|found| !found.is_empty());
            word != text && !word.is_empty() && self.roots.folders().iter().any(found)
        };
        let near = match (is_there(base), is_there(&other)) {
            (true, _) => Some(base),
            (_, true) => Some(other.as_str()),
            _ => nearest(text, names.iter().map(String::as_str)),
        };
        let mut d = match near {
            Some(near) if text.strip_suffix([',', ';']) == Some(near) => {
                d.at(place.clone(), format!("write `{near}`: blanks stand between words, and a line is a statement"))
            }
            Some(near) => d.at(place.clone(), format!("did you mean `{near}`?")),
            None => d.at(place.clone(), "nothing is so named"),
        };
        let searched: Vec<String> = self.roots.folders().iter().map(|f| self.roots.shown(&f.path)).collect();
        d = d.help(match searched.as_slice() {
            [one] => format!("looked in {one}; no folder above it holds a `manifests/`"),
            all => format!("looked in {}", all.join(", then in ")),
        });
        d
    }
}

impl Cache {
    /// What is wrong with an object by itself. One of a file is judged once.
    pub fn judged(&self, object: &ManifestObject) -> Vec<Diagnostic> {
        if object.place.source.name.ends_with(".egress") {
            return manifest::check(object);
        }
        let key = (object.place.source.name.clone(), object.place.span.start);
        if let Some(known) = self.judged.borrow().get(&key) {
            return known.clone();
        }
        let found = manifest::check(object);
        self.judged.borrow_mut().insert(key, found.clone());
        found
    }

    pub fn with(unsaved: HashMap<PathBuf, String>) -> Self {
        Cache { unsaved, ..Cache::default() }
    }

    fn text(&self, path: &Path, limit: u64) -> Result<String, String> {
        let unsaved = (!self.unsaved.is_empty()).then(|| path.canonicalize().ok()).flatten();
        match unsaved.and_then(|path| self.unsaved.get(&path)) {
            Some(text) => Ok(text.clone()),
            None => text::read(path, limit),
        }
    }

    fn read(&self, path: &Path, shown: &str, word: &Place) -> Objects {
        if let Some(known) = self.files.borrow().get(path) {
            return known.clone();
        }
        let result = read_file(self.text(path, MAX_MANIFEST), shown, word);
        self.files.borrow_mut().insert(path.to_path_buf(), result.clone());
        result
    }
}

fn read_file(text: Result<String, String>, shown: &str, word: &Place) -> Objects {
    let text = text.map_err(|why| {
        vec![Diagnostic::error("E0303", format!("cannot read {shown}: {why}")).at(word.clone(), "named here")]
    })?;
    let source = Arc::new(Source { name: shown.to_string(), text });
    let whole = Place { source: source.clone(), span: 0..source.text.len() };
    objects::read(&source.text, &whole, &|span| Place { source: source.clone(), span })
}
