//! A scripted environment for tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use secrecy::zeroize::Zeroizing;

use crate::host::env::SystemEnv;
use crate::host::{BoxFuture, CommandError, CommandLimits, Env, PrivateFileError};

/// Variables from a list; programs answer from a queue, or are really run if the queue was never filled.
#[derive(Default)]
pub(crate) struct ScriptedEnv {
    variables: BTreeMap<String, String>,
    outputs: Option<Mutex<VecDeque<String>>>,
}

impl ScriptedEnv {
    pub(crate) fn with(pairs: &[(&str, &str)]) -> Self {
        let variables = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { variables, outputs: None }
    }

    pub(crate) fn printing(outputs: &[&str]) -> Self {
        let queue = outputs.iter().map(|output| (*output).to_owned()).collect();
        Self { variables: BTreeMap::new(), outputs: Some(Mutex::new(queue)) }
    }

    pub(crate) fn outputs_left(&self) -> usize {
        self.outputs.as_ref().map_or(0, |queue| queue.lock().expect("no panic").len())
    }
}

impl Env for ScriptedEnv {
    fn var(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn read_private(&self, path: &str, most_bytes: usize) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
        SystemEnv.read_private(path, most_bytes)
    }

    fn run<'a>(
        &'a self,
        command: &'a [String],
        limits: CommandLimits,
    ) -> BoxFuture<'a, Result<Zeroizing<Vec<u8>>, CommandError>> {
        let Some(queue) = &self.outputs else { return SystemEnv.run(command, limits) };
        let output = queue.lock().expect("no panic").pop_front().expect("asked more often than scripted");
        Box::pin(async move { Ok(Zeroizing::new(output.into_bytes())) })
    }
}
