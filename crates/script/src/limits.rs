//! How large the parts of a script may be.

/// Most bytes of a whole record as JSON.
pub const RECORD_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of a script's code; it is an object key in the alerts topic, so it has the same limit.
pub const CODE_BYTES_MAX: usize = 128;
/// Most bytes of a script's name.
pub const NAME_BYTES_MAX: usize = 256;
/// Most bytes of a description.
pub const DESCRIPTION_BYTES_MAX: usize = 4 * 1024;
/// Most triggers of one script.
pub const TRIGGERS_MAX: usize = 50;
/// Most bytes of a script's source.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of the subject of a message.
pub const SUBJECT_BYTES_MAX: usize = 512;
/// Most bytes of a template.
pub const TEMPLATE_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of the name of a role.
pub const ROLE_BYTES_MAX: usize = 128;
/// Most bytes of a message as it is sent.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Most entries that a script may leave in `mapResultsForMessage`.
pub const RESULTS_MAX: usize = 1000;
