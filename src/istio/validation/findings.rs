//! Errors and warnings as they add up: a single one stands bare, several stand in a numbered list.

/// Errors (or warnings) in the order in which they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Messages {
    list: Vec<String>,
    /// Whether they were ever joined: then even a single one is shown as a list.
    listed: bool,
}

impl Messages {
    /// One message.
    pub fn one(message: impl Into<String>) -> Self {
        Messages { list: vec![message.into()], listed: false }
    }

    /// Adds others: nothing and something is that thing, two things are a list.
    pub fn join(&mut self, other: Messages) {
        if self.list.is_empty() {
            *self = other;
        } else if !other.list.is_empty() {
            self.list.extend(other.list);
            self.listed = true;
        }
    }

    /// Adds one message.
    pub fn add(&mut self, message: impl Into<String>) {
        self.join(Messages::one(message));
    }

    /// Adds one message to what is a list from the start.
    pub fn list(&mut self, message: impl Into<String>) {
        self.list.push(message.into());
        self.listed = true;
    }

    /// The same messages, each after a prefix.
    pub fn prefixed(mut self, prefix: &str) -> Self {
        for message in &mut self.list {
            *message = format!("{prefix} {message}");
        }
        self
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn into_vec(self) -> Vec<String> {
        self.list
    }

    /// All of them as one text.
    pub fn text(&self) -> String {
        if !self.listed {
            return self.list.first().cloned().unwrap_or_default();
        }
        let points: Vec<String> = self.list.iter().map(|message| format!("* {message}")).collect();
        let count = match self.list.len() {
            1 => "1 error".to_string(),
            several => format!("{several} errors"),
        };
        format!("{count} occurred:\n\t{}\n\n", points.join("\n\t"))
    }
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    pub errors: Messages,
    pub warnings: Messages,
}

impl Findings {
    /// One error.
    pub fn failed(message: impl Into<String>) -> Self {
        Findings { errors: Messages::one(message), warnings: Messages::default() }
    }

    pub fn error(&mut self, message: impl Into<String>) {
        self.errors.add(message);
    }

    pub fn warn(&mut self, message: impl Into<String>) {
        self.warnings.add(message);
    }

    /// Adds the error of a failed check.
    pub fn check(&mut self, outcome: Result<(), String>) {
        if let Err(message) = outcome {
            self.error(message);
        }
    }

    pub fn join(&mut self, other: impl Into<Findings>) {
        let other = other.into();
        self.errors.join(other.errors);
        self.warnings.join(other.warnings);
    }
}

impl From<Messages> for Findings {
    fn from(errors: Messages) -> Self {
        Findings { errors, warnings: Messages::default() }
    }
}

impl From<Result<(), String>> for Messages {
    fn from(outcome: Result<(), String>) -> Self {
        outcome.err().map(Messages::one).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stands_bare_and_several_stand_in_a_list() {
        let mut messages = Messages::one("a");
        assert_eq!(messages.text(), "a");
        messages.add("b");
        assert_eq!(messages.text(), "2 errors occurred:\n\t* a\n\t* b\n\n");
        let mut listed = Messages::default();
        listed.list("c");
        assert_eq!(listed.text(), "1 error occurred:\n\t* c\n\n");
    }
}
