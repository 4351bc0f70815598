//! What may be opened, and what is refused untouched.

use super::{InSchema, told};
use crate::store::Store as _;
use crate::store::postgres::{Migrate, OpenError, Options, Postgres, Schema};

#[tokio::test]
async fn a_database_gets_its_tables_once() {
    let schema = InSchema::new().await;
    let refused = Options {
        migrate: Migrate::No,
        ..Options::default()
    };
    let error = Postgres::open(&schema.url(), &refused)
        .await
        .expect_err("no tables");
    assert!(
        matches!(error, OpenError::OlderSchema { found: 0, .. }),
        "{error}"
    );
    let present = |schema: Schema| (schema.present, schema.is_current());
    let checked = Postgres::migrate(&schema.url(), Migrate::No)
        .await
        .expect("looked at");
    assert_eq!(present(checked), (0, false));
    // Replicas that start together take each step once.
    let url = schema.url();
    let all = [(); 4].map(|()| Postgres::migrate(&url, Migrate::Yes));
    for migrated in futures_util::future::join_all(all).await {
        migrated.expect("migrated");
    }
    let steps = told(&format!("SELECT count(*) FROM {}.schema_steps", schema.0)).await;
    assert_eq!((steps, true), present_of(&schema).await);
    let store = Postgres::open(&schema.url(), &refused)
        .await
        .expect("it has its tables");
    store.close().await;
}

async fn present_of(schema: &InSchema) -> (i64, bool) {
    let found = Postgres::migrate(&schema.url(), Migrate::No)
        .await
        .expect("looked at");
    (found.present, found.is_current())
}

#[tokio::test]
async fn a_newer_schema_is_served_if_it_says_so_and_else_refused() {
    let schema = InSchema::new().await;
    Postgres::migrate(&schema.url(), Migrate::Yes)
        .await
        .expect("migrated");
    let step = |number, oldest| {
        let values = format!("({number}, 'from the future', {oldest})");
        format!(
            "INSERT INTO {}.schema_steps (step, name, oldest) VALUES {values}",
            schema.0
        )
    };
    told(&step(100, 1)).await;
    let store = Postgres::open(&schema.url(), &Options::default()).await;
    store.expect("an additive step is no trouble").close().await;
    told(&step(101, 101)).await;
    let error = Postgres::open(&schema.url(), &Options::default())
        .await
        .expect_err("newer");
    assert!(
        matches!(error, OpenError::NewerSchema { found: 101, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn tables_of_somebody_else_are_left_alone() {
    let schema = InSchema::new().await;
    told(&format!("CREATE TABLE {}.sessions (id integer)", schema.0)).await;
    let error = Postgres::open(&schema.url(), &Options::default())
        .await
        .expect_err("foreign");
    assert!(matches!(error, OpenError::Foreign), "{error}");
}
