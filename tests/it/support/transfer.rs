//! Transcripts: exported whole, changed line by line, and imported in pieces.

use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream};
use serde_json::Value;
use sessiond::pb::client::import_session_request::Part;
use sessiond::pb::client::{
    ExportFormat, ExportSessionRequest, ImportFormat, ImportHeader, ImportSessionRequest,
    ImportSessionResponse,
};
use tonic::Status;

use super::client::Client;
use super::wait::within;

/// Exports a session.
pub(crate) async fn export_or(
    client: &Client,
    mut request: ExportSessionRequest,
) -> Result<Vec<Bytes>, Status> {
    if request.namespace.is_empty() {
        client.namespace().clone_into(&mut request.namespace);
    }
    let answers = client.sessions().export_session(request).await?.into_inner();
    let chunks = answers.map_ok(|answer| Bytes::from(answer.chunk));
    within("an export ends", chunks.try_collect()).await
}

/// A session as text in this format.
pub(crate) async fn exported(client: &Client, id: &str, format: ExportFormat, redact: bool) -> String {
    let request = ExportSessionRequest {
        session_id: id.into(),
        format: format.into(),
        redact,
        ..Default::default()
    };
    let chunks = export_or(client, request).await.unwrap();
    String::from_utf8(chunks.concat()).unwrap()
}

/// A session in the service's own format.
pub(crate) async fn jsonl(client: &Client, id: &str) -> String {
    exported(client, id, ExportFormat::Jsonl, false).await
}

/// A header for the service's own format.
pub(crate) fn header() -> ImportHeader {
    ImportHeader {
        format: ImportFormat::Jsonl.into(),
        ..Default::default()
    }
}

/// The parts of an import: header, then `text` in pieces of `size` bytes.
pub(crate) fn parts(
    client: &Client,
    header: ImportHeader,
    text: &[u8],
    size: usize,
    request_id: &str,
) -> Vec<ImportSessionRequest> {
    let first = ImportSessionRequest {
        namespace: client.namespace().into(),
        part: Some(Part::Header(header)),
        request_id: request_id.into(),
    };
    let pieces = text.chunks(size).map(|piece| ImportSessionRequest {
        part: Some(Part::Chunk(piece.to_vec())),
        ..Default::default()
    });
    [first].into_iter().chain(pieces).collect()
}

/// Sends the parts of an import.
pub(crate) async fn import_parts(
    client: &Client,
    parts: Vec<ImportSessionRequest>,
) -> Result<ImportSessionResponse, Status> {
    let answer = client.sessions().import_session(stream::iter(parts)).await?;
    Ok(answer.into_inner())
}

/// Imports a text where that may be refused.
pub(crate) async fn import_or(
    client: &Client,
    header: ImportHeader,
    text: &str,
) -> Result<ImportSessionResponse, Status> {
    import_parts(client, parts(client, header, text.as_bytes(), 1 << 20, "")).await
}

/// Imports a text in the service's own format.
pub(crate) async fn imported(client: &Client, text: &str) -> ImportSessionResponse {
    import_or(client, header(), text).await.unwrap()
}

/// The ids of the sessions that an import names, what it added and what was there.
pub(crate) fn sum(answer: &ImportSessionResponse) -> (Vec<String>, u64, u64) {
    let ids = answer.sessions.iter().map(|session| session.session_id.clone());
    (ids.collect(), answer.entries_added, answer.entries_skipped)
}

/// The lines that an import left out, as `3: why`.
pub(crate) fn problems(answer: &ImportSessionResponse) -> Vec<String> {
    let problems = answer.problems.iter();
    problems
        .map(|problem| format!("{}: {}", problem.line, problem.reason))
        .collect()
}

/// A text with its header changed.
pub(crate) fn with_facts(text: &str, change: impl FnOnce(&mut Value)) -> String {
    let (first, rest) = text.split_once('\n').unwrap();
    let mut head: Value = serde_json::from_str(first).unwrap();
    change(&mut head["session"]);
    format!("{head}\n{rest}")
}

/// A text of these lines of another, counted from 0.
pub(crate) fn lines(text: &str, numbers: impl IntoIterator<Item = usize>) -> String {
    let all: Vec<&str> = text.lines().collect();
    numbers.into_iter().map(|at| format!("{}\n", all[at])).collect()
}
