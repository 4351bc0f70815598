//! Transcripts: what is exported, and the stream of an import, part by part.

use bytes::Bytes;
use prost::Message as _;
use tonic::Status;
use tracing::Span;

use crate::domain::id::{Revision, Source};
use crate::domain::{Invalid, Namespace, RequestId, SessionId};
use crate::pb;
use crate::pb::import_session_request::Part;
use crate::service::transfer::{Export, Format, Import, Imported, Named, Secrets, Shown};

use super::super::status;
use super::{optional, place};

/// What ExportSession streams.
pub(in crate::api) fn export(request: &pb::ExportSessionRequest) -> Result<Export, Status> {
    let id = SessionId::parse(&request.session_id, "session_id")?;
    let format = match pb::ExportFormat::try_from(request.format) {
        Ok(pb::ExportFormat::Markdown) => Format::Markdown,
        Ok(pb::ExportFormat::Jsonl) => Format::Jsonl,
        Ok(format @ (pb::ExportFormat::OpenaiChat | pb::ExportFormat::Anthropic)) => {
            return Err(status::format_unimplemented(format.as_str_name()));
        }
        Ok(pb::ExportFormat::Unspecified) | Err(_) => {
            return Err(Invalid::new("format", "must be MARKDOWN, JSONL, OPENAI_CHAT or ANTHROPIC").into());
        }
    };
    let secrets = if request.redact {
        Secrets::Masked
    } else {
        Secrets::Kept
    };
    Ok(Export {
        id,
        format,
        secrets,
        revision: request.revision.map(Revision),
    })
}

/// What an import begins with: its namespace, the caller's name for it, and its header.
pub(in crate::api) fn opening(
    first: pb::ImportSessionRequest,
) -> Result<(Namespace, Option<Named>, pb::ImportHeader), Status> {
    let namespace = Namespace::parse(&first.namespace)?;
    let Some(Part::Header(header)) = first.part else {
        return Err(Invalid::new("header", "the first part of the stream must be the header").into());
    };
    if first.request_id.is_empty() {
        return Ok((namespace, None, header));
    }
    let id = RequestId::parse(&first.request_id)?;
    Span::current().record("request.id", id.as_str());
    let mut print = b"ImportSessionRequest".to_vec();
    print.extend(header.encode_to_vec());
    Ok((namespace, Some(Named { id, header: print }), header))
}

/// What is imported and where it goes.
pub(in crate::api) fn header(header: &pb::ImportHeader) -> Result<Import, Status> {
    match pb::ImportFormat::try_from(header.format) {
        Ok(pb::ImportFormat::Jsonl) => {}
        Ok(
            format @ (pb::ImportFormat::Ggcode
            | pb::ImportFormat::Codewhale
            | pb::ImportFormat::ClaudeCode
            | pb::ImportFormat::Codex
            | pb::ImportFormat::OpenaiChat
            | pb::ImportFormat::Anthropic),
        ) => return Err(status::format_unimplemented(format.as_str_name())),
        Ok(pb::ImportFormat::Unspecified) | Err(_) => {
            return Err(Invalid::new(
                "header.format",
                "must be set to a format, from JSONL to ANTHROPIC",
            )
            .into());
        }
    }
    let session = optional(header.session_id.as_ref(), "header.session_id", SessionId::parse)?;
    if let Some(id) = &session {
        Span::current().record("session.id", id.as_str());
    }
    let workspace = header.workspace.as_ref();
    Ok(Import {
        session,
        workspace: workspace
            .map(|workspace| place(workspace, "header.workspace"))
            .transpose()?,
        source: optional(header.source.as_ref(), "header.source", Source::parse)?,
    })
}

/// The next piece of the transcript.
pub(in crate::api) fn piece(part: pb::ImportSessionRequest) -> Result<Bytes, Status> {
    match part.part {
        Some(Part::Chunk(chunk)) => Ok(chunk),
        Some(Part::Header(_)) => Err(Invalid::new("header", "must come first, and only once").into()),
        None => Err(Invalid::new("chunk", "every part after the header must be a chunk").into()),
    }
}

impl From<Imported> for pb::ImportSessionResponse {
    fn from(imported: Imported) -> Self {
        let sessions = imported.sessions.iter().map(|shown| match shown {
            Shown::There(session) => pb::Session::from(&**session),
            Shown::Named(id) => pb::Session {
                session_id: id.to_string(),
                ..pb::Session::default()
            },
        });
        Self {
            sessions: sessions.collect(),
            entries_added: imported.added,
            entries_skipped: imported.skipped,
            problems: imported
                .problems
                .into_iter()
                .map(|problem| pb::ImportProblem {
                    line: problem.line,
                    reason: problem.reason,
                })
                .collect(),
        }
    }
}
