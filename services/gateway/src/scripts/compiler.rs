//! What scripts read, found by compiling them: in worker processes, since what an author writes is never run
//! in a gateway itself.
//!
//! Workers are started when the first script has to be compiled; a gateway without scripts has none. Those that
//! try what an author saves are others than those that find out what a subscriber must be able to read: a
//! script that uses up its time keeps no socket waiting. What was found is kept by the source's identity.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidewire_model::Model;
use tidewire_sandbox::{Source, WorkerOptions, Workers, WorkersError};
use tidewire_script::{
    Fields, Refused, Script, ScriptError, ScriptErrorKind as Kind, ScriptRecord, SourceId,
};
use tidewire_wire::error::Refusal;
use tokio::sync::OnceCell;
use tracing::error;

/// Sources of which it is remembered what they read; beyond, all are forgotten and found again.
const KNOWN_MAX: usize = 16_384;
/// Calls that may wait for the worker.
const WAITING_MAX: usize = 64;
/// Seconds after which a client may try again.
const RETRY_AFTER: u32 = 2;

pub(super) struct Compiler {
    options: WorkerOptions,
    reading: OnceCell<Workers>,
    saving: OnceCell<Workers>,
    known: Mutex<HashMap<SourceId, Arc<Fields>>>,
}

impl Compiler {
    pub(super) fn new(options: WorkerOptions) -> Self {
        let options = WorkerOptions { waiting_max: WAITING_MAX, ..options };
        let (reading, saving) = (OnceCell::new(), OnceCell::new());
        Self { options, reading, saving, known: Mutex::default() }
    }

    /// What a saved script reads.
    ///
    /// # Errors
    /// 403: it cannot be compiled, so nobody can be let in. 429 or 503: not now.
    pub(super) async fn fields(&self, script: &Script) -> Result<Arc<Fields>, Refusal> {
        let id = script.source_id();
        if let Some(known) = self.known.lock().get(&id) {
            return Ok(Arc::clone(known));
        }
        let compiled = self.workers(&self.reading).await?.compile(&Source::from(script)).await;
        match compiled.map_err(|error| busy(&error))? {
            Ok(fields) => Ok(self.keep(id, fields)),
            Err(ScriptError { kind: Kind::Unavailable, .. }) => Err(unavailable()),
            // It was compiled when it was saved: it is of another version of this service.
            Err(_) => Err(Refusal::forbidden("the script cannot be read by this version")),
        }
    }

    /// Compiles a record and runs it over made-up objects.
    ///
    /// # Errors
    /// 400 says what is wrong, and where; 429 or 503: not now.
    pub(super) async fn rehearse(
        &self,
        record: &ScriptRecord,
        model: &Model,
    ) -> Result<(), Refusal> {
        let tried = self.workers(&self.saving).await?.rehearse(record, model).await;
        match tried.map_err(|error| busy(&error))? {
            Ok(fields) => {
                self.keep(SourceId::of(record.language, &record.body), fields);
                Ok(())
            }
            Err(Refused { error: ScriptError { kind: Kind::Unavailable, .. }, .. }) => {
                Err(unavailable())
            }
            Err(refused) => Err(Refusal::bad_request(format!("'scriptBody': {refused}"))),
        }
    }

    fn keep(&self, id: SourceId, fields: Fields) -> Arc<Fields> {
        let fields = Arc::new(fields);
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(id, Arc::clone(&fields));
        fields
    }

    async fn workers<'a>(&self, cell: &'a OnceCell<Workers>) -> Result<&'a Workers, Refusal> {
        let start = || Workers::start(self.options.clone());
        cell.get_or_try_init(start).await.map_err(|error| {
            error!(error = %error, "no script worker can be started");
            unavailable()
        })
    }
}

fn busy(error: &WorkersError) -> Refusal {
    match error {
        WorkersError::Busy => Refusal::too_many("too many scripts are being compiled", RETRY_AFTER),
        WorkersError::Closed => unavailable(),
    }
}

fn unavailable() -> Refusal {
    Refusal::unavailable("scripts cannot be compiled at the moment", RETRY_AFTER)
}
