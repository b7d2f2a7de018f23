//! Numbers. Those of an object are exact decimals; a whole number written in a script is an integer, and
//! both calculate and compare with each other.

use rhai::{Engine, EvalAltResult, ImmutableString, Position};
use rust_decimal::{Decimal, RoundingStrategy};

pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("abs", |_: ()| ());
    engine.register_fn("round", |x: Decimal| rounded(x, 0));
    engine.register_fn("round", round);
    engine.register_fn("round", |x: i64, _: i64| x);
    engine.register_fn("round", |x: i64| x);
    engine.register_fn("round", |_: (), _: i64| ());
    engine.register_fn("round", |_: ()| ());
    engine.register_fn("min", |x: Decimal, y: Decimal| x.min(y));
    engine.register_fn("max", |x: Decimal, y: Decimal| x.max(y));
    engine.register_fn("min", |x: i64, y: i64| x.min(y));
    engine.register_fn("max", |x: i64, y: i64| x.max(y));
    engine.register_fn("min", |x: Decimal, y: i64| x.min(y.into()));
    engine.register_fn("max", |x: Decimal, y: i64| x.max(y.into()));
    engine.register_fn("min", |x: i64, y: Decimal| y.min(x.into()));
    engine.register_fn("max", |x: i64, y: Decimal| y.max(x.into()));
    for name in ["min", "max"] {
        engine.register_fn(name, |_: (), _: ()| ());
        engine.register_fn(name, |_: (), _: i64| ());
        engine.register_fn(name, |_: i64, _: ()| ());
        engine.register_fn(name, |_: (), _: Decimal| ());
        engine.register_fn(name, |_: Decimal, _: ()| ());
    }
    engine.register_fn("number", |x: Decimal| x);
    engine.register_fn("number", |x: i64| Decimal::from(x));
    engine.register_fn("number", |_: ()| ());
    engine.register_fn("number", number);
}

/// Half away from zero, which is what invoices do.
fn rounded(x: Decimal, digits: u32) -> Decimal {
    x.round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero)
}

fn round(x: Decimal, digits: i64) -> Result<Decimal, Box<EvalAltResult>> {
    let digits = u32::try_from(digits).map_err(|_| {
        let reason = "round() wants a number of digits that is not below 0".to_owned();
        EvalAltResult::ErrorArithmetic(reason, Position::NONE)
    })?;
    Ok(rounded(x, digits.min(Decimal::MAX_SCALE)))
}

/// A text as a number; null where it is none.
fn number(text: ImmutableString) -> rhai::Dynamic {
    text.trim().parse::<Decimal>().map_or(rhai::Dynamic::UNIT, Into::into)
}
