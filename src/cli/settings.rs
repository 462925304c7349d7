//! Where settings come from: the command line, a file, the environment, the host.
//!
//! Invariant: the later beats the earlier: host's name and systemd's folder, file, `--domain` and `--data`, `--set`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{config::Config, wire::jid};

/// What the command line says about settings.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`
    pub config: Option<String>,
    /// `--domain`
    pub domain: Option<String>,
    /// `--data`
    pub data: Option<String>,
    /// `--set`
    pub set: Vec<String>,
}

impl Sources {
    /// Reads everything, anew each time.
    ///
    /// # Errors
    /// A line for each mistake.
    pub fn read(&self) -> Result<Config, String> {
        self.read_named().map(|(config, _)| config)
    }

    /// The same, with the name of the file that was read.
    ///
    /// # Errors
    /// A line for each mistake.
    pub fn read_named(&self) -> Result<(Config, Option<String>), String> {
        let mut base = Config { domains: vec![host_name()], data: default_data(), ..Config::default() };
        if let Some(data) = &self.data {
            base.data = data.into();
        }
        let file = self.file(&base.data)?;
        let mut sets = Vec::new();
        sets.extend(self.domain.iter().map(|domain| format!("--domain={domain}")));
        sets.extend(self.data.iter().map(|data| format!("--data={data}")));
        sets.extend(self.set.iter().cloned());
        let given = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        let config = Config::read(given, &sets, base).map_err(|faults| faults.join("\n"))?;
        Ok((config, file.map(|(name, _)| name)))
    }

    /// The file of settings and its text, if there is one.
    fn file(&self, data: &Path) -> Result<Option<(String, String)>, String> {
        if let Some(name) = &self.config {
            let text = fs::read_to_string(name).map_err(|e| format!("{name}: the settings cannot be read: {e}"))?;
            return Ok(Some((name.clone(), text)));
        }
        for path in [data.join("lampone.toml"), PathBuf::from("/etc/lampone.toml")] {
            match fs::read_to_string(&path) {
                Ok(text) => return Ok(Some((path.display().to_string(), text))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("{}: the settings cannot be read: {error}", path.display())),
            }
        }
        Ok(None)
    }
}

/// systemd's state directory, else a folder here.
fn default_data() -> PathBuf {
    let state = std::env::var("STATE_DIRECTORY").ok();
    let first = state.as_deref().and_then(|list| list.split(':').next()).filter(|path| !path.is_empty());
    first.map_or_else(|| "lampone-data".into(), PathBuf::from)
}

/// The host's name as a domain; `localhost` if it is none.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    jid::prepare_domain(&name).map_or_else(|_| "localhost".into(), |domain| domain.into_owned())
}
