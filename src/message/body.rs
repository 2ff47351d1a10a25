//! A resource's body. Thousands of clusters of one service differ in one name alone: they share a template. A listener
//! has thousands of chains, of which few change: it shares their bodies with the listener that it was before. Such
//! bodies are written out only when somebody reads them as a whole.

use serde_json::{Map, Value};
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
    Listing {
        listing: Arc<Listing>,
        whole: OnceLock<Arc<Value>>,
    },
}

/// A message but for one of its lists, and the elements of that.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing {
    /// Without the list.
    pub frame: Value,
    pub field: &'static str,
    pub elements: Vec<Arc<Value>>,
}

impl Listing {
    fn write(&self) -> Value {
        let mut whole = self.frame.clone();
        let elements = self.elements.iter().map(|element| (**element).clone()).collect();
        if let Some(fields) = whole.as_object_mut() {
            fields.insert(self.field.to_owned(), Value::Array(elements));
        }
        whole
    }
}

impl Body {
    /// A template with `text` for its marks.
    pub fn filled(template: Arc<Template>, text: impl Into<Arc<str>>) -> Self {
        Self(Form::Filled { template, text: text.into(), whole: OnceLock::new() })
    }

    /// A message with a list of shared elements; `frame` is the rest of it.
    pub fn listing(frame: Map<String, Value>, field: &'static str, elements: Vec<Arc<Value>>) -> Self {
        let listing = Listing { frame: Value::Object(frame), field, elements };
        Self(Form::Listing { listing: Arc::new(listing), whole: OnceLock::new() })
    }

    /// What it shares with others, and the text that goes into it.
    pub fn template(&self) -> Option<(&Arc<Template>, &str)> {
        match &self.0 {
            Form::Filled { template, text, .. } => Some((template, text)),
            Form::Whole(_) | Form::Listing { .. } => None,
        }
    }

    /// Its list of shared elements and the rest of it.
    pub fn as_listing(&self) -> Option<&Arc<Listing>> {
        match &self.0 {
            Form::Listing { listing, .. } => Some(listing),
            Form::Whole(_) | Form::Filled { .. } => None,
        }
    }

    /// The body without writing it out: strings that have marks keep them, and a list of shared elements is not in it.
    pub fn shape(&self) -> &Value {
        match &self.0 {
            Form::Whole(value) => value,
            Form::Filled { template, .. } => &template.value,
            Form::Listing { listing, .. } => &listing.frame,
        }
    }

    /// The elements of a list, without writing the body out; none for what is no list.
    pub fn list(&self, field: &str) -> impl Iterator<Item = &Value> {
        let (shared, own) = match &self.0 {
            Form::Listing { listing, .. } if listing.field == field => (&listing.elements[..], &[][..]),
            Form::Listing { listing, .. } => (&[][..], elements(&listing.frame, field)),
            Form::Whole(_) | Form::Filled { .. } => (&[][..], elements(self.whole(), field)),
        };
        shared.iter().map(|element| &**element).chain(own)
    }

    /// A field that is no list of shared elements, without writing the body out.
    pub fn field(&self, name: &str) -> &Value {
        match &self.0 {
            Form::Listing { listing, .. } if listing.field != name => &listing.frame[name],
            _ => &self.whole()[name],
        }
    }

    fn whole(&self) -> &Arc<Value> {
        match &self.0 {
            Form::Whole(value) => value,
            Form::Filled { template, text, whole } => whole.get_or_init(|| Arc::new(template.fill(text))),
            Form::Listing { listing, whole } => whole.get_or_init(|| Arc::new(listing.write())),
        }
    }

    /// To change this one alone.
    pub fn make_mut(&mut self) -> &mut Value {
        if !matches!(self.0, Form::Whole(_)) {
            self.0 = Form::Whole(self.whole().clone());
        }
        match &mut self.0 {
            Form::Whole(value) => Arc::make_mut(value),
            Form::Filled { .. } | Form::Listing { .. } => unreachable!("made whole just above"),
        }
    }

    pub fn into_value(self) -> Value {
        match self.0 {
            Form::Whole(value) => Arc::unwrap_or_clone(value),
            Form::Filled { template, text, whole } => {
                whole.into_inner().map_or_else(|| template.fill(&text), Arc::unwrap_or_clone)
            }
            Form::Listing { listing, whole } => {
                whole.into_inner().map_or_else(|| listing.write(), Arc::unwrap_or_clone)
            }
        }
    }
}

fn elements<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
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
        if let (Some(a), Some(b)) = (self.as_listing(), other.as_listing())
            && a.field == b.field
        {
            // Elements that both share are not compared.
            return a == b;
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

    #[test]
    fn a_listing_reads_like_the_message() {
        let message = json!({"name": "a", "other": [1], "list": [{"x": 1}, {"x": 2}]});
        let frame = json!({"name": "a", "other": [1]}).as_object().unwrap().clone();
        let elements = vec![Arc::new(json!({"x": 1})), Arc::new(json!({"x": 2}))];
        let body = Body::listing(frame.clone(), "list", elements.clone());
        assert_eq!(*body, message);
        assert_eq!(body, Body::from(message.clone()));
        assert_eq!(body, Body::listing(frame.clone(), "list", vec![Arc::new(json!({"x": 1})), elements[1].clone()]));
        assert_ne!(body, Body::listing(frame, "list", elements[..1].to_vec()));
        for form in [body.clone(), Body::from(message)] {
            assert_eq!(form.list("list").collect::<Vec<_>>(), [&json!({"x": 1}), &json!({"x": 2})]);
            assert_eq!(form.list("other").collect::<Vec<_>>(), [&json!(1)]);
            assert_eq!(form.list("none").count(), 0);
            assert_eq!(form.field("name"), "a");
            assert_eq!(form.field("list").as_array().unwrap().len(), 2);
        }
        let mut changed = body.clone();
        changed.make_mut()["list"][0]["x"] = json!(3);
        assert_ne!(body, changed);
        assert_eq!(body["list"][0]["x"], 1);
    }
}
