//! Where a search looks: at the newest messages one after another; then, if few have its words, at those, else further
//! on.
//!
//! How many messages have a word the planner knows little of, and what it guesses decides between reading all of a
//! namespace and sorting what most of it has. So it is not asked: `OFFSET 0` keeps each statement to its index. Whatever has
//! the words is of the namespace: its name is one of them.

use tokio_postgres::Row;

use super::terms;
use crate::domain::search::Query;
use crate::store::postgres::columns::Columns;
use crate::store::postgres::conn::Conn;
use crate::store::postgres::fault::Fault;
use crate::store::postgres::walk::Value;

/// How much is looked at.
#[derive(Clone, Copy, Debug)]
pub(in crate::store::postgres) struct Sizes {
    /// Messages that are looked at one after another at first: what many have is soon found there.
    pub(in crate::store::postgres) first: usize,
    /// The same further on, a stretch.
    pub(in crate::store::postgres) further: usize,
    /// So many stretches further on are looked at for a page, which then ends short.
    pub(in crate::store::postgres) stretches: usize,
    /// Messages that are looked up by their words and sorted, if no more have them.
    pub(in crate::store::postgres) named: usize,
}

/// What a page looks at.
pub(super) const PAGE: Sizes = Sizes {
    first: 1_000,
    further: 10_000,
    stretches: 20,
    named: 50_000,
};

/// A search while it goes on.
pub(in crate::store::postgres) struct Finding<'a> {
    conn: &'a Conn,
    query: &'a Query,
    expression: &'a str,
    sizes: Sizes,
    /// What is found lies behind this place.
    oldest: i64,
    /// And before this one: whatever comes later was looked at.
    newest: i64,
    way: Way,
    stretches: usize,
}

/// How the next messages are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A stretch begins.
    Begins,
    /// One after another, as far as this place; `None`: to the end.
    Walks(Option<i64>),
    /// By their words.
    Named,
    /// There are no more.
    Over,
    /// Enough were looked at.
    Enough,
}

impl<'a> Finding<'a> {
    /// Between two places.
    pub(in crate::store::postgres) fn new(
        conn: &'a Conn,
        (query, expression): (&'a Query, &'a str),
        (oldest, newest): (i64, i64),
        sizes: Sizes,
    ) -> Self {
        Self {
            conn,
            query,
            expression,
            sizes,
            oldest,
            newest,
            way: Way::Begins,
            stretches: 0,
        }
    }

    /// Where a further search goes on, if this one has looked at enough.
    pub(in crate::store::postgres) fn rest(&self) -> Option<i64> {
        (self.way == Way::Enough).then_some(self.newest)
    }

    /// The next messages that have the words, the newest first; none, if there are no more or enough were looked at.
    pub(in crate::store::postgres) async fn next(&mut self, rows_max: usize) -> Result<Vec<Row>, Fault> {
        loop {
            match self.way {
                Way::Begins => self.way = Way::Walks(self.stretch().await?),
                Way::Walks(end) => {
                    let rows = self.walked(end, rows_max).await?;
                    if rows.len() < rows_max {
                        self.newest = end.unwrap_or(self.newest);
                        self.way = self.after(end).await?;
                    } else {
                        self.pass(&rows);
                    }
                    if !rows.is_empty() {
                        return Ok(rows);
                    }
                }
                Way::Named => {
                    let rows = self.named(rows_max).await?;
                    if rows.len() < rows_max {
                        self.way = Way::Over;
                    }
                    self.pass(&rows);
                    return Ok(rows);
                }
                Way::Over | Way::Enough => return Ok(Vec::new()),
            }
        }
    }

    /// What comes after a stretch with this end.
    async fn after(&mut self, end: Option<i64>) -> Result<Way, Fault> {
        self.stretches += 1;
        if end.is_none() {
            return Ok(Way::Over);
        }
        if self.stretches == 1 && self.are_few().await? {
            return Ok(Way::Named);
        }
        Ok(if self.stretches > self.sizes.stretches {
            Way::Enough
        } else {
            Way::Begins
        })
    }

    fn pass(&mut self, rows: &[Row]) {
        let last = rows.last().and_then(|row| Columns(row).integer(0).ok());
        self.newest = last.unwrap_or(self.newest);
    }

    /// The last place of the next stretch; `None`: fewer are left.
    async fn stretch(&self) -> Result<Option<i64>, Fault> {
        let rows = match self.stretches {
            0 => self.sizes.first,
            _ => self.sizes.further,
        };
        let sql = format!(
            "SELECT place FROM search_messages WHERE namespace = $1 AND place > $2 AND place < $3 \
             ORDER BY place DESC OFFSET {rows} - 1 LIMIT 1"
        );
        let rows = self.rows(&sql, self.between(self.oldest)).await?;
        Ok(rows.first().and_then(|row| Columns(row).integer(0).ok()))
    }

    /// Those of a stretch that have the words.
    async fn walked(&self, end: Option<i64>, rows_max: usize) -> Result<Vec<Row>, Fault> {
        let sql = format!(
            "SELECT {} FROM (SELECT * FROM search_messages WHERE namespace = $1 AND place > $2 AND place < $3 \
                ORDER BY place DESC OFFSET 0) AS walked WHERE terms @@ $4::text::tsquery \
             ORDER BY place DESC LIMIT {rows_max}",
            self.columns()
        );
        let oldest = end.map_or(self.oldest, |end| end.saturating_sub(1));
        self.rows(&sql, self.worded(oldest)).await
    }

    /// Those that have the words.
    async fn named(&self, rows_max: usize) -> Result<Vec<Row>, Fault> {
        let sql = format!(
            "SELECT {} FROM (SELECT * FROM search_messages WHERE terms @@ $4::text::tsquery OFFSET 0) AS named \
             WHERE namespace = $1 AND place > $2 AND place < $3 ORDER BY place DESC LIMIT {rows_max}",
            self.columns()
        );
        self.rows(&sql, self.worded(self.oldest)).await
    }

    /// Whether so few have the words that they may be sorted.
    async fn are_few(&self) -> Result<bool, Fault> {
        let sql = format!(
            "WITH named AS MATERIALIZED (SELECT 1 FROM search_messages WHERE terms @@ $1::text::tsquery) \
             SELECT count(*) <= {max} FROM (SELECT 1 FROM named LIMIT {max} + 1) AS counted",
            max = self.sizes.named
        );
        let rows = self
            .rows(&sql, vec![Value::Text(self.expression.to_owned())])
            .await?;
        Ok(rows
            .first()
            .is_some_and(|row| Columns(row).flag(0).unwrap_or_default()))
    }

    /// The words are needed where their order counts.
    fn columns(&self) -> &'static str {
        if terms::has_phrases(self.query) {
            "place, log, seq, time, words"
        } else {
            "place, log, seq, time, NULL::text"
        }
    }

    fn between(&self, oldest: i64) -> Vec<Value> {
        vec![
            Value::Text(self.query.namespace.to_string()),
            Value::Number(oldest),
            Value::Number(self.newest),
        ]
    }

    fn worded(&self, oldest: i64) -> Vec<Value> {
        let mut values = self.between(oldest);
        values.push(Value::Text(self.expression.to_owned()));
        values
    }

    async fn rows(&self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, Fault> {
        let values: Vec<_> = values.iter().map(Value::typed).collect();
        self.conn.rows_of("searching", sql, &values).await
    }
}
