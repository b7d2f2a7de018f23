//! The files of the project, without what is built, fetched or hidden.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Folders that hold nothing of ours, wherever they stand.
const SKIPPED: [&str; 3] = ["target", "node_modules", "venv"];

/// The root of the workspace.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent")?;
    Ok(root.to_owned())
}

/// Every file below `root` whose extension is one of these, sorted, relative to `root`.
pub(crate) fn files(root: &Path, extensions: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("cannot read the folder {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_string_lossy();
            // A link is not followed: what it points to is looked at where it stands.
            let kind = entry.file_type()?;
            if kind.is_dir() {
                // `.ci` and `.github` are ours, the other hidden folders are not.
                let hidden = name.starts_with('.') && name != ".ci" && name != ".github";
                if !hidden && !SKIPPED.contains(&name.as_ref()) {
                    folders.push(path);
                }
            } else if kind.is_file()
                && path.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted))
            {
                found.push(path.strip_prefix(root)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}
