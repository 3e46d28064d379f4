//! The process shim: nothing it started survives.

use std::io::BufRead as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use longhaul_worker::process::{ProcessEnd, ProcessOutcome, ProcessSpec, Secrets, run};
use tokio_util::sync::CancellationToken;

use crate::world::shim;

fn spec(dir: &Path, line: &str) -> ProcessSpec {
    ProcessSpec {
        argv: ["sh", "-c", line].map(Into::into).to_vec(),
        cwd: dir.to_owned(),
        env: [("PATH".into(), std::env::var_os("PATH").expect("a PATH"))].into(),
        stdin: None,
        stdout: None,
        timeout: None,
        idle_timeout: None,
        secrets: Secrets::default(),
        log: dir.join("log"),
        output_bytes_max: 0,
        on_line: None,
        sandbox: None,
    }
}

#[tokio::test]
async fn a_silent_program_is_ended_and_a_talking_one_is_not() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let limit = Duration::from_millis(700);
    let silent = ProcessSpec { idle_timeout: Some(limit), ..spec(dir.path(), "echo one; sleep 1000") };
    let ended = run(&shim(), silent, &CancellationToken::new()).await.expect("runs");
    assert_eq!((ended.end, ended.log.tail.as_str()), (ProcessEnd::Silent(limit), "one\n"));
    let talking = "for n in 1 2 3 4 5 6; do echo $n; sleep 0.2; done";
    let talking = ProcessSpec { idle_timeout: Some(limit), ..spec(dir.path(), talking) };
    let ended = run(&shim(), talking, &CancellationToken::new()).await.expect("runs");
    assert_eq!(ended.end, ProcessEnd::Exited(0));
}

#[tokio::test]
async fn secrets_are_replaced_in_log_tail_and_lines() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let heard = std::sync::Arc::clone(&lines);
    let spec = ProcessSpec {
        secrets: Secrets::new(["planted-secret".into()]),
        on_line: Some(std::sync::Arc::new(move |line| heard.lock().expect("not poisoned").push(line.to_owned()))),
        // In two writes with a pause: the pipe brings them apart.
        ..spec(dir.path(), "printf 'a planted-'; sleep 0.3; echo 'secret here'; echo end")
    };
    let ended = run(&shim(), spec, &CancellationToken::new()).await.expect("runs");
    assert_eq!(ended.log.tail, "a [redacted] here\nend\n");
    assert_eq!(std::fs::read_to_string(&ended.log.path).expect("kept"), ended.log.tail);
    assert!(lines.lock().expect("not poisoned").iter().all(|line| !line.contains("planted")));
}

async fn outcome(line: &str) -> ProcessOutcome {
    let dir = tempfile::tempdir().expect("a temporary folder");
    run(&shim(), spec(dir.path(), line), &CancellationToken::new()).await.expect("runs")
}

/// A pipe into which every process of a test holds the write end: its end is "all are gone".
struct Fifo {
    dir: tempfile::TempDir,
}

impl Fifo {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let made = Command::new("mkfifo").arg(dir.path().join("fifo")).status().expect("mkfifo runs");
        assert!(made.success());
        Self { dir }
    }

    /// A line that leaves a grandchild in a session of its own behind, deaf to SIGTERM and HUP.
    fn line(&self) -> String {
        let fifo = self.dir.path().join("fifo");
        format!(
            "(setsid sh -c 'trap \"\" TERM HUP; echo up; exec 1>&- 2>&-; while :; do sleep 1000; done' >{0} &) ; (setsid sh -c 'sleep 1000' >{0} &); sleep 1000 >{0}",
            fifo.display()
        )
    }

    /// Opens it for reading and waits until the processes are there; gives a channel that tells their end.
    fn watch(&self) -> std::sync::mpsc::Receiver<&'static str> {
        let fifo = self.dir.path().join("fifo");
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let file = std::fs::File::open(fifo).expect("the fifo opens");
            for line in std::io::BufReader::new(file).lines() {
                let _line = line.expect("reads");
                tell.send("up").expect("heard");
            }
            tell.send("gone").expect("heard");
        });
        told
    }
}

const WAIT: Duration = Duration::from_secs(30);

#[test]
fn a_killed_worker_leaves_no_process() {
    let fifo = Fifo::new();
    let told = fifo.watch();
    let mut host = Command::new(env!("CARGO_BIN_EXE_longhaul-shim-test"))
        .arg("host")
        .arg(fifo.dir.path().join("log"))
        .args(["sh", "-c", &fifo.line()])
        .stdin(Stdio::null())
        .spawn()
        .expect("the host starts");
    assert_eq!(told.recv_timeout(WAIT), Ok("up"));
    host.kill().expect("killed");
    host.wait().expect("reaped");
    assert_eq!(told.recv_timeout(WAIT), Ok("gone"));
}

#[tokio::test]
async fn a_cancelled_run_leaves_no_process() {
    let fifo = Fifo::new();
    let told = fifo.watch();
    let cancel = CancellationToken::new();
    let line = fifo.line();
    let (shim, spec) = (shim(), spec(fifo.dir.path(), &line));
    let running = tokio::spawn({
        let cancel = cancel.clone();
        async move { run(&shim, spec, &cancel).await }
    });
    let told = tokio::task::spawn_blocking(move || {
        assert_eq!(told.recv_timeout(WAIT), Ok("up"));
        told
    })
    .await
    .expect("they start");
    let started = std::time::Instant::now();
    cancel.cancel();
    let outcome = running.await.expect("no panic").expect("runs");
    assert_eq!(outcome.end, ProcessEnd::Cancelled);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(told.recv_timeout(WAIT), Ok("gone"));
}

#[tokio::test]
async fn a_program_that_ends_takes_its_daemons_with_it() {
    let fifo = Fifo::new();
    let told = fifo.watch();
    let line = format!("{} & read ready < {}; exit 3", fifo.line(), fifo.dir.path().join("second").display());
    let made = Command::new("mkfifo").arg(fifo.dir.path().join("second")).status().expect("mkfifo runs");
    assert!(made.success());
    let (shim, spec) = (shim(), spec(fifo.dir.path(), &line));
    let running = tokio::spawn(async move { run(&shim, spec, &CancellationToken::new()).await });
    let second = fifo.dir.path().join("second");
    let told = tokio::task::spawn_blocking(move || {
        assert_eq!(told.recv_timeout(WAIT), Ok("up"));
        std::fs::write(second, "go\n").expect("heard");
        told
    })
    .await
    .expect("they start");
    assert_eq!(running.await.expect("no panic").expect("runs").end, ProcessEnd::Exited(3));
    assert_eq!(told.recv_timeout(WAIT), Ok("gone"));
}

#[tokio::test]
async fn a_program_that_kills_its_shim_is_found_all_the_same() {
    let fifo = Fifo::new();
    let told = fifo.watch();
    // The parent of the main program is the shim.
    let line =
        format!("({}) & read x < {}; kill -9 $PPID; sleep 1000", fifo.line(), fifo.dir.path().join("second").display());
    let made = Command::new("mkfifo").arg(fifo.dir.path().join("second")).status().expect("mkfifo runs");
    assert!(made.success());
    let (shim, spec) = (shim(), spec(fifo.dir.path(), &line));
    let running = tokio::spawn(async move { run(&shim, spec, &CancellationToken::new()).await });
    let second = fifo.dir.path().join("second");
    let told = tokio::task::spawn_blocking(move || {
        assert_eq!(told.recv_timeout(WAIT), Ok("up"));
        std::fs::write(second, "go\n").expect("heard");
        told
    })
    .await
    .expect("they start");
    assert_eq!(running.await.expect("no panic").expect("runs").end, ProcessEnd::Lost);
    assert_eq!(told.recv_timeout(WAIT), Ok("gone"));
}

#[tokio::test]
async fn ends_are_told_apart() {
    assert_eq!(outcome("exit 7").await.end, ProcessEnd::Exited(7));
    assert_eq!(outcome("kill -SEGV $$").await.end, ProcessEnd::Signalled(11));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut missing = spec(dir.path(), "");
    missing.argv = vec!["/no/such/program".into()];
    let end = run(&shim(), missing, &CancellationToken::new()).await.expect("runs").end;
    assert!(matches!(&end, ProcessEnd::NotStarted(why) if why.contains("/no/such/program")), "{end:?}");
    let mut nowhere = spec(dir.path(), "true");
    nowhere.cwd = "/no/such/folder".into();
    let end = run(&shim(), nowhere, &CancellationToken::new()).await.expect("runs").end;
    assert!(matches!(end, ProcessEnd::NotStarted(_)), "{end:?}");
    let mut slow = spec(dir.path(), "sleep 1000");
    slow.timeout = Some(Duration::from_millis(50));
    assert_eq!(run(&shim(), slow, &CancellationToken::new()).await.expect("runs").end, ProcessEnd::TimedOut);
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert_eq!(run(&shim(), spec(dir.path(), "true"), &cancel).await.expect("runs").end, ProcessEnd::Cancelled);
}

#[tokio::test]
async fn output_is_one_stream_with_a_limit_and_no_inherited_variable() {
    let both = outcome("echo one; echo two >&2; echo three; env | grep -c CARGO; cat").await;
    assert_eq!(both.log.tail, "one\ntwo\nthree\n0\n");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut loud = spec(dir.path(), "yes | head -c 3000000; echo end");
    loud.output_bytes_max = 10_000;
    let log = run(&shim(), loud, &CancellationToken::new()).await.expect("runs").log;
    assert_eq!(log.bytes, 3_000_004);
    let kept = std::fs::read_to_string(&log.path).expect("the log");
    assert!(kept.len() < 10_100 && kept.ends_with("y\nend\n") && kept.contains("[… 2990004 bytes left out …]"));
}

#[tokio::test]
async fn a_core_file_is_never_written_and_stdin_is_a_file() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("in"), "from stdin").expect("written");
    let mut with_input = spec(dir.path(), "cat; ulimit -c");
    with_input.stdin = Some(dir.path().join("in"));
    let outcome = run(&shim(), with_input, &CancellationToken::new()).await.expect("runs");
    assert_eq!(outcome.log.tail, "from stdin0\n");
}

/// The cost of the shim: run with `--run-ignored only --no-capture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_the_shim() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut times = Vec::new();
    for _ in 0..51 {
        let started = std::time::Instant::now();
        let outcome = run(&shim(), spec(dir.path(), "exit 0"), &CancellationToken::new()).await.expect("runs");
        assert!(outcome.succeeded());
        times.push(started.elapsed());
    }
    times.sort();
    println!("a shell through the shim: median {:?}, best {:?}", times[25], times[0]);
}
