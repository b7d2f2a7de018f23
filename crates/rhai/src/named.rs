//! What a source names: its fields, found in the syntax tree.
//!
//! A chain of names that starts at one of the documented variables is a path. So is one that starts at a
//! variable which only ever held such a path: `let call = dlpObject.portCall`, `for log in
//! dlpObject.eventLogs`, the parameter of a function or of a closure over such an array. Names in all other chains are
//! loose. Every name of every chain gets a getter, so nothing can be read that is not told of here.
//!
//! The path of `find_by` counts as a chain from the elements of its list. It has to stand in the source.

mod chain;
mod search;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use rhai::{AST, ASTNode, Expr, FnCallExpr, FnPtr, Position, Stmt};
use tidewire_script::{FieldUse, Fields, Root, ScriptError};

use chain::{Chain, Link, of_expression};
use search::Search;

use crate::engine::{BEFORE, CURRENT, USER};

pub(crate) use search::FIND_BY;

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
const SAME_ELEMENTS: [&str; 11] =
    ["filter", "find", FIND_BY, "extract", "first", "last", "get", "shift", "pop", "dedup", "sort"];

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
    let mut known = Known::new(ast);
    for _ in 0..ALIAS_STEPS_MAX {
        let before = known.count();
        ast.walk(&mut |path| {
            if let Some(node) = path.last() {
                known.learn(node);
            }
            true
        });
        if known.count() == before {
            break;
        }
    }
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

/// What is known of the variables and functions of a source.
struct Known {
    /// The paths that a variable may stand for.
    aliases: HashMap<String, Vec<Path>>,
    /// The parameters of each function of the script, by its name.
    functions: HashMap<String, Vec<String>>,
}

impl Known {
    fn new(ast: &AST) -> Self {
        let variables = [(CURRENT, Root::Current), (BEFORE, Root::Before), (USER, Root::User)];
        let functions = ast.iter_functions();
        Self {
            aliases: variables
                .map(|(name, root)| (name.to_owned(), vec![(root, Vec::new())]))
                .into(),
            functions: functions
                .map(|f| (f.name.to_owned(), f.params.iter().map(|p| (*p).to_owned()).collect()))
                .collect(),
        }
    }

    fn count(&self) -> usize {
        self.aliases.values().map(Vec::len).sum()
    }

    /// Notes what variables a statement or call gives a value.
    fn learn(&mut self, node: &ASTNode<'_>) {
        match node {
            ASTNode::Stmt(Stmt::Var(x, ..)) => {
                let paths = self.paths_of(&x.1);
                self.add(x.0.as_str(), paths);
            }
            ASTNode::Stmt(Stmt::Assignment(x)) => {
                if let Expr::Variable(var, ..) = &x.1.lhs {
                    let paths = self.paths_of(&x.1.rhs);
                    self.add(var.1.as_str(), paths);
                }
            }
            ASTNode::Stmt(Stmt::For(x, _)) => {
                let paths = self.paths_of(&x.2.expr);
                self.add(x.0.as_str(), paths);
            }
            ASTNode::Stmt(Stmt::FnCall(call, _)) | ASTNode::Expr(Expr::FnCall(call, _)) => {
                let names = self.functions.get(call.name.as_str()).cloned().unwrap_or_default();
                for (arg, name) in call.args.iter().zip(names) {
                    let paths = self.paths_of(arg);
                    self.add(&name, paths);
                }
            }
            ASTNode::Expr(expr @ (Expr::Dot(..) | Expr::Index(..))) => {
                let chain = of_expression(expr);
                let mut so_far = self.start(&chain);
                for link in &chain.links {
                    if let Link::Call(call) = link
                        && OVER_ELEMENTS.contains(&call.name.as_str())
                    {
                        for arg in &call.args {
                            self.learn_closure(arg, &so_far);
                        }
                    }
                    self.step(&mut so_far, link);
                }
            }
            _ => {}
        }
    }

    /// The parameters of a closure over elements.
    fn learn_closure(&mut self, arg: &Expr, elements: &[Path]) {
        if let Some((function, curried)) = closure(arg) {
            let names = self.functions.get(&function).cloned().unwrap_or_default();
            for name in names.iter().skip(curried) {
                self.add(name, elements.to_vec());
            }
        }
    }

    fn add(&mut self, name: &str, paths: Vec<Path>) {
        if paths.is_empty() {
            return;
        }
        let known = self.aliases.entry(name.to_owned()).or_default();
        for path in paths {
            if !known.contains(&path) && known.len() < ALIASES_MAX {
                known.push(path);
            }
        }
    }

    fn start(&self, chain: &Chain<'_>) -> Vec<Path> {
        match chain.head {
            Expr::Variable(var, ..) => {
                self.aliases.get(var.1.as_str()).cloned().unwrap_or_default()
            }
            other => self.paths_of(other),
        }
    }

    fn step(&self, paths: &mut Vec<Path>, link: &Link<'_>) {
        match link {
            Link::Name(name, _) => {
                for (_, path) in paths.iter_mut() {
                    path.push((*name).to_owned());
                }
            }
            Link::Index => {}
            Link::Call(call) if self.keeps_elements(&call.name) => {}
            Link::Call(_) => paths.clear(),
        }
    }

    /// Whether a call gives the array that it is for, or one of its elements. What a function of the
    /// script's own gives cannot be told.
    fn keeps_elements(&self, name: &str) -> bool {
        SAME_ELEMENTS.contains(&name) && !self.functions.contains_key(name)
    }

    /// The paths that an expression stands for; none where that cannot be told.
    fn paths_of(&self, expr: &Expr) -> Vec<Path> {
        match expr {
            Expr::Variable(..) | Expr::Dot(..) | Expr::Index(..) => {
                let chain = of_expression(expr);
                if matches!(chain.head, Expr::Dot(..) | Expr::Index(..)) {
                    return Vec::new();
                }
                let mut paths = self.start(&chain);
                for link in &chain.links {
                    self.step(&mut paths, link);
                }
                paths
            }
            Expr::FnCall(call, _) if self.keeps_elements(&call.name) => {
                call.args.first().map_or_else(Vec::new, |list| self.paths_of(list))
            }
            Expr::Coalesce(parts, _) => parts.iter().flat_map(|part| self.paths_of(part)).collect(),
            _ => Vec::new(),
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
        let mut places = Vec::new();
        for link in &chain.links {
            if let Link::Name(name, position) = link {
                self.name(name, &paths);
                places.push(*position);
            }
            if let Link::Call(call) = link {
                self.paths(&paths, &places);
                if let Some(search) = search::of_call(call, true) {
                    self.add_search(&search, &paths);
                }
            }
            known.step(&mut paths, link);
        }
        self.paths(&paths, &places);
    }

    /// A call that is not part of a chain.
    fn add_call(&mut self, node: &ASTNode<'_>, known: &Known) {
        if let ASTNode::Stmt(Stmt::FnCall(call, _)) | ASTNode::Expr(Expr::FnCall(call, _)) = node
            && let Some(search) = search::of_call(call, false)
        {
            let list = call.args.first().map_or_else(Vec::new, |list| known.paths_of(list));
            self.add_search(&search, &list);
        }
    }

    /// The path of a search through lists at these paths: each element has it.
    fn add_search(&mut self, search: &Search<'_>, lists: &[Path]) {
        self.searched.insert(search.path.to_owned());
        let mut paths = lists.to_vec();
        let names: Vec<&str> = search.path.split('.').collect();
        for name in &names {
            self.name(name, lists);
            for (_, path) in &mut paths {
                path.push((*name).to_owned());
            }
        }
        self.paths(&paths, &vec![search.position; names.len()]);
    }

    /// A name behind these paths; none of them: it cannot be told what it is a field of.
    fn name(&mut self, name: &str, behind: &[Path]) {
        self.names.insert(name.to_owned());
        if behind.is_empty() {
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
