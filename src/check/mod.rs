//! Reads scenarios and their manifests, and says before a run what cannot work.
//!
//! The only room of the language that reads files. It reaches no cluster.

mod documents;
pub mod editor;
mod files;
mod links;
mod manifest;
mod objects;
mod places;
mod reach;
mod scalar;
mod soundness;
mod text;
pub mod yaml;

use crate::diag::{Diagnostic, Source};
use crate::plan::{self, Plan};
use crate::syntax;
pub use documents::{documents, line_of_path};
use files::{Cache, Files};
use places::Roots;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A scenario larger than this is refused (bytes).
const MAX_SCENARIO: u64 = 64 << 20;

/// A plan that can be run, and what is doubtful about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub plan: Plan,
    pub warnings: Vec<Diagnostic>,
}

/// Reads scenario files (a folder stands for the `.egress` files in it), with all their manifests.
///
/// # Errors
/// Everything that is wrong with any of them, warnings included, in the order of files and lines.
pub fn load(paths: &[PathBuf]) -> Result<Loaded, Vec<Diagnostic>> {
    let mut found = vec![];
    let mut scenarios = vec![];
    let cache = Cache::default();
    let mut paths: Vec<PathBuf> = paths.iter().flat_map(|p| scenario_files(p, &mut found)).collect();
    let mut seen = std::collections::HashSet::new();
    paths.retain(|p| seen.insert(p.clone()));
    for path in paths {
        match text::read(&path, MAX_SCENARIO) {
            Ok(text) => {
                let source = Arc::new(Source { name: path.display().to_string(), text });
                let (built, diagnostics) = file(&source, &path, &cache);
                scenarios.extend(built);
                found.extend(diagnostics);
            }
            Err(why) => found.push(Diagnostic::error("E0310", format!("cannot read {}: {why}", path.display()))),
        }
    }
    dedup(&mut found);
    if found.iter().any(Diagnostic::is_error) {
        return Err(found);
    }
    Ok(Loaded { plan: Plan { scenarios }, warnings: found })
}

/// Reads one scenario whose text is at hand (an editor's buffer); `path` says where manifests are found.
pub fn source(source: &Arc<Source>, path: &Path) -> (Vec<plan::Scenario>, Vec<Diagnostic>) {
    let (scenarios, mut found) = file(source, path, &Cache::default());
    dedup(&mut found);
    (scenarios, found)
}

fn file(source: &Arc<Source>, path: &Path, cache: &Cache) -> (Vec<plan::Scenario>, Vec<Diagnostic>) {
    let parsed = syntax::parse(source);
    let files = Files { roots: Roots::of(path), cache };
    let built = plan::build(&parsed, &files);
    let mut found = parsed.errors;
    found.extend(built.diagnostics);
    // Doubts about a scenario that was not read whole would blame the mistake twice.
    let wrong = found.iter().any(Diagnostic::is_error);
    if wrong {
        found.retain(|d| d.is_error() || matches!(d.code, "W0235" | "W0238"));
    }
    let ambient = files.ambient();
    // Scenarios often apply the same objects: what is wrong with those is found once.
    let mut linked = std::collections::HashSet::new();
    for (index, scenario) in built.scenarios.iter().enumerate() {
        let objects = applied(scenario);
        let refused = refused(scenario, source, cache);
        // What an API server refuses is linked to nothing.
        let sound = !refused.iter().any(Diagnostic::is_error);
        found.extend(refused);
        if !wrong && sound {
            found.extend(soundness::check(scenario, &objects, &ambient));
            found.extend(reach::check(scenario, &ambient));
        }
        if sound && !objects.is_empty() && linked.insert(identity(&objects, &scenario.namespace)) {
            found.extend(links::links_beside(&objects, &ambient, &scenario.namespace));
        }
        for (_, name, place) in built.routes.iter().filter(|(i, ..)| *i == index) {
            found.extend(soundness::route(name, place, &objects, &ambient, &scenario.namespace));
        }
    }
    // By the scenario's lines; what stands in manifests alone comes first.
    found.sort_by_key(|d| d.labels.iter().find(|l| Arc::ptr_eq(&l.place.source, source)).map(|l| l.place.span.start));
    (built.scenarios, found)
}

/// What a target has before any scenario of this path runs: the objects of `manifests/base/`.
pub fn ambient(path: &Path) -> Vec<plan::ManifestObject> {
    Files { roots: Roots::of(path), cache: &Cache::default() }.ambient()
}

/// Links between manifests that cannot hold, with carets in the manifests: warnings, since a lesson
/// may break one on purpose. Objects without a namespace count as being in the default one.
pub fn manifests(objects: &[plan::ManifestObject]) -> Vec<Diagnostic> {
    links::links(objects, plan::DEFAULT_NAMESPACE)
}

/// As [`manifests`], for objects that a run applied: `ambient` is what else the target has, and objects
/// without a namespace are in `namespace`.
pub fn manifests_beside(
    objects: &[plan::ManifestObject],
    ambient: &[plan::ManifestObject],
    namespace: &str,
) -> Vec<Diagnostic> {
    links::links_beside(objects, ambient, namespace)
}

/// What an API server would refuse of a scenario's manifests, with the line that applies it. A lesson may expect that.
fn refused(scenario: &plan::Scenario, source: &Arc<Source>, cache: &Cache) -> Vec<Diagnostic> {
    let mut found = vec![];
    for (index, step) in scenario.steps.iter().enumerate() {
        let plan::StepKind::Apply(objects) = &step.kind else { continue };
        let expected = scenario.steps.get(index + 1).is_some_and(|next| next.text.starts_with("expect rejected"));
        for object in objects.iter().filter(|_| !expected) {
            for diagnostic in cache.judged(object) {
                let inside = Arc::ptr_eq(&object.place.source, source);
                found.push(if inside { diagnostic } else { diagnostic.at(step.place.clone(), "applied here") });
            }
        }
    }
    found
}

/// What tells one list of objects from another: what was read once is shared.
fn identity(objects: &[plan::ManifestObject], namespace: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    namespace.hash(&mut hasher);
    for object in objects {
        Arc::as_ptr(&object.spans).hash(&mut hasher);
    }
    hasher.finish()
}

/// Everything that a scenario applies, in order.
fn applied(scenario: &plan::Scenario) -> Vec<plan::ManifestObject> {
    let objects = scenario.steps.iter().filter_map(|s| match &s.kind {
        plan::StepKind::Apply(objects) => Some(objects.as_slice()),
        _ => None,
    });
    objects.flatten().cloned().collect()
}

/// The scenario files that a path of the command line stands for.
fn scenario_files(path: &Path, found: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_path_buf()];
    }
    let read =
        std::fs::read_dir(path).map(|entries| entries.filter_map(Result::ok).map(|e| e.path()).collect::<Vec<_>>());
    let mut files = read.unwrap_or_default();
    files.retain(|p| p.extension().is_some_and(|e| e == "egress") && p.is_file());
    files.sort();
    if files.is_empty() {
        let d = Diagnostic::error("E0310", format!("no scenario in {}", path.display()));
        found.push(d.help("scenario files end in .egress"));
    }
    files
}

/// The same finding twice (a line repeated by `for`, a manifest used by two scenarios) is told once.
fn dedup(found: &mut Vec<Diagnostic>) {
    let mut seen = std::collections::HashSet::new();
    found.retain(|d| {
        let place = d.labels.first().map(|l| (l.place.source.name.clone(), l.place.span.start, l.place.span.end));
        seen.insert((d.code, d.title.clone(), place))
    });
}
