//! What a source names: its fields, found in the syntax tree.
//!
//! A chain of names that starts at one of the documented variables is a path. So is one that starts at a
//! variable which only ever held such a path: `let call = dlpObject.portCall`, `for log in
//! dlpObject.eventLogs`, the parameter of a function or of a closure over such an array. Names in all other chains are
//! loose. Every name of every chain gets a getter, so nothing can be read that is not told of here.

mod chain;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use rhai::{AST, ASTNode, Expr, FnCallExpr, FnPtr, Position, Stmt};
use tidewire_script::{FieldUse, Fields, Root};

use chain::{Chain, Link, of_expression};

use crate::engine::{BEFORE, CURRENT, USER};

/// A variable may be a path by way of others, which may be by way of others: so many steps are followed.
const ALIAS_STEPS_MAX: usize = 4;
/// Most paths that one variable may stand for.
const ALIASES_MAX: usize = 16;
/// Methods whose closure gets the elements of the array.
const OVER_ELEMENTS: [&str; 12] = [
    "filter", "map", "some", "any", "all", "find", "find_map", "for_each", "reduce", "drain",
    "retain", "index_of",
];
/// Methods that give the array, or one of its elements.
const SAME_ELEMENTS: [&str; 10] =
    ["filter", "find", "extract", "first", "last", "get", "shift", "pop", "dedup", "sort"];

type Path = (Root, Vec<String>);
type Aliases = HashMap<String, Vec<Path>>;

/// The fields that a source names, and all names that need a getter.
pub(crate) fn find(ast: &AST) -> (Fields, BTreeSet<String>) {
    let mut aliases = Aliases::new();
    for (name, root) in [(CURRENT, Root::Current), (BEFORE, Root::Before), (USER, Root::User)] {
        aliases.insert(name.to_owned(), vec![(root, Vec::new())]);
    }
    let params = params(ast);
    for _ in 0..ALIAS_STEPS_MAX {
        let before = aliases.values().map(Vec::len).sum::<usize>();
        ast.walk(&mut |path| {
            if let Some(node) = path.last() {
                learn(node, &params, &mut aliases);
            }
            true
        });
        if aliases.values().map(Vec::len).sum::<usize>() == before {
            break;
        }
    }
    let mut found = Found::default();
    ast.walk(&mut |path| {
        if let Some(chain) = chain::at(path) {
            found.add(&chain, &aliases);
        }
        true
    });
    (found.fields, found.names)
}

/// The parameters of each function of the script, by its name.
fn params(ast: &AST) -> HashMap<String, Vec<String>> {
    ast.iter_functions()
        .map(|f| (f.name.to_owned(), f.params.iter().map(|p| (*p).to_owned()).collect()))
        .collect()
}

/// Notes what variables a statement or call gives a value.
fn learn(node: &ASTNode<'_>, params: &HashMap<String, Vec<String>>, aliases: &mut Aliases) {
    match node {
        ASTNode::Stmt(Stmt::Var(x, ..)) => {
            let paths = paths_of(&x.1, aliases);
            add(aliases, x.0.as_str(), paths);
        }
        ASTNode::Stmt(Stmt::Assignment(x)) => {
            if let Expr::Variable(var, ..) = &x.1.lhs {
                let paths = paths_of(&x.1.rhs, aliases);
                add(aliases, var.1.as_str(), paths);
            }
        }
        ASTNode::Stmt(Stmt::For(x, _)) => {
            let paths = paths_of(&x.2.expr, aliases);
            add(aliases, x.0.as_str(), paths);
        }
        ASTNode::Stmt(Stmt::FnCall(call, _)) | ASTNode::Expr(Expr::FnCall(call, _)) => {
            let names = params.get(call.name.as_str()).map_or(&[][..], Vec::as_slice);
            for (arg, name) in call.args.iter().zip(names) {
                let paths = paths_of(arg, aliases);
                add(aliases, name, paths);
            }
        }
        ASTNode::Expr(expr @ (Expr::Dot(..) | Expr::Index(..))) => {
            let chain = of_expression(expr);
            let mut so_far = start(&chain, aliases);
            for link in &chain.links {
                if let Link::Call(call) = link
                    && OVER_ELEMENTS.contains(&call.name.as_str())
                {
                    for arg in &call.args {
                        if let Some((function, curried)) = closure(arg)
                            && let Some(names) = params.get(&function)
                        {
                            for name in names.iter().skip(curried) {
                                add(aliases, name, so_far.clone());
                            }
                        }
                    }
                }
                step(&mut so_far, link);
            }
        }
        _ => {}
    }
}

fn add(aliases: &mut Aliases, name: &str, paths: Vec<Path>) {
    if paths.is_empty() {
        return;
    }
    let known = aliases.entry(name.to_owned()).or_default();
    for path in paths {
        if !known.contains(&path) && known.len() < ALIASES_MAX {
            known.push(path);
        }
    }
}

/// The function behind a closure, and how many of its parameters are captured variables.
fn closure(expr: &Expr) -> Option<(String, usize)> {
    match expr {
        Expr::DynamicConstant(value, _) => {
            let pointer = value.read_lock::<FnPtr>()?;
            Some((pointer.fn_name().to_owned(), pointer.curry().len()))
        }
        // One that captures: its variables are made shared, then bound.
        Expr::Stmt(block) => match block.statements().last()? {
            Stmt::FnCall(call, _) => bound(call),
            Stmt::Expr(expr) => closure(expr),
            _ => None,
        },
        Expr::FnCall(call, _) => bound(call),
        _ => None,
    }
}

fn bound(call: &FnCallExpr) -> Option<(String, usize)> {
    let (first, captured) = call.args.split_first().filter(|_| call.name == "curry")?;
    let (name, curried) = closure(first)?;
    Some((name, curried + captured.len()))
}

fn start(chain: &Chain<'_>, aliases: &Aliases) -> Vec<Path> {
    match chain.head {
        Expr::Variable(var, ..) => aliases.get(var.1.as_str()).cloned().unwrap_or_default(),
        other => paths_of(other, aliases),
    }
}

fn step(paths: &mut Vec<Path>, link: &Link<'_>) {
    match link {
        Link::Name(name, _) => {
            for (_, path) in paths.iter_mut() {
                path.push((*name).to_owned());
            }
        }
        Link::Index => {}
        Link::Call(call) if SAME_ELEMENTS.contains(&call.name.as_str()) => {}
        Link::Call(_) => paths.clear(),
    }
}

/// The paths that an expression stands for; none where that cannot be told.
fn paths_of(expr: &Expr, aliases: &Aliases) -> Vec<Path> {
    match expr {
        Expr::Variable(..) | Expr::Dot(..) | Expr::Index(..) => {
            let chain = of_expression(expr);
            if matches!(chain.head, Expr::Dot(..) | Expr::Index(..)) {
                return Vec::new();
            }
            let mut paths = match chain.head {
                Expr::Variable(var, ..) => aliases.get(var.1.as_str()).cloned().unwrap_or_default(),
                other => paths_of(other, aliases),
            };
            for link in &chain.links {
                step(&mut paths, link);
            }
            paths
        }
        Expr::Coalesce(parts, _) => parts.iter().flat_map(|part| paths_of(part, aliases)).collect(),
        _ => Vec::new(),
    }
}

#[derive(Default)]
struct Found {
    fields: Fields,
    names: BTreeSet<String>,
    seen: HashSet<Path>,
}

impl Found {
    fn add(&mut self, chain: &Chain<'_>, aliases: &Aliases) {
        let mut paths = start(chain, aliases);
        let mut places = Vec::new();
        for link in &chain.links {
            if let Link::Name(name, position) = link {
                self.names.insert((*name).to_owned());
                places.push(*position);
                if paths.is_empty() {
                    self.loose(name);
                }
            }
            if matches!(link, Link::Call(_)) {
                self.paths(&paths, &places);
            }
            step(&mut paths, link);
        }
        self.paths(&paths, &places);
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
