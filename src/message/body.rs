//! A resource's body. Thousands of clusters of one service differ in one name alone: they share a template, and are
//! written out only when somebody reads them as a whole.

use serde_json::Value;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// What stands in a template for the text that differs. Of the private use area, so that no name has it.
pub const MARK: &str = "\u{f8ff}\u{f8fe}\u{f8ff}";

/// JSON with [`MARK`] in some of its strings.
#[derive(Debug, PartialEq, Eq)]
pub struct Template {
    value: Value,
    /// Where the strings with a mark are.
    holes: Vec<Vec<Step>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Element(usize),
}

impl Template {
    /// `None` for JSON with a mark in the name of a field.
    pub fn new(value: Value) -> Option<Self> {
        let mut holes = Vec::new();
        find(&value, &mut Vec::new(), &mut holes)?;
        Some(Self { value, holes })
    }

    /// The JSON with its marks.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The strings with marks.
    pub fn marked(&self) -> Vec<&str> {
        let at = |hole: &Vec<Step>| {
            hole.iter().try_fold(&self.value, |at, step| match step {
                Step::Field(name) => at.get(name),
                Step::Element(index) => at.get(index),
            })
        };
        self.holes.iter().filter_map(at).filter_map(Value::as_str).collect()
    }

    fn fill(&self, text: &str) -> Value {
        let mut whole = self.value.clone();
        for hole in &self.holes {
            let place = hole.iter().try_fold(&mut whole, |at, step| match step {
                Step::Field(name) => at.get_mut(name),
                Step::Element(index) => at.get_mut(index),
            });
            if let Some(Value::String(marked)) = place {
                *marked = marked.replace(MARK, text);
            }
        }
        whole
    }
}

fn find(value: &Value, at: &mut Vec<Step>, holes: &mut Vec<Vec<Step>>) -> Option<()> {
    match value {
        Value::String(text) if text.contains(MARK) => holes.push(at.clone()),
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                at.push(Step::Element(index));
                find(element, at, holes)?;
                at.pop();
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                if name.contains(MARK) {
                    return None;
                }
                at.push(Step::Field(name.clone()));
                find(field, at, holes)?;
                at.pop();
            }
        }
        _ => {}
    }
    Some(())
}

/// Proto3 JSON. Cheap to clone; reads like a [`Value`].
#[derive(Clone)]
pub struct Body(Form);

#[derive(Clone)]
enum Form {
    Whole(Arc<Value>),
    Filled {
        template: Arc<Template>,
        text: Arc<str>,
        /// Made when it is first read.
        whole: OnceLock<Arc<Value>>,
    },
}

impl Body {
    /// A template with `text` for its marks.
    pub fn filled(template: Arc<Template>, text: impl Into<Arc<str>>) -> Self {
        Self(Form::Filled { template, text: text.into(), whole: OnceLock::new() })
    }

    /// What it shares with others, and the text that goes into it.
    pub fn template(&self) -> Option<(&Arc<Template>, &str)> {
        match &self.0 {
            Form::Whole(_) => None,
            Form::Filled { template, text, .. } => Some((template, text)),
        }
    }

    /// The body without writing it out: strings that have marks keep them.
    pub fn shape(&self) -> &Value {
        match &self.0 {
            Form::Whole(value) => value,
            Form::Filled { template, .. } => &template.value,
        }
    }

    fn whole(&self) -> &Arc<Value> {
        match &self.0 {
            Form::Whole(value) => value,
            Form::Filled { template, text, whole } => whole.get_or_init(|| Arc::new(template.fill(text))),
        }
    }

    /// To change this one alone.
    pub fn make_mut(&mut self) -> &mut Value {
        if let Form::Filled { .. } = self.0 {
            self.0 = Form::Whole(self.whole().clone());
        }
        match &mut self.0 {
            Form::Whole(value) => Arc::make_mut(value),
            Form::Filled { .. } => unreachable!("made whole just above"),
        }
    }

    pub fn into_value(self) -> Value {
        match self.0 {
            Form::Whole(value) => Arc::unwrap_or_clone(value),
            Form::Filled { template, text, whole } => {
                whole.into_inner().map_or_else(|| template.fill(&text), Arc::unwrap_or_clone)
            }
        }
    }
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        Self(Form::Whole(Arc::new(value)))
    }
}

impl From<Arc<Value>> for Body {
    fn from(value: Arc<Value>) -> Self {
        Self(Form::Whole(value))
    }
}

impl Deref for Body {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.whole()
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        if let (Some((a, text)), Some((b, other_text))) = (self.template(), other.template())
            && text == other_text
            && (Arc::ptr_eq(a, b) || a == b)
        {
            return true;
        }
        self.whole() == other.whole()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template() -> Arc<Template> {
        let value = json!({"name": format!("a|{MARK}|b"), "list": [1, {"sni": MARK, "same": "x"}], "twice": format!("{MARK}{MARK}")});
        Arc::new(Template::new(value).unwrap())
    }

    #[test]
    fn the_text_goes_wherever_the_mark_is() {
        let body = Body::filled(template(), "v1");
        assert_eq!(*body, json!({"name": "a|v1|b", "list": [1, {"sni": "v1", "same": "x"}], "twice": "v1v1"}));
        assert_eq!(body.clone().into_value(), *body);
        assert_eq!(Template::new(json!({MARK: 1})), None);
    }

    #[test]
    fn bodies_are_equal_when_what_they_say_is() {
        let body = Body::filled(template(), "v1");
        assert_eq!(body, Body::filled(template(), "v1"));
        assert_eq!(body, Body::from((*body).clone()));
        assert_ne!(body, Body::filled(template(), "v2"));
        let mut changed = body.clone();
        changed.make_mut()["name"] = json!("other");
        assert_ne!(body, changed);
        assert_eq!(body["name"], "a|v1|b");
    }
}
