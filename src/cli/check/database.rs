//! The database of `--store`: whether it answers, and whether it can be served as it is.

use super::{Findings, with_causes};
use crate::config::Config;
use crate::store::postgres::{Archive, Migrate, Options, Postgres};

const KEY: &str = "store.url";

/// Looks at the database that is configured; whether there is one.
pub(super) async fn look(config: &Config, found: &mut Findings) -> bool {
    let Some(url) = &config.store.url else {
        return false;
    };
    // What is no URL was told of already.
    let Ok(url) = url.parsed() else { return true };
    let schema = match Postgres::migrate(&url, Migrate::No).await {
        Ok(schema) => schema,
        Err(error) => {
            found.error(KEY, format!("{url}: {}", with_causes(&error)));
            return true;
        }
    };
    if schema.is_current() {
        if let Err(error) = Archive::open(&url, &Options::from(&config.store)).await {
            found.error(KEY, format!("{url}: {}", with_causes(&error)));
        }
    } else if !config.store.migrate {
        let (present, known) = (schema.present, schema.known);
        let text =
            format!("{url} has schema version {present}, this program needs {known}: run `sessiond migrate`");
        found.error(KEY, text);
    } else if schema.present > 0 {
        found.warning(
            KEY,
            format!("{url} is of an older release: the start changes its tables"),
        );
    }
    true
}
