//! Which session or thread is meant: its id, a prefix that no other has, or `-1` for the newest.

use std::str::FromStr;

use super::error::Error;
use super::sessions;
use crate::client::{Client, Failure};
use crate::pb::client::{self as pb, SessionState};

/// How far back `-N` reaches.
const NEWEST_MAX: usize = 1_000;
/// How many candidates are looked at when a prefix fits more than one.
const CANDIDATES: usize = 8;
/// How many threads are looked at for a prefix: the service does not filter by it.
const THREADS_MAX: usize = 5_000;
/// How many resumes are looked at for a prefix, likewise.
const RESUMES_MAX: usize = 5_000;

/// A session or a thread as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// The newest one, counted from 1.
    Newest(usize),
    /// The one with this id, or the only one whose id begins with it.
    Named(String),
}

/// Which sessions are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those that are not deleted.
    Living,
    /// Those that are deleted.
    Deleted,
    /// All of them.
    All,
}

impl FromStr for Pick {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let Some(number) = text.strip_prefix('-') else {
            return match text {
                "" => Err("an id is not empty".into()),
                id => Ok(Self::Named(id.to_owned())),
            };
        };
        match number.parse() {
            Ok(back @ 1..=NEWEST_MAX) => Ok(Self::Newest(back)),
            Ok(_) | Err(_) => Err(format!("`-1` is the newest, `-{NEWEST_MAX}` as far as it goes")),
        }
    }
}

impl Scope {
    pub(crate) fn states(self) -> Vec<i32> {
        match self {
            Self::Living => vec![SessionState::Active.into(), SessionState::Archived.into()],
            Self::Deleted => vec![SessionState::Deleted.into()],
            Self::All => {
                vec![
                    SessionState::Active.into(),
                    SessionState::Archived.into(),
                    SessionState::Deleted.into(),
                ]
            }
        }
    }
}

/// Finds the session that is meant.
pub(crate) async fn session(client: &Client, pick: &Pick, scope: Scope) -> Result<pb::Session, Error> {
    let wanted = pb::ListSessionsRequest {
        states: scope.states(),
        ..Default::default()
    };
    match pick {
        Pick::Newest(back) => {
            let (mut found, _) = sessions::list(client, wanted, *back).await?;
            match found.len() {
                count if count == *back => Ok(found.swap_remove(back - 1)),
                count => Err(too_far("session", *back, count)),
            }
        }
        Pick::Named(text) => {
            // An id may be the beginning of others, so that it is asked for as a whole first.
            let request = pb::GetSessionRequest {
                namespace: client.namespace(),
                session_id: text.clone(),
                revision: None,
            };
            match client
                .sessions()
                .get_session(request)
                .await
                .map_err(Failure::from)
            {
                Ok(answer) => return Ok(answer.into_inner().session.unwrap_or_default()),
                Err(failure) if failure.is("SESSION_NOT_FOUND") => {}
                Err(failure) => return Err(failure.into()),
            }
            let wanted = pb::ListSessionsRequest {
                session_id_prefix: Some(text.clone()),
                ..wanted
            };
            let (found, _) = sessions::list(client, wanted, CANDIDATES).await?;
            only(found, "session", text, |session| {
                (session.session_id.clone(), session.title.clone())
            })
        }
    }
}

/// Finds the thread that is meant.
pub(crate) async fn thread(client: &Client, pick: &Pick) -> Result<pb::Thread, Error> {
    match pick {
        Pick::Newest(back) => {
            let (mut found, _) = sessions::list_threads(client, Default::default(), *back).await?;
            match found.len() {
                count if count == *back => Ok(found.swap_remove(back - 1)),
                count => Err(too_far("thread", *back, count)),
            }
        }
        Pick::Named(text) => {
            let request = pb::GetThreadRequest {
                namespace: client.namespace(),
                thread_id: text.clone(),
            };
            match client.threads().get_thread(request).await.map_err(Failure::from) {
                Ok(answer) => return Ok(answer.into_inner().thread.unwrap_or_default()),
                Err(failure) if failure.is("THREAD_NOT_FOUND") => {}
                Err(failure) => return Err(failure.into()),
            }
            let (mut found, _) = sessions::list_threads(client, Default::default(), THREADS_MAX).await?;
            found.retain(|thread| thread.thread_id.starts_with(text));
            found.truncate(CANDIDATES);
            only(found, "thread", text, |thread| {
                (thread.thread_id.clone(), thread.title.clone())
            })
        }
    }
}

/// Finds the resume that is meant.
pub(crate) async fn resume(client: &Client, pick: &Pick) -> Result<pb::ResumeProgress, Error> {
    match pick {
        Pick::Newest(back) => {
            let mut found = resumes(client, Default::default(), *back).await?;
            match found.len() {
                count if count == *back => Ok(found.swap_remove(back - 1)),
                count => Err(too_far("resume", *back, count)),
            }
        }
        Pick::Named(text) => {
            let request = pb::GetResumeRequest {
                namespace: client.namespace(),
                resume_id: text.clone(),
            };
            match client.sessions().get_resume(request).await.map_err(Failure::from) {
                Ok(answer) => return Ok(answer.into_inner().progress.unwrap_or_default()),
                Err(failure) if failure.is("RESUME_NOT_FOUND") => {}
                Err(failure) => return Err(failure.into()),
            }
            let mut found = resumes(client, Default::default(), RESUMES_MAX).await?;
            found.retain(|resume| resume.resume_id.starts_with(text));
            found.truncate(CANDIDATES);
            only(found, "resume", text, |resume| {
                (resume.resume_id.clone(), resume.session_id.clone())
            })
        }
    }
}

/// The newest resumes, `limit` at most.
pub(crate) async fn resumes(
    client: &Client,
    request: pb::ListResumesRequest,
    limit: usize,
) -> Result<Vec<pb::ResumeProgress>, Error> {
    let (mut found, mut token) = (Vec::new(), String::new());
    while found.len() < limit {
        let request = pb::ListResumesRequest {
            namespace: client.namespace(),
            page_size: i32::try_from(limit - found.len()).unwrap_or(i32::MAX),
            page_token: token,
            ..request.clone()
        };
        let page = client.sessions().list_resumes(request).await?.into_inner();
        found.extend(page.resumes);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

fn too_far(noun: &'static str, back: usize, count: usize) -> Error {
    Error::TooFarBack { noun, back, count }
}

fn only<T>(
    mut found: Vec<T>,
    noun: &'static str,
    text: &str,
    candidate: impl Fn(&T) -> (String, String),
) -> Result<T, Error> {
    match (found.pop(), found.as_slice()) {
        (None, _) => Err(Error::Unmatched {
            noun,
            text: text.to_owned(),
        }),
        (Some(only), []) => Ok(only),
        (Some(last), _) => {
            found.push(last);
            let candidates = found.iter().map(candidate).collect();
            Err(Error::Ambiguous {
                noun,
                text: text.to_owned(),
                candidates,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_back_and_anything_else_is_a_name() {
        assert_eq!("-1".parse(), Ok(Pick::Newest(1)));
        assert_eq!("-20".parse(), Ok(Pick::Newest(20)));
        assert_eq!("1".parse(), Ok(Pick::Named("1".into())));
        assert_eq!(" 0197c2 ".parse(), Ok(Pick::Named("0197c2".into())));
        for text in ["", " ", "-0", "-1001", "-x", "-", "--1"] {
            assert!(text.parse::<Pick>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_candidate_is_taken_and_several_are_listed() {
        let found = |ids: &[&str]| {
            let ids: Vec<String> = ids.iter().map(|id| id.to_string()).collect();
            only(ids, "session", "a", |id| (id.clone(), String::new()))
        };
        assert_eq!(found(&["ab"]).unwrap(), "ab");
        assert!(matches!(found(&[]), Err(Error::Unmatched { .. })));
        let Err(Error::Ambiguous { candidates, .. }) = found(&["ab", "ac"]) else {
            panic!("two are not one");
        };
        assert_eq!(candidates.len(), 2);
    }
}
