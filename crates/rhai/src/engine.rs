//! The engine port, implemented.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rhai::{AST, Dynamic, Engine, Map, Position, Scope};
use tidewire_event::image::{BodyLimits, Document};
use tidewire_script::{
    Event, Fields, Outcome, RESULTS_MAX, References, ScriptError, ScriptErrorKind as Kind,
};

use crate::errors::{self, at};
use crate::object::{Image, NameId, Object};
use crate::setup::{self, Clock};
use crate::{ScriptLimits, helpers, named, value};

/// The variables of a script, as they are named in its source.
pub(crate) const CURRENT: &str = "dlpObject";
pub(crate) const BEFORE: &str = "oldDlpObject";
pub(crate) const USER: &str = "wsUser";
const EVENT_TYPE: &str = "eventType";
const OBJECT_TYPE: &str = "objectType";
const RESULTS: &str = "mapResultsForMessage";
const MESSAGES: &str = "mapMessageFromServer";
/// The entry of the message map that is the message.
const MESSAGE: &str = "MSG";

/// Rhai, with what scripts may use. Belongs to one thread.
pub struct RhaiEngine {
    engine: Engine,
    limits: ScriptLimits,
    clock: Clock,
    deadline: Rc<Cell<Duration>>,
    /// What a run may use now.
    cpu_max: Duration,
    /// The names of fields that have a getter.
    names: HashMap<String, NameId>,
}

/// A compiled script.
pub struct Compiled {
    ast: AST,
    fields: Fields,
    /// Where the last statement stands, for a script that returns no boolean.
    end: Position,
}

/// An event whose objects scripts can look at.
pub struct Opened {
    scope: Scope<'static>,
}

impl RhaiEngine {
    /// Makes an engine. `clock` tells how much CPU time was used, since any moment.
    #[must_use]
    pub fn new(limits: ScriptLimits, clock: Rc<dyn Fn() -> Duration>) -> Self {
        let deadline = Rc::new(Cell::new(Duration::MAX));
        let engine = setup::engine(&limits, Rc::clone(&clock), Rc::clone(&deadline));
        let cpu_max = limits.cpu_max;
        Self { engine, limits, clock, deadline, cpu_max, names: HashMap::new() }
    }

    /// Gives a field of this name a getter: on objects its value, on null null.
    fn know(&mut self, name: &str) {
        if self.names.contains_key(name) {
            return;
        }
        let id = NameId::try_from(self.names.len()).unwrap_or(NameId::MAX);
        self.names.insert(name.to_owned(), id);
        let own: Rc<str> = Rc::from(name);
        self.engine.register_get(name, move |object: &mut Object| object.member(id, &own));
        // What may be asked of nothing has its answer already.
        if !helpers::OF_NULL.contains(&name) {
            self.engine.register_get(name, |_: &mut ()| ());
        }
    }

    fn outcome(&self, scope: &Scope<'_>, end: Position) -> Result<Outcome, ScriptError> {
        let wrong = |reason: String| at(ScriptError::new(Kind::Type, reason), end);
        let map = |name: &str| {
            let value = scope.get(name).map(Dynamic::flatten_clone).unwrap_or_default();
            value.try_cast::<Map>().ok_or_else(|| wrong(format!("{name} is no map any more")))
        };
        let results = map(RESULTS)?;
        if results.len() > RESULTS_MAX {
            return Err(wrong(format!("{RESULTS} has more than {RESULTS_MAX} entries")));
        }
        let mut texts = Vec::with_capacity(results.len());
        for (name, value) in results {
            let text = value::text(&value).ok_or_else(|| {
                let what = errors::type_name(self.engine.map_type_name(value.type_name()));
                wrong(format!(
                    "{RESULTS}[\"{name}\"] is {what}, which has no text: name one of its fields"
                ))
            })?;
            texts.push((name.to_string(), text));
        }
        let message = match map(MESSAGES)?.get(MESSAGE) {
            None => None,
            Some(value) => Some(value::text(value).ok_or_else(|| {
                let what = errors::type_name(self.engine.map_type_name(value.type_name()));
                wrong(format!("{MESSAGES}[\"{MESSAGE}\"] is {what}, expected a text"))
            })?),
        };
        Ok(Outcome { fired: true, results: texts, message })
    }
}

impl tidewire_script::Engine for RhaiEngine {
    type Script = Compiled;
    type Opened = Opened;

    fn compile(&mut self, source: &str) -> Result<Compiled, ScriptError> {
        let mut scope = Scope::new();
        for name in [CURRENT, BEFORE, USER, EVENT_TYPE, OBJECT_TYPE, RESULTS, MESSAGES] {
            scope.push_dynamic(name, Dynamic::UNIT);
        }
        let ast =
            self.engine.compile_with_scope(&scope, source).map_err(|e| errors::of_parsing(&e))?;
        let (fields, names) = named::find(&ast);
        if names.len() > self.limits.names_max {
            let reason = format!("the script names more than {} fields", self.limits.names_max);
            return Err(ScriptError::new(Kind::Size, reason));
        }
        for name in &names {
            self.know(name);
        }
        let end = ast.statements().last().map_or(Position::NONE, rhai::Stmt::position);
        Ok(Compiled { ast, fields, end })
    }

    fn fields<'s>(&self, script: &'s Compiled) -> &'s Fields {
        &script.fields
    }

    fn limit_cpu(&mut self, cpu_max: Option<Duration>) {
        self.cpu_max = cpu_max.map_or(self.limits.cpu_max, |max| max.min(self.limits.cpu_max));
    }

    fn open(&self, event: &Event, references: &Rc<dyn References>) -> Opened {
        let image = Image::of_event(Arc::clone(&event.body), Rc::clone(references));
        let object = |node: Option<tidewire_event::image::Node<'_>>| {
            node.map_or(Dynamic::UNIT, |node| {
                Dynamic::from(Object::new(Rc::clone(&image), node.place()))
            })
        };
        let mut scope = Scope::new();
        scope
            .push_constant_dynamic(CURRENT, object(event.current()))
            .push_constant_dynamic(BEFORE, object(event.before()))
            .push_constant_dynamic(USER, user(event.changed_by, references))
            .push_constant(EVENT_TYPE, event.operation.as_str())
            .push_constant(OBJECT_TYPE, event.object_type.as_str().to_owned())
            .push(RESULTS, Map::new())
            .push(MESSAGES, Map::new());
        Opened { scope }
    }

    fn evaluate(&self, script: &Compiled, opened: &Opened) -> Result<Outcome, ScriptError> {
        // A scope of its own: what a script does to its variables is nobody else's business.
        let mut scope = opened.scope.clone();
        self.deadline.set((self.clock)() + self.cpu_max);
        let returned = self
            .engine
            .eval_ast_with_scope::<Dynamic>(&mut scope, &script.ast)
            .map_err(|e| errors::of_run(&self.engine, &e))?;
        match returned.as_bool() {
            Ok(true) => self.outcome(&scope, script.end),
            Ok(false) => Ok(Outcome::default()),
            Err(type_name) => {
                let what = errors::type_name(self.engine.map_type_name(type_name));
                let reason =
                    format!("the script returned {what}, expected true or false on every path");
                Err(at(ScriptError::new(Kind::Type, reason), script.end))
            }
        }
    }
}

/// `wsUser`: an object with the user's key; what else is known of him stands behind the reference.
fn user(key: Option<u64>, references: &Rc<dyn References>) -> Dynamic {
    let Some(key) = key else { return Dynamic::UNIT };
    let text = format!("{{\"key\":{key},\"self\":\"/ws/rest/User/{key}\"}}");
    match Document::parse(Bytes::from(text), BodyLimits::default()) {
        Ok(document) => {
            let image = Image::of_document(Arc::new(document), Rc::clone(references));
            Dynamic::from(Object::new(image, 0))
        }
        // The text is made of one number: it is JSON.
        Err(_) => Dynamic::UNIT,
    }
}
