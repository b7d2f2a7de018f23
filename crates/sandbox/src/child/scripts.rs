//! The scripts that a worker has, each compiled when it is first used.

use std::collections::HashMap;
use std::time::Duration;

use tidewire_script::{Engine, Fields, Outcome, ScriptError, ScriptErrorKind};

use super::limits::Memory;
use crate::message::Slot;

enum Loaded<S> {
    Source(String),
    Compiled(Result<S, ScriptError>),
}

pub(super) struct Scripts<E: Engine> {
    engine: E,
    loaded: HashMap<Slot, Loaded<E::Script>>,
    /// What a run may use now.
    cpu_max: Option<Duration>,
}

impl<E: Engine> Scripts<E> {
    pub(super) fn new(engine: E) -> Self {
        Self { engine, loaded: HashMap::new(), cpu_max: None }
    }

    pub(super) const fn engine(&self) -> &E {
        &self.engine
    }

    /// Bounds the runs that follow.
    pub(super) fn limit_cpu(&mut self, cpu_max: Option<Duration>) {
        self.cpu_max = cpu_max;
        self.engine.limit_cpu(cpu_max);
    }

    pub(super) fn load(&mut self, slot: Slot, source: String) {
        self.loaded.insert(slot, Loaded::Source(source));
    }

    /// Compiles it if that was not done. What the compiled script takes is not counted as the run's.
    fn compile(&mut self, slot: Slot, memory: &mut Memory) -> Result<(), ScriptError> {
        if let Some(Loaded::Source(source)) = self.loaded.get_mut(&slot) {
            let source = std::mem::take(source);
            let before = memory.begin_script();
            let compiled = self.engine.compile(&source);
            drop(source);
            // What that took is not the run's.
            self.engine.limit_cpu(self.cpu_max);
            self.loaded.insert(slot, Loaded::Compiled(compiled));
            before.and_then(|before| memory.end_script(before)).map_err(|e| {
                ScriptError::new(ScriptErrorKind::Unavailable, format!("no memory limit: {e}"))
            })?;
        }
        Ok(())
    }

    fn compiled(&self, slot: Slot) -> Result<&E::Script, ScriptError> {
        match self.loaded.get(&slot) {
            Some(Loaded::Compiled(Ok(script))) => Ok(script),
            Some(Loaded::Compiled(Err(e))) => Err(e.clone()),
            _ => Err(ScriptError::new(ScriptErrorKind::Unavailable, "the script was not loaded")),
        }
    }

    pub(super) fn fields(
        &mut self,
        slot: Slot,
        memory: &mut Memory,
    ) -> Result<Fields, ScriptError> {
        self.compile(slot, memory)?;
        self.compiled(slot).map(|script| self.engine.fields(script).clone())
    }

    pub(super) fn evaluate(
        &mut self,
        slot: Slot,
        opened: &E::Opened,
        memory: &mut Memory,
    ) -> Result<Outcome, ScriptError> {
        self.compile(slot, memory)?;
        self.engine.evaluate(self.compiled(slot)?, opened)
    }
}
