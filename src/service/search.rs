//! Finding messages by their words.
//!
//! The store finds candidates, newest first, and who shows them; here their texts are opened, compared and cut. An
//! order by relevance compares the newest matches, a bounded number of them, and lists those alone.

use std::cmp::Reverse;

use crate::body;
use crate::domain::limits::{RANKED_ROWS_MAX, SEARCH_BYTES_MAX};
use crate::domain::query::{Bound, Page};
use crate::domain::search::{self, Found, Place, Reach, Within};
use crate::domain::session::State;
use crate::domain::words::{self, Snippet};
use crate::domain::{EntryId, Kind, Namespace, Refusal, Role, SessionId, Time};
use crate::formats::redact;
use crate::store;

use super::{Error, Service};

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Messages with these words.
    pub words: words::Query,
    /// In this session; `None`: in any.
    pub session: Option<SessionId>,
    /// In sessions of this workspace.
    pub workspace: Option<String>,
    /// Of any of these roles; empty means any.
    pub roles: Vec<Role>,
    /// Said after this time.
    pub after: Option<Time>,
    /// Said before this time.
    pub before: Option<Time>,
    /// In this order.
    pub order: Order,
    /// What snippets and titles show.
    pub secrets: Secrets,
}

/// The order of hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    Newest,
    /// The best first, among the newest.
    Relevance,
}

/// What becomes of secrets in what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// They are shown.
    Shown,
    /// They are masked.
    Masked,
}

/// The hit that a page ended at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// In the order of time.
    Newest(Place),
    /// In the order of relevance.
    Relevance {
        /// The newest message that was compared: later ones must not push others over the page's end.
        newest: Place,
        /// How well the last one fits.
        score: u64,
        /// Where it stands.
        place: Place,
    },
}

/// A message that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The session that shows it.
    pub session: SessionId,
    /// The title of that session.
    pub title: String,
    /// The message.
    pub message: EntryId,
    /// Its index in the visible list; `None` for a system message.
    pub index: Option<u64>,
    /// Who said it.
    pub role: Role,
    /// What surrounds the match.
    pub snippet: Snippet,
    /// When it was said.
    pub time: Time,
}

/// A page of hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hits {
    /// In order.
    pub page: Page<Hit, Key>,
    /// The index holds every write up to this time.
    pub indexed_through: Time,
}

impl Service {
    /// A page of what is found after `after`.
    pub async fn search(
        &self,
        ns: &Namespace,
        search: Search,
        after: Option<Key>,
        rows: usize,
    ) -> Result<Hits, Error> {
        let now = self.clock.now();
        let Some(session) = self.searched(ns, &search).await? else {
            let page = Page {
                rows: Vec::new(),
                next: None,
            };
            return Ok(Hits {
                page,
                indexed_through: now,
            });
        };
        let (from, rows_max) = match after {
            None if search.order == Order::Newest => (None, rows),
            None => (None, RANKED_ROWS_MAX),
            Some(Key::Newest(place)) => (Some(place), rows),
            Some(Key::Relevance { newest, .. }) => (Some(Place(newest.0.saturating_add(1))), RANKED_ROWS_MAX),
        };
        let query = search::Query {
            namespace: ns.clone(),
            words: search.words.clone(),
            session,
            workspace: search.workspace.clone(),
            roles: search.roles.clone(),
            after: search.after,
            before: search.before,
        };
        let bound = Bound {
            rows: rows_max,
            bytes: SEARCH_BYTES_MAX,
        };
        let place = self.live.searches.acquire().await;
        let found = match search.order {
            Order::Newest => self.store.search(&query, from, bound).await?,
            Order::Relevance => self.candidates(&query, from, bound).await?,
        };
        let indexed_through = match found.reach {
            Reach::All => now,
            Reach::Until(time) => time.clamp(Time(0), now),
        };
        let page = tokio::task::spawn_blocking(move || match search.order {
            Order::Newest => newest(&search, found.page),
            Order::Relevance => best(&search, found.page.rows, after, rows),
        });
        let page = page
            .await
            .map_err(|error| store::Error::unavailable("reading what was found", error))?;
        drop(place);
        Ok(Hits {
            page,
            indexed_through,
        })
    }

    /// The newest matches, as many as are compared; a page that filters made short is gone on from.
    async fn candidates(
        &self,
        query: &search::Query,
        mut from: Option<Place>,
        bound: Bound,
    ) -> Result<Found, Error> {
        let (mut hits, mut bytes) = (Vec::new(), 0_usize);
        loop {
            let left = Bound {
                rows: bound.rows.saturating_sub(hits.len()),
                bytes: bound.bytes.saturating_sub(bytes),
            };
            let Found { page, reach } = self.store.search(query, from, left).await?;
            bytes += page.rows.iter().map(|hit| hit.entry.body.len()).sum::<usize>();
            hits.extend(page.rows);
            from = page.next;
            if from.is_none() || hits.len() >= bound.rows || bytes >= bound.bytes {
                let page = Page {
                    rows: hits,
                    next: from,
                };
                return Ok(Found { page, reach });
            }
        }
    }

    /// The session that is searched, `Some(None)` if it is any; `None`: nothing can be found.
    async fn searched(&self, ns: &Namespace, search: &Search) -> Result<Option<Option<Within>>, Error> {
        let Some(id) = &search.session else {
            return Ok(Some(None));
        };
        let session = self.store.session(ns, id).await?;
        let session = session.ok_or_else(|| Refusal::no_session(id))?;
        let workspace = search.workspace.as_ref();
        let admitted = session.profile.state != State::Deleted
            && workspace.is_none_or(|workspace| *workspace == session.profile.setting.workspace);
        Ok(admitted.then(|| {
            Some(Within {
                id: session.id.clone(),
                title: session.profile.title.clone(),
                tip: session.tip.clone(),
            })
        }))
    }
}

fn newest(search: &Search, page: Page<search::Hit, Place>) -> Page<Hit, Key> {
    Page {
        rows: page
            .rows
            .into_iter()
            .filter_map(|hit| shown(search, hit))
            .collect(),
        next: page.next.map(Key::Newest),
    }
}

/// The best of these candidates after `after`.
fn best(search: &Search, candidates: Vec<search::Hit>, after: Option<Key>, rows: usize) -> Page<Hit, Key> {
    let first = candidates.first().map(|hit| hit.place);
    let scored = candidates.into_iter().filter_map(|hit| {
        let text = text(&hit)?;
        Some((search.words.matches(&text).score(), hit))
    });
    let mut scored: Vec<(u64, search::Hit)> = scored.collect();
    if let Some(Key::Relevance { score, place, .. }) = after {
        scored.retain(|(of_hit, hit)| (*of_hit, hit.place) < (score, place));
    }
    scored.sort_by_key(|(score, hit)| Reverse((*score, hit.place)));
    let newest = match after {
        Some(Key::Relevance { newest, .. }) => Some(newest),
        Some(Key::Newest(_)) | None => first,
    };
    let last = scored.get(rows.saturating_sub(1)).filter(|_| scored.len() > rows);
    let next = last.zip(newest).map(|((score, hit), newest)| Key::Relevance {
        newest,
        score: *score,
        place: hit.place,
    });
    scored.truncate(rows);
    Page {
        rows: scored
            .into_iter()
            .filter_map(|(_, hit)| shown(search, hit))
            .collect(),
        next,
    }
}

/// What of a message is searched. One that cannot be read would not be in the index; if it is, it is left out.
fn text(hit: &search::Hit) -> Option<String> {
    match body::searchable(&hit.entry.body) {
        Ok(searchable) => Some(searchable.text),
        Err(_) => {
            let meta = &hit.entry.meta;
            tracing::error!(log = %meta.log, seq = %meta.seq, "a message that was found cannot be read");
            None
        }
    }
}

fn shown(search: &Search, mut hit: search::Hit) -> Option<Hit> {
    if search.secrets == Secrets::Masked {
        // Before anything is read or cut: half of a secret is not known for one, nor one whose quotes are gone.
        hit.entry.body = redact::body(Kind::Message, &hit.entry.body).ok()?;
    }
    let text = text(&hit)?;
    let search::Hit {
        session,
        mut title,
        entry,
        time,
        place: _,
    } = hit;
    if search.secrets == Secrets::Masked {
        title = redact::masked(&title).into_owned();
    }
    let mark = &entry.meta.mark;
    Some(Hit {
        session,
        title,
        message: entry.meta.id.clone(),
        index: mark
            .is_visible()
            .then(|| entry.meta.tally.visible.saturating_sub(1)),
        role: mark.role?,
        snippet: search.words.matches(&text).snippet(&text),
        time,
    })
}
