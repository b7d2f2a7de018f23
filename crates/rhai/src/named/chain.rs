//! A chain of names, calls and indexes, as one list.
//!
//! Rhai's tree of `a.b[0].c` is `Dot(a, Index(b, Dot(0, c)))`: what stands left in a node below the first
//! belongs to the node above. A flag says where a right side is an expression of its own (`a[b.c]`).

use rhai::{ASTFlags, ASTNode, Expr, FnCallExpr, Position};

/// One step of a chain.
pub(super) enum Link<'a> {
    /// `.name`.
    Name(&'a str, Position),
    /// `[...]`.
    Index,
    /// `.name(...)`.
    Call(&'a FnCallExpr),
}

/// Where a chain starts, and its steps.
pub(super) struct Chain<'a> {
    pub(super) head: &'a Expr,
    pub(super) links: Vec<Link<'a>>,
}

/// The chain that starts at the last node of a walk; `None` where that is in the middle of one, or is none.
pub(super) fn at<'a>(path: &[ASTNode<'a>]) -> Option<Chain<'a>> {
    let (last, above) = path.split_last()?;
    let ASTNode::Expr(expr @ (Expr::Dot(..) | Expr::Index(..))) = last else { return None };
    if let Some(ASTNode::Expr(Expr::Dot(x, flags, _) | Expr::Index(x, flags, _))) = above.last()
        && !flags.intersects(ASTFlags::BREAK)
        && std::ptr::eq(&raw const x.rhs, std::ptr::from_ref(*expr))
    {
        return None;
    }
    Some(of_expression(expr))
}

/// The chain of an expression: of a bare variable one without steps.
pub(super) fn of_expression(expr: &Expr) -> Chain<'_> {
    let (Expr::Dot(x, flags, _) | Expr::Index(x, flags, _)) = expr else {
        return Chain { head: expr, links: Vec::new() };
    };
    // A chain in brackets at the beginning: `(a.b).c`.
    let mut chain = of_expression(&x.lhs);
    let mut is_dot = matches!(expr, Expr::Dot(..));
    let (mut rest, mut flags) = (&x.rhs, *flags);
    loop {
        match rest {
            Expr::Dot(x, below, _) | Expr::Index(x, below, _)
                if !flags.intersects(ASTFlags::BREAK) =>
            {
                chain.links.push(link(&x.lhs, is_dot));
                is_dot = matches!(rest, Expr::Dot(..));
                (rest, flags) = (&x.rhs, *below);
            }
            last => {
                chain.links.push(link(last, is_dot));
                return chain;
            }
        }
    }
}

fn link(expr: &Expr, is_dot: bool) -> Link<'_> {
    match expr {
        Expr::Property(x, position) if is_dot => Link::Name(x.2.as_str(), *position),
        Expr::MethodCall(call, _) if is_dot => Link::Call(call),
        _ => Link::Index,
    }
}
