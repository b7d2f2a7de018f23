//! What `cargo metadata` says about the packages of the workspace.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

/// A package of the workspace.
pub(super) struct Package {
    pub(super) name: String,
    /// Its folder, relative to the root, with `/` between its parts.
    pub(super) folder: String,
    /// What it depends on but for dev-dependencies, by package name.
    pub(super) needs: Vec<String>,
}

/// Asks cargo. Without dependencies of dependencies, so that nothing has to be downloaded for it.
pub(super) fn read(root: &Path) -> anyhow::Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cargo does not start")?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    parse(&serde_json::from_slice(&output.stdout).context("cargo metadata is not json")?)
}

/// Takes the JSON apart.
pub(super) fn parse(metadata: &Value) -> anyhow::Result<Vec<Package>> {
    let root = text(metadata, "workspace_root")?;
    array(metadata, "packages")?.iter().map(|package| parse_package(root, package)).collect()
}

fn parse_package(root: &str, package: &Value) -> anyhow::Result<Package> {
    let name = text(package, "name")?.to_owned();
    let manifest = text(package, "manifest_path")?.replace('\\', "/");
    let folder = manifest
        .strip_prefix(&root.replace('\\', "/"))
        .and_then(|path| path.strip_suffix("Cargo.toml"))
        .with_context(|| format!("{name} is outside the workspace: {manifest}"))?
        .trim_matches('/')
        .to_owned();
    let mut needs = Vec::new();
    for dependency in array(package, "dependencies")? {
        if dependency.get("kind").and_then(Value::as_str) != Some("dev") {
            needs.push(text(dependency, "name")?.to_owned());
        }
    }
    // The same name twice: once for each target or kind.
    needs.sort();
    needs.dedup();
    Ok(Package { name, folder, needs })
}

fn text<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    value.get(key).and_then(Value::as_str).with_context(|| format!("cargo metadata lacks {key}"))
}

fn array<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a Vec<Value>> {
    value.get(key).and_then(Value::as_array).with_context(|| format!("cargo metadata lacks {key}"))
}
