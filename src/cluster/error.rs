//! Why a request failed: what was asked, and what Kubernetes answered.

/// A failed request. `doing` reads after "while": "applying Gateway mesh-test/egress".
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The API server refused: its own words.
    #[error("{doing}: {message}")]
    Refused { doing: String, code: u16, reason: String, message: String },
    /// No answer: the target is not reachable, or a stream broke.
    #[error("{doing}: {message}")]
    Broken { doing: String, message: String },
    /// What was asked for is not there.
    #[error("{message}")]
    Absent { message: String, help: String },
}

impl Error {
    pub fn from_kube(doing: impl Into<String>, error: kube::Error) -> Error {
        let doing = doing.into();
        match error {
            kube::Error::Api(status) => Error::Refused {
                doing,
                code: status.code,
                reason: status.reason.clone(),
                message: if status.message.is_empty() {
                    format!("HTTP {}", status.code)
                } else {
                    status.message.clone()
                },
            },
            other => Error::broken(doing, &other),
        }
    }

    /// A transport error with its causes, innermost last.
    pub fn broken(doing: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Error {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        Error::Broken { doing: doing.into(), message }
    }

    pub fn says(doing: impl Into<String>, message: impl Into<String>) -> Error {
        Error::Broken { doing: doing.into(), message: message.into() }
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Refused { code: 404, .. })
    }

    /// The server would not make the change: it is invalid, or a webhook or a rule forbids it.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Error::Refused { code: 400 | 403 | 404 | 409 | 422, message, .. } => Some(message),
            _ => None,
        }
    }

    pub fn is_conflict(&self) -> bool {
        matches!(self, Error::Refused { code: 409, .. })
    }

    /// True when the target itself failed, rather than refused.
    pub fn is_broken(&self) -> bool {
        match self {
            Error::Broken { .. } => true,
            Error::Refused { code, .. } => *code == 401 || *code >= 500,
            Error::Absent { .. } => false,
        }
    }
}
