//! A Rhai engine that has only what a script may use.

use std::rc::Rc;

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage,
    BasicMathPackage, BasicStringPackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{Dynamic, Engine, EvalAltResult, FuncRegistration, ImmutableString, Position, Token};

use crate::ScriptLimits;
use crate::budget::{Budget, Limit};
use crate::helpers;
use crate::object::Object;
use crate::path::PathsInForce;

/// Words that are none here. Most have nothing behind them anyway; refused at compile time they have a
/// place in the source.
const REFUSED: [&str; 9] =
    ["eval", "import", "export", "print", "debug", "Fn", "is_def_var", "is_def_fn", "global"];

/// Makes an engine. A run that is not within the budget ends.
pub(crate) fn engine(limits: &ScriptLimits, budget: &Rc<Budget>, paths: &PathsInForce) -> Engine {
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
    engine.on_progress({
        let budget = Rc::clone(budget);
        move |_| budget.count(1).err().map(Limit::token)
    });
    engine.register_type_with_name::<Object>("object");
    FuncRegistration::new_index_setter().with_purity(true).register_into_engine(
        &mut engine,
        |_: &mut Object, _: ImmutableString, _: ()| {
            let error = EvalAltResult::ErrorIndexingType(String::new(), Position::NONE);
            Err::<(), Box<EvalAltResult>>(error.into())
        },
    );
    helpers::register(&mut engine, paths, budget);
    engine
}
