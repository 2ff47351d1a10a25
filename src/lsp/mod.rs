//! The language server: an editor's questions about scenarios, answered from `syntax`, `plan` and `check`.
//!
//! Speaks over the connection it is given. Reads scenarios and manifests; writes no file, starts nothing, reaches no
//! cluster.

mod completion;
mod cursor;
mod diagnostics;
mod documents;
mod known;
mod lookup;
mod meaning;
mod names;
mod position;
mod symbols;
mod usage;

use crate::check::editor;
use crate::diag::Place;
use crate::explain::Language;
use crate::syntax;
use cursor::Cursor;
use diagnostics::Found;
use documents::{Document, Documents, Kind};
use lsp_server::{Connection, ErrorCode, Message, Notification, Request, Response, ResponseError};
use lsp_types::notification as note;
use lsp_types::notification::Notification as _;
use lsp_types::request as ask;
use lsp_types::request::Request as _;
use lsp_types::*;
use position::Encoding;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Why the conversation ended badly.
#[derive(Debug, thiserror::Error)]
#[error("the editor and the language server do not understand each other: {0}")]
pub struct Error(String);

struct Server<'c> {
    connection: &'c Connection,
    encoding: Encoding,
    language: Language,
    documents: Documents,
    found: Found,
}

/// Serves one editor until it says that it is done. `language` is that of hovers where the editor names none.
///
/// # Errors
/// When the editor breaks the protocol, or goes away without a word.
pub fn serve(connection: &Connection, language: Language) -> Result<(), Error> {
    let wrong = |error: lsp_server::ProtocolError| Error(error.to_string());
    let (id, params) = connection.initialize_start().map_err(wrong)?;
    let asked: InitializeParams = serde_json::from_value(params).map_err(|error| Error(error.to_string()))?;
    let offered = asked.capabilities.general.as_ref().and_then(|general| general.position_encodings.as_ref());
    let utf8 = offered.is_some_and(|all| all.contains(&PositionEncodingKind::UTF8));
    let encoding = if utf8 { Encoding::Utf8 } else { Encoding::Utf16 };
    let of_editor = asked.locale.as_deref().map(Language::of_locale);
    let language = asked.initialization_options.as_ref().and_then(setting).or(of_editor).unwrap_or(language);
    let answer = json!({
        "capabilities": capabilities(encoding),
        "serverInfo": { "name": "egress-scn", "version": env!("CARGO_PKG_VERSION") },
    });
    connection.initialize_finish(id, answer).map_err(wrong)?;
    let mut server =
        Server { connection, encoding, language, documents: Documents::default(), found: Found::default() };
    server.run()
}

/// `{"language": "ko"}`, also one level down, as editors nest their settings.
fn setting(options: &Value) -> Option<Language> {
    let own = options.get("egress-scn").or_else(|| options.get("egressScn")).unwrap_or(options);
    let word = own.get("language")?.as_str()?;
    matches!(word, "ko" | "en").then(|| Language::of_locale(word))
}

fn capabilities(encoding: Encoding) -> ServerCapabilities {
    let triggers = [" ", "$", "{", "/", ".", ":"].map(str::to_owned).to_vec();
    ServerCapabilities {
        position_encoding: Some(match encoding {
            Encoding::Utf8 => PositionEncodingKind::UTF8,
            Encoding::Utf16 => PositionEncodingKind::UTF16,
        }),
        text_document_sync: Some(TextDocumentSyncCapability::Options(TextDocumentSyncOptions {
            open_close: Some(true),
            change: Some(TextDocumentSyncKind::INCREMENTAL),
            save: Some(TextDocumentSyncSaveOptions::Supported(true)),
            ..TextDocumentSyncOptions::default()
        })),
        completion_provider: Some(CompletionOptions {
            trigger_characters: Some(triggers),
            ..CompletionOptions::default()
        }),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        definition_provider: Some(OneOf::Left(true)),
        document_symbol_provider: Some(OneOf::Left(true)),
        document_formatting_provider: Some(OneOf::Left(true)),
        ..ServerCapabilities::default()
    }
}

impl Server<'_> {
    fn run(&mut self) -> Result<(), Error> {
        let mut changed = false;
        loop {
            // Checks wait until the editor has said all that it had to say.
            if changed && self.connection.receiver.is_empty() {
                self.publish();
                changed = false;
            }
            let Ok(message) = self.connection.receiver.recv() else {
                return Err(Error("the editor went away".into()));
            };
            match message {
                Message::Request(request) => {
                    if self.connection.handle_shutdown(&request).map_err(|error| Error(error.to_string()))? {
                        return Ok(());
                    }
                    let response = self.answer(request);
                    self.send(Message::Response(response));
                }
                Message::Notification(notification) => changed |= self.hear(notification),
                Message::Response(_) => {}
            }
        }
    }

    fn send(&self, message: Message) {
        // An editor that is gone is noticed at the next receive.
        let _ = self.connection.sender.send(message);
    }

    fn publish(&mut self) {
        for params in self.found.check(&self.documents, self.encoding) {
            let notification = Notification::new(note::PublishDiagnostics::METHOD.to_owned(), params);
            self.send(Message::Notification(notification));
        }
    }

    /// Takes in what the editor says; true when something must be checked again.
    fn hear(&mut self, said: Notification) -> bool {
        fn read<T: DeserializeOwned>(said: Notification) -> Option<T> {
            serde_json::from_value(said.params).ok()
        }
        match said.method.as_str() {
            note::DidOpenTextDocument::METHOD => {
                let Some(DidOpenTextDocumentParams { text_document: d }) = read(said) else { return false };
                self.documents.open(d.uri, &d.language_id, d.version, d.text);
            }
            note::DidChangeTextDocument::METHOD => {
                let Some(DidChangeTextDocumentParams { text_document: d, content_changes }) = read(said) else {
                    return false;
                };
                self.documents.change(&d.uri, d.version, content_changes, self.encoding);
            }
            note::DidCloseTextDocument::METHOD => {
                let Some(DidCloseTextDocumentParams { text_document: d }) = read(said) else { return false };
                self.documents.close(&d.uri);
            }
            note::DidChangeConfiguration::METHOD => {
                let Some(DidChangeConfigurationParams { settings }) = read(said) else { return false };
                self.language = setting(&settings).unwrap_or(self.language);
                return false;
            }
            note::DidSaveTextDocument::METHOD | note::DidChangeWatchedFiles::METHOD => {}
            _ => return false,
        }
        true
    }

    fn answer(&mut self, request: Request) -> Response {
        let Request { id, method, params } = request;
        let answered = match method.as_str() {
            ask::Completion::METHOD => self.with(params, |server, p: CompletionParams| server.completion(&p)),
            ask::HoverRequest::METHOD => self.with(params, |server, p: HoverParams| server.hover(&p)),
            ask::GotoDefinition::METHOD => self.with(params, |server, p: GotoDefinitionParams| server.definition(&p)),
            ask::DocumentSymbolRequest::METHOD => {
                self.with(params, |server, p: DocumentSymbolParams| server.symbols(&p.text_document.uri))
            }
            ask::Formatting::METHOD => {
                self.with(params, |server, p: DocumentFormattingParams| server.formatting(&p.text_document.uri))
            }
            other => Err(error(ErrorCode::MethodNotFound, format!("{other} is not answered here"))),
        };
        match answered {
            Ok(result) => Response { id, result: Some(result), error: None },
            Err(error) => Response { id, result: None, error: Some(error) },
        }
    }

    /// Reads the parameters, asks, and writes the answer; `null` where there is none.
    fn with<P: DeserializeOwned, R: serde::Serialize>(
        &self,
        params: Value,
        ask: impl FnOnce(&Self, P) -> Option<R>,
    ) -> Result<Value, ResponseError> {
        let params = serde_json::from_value(params).map_err(|e| error(ErrorCode::InvalidParams, e.to_string()))?;
        serde_json::to_value(ask(self, params)).map_err(|e| error(ErrorCode::InternalError, e.to_string()))
    }

    fn scenario(&self, uri: &Uri) -> Option<&Document> {
        self.documents.get(uri).filter(|document| document.kind == Kind::Scenario)
    }

    fn place(&self, at: &TextDocumentPositionParams) -> Option<(&Document, Cursor)> {
        let document = self.scenario(&at.text_document.uri)?;
        let text = &document.source.text;
        Some((document, Cursor::at(text, self.encoding.offset(text, at.position))?))
    }

    fn completion(&self, params: &CompletionParams) -> Option<Vec<CompletionItem>> {
        let (document, cursor) = self.place(&params.text_document_position)?;
        let parsed = syntax::parse(&document.source);
        let things = around(document, &self.documents.unsaved());
        let manifests = editor::manifest_names(&document.path);
        let included = editor::included(&parsed, &document.path, &self.documents.unsaved());
        let step_files = editor::step_files(&document.path);
        let around = completion::Around {
            parsed: &parsed,
            things: &things,
            manifests: &manifests,
            included: &included,
            step_files: &step_files,
            language: self.language,
        };
        let items = completion::proposals(&around, &cursor).into_iter().enumerate().map(|(index, proposal)| {
            let range = self.encoding.range(&document.source.text, &proposal.span);
            let documentation = proposal.meaning.map(|meaning| Documentation::String(meaning.to_owned()));
            CompletionItem {
                text_edit: Some(CompletionTextEdit::Edit(TextEdit { range, new_text: proposal.label.clone() })),
                filter_text: Some(proposal.label.clone()),
                label: proposal.label,
                kind: Some(proposal.kind),
                detail: Some(proposal.detail).filter(|detail| !detail.is_empty()),
                documentation,
                sort_text: Some(format!("{index:05}")),
                ..CompletionItem::default()
            }
        });
        Some(items.collect())
    }

    fn lookup(&self, at: &TextDocumentPositionParams) -> Option<(&Document, lookup::Found)> {
        let (document, cursor) = self.place(at)?;
        let parsed = syntax::parse(&document.source);
        let unsaved = self.documents.unsaved();
        let things = around(document, &unsaved);
        let files = |word: &str| editor::word(&document.path, word, &unsaved);
        let included = editor::included(&parsed, &document.path, &unsaved);
        let step_file = |word: &str| {
            let found = included.iter().find(|p| std::path::Path::new(&p.source.name).ends_with(word))?;
            Some(Place { source: found.source.clone(), span: 0..0 })
        };
        let around = lookup::Around {
            parsed: &parsed,
            things: &things,
            language: self.language,
            included: &included,
            step_file: &step_file,
            files: &files,
        };
        lookup::lookup(&around, &cursor).map(|found| (document, found))
    }

    fn hover(&self, params: &HoverParams) -> Option<Hover> {
        let (document, found) = self.lookup(&params.text_document_position_params)?;
        Some(Hover {
            contents: HoverContents::Markup(MarkupContent { kind: MarkupKind::Markdown, value: found.text }),
            range: Some(self.encoding.range(&document.source.text, &found.span)),
        })
    }

    fn definition(&self, params: &GotoDefinitionParams) -> Option<Vec<Location>> {
        let (document, found) = self.lookup(&params.text_document_position_params)?;
        let place = |place| diagnostics::location(place, document, &self.documents, self.encoding);
        Some(found.places.iter().filter_map(place).collect())
    }

    fn symbols(&self, uri: &Uri) -> Option<Vec<DocumentSymbol>> {
        let document = self.scenario(uri)?;
        Some(symbols::symbols(&syntax::parse(&document.source), self.encoding))
    }

    /// The whole text, laid out; nothing where it cannot be read, or needs no change.
    fn formatting(&self, uri: &Uri) -> Option<Vec<TextEdit>> {
        let document = self.scenario(uri)?;
        let text = &document.source.text;
        if syntax::parse(&document.source).errors.iter().any(|d| d.is_error()) {
            return None;
        }
        let laid_out = syntax::format(text);
        if laid_out == *text {
            return Some(vec![]);
        }
        Some(vec![TextEdit { range: self.encoding.range(text, &(0..text.len())), new_text: laid_out }])
    }
}

/// What the manifests around a scenario define.
fn around(document: &Document, unsaved: &editor::Unsaved) -> known::Things {
    let (path, unsaved) = (document.path.clone(), unsaved.clone());
    known::Things::new(Box::new(move || known::things(&editor::surroundings(&path, &unsaved))))
}

fn error(code: ErrorCode, message: String) -> ResponseError {
    ResponseError { code: code as i32, message, data: None }
}
