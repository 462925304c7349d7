//! From command line and files to settings.
//!
//! Invariant: what is nearer to the admin wins: `--domain` and `--data`, then `--set`, then the file, then the machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{config::Config, wire::jid};

/// Name of the file with settings in the data directory.
const FILE: &str = "lampone.toml";
/// The same for the whole machine.
const MACHINE_FILE: &str = "/etc/lampone.toml";
/// Bytes of a file with settings; a large one has some kilobytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--domain`.
    pub domain: Option<String>,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--set key=value`, in order.
    pub sets: Vec<String>,
}

impl Sources {
    /// The file that holds settings, if there is one.
    pub fn file(&self) -> Option<PathBuf> {
        let usual = || {
            let data = self.data.clone().unwrap_or_else(data_folder);
            [data.join(FILE), MACHINE_FILE.into()].into_iter().find(|file| file.exists())
        };
        self.config.clone().or_else(usual)
    }

    /// Reads the settings; called again at SIGHUP.
    ///
    /// # Errors
    /// One line for each mistake.
    pub fn read(&self) -> Result<Config, Vec<String>> {
        let base = Config { data: data_folder(), domains: vec![host_name()], ..Config::default() };
        let file = match self.file() {
            Some(path) => Some((path.display().to_string(), read_file(&path).map_err(|line| vec![line])?)),
            None => None,
        };
        let mut sets = self.sets.clone();
        if let Some(data) = &self.data {
            let data = data.to_str().ok_or_else(|| vec!["--data is not valid UTF-8".to_owned()])?;
            sets.push(format!("--data={data}"));
        }
        sets.extend(self.domain.iter().map(|domain| format!("--domain={domain}")));
        Config::read(file.as_ref().map(|(name, text)| (name.as_str(), text.as_str())), &sets, base)
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let told = |e: std::io::Error| format!("{}: the settings cannot be read: {e}", path.display());
    if fs::metadata(path).map_err(told)?.len() > FILE_BYTES_MAX {
        return Err(format!("{}: more than {FILE_BYTES_MAX} bytes cannot be settings", path.display()));
    }
    fs::read_to_string(path).map_err(told)
}

/// The data directory if nobody names one: systemd's `StateDirectory=` (the first, `systemd.exec(5)`), or one here.
fn data_folder() -> PathBuf {
    let state = std::env::var_os("STATE_DIRECTORY").and_then(|state| std::env::split_paths(&state).next());
    state.filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(|| "lampone-data".into())
}

/// The machine's own name, if it can be a domain.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    match jid::prepare_domain(&name) {
        Ok(domain) if !domain.is_empty() => domain.into_owned(),
        _ => "localhost".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_win_over_single_settings() {
        let sources = Sources {
            domain: Some("b.example".into()),
            data: Some("/nowhere/b".into()),
            sets: vec!["domain=a.example".into(), "data=/nowhere/a".into()],
            ..Sources::default()
        };
        let config = sources.read().unwrap();
        assert_eq!((config.domains, config.data), (vec!["b.example".to_owned()], "/nowhere/b".into()));
    }

    #[test]
    fn any_directory_can_hold_the_data() {
        for data in ["5", "a, b", "it's", "true", "'quoted'", "[1]"] {
            let sources = Sources { data: Some(data.into()), ..Sources::default() };
            assert_eq!(sources.read().unwrap().data, PathBuf::from(data));
        }
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let sources = Sources { config: Some("/nowhere/lampone.toml".into()), ..Sources::default() };
        assert!(sources.read().unwrap_err()[0].starts_with("/nowhere/lampone.toml: the settings cannot be read: "));
    }

    #[test]
    fn the_name_of_the_machine_is_a_domain() {
        assert!(jid::prepare_domain(&host_name()).is_ok());
    }
}
