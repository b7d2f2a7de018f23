//! Errors as clients see them: the documented body, refusals, close codes.
//!
//! One shape serves HTTP answers and frames on an open socket (contract: documented for HTTP, ours on
//! a socket). Nothing here ever holds a token: `uri` is a redacted one, and texts of refusals never
//! repeat a piece of a request that could be one.

mod body;
mod close;
mod refusal;

pub use body::{ErrorBody, Notice, STATUSES, status_page, status_text};
pub use close::{CloseCode, Retry};
pub use refusal::Refusal;
