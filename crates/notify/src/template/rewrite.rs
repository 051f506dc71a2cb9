//! Field accesses become calls of [`super::data::member`], which knows methods; and what a template calls.

use std::collections::BTreeMap;

use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, PipeNode, Pos, SmolStr};

/// The function that every field access becomes: receiver, path joined by dots, arguments of the last step.
pub(crate) const MEMBER: &str = "_member";

/// Rewrites a body in place. The parser has bounded its depth.
pub(crate) fn list(body: &mut ListNode) {
    for node in &mut body.nodes {
        match node {
            Node::List(inner) => list(inner),
            Node::Action(action) => pipe(&mut action.pipe),
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
                pipe(&mut branch.pipe);
                list(&mut branch.body);
                branch.else_body.iter_mut().for_each(list);
            }
            Node::Template(call) => call.pipe.iter_mut().for_each(pipe),
            Node::Define(define) => list(&mut define.body),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
}

fn pipe(pipe: &mut PipeNode) {
    pipe.commands.iter_mut().for_each(command);
}

fn command(command: &mut CommandNode) {
    let mut args = std::mem::take(&mut command.args).into_iter();
    let Some(head) = args.next() else { return };
    // A field with arguments is a method call, as is one that a value is piped into: both append to this list.
    command.args = match access(head) {
        Ok(call) => call,
        Err(other) => vec![other],
    };
    command.args.extend(args.map(expression));
}

fn expression(expression: Expr) -> Expr {
    match access(expression) {
        Ok(call) => {
            let pos = call[0].pos();
            let command = CommandNode { pos, args: call };
            Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands: vec![command], is_assign: false })
        }
        Err(other) => other,
    }
}

/// The call that a field access becomes (never empty), or the expression where it is none.
fn access(expression: Expr) -> Result<Vec<Expr>, Expr> {
    let (pos, receiver, fields) = match expression {
        Expr::Field(pos, fields) => (pos, Expr::Dot(pos), fields),
        Expr::Variable(pos, name, fields) if !fields.is_empty() => (pos, Expr::Variable(pos, name, Vec::new()), fields),
        Expr::Chain(pos, inner, fields) => (pos, self::expression(*inner), fields),
        Expr::Pipe(pos, mut inner) => {
            pipe(&mut inner);
            return Err(Expr::Pipe(pos, inner));
        }
        other => return Err(other),
    };
    let path = fields.join(".");
    Ok(vec![Expr::Identifier(pos, SmolStr::new(MEMBER)), receiver, Expr::String(pos, path.into())])
}

/// The line on which a node of a body begins.
pub(crate) fn line(node: &Node) -> Option<usize> {
    match node {
        Node::Text(text) => Some(text.pos.line),
        Node::Action(action) => Some(action.pos.line),
        Node::If(branch) | Node::Range(branch) | Node::With(branch) => Some(branch.pos.line),
        Node::Template(call) => Some(call.pos.line),
        Node::Break(pos) | Node::Continue(pos) => Some(pos.line),
        Node::List(_) | Node::Define(_) => None,
    }
}

/// Names with the line of their first use.
#[derive(Debug, Default)]
pub(crate) struct Calls<'a> {
    pub(crate) functions: BTreeMap<&'a str, usize>,
    pub(crate) templates: BTreeMap<&'a str, usize>,
}

/// What a body calls.
pub(crate) fn calls(body: &ListNode) -> Calls<'_> {
    let mut out = Calls::default();
    out.list(body);
    out
}

impl<'a> Calls<'a> {
    fn list(&mut self, body: &'a ListNode) {
        for node in &body.nodes {
            match node {
                Node::List(inner) => self.list(inner),
                Node::Action(action) => self.pipe(&action.pipe),
                Node::If(branch) | Node::Range(branch) | Node::With(branch) => self.branch(branch),
                Node::Template(call) => {
                    self.templates.entry(&call.name).or_insert(call.pos.line);
                    call.pipe.iter().for_each(|p| self.pipe(p));
                }
                Node::Define(define) => self.list(&define.body),
                Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
            }
        }
    }

    fn branch(&mut self, branch: &'a BranchNode) {
        self.pipe(&branch.pipe);
        self.list(&branch.body);
        branch.else_body.iter().for_each(|b| self.list(b));
    }

    fn pipe(&mut self, pipe: &'a PipeNode) {
        pipe.commands.iter().flat_map(|c| &c.args).for_each(|e| self.expression(e));
    }

    fn expression(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Identifier(Pos { line, .. }, name) => {
                self.functions.entry(name).or_insert(*line);
            }
            Expr::Pipe(_, inner) => self.pipe(inner),
            Expr::Chain(_, inner, _) => self.expression(inner),
            _ => {}
        }
    }
}
