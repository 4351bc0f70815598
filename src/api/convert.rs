//! Between wire types and those of the domain: requests are checked on the way in, field by field.
//!
//! What is common to several nouns stands here, the rest in one file a noun. An error names its field as a path from
//! the request's root.

use std::collections::BTreeMap;

use crate::domain::id::Revision;
use crate::domain::limits::SETTING_CHARS_MAX;
use crate::domain::session::{Etag, Setting, workspace};
use crate::domain::title::Title;
use crate::domain::{Invalid, Limits};

pub(super) mod engine;
pub(super) mod entry;
pub(super) mod fork;
pub(super) mod history;
pub(super) mod item;
pub(super) mod mask;
pub(super) mod resume;
pub(super) mod retention;
pub(super) mod search;
pub(super) mod session;
pub(super) mod thread;
pub(super) mod transfer;

/// An id that may be absent. One that is there but empty is no id.
fn optional<T>(
    value: Option<&String>,
    field: &str,
    parse: impl FnOnce(&str, &str) -> Result<T, Invalid>,
) -> Result<Option<T>, Invalid> {
    value.map(|value| parse(value, field)).transpose()
}

/// An id for which absent and empty are the same.
fn if_any<T>(
    value: &str,
    field: &str,
    parse: impl FnOnce(&str, &str) -> Result<T, Invalid>,
) -> Result<Option<T>, Invalid> {
    if value.is_empty() {
        Ok(None)
    } else {
        parse(value, field).map(Some)
    }
}

/// A title of a request; one that is given has something left when it is cleaned.
pub(super) fn title(value: Option<&String>, limits: &Limits) -> Result<Option<Title>, Invalid> {
    value
        .map(|value| Title::parse(value, "title", limits.title_chars_max))
        .transpose()
}

/// The revision a session must have; 0 checks nothing.
pub(super) fn expected(revision: Option<u64>) -> Option<Revision> {
    revision.filter(|revision| *revision > 0).map(Revision)
}

/// The etag a session must have; empty checks nothing.
pub(super) fn etag(etag: Option<String>) -> Option<Etag> {
    etag.filter(|etag| !etag.is_empty()).map(Etag)
}

/// A number that counts from 0.
pub(super) fn count(value: i64, field: &str) -> Result<u64, Invalid> {
    u64::try_from(value).map_err(|_| Invalid::new(field, "must not be negative"))
}

fn labels(
    labels: BTreeMap<String, String>,
    field: &str,
    limits: &Limits,
) -> Result<BTreeMap<String, String>, Invalid> {
    if labels.len() > limits.labels_max {
        return Err(Invalid::limit(field, "labels_max", limits.labels_max as u64));
    }
    for (key, value) in &labels {
        at_most(key, field, "label_key_chars_max", limits.label_key_chars_max)?;
        at_most(
            value,
            field,
            "label_value_chars_max",
            limits.label_value_chars_max,
        )?;
    }
    Ok(labels)
}

/// A large text.
fn text(value: String, field: &str, limits: &Limits) -> Result<String, Invalid> {
    if value.len() > limits.text_bytes_max {
        return Err(Invalid::limit(
            field,
            "text_bytes_max",
            limits.text_bytes_max as u64,
        ));
    }
    Ok(value)
}

fn json(value: String, field: &str, limits: &Limits) -> Result<String, Invalid> {
    crate::body::well_formed(&value, field, limits.text_bytes_max)?;
    Ok(value)
}

/// One of the short texts of a session or thread.
fn short(value: String, field: &str) -> Result<String, Invalid> {
    at_most(&value, field, "setting_chars_max", SETTING_CHARS_MAX)?;
    Ok(value)
}

/// A workspace as it is stored and compared.
fn place(value: &str, field: &str) -> Result<String, Invalid> {
    short(workspace(value), field)
}

/// The short texts that sessions and threads share, `outer` being the field that holds them.
fn setting(setting: Setting, outer: &str) -> Result<Setting, Invalid> {
    let within = |invalid: Invalid| invalid.within(outer);
    let Setting {
        workspace,
        provider,
        endpoint,
        model,
        mode,
        task_type,
    } = setting;
    Ok(Setting {
        workspace: place(&workspace, "workspace").map_err(within)?,
        provider: short(provider, "provider").map_err(within)?,
        endpoint: short(endpoint, "endpoint").map_err(within)?,
        model: short(model, "model").map_err(within)?,
        mode: short(mode, "mode").map_err(within)?,
        task_type: short(task_type, "task_type").map_err(within)?,
    })
}

fn at_most(text: &str, field: &str, limit: &'static str, chars_max: usize) -> Result<(), Invalid> {
    // A character has a byte at least, so most texts need not be counted.
    if text.len() > chars_max && text.chars().count() > chars_max {
        return Err(Invalid::limit(field, limit, chars_max as u64));
    }
    Ok(())
}
