//! Everything a reader can see of a store, to be compared: before and after, here and there.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::query::{ChangedItems, End, Items, Order, Range, Resumes, Sessions, Threads};
use crate::domain::session::State;
use crate::domain::{
    Engine, Entry, Item, Namespace, PastHead, Receipt, Replica, RequestId, Resume, Seq, Session, SessionId,
    Thread, Time, Tip, Turn, TurnId,
};
use crate::store::{Chore, Store};

use super::desk::ALL;

/// What is read of a namespace. Turns and receipts are not listed anywhere: those named are read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Picture {
    pub(crate) sessions: Vec<(Arc<Session>, Vec<Entry>)>,
    pub(crate) threads: Vec<(Arc<Thread>, Vec<Item>, Vec<Turn>)>,
    pub(crate) receipts: Vec<(RequestId, Option<Receipt>)>,
    pub(crate) engines: Vec<Arc<Engine>>,
    pub(crate) attached: Vec<Arc<Engine>>,
    /// Those whose names begin with the namespace's.
    pub(crate) replicas: Vec<Arc<Replica>>,
    pub(crate) resumes: Vec<Arc<Resume>>,
    pub(crate) past_heads: Vec<Arc<PastHead>>,
    pub(crate) children: Vec<Vec<(SessionId, bool)>>,
    pub(crate) changed: Vec<(Vec<Item>, Vec<Turn>)>,
}

/// A question for every session there is, in an order.
pub(crate) fn everything(ns: &Namespace, order: Order) -> Sessions {
    Sessions {
        namespace: ns.clone(),
        states: vec![State::Active, State::Archived, State::Deleted],
        workspace: None,
        labels: BTreeMap::new(),
        title_contains: None,
        id_prefix: None,
        starred: None,
        has_user_interaction: None,
        origin: None,
        parent: None,
        updated_after: None,
        updated_before: None,
        order,
    }
}

/// A question for every thread there is.
pub(crate) fn every_thread(ns: &Namespace) -> Threads {
    Threads {
        namespace: ns.clone(),
        states: Vec::new(),
        session: None,
        engine: None,
    }
}

impl Picture {
    pub(crate) async fn of(
        store: &dyn Store,
        ns: &Namespace,
        turns: &[TurnId],
        requests: &[RequestId],
    ) -> Self {
        let mut picture = Self::default();
        let query = everything(ns, Order::default());
        let page = store.sessions(&query, None, ALL).await.expect("a list");
        assert_eq!(page.next, None, "nothing is left out");
        for session in page.rows {
            let entries = entries_to(store, &session.tip).await;
            assert_eq!(
                entries.len() as u64,
                session.tip.tally.entries,
                "{} is whole",
                session.id
            );
            picture.sessions.push((session, entries));
        }
        let page = store.threads(&every_thread(ns), None, ALL).await.expect("a list");
        for thread in page.rows {
            let query = Items {
                turn: None,
                after: Seq::ZERO,
            };
            let items = store.items(thread.journal, &query, ALL).await.expect("items");
            let turns = store.turns(thread.journal, turns).await.expect("turns");
            let half = thread.change / 2;
            let query = ChangedItems {
                change: half,
                after: Seq(thread.items / 2),
                to: thread.change.saturating_sub(1),
            };
            let changed = store.changed_items(thread.journal, &query, ALL).await;
            let changed_turns = store.changed_turns(thread.journal, half, ALL.rows).await;
            picture
                .changed
                .push((changed.expect("items"), changed_turns.expect("turns")));
            picture.threads.push((thread, items, turns));
        }
        for id in requests {
            let receipt = store.receipt(ns, id).await.expect("a receipt");
            picture.receipts.push((id.clone(), receipt));
        }
        picture.add_engines(store, ns).await;
        picture
    }
}

impl Picture {
    async fn add_engines(&mut self, store: &dyn Store, ns: &Namespace) {
        let engines = store.engines(None, ALL.rows).await.expect("engines");
        let own = engines.into_iter().filter(|engine| engine.namespace == *ns);
        self.engines = own.collect();
        self.attached = store.attached(ns, None, ALL.rows).await.expect("engines");
        let members = store.members(Time(0)).await.expect("replicas").replicas;
        let own = members
            .into_iter()
            .filter(|replica| replica.id.as_str().starts_with(ns.as_str()));
        self.replicas = own.collect();
        let query = Resumes {
            namespace: Some(ns.clone()),
            states: Vec::new(),
            session: None,
            thread: None,
            engine: None,
        };
        self.resumes = store.resumes(&query, None, ALL).await.expect("resumes").rows;
        for (session, _) in &self.sessions {
            let heads = store.past_heads(ns, &session.id, None, ALL.rows).await;
            let heads = heads.expect("past heads");
            for head in &heads {
                let found = store.past_head(ns, &session.id, head.revision).await;
                assert_eq!(found.expect("a past head").as_ref(), Some(head));
                assert_eq!(
                    entries_to(store, &head.tip).await.len() as u64,
                    head.tip.seq().0,
                    "it is whole"
                );
            }
            self.past_heads.extend(heads);
            let children = store.children(ns, &session.id, None, ALL.rows).await;
            let children = children.expect("children").into_iter();
            let children = children.map(|child| (child.id.clone(), child.has_children));
            self.children.push(children.collect());
        }
    }
}

async fn entries_to(store: &dyn Store, tip: &Tip) -> Vec<Entry> {
    let range = Range {
        after: Seq::ZERO,
        to: tip.seq(),
        from: End::Oldest,
    };
    store.entries(&tip.log, range, ALL).await.expect("entries")
}

/// The chores as of `now`, in an order of their own.
pub(crate) async fn chores(store: &dyn Store, now: Time) -> Vec<Chore> {
    let mut chores = store.chores(now, ALL.rows).await.expect("chores");
    chores.sort_by_key(|chore| format!("{chore:?}"));
    chores
}
