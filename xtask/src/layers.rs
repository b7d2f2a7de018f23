//! The rings and their arrows: who may depend on whom.
//!
//! Arrows point inward, so that the pure and the logical rings compile and are tested without Kafka,
//! Redis or a runtime, and an adapter can be replaced without another one noticing. Judged are the
//! dependencies as the manifests declare them, optional ones too; dev-dependencies are free, since they
//! never reach a binary. A crate under `crates/` that has no ring here is refused.

mod metadata;
mod rules;
#[cfg(test)]
mod tests;

use crate::tree;

/// Reads the workspace as cargo sees it and judges every arrow.
///
/// # Errors
/// If cargo cannot describe the workspace.
pub(crate) fn check() -> anyhow::Result<Vec<String>> {
    let packages = metadata::read(&tree::root()?)?;
    let problems = rules::judge(&packages);
    if problems.is_empty() {
        let arrows: usize = packages.iter().map(|package| package.needs.len()).sum();
        println!("{} packages, {arrows} dependencies: the layers hold", packages.len());
    }
    Ok(problems)
}
