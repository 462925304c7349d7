//! The process: what systemd and signals see of it.

use super::*;

/// The process of the tests below: serves with what this file's house understands, in the folder that it is given.
#[test]
#[ignore = "a process of its own, started by other tests"]
fn serving_process() {
    let Some(folder) = std::env::var_os("LAMPONE_TEST_SERVE").map(PathBuf::from) else { return };
    let again = config(&folder);
    let house = Obedient::new(channel().0, channel().1);
    system::serve(config(&folder), Box::new(move || Ok(again.clone())), Box::new(|_, _| Box::new(house)))
        .expect("quiet");
}

/// Starts it, with at most so many open files, and gives its addresses.
fn process(
    folder: &Path,
    files_max: u32,
    environment: &[(&str, &str)],
) -> (std::process::Child, SocketAddr, SocketAddr) {
    let mut child = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!(
            "ulimit -Sn 20 && ulimit -Hn {files_max} && exec \"$0\" --ignored --exact process::serving_process --nocapture"
        ))
        .arg(std::env::current_exe().expect("name"))
        .env("LAMPONE_TEST_SERVE", folder)
        .env_remove("JOURNAL_STREAM")
        .envs(environment.iter().copied())
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("server");
    let mut lines = io::BufReader::new(child.stderr.take().expect("stderr"));
    let (clear, direct) = loop {
        let text = line(&mut lines);
        if let Some((_, addresses)) = text.trim().split_once("serving one.example on ") {
            let (clear, direct) = addresses.split_once(" and ").expect("two addresses");
            break (clear.parse().expect("address"), direct.parse().expect("address"));
        }
    };
    // What follows is read to the end, so that the process never waits for us.
    std::thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
    (child, clear, direct)
}

fn signal(child: &std::process::Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("signal");
}

#[test]
fn the_process_tells_systemd_and_heeds_signals() {
    let folder = folder("process");
    let notices = std::os::unix::net::UnixDatagram::bind(folder.join("notify")).expect("socket");
    notices.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    let wait_for = |wanted: &str| {
        let mut buffer = [0; 512];
        loop {
            let length = notices.recv(&mut buffer).unwrap_or_else(|e| panic!("no {wanted}: {e}"));
            if String::from_utf8_lossy(&buffer[..length]).contains(wanted) {
                break;
            }
        }
    };
    let path = folder.join("notify");
    let environment = [("NOTIFY_SOCKET", path.to_str().expect("text")), ("WATCHDOG_USEC", "200000")];
    let (mut child, address, _) = process(&folder, 200, &environment);
    wait_for("READY=1");
    wait_for("WATCHDOG=1");
    wait_for("WATCHDOG=1");
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).expect("limits");
    let files = limits.lines().find(|l| l.starts_with("Max open files")).expect("a line");
    assert_eq!(files.split_whitespace().filter(|word| *word == "200").count(), 2, "soft is raised to hard: {files}");

    let mut client = TcpStream::connect(address).expect("connect");
    echoes(&mut client, "before");
    signal(&child, rustix::process::Signal::HUP);
    wait_for("RELOADING=1");
    wait_for("READY=1");
    echoes(&mut client, "after");
    signal(&child, rustix::process::Signal::TERM);
    wait_for("STOPPING=1");
    let mut last = String::new();
    client.read_to_string(&mut last).expect("a clean end");
    assert_eq!(last, "bye\n");
    drop(client);
    assert!(child.wait().expect("end").success());
    assert!(!folder.join("admin.sock").exists());
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn accepting_survives_a_lack_of_files() {
    let folder = folder("files");
    let (mut child, address, _) = process(&folder, 40, &[]);
    // The kernel takes them all; the process can accept some.
    let mut clients: Vec<_> = (0..40).map(|_| TcpStream::connect(address).expect("connect")).collect();
    echoes(&mut clients[0], "in");
    let mut late = clients.split_off(30);
    drop(clients);
    for client in &mut late {
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        echoes(client, "in at last");
    }
    signal(&child, rustix::process::Signal::INT);
    assert!(child.wait().expect("end").success());
    let _ = fs::remove_dir_all(folder);
}
