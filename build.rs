//! Compiles `proto/` (Envoy's API, reduced to what this program speaks) into one descriptor set,
//! which `src/xds/wire.rs` includes. No code is generated: see `docs/xds.md` for why.

use prost::Message;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut files = Vec::new();
    find(Path::new("proto"), &mut files)?;
    files.sort();
    let set = protox::Compiler::new(["proto"])?.include_imports(true).open_files(files)?.file_descriptor_set();
    let target = PathBuf::from(std::env::var("OUT_DIR")?).join("envoy.bin");
    std::fs::write(target, set.encode_to_vec())?;
    Ok(())
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
