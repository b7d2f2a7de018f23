//! The documentation: pages made from code, and links that lead somewhere.

mod links;

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::tree;

/// What happens to a generated page that differs from the one on disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drift {
    /// It is written.
    Write,
    /// It is a problem.
    Refuse,
}

/// Writes or compares the generated pages, then looks at the links of every page.
///
/// # Errors
/// If a file cannot be read or written.
pub(crate) fn run(drift: Drift) -> anyhow::Result<Vec<String>> {
    let root = tree::root()?;
    let pages = [
        ("docs/reference/config.md", tidewire_config::reference()),
        ("docs/reference/metrics.md", tidewire_telemetry::metrics::reference()),
    ];
    let mut problems = Vec::new();
    for (path, wanted) in pages {
        problems.extend(page(&root, path, &wanted, drift)?);
    }
    let pages = tree::files(&root, &["md"])?;
    for path in &pages {
        let text = read(&root.join(path))?;
        problems.extend(links::broken(&root, path, &text));
    }
    println!("{} pages looked at", pages.len());
    Ok(problems)
}

fn page(root: &Path, path: &str, wanted: &str, drift: Drift) -> anyhow::Result<Option<String>> {
    let file = root.join(path);
    if file.is_file() && read(&file)? == wanted {
        return Ok(None);
    }
    if drift == Drift::Refuse {
        return Ok(Some(format!("{path} is not what the code says: run `make docs`")));
    }
    fs::write(&file, wanted).with_context(|| format!("cannot write {path}"))?;
    println!("{path} is written");
    Ok(None)
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_or_writes_a_page_that_differs() {
        let root = std::env::temp_dir().join(format!("tidewire-xtask-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let problem = page(&root, "a.md", "new", Drift::Refuse).unwrap();
        assert_eq!(problem.unwrap(), "a.md is not what the code says: run `make docs`");
        assert!(!root.join("a.md").exists());
        assert_eq!(page(&root, "a.md", "new", Drift::Write).unwrap(), None);
        assert_eq!(page(&root, "a.md", "new", Drift::Refuse).unwrap(), None);
        assert!(page(&root, "a.md", "newer", Drift::Refuse).unwrap().is_some());
        fs::remove_dir_all(&root).unwrap();
    }
}
