//! Lines: what a service sends, cut at the line ends, none of them longer than a bound.

/// The longest line that is taken.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// A line that is longer than any that means something.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// What has come of a stream and has not been taken yet. It holds at most one line and what came
/// with its end.
#[derive(Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Bytes at the front that were taken.
    taken: usize,
    /// Bytes at the front in which there is no further line end.
    searched: usize,
}

impl Lines {
    /// Adds what has come. To be called when [`next`](Lines::next) has nothing left.
    pub fn push(&mut self, chunk: &[u8]) {
        self.bytes.drain(..self.taken.min(self.bytes.len()));
        self.searched = self.searched.saturating_sub(self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(chunk);
    }

    /// The next whole line without its end; `None` if there is none yet.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let rest = self.bytes.get(self.searched..).unwrap_or_default();
        let Some(at) = rest.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return self.measure(self.bytes.len()).map(|()| None);
        };
        let end = self.searched.saturating_add(at);
        self.measure(end)?;
        let mut line = self.bytes.get(self.taken..end).unwrap_or_default().to_vec();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        self.taken = end.saturating_add(1);
        self.searched = self.taken;
        Ok(Some(line))
    }

    /// Whether a line has begun that has no end yet.
    pub fn is_cut(&self) -> bool {
        self.taken < self.bytes.len()
    }

    fn measure(&self, end: usize) -> Result<(), TooLong> {
        if end.saturating_sub(self.taken) > LINE_BYTES_MAX { Err(TooLong) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of these chunks, and what is left.
    fn cut(chunks: &[&[u8]]) -> (Vec<String>, bool) {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for chunk in chunks {
            lines.push(chunk);
            while let Some(line) = lines.next().unwrap() {
                found.push(String::from_utf8(line).unwrap());
            }
        }
        (found, lines.is_cut())
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str], is_cut: bool) {
        let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        let bytes = text.as_bytes();
        assert_eq!(cut(&[bytes]), (expected.clone(), is_cut), "{text:?}");
        let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(cut(&bytewise), (expected.clone(), is_cut), "{text:?} byte by byte");
        for at in 0..=bytes.len() {
            let (one, other) = bytes.split_at(at);
            assert_eq!(cut(&[one, other]), (expected.clone(), is_cut), "{text:?} split at {at}");
        }
    }

    #[test]
    fn lines_are_the_same_wherever_the_stream_is_split() {
        check("", &[], false);
        check("\n", &[""], false);
        check("\r\n", &[""], false);
        check("a", &[], true);
        check("a\n", &["a"], false);
        check("a\r\n", &["a"], false);
        check("a\n\nb\r\n\r\nc", &["a", "", "b", ""], true);
        check("a\rb\r\r\n", &["a\rb\r"], false);
        check("\u{fc}\n\u{20ac}\n", &["\u{fc}", "\u{20ac}"], false);
        check("{\"a\":1}\r\n\r\nnull\r\n{\"b\"", &["{\"a\":1}", "", "null"], true);
    }

    #[test]
    fn a_line_is_as_long_as_it_may_be_and_no_longer() {
        let longest = vec![b'x'; LINE_BYTES_MAX];
        let mut lines = Lines::default();
        lines.push(&longest);
        assert_eq!(lines.next(), Ok(None));
        lines.push(b"\n");
        assert_eq!(lines.next(), Ok(Some(longest.clone())));
        lines.push(&longest);
        assert_eq!(lines.next(), Ok(None));
        lines.push(b"x");
        assert_eq!(lines.next(), Err(TooLong));
        let mut lines = Lines::default();
        lines.push(&[&longest[..], b"x\n"].concat());
        assert_eq!(lines.next(), Err(TooLong), "its end does not help");
    }

    #[test]
    fn what_was_taken_is_not_kept() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            lines.push(&[b'x'; 1000]);
            lines.push(b"\ny");
            while lines.next().unwrap().is_some() {}
        }
        assert!(lines.bytes.capacity() < 16 * 1024, "{}", lines.bytes.capacity());
    }
}
