//! Go's rules that the template library leaves to run time or does not know: unknown functions and variables are found
//! when a template is parsed; a label that is missing is empty, not `<no value>`; numbers print as Go prints them.
//!
//! The last two are had by rewriting the tree: `$labels.job` becomes a call of [`FIELD`], what an action prints passes
//! through [`PRINT`], and what `printf` prints through [`VERB`].

use std::mem;
use std::sync::Arc;

use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, Number, PipeNode, SmolStr};

/// Reads a field; names no template can write.
pub(crate) const FIELD: &str = "\u{0}field";
/// Turns a value into what Go prints.
pub(crate) const PRINT: &str = "\u{0}print";

/// Turns an argument of `printf` into what Go prints for its verb.
pub(crate) const VERB: &str = "\u{0}verb";

pub(crate) struct Rewriter {
    exists: fn(&str) -> bool,
    variables: Vec<SmolStr>,
    problem: Option<String>,
}

impl Rewriter {
    pub(crate) fn new(exists: fn(&str) -> bool) -> Self {
        Self { exists, variables: Vec::new(), problem: None }
    }

    /// The first problem found.
    pub(crate) fn finish(self) -> Result<(), String> {
        self.problem.map_or(Ok(()), Err)
    }

    /// One template; each sees only `$` and what it declares.
    pub(crate) fn template(&mut self, body: &mut ListNode) {
        self.variables = vec![SmolStr::new_static("$")];
        self.list(body);
    }

    fn report(&mut self, line: usize, problem: String) {
        self.problem.get_or_insert_with(|| format!("line {line}: {problem}"));
    }

    fn list(&mut self, list: &mut ListNode) {
        list.nodes.iter_mut().for_each(|node| self.node(node));
    }

    fn node(&mut self, node: &mut Node) {
        match node {
            Node::List(list) => self.list(list),
            Node::Action(action) => {
                self.pipe(&mut action.pipe);
                if action.pipe.decl.is_empty() {
                    let print = Expr::Identifier(action.pos, SmolStr::new_static(PRINT));
                    action.pipe.commands.push(CommandNode { pos: action.pos, args: vec![print] });
                }
            }
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => self.branch(branch),
            Node::Template(call) => {
                if let Some(pipe) = &mut call.pipe {
                    self.pipe(pipe);
                }
            }
            Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }

    /// What a branch declares ends with it.
    fn branch(&mut self, branch: &mut BranchNode) {
        let outside = self.variables.len();
        self.pipe(&mut branch.pipe);
        self.list(&mut branch.body);
        if let Some(otherwise) = &mut branch.else_body {
            self.list(otherwise);
        }
        self.variables.truncate(outside);
    }

    fn pipe(&mut self, pipe: &mut PipeNode) {
        for command in &mut pipe.commands {
            command.args.iter_mut().for_each(|expr| self.expr(expr));
        }
        for (at, command) in mem::take(&mut pipe.commands).into_iter().enumerate() {
            let [piped, command] = match with_verbs(command) {
                Ok(commands) => commands,
                Err(other) => {
                    pipe.commands.push(other);
                    continue;
                }
            };
            if at > 0 {
                pipe.commands.push(piped);
            }
            pipe.commands.push(command);
        }
        if pipe.is_assign {
            for name in &pipe.decl {
                self.variable(pipe.pos.line, name);
            }
        } else {
            self.variables.extend(pipe.decl.iter().cloned());
        }
    }

    fn variable(&mut self, line: usize, name: &SmolStr) {
        if !self.variables.contains(name) {
            self.report(line, format!("undefined variable {name:?}"));
        }
    }

    fn expr(&mut self, expr: &mut Expr) {
        match expr {
            Expr::Identifier(pos, name) => {
                if !(self.exists)(name) {
                    let (line, problem) = (pos.line, format!("function {name:?} not defined"));
                    self.report(line, problem);
                }
            }
            Expr::Variable(pos, name, fields) => {
                let (pos, fields) = (*pos, mem::take(fields));
                self.variable(pos.line, name);
                if !fields.is_empty() {
                    read_fields(expr, &fields);
                }
            }
            Expr::Field(pos, fields) => {
                let fields = mem::take(fields);
                *expr = Expr::Dot(*pos);
                read_fields(expr, &fields);
            }
            Expr::Chain(_, inner, fields) => {
                self.expr(inner);
                // A call with arguments: its command looks at the chain, so it stays one.
                if !matches!(**inner, Expr::Identifier(..)) {
                    let fields = mem::take(fields);
                    let pos = inner.pos();
                    *expr = mem::replace(inner, Expr::Dot(pos));
                    read_fields(expr, &fields);
                }
            }
            Expr::Pipe(_, pipe) => self.pipe(pipe),
            Expr::Dot(_) | Expr::String(..) | Expr::Number(..) | Expr::Bool(..) | Expr::Nil(_) => {}
        }
    }
}

/// `x | printf f a` becomes `x | VERB f 1 | printf f (VERB f 0 a)`: the command for what is piped in, and the call.
/// Other commands come back as they are.
fn with_verbs(mut command: CommandNode) -> Result<[CommandNode; 2], CommandNode> {
    let pos = command.pos;
    let is_printf = matches!(command.args.first(), Some(Expr::Identifier(_, name)) if name == "printf");
    let Some(format) = command.args.get(1).cloned().filter(|_| is_printf) else { return Err(command) };
    let verb = |at: usize| {
        let index = Number::Int(i64::try_from(at).unwrap_or(i64::MAX));
        vec![Expr::Identifier(pos, SmolStr::new_static(VERB)), format.clone(), Expr::Number(pos, index)]
    };
    let given = command.args.len() - 2;
    for (at, arg) in command.args[2..].iter_mut().enumerate() {
        let mut args = verb(at);
        args.push(mem::replace(arg, Expr::Dot(pos)));
        let commands = vec![CommandNode { pos, args }];
        *arg = Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands, is_assign: false });
    }
    Ok([CommandNode { pos, args: verb(given) }, command])
}

/// `expr` becomes `(FIELD expr "a" "b" ...)`.
fn read_fields(expr: &mut Expr, fields: &[SmolStr]) {
    let pos = expr.pos();
    let base = mem::replace(expr, Expr::Dot(pos));
    let mut args = vec![Expr::Identifier(pos, SmolStr::new_static(FIELD)), base];
    args.extend(fields.iter().map(|name| Expr::String(pos, Arc::from(name.as_str()))));
    let commands = vec![CommandNode { pos, args }];
    *expr = Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands, is_assign: false });
}
