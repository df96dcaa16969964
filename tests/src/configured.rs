//! A server with a configuration file that a test may change.

use std::path::PathBuf;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::RawClient;
use crate::clock;
use crate::server::TestServer;

/// See the module.
pub struct Configured {
    /// The server.
    pub server: TestServer,
    /// Where its file is.
    pub path: PathBuf,
    /// The CONNECT of a user.
    hello: fn(&str) -> String,
    _folder: TempDir,
}

impl Configured {
    /// Starts `binary` with `text` as its file, and `args` beside it. `hello` is the CONNECT of a user by its name.
    #[must_use]
    pub fn start(binary: &str, hello: fn(&str) -> String, text: &str, args: &[&str]) -> Self {
        let folder = TempDir::with_prefix("sublog-configured-").unwrap();
        let path = folder.path().join("server.conf");
        std::fs::write(&path, text).unwrap();
        let mut all = vec!["-c", path.to_str().unwrap()];
        all.extend(args);
        let server = TestServer::start(binary, &all);
        Self { server, path, hello, _folder: folder }
    }

    /// HUP, up to what the server says of it.
    pub fn reload(&mut self, text: &str) {
        self.reload_until(text, "Reloaded server configuration");
    }

    /// HUP, until the server says `said` once more.
    pub fn reload_until(&mut self, text: &str, said: &str) {
        std::fs::write(&self.path, text).unwrap();
        let count = |server: &TestServer| server.log().iter().filter(|line| line.contains(said)).count();
        let before = count(&self.server);
        self.server.signal(Signal::HUP);
        clock::until("the reload", || (count(&self.server) > before).then_some(()));
    }

    /// A quiet client, as this user.
    #[must_use]
    pub fn user(&self, name: &str) -> RawClient {
        let mut client = self.server.raw();
        client.hello(&(self.hello)(name));
        client
    }
}
