//! The places of a file in which mutants can be turned on and off.

use std::collections::BTreeMap;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Arm, BinOp, Expr, ExprBinary, ExprMatch, ExprStruct, ExprUnary, Pat, Signature};

use crate::mutant::{Bytes, Genre};

/// A function that is `const`.
#[derive(Debug)]
pub(crate) struct ConstFn {
    pub(crate) name: String,
    /// The word `const`.
    pub(crate) word: Bytes,
    pub(crate) all: Bytes,
}

/// The places of a file.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// The expression that a mutant changes, or the end of an arm's pattern, by the mutant's genre and the byte at which it
    /// begins in cargo-mutants' list.
    pub(crate) at: BTreeMap<(Genre, usize), Bytes>,
    /// The parts that are evaluated when the program is built, when no switch can be read.
    pub(crate) constants: Vec<Bytes>,
    pub(crate) const_fns: Vec<ConstFn>,
}

impl Places {
    pub(crate) fn of(text: &str) -> syn::Result<Self> {
        let mut places = Self::default();
        places.visit_file(&syn::parse_file(text)?);
        Ok(places)
    }

    fn const_fn(&mut self, signature: &Signature, all: &impl Spanned) {
        if let Some(word) = &signature.constness {
            self.const_fns.push(ConstFn { name: signature.ident.to_string(), word: bytes(word), all: bytes(all) });
        }
    }

    /// Adds the operators of `whole`, an expression without parentheses between them. Another operator may bind less tightly
    /// than the original. With `||` for the second `&&`, `a && b && c` is not `a && (b || c)`. A mutant is therefore a change
    /// of the whole expression.
    fn operators(&mut self, it: &ExprBinary, whole: &Bytes) {
        self.at.insert((Genre::BinaryOperator, bytes(&it.op).start), whole.clone());
        for operand in [&it.left, &it.right] {
            match &**operand {
                Expr::Binary(inner) => self.operators(inner, whole),
                other => self.visit_expr(other),
            }
        }
    }

    /// The conditions between `&&` of which one binds names, so that each must remain where it is.
    fn conditions(&mut self, it: &Expr) {
        match it {
            Expr::Binary(ExprBinary { left, op: BinOp::And(_), right, .. }) => {
                self.conditions(left);
                self.conditions(right);
            }
            other => self.visit_expr(other),
        }
    }
}

fn bytes(part: &impl Spanned) -> Bytes {
    part.span().byte_range()
}

/// Whether a condition binds names with `let`.
fn binds(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(ExprBinary { left, op: BinOp::And(_), right, .. }) => binds(left) || binds(right),
        _ => false,
    }
}

impl<'a> Visit<'a> for Places {
    fn visit_expr_binary(&mut self, it: &'a ExprBinary) {
        if binds(&it.left) || binds(&it.right) {
            self.conditions(&it.left);
            self.conditions(&it.right);
        } else {
            self.operators(it, &bytes(it));
        }
    }

    fn visit_expr_unary(&mut self, it: &'a ExprUnary) {
        self.at.insert((Genre::UnaryOperator, bytes(&it.op).start), bytes(it));
        visit::visit_expr_unary(self, it);
    }

    fn visit_expr_match(&mut self, it: &'a ExprMatch) {
        // Without an arm for all else, the other arms do not compile with a guard.
        if it.arms.iter().any(|arm| matches!(arm.pat, Pat::Wild(_))) {
            for arm in it.arms.iter().filter(|arm| !matches!(arm.pat, Pat::Guard(_))) {
                let end = bytes(&arm.pat).end;
                self.at.insert((Genre::MatchArm, bytes(arm).start), end..end);
            }
        }
        visit::visit_expr_match(self, it);
    }

    fn visit_arm(&mut self, it: &'a Arm) {
        if let Pat::Guard(pattern) = &it.pat {
            let guard = bytes(&pattern.guard);
            self.at.insert((Genre::MatchArmGuard, guard.start), guard);
        }
        visit::visit_arm(self, it);
    }

    fn visit_expr_struct(&mut self, it: &'a ExprStruct) {
        for field in &it.fields {
            self.at.insert((Genre::StructField, bytes(field).start), bytes(it));
        }
        visit::visit_expr_struct(self, it);
    }

    fn visit_item_const(&mut self, it: &'a syn::ItemConst) {
        self.constants.push(bytes(it));
    }

    fn visit_impl_item_const(&mut self, it: &'a syn::ImplItemConst) {
        self.constants.push(bytes(it));
    }

    fn visit_trait_item_const(&mut self, it: &'a syn::TraitItemConst) {
        self.constants.push(bytes(it));
    }

    fn visit_item_static(&mut self, it: &'a syn::ItemStatic) {
        self.constants.push(bytes(it));
    }

    fn visit_item_fn(&mut self, it: &'a syn::ItemFn) {
        self.const_fn(&it.sig, it);
        visit::visit_item_fn(self, it);
    }

    fn visit_impl_item_fn(&mut self, it: &'a syn::ImplItemFn) {
        self.const_fn(&it.sig, it);
        visit::visit_impl_item_fn(self, it);
    }
}
