//! What a handshake costs, by what has to be done about its token.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use rand::seq::SliceRandom as _;

use super::us;
use crate::bench::Bench;
use crate::bench::gateway::Shape;
use crate::bench::protocol::Ask;
use crate::bench::report::{Goal, Row};
use crate::bench::side::{Floor, Served, path};
use crate::bench::statistics::Spread;

/// Until the sockets of the last mode are closed and forgotten.
const CLOSE: Duration = Duration::from_millis(60);

#[derive(Clone, Copy)]
enum Mode {
    Raw,
    Seen,
    Hs256,
    Rs256,
}

pub(super) fn measure(bench: &mut Bench) -> Result<Vec<Row>> {
    let count = bench.few / 2;
    let mut ours = Served::start(&mut bench.space, &Shape::default())?;
    let mut floor = Floor::start(bench.cores)?;
    let mut samples: Vec<[f64; 4]> = Vec::new();
    let mut number = 0;
    for round in 0..=bench.rounds {
        let mut modes = [Mode::Raw, Mode::Seen, Mode::Hs256, Mode::Rs256];
        modes.shuffle(&mut rand::rng());
        let mut figures = [0.0; 4];
        for mode in modes {
            let mut wish = ours.wish(count, vec![path("5")]);
            let fresh = match mode {
                Mode::Raw | Mode::Seen => None,
                Mode::Hs256 => Some((0..count).map(|_| bench.space.token()).collect()),
                Mode::Rs256 => {
                    number += count as u64;
                    let numbers = number..number + count as u64;
                    Some(numbers.map(|n| bench.space.rsa_token(n)).collect::<Result<Vec<_>>>())
                }
            };
            if let Some(fresh) = fresh {
                wish.tokens = fresh?;
            }
            let cpu_ns = if matches!(mode, Mode::Raw) {
                let before = floor.floor.cpu_ns()?;
                floor.connect(count)?;
                sleep(CLOSE);
                let spent = floor.floor.cpu_ns()?.saturating_sub(before);
                floor.floor.ask(&Ask::CloseAll)?;
                floor.load.ask(&Ask::CloseAll)?;
                spent
            } else {
                let before = ours.gateway.child.cpu_ns()?;
                ours.load.ask(&Ask::Connect(wish))?;
                sleep(CLOSE);
                let spent = ours.gateway.child.cpu_ns()?.saturating_sub(before);
                ours.load.ask(&Ask::CloseAll)?;
                spent
            };
            sleep(CLOSE);
            if let Some(figure) = figures.get_mut(mode as usize) {
                *figure = cpu_ns as f64 / count as f64;
            }
        }
        if round == 0 {
            ours.print_threads("warm")?;
        } else {
            samples.push(figures);
        }
    }
    if bench.threads {
        ours.print_threads("handshakes")?;
    }
    let row = |mode: Mode, name, what: &str, goal| {
        let of = |figures: &[f64; 4], mode| figures.get(mode as usize).copied().unwrap_or_default();
        let ratios = samples.iter().map(|f| of(f, mode) / of(f, Mode::Raw).max(1.0)).collect();
        let median = |mode| Spread::of(samples.iter().map(|f| of(f, mode)).collect()).median;
        let note = format!("{}, raw {}", us(median(mode)), us(median(Mode::Raw)));
        let what = format!("handshake CPU, {what}, against raw accept + 101 + epoll add");
        Row::new(name, what, goal, Spread::of(ratios), note)
    };
    Ok(vec![
        Row::without("handshake-no-auth", "handshake CPU, no auth", "there is no such mode"),
        row(Mode::Seen, "handshake-seen", "token seen before", Goal::at_most(3.3, 2.6, "x")),
        row(Mode::Hs256, "handshake-hs256", "HS256 first time", Goal::at_most(5.0, 4.0, "x")),
        row(Mode::Rs256, "handshake-rs256", "RS256 first time", Goal::at_most(5.0, 4.0, "x")),
    ])
}
