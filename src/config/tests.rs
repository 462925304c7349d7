//! Settings, good and bad.

use super::*;

fn read(text: &str, sets: &[&str]) -> Result<Config, Vec<String>> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Config::read(Some(("lampone.toml", text)), &sets, Config::default())
}

fn fault(text: &str) -> String {
    read(text, &[]).unwrap_err().join(" | ")
}

#[test]
fn a_file_says_what_differs() {
    let config = read(
        "domain = ['Home.Example', 'club.example']\nadmins = 'anna@home.example'\nlog = 'debug'\n\
         [listen]\nc2s = ':5222'\nc2s_tls = ['127.0.0.1:5223', '[::1]:5223']\n\
         [limits]\nstanza_bytes = '512 KiB'\n[retention]\nresume = '2h'\n[registration]\npolicy = 'closed'\n\
         [contact]\nabuse = ['mailto:abuse@home.example']\n\
         [certificates.'club.example']\ncertificate = 'a.crt'\nkey = 'a.key'\n",
        &["listen.c2s=none", "domain=home.example,club.example", "tls.certificate=x", "tls.key=y"],
    )
    .unwrap();
    assert_eq!(config.domains, ["home.example", "club.example"]);
    assert_eq!(config.admins, ["anna@home.example"]);
    assert_eq!((config.listen.c2s.len(), config.listen.c2s_tls.len()), (0, 2));
    assert_eq!(config.limits.stanza_bytes, 512 * 1024);
    assert_eq!(config.retention.resume_s, 7_200);
    assert_eq!(config.registration, Registration::Closed);
    assert_eq!(config.certificates["club.example"].key, PathBuf::from("a.key"));
    assert_eq!(config.tls.unwrap().key, PathBuf::from("y"));
    assert_eq!(config.contact["abuse-addresses"], ["mailto:abuse@home.example"]);
}

#[test]
fn every_mistake_is_one_line_that_helps() {
    for (text, want) in [
        ("domian = 'x'", "lampone.toml:1: there is no key domian; did you mean domain?"),
        (
            "\nlog = 'loud'",
            "lampone.toml:2: log is \"loud\"; \"error\", \"warn\", \"info\", \"debug\" or \"trace\" would do",
        ),
        ("[listen]\nc2s = 'x'", "lampone.toml:2: listen.c2s is \"x\";"),
        ("[listen]\nc2s = 70000", "listen.c2s is 70000;"),
        ("[limits]\nstanza_bytes = 12", "limits.stanza_bytes is 12; 10000 to 16777216"),
        ("domain = ''", "domain is \"\";"),
        ("domain = true", "domain is a boolean;"),
        ("admins = 'anna'", "admins is \"anna\"; addresses such as"),
        ("admins = 'anna@elsewhere.example'", "whose domain is not served here"),
        ("[tls]\ncertificate = 'x'", "tls.key is missing"),
        ("[registration]\npolicy = 'open'", "\"closed\" or \"invited\" would do"),
        ("[contact]\nabuse = 'anna'", "a URI such as"),
        ("[listen]\nc2s = ':5223'", "5223 stands there twice"),
        ("x = = 1", "lampone.toml:1: "),
    ] {
        let got = fault(text);
        assert!(got.contains(want), "{text:?}: {got:?} lacks {want:?}");
        assert!(!got.contains('\n'), "one line: {got:?}");
    }
    let both = read("a = 1\nb = 2", &["c", "d=1"]).unwrap_err();
    assert_eq!(both.len(), 4, "{both:?}");
}

#[test]
fn the_readme_lists_every_key() {
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&reference()), "the README's table should be:\n{}", reference());
}

#[test]
fn the_example_file_parses_as_it_is_and_with_everything_on() {
    let example = include_str!("../../systemd/lampone.toml");
    read(example, &[]).unwrap();
    let all: String =
        example.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).map(|l| format!("{l}\n")).collect();
    let config = read(&all, &[]).unwrap();
    for key in KEYS.iter().filter(|key| !key.name.starts_with("contact.")) {
        let last = key.name.rsplit('.').next().unwrap_or_default();
        assert!(all.contains(&format!("{last} =")), "the example shows {}", key.name);
    }
    assert!(!config.domains.is_empty());
}
