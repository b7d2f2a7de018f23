//! The engine port, implemented.

#[cfg(test)]
mod tests;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rhai::{
    AST, Array, Caches, Dynamic, Engine, EvalAltResult, FuncRegistration, Map, Position, Scope,
};
use tidewire_event::image::Node;
use tidewire_script::{
    Event, Fields, Outcome, RESULTS_MAX, References, ScriptError, ScriptErrorKind as Kind,
};

use crate::budget::Budget;
use crate::errors::{self, at};
use crate::named::{self, Named};
use crate::object::{Image, NameId, Object};
use crate::path::{FieldPath, Name, PathsInForce};
use crate::{ScriptLimits, helpers, setup, value};

/// The variables of a script, as they are named in its source.
pub(crate) const CURRENT: &str = "dlpObject";
pub(crate) const BEFORE: &str = "oldDlpObject";
pub(crate) const USER: &str = "wsUser";
const EVENT_TYPE: &str = "eventType";
const OBJECT_TYPE: &str = "objectType";
const RESULTS: &str = "mapResultsForMessage";
const MESSAGES: &str = "mapMessageFromServer";
const VARIABLES: [&str; 7] = [RESULTS, MESSAGES, OBJECT_TYPE, EVENT_TYPE, USER, BEFORE, CURRENT];
/// The entry of the message map that is the message.
const MESSAGE: &str = "MSG";

/// Rhai, with what scripts may use. Belongs to one thread.
pub struct RhaiEngine {
    engine: Engine,
    limits: ScriptLimits,
    budget: Rc<Budget>,
    /// The paths of the script that runs, for functions that take one.
    paths: PathsInForce,
    /// The names of fields that have a getter.
    names: HashMap<String, NameId>,
}

/// A compiled script.
pub struct Compiled {
    ast: AST,
    fields: Fields,
    /// The paths that stand in it as texts.
    paths: Rc<[FieldPath]>,
    /// The documented variables that it names.
    variables: Vec<&'static str>,
    /// Where the last statement stands, for a script that returns no boolean.
    end: Position,
    /// The functions that its names and operators have turned out to mean. Its own: another script may have
    /// a function of the same name.
    caches: RefCell<Caches>,
}

/// An event whose objects scripts can look at. What no script names is not made.
pub struct Opened {
    event: Event,
    image: Rc<Image>,
    user: OnceCell<Rc<Image>>,
    references: Rc<dyn References>,
}

impl Opened {
    /// The value that a documented variable begins with.
    fn variable(&self, name: &str) -> Dynamic {
        let object = |node: Option<Node<'_>>| {
            node.map_or(Dynamic::UNIT, |node| {
                Dynamic::from(Object::new(Rc::clone(&self.image), node.place()))
            })
        };
        match name {
            CURRENT => object(self.event.current()),
            BEFORE => object(self.event.before()),
            USER => self.event.changed_by.map_or(Dynamic::UNIT, |key| {
                let make = || Image::of_user(key, Rc::clone(&self.references));
                Dynamic::from(Object::new(Rc::clone(self.user.get_or_init(make)), 0))
            }),
            EVENT_TYPE => self.event.operation.as_str().into(),
            OBJECT_TYPE => self.event.object_type.as_str().into(),
            _ => Dynamic::UNIT,
        }
    }
}

impl RhaiEngine {
    /// Makes an engine. `clock` tells how much CPU time was used, since any moment.
    #[must_use]
    pub fn new(limits: ScriptLimits, clock: Rc<dyn Fn() -> Duration>) -> Self {
        let budget = Rc::new(Budget::new(&limits, clock));
        let paths = PathsInForce::default();
        let engine = setup::engine(&limits, &budget, &paths);
        Self { engine, limits, budget, paths, names: HashMap::new() }
    }

    /// Gives a field of this name a getter: on objects its value, on null null.
    fn know(&mut self, name: &str) -> NameId {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let id = NameId::try_from(self.names.len()).unwrap_or(NameId::MAX);
        self.names.insert(name.to_owned(), id);
        let own: Rc<str> = Rc::from(name);
        self.engine.register_get(name, move |object: &mut Object| object.member(id, &own));
        // After a method on a list Rhai tries to put the list back, and the object of the list, and so on. It
        // takes no for an answer, and without these words it makes a longer text each time.
        let list = |_: &mut Object, _: Array| Err::<(), _>(read_only());
        let object = |_: &mut Object, _: Object| Err::<(), _>(read_only());
        let setter = || FuncRegistration::new_setter(name).with_purity(true);
        setter().register_into_engine(&mut self.engine, list);
        setter().register_into_engine(&mut self.engine, object);
        // What may be asked of nothing has its answer already.
        if !helpers::OF_NULL.contains(&name) {
            self.engine.register_get(name, |_: &mut ()| ());
        }
        id
    }

    fn field_path(&mut self, text: &str) -> FieldPath {
        let mut name = |text: &str| Name { id: self.know(text), text: text.into() };
        FieldPath { text: text.into(), names: text.split('.').map(&mut name).collect() }
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

    fn outcome(&self, script: &Compiled, scope: &Scope<'_>) -> Result<Outcome, ScriptError> {
        let wrong = |reason: String| at(ScriptError::new(Kind::Type, reason), script.end);
        let what = |value: &Dynamic| {
            errors::type_name(self.engine.map_type_name(value.type_name())).to_owned()
        };
        let mut outcome = Outcome { fired: true, ..Outcome::default() };
        let is_map = |name: &&&str| matches!(**name, RESULTS | MESSAGES);
        for name in script.variables.iter().filter(is_map) {
            let map = scope.get(name).and_then(Dynamic::read_lock::<Map>);
            let map = map.ok_or_else(|| wrong(format!("{name} is no map any more")))?;
            if *name == MESSAGES {
                let text = |value| {
                    value::text(value).ok_or_else(|| {
                        let what = what(value);
                        wrong(format!("{name}[\"{MESSAGE}\"] is {what}, expected a text"))
                    })
                };
                outcome.message = map.get(MESSAGE).map(text).transpose()?;
                continue;
            }
            if map.len() > RESULTS_MAX {
                return Err(wrong(format!("{name} has more than {RESULTS_MAX} entries")));
            }
            outcome.results.reserve(map.len());
            for (slot, value) in map.iter() {
                let text = value::text(value).ok_or_else(|| {
                    let what = what(value);
                    wrong(format!(
                        "{name}[\"{slot}\"] is {what}, which has no text: name one of its fields"
                    ))
                })?;
                outcome.results.push((slot.as_str().to_owned(), text));
            }
        }
        Ok(outcome)
    }
}

/// What comes of a change to an object.
fn read_only() -> Box<EvalAltResult> {
    EvalAltResult::ErrorDotExpr("an object cannot be changed".to_owned(), Position::NONE).into()
}

impl tidewire_script::Engine for RhaiEngine {
    type Script = Compiled;
    type Opened = Opened;

    fn compile(&mut self, source: &str) -> Result<Compiled, ScriptError> {
        // A name cannot be written in two ways, so those that it names stand in it as they are.
        let is_named = |name: &&str| source.contains(*name);
        let variables: Vec<_> = VARIABLES.into_iter().filter(is_named).collect();
        let mut scope = Scope::new();
        for name in &variables {
            scope.push_dynamic(*name, Dynamic::UNIT);
        }
        let ast =
            self.engine.compile_with_scope(&scope, source).map_err(|e| errors::of_parsing(&e))?;
        let Named { fields, names, paths } = named::find(&ast)?;
        if names.len() > self.limits.names_max {
            let reason = format!("the script names more than {} fields", self.limits.names_max);
            return Err(ScriptError::new(Kind::Size, reason));
        }
        for name in &names {
            self.know(name);
        }
        let paths = paths.iter().map(|path| self.field_path(path)).collect();
        let end = ast.statements().last().map_or(Position::NONE, rhai::Stmt::position);
        let caches = RefCell::default();
        Ok(Compiled { ast, fields, paths, variables, end, caches })
    }

    fn fields<'s>(&self, script: &'s Compiled) -> &'s Fields {
        &script.fields
    }

    fn limit_cpu(&mut self, cpu_max: Option<Duration>) {
        let all = self.limits.cpu_max;
        self.budget.begin(cpu_max.map_or(all, |max| max.min(all)));
    }

    fn open(&self, event: &Event, references: &Rc<dyn References>) -> Opened {
        Opened {
            event: event.clone(),
            image: Image::of_event(Arc::clone(&event.body), Rc::clone(references)),
            user: OnceCell::new(),
            references: Rc::clone(references),
        }
    }

    fn evaluate(&self, script: &Compiled, opened: &Opened) -> Result<Outcome, ScriptError> {
        // A scope of its own: what a script does to its variables is nobody else's business.
        let mut scope = Scope::new();
        for name in &script.variables {
            match *name {
                RESULTS | MESSAGES => scope.push(*name, Map::new()),
                name => scope.push_constant_dynamic(name, opened.variable(name)),
            };
        }
        self.budget.begin_run();
        self.paths.set(&script.paths);
        let returned =
            self.run(script, &mut scope).map_err(|e| errors::of_run(&self.engine, &e))?;
        match returned.as_bool() {
            Ok(true) => self.outcome(script, &scope),
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
