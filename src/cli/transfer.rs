//! `export` and `import`: sessions as files.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;

use clap::{Args, ValueEnum};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::error::Error;
use super::json;
use super::pick::{self, Pick, Scope};
use super::remote::Remote;
use super::show::count;
use super::term::{Screen, clean, line};
use crate::client::request_id;
use crate::pb::client as pb;
use crate::pb::client::import_session_request::Part;
use crate::shutdown::{Request, Requests};

/// Bytes of a piece that is sent.
const PIECE_BYTES: usize = 1 << 20;

/// Write a session as a file.
///
/// `jsonl` loses nothing and can be imported again; `md` is for reading.
#[derive(Args, Debug)]
pub(crate) struct Export {
    #[command(flatten)]
    remote: Remote,
    /// The session: its id, the beginning of it, or -1 for the newest.
    #[arg(value_name = "ID", allow_negative_numbers = true)]
    session: Pick,
    /// Form of the file; without it the one that the ending of FILE says, else md.
    #[arg(long, short, value_enum)]
    format: Option<Format>,
    /// Mask keys, tokens and passwords.
    #[arg(long)]
    redact: bool,
    /// A past revision to write instead of the present one.
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// Write to this file instead of standard output; it is there when it is whole, and yours alone if it is new.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Read sessions from a file that `export --format jsonl` wrote.
///
/// Sent again it adds only what is new. Lines that were left out are named on standard error; then the exit code is 1.
#[derive(Args, Debug)]
pub(crate) struct Import {
    #[command(flatten)]
    remote: Remote,
    /// The file; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Id of the session to import to; without it the file's own.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Workspace of the session; without it the file's own.
    #[arg(long, short, value_name = "PATH")]
    workspace: Option<String>,
    /// What the file is known as, so that it is found again; without it the id of its session.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Markdown, for reading.
    Md,
    /// One JSON object a line, without loss.
    Jsonl,
}

impl Format {
    /// What the ending of a file's name says.
    fn of(file: &Path) -> Option<Self> {
        let ending = file.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "md" | "markdown" => Some(Self::Md),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            _ => None,
        }
    }
}

impl From<Format> for pb::ExportFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Md => Self::Markdown,
            Format::Jsonl => Self::Jsonl,
        }
    }
}

impl Export {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let session = pick::session(&client, &self.session, Scope::All).await?;
        let named = self.output.as_deref().and_then(Format::of);
        let format = self.format.or(named).unwrap_or(Format::Md);
        let request = pb::ExportSessionRequest {
            namespace: client.namespace(),
            session_id: session.session_id,
            format: pb::ExportFormat::from(format).into(),
            redact: self.redact,
            revision: self.revision,
        };
        let pieces = client.sessions().export_session(request).await?.into_inner();
        // Before the file is there: a signal must not leave it behind.
        let mut requests = match &self.output {
            Some(_) => Some(Requests::listen()?),
            None => None,
        };
        let out = Out::open(self.output.as_deref(), screen)?;
        tokio::select! {
            written = written(pieces, out) => written,
            request = stopped(&mut requests) => Err(Error::Stopped(request)),
        }
    }
}

async fn written(
    mut pieces: tonic::Streaming<pb::ExportSessionResponse>,
    mut out: Out<'_>,
) -> Result<(), Error> {
    while let Some(piece) = pieces.message().await? {
        out.write(&piece.chunk)?;
    }
    out.finish()
}

/// The next request to stop, if they are listened to.
async fn stopped(requests: &mut Option<Requests>) -> Request {
    match requests {
        Some(requests) => requests.next().await,
        None => std::future::pending().await,
    }
}

/// Where an export goes.
enum Out<'a> {
    /// A pipe, or a file that the shell has opened.
    Plain(&'a mut Screen),
    /// A person's eyes: nothing may steer the terminal. What is held back is the start of a character.
    Seen(&'a mut Screen, Vec<u8>),
    /// A file that gets its name when it is whole.
    Named(Draft),
    /// Something that is no file, and stands already.
    Open(File, PathBuf),
}

impl<'a> Out<'a> {
    fn open(path: Option<&Path>, screen: &'a mut Screen) -> Result<Self, Error> {
        let Some(path) = path else {
            let seen = screen.look.width.is_some();
            return Ok(if seen {
                Self::Seen(screen, Vec::new())
            } else {
                Self::Plain(screen)
            });
        };
        let special = fs::metadata(path).is_ok_and(|known| !known.is_file());
        if special {
            let file = File::options().write(true).open(path);
            return Ok(Self::Open(
                file.map_err(|error| unwritable(path, &error))?,
                path.into(),
            ));
        }
        Draft::create(path).map(Self::Named)
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        match self {
            Self::Plain(screen) => Ok(screen.write_all(piece)?),
            Self::Seen(screen, rest) => {
                rest.extend_from_slice(piece);
                let whole = match std::str::from_utf8(rest) {
                    Ok(text) => text.len(),
                    Err(error) => error.valid_up_to(),
                };
                let text: Vec<u8> = rest.drain(..whole).collect();
                Ok(screen.write_all(clean(&String::from_utf8_lossy(&text)).as_bytes())?)
            }
            Self::Named(draft) => draft.write(piece),
            Self::Open(file, path) => file.write_all(piece).map_err(|error| unwritable(path, &error)),
        }
    }

    fn finish(self) -> Result<(), Error> {
        match self {
            Self::Plain(_) | Self::Seen(..) | Self::Open(..) => Ok(()),
            Self::Named(draft) => draft.finish(),
        }
    }
}

/// Who may read and write a file that an export makes: a transcript is nobody else's business.
const MODE: u32 = 0o600;

/// A file under another name beside its own until it is whole; gone if it never is. It is its maker's alone, but that the
/// file whose place it takes may have been others' too.
struct Draft {
    file: File,
    mode: u32,
    draft: PathBuf,
    path: PathBuf,
}

impl Draft {
    fn create(path: &Path) -> Result<Self, Error> {
        // A link stays one: what it leads to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let draft = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&draft);
        let file = file.map_err(|error| unwritable(&path, &error))?;
        let before = fs::metadata(&path).map(|before| before.permissions().mode());
        Ok(Self {
            file,
            mode: before.map_or(MODE, |mode| mode & 0o777),
            draft,
            path,
        })
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(piece)
            .map_err(|error| unwritable(&self.path, &error))
    }

    fn finish(self) -> Result<(), Error> {
        let mode = fs::Permissions::from_mode(self.mode);
        // Only what is on the disk may take the place of what was.
        let done = self
            .file
            .set_permissions(mode)
            .and_then(|()| self.file.sync_all());
        let done = done.and_then(|()| fs::rename(&self.draft, &self.path));
        done.map_err(|error| unwritable(&self.path, &error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once it has its name there is none of this name.
        let _ = fs::remove_file(&self.draft);
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::Input(format!("cannot write {}: {error}", path.display()))
}

impl Import {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let input: Pin<Box<dyn AsyncRead + Send>> = if self.file == Path::new("-") {
            Box::pin(tokio::io::stdin())
        } else {
            let file = tokio::fs::File::open(&self.file).await;
            Box::pin(file.map_err(|error| Error::unreadable(&self.file, &error))?)
        };
        let client = self.remote.connect().await?;
        let header = pb::ImportHeader {
            format: pb::ImportFormat::Jsonl.into(),
            session_id: self.id,
            workspace: self.workspace,
            source: self.source,
        };
        let first = pb::ImportSessionRequest {
            namespace: client.namespace(),
            part: Some(Part::Header(header)),
            request_id: request_id(),
        };
        let (parts, taken) = mpsc::channel(2);
        let (failed, failure) = oneshot::channel();
        let feeding = tokio::spawn(feed(first, input, parts, failed));
        let mut sessions = client.sessions();
        let answer = tokio::select! {
            answer = sessions.import_session(ReceiverStream::new(taken)) => answer?.into_inner(),
            // Half a file must not be taken for all of it: the call is given up.
            Ok(error) = failure => return Err(Error::unreadable(&self.file, &error)),
        };
        feeding.abort();
        if self.remote.json {
            json::print(screen, &json::value(&answer)?)?;
        } else {
            told(screen, &answer)?;
        }
        if answer.problems.is_empty() {
            return Ok(());
        }
        screen.flush()?;
        for problem in &answer.problems {
            let _ = writeln!(
                std::io::stderr(),
                "line {}: {}",
                problem.line,
                line(&problem.reason)
            );
        }
        let lines = count(answer.problems.len() as u64, "line");
        Err(Error::Input(format!("not all of it was taken: {lines} above")))
    }
}

/// Sends a file piece by piece. One that cannot be read to its end never ends here.
async fn feed(
    first: pb::ImportSessionRequest,
    mut input: Pin<Box<dyn AsyncRead + Send>>,
    parts: mpsc::Sender<pb::ImportSessionRequest>,
    failed: oneshot::Sender<std::io::Error>,
) {
    let mut part = first;
    loop {
        if parts.send(part).await.is_err() {
            return;
        }
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let read = (&mut input)
            .take(PIECE_BYTES as u64)
            .read_to_end(&mut piece)
            .await;
        if let Err(error) = read {
            let _ = failed.send(error);
            return std::future::pending().await;
        }
        if piece.is_empty() {
            return;
        }
        part = pb::ImportSessionRequest {
            part: Some(Part::Chunk(piece)),
            ..Default::default()
        };
    }
}

fn told(screen: &mut Screen, answer: &pb::ImportSessionResponse) -> Result<(), Error> {
    let look = screen.look;
    for session in &answer.sessions {
        writeln!(screen, "{}", look.bold(&session.session_id))?;
        // Of very many sessions the last are told by their ids alone.
        if session.revision == 0 {
            continue;
        }
        let facts = format!(
            "{} · {}",
            line(&session.title),
            count(session.message_count, "message")
        );
        writeln!(screen, "{}", look.dim(&facts))?;
    }
    let sum = format!(
        "entries: {} added, {} were there",
        answer.entries_added, answer.entries_skipped
    );
    Ok(writeln!(screen, "{}", look.dim(&sum))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_the_format() {
        for (file, format) in [
            ("a.md", Some(Format::Md)),
            ("a.b.JSONL", Some(Format::Jsonl)),
            ("a.txt", None),
            ("jsonl", None),
        ] {
            assert_eq!(Format::of(Path::new(file)), format, "{file}");
        }
    }

    #[test]
    fn a_file_is_there_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.md");
        fs::write(&path, "before").unwrap();
        let mut draft = Draft::create(&path).unwrap();
        draft.write(b"half").unwrap();
        drop(draft);
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        let mut draft = Draft::create(&path).unwrap();
        draft.write(b"whole").unwrap();
        draft.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_as_private_as_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.md");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let export = || Draft::create(&path).unwrap().finish().unwrap();
        export();
        assert_eq!(mode(), 0o600);
        for known in [0o644, 0o640, 0o400, 0o600] {
            fs::set_permissions(&path, fs::Permissions::from_mode(known)).unwrap();
            export();
            assert_eq!(mode(), known);
        }
    }
}
