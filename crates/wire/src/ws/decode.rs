//! From bytes to messages.
//!
//! Invariant: what comes out does not depend on how the bytes were cut into reads.

use std::mem;
use std::ops::ControlFlow;

use super::header::{Header, Opcode, apply_mask};
use super::{Limits, Message, ProtocolError};

/// Most empty fragments in one message: each costs the peer six bytes and no memory here, so that the
/// message's limit would never end a flood of them.
pub const EMPTY_FRAGMENTS_MAX: u32 = 64;

type Sink<'s> = dyn FnMut(Message<'_>) -> ControlFlow<()> + 's;

/// The reading half of a connection. Between two frames it is a few bytes and owns nothing.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// Nothing is unfinished.
    #[default]
    Between,
    /// A header, frame or message is unfinished.
    Inside(Box<Pending>),
    /// After an error, a close frame or a sink that broke off: whatever comes is ignored.
    Ended,
}

impl Decoder {
    /// Reads all of `input` (unmasking it in place) and hands each message to `sink`, in order. An
    /// unfinished tail is kept. If `sink` breaks, and after a close frame or an error, everything that
    /// follows is ignored.
    ///
    /// # Errors
    /// [`ProtocolError`]: close the connection with its code. The messages before it were handed out.
    pub fn feed(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
        sink: &mut dyn FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<(), ProtocolError> {
        // Stays `Ended` on each early return below.
        let mut pending = match mem::replace(&mut self.state, State::Ended) {
            State::Ended => return Ok(()),
            State::Between => Pending::default(),
            State::Inside(pending) => *pending,
        };
        let mut rest = input;
        while !rest.is_empty() {
            match pending.advance(rest, limits, sink)? {
                ControlFlow::Continue(tail) => rest = tail,
                ControlFlow::Break(()) => return Ok(()),
            }
        }
        self.state =
            if pending.is_idle() { State::Between } else { State::Inside(Box::new(pending)) };
        Ok(())
    }

    /// Whether nothing is unfinished, so that the decoder owns no memory.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Between)
    }
}

/// What is unfinished.
#[derive(Debug, Default)]
struct Pending {
    /// The first bytes of a header.
    head: Vec<u8>,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The payload of an unfinished control frame.
    control: Vec<u8>,
    /// The unfinished message, of one frame or many.
    message: Option<Assembly>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    fin: bool,
    opcode: Opcode,
    mask: [u8; 4],
    length: usize,
    /// How many bytes of the payload were read.
    read: usize,
}

/// A message that is put together.
#[derive(Debug, Default)]
struct Assembly {
    binary: bool,
    /// Unmasked; stays empty for a binary message.
    bytes: Vec<u8>,
    /// How many of them are known to be UTF-8 that ends at a character's end.
    valid: usize,
    /// Bytes that the headers so far announced.
    announced: usize,
    empty_fragments: u32,
}

impl Pending {
    const fn is_idle(&self) -> bool {
        self.head.is_empty() && self.frame.is_none() && self.message.is_none()
    }

    /// Reads one header or one piece of payload, or both.
    fn advance<'i>(
        &mut self,
        input: &'i mut [u8],
        limits: &Limits,
        sink: &mut Sink<'_>,
    ) -> Result<ControlFlow<(), &'i mut [u8]>, ProtocolError> {
        let (frame, input) = match self.frame.take() {
            Some(frame) => (frame, input),
            None => {
                let (header, input) = self.read_header(input)?;
                let Some(header) = header else { return Ok(ControlFlow::Continue(input)) };
                let frame = self.accept(&header, limits)?;
                if frame.opcode == Opcode::Binary && sink(Message::Binary).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                (frame, input)
            }
        };
        let count = input.len().min(frame.length - frame.read);
        let (payload, rest) = input.split_at_mut(count);
        apply_mask(payload, frame.mask, frame.read);
        let flow = if frame.opcode.is_control() {
            self.read_control(frame, payload, sink)?
        } else {
            self.read_data(frame, payload, sink)?
        };
        let read = frame.read + count;
        if read < frame.length {
            self.frame = Some(Frame { read, ..frame });
        }
        Ok(match flow {
            ControlFlow::Continue(()) => ControlFlow::Continue(rest),
            ControlFlow::Break(()) => ControlFlow::Break(()),
        })
    }

    fn read_header<'i>(
        &mut self,
        input: &'i mut [u8],
    ) -> Result<(Option<Header>, &'i mut [u8]), ProtocolError> {
        if self.head.is_empty()
            && let Some((header, used)) = Header::parse(input)?
        {
            return Ok((Some(header), input.split_at_mut(used).1));
        }
        let mut used = 0;
        let mut header = None;
        for byte in input.iter() {
            used += 1;
            self.head.push(*byte);
            if let Some((parsed, _)) = Header::parse(&self.head)? {
                header = Some(parsed);
                self.head.clear();
                break;
            }
        }
        Ok((header, input.split_at_mut(used).1))
    }

    /// Judges a header by what came before it and by the limits.
    fn accept(&mut self, header: &Header, limits: &Limits) -> Result<Frame, ProtocolError> {
        let too_big = |max| ProtocolError::TooBig { max };
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if !header.opcode.is_control() {
            match (header.opcode, &self.message) {
                (Opcode::Continuation, None) => return Err(ProtocolError::NothingToContinue),
                (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ProtocolError::Interleaved),
                _ => {}
            }
            if length > limits.frame_bytes_max {
                return Err(too_big(limits.frame_bytes_max));
            }
            let message = self.message.get_or_insert_default();
            message.binary |= header.opcode == Opcode::Binary;
            message.announced = message.announced.saturating_add(length);
            if message.announced > limits.message_bytes_max {
                return Err(too_big(limits.message_bytes_max));
            }
            message.empty_fragments += u32::from(length == 0 && !header.fin);
            if message.empty_fragments > EMPTY_FRAGMENTS_MAX {
                return Err(ProtocolError::EmptyFragments);
            }
        }
        Ok(Frame { fin: header.fin, opcode: header.opcode, mask: header.mask, length, read: 0 })
    }

    fn read_data(
        &mut self,
        frame: Frame,
        payload: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<ControlFlow<()>, ProtocolError> {
        let ends = frame.fin && frame.read + payload.len() == frame.length;
        let Some(mut message) = self.message.take() else {
            return Err(ProtocolError::NothingToContinue);
        };
        if message.binary {
            self.message = (!ends).then_some(message);
            return Ok(ControlFlow::Continue(()));
        }
        if ends && message.bytes.is_empty() {
            // The common case: nothing was kept, so the message is lent from the caller's buffer.
            let text = std::str::from_utf8(payload).map_err(|_| ProtocolError::BadUtf8)?;
            return Ok(sink(Message::Text(text)));
        }
        message.bytes.extend_from_slice(payload);
        message.check()?;
        if ends {
            let text = std::str::from_utf8(&message.bytes).map_err(|_| ProtocolError::BadUtf8)?;
            return Ok(sink(Message::Text(text)));
        }
        self.message = Some(message);
        Ok(ControlFlow::Continue(()))
    }

    fn read_control(
        &mut self,
        frame: Frame,
        payload: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<ControlFlow<()>, ProtocolError> {
        if payload.len() == frame.length {
            return deliver_control(frame.opcode, payload, sink);
        }
        self.control.extend_from_slice(payload);
        if self.control.len() < frame.length {
            return Ok(ControlFlow::Continue(()));
        }
        let flow = deliver_control(frame.opcode, &self.control, sink);
        self.control.clear();
        flow
    }
}

impl Assembly {
    /// Fails at the first byte that no continuation can make UTF-8.
    fn check(&mut self) -> Result<(), ProtocolError> {
        let unchecked = self.bytes.get(self.valid..).unwrap_or_default();
        match std::str::from_utf8(unchecked) {
            Ok(_) => self.valid = self.bytes.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(ProtocolError::BadUtf8),
        }
        Ok(())
    }
}

fn deliver_control(
    opcode: Opcode,
    payload: &[u8],
    sink: &mut Sink<'_>,
) -> Result<ControlFlow<()>, ProtocolError> {
    Ok(match opcode {
        Opcode::Ping => sink(Message::Ping(payload)),
        Opcode::Pong => sink(Message::Pong(payload)),
        _ => {
            // Nothing may follow a close frame, whatever the sink says.
            let _ = sink(parse_close(payload)?);
            ControlFlow::Break(())
        }
    })
}

fn parse_close(payload: &[u8]) -> Result<Message<'_>, ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(Message::Close { code: None, reason: "" })
        } else {
            Err(ProtocolError::CloseLength)
        };
    };
    let code = u16::from_be_bytes(*code);
    // Section 7.4 and the IANA registry: 1004 to 1006 and 1015 never stand on the wire.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(ProtocolError::CloseCode(code));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::BadUtf8)?;
    Ok(Message::Close { code: Some(code), reason })
}
