//! Where the cursor stands: the words of its line, and the one that it touches.

use crate::syntax::{self, Span, TokenKind};

/// A place between words, or on one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub offset: usize,
    /// The words of the logical line, in order.
    pub words: Vec<Span>,
    /// The index among them of the one the cursor touches, or of the one that would be written here.
    pub index: usize,
    /// The word's bytes up to the cursor, and all of them; both empty between words.
    pub prefix: Span,
    pub word: Span,
}

impl Cursor {
    /// `None` in comments, texts and heredocs: nothing of the language stands there.
    pub fn at(text: &str, offset: usize) -> Option<Cursor> {
        let line = syntax::lines(text).find(|line| {
            line.whole.contains(&offset) || (line.whole.end == offset && offset == text.len() && !text.ends_with('\n'))
        });
        let nothing = Cursor { offset, words: vec![], index: 0, prefix: offset..offset, word: offset..offset };
        let Some(line) = line else { return Some(nothing) };
        let from = line.whole.start;
        let mut cursor = nothing;
        for token in syntax::tokens(&text[line.whole.clone()]) {
            let span = from + token.span.start..from + token.span.end;
            let inside = span.start < offset && offset <= span.end;
            match token.kind {
                TokenKind::Comment if inside => return None,
                TokenKind::Heredoc | TokenKind::Text if inside && offset < span.end => return None,
                TokenKind::Unclosed if inside && text[span.clone()].contains('\n') => return None,
                TokenKind::Word | TokenKind::Regex | TokenKind::Unclosed => cursor.words.push(span),
                _ => {}
            }
        }
        cursor.index = cursor.words.iter().take_while(|span| span.end < offset).count();
        if let Some(span) = cursor.words.get(cursor.index).filter(|span| span.start <= offset) {
            (cursor.prefix, cursor.word) = (span.start..offset, span.clone());
        }
        Some(cursor)
    }

    /// The words before the one at the cursor.
    pub fn before<'t>(&self, text: &'t str) -> Vec<&'t str> {
        self.words[..self.index].iter().map(|span| &text[span.clone()]).collect()
    }

    pub fn all<'t>(&self, text: &'t str) -> Vec<&'t str> {
        self.words.iter().map(|span| &text[span.clone()]).collect()
    }

    /// The `${name}` that the cursor is in, with its braces: its bytes and its name.
    pub fn variable<'t>(&self, text: &'t str) -> Option<(Span, &'t str)> {
        let word = &text[self.word.clone()];
        let at = self.offset - self.word.start;
        let mut from = 0;
        while let Some(start) = word[from..].find("${").map(|i| from + i) {
            let end = word[start..].find('}').map_or(word.len(), |i| start + i + 1);
            if start <= at && at <= end {
                let name = word[start + 2..end].trim_end_matches('}');
                return Some((self.word.start + start..self.word.start + end, name));
            }
            from = end;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Cursor;

    #[test]
    fn words_and_the_one_at_the_cursor() {
        let text = "# c\nexpect listener 15443 \\\n  on sle\napply <<YAML\na: b\nYAML\nnote \"x ${이름} y\"\n";
        let at = |needle: &str| Cursor::at(text, text.find(needle).unwrap_or(0) + needle.len());
        assert_eq!(at("# c"), None);
        assert_eq!(at("a: "), None);
        let on = at("on sle").unwrap_or_else(|| panic!("on a word"));
        assert_eq!(on.before(text), ["expect", "listener", "15443", "on"]);
        assert_eq!(&text[on.prefix.clone()], "sle");
        let between = at("expect listener ").unwrap_or_else(|| panic!("between words"));
        assert_eq!((between.index, &text[between.word.clone()]), (2, "15443"));
        let variable = at("${이").and_then(|c| c.variable(text).map(|(_, name)| name.to_owned()));
        assert_eq!(variable.as_deref(), Some("이름"));
    }
}
