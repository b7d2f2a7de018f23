//! The engine port, implemented.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rhai::{AST, Caches, Dynamic, Engine, EvalAltResult, Map, Position, Scope};
use tidewire_script::{
    Event, Fields, Outcome, RESULTS_MAX, References, ScriptError, ScriptErrorKind as Kind,
};

use crate::errors::{self, at};
use crate::object::{Image, NameId, Object};
use crate::setup::{self, Budget, Clock};
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
    budget: Rc<Budget>,
    /// The variables of every script, without values.
    template: Scope<'static>,
    /// The names of fields that have a getter.
    names: HashMap<String, NameId>,
}

/// A compiled script.
pub struct Compiled {
    ast: AST,
    fields: Fields,
    /// Where the last statement stands, for a script that returns no boolean.
    end: Position,
    /// The functions that its names and operators have turned out to mean. Its own: another script may have
    /// a function of the same name.
    caches: RefCell<Caches>,
}

/// An event whose objects scripts can look at.
pub struct Opened {
    scope: Scope<'static>,
}

impl RhaiEngine {
    /// Makes an engine. `clock` tells how much CPU time was used, since any moment.
    #[must_use]
    pub fn new(limits: ScriptLimits, clock: Rc<dyn Fn() -> Duration>) -> Self {
        let budget = Rc::new(Budget::default());
        budget.cpu_max.set(limits.cpu_max);
        let engine = setup::engine(&limits, Rc::clone(&clock), Rc::clone(&budget));
        let mut template = Scope::new();
        for name in [CURRENT, BEFORE, USER, EVENT_TYPE, OBJECT_TYPE] {
            template.push_dynamic(name, Dynamic::UNIT);
        }
        template.push(RESULTS, Map::new()).push(MESSAGES, Map::new());
        Self { engine, limits, clock, budget, template, names: HashMap::new() }
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

    /// As `Engine::eval_ast_with_scope`, with what was found out in the runs before: to find the functions
    /// behind fields and operators is the larger part of a short run.
    fn run(&self, script: &Compiled, scope: &mut Scope<'_>) -> Result<Dynamic, Box<EvalAltResult>> {
        let mut global = self.engine.new_global_runtime_state();
        global.lib.push(Rc::clone(script.ast.shared_lib()));
        let caches = &mut *script.caches.borrow_mut();
        let statements = script.ast.statements();
        #[expect(deprecated, reason = "Rhai marks as deprecated what may change between versions")]
        self.engine.eval_statements_raw(&mut global, caches, scope, statements)
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
        let ast = self
            .engine
            .compile_with_scope(&self.template, source)
            .map_err(|e| errors::of_parsing(&e))?;
        let (fields, names) = named::find(&ast);
        if names.len() > self.limits.names_max {
            let reason = format!("the script names more than {} fields", self.limits.names_max);
            return Err(ScriptError::new(Kind::Size, reason));
        }
        for name in &names {
            self.know(name);
        }
        let end = ast.statements().last().map_or(Position::NONE, rhai::Stmt::position);
        Ok(Compiled { ast, fields, end, caches: RefCell::default() })
    }

    fn fields<'s>(&self, script: &'s Compiled) -> &'s Fields {
        &script.fields
    }

    fn limit_cpu(&mut self, cpu_max: Option<Duration>) {
        let all = self.limits.cpu_max;
        self.budget.begin(cpu_max.map_or(all, |max| max.min(all)), (self.clock)());
    }

    fn open(&self, event: &Event, references: &Rc<dyn References>) -> Opened {
        let image = Image::of_event(Arc::clone(&event.body), Rc::clone(references));
        let object = |node: Option<tidewire_event::image::Node<'_>>| {
            node.map_or(Dynamic::UNIT, |node| {
                Dynamic::from(Object::new(Rc::clone(&image), node.place()))
            })
        };
        let user = event.changed_by.map_or(Dynamic::UNIT, |key| {
            Dynamic::from(Object::new(Image::of_user(key, Rc::clone(references)), 0))
        });
        let mut scope = self.template.clone();
        for (name, value) in [
            (CURRENT, object(event.current())),
            (BEFORE, object(event.before())),
            (USER, user),
            (EVENT_TYPE, event.operation.as_str().into()),
            (OBJECT_TYPE, event.object_type.as_str().into()),
        ] {
            if let Some(place) = scope.get_mut(name) {
                *place = value.into_read_only();
            }
        }
        Opened { scope }
    }

    fn evaluate(&self, script: &Compiled, opened: &Opened) -> Result<Outcome, ScriptError> {
        // A scope of its own: what a script does to its variables is nobody else's business.
        let mut scope = opened.scope.clone();
        self.budget.begin_run();
        let returned =
            self.run(script, &mut scope).map_err(|e| errors::of_run(&self.engine, &e))?;
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
