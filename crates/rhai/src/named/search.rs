//! Calls of `find_by`, whose path names fields as a chain of names does.

use rhai::{ASTNode, Expr, FnCallExpr, Position, Stmt};
use tidewire_script::{ScriptError, ScriptErrorKind as Kind};

use crate::errors::at;
use crate::path::{NAMES_MAX, names};

/// The function that gives the first element of a list with a value at a path.
pub(crate) const FIND_BY: &str = "find_by";

/// A call with a path that can be read in the source.
pub(super) struct Search<'a> {
    pub(super) path: &'a str,
    pub(super) position: Position,
}

/// What a call of this name and form searches for; `None` where it is no search, or a refused one.
pub(super) fn of_call(call: &FnCallExpr, is_method: bool) -> Option<Search<'_>> {
    match path_of(call, is_method)? {
        Expr::StringConstant(path, position) => {
            names(path).map(|_| Search { path: path.as_str(), position: *position })
        }
        _ => None,
    }
}

/// The path of a call of the function: `list.find_by(path, value)`, `find_by(list, path, value)`.
fn path_of(call: &FnCallExpr, is_method: bool) -> Option<&Expr> {
    let (arguments, place) = if is_method { (2, 0) } else { (3, 1) };
    let is_search = call.name == FIND_BY && call.args.len() == arguments;
    call.args.get(place).filter(|_| is_search)
}

/// Whether a node is a call whose path is none, or cannot be read in the source.
pub(super) fn refused(node: &ASTNode<'_>) -> Option<ScriptError> {
    let (call, is_method) = match node {
        ASTNode::Stmt(Stmt::FnCall(call, _)) | ASTNode::Expr(Expr::FnCall(call, _)) => {
            (call, false)
        }
        ASTNode::Expr(Expr::MethodCall(call, _)) => (call, true),
        _ => return None,
    };
    let path = path_of(call, is_method)?;
    let reason = match path {
        Expr::StringConstant(text, _) if names(text).is_some() => return None,
        Expr::StringConstant(text, _) => {
            let shown: String = text.chars().take(40).collect();
            format!(
                "\"{shown}\" is no path of fields, expected up to {NAMES_MAX} names with dots between them"
            )
        }
        _ => format!(
            "{FIND_BY}() wants its path written out, as in {FIND_BY}(\"event.eventCode\", \"ARR\")"
        ),
    };
    Some(at(ScriptError::new(Kind::Compile, reason), path.start_position()))
}
