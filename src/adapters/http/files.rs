//! Uploaded files on the disk: `<data>/uploads/<id>`, and while they come `<data>/uploads/half/<id>`.
//!
//! Invariants: the main thread opens, reads and writes nothing, threads of a pool do, [`limits::FILE_WORKERS_MAX`] at
//! once; a file has its name only when it is whole and synced, and so is the folder; half files go with the connection,
//! or at the next start; room for a file is taken before its first byte, so that a full disk is told at once.

use std::{
    fs::{self, File},
    future::{Future, poll_fn},
    io::{self, Read, Seek, SeekFrom, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    pin::Pin,
    rc::Rc,
    time::Duration,
};

use async_io::Timer;
use hyper::body::{Body, Incoming};
use rustix::{
    fs::{FallocateFlags, OFlags, fallocate},
    io::Errno,
};
use smol::future::or;

use crate::{
    adapters::workers::Workers,
    limits,
    router::event::{FileId, TakeError},
};

/// The folder of files.
pub(super) struct Files {
    root: PathBuf,
    workers: Workers,
}

/// A block that is being read: the file, standing behind it, and its bytes.
pub(super) type Reading = Pin<Box<dyn Future<Output = io::Result<(File, Vec<u8>)>>>>;

/// A file of a folder that is open to all.
pub(super) struct Shared {
    file: File,
    /// Its bytes.
    pub bytes: u64,
    /// `Content-Type`, by its ending.
    pub kind: &'static str,
    /// `ETag` with its quotes: changes with its time and size.
    pub etag: String,
}

/// Types by ending; what is none of these is a download.
const KINDS: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("json", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("map", "application/json"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("ico", "image/x-icon"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("wasm", "application/wasm"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("txt", "text/plain; charset=utf-8"),
];

/// Where half files are.
const HALF: &str = "half";

impl Files {
    /// Opens the folder, makes it if need be, and removes half files.
    ///
    /// # Errors
    /// One line for the admin.
    pub fn open(data: &Path) -> Result<Files, String> {
        let root = data.join("uploads");
        let half = root.join(HALF);
        let told = |e: io::Error| format!("{}: uploads cannot be kept there: {e}", root.display());
        match fs::remove_dir_all(&half) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(told(e)),
            _ => {}
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&half).map_err(told)?;
        Ok(Files { root, workers: Workers::new("lampone-files", limits::FILE_WORKERS_MAX) })
    }

    fn path(&self, file: FileId) -> PathBuf {
        self.root.join(file.name())
    }

    /// Work for a thread of the pool.
    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let done = self.workers.run(work).await;
        done.unwrap_or_else(|| Err(io::Error::other("the thread that worked on it is gone")))
    }

    /// All files that have their name.
    pub async fn list(&self) -> Vec<FileId> {
        let root = self.root.clone();
        self.work(move || {
            let entries = fs::read_dir(&root).into_iter().flatten().flatten();
            Ok(entries.filter_map(|entry| FileId::parse(entry.file_name().to_str()?)).collect())
        })
        .await
        .unwrap_or_default()
    }

    /// Removes a file.
    pub async fn discard(&self, file: FileId) {
        let path = self.path(file);
        let outcome = self.work(move || fs::remove_file(path)).await;
        if let Err(e) = outcome.as_ref().map_err(io::Error::kind)
            && e != io::ErrorKind::NotFound
        {
            log::warn!("the uploaded file {} cannot be removed: {e}", file.name());
        }
    }

    /// Opens a file, to be read from this byte.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn find(&self, file: FileId, from: u64) -> io::Result<File> {
        let path = self.path(file);
        self.work(move || {
            let no_links = OFlags::NOFOLLOW.bits() as i32;
            let mut open = fs::OpenOptions::new().read(true).custom_flags(no_links).open(path)?;
            if from > 0 {
                open.seek(SeekFrom::Start(from))?;
            }
            Ok(open)
        })
        .await
    }

    /// Opens a file below a folder; no link leads out of it (S39). `None`: there is no such file.
    pub async fn share(&self, folder: PathBuf, path: Vec<String>) -> Option<Shared> {
        let open = move || {
            let root = fs::canonicalize(folder).ok()?;
            let wanted = path.iter().fold(root.clone(), |path, part| path.join(part));
            let path = fs::canonicalize(wanted).ok().filter(|path| path.starts_with(&root))?;
            // No link any more, and no pipe or device that would make the thread wait for somebody.
            let plain = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
            let file = fs::OpenOptions::new().read(true).custom_flags(plain).open(&path).ok()?;
            let meta = file.metadata().ok().filter(fs::Metadata::is_file)?;
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
            let kind =
                KINDS.iter().find(|(known, _)| *known == ending).map_or("application/octet-stream", |(_, kind)| kind);
            let changed = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let etag = format!("\"{:x}-{:x}\"", changed.as_micros(), meta.len());
            Some(Shared { file, bytes: meta.len(), kind, etag })
        };
        self.work(move || Ok(open())).await.ok().flatten()
    }

    /// The file, to be read from this byte.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn seek(&self, shared: Shared, from: u64) -> io::Result<File> {
        let mut file = shared.file;
        if from == 0 {
            return Ok(file);
        }
        self.work(move || file.seek(SeekFrom::Start(from)).map(|_| file)).await
    }

    /// Reads the next block, `left` bytes at most.
    pub fn read(self: &Rc<Self>, mut file: File, left: u64) -> Reading {
        let files = self.clone();
        let bytes = left.min(limits::FILE_BLOCK_BYTES as u64) as usize;
        Box::pin(async move {
            let read = move || {
                let mut block = Vec::with_capacity(bytes);
                let read = Read::by_ref(&mut file).take(bytes as u64).read_to_end(&mut block)?;
                if read < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((file, block)) }
            };
            files.work(read).await
        })
    }

    /// Takes a body of exactly so many bytes into a file. It has its name, durably, when this returns.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn take(self: &Rc<Self>, file: FileId, bytes: u64, mut body: Incoming) -> Result<(), TakeError> {
        let half = Half { files: self.clone(), path: Some(self.root.join(HALF).join(file.name())) };
        let target = self.path(file);
        let mut open = half.create(bytes, &target).await?;
        let mut block = Vec::new();
        let mut left = bytes;
        while left > 0 {
            let frame = next_frame(&mut body).await.ok_or(TakeError::Cut)?;
            let data = frame.into_data().map_err(|_| TakeError::Cut)?;
            left = left.checked_sub(data.len() as u64).ok_or(TakeError::Cut)?;
            block.reserve_exact(limits::FILE_BLOCK_BYTES.saturating_sub(block.len()).max(data.len()));
            block.extend_from_slice(&data);
            drop(data);
            if block.len() + limits::HTTP_HEAD_BYTES_MAX > limits::FILE_BLOCK_BYTES || left == 0 {
                let at = bytes - left - block.len() as u64;
                let write = move || {
                    open.write_all(&block)?;
                    go_on_writing(&open, at, block.len() as u64);
                    Ok((open, block))
                };
                (open, block) = self.work(write).await.map_err(refusal)?;
                block.clear();
            }
        }
        drop(block);
        half.finish(open, target).await
    }
}

/// The next piece of a body; `None`: it is over, broken, or too slow.
async fn next_frame(body: &mut Incoming) -> Option<hyper::body::Frame<hyper::body::Bytes>> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
    let slow = async {
        Timer::after(Duration::from_millis(limits::HTTP_STALL_MS_MAX)).await;
        None
    };
    or(async { frame.await.and_then(Result::ok) }, slow).await
}

fn refusal(e: io::Error) -> TakeError {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => TakeError::Full,
        io::ErrorKind::AlreadyExists => TakeError::Exists,
        _ => {
            log::error!("an upload cannot be written: {e}");
            TakeError::Io
        }
    }
}

/// Bytes of a file that may be on their way to the medium.
const UNDER_WAY: u64 = 8 * limits::FILE_BLOCK_BYTES as u64;

/// Has the kernel bring to the medium what was written, some blocks behind, so that the last sync finds little to do and nobody
/// else's sync waits behind a whole file. sync_file_range(2); what cannot is synced at the end, as everything is.
fn go_on_writing(file: &File, at: u64, bytes: u64) {
    let range = |from: u64, flags| {
        // SAFETY: it takes a descriptor that is open and numbers.
        let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), from as i64, bytes as i64, flags) };
    };
    range(at, libc::SYNC_FILE_RANGE_WRITE);
    if let Some(before) = at.checked_sub(UNDER_WAY) {
        range(
            before,
            libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER,
        );
    }
}

/// A file that is not whole yet; goes when this does.
struct Half {
    files: Rc<Files>,
    path: Option<PathBuf>,
}

impl Half {
    async fn create(&self, bytes: u64, target: &Path) -> Result<File, TakeError> {
        let (path, target) = (self.path.clone().unwrap_or_default(), target.to_owned());
        let created = move || {
            // What has its name is whole; it is not written again.
            if target.try_exists()? {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
                Ok(()) => {}
                // A file system that cannot: it will be seen as it fills.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
                Err(e) => return Err(e.into()),
            }
            Ok(file)
        };
        self.files.work(created).await.map_err(refusal)
    }

    async fn finish(mut self, open: File, target: PathBuf) -> Result<(), TakeError> {
        let (path, root) = (self.path.take().unwrap_or_default(), self.files.root.clone());
        let finished = move || {
            let kept = open.sync_all().and_then(|()| fs::rename(&path, &target));
            let kept = kept.and_then(|()| File::open(&root)?.sync_all());
            if kept.is_err() {
                let _ = fs::remove_file(&path);
            }
            kept
        };
        self.files.work(finished).await.map_err(refusal)
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            self.files.workers.start(move || drop(fs::remove_file(path)));
        }
    }
}
