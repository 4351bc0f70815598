//! The terms that the index has beside words, and a query as the index is asked it.
//!
//! Every term is made of letters and digits, so that none can be taken for an operator: whatever somebody looks for,
//! the expression has the form that it is given here.

use std::fmt::Write as _;

use crate::domain::limits::SEARCH_LOGS_MAX;
use crate::domain::search::Query;
use crate::domain::{LogId, Namespace, Role, Seq};
use crate::store::record::Code;

/// The terms of a row.
pub(super) fn scope(ns: &Namespace, log: LogId, role: Role) -> String {
    format!("{} {} {}", of_namespace(ns), of_log(log), of_role(role))
}

/// Rows of one log.
pub(super) fn rows_of(log: LogId) -> String {
    format!("scope : \"{}\"", of_log(log))
}

/// A query; `None`: nothing can be found. What it cannot say (times, workspace, how far a path reaches into a log) is
/// looked at row by row.
pub(super) fn expression(query: &Query) -> Option<String> {
    let mut scope = vec![quoted(&of_namespace(&query.namespace))];
    if let Some(session) = &query.session {
        let spans = session.tip.log.spans(Seq::ZERO, session.tip.seq());
        if spans.is_empty() {
            return None;
        }
        if spans.len() <= SEARCH_LOGS_MAX {
            scope.push(any(spans.iter().map(|span| of_log(span.log))));
        }
    }
    if !query.roles.is_empty() {
        scope.push(any(query.roles.iter().map(|role| of_role(*role))));
    }
    let words = query.words.phrases().iter().map(|phrase| {
        let terms = quoted(&phrase.terms.join(" "));
        if phrase.is_prefix { terms + " *" } else { terms }
    });
    let words: Vec<String> = words.collect();
    let (scope, words) = (scope.join(" AND "), words.join(" AND "));
    Some(format!("scope : ({scope}) AND words : ({words})"))
}

fn any(terms: impl Iterator<Item = String>) -> String {
    let terms: Vec<String> = terms.map(|term| quoted(&term)).collect();
    format!("({})", terms.join(" OR "))
}

fn quoted(terms: &str) -> String {
    format!("\"{terms}\"")
}

fn of_log(log: LogId) -> String {
    format!("l{}", log.0.simple())
}

fn of_role(role: Role) -> String {
    format!("r{}", role.code())
}

/// Signs of a namespace are written as characters that are no signs to the index.
fn of_namespace(ns: &Namespace) -> String {
    let mut term = String::from("n");
    for char in ns.as_str().chars() {
        if char.is_ascii_alphanumeric() {
            term.push(char);
        } else {
            // The fullwidth form, which is not ASCII.
            let _ = write!(
                term,
                "{}",
                char::from_u32(u32::from(char) + 0xfee0).unwrap_or(char)
            );
        }
    }
    term
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::words;

    fn asked(text: &str) -> String {
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
    }

    #[test]
    fn nothing_that_is_typed_is_an_operator() {
        let scope = "scope : (\"na．b－c＿d\" AND (\"r1\" OR \"r4\")) AND words : ";
        for (text, words) in [
            ("cat", "(\"cat\")"),
            ("cat OR dog*", "(\"cat\" AND \"or\" AND \"dog\" *)"),
            (
                "\"a b\" -c words:x ^d",
                "(\"a b\" AND \"c\" AND \"words x\" AND \"d\")",
            ),
            ("NEAR(a b, 3) \"", "(\"near a\" AND \"b\" AND \"3\")"),
        ] {
            assert_eq!(asked(text), format!("{scope}{words}"), "{text}");
        }
    }
}
