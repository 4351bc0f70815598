//! A configuration read to its end, whatever is wrong with it: for who wants to hear of everything at once.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::{Table, Value};

use super::{Config, Error, FILE_VARIABLE, env};

/// A configuration, and what keeps it from being run.
#[derive(Debug)]
pub struct Examined {
    /// As it says, with the defaults in the place of what cannot be read.
    pub config: Config,
    /// Everything that is wrong with it in itself.
    pub problems: Vec<Error>,
}

impl Config {
    /// Reads the same as [`Config::load`], and goes on behind what is wrong.
    pub fn examine(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        flags: impl FnOnce(&mut Self),
    ) -> Examined {
        let mut problems = Vec::new();
        let mut variables = Vec::new();
        for variable in env {
            match env::variables([variable]) {
                Ok(read) => variables.extend(read),
                Err(error) => problems.push(error),
            }
        }
        let named = variables.iter().find(|(name, _)| name == FILE_VARIABLE);
        let named = named.map(|(_, value)| PathBuf::from(value));
        let file = file.map(Path::to_owned).or(named);
        let mut table = file.map_or_else(Table::new, |path| sound_part(&path, &mut problems));
        for variable in variables {
            problems.extend(env::overlay(&mut table, &[variable]).err());
        }
        // What is left was read key by key.
        let mut config = Self::deserialize(table).unwrap_or_default();
        flags(&mut config);
        problems.extend(config.problems());
        Examined { config, problems }
    }
}

/// The keys of a file that can be read; the others are problems.
fn sound_part(path: &Path, problems: &mut Vec<Error>) -> Table {
    let read = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    });
    let parsed = read.and_then(|text| {
        toml::from_str::<Table>(&text).map_err(|source| Error::File {
            path: path.to_owned(),
            source: Box::new(source),
        })
    });
    match parsed {
        Ok(table) => {
            let mut faults = Vec::new();
            let sound = sound_keys(&mut Vec::new(), table, &mut faults);
            problems.extend(faults.into_iter().map(|(key, rule)| Error::Key {
                path: path.to_owned(),
                key,
                rule,
            }));
            sound
        }
        Err(error) => {
            problems.push(error);
            Table::new()
        }
    }
}

/// The keys below `place` that the configuration takes, each looked at alone; the others with what is wrong with them.
fn sound_keys(place: &mut Vec<String>, table: Table, faults: &mut Vec<(String, String)>) -> Table {
    let mut sound = Table::new();
    for (key, value) in table {
        place.push(key.clone());
        match (accepted(place, &value), value) {
            (Ok(()), value) => drop(sound.insert(key, value)),
            (Err(_), Value::Table(inner)) => match accepted(place, &Value::Table(Table::new())) {
                Ok(()) => drop(sound.insert(key, Value::Table(sound_keys(place, inner, faults)))),
                // There is no such table.
                Err(rule) => faults.push((place.join("."), rule)),
            },
            (Err(rule), Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_))
            | (Err(rule), Value::Datetime(_) | Value::Array(_)) => faults.push((place.join("."), rule)),
        }
        place.pop();
    }
    sound
}

/// Whether a configuration of this one key can be read.
fn accepted(place: &[String], value: &Value) -> Result<(), String> {
    let mut whole = value.clone();
    for key in place.iter().rev() {
        whole = Value::Table(Table::from_iter([(key.clone(), whole)]));
    }
    Config::deserialize(whole)
        .map(drop)
        .map_err(|error| error.message().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examined(text: &str, env: &[(&str, &str)]) -> Examined {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("sessiond.toml");
        std::fs::write(&path, text).expect("written");
        let env = env
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Config::examine(Some(&path), env, |_| ())
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let text = "listn = 1\nlisten = 'nowhere'\n[limits]\nlabel_max = 3\nlabels_max = 0\ntitle_chars_max = 'x'\n\
                    [retention.namespaces.'a b']\nkeep = 1\n[serve]\nworker_threads = 1\n[store]\nreaders = 7";
        let env = [
            ("SESSIOND_LIMITS_TEXT_BYTES_MAX", "many"),
            ("SESSIOND_ENGINES_SEEDS_MAX", "0"),
        ];
        let Examined { config, problems } = examined(text, &env);
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        for part in [
            "listn in",
            "listen in",
            "limits.label_max in",
            "limits.title_chars_max in",
            "retention.namespaces.a b.keep in",
            "serve in",
            "SESSIOND_LIMITS_TEXT_BYTES_MAX",
            "limits.labels_max: is 0",
            "engines.seeds_max: is 0",
            "retention.namespaces: \"a b\"",
        ] {
            assert!(told.iter().any(|told| told.contains(part)), "{part} in {told:#?}");
        }
        assert_eq!(told.len(), 10, "{told:#?}");
        assert_eq!(config.store.readers, 7, "what is right is read");
    }

    #[test]
    fn what_can_be_run_has_no_problems() {
        let Examined { config, problems } = examined(include_str!("../../docs/sessiond.toml"), &[]);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(config, Config::default());
        let none = Config::examine(Some(Path::new("no/such/file")), [], |_| ());
        assert!(
            matches!(none.problems[..], [Error::Unreadable { .. }]),
            "{none:?}"
        );
        let torn = examined("[limits\n", &[]);
        assert!(matches!(torn.problems[..], [Error::File { .. }]), "{torn:?}");
    }
}
