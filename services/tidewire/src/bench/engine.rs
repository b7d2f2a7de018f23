//! The role that runs scripts in one thread, with the engine that workers have and nothing around it.

use std::io::BufRead as _;
use std::rc::Rc;

use anyhow::{Context as _, Result, anyhow, bail};
use tidewire_event::image::{Body, BodyLimits};
use tidewire_rhai::{Compiled, RhaiEngine, ScriptLimits};
use tidewire_sandbox::cpu_time;
use tidewire_script::{Engine as _, Event, NoReferences, References};

use super::child::reply;
use super::fleet::Changes;
use super::protocol::{Answer, Ask, Work};

/// Events that take turns.
const EVENTS: usize = 64;

struct Evaluation {
    engine: RhaiEngine,
    references: Rc<dyn References>,
    scripts: Vec<Compiled>,
    events: Vec<Event>,
    /// Each compilation is of another source.
    compiled: u64,
}

/// Does what it is asked until standard input ends.
pub(super) fn run() -> Result<()> {
    let mut evaluation = Evaluation {
        engine: RhaiEngine::new(ScriptLimits::default(), Rc::new(cpu_time)),
        references: Rc::new(NoReferences),
        scripts: Vec::new(),
        events: Vec::new(),
        compiled: 0,
    };
    for line in std::io::stdin().lock().lines() {
        let ask = serde_json::from_str(&line?).map_err(Into::into);
        let answer = ask.and_then(|ask| evaluation.obey(ask));
        let failed =
            |e: anyhow::Error| Answer { error: Some(format!("{e:#}")), ..Answer::default() };
        reply(&answer.unwrap_or_else(failed))?;
    }
    Ok(())
}

impl Evaluation {
    fn obey(&mut self, ask: Ask) -> Result<Answer> {
        let frames = match ask {
            Ask::Prepare { sources, triggers } => {
                self.prepare(&sources, &triggers)?;
                0
            }
            Ask::Evaluate { work, calls } => self.evaluate(work, calls)?,
            other => bail!("not for the engine: {other:?}"),
        };
        let bytes = self.events.iter().map(|event| event.body.bytes().len()).sum::<usize>();
        let bytes = (bytes / self.events.len().max(1)) as u64;
        Ok(Answer { frames, bytes, ..Answer::default() })
    }

    fn prepare(&mut self, sources: &[String], triggers: &[(String, String)]) -> Result<()> {
        let compile = |source: &String| self.engine.compile(source);
        self.scripts = sources
            .iter()
            .map(compile)
            .collect::<Result<_, _>>()
            .map_err(|e| anyhow!("no script: {e}"))?;
        self.events = Changes::new()?.events(EVENTS, triggers)?;
        Ok(())
    }

    /// Does it so often; how many runs fired.
    fn evaluate(&mut self, work: Work, calls: u64) -> Result<u64> {
        let count = usize::try_from(calls)?;
        let mut fired = 0;
        for event in self.events.iter().cycle().take(count) {
            match work {
                Work::Open => drop(self.engine.open(event, &self.references)),
                Work::Parse => {
                    drop(Body::parse(event.body.bytes().clone(), BodyLimits::default())?);
                }
                Work::Compile => {
                    self.compiled += 1;
                    let source = one_line(self.compiled);
                    self.engine.compile(&source).map_err(|e| anyhow!("no script: {e}"))?;
                }
                Work::Run => {
                    let opened = self.engine.open(event, &self.references);
                    for script in &self.scripts {
                        let outcome = self.engine.evaluate(script, &opened);
                        let outcome = outcome.map_err(|e| anyhow!("a run failed: {e}"))?;
                        fired += u64::from(outcome.fired);
                    }
                }
            }
        }
        self.events.first().context("nothing was prepared")?;
        Ok(fired)
    }
}

/// A script over voyages, another for each number, that fires only where a result leaps.
pub(super) fn one_line(number: u64) -> String {
    let limit = 10_000_000 + number;
    format!("abs(dlpObject.voyageResult - oldDlpObject.voyageResult) > {limit}")
}
