//! A Rhai engine that has only what a script may use.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage,
    BasicMathPackage, BasicStringPackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{Dynamic, Engine, Token};

use crate::ScriptLimits;
use crate::helpers;
use crate::object::Object;

/// Words that are none here. Most have nothing behind them anyway; refused at compile time they have a
/// place in the source.
const REFUSED: [&str; 9] =
    ["eval", "import", "export", "print", "debug", "Fn", "is_def_var", "is_def_fn", "global"];
/// The clock is looked at once in so many operations (a power of two): a reading costs more than they do.
const OPERATIONS_PER_LOOK: u64 = 64;

/// How much CPU time the process, or the thread, has used.
pub(crate) type Clock = Rc<dyn Fn() -> Duration>;

/// What bounds the time of a run.
#[derive(Default)]
pub(crate) struct Budget {
    /// What a run may use.
    pub(crate) cpu_max: Cell<Duration>,
    /// What the clock showed last, where it is told when a run, or some short ones, begin. It is not looked
    /// at for each: that costs as much as a short run.
    last: Cell<Option<Duration>>,
    /// What the clock must not pass; none until it was looked at.
    deadline: Cell<Option<Duration>>,
}

impl Budget {
    /// Runs begin now that may use so much each.
    pub(crate) fn begin(&self, cpu_max: Duration, now: Duration) {
        self.cpu_max.set(cpu_max);
        self.last.set(Some(now));
    }

    /// A run begins. What the runs before it have used since the last look counts as its own.
    pub(crate) fn begin_run(&self) {
        self.deadline.set(self.last.get().map(|last| last + self.cpu_max.get()));
    }

    fn is_over(&self, now: Duration) -> bool {
        if self.last.get().is_some() {
            self.last.set(Some(now));
        }
        match self.deadline.get() {
            Some(deadline) => now > deadline,
            None => {
                self.deadline.set(Some(now + self.cpu_max.get()));
                false
            }
        }
    }
}

/// Makes an engine. A run that is not within the budget ends.
pub(crate) fn engine(limits: &ScriptLimits, clock: Clock, budget: Rc<Budget>) -> Engine {
    let mut engine = Engine::new_raw();
    // Without LanguageCorePackage, which can sleep and exit; without time, blobs and bit fields.
    ArithmeticPackage::new().register_into_engine(&mut engine);
    BasicStringPackage::new().register_into_engine(&mut engine);
    BasicIteratorPackage::new().register_into_engine(&mut engine);
    BasicFnPackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);
    for word in REFUSED {
        engine.disable_symbol(word);
    }
    engine
        .set_strict_variables(true)
        .set_max_operations(limits.operations_max)
        .set_max_string_size(limits.string_bytes_max)
        .set_max_array_size(limits.array_max)
        .set_max_map_size(limits.map_max)
        .set_max_variables(limits.variables_max)
        .set_max_functions(limits.functions_max)
        .set_max_call_levels(limits.call_levels_max)
        .set_max_expr_depths(limits.expression_depth_max, limits.expression_depth_max);
    // `null`, as in every language that an author may come from; Rhai writes `()`.
    #[expect(deprecated, reason = "Rhai marks as deprecated what may change between versions")]
    engine.on_parse_token(|token, _, _| match token {
        Token::Reserved(word) if word.as_str() == "null" => Token::Unit,
        other => other,
    });
    // An element that is not there is null, like a field.
    engine.on_invalid_array_index(|_, _, _| Ok(Dynamic::UNIT.into()));
    engine.on_progress(move |operations| {
        let is_over = operations & (OPERATIONS_PER_LOOK - 1) == 0 && budget.is_over(clock());
        is_over.then_some(Dynamic::UNIT)
    });
    engine.register_type_with_name::<Object>("object");
    helpers::register(&mut engine);
    engine
}
