//! GetSessionTree: ancestors, the session, and what is below it.

use crate::support::build::{assistant, user};
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{
    DeleteSessionRequest, ForkSessionRequest, GetSessionTreeRequest, Session, SessionNode, SessionState,
};
use crate::support::{Client, Code, pb, refused, shared};

fn asking(id: &str) -> GetSessionTreeRequest {
    GetSessionTreeRequest {
        session_id: id.into(),
        ..Default::default()
    }
}

impl Client {
    async fn fork_as(&self, source: &str, id: &str) {
        let request = ForkSessionRequest {
            session_id: source.into(),
            point: Some(Point::UserMessageIndex(1)),
            new_session_id: Some(id.into()),
            ..Default::default()
        };
        self.fork_session(request).await.unwrap();
        let said = [user("again"), assistant("so")];
        self.append(id, crate::support::build::entries(said)).await;
    }

    /// Every node of a tree, `page_size` a page.
    async fn tree(&self, id: &str, page_size: i32) -> Vec<SessionNode> {
        let mut request = GetSessionTreeRequest {
            page_size,
            ..asking(id)
        };
        let mut nodes = Vec::new();
        loop {
            let page = self.get_session_tree(request.clone()).await.unwrap();
            assert!(page.nodes.len() <= usize::try_from(page_size).unwrap());
            nodes.extend(page.nodes);
            if page.next_page_token.is_empty() {
                return nodes;
            }
            request.page_token = page.next_page_token;
        }
    }
}

fn ids(nodes: &[SessionNode]) -> Vec<&str> {
    nodes.iter().map(|node| node.session_id.as_str()).collect()
}

/// `s`, its forks `a` and `b`, `aa` of `a`, `aaa` of `aa`; and a part `p` of `s`, with a part `pp`.
async fn planted() -> Client {
    let client = shared().await;
    let facts = |id: &str, parent: &str| Session {
        session_id: id.into(),
        parent_session_id: parent.into(),
        ..Default::default()
    };
    client.create(facts("s", "")).await;
    let said = [user("first"), assistant("one"), user("second")];
    client.append("s", crate::support::build::entries(said)).await;
    for (source, id) in [("s", "b"), ("s", "a"), ("a", "aa"), ("aa", "aaa")] {
        client.fork_as(source, id).await;
    }
    client.create(facts("p", "s")).await;
    client.create(facts("pp", "p")).await;
    client
}

#[tokio::test]
async fn below_a_root_depth_first_by_id() {
    let client = planted().await;
    for page_size in [1, 2, 3, 500] {
        let nodes = client.tree("s", page_size).await;
        assert_eq!(
            ids(&nodes),
            ["s", "a", "aa", "aaa", "b", "p", "pp"],
            "{page_size} a page"
        );
    }
    let nodes = client.tree("s", 50).await;
    let a = client.session("a").await;
    let expected = SessionNode {
        session_id: "a".into(),
        parent_session_id: String::new(),
        title: a.title,
        message_count: a.message_count,
        origin: a.origin,
        state: SessionState::Active.into(),
    };
    assert_eq!(nodes[1], expected);
    assert_eq!(nodes[6].parent_session_id, "p");
}

#[tokio::test]
async fn above_a_leaf_from_the_root_on() {
    let client = planted().await;
    for page_size in [1, 2, 50] {
        let nodes = client.tree("aa", page_size).await;
        assert_eq!(ids(&nodes), ["s", "a", "aa", "aaa"], "{page_size} a page");
    }
    assert_eq!(ids(&client.tree("pp", 50).await), ["s", "p", "pp"]);
}

#[tokio::test]
async fn a_purged_ancestor_stays_as_an_id() {
    let client = planted().await;
    client.delete("b").await;
    let purge = DeleteSessionRequest {
        session_id: "aa".into(),
        force: true,
        ..Default::default()
    };
    client.delete_session(purge).await.unwrap();
    let nodes = client.tree("aaa", 50).await;
    assert_eq!(
        ids(&nodes),
        ["s", "aa", "aaa"],
        "above it the root alone is known"
    );
    assert_eq!(nodes[1].state(), SessionState::Deleted);
    assert_eq!((&*nodes[1].title, nodes[1].message_count), ("", 0));
    let nodes = client.tree("s", 50).await;
    assert_eq!(ids(&nodes), ["s", "a", "b", "p", "pp"]);
    assert_eq!(nodes[2].state(), SessionState::Deleted);
    refused(
        client.get_session_tree(asking("aa")).await,
        Code::NotFound,
        "SESSION_NOT_FOUND",
    );
}

/// A session may be made again under the name of one that it comes from.
#[tokio::test]
async fn a_circle_ends() {
    let client = planted().await;
    let purge = DeleteSessionRequest {
        session_id: "s".into(),
        force: true,
        ..Default::default()
    };
    client.delete_session(purge).await.unwrap();
    client.fork_as("aa", "s").await;
    for page_size in [1, 50] {
        for asked in ["s", "a", "aa"] {
            let nodes = client.tree(asked, page_size).await;
            let mut known = ids(&nodes);
            known.sort_unstable();
            known.dedup();
            assert_eq!(
                known.len(),
                nodes.len(),
                "{asked}, {page_size} a page: {:?}",
                ids(&nodes)
            );
            assert!(known.contains(&asked));
        }
    }
}

#[tokio::test]
async fn a_page_that_cannot_begin_is_refused() {
    let client = planted().await;
    let request = pb::GetSessionTreeRequest {
        page_size: 3,
        ..asking("s")
    };
    let page = client.get_session_tree(request.clone()).await.unwrap();
    assert_eq!(ids(&page.nodes), ["s", "a", "aa"]);
    let purge = DeleteSessionRequest {
        session_id: "aa".into(),
        force: true,
        ..Default::default()
    };
    client.delete_session(purge).await.unwrap();
    let next = GetSessionTreeRequest {
        page_token: page.next_page_token,
        ..request
    };
    let answer = client.get_session_tree(next.clone()).await;
    refused(answer, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    let other = GetSessionTreeRequest {
        session_id: "a".into(),
        ..next
    };
    refused(
        client.get_session_tree(other).await,
        Code::InvalidArgument,
        "PAGE_TOKEN_INVALID",
    );
}

#[tokio::test]
async fn a_wide_tree_is_whole() {
    let client = shared().await;
    let id = client
        .holding([user("first"), assistant("one"), user("second")])
        .await;
    let mut expected = vec![id.clone()];
    for at in 0..60 {
        let fork = format!("fork-{at:03}");
        client.fork_as(&id, &fork).await;
        expected.push(fork);
    }
    assert_eq!(ids(&client.tree(&id, 7).await), expected);
}
