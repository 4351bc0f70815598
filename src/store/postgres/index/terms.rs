//! The terms that the index has beside words, and a query as the index is asked it.
//!
//! Words hold letters, digits and marks alone; a term of a scope begins with a colon, so that no word is one. Every term
//! of a query stands between quotes: whatever somebody looks for, the expression has the form that it is given here.

use std::collections::BTreeSet;

use crate::domain::limits::SEARCH_LOGS_MAX;
use crate::domain::search::Query;
use crate::domain::{LogId, Namespace, Role, Seq};
use crate::store::record::Code;

/// Bytes of the terms of one message: the database takes a little more.
const TERMS_BYTES_MAX: usize = 1_000_000;

/// The terms of a row, each once, parted by single blanks.
pub(in crate::store::postgres) fn of_row(ns: &Namespace, log: LogId, role: Role, words: &str) -> String {
    let mut terms = format!("{} {} {}", of_namespace(ns), of_log(log), of_role(role));
    let once: BTreeSet<&str> = words.split(' ').filter(|word| !word.is_empty()).collect();
    for word in once {
        if terms.len() + word.len() >= TERMS_BYTES_MAX {
            tracing::warn!(%log, "a message has more words than an index takes");
            break;
        }
        terms.push(' ');
        terms.push_str(word);
    }
    terms
}

/// A query; `None`: nothing can be found. What it cannot say (times, workspace, the order of words, how far a path
/// reaches into a log) is looked at row by row.
pub(in crate::store::postgres) fn expression(query: &Query) -> Option<String> {
    let mut all = vec![quoted(&of_namespace(&query.namespace))];
    if let Some(session) = &query.session {
        let spans = session.tip.log.spans(Seq::ZERO, session.tip.seq());
        if spans.is_empty() {
            return None;
        }
        if spans.len() <= SEARCH_LOGS_MAX {
            all.push(any(spans.iter().map(|span| of_log(span.log))));
        }
    }
    if !query.roles.is_empty() {
        all.push(any(query.roles.iter().map(|role| of_role(*role))));
    }
    for phrase in query.words.phrases() {
        let last = phrase.terms.len().saturating_sub(1);
        let terms = phrase.terms.iter().enumerate().map(|(at, term)| {
            let is_prefix = phrase.is_prefix && at == last;
            quoted(term) + if is_prefix { ":*" } else { "" }
        });
        all.extend(terms);
    }
    Some(all.join(" & "))
}

/// Whether a row that has all terms may still not have what is looked for.
pub(super) fn has_phrases(query: &Query) -> bool {
    let mut phrases = query.words.phrases().iter();
    phrases.any(|phrase| phrase.terms.len() > 1)
}

fn any(terms: impl Iterator<Item = String>) -> String {
    let terms: Vec<String> = terms.map(|term| quoted(&term)).collect();
    format!("({})", terms.join(" | "))
}

fn quoted(term: &str) -> String {
    format!("'{}'", term.replace('\'', "''").replace('\\', "\\\\"))
}

fn of_log(log: LogId) -> String {
    format!(":l{}", log.0.simple())
}

fn of_role(role: Role) -> String {
    format!(":r{}", role.code())
}

fn of_namespace(ns: &Namespace) -> String {
    format!(":n{ns}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::words;

    #[test]
    fn nothing_that_is_typed_is_an_operator() {
        let asked = |text: &str| {
            let query = Query {
                namespace: Namespace::parse("a.b-c_d").expect("valid"),
                words: words::Query::parse(text).expect("valid"),
                session: None,
                workspace: None,
                roles: vec![Role::User, Role::Tool],
                after: None,
                before: None,
            };
            expression(&query).expect("something can be found")
        };
        for (text, words) in [
            ("cat", "'cat'"),
            ("cat | dog*", "'cat' & 'dog':*"),
            ("\"a b\" !c 'd':* :r1", "'a' & 'b' & 'c' & 'd' & 'r1'"),
        ] {
            assert_eq!(
                asked(text),
                format!("':na.b-c_d' & (':r1' | ':r4') & {words}"),
                "{text}"
            );
        }
    }
}
