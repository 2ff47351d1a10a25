//! The kubeconfig of a lab: admin's client certificate inline, 0600. And its context in a user's own file, while the
//! lab lives.

use super::authority::Identity;
use super::folder;
use base64::Engine;
use serde_json::{Map, Value, json};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where a context of ours remembers which context was the current one before it.
const BEFORE: &str = "egress-scn/previous-context";
/// The lists of a kubeconfig that hold an entry of the lab's each.
const LISTS: [&str; 3] = ["clusters", "users", "contexts"];

/// The name of the cluster, user and context of the lab that is called so: `egress-scn-lab`.
pub fn context_name(lab: &str) -> String {
    format!("egress-scn-{lab}")
}

/// The kubeconfig document as YAML.
pub fn document(name: &str, api: SocketAddr, ca_pem: &str, admin: &Identity) -> Result<String, serde_yaml::Error> {
    let encode = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
    serde_yaml::to_string(&json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": name,
            "cluster": { "server": format!("https://{api}"), "certificate-authority-data": encode(ca_pem) },
        }],
        "users": [{
            "name": name,
            "user": {
                "client-certificate-data": encode(&admin.chain_pem),
                "client-key-data": encode(&admin.key_pem),
            },
        }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name, "namespace": "mesh-test" } }],
        "current-context": name,
    }))
}

/// Whether the file could be added to: it is a kubeconfig, or it is not there.
///
/// # Errors
/// Why not.
pub fn check(file: &Path) -> Result<(), String> {
    read(file).map(|_| ())
}

/// Adds the lab's cluster, user and context to a file and makes the context the current one. What else the file holds
/// stays; its comments do not. A file that is not there is made.
///
/// # Errors
/// The file is no kubeconfig, is locked by another program, or cannot be written.
pub fn add(file: &Path, lab: &Path) -> Result<(), String> {
    let ours = read(lab)?;
    let _lock = Lock::of(file)?;
    let mut theirs = read(file)?;
    let context = ours["current-context"].as_str().unwrap_or_default().to_string();
    let before = match theirs.get("current-context").and_then(Value::as_str) {
        Some(current) if current != context => current.to_string(),
        // Left by a lab that was killed: what was before it was before us.
        _ => previous(&theirs, &context),
    };
    for list in LISTS {
        let mut entries = without(&theirs, list, &context);
        entries.extend(ours[list].as_array().into_iter().flatten().cloned());
        theirs.insert(list.into(), entries.into());
    }
    if !before.is_empty() {
        let extension = json!([{ "name": BEFORE, "extension": before }]);
        if let Some(entry) = theirs["contexts"].as_array_mut().and_then(|list| list.last_mut()) {
            entry["context"]["extensions"] = extension;
        }
    }
    theirs.insert("current-context".into(), context.into());
    for (key, value) in [("apiVersion", "v1"), ("kind", "Config")] {
        theirs.entry(key).or_insert(value.into());
    }
    write(file, &theirs)
}

/// Takes the lab's entries out of a file, and makes the context current again that was so before.
///
/// # Errors
/// As [`add`]. A file that is gone is no error.
pub fn remove(file: &Path, context: &str) -> Result<(), String> {
    if !file.exists() {
        return Ok(());
    }
    let _lock = Lock::of(file)?;
    let mut theirs = read(file)?;
    let before = previous(&theirs, context);
    for list in LISTS {
        let entries = without(&theirs, list, context);
        theirs.insert(list.into(), entries.into());
    }
    if theirs.get("current-context").is_some_and(|current| current == context) {
        let there = theirs["contexts"].as_array().into_iter().flatten().any(|entry| entry["name"] == before.as_str());
        theirs.insert("current-context".into(), if there { before } else { String::new() }.into());
    }
    write(file, &theirs)
}

/// The context that was current before ours was added; empty if there was none.
fn previous(document: &Map<String, Value>, context: &str) -> String {
    let entries = document.get("contexts").and_then(Value::as_array).into_iter().flatten();
    let ours = entries.filter(|entry| entry["name"] == context);
    let extensions = ours.flat_map(|entry| entry["context"]["extensions"].as_array().into_iter().flatten());
    let mut before = extensions.filter(|e| e["name"] == BEFORE).filter_map(|e| e["extension"].as_str());
    before.next().unwrap_or_default().to_string()
}

fn without(document: &Map<String, Value>, list: &str, name: &str) -> Vec<Value> {
    let entries = document.get(list).and_then(Value::as_array).into_iter().flatten();
    entries.filter(|entry| entry["name"] != name).cloned().collect()
}

fn read(file: &Path) -> Result<Map<String, Value>, String> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(error) => return Err(error.to_string()),
    };
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_yaml::from_str(&text) {
        Ok(Value::Object(document)) if document.get("kind").is_none_or(|kind| kind == "Config") => Ok(document),
        Ok(_) => Err("it is not a kubeconfig, so nothing is written there".into()),
        Err(error) => Err(format!("it is not a kubeconfig, so nothing is written there: {error}")),
    }
}

/// Whole or not at all, readable by its owner alone.
fn write(file: &Path, document: &Map<String, Value>) -> Result<(), String> {
    let text = serde_yaml::to_string(document).map_err(|error| error.to_string())?;
    // Through a link, as kubectl does: the link stays one.
    let file = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let new = tempfile::Builder::new().prefix(".kubeconfig-").tempfile_in(folder).map_err(|error| error.to_string())?;
    io::Write::write_all(&mut new.as_file(), text.as_bytes()).map_err(|error| error.to_string())?;
    new.persist(&file).map_err(|error| error.to_string())?;
    Ok(())
}

/// client-go's lock: a file beside the kubeconfig, there for as long as somebody writes.
struct Lock(PathBuf);

impl Lock {
    fn of(file: &Path) -> Result<Lock, String> {
        let mut path = file.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        if let Some(folder) = path.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        match folder::create_private(&path) {
            Ok(_) => Ok(Lock(path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(format!("another program writes it; if none does, remove {}", path.display()))
            }
            Err(error) => Err(format!("cannot make {}: {error}", path.display())),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const THEIRS: &str = "apiVersion: v1\nkind: Config\npreferences: {colors: true}\n\
        clusters: [{name: prod, cluster: {server: 'https://prod'}}]\nusers: [{name: me, user: {token: secret}}]\n\
        contexts: [{name: prod, context: {cluster: prod, user: me}}]\ncurrent-context: prod\n";

    fn lab(folder: &Path) -> PathBuf {
        let identity = Identity { chain_pem: "chain".into(), key_pem: "key".into() };
        let text = document(&context_name("lab"), ([127, 0, 0, 1], 6443).into(), "ca", &identity).unwrap();
        let file = folder.join("lab-kubeconfig");
        std::fs::write(&file, text).unwrap();
        file
    }

    #[test]
    fn what_a_user_had_stays_and_is_as_before_when_the_lab_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, THEIRS).unwrap();
        let before = read(&file).unwrap();
        add(&file, &lab(folder.path())).unwrap();
        let both = read(&file).unwrap();
        assert_eq!(both["current-context"], "egress-scn-lab");
        for list in LISTS {
            assert_eq!(both[list].as_array().unwrap().len(), 2, "{list}");
            assert_eq!(both[list][0], before[list][0]);
        }
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // A lab that was killed has left its entries: the next one replaces them, and still knows what was before.
        add(&file, &lab(folder.path())).unwrap();
        assert_eq!(read(&file).unwrap()["contexts"].as_array().unwrap().len(), 2);
        remove(&file, "egress-scn-lab").unwrap();
        assert_eq!(read(&file).unwrap(), before);
    }

    #[test]
    fn a_user_who_has_moved_on_is_not_moved_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, THEIRS).unwrap();
        add(&file, &lab(folder.path())).unwrap();
        let mut other = read(&file).unwrap();
        other.insert("current-context".into(), "elsewhere".into());
        write(&file, &other).unwrap();
        remove(&file, "egress-scn-lab").unwrap();
        assert_eq!(read(&file).unwrap()["current-context"], "elsewhere");
    }

    #[test]
    fn a_file_that_is_no_kubeconfig_or_locked_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        for text in ["a list of words", "- 1\n- 2\n", "kind: Pod\n", "{"] {
            std::fs::write(&file, text).unwrap();
            assert!(check(&file).is_err() && add(&file, &lab(folder.path())).is_err(), "{text}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
        std::fs::write(&file, THEIRS).unwrap();
        std::fs::write(folder.path().join("config.lock"), "").unwrap();
        let refused = add(&file, &lab(folder.path())).unwrap_err();
        assert!(refused.contains("config.lock"), "{refused}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), THEIRS);
    }
}
