//! The config dumps that tests read.

use std::path::{Path, PathBuf};

/// Those in the repository, and in further folders named by `EGRESS_SCN_DUMPS`; sorted.
pub fn files() -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")];
    folders.extend(std::env::var_os("EGRESS_SCN_DUMPS").iter().flat_map(std::env::split_paths));
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(".config_dump.json") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
