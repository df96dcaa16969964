//! File systems of the test's own, on images: made, mounted, filled, cut off from power, unmounted.
//!
//! Everything is mounted by a process in a mount namespace of its own. When that process ends, however it ends, the
//! mounts go with it, and loop devices with their mounts.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, geteuid, set_parent_process_death_signal};
use tempfile::TempDir;

/// How long a system command may be in the way of another.
const PATIENCE: Duration = Duration::from_secs(10);
/// Set in a process that has its own mount namespace.
const INSIDE: &str = "SUBLOG_FAULTS_INSIDE";

/// File systems that the tests use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fs {
    Ext4,
    Xfs,
    Tmpfs,
}

impl Fs {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "XFS",
            Self::Tmpfs => "tmpfs",
        }
    }
}

/// Why the file system cannot be had here; `None` if it can.
pub(crate) fn missing(fs: Fs, power_cuts: bool) -> Option<String> {
    if !geteuid().is_root() {
        return Some("not root".to_owned());
    }
    let mut tools = vec!["unshare", "mount", "umount"];
    tools.extend(match fs {
        Fs::Ext4 => Some("mkfs.ext4"),
        Fs::Xfs => Some("mkfs.xfs"),
        Fs::Tmpfs => None,
    });
    if power_cuts {
        tools.push("xfs_io");
    }
    let lacks = |tool: &&str| !run_quiet("sh", &["-c", &format!("command -v {tool}")]);
    if let Some(tool) = tools.iter().find(|tool| lacks(tool)) {
        return Some(format!("no {tool} (packages e2fsprogs, xfsprogs, util-linux)"));
    }
    if fs != Fs::Tmpfs && !Path::new("/dev/loop-control").exists() {
        return Some("no loop devices".to_owned());
    }
    (!run_quiet("unshare", &["-m", "--propagation", "private", "true"])).then(|| "no mount namespaces".to_owned())
}

pub(crate) fn run_quiet(program: &str, args: &[&str]) -> bool {
    let status = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// In a mount namespace of its own, runs `inside`; else runs this test again, with what `variables` say, in a new one,
/// passes its `FAULTS` lines on and fails if it does.
pub(crate) fn in_namespace(test: &str, variables: &[(&str, String)], inside: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some_and(|name| name == test) {
        set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
        // The harness has begun a line.
        println!();
        inside();
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(INSIDE, test);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines().filter(|line| line.starts_with("FAULTS")) {
        println!("{line}");
    }
    assert!(output.status.success(), "{test} {variables:?}:\n{text}");
}

/// Whether [`in_namespace`] has begun: then the caller need not ask what is missing.
pub(crate) fn is_inside(test: &str) -> bool {
    std::env::var_os(INSIDE).is_some_and(|name| name == test)
}

/// An image with a file system, and where it is mounted.
pub(crate) struct Volume {
    fs: Fs,
    folder: TempDir,
    size_mib: u64,
    mounted: bool,
    /// Waits for the word to cut the power, so that nothing happens between the word and the cut.
    cutter: Option<Child>,
}

impl Volume {
    /// Makes and mounts an empty one of that size.
    pub(crate) fn make(fs: Fs, size_mib: u64) -> Self {
        // In memory where there is some: a power cut is told to the mounted file system, not to what is below it.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::with_prefix_in("sublog-faults-", memory) } else { TempDir::new() };
        let mut volume = Self { fs, folder: folder.unwrap(), size_mib, mounted: false, cutter: None };
        std::fs::create_dir(volume.root()).unwrap();
        volume.fresh();
        volume
    }

    /// Where it is mounted.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Unmounts it, makes another empty file system, and mounts that.
    pub(crate) fn fresh(&mut self) {
        self.unmount();
        if self.fs != Fs::Tmpfs {
            let _ = std::fs::remove_file(self.image());
            // XFS will not be smaller than 300 MiB; the image is sparse.
            let least = if self.fs == Fs::Xfs { 300 } else { 8 };
            let image = std::fs::File::create(self.image()).unwrap();
            image.set_len(self.size_mib.max(least) << 20).unwrap();
            let image = self.image();
            let image = image.to_str().unwrap();
            let made = match self.fs {
                Fs::Ext4 => run_quiet("mkfs.ext4", &["-q", "-F", "-m", "0", image]),
                Fs::Xfs | Fs::Tmpfs => run_quiet("mkfs.xfs", &["-q", "-f", image]),
            };
            assert!(made, "mkfs for {:?}", self.fs);
        }
        self.mount();
    }

    /// Mounts it; after a cut this replays the journal.
    pub(crate) fn mount(&mut self) {
        let (root, image) = (self.root(), self.image());
        let size = format!("size={}m", self.size_mib);
        let args = match self.fs {
            Fs::Tmpfs => vec!["-t", "tmpfs", "-o", &size, "none"],
            Fs::Ext4 => vec!["-t", "ext4", "-o", "loop", image.to_str().unwrap()],
            Fs::Xfs => vec!["-t", "xfs", "-o", "loop", image.to_str().unwrap()],
        };
        // A loop device that another test lets go of right now may be in the way.
        retry(|| {
            let output = Command::new("mount").args(&args).arg(&root).output()?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            output.status.success().then_some(()).ok_or_else(|| io::Error::other(text))
        });
        self.mounted = true;
    }

    /// Gets ready to cut the power without delay.
    pub(crate) fn arm(&mut self) {
        let mut command = Command::new("xfs_io");
        command.arg("-x").arg(self.root()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        self.cutter = Some(command.spawn().unwrap());
    }

    /// Unmounts it, when whoever used it is gone.
    pub(crate) fn unmount(&mut self) {
        self.disarm();
        if !std::mem::take(&mut self.mounted) {
            return;
        }
        let root = self.root();
        retry(|| {
            let output = Command::new("umount").arg(&root).output()?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            output.status.success().then_some(()).ok_or_else(|| io::Error::other(text))
        });
    }

    /// The power goes: nothing that is not on the device yet gets there, not even the journal's last transaction.
    pub(crate) fn cut_power(&mut self) {
        if self.cutter.is_none() {
            self.arm();
        }
        let mut cutter = self.cutter.take().unwrap();
        cutter.stdin.take().unwrap().write_all(b"shutdown\nquit\n").unwrap();
        let cut = cutter.wait_with_output().unwrap();
        assert!(cut.status.success() && cut.stderr.is_empty(), "{}", String::from_utf8_lossy(&cut.stderr));
    }

    fn disarm(&mut self) {
        if let Some(mut cutter) = self.cutter.take() {
            let _ = cutter.kill();
            let _ = cutter.wait();
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.disarm();
        if self.mounted {
            // Also while a test fails: lazily, whoever may still be in it.
            run_quiet("umount", &["-l", self.root().to_str().unwrap_or_default()]);
        }
    }
}

pub(crate) fn retry(mut f: impl FnMut() -> io::Result<()>) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(e) = f() {
        assert!(Instant::now() < deadline, "{e}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
