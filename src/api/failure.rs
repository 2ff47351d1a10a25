//! The API's errors: an HTTP status and a Kubernetes `Status` object in Kubernetes' own words.

use serde_json::{Map, Value, json};

/// An answer that is not a success.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub code: u16,
    /// The machine-readable reason (`NotFound`, `Conflict`, ...).
    pub reason: &'static str,
    pub message: String,
    /// `details` of the Status object; `Value::Null` when there are none.
    pub details: Value,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// One fault of an object: the field, the `reason` of its cause and the sentence.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    pub field: String,
    pub reason: &'static str,
    pub message: String,
}

impl Cause {
    pub fn required(field: &str, detail: &str) -> Cause {
        let message = if detail.is_empty() { "Required value".into() } else { format!("Required value: {detail}") };
        Cause { field: field.into(), reason: "FieldValueRequired", message }
    }

    pub fn invalid(field: &str, value: &Value, detail: &str) -> Cause {
        Cause { field: field.into(), reason: "FieldValueInvalid", message: format!("Invalid value: {value}: {detail}") }
    }

    pub fn unsupported(field: &str, value: &Value, allowed: &[&str]) -> Cause {
        let list: Vec<String> = allowed.iter().map(|a| format!("\"{a}\"")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", list.join(", "));
        Cause { field: field.into(), reason: "FieldValueNotSupported", message }
    }
}

impl Failure {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Failure {
        Failure { code, reason, message: message.into(), details: Value::Null }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Failure {
        // Kubernetes leaves out what is empty: a list has no name, the core group none either.
        let given = [("name", name), ("group", group), ("kind", kind)].into_iter().filter(|(_, text)| !text.is_empty());
        self.details = given.map(|(field, text)| (field.to_string(), json!(text))).collect::<Map<_, _>>().into();
        self
    }

    /// `pods "x" not found`
    pub fn not_found(group: &str, plural: &str, name: &str) -> Failure {
        let message = format!("{} \"{name}\" not found", qualified(group, plural));
        Failure::new(404, "NotFound", message).about(group, plural, name)
    }

    /// A path that names no resource. Its answer is no `Status`: clients then say themselves what they had asked for.
    pub fn no_such_resource() -> Failure {
        Failure::new(404, "", "404 page not found")
    }

    /// Whether the answer is plain text.
    pub fn is_no_page(&self) -> bool {
        self.code == 404 && self.reason.is_empty()
    }

    pub fn already_exists(group: &str, plural: &str, name: &str) -> Failure {
        let message = format!("{} \"{name}\" already exists", qualified(group, plural));
        Failure::new(409, "AlreadyExists", message).about(group, plural, name)
    }

    pub fn conflict(group: &str, plural: &str, name: &str, why: &str) -> Failure {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", qualified(group, plural));
        Failure::new(409, "Conflict", message).about(group, plural, name)
    }

    /// The write carried an old resourceVersion.
    pub fn modified(group: &str, plural: &str, name: &str) -> Failure {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Failure::conflict(group, plural, name, why)
    }

    pub fn forbidden(group: &str, plural: &str, name: &str, why: &str) -> Failure {
        let message = format!("{} \"{name}\" is forbidden: {why}", qualified(group, plural));
        Failure::new(403, "Forbidden", message).about(group, plural, name)
    }

    /// `Service "x" is invalid: spec.ports: Required value`
    pub fn invalid(group: &str, kind: &str, name: &str, causes: &[Cause]) -> Failure {
        let lines: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        let all = if lines.len() == 1 { lines[0].clone() } else { format!("[{}]", lines.join(", ")) };
        let message = format!("{} \"{name}\" is invalid: {all}", qualified(group, kind));
        let mut failure = Failure::new(422, "Invalid", message).about(group, kind, name);
        failure.details["causes"] = causes
            .iter()
            .map(|c| json!({ "reason": c.reason, "message": c.message, "field": c.field }))
            .collect::<Vec<_>>()
            .into();
        failure
    }

    pub fn bad_request(message: impl Into<String>) -> Failure {
        Failure::new(400, "BadRequest", message)
    }

    pub fn method_not_allowed() -> Failure {
        let message = "the server does not allow this method on the requested resource";
        Failure::new(405, "MethodNotAllowed", message)
    }

    pub fn gone(message: impl Into<String>) -> Failure {
        Failure::new(410, "Expired", message)
    }

    pub fn unauthorized() -> Failure {
        Failure::new(401, "Unauthorized", "Unauthorized")
    }

    pub fn internal(message: impl Into<String>) -> Failure {
        Failure::new(500, "InternalError", format!("Internal error occurred: {}", message.into()))
    }

    /// The `Status` object of this error.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": self.message, "reason": self.reason,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status["code"] = json!(self.code);
        status
    }
}

/// `serviceentries.networking.istio.io`, or `pods` in the core group.
fn qualified(group: &str, plural: &str) -> String {
    if group.is_empty() { plural.to_string() } else { format!("{plural}.{group}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_is_left_out() {
        let details = |group, name| Failure::forbidden(group, "pods", name, "no").details;
        assert_eq!(details("", ""), json!({"kind": "pods"}));
        assert_eq!(details("apps", "a"), json!({"name": "a", "group": "apps", "kind": "pods"}));
    }
}
