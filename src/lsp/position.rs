//! Byte offsets and the protocol's positions. A position counts UTF-16 units (or bytes, when the editor offers UTF-8)
//! from the start of a line; what it says beyond a line's end is the end.

use lsp_types::{Position, Range};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Utf16,
}

impl Encoding {
    fn width(self, c: char) -> usize {
        match self {
            Encoding::Utf8 => c.len_utf8(),
            Encoding::Utf16 => c.len_utf16(),
        }
    }

    /// The position of a byte offset; one inside a character is that character's start.
    pub fn position(self, text: &str, offset: usize) -> Position {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
        let line = text.as_bytes()[..start].iter().filter(|b| **b == b'\n').count();
        let units: usize = text[start..offset].chars().map(|c| self.width(c)).sum();
        Position::new(u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(units).unwrap_or(u32::MAX))
    }

    /// The byte offset of a position: never past its line, never inside a character.
    pub fn offset(self, text: &str, position: Position) -> usize {
        let mut start = 0;
        for _ in 0..position.line {
            match text[start..].find('\n') {
                Some(at) => start += at + 1,
                None => return text.len(),
            }
        }
        let line = text[start..].split('\n').next().unwrap_or("");
        let line = line.strip_suffix('\r').unwrap_or(line);
        let mut left = position.character as usize;
        for (at, c) in line.char_indices() {
            let width = self.width(c);
            if left < width {
                return start + at;
            }
            left -= width;
        }
        start + line.len()
    }

    pub fn range(self, text: &str, span: &std::ops::Range<usize>) -> Range {
        Range::new(self.position(text, span.start), self.position(text, span.end.max(span.start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn korean_and_emoji_count_as_the_editor_counts() {
        let text = "note \"한글\"\r\n  😀x\n";
        let x = text.find('x').unwrap_or(0);
        assert_eq!(Encoding::Utf16.position(text, x), Position::new(1, 4));
        assert_eq!(Encoding::Utf8.position(text, x), Position::new(1, 6));
        for encoding in [Encoding::Utf16, Encoding::Utf8] {
            for (offset, _) in text.char_indices().filter(|(_, c)| *c != '\r' && *c != '\n') {
                assert_eq!(encoding.offset(text, encoding.position(text, offset)), offset);
            }
            assert_eq!(encoding.offset(text, Position::new(0, 999)), text.find('\r').unwrap_or(0));
            assert_eq!(encoding.offset(text, Position::new(99, 0)), text.len());
        }
        // In the middle of a surrogate pair: the character's start.
        assert_eq!(Encoding::Utf16.offset(text, Position::new(1, 3)), text.find('😀').unwrap_or(0));
        assert_eq!(Encoding::Utf16.position(text, 7), Position::new(0, 6));
    }
}
