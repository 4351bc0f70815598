//! Lines out of pieces that end anywhere. No more of a line is held than a line may have.

use bytes::{Buf as _, Bytes};

/// A line without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1.
    pub number: u64,
    /// What it says; `None`: it is too long, and was skipped.
    pub text: Option<Vec<u8>>,
    /// Whether its end has come. The last line of a text that was cut off has none.
    pub ended: bool,
}

/// What has come in of a line.
#[derive(Debug)]
pub struct Lines {
    bytes_max: usize,
    number: u64,
    text: Vec<u8>,
    too_long: bool,
}

impl Lines {
    /// Lines of at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            number: 1,
            text: Vec::new(),
            too_long: false,
        }
    }

    /// Takes from `piece` up to the end of a line; `None` once the piece is used up.
    pub fn next(&mut self, piece: &mut Bytes) -> Option<Line> {
        let end = piece.iter().position(|byte| *byte == b'\n');
        let part = piece.split_to(end.unwrap_or(piece.len()));
        self.take(&part);
        end?;
        piece.advance(1);
        Some(self.line(true))
    }

    /// The last line, if something came after the end of the one before.
    pub fn finish(&mut self) -> Option<Line> {
        (self.too_long || !self.text.is_empty()).then(|| self.line(false))
    }

    fn take(&mut self, part: &[u8]) {
        if self.too_long || self.text.len() + part.len() > self.bytes_max {
            self.too_long = true;
            self.text = Vec::new();
        } else {
            let wanted = self.text.len() + part.len();
            if wanted > self.text.capacity() {
                // Twice as much, as ever, but never room for more than a line may have.
                let room = wanted.max(2 * self.text.capacity()).min(self.bytes_max);
                self.text.reserve_exact(room - self.text.len());
            }
            self.text.extend_from_slice(part);
        }
    }

    fn line(&mut self, ended: bool) -> Line {
        let text = std::mem::take(&mut self.text);
        let line = Line {
            number: self.number,
            text: (!self.too_long).then_some(text),
            ended,
        };
        self.number += 1;
        self.too_long = false;
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]], bytes_max: usize) -> Vec<(u64, Option<String>, bool)> {
        let mut lines = Lines::new(bytes_max);
        let mut found = Vec::new();
        for piece in pieces {
            let mut piece = Bytes::copy_from_slice(piece);
            while let Some(line) = lines.next(&mut piece) {
                found.push(line);
            }
            assert!(piece.is_empty());
        }
        found.extend(lines.finish());
        let text = |text: Vec<u8>| String::from_utf8(text).unwrap();
        found
            .into_iter()
            .map(|line| (line.number, line.text.map(text), line.ended))
            .collect()
    }

    fn line(number: u64, text: &str) -> (u64, Option<String>, bool) {
        (number, Some(text.to_owned()), true)
    }

    #[test]
    fn pieces_end_anywhere() {
        let whole = "one\n\nthrée\n".as_bytes();
        let expected = [line(1, "one"), line(2, ""), line(3, "thrée")];
        assert_eq!(lines(&[whole], 100), expected);
        for at in 0..=whole.len() {
            assert_eq!(lines(&[&whole[..at], b"", &whole[at..]], 100), expected);
        }
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(lines(&bytes, 100), expected);
        assert_eq!(lines(&[], 100), []);
    }

    #[test]
    fn a_last_line_without_an_end_says_so() {
        assert_eq!(lines(&[b"a\nb"], 9), [line(1, "a"), (2, Some("b".into()), false)]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_to_its_end() {
        let expected = [line(1, "1234"), (2, None, true), line(3, "ok")];
        assert_eq!(lines(&[b"1234\n12345\nok\n"], 4), expected);
        assert_eq!(lines(&[b"1234\n12", b"345678", b"9\nok\n"], 4), expected);
        assert_eq!(lines(&[b"12345"], 4), [(1, None, false)]);
    }
}
