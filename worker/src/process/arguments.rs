//! From a command as the user wrote it to an argv: placeholders and the shell.

use std::ffi::OsString;

use longhaul_proto::CommandLine;

/// The values of the placeholders of one command.
#[derive(Clone, Debug, Default)]
pub struct Placeholders {
    /// `{name}` for one value.
    pub single: Vec<(&'static str, String)>,
    /// `{name}` for a list: one element each in an argv, quoted words in a shell line.
    pub lists: Vec<(&'static str, Vec<String>)>,
}

impl Placeholders {
    /// With one more single value.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.single.push((name, value.into()));
        self
    }

    /// With one more list.
    pub fn with_list(mut self, name: &'static str, values: Vec<String>) -> Self {
        self.lists.push((name, values));
        self
    }

    fn list(&self, token: &str) -> Option<&Vec<String>> {
        let name = token.strip_prefix('{')?.strip_suffix('}')?;
        self.lists.iter().find(|(known, _)| *known == name).map(|(_, values)| values)
    }

    /// Replaces every known placeholder in one pass, so that a value never is a template itself.
    fn expand(&self, text: &str, quote: impl Fn(&str) -> String) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            out.push_str(&rest[..open]);
            rest = &rest[open..];
            let value = rest.find('}').and_then(|close| Some((close, self.value(&rest[1..close], &quote)?)));
            match value {
                Some((close, value)) => {
                    out.push_str(&value);
                    rest = &rest[close + 1..];
                }
                None => {
                    out.push('{');
                    rest = &rest[1..];
                }
            }
        }
        out.push_str(rest);
        out
    }

    fn value(&self, name: &str, quote: &impl Fn(&str) -> String) -> Option<String> {
        if let Some((_, value)) = self.single.iter().find(|(known, _)| *known == name) {
            return Some(quote(value));
        }
        let (_, values) = self.lists.iter().find(|(known, _)| *known == name)?;
        Some(values.iter().map(|value| quote(value)).collect::<Vec<_>>().join(" "))
    }
}

/// Whether nothing is to be run.
pub fn is_empty(command: &CommandLine) -> bool {
    command.argv.is_empty() && command.shell.trim().is_empty()
}

/// The argv of a command, `None` when it is empty. Unknown placeholders stay as they are: braces
/// are ordinary in shell and awk.
pub fn argv_of(command: &CommandLine, values: &Placeholders) -> Option<Vec<OsString>> {
    if is_empty(command) {
        return None;
    }
    if command.argv.is_empty() {
        let line = values.expand(&command.shell, |value| shell_words::quote(value).into_owned());
        return Some(["sh", "-c", &line].map(OsString::from).to_vec());
    }
    let mut argv = Vec::with_capacity(command.argv.len());
    for token in &command.argv {
        match values.list(token) {
            Some(list) => argv.extend(list.iter().map(OsString::from)),
            None => argv.push(values.expand(token, str::to_owned).into()),
        }
    }
    Some(argv)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Placeholders {
        Placeholders::default()
            .with("job_dir", "/j {files}")
            .with_list("files", vec!["a b.rs".into(), "$(rm).rs".into()])
    }

    #[test]
    fn an_argv_gets_one_element_per_file() {
        let command = CommandLine {
            argv: ["{job_dir}/x", "{files}", "-n={files}", "{other}"].map(String::from).to_vec(),
            ..Default::default()
        };
        let argv = argv_of(&command, &values()).expect("not empty");
        assert_eq!(argv, ["/j {files}/x", "a b.rs", "$(rm).rs", "-n=a b.rs $(rm).rs", "{other}"]);
    }

    #[test]
    fn a_shell_line_gets_quoted_words() {
        let command = CommandLine { shell: "f() { cat; }; f {files} {job_dir}".into(), ..Default::default() };
        let argv = argv_of(&command, &values()).expect("not empty");
        assert_eq!(argv[2], "f() { cat; }; f 'a b.rs' '$(rm).rs' '/j {files}'");
        assert!(argv_of(&CommandLine::default(), &values()).is_none());
    }
}
