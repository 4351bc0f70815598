//! ListSessions and GetSession among few and many sessions.

use anyhow::{Result, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sessiond::pb::client as pb;

use crate::Plan;
use crate::child::Child;
use crate::client::{self, Sessions};
use crate::fork::thousands;
use crate::load::{Lane, Latencies, one_by_one};
use crate::report::{Table, ms};

const COUNTS: [usize; 2] = [1_000, 100_000];

/// Workspaces that the sessions are spread over.
const WORKSPACES: usize = 10;

/// Calls in flight while sessions are made.
const IN_FLIGHT: usize = 256;

/// Asks for the same page again and again.
pub(crate) struct Lister {
    pub(crate) client: Sessions,
    pub(crate) request: pb::ListSessionsRequest,
}

impl Lane for Lister {
    async fn call(&mut self) -> Result<()> {
        let page = self
            .client
            .list_sessions(self.request.clone())
            .await?
            .into_inner();
        ensure!(page.sessions.len() == 50, "a page of {}", page.sessions.len());
        Ok(())
    }
}

/// Asks for sessions in turn.
pub(crate) struct Getter {
    pub(crate) client: Sessions,
    pub(crate) namespace: String,
    pub(crate) session_ids: Vec<String>,
    pub(crate) next: usize,
}

impl Lane for Getter {
    async fn call(&mut self) -> Result<()> {
        // A step that meets all of them in no order of theirs.
        self.next = (self.next + 7_919) % self.session_ids.len();
        let request = pb::GetSessionRequest {
            namespace: self.namespace.clone(),
            session_id: self.session_ids[self.next].clone(),
            ..Default::default()
        };
        self.client.get_session(request).await?;
        Ok(())
    }
}

/// Sessions without entries, over the workspaces in turn.
async fn create(client: &Sessions, namespace: &str, count: usize) -> Result<Vec<String>> {
    let made = stream::iter(0..count).map(|number| {
        let mut client = client.clone();
        let workspace = format!("/projects/{}", number % WORKSPACES);
        async move { client::create_session(&mut client, namespace, &workspace).await }
    });
    made.buffered(IN_FLIGHT).try_collect().await
}

/// The request of the page in the middle of those that `first` begins.
pub(crate) async fn middle(
    client: &mut Sessions,
    first: &pb::ListSessionsRequest,
    rows: usize,
) -> Result<pb::ListSessionsRequest> {
    let mut request = first.clone();
    let mut passed = 0;
    while passed < rows / 2 {
        request.page_size = i32::try_from((rows / 2 - passed).min(500))?;
        let page = client.list_sessions(request.clone()).await?.into_inner();
        passed += page.sessions.len();
        ensure!(!page.next_page_token.is_empty(), "the pages ended early");
        request.page_token = page.next_page_token;
    }
    request.page_size = first.page_size;
    Ok(request)
}

/// The calls that are compared, for one number of sessions.
async fn calls(client: &mut Sessions, namespace: &str, count: usize) -> Result<Vec<(&'static str, Lister)>> {
    let plain = pb::ListSessionsRequest {
        namespace: namespace.to_owned(),
        page_size: 50,
        ..Default::default()
    };
    let filtered = pb::ListSessionsRequest {
        workspace: Some("/projects/7".to_owned()),
        ..plain.clone()
    };
    let requests = [
        ("ListSessions, first page", plain.clone()),
        ("ListSessions, middle page", middle(client, &plain, count).await?),
        ("... of a workspace, first page", filtered.clone()),
        (
            "... of a workspace, middle page",
            middle(client, &filtered, count / WORKSPACES).await?,
        ),
    ];
    let lister = |(name, request)| {
        let client = client.clone();
        (name, Lister { client, request })
    };
    Ok(requests.into_iter().map(lister).collect())
}

pub(crate) async fn measure(plan: Plan) -> Result<Vec<Table>> {
    let server = Child::sessiond(plan.workers)?;
    let mut client = client::sessions(server.address()).await?;
    let mut names = Vec::new();
    let mut measured = Vec::new();
    for count in COUNTS {
        eprintln!("list: making {count} sessions");
        let namespace = format!("of-{count}");
        let session_ids = create(&client, &namespace, count).await?;
        let mut listers = calls(&mut client, &namespace, count).await?;
        let mut getter = Getter {
            client: client.clone(),
            namespace,
            session_ids,
            next: 0,
        };
        let mut taken: Vec<Vec<Latencies>> = (0..=listers.len()).map(|_| Vec::new()).collect();
        for _ in 0..plan.repetitions() {
            taken[0].push(Latencies::new(one_by_one(&mut getter, plan.calls()).await?)?);
            for (index, (_, lister)) in listers.iter_mut().enumerate() {
                taken[index + 1].push(Latencies::new(one_by_one(lister, plan.calls()).await?)?);
            }
        }
        names = listers.iter().map(|(name, _)| *name).collect();
        measured.push(taken);
    }
    let mut heads = vec!["call".to_owned()];
    for count in COUNTS {
        heads.push(format!("{} sessions, median", thousands(count)));
        heads.push("p99".to_owned());
    }
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let mut table = Table::new("Pages of 50 and single sessions, one call after another", &heads);
    for (index, name) in ["GetSession"].into_iter().chain(names).enumerate() {
        let mut row = vec![name.to_owned()];
        for taken in &measured {
            row.push(ms(Latencies::median_of(&taken[index], 0.5)));
            row.push(ms(Latencies::median_of(&taken[index], 0.99)));
        }
        table.row(row);
    }
    Ok(vec![table])
}
