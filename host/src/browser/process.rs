//! Starting drivers, browsers and X servers so that nothing of them outlives us.
//!
//! Killing a driver leaves its browser behind, and killing a browser leaves helpers and profiles. So everything that
//! belongs to one session is a [`Group`]: its programs carry a tag in their environment (`FEWBIT_BROWSER_GROUP`, which
//! their children inherit), start in a session of the operating system's of their own, and keep all their files in one
//! folder of that name. A group ends by name: whatever carries the tag, belongs to that session or descends from a
//! program we started is asked to end, then made to, and the folder removed. That happens when the group is dropped
//! (also by a panic), on Ctrl-C, SIGTERM and SIGHUP, and when the process exits. What an owner left that was killed
//! outright is found by [`sweep`] at the next start, since tag and folder name the owner.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sysinfo::{
    Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, RefreshKind, Signal, System,
    UpdateKind,
};

use super::BrowserError;

const TAG: &str = "FEWBIT_BROWSER_GROUP";
/// How long programs may take to end by themselves before they are killed.
const GRACE: Duration = Duration::from_millis(1500);
/// How long we go on killing.
const LIMIT: Duration = Duration::from_secs(10);

/// What belongs to one browser session: programs and one folder.
pub(super) struct Group {
    tag: String,
}

struct Live {
    tag: String,
    folder: PathBuf,
    children: Vec<Child>,
}

/// Every group of this process. A static, since a signal or an exit has no other way to find them.
fn live() -> MutexGuard<'static, Vec<Live>> {
    static LIVE: Mutex<Vec<Live>> = Mutex::new(Vec::new());
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    /// A new group with an empty folder. The first one of a process also sweeps what dead owners left, and arranges
    /// that signals and the end of the process end all groups.
    pub(super) fn new() -> Result<Group, BrowserError> {
        static PREPARE: Once = Once::new();
        PREPARE.call_once(|| {
            sweep();
            end_with_the_process();
        });
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tag = format!("{}.{}", owner(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = root().join(&tag);
        std::fs::create_dir_all(&folder).map_err(|source| BrowserError::Io {
            path: folder.clone(),
            source,
        })?;
        live().push(Live {
            tag: tag.clone(),
            folder,
            children: Vec::new(),
        });
        Ok(Group { tag })
    }

    /// A folder of the group, made when it is not there.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, BrowserError> {
        let path = root().join(&self.tag).join(name);
        std::fs::create_dir_all(&path).map_err(|source| BrowserError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// Starts `program`; what it prints goes to `NAME.log` in the group's folder. Its temporary files are the group's.
    pub(super) fn start(
        &self,
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        environment: &[(String, String)],
        log: &str,
    ) -> Result<(), BrowserError> {
        let temporary = self.folder("tmp")?;
        let log_path = root().join(&self.tag).join(format!("{log}.log"));
        let io = |source| BrowserError::Io {
            path: log_path.clone(),
            source,
        };
        let output = std::fs::File::create(&log_path).map_err(io)?;
        let errors = output.try_clone().map_err(io)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env(TAG, &self.tag)
            .env("TMPDIR", &temporary)
            .env("TEMP", &temporary)
            .env("TMP", &temporary)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            // SAFETY: setsid is async-signal-safe and touches nothing of ours.
            unsafe {
                command.pre_exec(|| {
                    if libc::setsid() == -1 {
                        Err(std::io::Error::last_os_error())
                    } else {
                        Ok(())
                    }
                });
            }
        }
        let child = command.spawn().map_err(|source| BrowserError::Start {
            program: program.to_owned(),
            source,
        })?;
        if let Some(group) = live().iter_mut().find(|group| group.tag == self.tag) {
            group.children.push(child);
        }
        Ok(())
    }

    /// How a program of the group ended that should still run, if one did.
    pub(super) fn ended(&self) -> Option<String> {
        let mut groups = live();
        let group = groups.iter_mut().find(|group| group.tag == self.tag)?;
        group
            .children
            .iter_mut()
            .find_map(|child| child.try_wait().ok().flatten())
            .map(|status| status.to_string())
    }

    /// The end of what a program printed, at most `bytes` of it.
    pub(super) fn log(&self, log: &str, bytes: usize) -> String {
        let path = root().join(&self.tag).join(format!("{log}.log"));
        let all = std::fs::read(path).unwrap_or_default();
        let tail = &all[all.len().saturating_sub(bytes)..];
        String::from_utf8_lossy(tail).trim().to_owned()
    }

    /// Proportional set size of all programs of the group together, in bytes; only Linux tells.
    pub(super) fn memory(&self) -> Option<u64> {
        self.summed(&["Pss:"])
    }

    /// Memory that the programs of the group share with nobody, in bytes; only Linux tells.
    pub(super) fn private_memory(&self) -> Option<u64> {
        self.summed(&["Private_Clean:", "Private_Dirty:"])
    }

    /// These fields of `/proc/PID/smaps_rollup` over all programs of the group.
    fn summed(&self, fields: &[&str]) -> Option<u64> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let groups = live();
        let group = groups.iter().find(|group| group.tag == self.tag)?;
        let mut total = 0;
        for pid in members(&processes()?, &group.tag, &group.children) {
            let rollup =
                std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            for line in rollup.lines() {
                let mut words = line.split_whitespace();
                if words.next().is_some_and(|name| fields.contains(&name)) {
                    let kilobytes = words.next().and_then(|word| word.parse::<u64>().ok());
                    total += kilobytes.unwrap_or(0) * 1024;
                }
            }
        }
        (total > 0).then_some(total)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut groups = live();
        if let Some(position) = groups.iter().position(|group| group.tag == self.tag) {
            let group = groups.swap_remove(position);
            drop(groups);
            end(group);
        }
    }
}

/// Ends what earlier owners left that no longer live: their programs and folders. Returns how many folders there were.
pub fn sweep() -> usize {
    let Some(system) = processes() else { return 0 };
    let mut swept = 0;
    for entry in root().read_dir().into_iter().flatten().flatten() {
        let tag = entry.file_name().to_string_lossy().into_owned();
        let mut parts = tag.split('.');
        let (Some(pid), Some(started)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (Ok(pid), Ok(started)) = (pid.parse::<u32>(), started.parse::<u64>()) else {
            continue;
        };
        if start_of(&system, pid) != Some(started) {
            end(Live {
                tag,
                folder: entry.path(),
                children: Vec::new(),
            });
            swept += 1;
        }
    }
    swept
}

/// Whether we are the superuser, for whom browsers refuse their sandbox.
pub(super) fn is_root() -> bool {
    #[cfg(unix)]
    // SAFETY: geteuid reads one number and cannot fail.
    return unsafe { libc::geteuid() } == 0;
    #[cfg(not(unix))]
    false
}

/// Whether `/dev/shm` is as small as containers make it (64 MB), where Chromium's renderers would crash.
pub(super) fn small_shared_memory() -> bool {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: statvfs fills the structure that we own.
        let mut data: libc::statvfs = unsafe { std::mem::zeroed() };
        let found = unsafe { libc::statvfs(c"/dev/shm".as_ptr(), &mut data) } == 0;
        !found || data.f_blocks.saturating_mul(data.f_frsize) < 512 << 20
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// Where the folders of all groups of this user are.
fn root() -> PathBuf {
    #[cfg(unix)]
    // SAFETY: geteuid reads one number and cannot fail.
    let user = unsafe { libc::geteuid() };
    #[cfg(not(unix))]
    let user = 0;
    std::env::temp_dir().join(format!("fewbit-browsers-{user}"))
}

/// `PID.START`: a process of ours; the start time tells it from a later one with the same number.
fn owner() -> &'static str {
    static OWNER: OnceLock<String> = OnceLock::new();
    OWNER.get_or_init(|| {
        let pid = std::process::id();
        let started = processes()
            .and_then(|system| start_of(&system, pid))
            .unwrap_or(0);
        format!("{pid}.{started}")
    })
}

/// When a living process started, in a unit of the system's that does not move when the clock is set.
fn start_of(system: &System, pid: u32) -> Option<u64> {
    if cfg!(target_os = "linux") {
        // Field 22 of `stat`, in ticks since boot; the second field, in parentheses, may hold anything.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        return stat
            .rsplit_once(')')?
            .1
            .split_whitespace()
            .nth(19)?
            .parse()
            .ok();
    }
    Some(system.process(Pid::from_u32(pid))?.start_time())
}

fn processes() -> Option<System> {
    let mut system = System::new_with_specifics(RefreshKind::nothing()).ok()?;
    let what = ProcessRefreshKind::nothing()
        .with_environ(UpdateKind::Always)
        .without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
    Some(system)
}

/// The processes of a group: tagged ones, those in the sessions of its programs, and all descendants of these.
fn members(system: &System, tag: &str, children: &[Child]) -> HashSet<Pid> {
    let tag = OsString::from(format!("{TAG}={tag}"));
    let started: HashSet<Pid> = children
        .iter()
        .map(|child| Pid::from_u32(child.id()))
        .collect();
    let ourselves = Pid::from_u32(std::process::id());
    let running =
        |status: ProcessStatus| !matches!(status, ProcessStatus::Zombie | ProcessStatus::Dead);
    let mut found: HashSet<Pid> = system
        .processes()
        .iter()
        .filter(|(pid, process)| {
            **pid != ourselves
                && running(process.status())
                && (started.contains(pid)
                    || process.environ().contains(&tag)
                    || process
                        .session_id()
                        .is_some_and(|session| started.contains(&session)))
        })
        .map(|(pid, _)| *pid)
        .collect();
    loop {
        let before = found.len();
        for (pid, process) in system.processes() {
            let descends = process
                .parent()
                .is_some_and(|parent| found.contains(&parent) || started.contains(&parent));
            if descends && *pid != ourselves && running(process.status()) {
                found.insert(*pid);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// Those that ended by themselves and now wait for us, as the reaper of orphans, to take leave of them.
fn orphans(system: &System, children: &[Child]) -> Vec<Pid> {
    let ourselves = Pid::from_u32(std::process::id());
    let ours = |process: &sysinfo::Process| {
        process.status() == ProcessStatus::Zombie
            && process.parent() == Some(ourselves)
            && process
                .session_id()
                .is_some_and(|session| children.iter().any(|child| child.id() == session.as_u32()))
    };
    system
        .processes()
        .iter()
        .filter(|(_, process)| ours(process))
        .map(|(pid, _)| *pid)
        .collect()
}

/// Asks, then kills, until nothing of the group runs; then removes its folder.
fn end(mut group: Live) {
    let began = Instant::now();
    let mut seen: HashSet<Pid> = HashSet::new();
    let mut asked: HashSet<Pid> = HashSet::new();
    let mut pause = Duration::from_millis(10);
    while let Some(system) = processes() {
        let members = members(&system, &group.tag, &group.children);
        seen.extend(&members);
        seen.extend(orphans(&system, &group.children));
        if members.is_empty() || began.elapsed() > LIMIT {
            break;
        }
        for pid in members {
            let Some(process) = system.process(pid) else {
                continue;
            };
            if began.elapsed() > GRACE {
                process.kill();
            } else if asked.insert(pid) && process.kill_with(Signal::Term).is_none() {
                // A system without that signal.
                process.kill();
            }
        }
        reap(&mut group.children, &seen);
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    if let Some(system) = processes() {
        seen.extend(orphans(&system, &group.children));
    }
    reap(&mut group.children, &seen);
    // A browser that is just gone may still be letting go of a file.
    for _ in 0..20 {
        match std::fs::remove_dir_all(&group.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                std::thread::sleep(Duration::from_millis(50))
            }
            _ => break,
        }
    }
}

/// Takes leave of ended processes: our own children, and orphans of theirs that became ours.
fn reap(children: &mut [Child], seen: &HashSet<Pid>) {
    for child in children.iter_mut() {
        let _ = child.try_wait();
    }
    #[cfg(unix)]
    for pid in seen {
        if children.iter().all(|child| child.id() != pid.as_u32()) {
            // SAFETY: waits for one process, without blocking; fails harmlessly where it is no child of ours.
            unsafe {
                libc::waitpid(
                    pid.as_u32() as libc::pid_t,
                    std::ptr::null_mut(),
                    libc::WNOHANG,
                )
            };
        }
    }
    #[cfg(not(unix))]
    let _ = seen;
}

fn end_all() {
    loop {
        let Some(group) = live().pop() else { return };
        end(group);
    }
}

extern "C" fn at_exit() {
    end_all();
}

/// Arranges that all groups end with this process: at its exit, and on the signals that ask it to end. A thread of its
/// own waits for those, as the program's own may be busy.
fn end_with_the_process() {
    #[cfg(target_os = "linux")]
    // SAFETY: sets one flag of our process: orphaned descendants become our children, so that we can reap them.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    }
    #[cfg(unix)]
    // SAFETY: registers a function that lives as long as the process.
    unsafe {
        libc::atexit(at_exit);
    }
    let _ = std::thread::Builder::new()
        .name("browser-signals".into())
        .spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                let code = runtime.block_on(asked_to_end());
                end_all();
                std::process::exit(code);
            }
        });
}

/// Waits for Ctrl-C and its like; returns the exit code that goes with it.
async fn asked_to_end() -> i32 {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let wait = |kind: SignalKind| async move {
            match signal(kind) {
                Ok(mut stream) => {
                    stream.recv().await;
                    128 + kind.as_raw_value()
                }
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            code = wait(SignalKind::interrupt()) => code,
            code = wait(SignalKind::terminate()) => code,
            code = wait(SignalKind::hangup()) => code,
        }
    }
    #[cfg(not(unix))]
    {
        let _ = tokio::signal::ctrl_c().await;
        130
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn running(tag: &str) -> usize {
        let system = processes().expect("processes can be listed");
        members(&system, tag, &[]).len()
    }

    /// The tree that a driver leaves: a child that ignores SIGTERM, and one that left its parent and its session.
    const TREE: &str =
        "trap '' TERM; (trap '' TERM; sleep 300) & setsid sleep 301 & echo started; sleep 302";

    fn start_tree(group: &Group) {
        group
            .start(Path::new("/bin/sh"), &["-c", TREE], &[], "tree")
            .unwrap();
        let began = Instant::now();
        while !group.log("tree", 100).contains("started") || running(&group.tag) < 4 {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "the tree did not start"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_dropped_group_leaves_nothing() {
        let group = Group::new().unwrap();
        let tag = group.tag.clone();
        std::fs::write(group.folder("profile").unwrap().join("file"), b"x").unwrap();
        start_tree(&group);
        drop(group);
        assert_eq!(running(&tag), 0);
        assert!(!root().join(&tag).exists());
    }

    #[test]
    fn a_panic_leaves_nothing() {
        let (send, receive) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let group = Group::new().unwrap();
            start_tree(&group);
            send.send(group.tag.clone()).unwrap();
            panic!("on purpose");
        });
        let tag = receive.recv().unwrap();
        assert!(thread.join().is_err());
        assert_eq!(running(&tag), 0);
        assert!(!root().join(&tag).exists());
    }

    #[test]
    fn a_sweep_ends_what_a_dead_owner_left_and_nothing_else() {
        let mine = Group::new().unwrap();
        // An owner that cannot live: process 1 started at another time.
        let tag = "1.1.0".to_owned();
        let folder = root().join(&tag);
        std::fs::create_dir_all(&folder).unwrap();
        let mut orphan = Command::new("sleep")
            .arg("303")
            .env(TAG, &tag)
            .spawn()
            .unwrap();
        while running(&tag) == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(sweep() >= 1);
        assert!(!folder.exists());
        assert_eq!(running(&tag), 0);
        // The sweep may have taken leave of it already.
        let _ = orphan.wait();
        assert!(mine.folder("profile").unwrap().exists());
    }
}
