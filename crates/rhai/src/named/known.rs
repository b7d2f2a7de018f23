//! What the variables of a source may stand for.
//!
//! A variable holds paths, and may be *open*: it may hold something else as well, as what a function gave. The
//! paths are learned first, then what is open, both over and over until there is nothing new, since a variable may
//! hold what another one does.

use std::collections::{HashMap, HashSet};

use rhai::{AST, ASTNode, Expr, FnCallExpr, FnPtr, Stmt};
use tidewire_script::Root;

use super::Path;
use super::chain::{self, Chain, Link, of_expression};
use super::search::FIND_BY;
use crate::engine::{BEFORE, CURRENT, USER};

/// A variable may be a path by way of others, which may be by way of others: so many steps are followed.
const ALIAS_STEPS_MAX: usize = 4;
/// Most paths that one variable may stand for; what is more is told of by loose names.
const ALIASES_MAX: usize = 16;
/// Methods whose closure gets the elements of the array.
const OVER_ELEMENTS: [&str; 12] = [
    "filter", "map", "some", "any", "all", "find", "find_map", "for_each", "reduce", "drain",
    "retain", "index_of",
];
/// The one of them whose closure also gets what it gave before.
const REDUCE: &str = "reduce";
/// Methods that put their arguments into an array.
const TAKING: [&str; 6] = ["push", "insert", "append", "set", "splice", "pad"];
/// Methods that give the array, or one of its elements.
const SAME_ELEMENTS: [&str; 11] =
    ["filter", "find", FIND_BY, "extract", "first", "last", "get", "shift", "pop", "dedup", "sort"];

/// What is known of the variables and functions of a source.
pub(super) struct Known {
    /// The paths that a variable may stand for.
    aliases: HashMap<String, Vec<Path>>,
    /// Variables that may stand for something else.
    open: HashSet<String>,
    /// Whether every variable that is none of the documented ones may.
    all_open: bool,
    /// Whether that is being learned, and no more the paths.
    is_other: bool,
    /// The parameters of each function of the script, by its name.
    functions: HashMap<String, Vec<String>>,
}

impl Known {
    pub(super) fn of(ast: &AST) -> Self {
        let mut known = Self::new(ast);
        known.settle(ast);
        known.is_other = true;
        known.open_parameters(ast);
        known.settle(ast);
        known
    }

    fn new(ast: &AST) -> Self {
        let variables = [(CURRENT, Root::Current), (BEFORE, Root::Before), (USER, Root::User)];
        let functions = ast.iter_functions();
        Self {
            aliases: variables
                .map(|(name, root)| (name.to_owned(), vec![(root, Vec::new())]))
                .into(),
            open: HashSet::new(),
            all_open: false,
            is_other: false,
            functions: functions
                .map(|f| (f.name.to_owned(), f.params.iter().map(|p| (*p).to_owned()).collect()))
                .collect(),
        }
    }

    /// Learns until there is nothing new.
    fn settle(&mut self, ast: &AST) {
        for _ in 0..ALIAS_STEPS_MAX {
            let before = self.count();
            ast.walk(&mut |path| {
                if let Some(node) = path.last() {
                    self.learn(node);
                }
                if let Some(chain) = chain::at(path) {
                    self.learn_chain(&chain);
                }
                true
            });
            if self.count() == before {
                return;
            }
        }
        self.all_open = true;
    }

    /// Whoever holds a function may call it with anything, if it is not just what an array calls.
    fn open_parameters(&mut self, ast: &AST) {
        let mut held: HashMap<String, isize> = HashMap::new();
        let mut count = |function: String, by: isize| *held.entry(function).or_default() += by;
        ast.walk(&mut |path| {
            match path.last() {
                Some(ASTNode::Expr(expr @ Expr::DynamicConstant(..))) => {
                    if let Some((function, _)) = closure(expr) {
                        count(function, 1);
                    }
                }
                // By a name that is put together.
                Some(ASTNode::Stmt(Stmt::FnCall(x, _)) | ASTNode::Expr(Expr::FnCall(x, _)))
                    if x.name == "Fn" =>
                {
                    self.all_open = true;
                }
                _ => {}
            }
            let calls = chain::at(path).into_iter().flat_map(|chain| chain.links);
            for link in calls {
                if let Link::Call(call) = link
                    && OVER_ELEMENTS.contains(&call.name.as_str())
                {
                    for (function, _) in call.args.iter().filter_map(closure) {
                        count(function, -1);
                    }
                }
            }
            true
        });
        for (function, _) in held.into_iter().filter(|(_, times)| *times > 0) {
            self.open.extend(self.functions.get(&function).into_iter().flatten().cloned());
        }
    }

    fn count(&self) -> usize {
        self.aliases.values().map(Vec::len).sum::<usize>() + self.open.len()
    }

    /// Notes what variables a statement or call gives a value.
    fn learn(&mut self, node: &ASTNode<'_>) {
        match node {
            ASTNode::Stmt(Stmt::Var(x, ..)) => self.hold(x.0.as_str(), &x.1),
            ASTNode::Stmt(Stmt::Assignment(x)) => {
                if let Expr::Variable(var, ..) = &x.1.lhs {
                    self.hold(var.1.as_str(), &x.1.rhs);
                } else if let Expr::Variable(var, ..) = of_expression(&x.1.lhs).head {
                    // A part of it is set.
                    self.take(var.1.as_str(), &x.1.rhs);
                }
            }
            ASTNode::Stmt(Stmt::For(x, _)) => self.hold(x.0.as_str(), &x.2.expr),
            ASTNode::Stmt(Stmt::FnCall(call, _)) | ASTNode::Expr(Expr::FnCall(call, _)) => {
                let names = self.functions.get(call.name.as_str()).cloned().unwrap_or_default();
                for (arg, name) in call.args.iter().zip(names) {
                    self.hold(&name, arg);
                }
                let array = call.args.first();
                self.learn_taking(call, array, call.args.get(1..).unwrap_or_default());
            }
            _ => {}
        }
    }

    /// Notes what the closures of a chain get, and what is put into its arrays.
    fn learn_chain(&mut self, chain: &Chain<'_>) {
        let mut so_far = self.start(chain);
        let mut is_open = self.starts_open(chain);
        for link in &chain.links {
            if let Link::Call(call) = link {
                if OVER_ELEMENTS.contains(&call.name.as_str()) {
                    let is_more = is_open || call.name == REDUCE;
                    call.args.iter().for_each(|arg| self.learn_closure(arg, &so_far, is_more));
                }
                self.learn_taking(call, Some(chain.head), &call.args);
            }
            self.step(&mut so_far, link);
            is_open |= self.opens(link);
        }
    }

    /// What a call may put into the array that a variable holds.
    fn learn_taking(&mut self, call: &FnCallExpr, array: Option<&Expr>, taken: &[Expr]) {
        if let Some(Expr::Variable(var, ..)) = array
            && TAKING.contains(&call.name.as_str())
        {
            taken.iter().for_each(|arg| self.take(var.1.as_str(), arg));
        }
    }

    /// The parameters of a closure over elements, which may be something else as well.
    fn learn_closure(&mut self, arg: &Expr, elements: &[Path], is_open: bool) {
        if let Some((function, curried)) = closure(arg) {
            let names = self.functions.get(&function).cloned().unwrap_or_default();
            for name in names.iter().skip(curried) {
                self.add(name, elements.to_vec());
                self.add_other(name, is_open);
            }
        }
    }

    /// A variable gets this value.
    fn hold(&mut self, name: &str, value: &Expr) {
        let paths = self.paths_of(value);
        self.add(name, paths);
        self.add_other(name, self.is_open(value));
    }

    /// A variable gets this value as a part of its own.
    fn take(&mut self, name: &str, value: &Expr) {
        self.add_other(name, !is_plain(value));
    }

    fn add(&mut self, name: &str, paths: Vec<Path>) {
        if paths.is_empty() || self.is_other {
            return;
        }
        let known = self.aliases.entry(name.to_owned()).or_default();
        for path in paths {
            if known.contains(&path) {
                continue;
            }
            if known.len() >= ALIASES_MAX {
                self.open.insert(name.to_owned());
                break;
            }
            known.push(path);
        }
    }

    fn add_other(&mut self, name: &str, is_open: bool) {
        if is_open && self.is_other {
            self.open.insert(name.to_owned());
        }
    }

    /// Whether a chain starts at something that may be none of the paths that are known of it.
    pub(super) fn starts_open(&self, chain: &Chain<'_>) -> bool {
        match chain.head {
            Expr::Variable(var, ..) => {
                let name = var.1.as_str();
                let is_documented = [CURRENT, BEFORE, USER].contains(&name);
                let is_known = self.aliases.contains_key(name) && !self.all_open;
                self.open.contains(name) || !(is_documented || is_known)
            }
            Expr::Dot(..) | Expr::Index(..) => true,
            other => self.is_open(other),
        }
    }

    /// Whether a step leads to something that is none of the paths.
    pub(super) fn opens(&self, link: &Link<'_>) -> bool {
        matches!(link, Link::Call(call) if !self.keeps_elements(&call.name))
    }

    /// Whether an expression may stand for something that [`Self::paths_of`] does not give.
    pub(super) fn is_open(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Variable(..) | Expr::Dot(..) | Expr::Index(..) => {
                let chain = of_expression(expr);
                self.starts_open(&chain) || chain.links.iter().any(|link| self.opens(link))
            }
            Expr::FnCall(call, _) if self.keeps_elements(&call.name) => {
                call.args.first().is_none_or(|list| self.is_open(list))
            }
            Expr::Coalesce(parts, _) => parts.iter().any(|part| self.is_open(part)),
            other => !is_plain(other),
        }
    }

    pub(super) fn start(&self, chain: &Chain<'_>) -> Vec<Path> {
        match chain.head {
            Expr::Variable(var, ..) => {
                self.aliases.get(var.1.as_str()).cloned().unwrap_or_default()
            }
            other => self.paths_of(other),
        }
    }

    pub(super) fn step(&self, paths: &mut Vec<Path>, link: &Link<'_>) {
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
    pub(super) fn paths_of(&self, expr: &Expr) -> Vec<Path> {
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

/// Whether an expression is a value without fields.
fn is_plain(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Unit(_)
            | Expr::BoolConstant(..)
            | Expr::IntegerConstant(..)
            | Expr::CharConstant(..)
            | Expr::StringConstant(..)
            | Expr::InterpolatedString(..)
    )
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
