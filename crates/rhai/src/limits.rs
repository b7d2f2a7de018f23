//! What one run of a script may use.
//!
//! They bound a script that is written in Rhai alone. What a native call does in one go (sorting, say) is
//! bounded by the sizes of its arguments only; the limits of the process stand behind these.

use std::time::Duration;

/// What one run of a script may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptLimits {
    /// Operations, as Rhai counts them: about 30 ns each.
    pub operations_max: u64,
    /// CPU time. Looked at between operations; less than the limit of the process, so that a script that
    /// loops costs no process.
    pub cpu_max: Duration,
    /// Bytes of a text, or of all texts in an array or map.
    pub string_bytes_max: usize,
    /// Elements of an array, those of arrays in it included.
    pub array_max: usize,
    /// Entries of a map, those of maps in it included.
    pub map_max: usize,
    /// Variables at one time.
    pub variables_max: usize,
    /// Functions of one script, closures included.
    pub functions_max: usize,
    /// Calls within calls.
    pub call_levels_max: usize,
    /// Expressions within expressions.
    pub expression_depth_max: usize,
    /// Different names of fields in one script.
    pub names_max: usize,
}

impl Default for ScriptLimits {
    fn default() -> Self {
        Self {
            operations_max: 1_000_000,
            cpu_max: Duration::from_millis(70),
            string_bytes_max: 256 * 1024,
            array_max: 10_000,
            map_max: 1_000,
            variables_max: 100,
            functions_max: 100,
            call_levels_max: 24,
            expression_depth_max: 64,
            names_max: 500,
        }
    }
}
