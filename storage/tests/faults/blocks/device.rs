//! A disk of the test's own: a file that this process serves through FUSE, below a loop device with a real file system. It
//! writes down everything that the file system tells it, and can be given any content while nothing is mounted.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    WriteFlags,
};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::tape::{Image, Op};
use crate::machine::{Fs, missing, retry, run_quiet};

const DISK: INodeNo = INodeNo(2);
const FOREVER: Duration = Duration::from_secs(1 << 20);

/// Why there can be no such disk here; `None` if it can be had.
pub(crate) fn unavailable(fs: Fs) -> Option<String> {
    let no_fuse = || (!Path::new("/dev/fuse").exists()).then(|| "no /dev/fuse".to_owned());
    missing(fs, false).or_else(no_fuse)
}

struct Disk {
    image: Image,
    /// What it was told since it was last given a content.
    ops: Vec<Op>,
    /// Holds the length of `ops`, for another process to read.
    position: File,
}

impl Disk {
    fn told(&mut self, op: Op) {
        self.ops.push(op);
        self.show_position();
    }

    fn show_position(&self) {
        self.position.write_all_at(&(self.ops.len() as u64).to_le_bytes(), 0).unwrap();
    }
}

/// The position that a disk shows in a file.
pub(crate) fn position_in(file: &File) -> usize {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 0).unwrap();
    usize::try_from(u64::from_le_bytes(bytes)).unwrap()
}

/// Served by one thread, so that a flush begins after every write before it was answered.
struct Served(Arc<Mutex<Disk>>);

impl Served {
    fn attr(&self, ino: INodeNo) -> FileAttr {
        let size = if ino == DISK { self.0.lock().image.len() as u64 } else { 0 };
        let kind = if ino == DISK { FileType::RegularFile } else { FileType::Directory };
        FileAttr {
            ino,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Served {
    fn lookup(&self, _req: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == "disk" {
            reply.entry(&FOREVER, &self.attr(DISK), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attr(ino));
    }

    fn open(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // Nothing of it may be remembered above this process.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = self.0.lock().image.read(usize::try_from(offset).unwrap(), size as usize);
        reply.data(&bytes);
    }

    fn write(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let offset = usize::try_from(offset).unwrap();
        let written = {
            let mut disk = self.0.lock();
            disk.told(Op::Write { offset, data: data.into() });
            disk.image.write(offset, data)
        };
        reply.written(u32::try_from(written).unwrap());
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        // That is `close`, and nothing to a disk.
        reply.ok();
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.0.lock().told(Op::Flush);
        reply.ok();
    }
}

/// The disk, and where its file system is mounted.
pub(crate) struct Device {
    fs: Fs,
    folder: TempDir,
    disk: Arc<Mutex<Disk>>,
    session: Option<BackgroundSession>,
    mounted: bool,
}

impl Device {
    /// A disk with an empty file system, not mounted; and that content, to begin again with.
    pub(crate) fn make(fs: Fs) -> (Self, Image) {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::with_prefix_in("sublog-blocks-", memory) } else { TempDir::new() };
        let folder = folder.unwrap();
        for name in ["fuse", "root"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let empty = empty_file_system(fs, folder.path());
        let position = File::create(folder.path().join("position")).unwrap();
        let disk = Arc::new(Mutex::new(Disk { image: empty.clone(), ops: Vec::new(), position }));
        disk.lock().show_position();
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("sublog-faults".to_owned())];
        let session = fuser::spawn_mount(Served(Arc::clone(&disk)), folder.path().join("fuse"), &config).unwrap();
        (Self { fs, folder, disk, session: Some(session), mounted: false }, empty)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Where another process reads the position.
    pub(crate) fn position_path(&self) -> PathBuf {
        self.folder.path().join("position")
    }

    /// How much the disk was told since it was given its content.
    pub(crate) fn position(&self) -> usize {
        self.disk.lock().ops.len()
    }

    /// Gives it a content, and begins a new tape.
    pub(crate) fn load(&self, image: &Image) {
        assert!(!self.mounted, "somebody remembers the content before");
        let mut disk = self.disk.lock();
        disk.image = image.clone();
        disk.ops.clear();
        disk.show_position();
    }

    /// What it was told since it was given its content.
    pub(crate) fn take_tape(&self) -> Vec<Op> {
        std::mem::take(&mut self.disk.lock().ops)
    }

    /// Mounts the file system; after a crash this replays the journal. `false` if the file system finds itself damaged.
    pub(crate) fn mount(&mut self) -> bool {
        let kind = if self.fs == Fs::Xfs { "xfs" } else { "ext4" };
        let (disk, root) = (self.folder.path().join("fuse/disk"), self.root());
        retry(|| {
            let output = Command::new("mount").args(["-t", kind, "-o", "loop"]).arg(&disk).arg(&root).output()?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            self.mounted = output.status.success();
            // A loop device that another test takes right now may be in the way.
            let answered = self.mounted || text.contains("corrupted") || text.contains("needs cleaning");
            answered.then_some(()).ok_or_else(|| std::io::Error::other(text))
        });
        self.mounted
    }

    /// Unmounts it, when whoever used it is gone. What that writes is on the tape like everything else.
    pub(crate) fn unmount(&mut self) {
        let root = self.root();
        retry(|| Ok(rustix::mount::unmount(&root, rustix::mount::UnmountFlags::empty())?));
        self.mounted = false;
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.mounted {
            let _ = rustix::mount::unmount(self.root(), rustix::mount::UnmountFlags::DETACH);
        }
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}

/// Makes one in a file, which is gone when this returns.
fn empty_file_system(fs: Fs, folder: &Path) -> Image {
    let path = folder.join("empty");
    let text = path.to_str().unwrap();
    // XFS will not be smaller; most of it is never written.
    let mib = if fs == Fs::Xfs { 300 } else { 24 };
    File::create(&path).unwrap().set_len(mib << 20).unwrap();
    let made = match fs {
        Fs::Xfs => run_quiet("mkfs.xfs", &["-q", "-f", text]),
        _ => run_quiet(
            "mkfs.ext4",
            &[
                "-q",
                "-F",
                "-m",
                "0",
                "-b",
                "4096",
                "-J",
                "size=4",
                "-E",
                "lazy_itable_init=0,lazy_journal_init=0",
                text,
            ],
        ),
    };
    assert!(made, "mkfs for {fs:?}");
    let image = Image::of(&std::fs::read(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    image
}
