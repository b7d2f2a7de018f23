//! Rhai's errors as those of the port: kind, place, and a text for the author.

use rhai::{Engine, EvalAltResult as Run, ParseError, ParseErrorType, Position};
use tidewire_script::{ScriptError, ScriptErrorKind as Kind};

use crate::budget::Limit;

/// Most characters of a reason.
const REASON_CHARS_MAX: usize = 300;
const TOO_MANY_OPERATIONS: &str = "too many operations";

/// The same error at a place, if it has one.
pub(crate) fn at(error: ScriptError, position: Position) -> ScriptError {
    let number = |n: Option<usize>| n.and_then(|n| u32::try_from(n).ok());
    error.at(number(position.line()), number(position.position()))
}

/// A source that cannot be compiled.
pub(crate) fn of_parsing(error: &ParseError) -> ScriptError {
    let kind = match *error.0 {
        ParseErrorType::ExprTooDeep
        | ParseErrorType::TooManyFunctions
        | ParseErrorType::LiteralTooLarge(..) => Kind::Size,
        _ => Kind::Compile,
    };
    at(ScriptError::new(kind, tidy(&error.0.to_string())), error.1)
}

/// A run that ended badly.
pub(crate) fn of_run(engine: &Engine, error: &Run) -> ScriptError {
    let position = error.position();
    // The place and the cause are those of the innermost call.
    let mut inner = error;
    let mut place = position;
    while let Run::ErrorInFunctionCall(_, _, below, own) = inner {
        if !own.is_none() {
            place = *own;
        }
        inner = below;
        if !inner.position().is_none() {
            place = inner.position();
        }
    }
    let (kind, reason) = describe(engine, inner);
    at(ScriptError::new(kind, tidy(&reason)), place)
}

fn describe(engine: &Engine, error: &Run) -> (Kind, String) {
    match error {
        Run::ErrorTooManyOperations(_) => (Kind::Operations, TOO_MANY_OPERATIONS.to_owned()),
        Run::ErrorTerminated(token, _) => match Limit::of_token(token) {
            Some(Limit::Operations) => (Kind::Operations, TOO_MANY_OPERATIONS.to_owned()),
            _ => (Kind::Deadline, "it took too long".to_owned()),
        },
        Run::ErrorStackOverflow(_) => (Kind::Size, "calls are nested too deep".to_owned()),
        Run::ErrorTooManyVariables(_) => (Kind::Size, "too many variables".to_owned()),
        Run::ErrorDataTooLarge(what, _) => (Kind::Size, format!("too large: {what}")),
        Run::ErrorParsing(what, _) => (Kind::Compile, what.to_string()),
        Run::ErrorRuntime(value, _) => (Kind::Runtime, format!("the script threw: {value}")),
        Run::ErrorArithmetic(what, _) => (Kind::Runtime, what.clone()),
        Run::ErrorFunctionNotFound(what, _) => {
            (Kind::Type, format!("there is no function {}", type_names(what)))
        }
        Run::ErrorMismatchDataType(expected, found, _) => {
            let (expected, found) = (engine.map_type_name(expected), engine.map_type_name(found));
            (Kind::Type, format!("expected {}, found {}", type_name(expected), type_name(found)))
        }
        Run::ErrorMismatchOutputType(expected, found, _) => {
            let (expected, found) = (engine.map_type_name(expected), engine.map_type_name(found));
            (Kind::Type, format!("expected {}, found {}", type_name(expected), type_name(found)))
        }
        Run::ErrorDotExpr(what, _) => (Kind::Type, no_such_field(what)),
        Run::ErrorAssignmentToConstant(name, _) => {
            (Kind::Type, format!("'{name}' cannot be changed"))
        }
        other => (Kind::Type, without_place(&other.to_string()).to_owned()),
    }
}

/// What Rhai says of a property that a value does not have, in words of ours.
fn no_such_field(what: &str) -> String {
    const BEHIND: &str = " - a getter is not registered for type '";
    let name = what.strip_prefix("Unknown property ").and_then(|rest| rest.split_once(BEHIND));
    match name {
        Some((name, rest)) => {
            format!("{} has no field {name}", type_name(rest.trim_end_matches('\'')))
        }
        None => what.to_owned(),
    }
}

/// The text of an error without its place, which is told beside it.
fn without_place(text: &str) -> &str {
    text.rsplit_once(" (line ").map_or(text, |(before, _)| before)
}

/// The name of a type, for authors.
pub(crate) fn type_name(name: &str) -> &str {
    match name {
        "()" => "null",
        "i64" | "int" => "an integer",
        "decimal" => "a number",
        "string" => "a text",
        "bool" => "a boolean",
        "array" => "an array",
        "map" => "a map",
        "object" => "an object",
        "date" => "a date",
        "Fn" => "a function",
        other => other,
    }
}

/// The types in the signature of a function.
fn type_names(signature: &str) -> String {
    signature
        .replace("()", "null")
        .replace("&str | ImmutableString | String", "string")
        .replace("rust_decimal::decimal::Decimal", "decimal")
}

/// One line that begins like all of ours.
fn tidy(text: &str) -> String {
    let mut out: String =
        text.chars().take(REASON_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let is_word = out.chars().nth(1).is_some_and(char::is_lowercase);
    if let Some(first) = out.get(..1).map(str::to_ascii_lowercase).filter(|_| is_word) {
        out.replace_range(..1, &first);
    }
    out.trim_end_matches('.').to_owned()
}
