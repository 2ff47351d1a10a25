//! Mistakes in files and manifests.

use super::{Code, code};

pub(super) const CODES: &[Code] = &[
    code(
        "E0301",
        "no manifest matches",
        "Words of `apply` are files, folders or globs beside the scenario, then in the nearest `manifests/` folder above it.",
    ),
    code(
        "E0302",
        "outside of the manifests",
        "Nothing outside the scenario's folder and the nearest `manifests/` is read: no absolute path, no `..`, no link that leads out.",
    ),
    code("E0303", "a manifest cannot be read", "It is missing, a folder, too large, or not UTF-8."),
    code(
        "E0304",
        "a URL is never applied",
        "What it serves can change; a scenario must not. Keep a copy beside the scenario.",
    ),
    code("E0305", "not YAML", "The place is where the parser gave up; the mistake is there or just before."),
    code("E0306", "a key is given twice", "kubectl refuses it too: one of the values would be lost."),
    code("E0307", "not a Kubernetes object", "An object has apiVersion, kind and metadata.name."),
    code("E0308", "too deep or too much", "Nesting, the number of values and what aliases stand for are bounded."),
    code(
        "E0309",
        "a value that JSON cannot hold",
        "Kubernetes speaks JSON: no infinity, no NaN, no binary or custom tags.",
    ),
    code(
        "E0310",
        "a scenario cannot be read",
        "The file is missing, too large or not UTF-8, or a folder holds no `.egress` file.",
    ),
    code(
        "E0311",
        "a field that does not exist",
        "The kind has no such field at this place, so kubectl refuses the manifest and an API server would drop it in silence: it is misspelt, or indented too much or too little.",
    ),
    code(
        "E0312",
        "a value of a wrong type",
        "The field wants text, a number, true or false, a list or a map, and something else stands there. YAML reads unquoted 443 as a number and on, yes, y as true.",
    ),
    code(
        "E0313",
        "the definition's schema refuses it",
        "The resource definition names required fields, allowed values, ranges and rules; the API server refuses the object.",
    ),
    code(
        "E0314",
        "istiod's webhook refuses it",
        "istiod validates Istio's objects when they are applied. The message is istiod's own; `egress-scn validate -f FILE` shows all stages.",
    ),
    code(
        "E0315",
        "no such kind",
        "The API server does not know this kind in this apiVersion: one of the two is misspelt, or the version is not served any more.",
    ),
];
