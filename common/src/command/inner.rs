//! Commands within commands: what programs start others, what shells read, and from where.

/// Programs whose arguments hold another command.
pub(super) const STARTERS: &[&str] = &[
    "busybox", "chroot", "command", "doas", "env", "exec", "find", "flock", "ionice", "nice", "nohup", "nsenter",
    "parallel", "script", "setsid", "stdbuf", "su", "sudo", "time", "timeout", "unshare", "watch", "xargs",
];

/// Programs that read a shell line after `-c`.
const SHELLS: &[&str] = &["ash", "bash", "dash", "ksh", "sh", "zsh"];

/// Programs that read a shell line, or words like one, from a word of theirs.
const LINE_READERS: &[&str] = &["env", "flock", "parallel", "script", "su", "watch"];

/// The name of a program without its folder.
pub(super) fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// The same of a command.
pub(super) fn program_of(argv: &[String]) -> &str {
    argv.first().map_or("", |word| program(word))
}

/// The line a shell is given: the word after the options that hold a `c`.
pub(super) fn line_of_shell<'a>(program: &str, argv: &'a [String]) -> Option<&'a str> {
    if !SHELLS.contains(&program) {
        return None;
    }
    let is_command = |word: &String| word.starts_with('-') && !word.starts_with("--") && word.contains('c');
    let mut words = argv.iter().skip(1).skip_while(|word| !is_command(word));
    let mut option = words.next()?;
    loop {
        // `-co errexit 'line'`
        if takes_value(option) {
            words.next();
        }
        match words.next()? {
            end if end == "--" || end == "-" => return words.next().map(String::as_str),
            word if word.starts_with(['-', '+']) => option = word,
            line => return Some(line),
        }
    }
}

/// Whether a cluster of a shell's options has the name of another behind it: `-euo pipefail`.
fn takes_value(option: &str) -> bool {
    !option.starts_with("--") && option.ends_with(['o', 'O'])
}

/// The line that a word gives to a program that reads one, where it is more than a word.
pub(super) fn line_of_reader<'a>(program: &str, word: &'a str) -> Option<&'a str> {
    let line = ["--split-string=", "--command=", "-S", "-c"].iter().find_map(|option| word.strip_prefix(option));
    let line = line.unwrap_or(word);
    // `NAME=some words` is a variable.
    let is_variable = line
        .split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
    (LINE_READERS.contains(&program) && line.contains(char::is_whitespace) && !is_variable).then_some(line)
}

/// Whether a shell is started that reads what it runs: no script, and no line behind `-c`.
pub(super) fn reads_commands(argv: &[String]) -> bool {
    let at = |at: usize| is_bare_shell(&argv[at..]);
    match program_of(argv) {
        // They name programs and start none of them.
        "command" if argv.get(1).is_some_and(|word| matches!(word.as_str(), "-v" | "-V")) => false,
        "find" => {
            let starts = |word: &String| matches!(word.as_str(), "-exec" | "-execdir" | "-ok" | "-okdir");
            argv.iter().position(starts).is_some_and(|starts| is_bare_shell(&argv[starts + 1..]))
        }
        name if STARTERS.contains(&name) => (1..argv.len()).any(at),
        _ => is_bare_shell(argv),
    }
}

fn is_bare_shell(argv: &[String]) -> bool {
    if !SHELLS.contains(&program_of(argv)) || line_of_shell(program_of(argv), argv).is_some() {
        return false;
    }
    let mut words = argv.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--version" | "--help" => return false,
            "-" | "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0" => return true,
            "--rcfile" | "--init-file" => drop(words.next()),
            // `-euo pipefail`
            option if option.starts_with(['-', '+']) => {
                if option.starts_with('-') && !option.starts_with("--") && option.contains('s') {
                    return true;
                }
                if takes_value(option) {
                    words.next();
                }
            }
            _ => return false,
        }
    }
    true
}
