//! The database of `--store`: whether it answers, can be served as it is, and has room for this replica beside others.

use super::{Findings, with_causes};
use crate::config::Config;
use crate::store::postgres::{Look, Options, Schema, Url};

const KEY: &str = "store.url";

/// Connections of a replica beside those that write and those that read: for leases, to listen, for the search index.
const CONNECTIONS_BESIDE: u64 = 3;

/// Replicas that every database should have room for.
const REPLICAS_MIN: u64 = 3;

/// Looks at the database; the look, if it has sessions that a policy could take.
pub(super) async fn look(url: &Url, config: &Config, found: &mut Findings) -> Option<Look> {
    let look = match Look::at(url).await {
        Ok(look) => look,
        Err(error) => {
            found.error(KEY, format!("{url}: {}", with_causes(&error)));
            return None;
        }
    };
    schema(url, look.schema(), config, found);
    if let Err(error) = server(url, &look, config, found).await {
        found.error(KEY, format!("{url}: {}", with_causes(&error)));
        return None;
    }
    look.schema().is_current().then_some(look)
}

fn schema(url: &Url, schema: Schema, config: &Config, found: &mut Findings) {
    let Schema { present, known } = schema;
    if schema.is_current() {
        return;
    }
    if !config.store.migrate {
        let text =
            format!("{url} has schema version {present}, this program needs {known}: run `sessiond migrate`");
        found.error(KEY, text);
    } else if present > 0 {
        let text = format!("{url} is of an older release: the start changes its tables");
        found.warning(KEY, text);
    }
}

async fn server(
    url: &Url,
    look: &Look,
    config: &Config,
    found: &mut Findings,
) -> Result<(), crate::store::Error> {
    let server = look.server().await?;
    if !server.is_durable {
        let text =
            format!("{url}: fsync or full_page_writes is off: a crash of its machine loses what was stored");
        found.warning(KEY, text);
    }
    let Options { lanes, readers, .. } = Options::from(config);
    let own = (lanes + readers) as u64 + CONNECTIONS_BESIDE;
    let room = server.connections_max / own;
    let others = look.replicas().await?;
    let name = config.cluster.name.as_deref();
    let others = others.iter().filter(|other| Some(other.as_str()) != name).count() as u64;
    let text = format!(
        "a replica has up to {own} connections (store.lanes, store.readers and {CONNECTIONS_BESIDE}), and the database \
         lets this user have {}",
        server.connections_max
    );
    if room == 0 {
        found.error("store.lanes", text);
    } else if room < REPLICAS_MIN.max(others + 1) {
        let text = format!("{text}: enough for {room} replicas; {others} others have a lease");
        found.warning("store.lanes", text);
    }
    Ok(())
}
