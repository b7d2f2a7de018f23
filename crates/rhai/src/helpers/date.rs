//! Dates: `yyyy-MM-ddTHH:mm:ss` without a zone, as texts or as the type `date` that `parse_date` gives.
//!
//! A text that is no date is an error with its place: the author compares the wrong field.

use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, Position};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use tidewire_script::DateTime;

const DAY_SECONDS: i64 = 86_400;
const HOUR_SECONDS: i64 = 3_600;

type Failed = Box<EvalAltResult>;

/// Registers a function of two dates for each way in which a date may be written.
macro_rules! of_two_dates {
    ($engine:ident, $name:expr, $function:expr) => {
        $engine.register_fn($name, |a: DateTime, b: DateTime| $function(a, b));
        $engine.register_fn($name, |a: ImmutableString, b: DateTime| {
            Ok::<_, Failed>($function(parse(&a)?, b))
        });
        $engine.register_fn($name, |a: DateTime, b: ImmutableString| {
            Ok::<_, Failed>($function(a, parse(&b)?))
        });
    };
}

pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<DateTime>("date");
    engine.register_fn("parse_date", |text: ImmutableString| parse(&text));
    engine.register_fn("parse_date", |date: DateTime| date);
    engine.register_fn("parse_date", |_: ()| ());
    engine.register_fn("to_string", |date: &mut DateTime| date.to_string());
    of_two_dates!(engine, "days_between", |a, b| between(a, b, DAY_SECONDS));
    of_two_dates!(engine, "hours_between", |a, b| between(a, b, HOUR_SECONDS));
    for (name, unit) in [("days_between", DAY_SECONDS), ("hours_between", HOUR_SECONDS)] {
        engine.register_fn(name, move |a: ImmutableString, b: ImmutableString| {
            Ok::<_, Failed>(between(parse(&a)?, parse(&b)?, unit))
        });
        engine.register_fn(name, |_: (), _: ()| ());
        engine.register_fn(name, |_: (), _: DateTime| ());
        engine.register_fn(name, |_: DateTime, _: ()| ());
        engine.register_fn(name, |_: (), _: ImmutableString| ());
        engine.register_fn(name, |_: ImmutableString, _: ()| ());
    }
    for (name, unit) in [("add_days", DAY_SECONDS), ("add_hours", HOUR_SECONDS)] {
        engine.register_fn(name, move |date: DateTime, n: i64| add(date, n.into(), unit));
        engine.register_fn(name, move |date: DateTime, n: Decimal| add(date, n, unit));
        engine.register_fn(name, move |date: ImmutableString, n: i64| {
            add(parse(&date)?, n.into(), unit)
        });
        engine.register_fn(name, move |date: ImmutableString, n: Decimal| {
            add(parse(&date)?, n, unit)
        });
        engine.register_fn(name, |_: (), _: i64| ());
        engine.register_fn(name, |_: (), _: Decimal| ());
        engine.register_fn(name, |_: DateTime, _: ()| ());
        engine.register_fn(name, |_: ImmutableString, _: ()| ());
        engine.register_fn(name, |_: (), _: ()| ());
    }
    of_two_dates!(engine, "<", |a, b| a < b);
    of_two_dates!(engine, "<=", |a, b| a <= b);
    of_two_dates!(engine, ">", |a, b| a > b);
    of_two_dates!(engine, ">=", |a, b| a >= b);
    of_two_dates!(engine, "==", |a, b| a == b);
    of_two_dates!(engine, "!=", |a, b| a != b);
    engine.register_fn("-", |a: DateTime, b: DateTime| between(b, a, DAY_SECONDS));
    engine.register_fn("+", |text: ImmutableString, date: DateTime| format!("{text}{date}"));
    engine.register_fn("+", |date: DateTime, text: ImmutableString| format!("{date}{text}"));
}

pub(super) fn parse(text: &str) -> Result<DateTime, Failed> {
    DateTime::parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        let reason = format!("\"{shown}\" is no date, expected yyyy-MM-ddTHH:mm:ss");
        EvalAltResult::ErrorRuntime(Dynamic::from(reason), Position::NONE).into()
    })
}

/// From `a` to `b`, in units of so many seconds: below 0 where `b` is earlier.
fn between(a: DateTime, b: DateTime, unit: i64) -> Decimal {
    // Both lie within 10,000 years: neither step can overflow.
    (Decimal::from(b.seconds() - a.seconds()) / Decimal::from(unit)).normalize()
}

fn add(date: DateTime, n: Decimal, unit: i64) -> Result<DateTime, Failed> {
    let seconds = n.checked_mul(unit.into()).and_then(|seconds| seconds.round().to_i64());
    seconds.and_then(|seconds| date.plus_seconds(seconds)).ok_or_else(|| {
        let reason = "the date lies beyond the years 1 to 9999".to_owned();
        EvalAltResult::ErrorArithmetic(reason, Position::NONE).into()
    })
}
