//! CEL expressions: parsed, asked what they refer to, evaluated. The only file that knows the CEL engine.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, ExecutionError, Program, Value as Cel,
    common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators},
    extensions,
    objects::{Key, Map as CelMap},
};
use serde_json::{Map, Number, Value};

static ENGINE: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings)
        .expect("the string functions clash with nothing in the standard library");
    Arc::new(env)
});

/// The namespaces that expressions can read.
pub(super) const ROOTS: [&str; 4] = ["vars", "matrix", "env", "steps"];

/// The status functions of `if:`.
pub(super) const STATUS: [&str; 3] = ["success", "failure", "always"];

/// How the message about a missing field begins.
pub(super) const MISSING: &str = "there is no ";

/// A parsed expression.
#[derive(Debug)]
pub(super) struct Expression {
    program: Program,
    /// What it reads, in the order of the text.
    pub(super) references: Vec<Reference>,
    /// Functions it calls, operators left out.
    pub(super) functions: BTreeSet<String>,
}

/// Something that an expression reads: `steps.base.outputs.x`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// The names of the way, root first; it ends before an index that must be computed.
    pub(super) path: Vec<String>,
    /// Whether it is only asked for: `has(env.REGION)`.
    pub(super) tested: bool,
    /// Where its root stands: bytes from the start of the expression.
    pub(super) at: usize,
    /// How long it is as it was written, in bytes.
    pub(super) length: usize,
}

/// What to read of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepField<'r> {
    /// `steps.ID.outputs.NAME`.
    Output(&'r str),
    /// `steps.ID.outputs`, all of them.
    Outputs,
    /// `steps.ID.outcome` and `steps.ID.conclusion`.
    Outcome,
    /// Anything else, which does not exist.
    Unknown,
}

impl Reference {
    /// The step it reads, if it reads one.
    pub(super) fn step(&self) -> Option<(&str, StepField<'_>)> {
        let [root, id, rest @ ..] = self.path.as_slice() else { return None };
        let field = match rest {
            [outputs, name, ..] if outputs == "outputs" => StepField::Output(name),
            [outputs] if outputs == "outputs" => StepField::Outputs,
            [outcome] if outcome == "outcome" || outcome == "conclusion" => StepField::Outcome,
            _ => StepField::Unknown,
        };
        (root == "steps").then_some((id, field))
    }
}

/// Why an expression cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// Bytes from the start of the expression.
    pub(super) at: usize,
    /// A fragment.
    pub(super) message: String,
}

/// Parses an expression.
///
/// # Errors
/// The first place where it is not CEL.
pub(super) fn parse(source: &str) -> Result<Expression, SyntaxError> {
    if source.trim().is_empty() {
        return Err(SyntaxError { at: 0, message: "the expression is empty".into() });
    }
    let program = ENGINE.compile(source).map_err(|errors| {
        let error = errors.errors.first();
        let (line, column) = error.map_or((1, 1), |error| error.pos);
        let before: usize =
            source.split_inclusive('\n').take(usize::try_from(line - 1).unwrap_or(0)).map(str::len).sum();
        let at = before + usize::try_from(column - 1).unwrap_or(0);
        let message = error.map(|error| error.msg.as_str()).unwrap_or("not CEL");
        SyntaxError { at: at.min(source.len()), message: syntax_message(message) }
    })?;
    let mut found = Finder { source, program: &program, references: Vec::new(), functions: BTreeSet::new() };
    found.walk(program.expression(), &mut Vec::new());
    let Finder { mut references, functions, .. } = found;
    references.sort_by_key(|reference| reference.at);
    Ok(Expression { references, functions, program })
}

impl Expression {
    /// Evaluates it. `status` answers the status functions, in the order of [`STATUS`].
    ///
    /// # Errors
    /// A fragment that says what cannot be computed.
    pub(super) fn evaluate(
        &self,
        roots: impl IntoIterator<Item = (&'static str, Value)>,
        status: Option<[bool; 3]>,
    ) -> Result<Value, String> {
        let mut context = Context::with_env(Arc::clone(&ENGINE));
        for (name, value) in roots {
            context.add_variable_from_value(name, to_cel(&value));
        }
        for (name, holds) in STATUS.iter().zip(status.into_iter().flatten()) {
            context.add_function(name, move || holds).map_err(|error| error.to_string())?;
        }
        self.program.execute(&context).map_err(|error| words(&error)).and_then(|value| to_json(&value))
    }
}

/// Whether there is a function of this name, as a function or as a method.
pub(super) fn is_function(name: &str) -> bool {
    let unknown = |call: String| {
        let Ok(program) = ENGINE.compile(&call) else { return true };
        matches!(
            program.execute(&Context::with_env(Arc::clone(&ENGINE))),
            Err(ExecutionError::UndeclaredReference(_))
        )
    };
    STATUS.contains(&name) || !unknown(format!("{name}()")) || !unknown(format!("''.{name}()"))
}

struct Finder<'p> {
    source: &'p str,
    program: &'p Program,
    references: Vec<Reference>,
    functions: BTreeSet<String>,
}

impl Finder<'_> {
    /// Collects references and functions; `bound` are the variables of the macros around.
    fn walk(&mut self, node: &IdedExpr, bound: &mut Vec<String>) {
        if let Some((path, root)) = path(node) {
            if !bound.contains(&path[0]) && !path[0].starts_with('@') {
                let tested = matches!(&node.expr, Expr::Select(select) if select.test);
                self.refer(path, tested, root);
            }
            return;
        }
        match &node.expr {
            Expr::Call(call) => {
                if call.func_name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                    self.functions.insert(call.func_name.clone());
                }
                for part in call.target.as_deref().into_iter().chain(&call.args) {
                    self.walk(part, bound);
                }
            }
            Expr::Comprehension(all) => {
                self.walk(&all.iter_range, bound);
                let outer = bound.len();
                bound.extend([all.iter_var.clone(), all.accu_var.clone()]);
                bound.extend(all.iter_var2.clone());
                for part in [&all.accu_init, &all.loop_cond, &all.loop_step, &all.result] {
                    self.walk(part, bound);
                }
                bound.truncate(outer);
            }
            Expr::List(list) => list.elements.iter().for_each(|part| self.walk(part, bound)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.walk_entry(&entry.expr, bound)),
            Expr::Struct(all) => all.entries.iter().for_each(|entry| self.walk_entry(&entry.expr, bound)),
            Expr::Select(select) => self.walk(&select.operand, bound),
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn walk_entry(&mut self, entry: &EntryExpr, bound: &mut Vec<String>) {
        match entry {
            EntryExpr::StructField(field) => self.walk(&field.value, bound),
            EntryExpr::MapEntry(entry) => {
                self.walk(&entry.key, bound);
                self.walk(&entry.value, bound);
            }
        }
    }

    fn refer(&mut self, path: Vec<String>, tested: bool, root: u64) {
        let offset = self.program.source_info().offset_for(root).map_or(0, |(start, _)| start as usize);
        let at = self.source.char_indices().nth(offset).map_or(0, |(at, _)| at);
        let length = self.source[at..]
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '[' | ']' | '\'' | '"' | '-')))
            .unwrap_or(self.source.len() - at);
        let written = self.source[at..at + length].trim_end_matches([']', '.', '-']);
        // `['x']` ends in a bracket that belongs to it.
        let closed = written.matches('[').count() > written.matches(']').count();
        self.references.push(Reference { path, tested, at, length: written.len() + usize::from(closed) });
    }
}

/// The names of `a.b['c']`, root first, and the root's node.
fn path(node: &IdedExpr) -> Option<(Vec<String>, u64)> {
    match &node.expr {
        Expr::Ident(name) => Some((vec![name.clone()], node.id)),
        Expr::Select(select) => {
            let (mut names, root) = path(&select.operand)?;
            names.push(select.field.clone());
            Some((names, root))
        }
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(key)), .. }] => {
                let (mut names, root) = path(operand)?;
                names.push(key.inner().to_owned());
                Some((names, root))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The engine's message as far as it helps: a list of all tokens that could have come does not.
fn syntax_message(message: &str) -> String {
    let message = message.trim_start_matches("Syntax error: ").replace("at '<EOF>'", "at the end");
    let message = message.split(" expecting ").next().unwrap_or_default().trim();
    let unexpected = [
        "mismatched input ",
        "extraneous input ",
        "no viable alternative at input ",
        "token recognition error at: ",
    ]
    .iter()
    .find_map(|prefix| message.strip_prefix(prefix))
    .map(|token| token.trim_matches('\'').trim());
    match unexpected {
        Some("<EOF>" | "") => "it ends too early".into(),
        Some(token) => format!("unexpected `{token}`"),
        None => lower(message),
    }
}

fn words(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("{MISSING}`{key}`"),
        ExecutionError::UndeclaredReference(name) => format!("there is no `{name}`"),
        ExecutionError::IndexOutOfBounds(_) => "the index is behind the end of the list".into(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".into(),
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            let sign = match *operator {
                "add" => "+",
                "sub" => "-",
                "mul" => "*",
                "div" => "/",
                "rem" => "%",
                other => other,
            };
            format!("`{sign}` does not take {} and {}", left.type_of(), right.type_of())
        }
        ExecutionError::NoSuchOverload(overload) if overload.function() == "_._" => {
            let of = overload.argument_types().first().map_or("the value", String::as_str);
            format!("a {} has no fields", of.trim_end_matches("_type"))
        }
        ExecutionError::NoSuchOverload(overload) => {
            let name = overload.function().trim_matches(['_', '@']);
            format!("`{name}` does not take {}", overload.argument_types().join(" and "))
        }
        ExecutionError::FunctionError { function, message } => format!("`{function}`: {}", lower(message)),
        other => lower(&other.to_string()),
    }
}

fn lower(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        // Integers are `int` wherever they fit, because CEL does not add `int` and `uint`.
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Cel::Int(int),
            (None, Some(uint)) => Cel::UInt(uint),
            (None, None) => Cel::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(map) => Cel::Map(CelMap {
            map: Arc::new(map.iter().map(|(key, value)| (Key::from(key.as_str()), to_cel(value))).collect()),
        }),
    }
}

fn to_json(value: &Cel) -> Result<Value, String> {
    Ok(match value {
        Cel::Null => Value::Null,
        Cel::Bool(value) => Value::Bool(*value),
        Cel::Int(int) => (*int).into(),
        Cel::UInt(uint) => (*uint).into(),
        Cel::Float(float) => {
            Value::Number(Number::from_f64(*float).ok_or("the result is not a number that JSON can say")?)
        }
        Cel::String(text) => Value::String(text.to_string()),
        Cel::List(items) => Value::Array(items.iter().map(to_json).collect::<Result<_, _>>()?),
        Cel::Map(map) => {
            // The engine's maps have no order; a plan must not change from run to run.
            let mut entries: Vec<_> = map.map.iter().map(|(key, value)| (key.to_string(), value)).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            let pairs = entries.into_iter().map(|(key, value)| Ok((key, to_json(value)?)));
            Value::Object(pairs.collect::<Result<Map<_, _>, String>>()?)
        }
        other => return Err(format!("the result is a {}, which no configuration can hold", other.type_of())),
    })
}
