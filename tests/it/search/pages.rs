//! Pages of hits: whole, in order, and good for the search that gave them.

use super::*;

#[tokio::test]
async fn pages_hold_everything_once_and_in_order() {
    let client = shared().await;
    for number in 0..3 {
        let said = (0..20).map(|second| {
            // Times that the sessions have in common, and some that are the same.
            let create_time = Some(at(1_000 + (second * 7 + number) % 15));
            Message {
                create_time,
                ..named(&format!("m{number}-{second}"), user(&format!("word {second}")))
            }
        });
        client.holding(said).await;
    }
    let whole = client.found(words("word")).await;
    assert_eq!(whole.len(), 60);
    let times: Vec<i64> = whole.iter().map(|hit| hit.create_time.unwrap().seconds).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    for page_size in [1, 7, 59, 60, 500] {
        for order in [SearchOrder::Newest, SearchOrder::Relevance] {
            let request = pb::SearchMessagesRequest {
                page_size,
                order: order.into(),
                ..words("word")
            };
            let mut hits = client.found_now(request).await;
            assert_eq!(hits.len(), 60, "by {page_size}");
            if order == SearchOrder::Newest {
                assert_eq!(hits, whole, "by {page_size}");
            }
            hits.sort_by(|a, b| a.message_id.cmp(&b.message_id));
            hits.dedup_by(|a, b| a.message_id == b.message_id);
            assert_eq!(hits.len(), 60, "by {page_size}");
        }
    }
}

#[tokio::test]
async fn what_comes_meanwhile_moves_no_page() {
    let client = shared().await;
    let id = client.blank().await;
    client
        .say(&id, (0..10).map(|at| named(&format!("old{at}"), user("word"))))
        .await;
    client.indexed().await;
    for order in [SearchOrder::Newest, SearchOrder::Relevance] {
        let mut request = pb::SearchMessagesRequest {
            page_size: 4,
            order: order.into(),
            ..words("word")
        };
        let first = client.search_messages(request.clone()).await.unwrap();
        client.say(&id, [user("word"), user("word word word")]).await;
        client.indexed().await;
        request.page_token = first.next_page_token;
        let mut seen: Vec<String> = first.hits.into_iter().map(|hit| hit.message_id).collect();
        let rest = client.found_now(request).await;
        seen.extend(rest.into_iter().map(|hit| hit.message_id));
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), seen.len(), "{order:?}: nothing twice");
        let old = (0..10).all(|at| seen.contains(&format!("old{at}")));
        assert!(old, "{order:?}: {seen:?}");
    }
}

#[tokio::test]
async fn a_token_is_good_for_its_search() {
    let client = shared().await;
    client.holding((0..5).map(|_| user("word and more"))).await;
    client.indexed().await;
    let first = pb::SearchMessagesRequest {
        page_size: 2,
        ..words("word")
    };
    let token = client
        .search_messages(first.clone())
        .await
        .unwrap()
        .next_page_token;
    let with = |request: pb::SearchMessagesRequest| pb::SearchMessagesRequest {
        page_token: token.clone(),
        ..request
    };
    let next = client
        .search_messages(with(pb::SearchMessagesRequest {
            page_size: 1,
            ..first.clone()
        }))
        .await;
    assert_eq!(next.unwrap().hits.len(), 1, "the size may change");
    for changed in [
        words("more"),
        pb::SearchMessagesRequest {
            redact: true,
            ..first.clone()
        },
        pb::SearchMessagesRequest {
            roles: vec![Role::User.into()],
            ..first.clone()
        },
        pb::SearchMessagesRequest {
            order: SearchOrder::Relevance.into(),
            ..first.clone()
        },
        pb::SearchMessagesRequest {
            page_token: "garbage".into(),
            ..first
        },
    ] {
        let request = if changed.page_token.is_empty() {
            with(changed)
        } else {
            changed
        };
        let refused = client.search_messages(request).await.unwrap_err();
        let failure = Failure::of(&refused);
        assert_eq!(
            (failure.code, failure.reason.as_str()),
            (Code::InvalidArgument, "PAGE_TOKEN_INVALID")
        );
    }
}

#[tokio::test]
async fn the_best_of_a_workspace_are_found_behind_many_of_others() {
    let client = shared().await;
    let of = |workspace: &str| Session {
        session_id: workspace.into(),
        workspace: workspace.into(),
        ..Default::default()
    };
    client.create(of("wanted")).await;
    client.say("wanted", [named("m", user("word"))]).await;
    client.create(of("crowd")).await;
    // More than one look of a search turns away.
    for _ in 0..11 {
        client.say("crowd", (0..1_000).map(|_| user("word"))).await;
    }
    let request = pb::SearchMessagesRequest {
        order: SearchOrder::Relevance.into(),
        workspace: Some("wanted".into()),
        ..words("word")
    };
    client.indexed().await;
    let page = client.search_messages(request).await.unwrap();
    let ids: Vec<&str> = page.hits.iter().map(|hit| hit.message_id.as_str()).collect();
    assert_eq!(ids, ["m"]);
}

#[tokio::test]
async fn secrets_in_json_are_masked_whole() {
    let client = shared().await;
    let input = r#"{"cmd":"login","password":"ab\"cd1234","secret":"l1\nl2l2l2l2"}"#;
    client
        .holding([message(Role::Assistant, vec![call("c", input)])])
        .await;
    let request = pb::SearchMessagesRequest {
        redact: true,
        ..words("login")
    };
    let hit = client.found(request).await.remove(0);
    for part in ["cd1234", "l2l2"] {
        assert!(!hit.snippet.contains(part), "{}", hit.snippet);
    }
}
