//! What a source names: its fields, found in the syntax tree.
//!
//! A chain of names that starts at one of the documented variables is a path. So is one that starts at a
//! variable which held such a path: `let call = dlpObject.portCall`, `for log in dlpObject.eventLogs`, the
//! parameter of a function or of a closure over such an array. Names in all other chains are loose, and those
//! behind a variable that may hold something else as well are both. Every name of every chain gets a getter, so
//! nothing can be read that is not told of here.
//!
//! The path of `find_by` counts as a chain from the elements of its list. It has to stand in the source.

mod chain;
mod known;
mod search;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};

use rhai::{AST, ASTNode, Expr, Position, Stmt};
use tidewire_script::{FieldUse, Fields, Root, ScriptError};

use chain::{Chain, Link};
use known::Known;
use search::Search;

pub(crate) use search::FIND_BY;

type Path = (Root, Vec<String>);

/// What a source names.
pub(crate) struct Named {
    /// Its fields.
    pub(crate) fields: Fields,
    /// All names that need a getter.
    pub(crate) names: BTreeSet<String>,
    /// The paths that stand in it as texts.
    pub(crate) paths: BTreeSet<String>,
}

/// Finds what a source names.
///
/// # Errors
/// A path that stands there as a text is none, or is put together when the script runs.
pub(crate) fn find(ast: &AST) -> Result<Named, ScriptError> {
    let mut refused = None;
    ast.walk(&mut |path| {
        refused = path.last().and_then(search::refused);
        refused.is_none()
    });
    if let Some(error) = refused {
        return Err(error);
    }
    let known = Known::of(ast);
    let mut found = Found::default();
    ast.walk(&mut |path| {
        if let Some(chain) = chain::at(path) {
            found.add(&chain, &known);
        }
        if let Some(node) = path.last() {
            found.add_call(node, &known);
        }
        true
    });
    Ok(Named { fields: found.fields, names: found.names, paths: found.searched })
}

#[derive(Default)]
struct Found {
    fields: Fields,
    names: BTreeSet<String>,
    searched: BTreeSet<String>,
    seen: HashSet<Path>,
}

impl Found {
    fn add(&mut self, chain: &Chain<'_>, known: &Known) {
        let mut paths = known.start(chain);
        let mut is_open = known.starts_open(chain);
        let mut places = Vec::new();
        for link in &chain.links {
            if let Link::Name(name, position) = link {
                self.name(name, is_open);
                places.push(*position);
            }
            if let Link::Call(call) = link {
                self.paths(&paths, &places);
                if let Some(search) = search::of_call(call, true) {
                    self.add_search(&search, &paths, is_open);
                }
            }
            known.step(&mut paths, link);
            is_open |= known.opens(link);
        }
        self.paths(&paths, &places);
    }

    /// A call that is not part of a chain.
    fn add_call(&mut self, node: &ASTNode<'_>, known: &Known) {
        if let ASTNode::Stmt(Stmt::FnCall(call, _)) | ASTNode::Expr(Expr::FnCall(call, _)) = node
            && let Some(search) = search::of_call(call, false)
        {
            let list = call.args.first();
            let paths = list.map_or_else(Vec::new, |list| known.paths_of(list));
            self.add_search(&search, &paths, list.is_none_or(|list| known.is_open(list)));
        }
    }

    /// The path of a search through lists at these paths: each element has it.
    fn add_search(&mut self, search: &Search<'_>, lists: &[Path], is_open: bool) {
        self.searched.insert(search.path.to_owned());
        let mut paths = lists.to_vec();
        let names: Vec<&str> = search.path.split('.').collect();
        for name in &names {
            self.name(name, is_open);
            for (_, path) in &mut paths {
                path.push((*name).to_owned());
            }
        }
        self.paths(&paths, &vec![search.position; names.len()]);
    }

    /// A name; open: it cannot be told, or not fully, what it is a field of.
    fn name(&mut self, name: &str, is_open: bool) {
        self.names.insert(name.to_owned());
        if is_open {
            self.loose(name);
        }
    }

    fn loose(&mut self, name: &str) {
        if let Err(place) = self.fields.loose.binary_search_by(|n| n.as_str().cmp(name)) {
            self.fields.loose.insert(place, name.to_owned());
        }
    }

    /// Notes paths, of whose names the last ones are written at these places.
    fn paths(&mut self, paths: &[Path], places: &[Position]) {
        let number = |n: Option<usize>| n.and_then(|n| u32::try_from(n).ok());
        let place = |p: &Position| number(p.line()).zip(number(p.position()));
        for (root, path) in paths.iter().filter(|(_, path)| !path.is_empty()) {
            if self.seen.insert((*root, path.clone())) {
                let elsewhere = path.len().saturating_sub(places.len());
                let places =
                    std::iter::repeat_n(None, elsewhere).chain(places.iter().map(place)).collect();
                self.fields.paths.push(FieldUse { root: *root, path: path.clone(), places });
            }
        }
    }
}
