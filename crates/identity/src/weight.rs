//! What a list holds in memory: of rows that clients made, it is counted before more are read.

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use std::io;

/// Bytes of an object beyond its text: the node of a tree.
const OBJECT_LEN: u64 = 512;
/// Bytes of a text or an element beyond what is written of it.
const ELEMENT_LEN: u64 = 32;
/// Times that a text is held: as a value, and as it is written.
const COPIES: u64 = 2;

#[derive(Default)]
struct Written {
    len: u64,
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.len += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts what JSON does not show of what it was made of.
struct Counting<'a> {
    hidden: &'a mut u64,
}

impl Formatter for Counting<'_> {
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        *self.hidden += OBJECT_LEN;
        writer.write_all(b"{")
    }

    fn begin_string<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        *self.hidden += ELEMENT_LEN;
        writer.write_all(b"\"")
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        is_first: bool,
    ) -> io::Result<()> {
        *self.hidden += ELEMENT_LEN;
        if is_first { Ok(()) } else { writer.write_all(b",") }
    }
}

/// Bytes that a value takes until it is written as JSON, with what is written.
#[must_use]
pub fn weigh<T: Serialize>(value: &T) -> u64 {
    let (mut written, mut hidden) = (Written::default(), 0);
    let format = Counting { hidden: &mut hidden };
    // What cannot be written as JSON is no answer.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut written, format));
    size_of::<T>() as u64 + COPIES * written.len + hidden
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_weight_is_more_than_what_is_written_and_grows_with_each_element() {
        let names: Vec<String> = (0..100).map(|number| format!("name{number}")).collect();
        let text_len = serde_json::to_vec(&names).expect("it becomes JSON").len() as u64;
        let held_len: usize = names.iter().map(|name| name.capacity() + size_of::<String>()).sum();
        assert!(weigh(&names) >= text_len + held_len as u64);
        assert!(weigh(&vec![json!({}); 100]) >= 100 * OBJECT_LEN);
        assert!(weigh(&()) < 32);
    }
}
