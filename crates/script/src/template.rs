//! The template of a message: text in which `?1`, `?2`, ... stand for what the script left in
//! `mapResultsForMessage`.
//!
//! A slot is a question mark and a number from 1 to [`SLOT_MAX`] without leading zeros, as many digits as
//! there are: `?10` is slot 10, never slot 1 and a `0`. A question mark with anything else behind it
//! stands for itself. A value is put in as it is; a template of JSON or XML quotes what needs it in the
//! script (`json_escape`, `xml_escape`).

use thiserror::Error;

use crate::limits::MESSAGE_BYTES_MAX;

/// The highest slot.
pub const SLOT_MAX: u16 = 999;

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// A number beyond [`SLOT_MAX`].
    #[error("?{0} is beyond ?{SLOT_MAX}")]
    Slot(String),
    /// A slot that the source never names.
    #[error("?{0} is never set: the script does not name \"?{0}\"")]
    NeverNamed(u16),
    /// A slot that this run left empty.
    #[error("?{0} was never set: the script returned true without mapResultsForMessage[\"?{0}\"]")]
    NotSet(u16),
    /// The text with all values put in is too long.
    #[error("the message has more than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Slot(u16),
}

/// A template, read once.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError::Slot`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('?') {
            plain.push_str(before);
            let digits_end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            let (digits, behind) = after.split_at(digits_end);
            if digits.is_empty() || digits.starts_with('0') {
                plain.push('?');
                rest = after;
                continue;
            }
            let number = digits.parse().ok().filter(|number: &u16| *number <= SLOT_MAX);
            let slot = number.ok_or_else(|| TemplateError::Slot(crate::names::clip(digits, 12)))?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain).into()));
            }
            parts.push(Part::Slot(slot));
            rest = behind;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Self { parts })
    }

    /// The slots, in the order of the text, each as often as it stands there.
    pub fn slots(&self) -> impl Iterator<Item = u16> {
        self.parts.iter().filter_map(|part| match part {
            Part::Slot(slot) => Some(*slot),
            Part::Text(_) => None,
        })
    }

    /// Looks whether the source names every slot. Only the text is looked at, so a source that puts the
    /// names together (it holds a bare `"?"`) passes.
    ///
    /// # Errors
    /// [`TemplateError::NeverNamed`].
    pub fn check_source(&self, source: &str) -> Result<(), TemplateError> {
        if ["\"?\"", "'?'", "`?"].into_iter().any(|bare| source.contains(bare)) {
            return Ok(());
        }
        let named = Self::parse(source).unwrap_or_default();
        match self.slots().find(|slot| !named.slots().any(|name| name == *slot)) {
            Some(slot) => Err(TemplateError::NeverNamed(slot)),
            None => Ok(()),
        }
    }

    /// Puts the results in.
    ///
    /// # Errors
    /// [`TemplateError::NotSet`], [`TemplateError::TooLong`].
    pub fn render(&self, results: &[(String, String)]) -> Result<String, TemplateError> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Slot(slot) => {
                    let is_it = |name: &str| {
                        name.strip_prefix('?').is_some_and(|digits| {
                            !digits.starts_with(['0', '+']) && digits.parse() == Ok(*slot)
                        })
                    };
                    let value = results.iter().find(|(name, _)| is_it(name));
                    let (_, value) = value.ok_or(TemplateError::NotSet(*slot))?;
                    out.push_str(value);
                }
            }
            if out.len() > MESSAGE_BYTES_MAX {
                return Err(TemplateError::TooLong);
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
