//! The sample scripts, which belong to the sample model as `model/scripts/*.rhai` and `*.json` do: one for
//! each kind that the documentation of the VMS names.

use crate::{ScriptRecord, ScriptRecordError};

/// Record without source, and source.
const SAMPLES: [(&str, &str); 7] = [
    (
        include_str!("../../../model/scripts/bunker-date.json"),
        include_str!("../../../model/scripts/bunker-date.rhai"),
    ),
    (
        include_str!("../../../model/scripts/bunker-price.json"),
        include_str!("../../../model/scripts/bunker-price.rhai"),
    ),
    (
        include_str!("../../../model/scripts/bunker-quantity.json"),
        include_str!("../../../model/scripts/bunker-quantity.rhai"),
    ),
    (
        include_str!("../../../model/scripts/days-in-port.json"),
        include_str!("../../../model/scripts/days-in-port.rhai"),
    ),
    (
        include_str!("../../../model/scripts/eta-outside-laycan.json"),
        include_str!("../../../model/scripts/eta-outside-laycan.rhai"),
    ),
    (
        include_str!("../../../model/scripts/offhire-start.json"),
        include_str!("../../../model/scripts/offhire-start.rhai"),
    ),
    (
        include_str!("../../../model/scripts/result-changed.json"),
        include_str!("../../../model/scripts/result-changed.rhai"),
    ),
];

impl ScriptRecord {
    /// The sample scripts, in the order of their codes.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the files are built in, and a test reads them")]
    pub fn samples() -> Vec<Self> {
        SAMPLES
            .iter()
            .map(|(json, body)| {
                Self::parse_with_body(json.as_bytes(), body).expect("model/scripts is sound")
            })
            .collect()
    }

    /// Reads a record whose source stands in a file of its own.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_with_body(json: &[u8], body: &str) -> Result<Self, ScriptRecordError> {
        let mut value: serde_json::Value = serde_json::from_slice(json)
            .map_err(|e| ScriptRecordError::Json { line: e.line(), column: e.column() })?;
        if let Some(members) = value.as_object_mut() {
            members.insert("scriptBody".into(), body.into());
        }
        Self::from_value(&value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_sound() {
        let samples = ScriptRecord::samples();
        let codes: Vec<&str> = samples.iter().map(|sample| &*sample.code).collect();
        assert!(codes.is_sorted(), "{codes:?}");
        for sample in &samples {
            assert_eq!(sample.check_types(&tidewire_model::Model::vms()), Ok(()));
        }
    }
}
