//! The tools of one attempt: a call in, what came of it out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use longhaul_common::command::{CommandPolicy, Decision as Judged, Verdict};
use longhaul_common::question::{QUESTION_BYTES_MAX, decided, settled};
use longhaul_proto::{Decision, Question, QuestionKind, Work};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::history::{Call, Input, Part};
use super::super::patch::Change;
use super::super::profile::Does;
use super::Servers;
use super::exec::{Command, Runs, State};
use super::outcome::{Edited, Outcome, Wanted, reported};
use super::output::{Outputs, bytes_max, bytes_of_tokens};
use super::place::Place;
use super::{editor, files, image, patch, plan, search};
use crate::agent::split;
use crate::execution::Execution;
use crate::process::ProcessEnd;

/// Wall time of a command that is waited for.
const COMMAND_MAX: Duration = Duration::from_secs(600);

/// How long a command is waited for before it goes on in the background, unless said otherwise.
const YIELD_DEFAULT: Duration = Duration::from_secs(10);

/// And at the longest.
const YIELD_MAX: Duration = Duration::from_secs(300);

/// Runs a command and notes the folder it went to: the command, the folder, the file for the note.
const STAYING: &str = r#"cd -- "$2" 2>/dev/null; eval "$1"; code=$?; pwd > "$3"; exit $code"#;

/// The tools of one attempt.
pub struct Toolbox {
    place: Place,
    outputs: Outputs,
    /// What the model gets of one output, in bytes.
    bytes_max: usize,
    runs: Runs,
    servers: Servers,
    ripgrep: bool,
    /// Where `bash` is.
    folder: PathBuf,
    /// Which commands may run, where the job says.
    rules: Option<CommandPolicy>,
    /// What people decided.
    decisions: Vec<Decision>,
    /// Into how many parts the subtask may be split.
    split_max: u32,
}

#[derive(Deserialize)]
struct AskArgs {
    question: String,
}

#[derive(Deserialize)]
struct ExecArgs {
    cmd: String,
    workdir: Option<String>,
    #[serde(default)]
    tty: bool,
    yield_time_ms: Option<f64>,
    max_output_tokens: Option<f64>,
}

#[derive(Deserialize)]
struct WriteArgs {
    session_id: f64,
    #[serde(default)]
    chars: String,
    yield_time_ms: Option<f64>,
    max_output_tokens: Option<f64>,
}

#[derive(Deserialize)]
struct ShellArgs {
    command: Option<String>,
    #[serde(default)]
    restart: bool,
}

#[derive(Deserialize)]
struct PathArgs {
    path: String,
}

impl Toolbox {
    /// For an attempt, with the tools of these servers beside its own, and with what people decided for it; its
    /// model has a window of so many tokens.
    pub fn new(
        execution: &Arc<Execution>,
        servers: Servers,
        work: &Work,
        context_tokens: u64,
    ) -> std::io::Result<Self> {
        let decisions = work.decisions.as_slice();
        let (workspace, tmp) = (execution.slot.ws(), execution.slot.tmp());
        let place = Place::new(&workspace, &tmp)?;
        let outputs = Outputs::new(&tmp.join("tools"))?;
        let runs = Runs::new(Arc::clone(execution));
        let folder = place.root().to_owned();
        let rules = execution.assignment.policy.as_ref().map(|policy| policy.commands.as_slice()).unwrap_or_default();
        // What no rule is about is the sandbox's to hold.
        let rules = (!rules.is_empty()).then(|| CommandPolicy::new(rules, Judged::Allow).with_decisions(decisions));
        let (decisions, split_max) = (decisions.to_vec(), work.split_max);
        let ripgrep = search::is_installed();
        let bytes_max = bytes_max(context_tokens);
        Ok(Self { place, outputs, bytes_max, runs, servers, ripgrep, folder, rules, decisions, split_max })
    }

    /// What a person decided meanwhile holds from now on.
    pub fn learn(&mut self, decision: &Decision) {
        self.decisions.push(decision.clone());
        self.rules = self.rules.take().map(|rules| rules.with_decisions(std::slice::from_ref(decision)));
    }

    /// Ends the commands that still run.
    pub async fn close(&mut self) {
        self.runs.close().await;
    }

    /// Ends everything, servers included.
    pub async fn end(&mut self) {
        tokio::join!(self.runs.close(), self.servers.end());
    }

    /// Does what a call asks for.
    pub async fn call(&mut self, does: Does, call: &Call) -> Outcome {
        let done = match does {
            Does::Exec => self.exec(call).await,
            Does::WriteStdin => self.write_stdin(call).await,
            Does::Shell | Does::Bash => self.shell(does, call).await,
            Does::Search => self.search(call).await,
            Does::ApplyPatch => self.apply_patch(call),
            Does::UpdatePlan => args(call).and_then(|args| plan::noted(&args)),
            Does::TextEditor => self.text_editor(call),
            Does::Edit => self.edit(call),
            Does::ReadFile => args(call).and_then(|args| files::read(&self.place, &args)).map(|text| self.kept(text)),
            Does::ViewImage => self.view_image(call),
            Does::Mcp => self.served(call).await,
            Does::Ask => self.ask(call),
            Does::Split => self.split(call),
            // Both are the loop's own.
            Does::Delegate | Does::Finish => Ok(Outcome::default()),
        };
        done.unwrap_or_else(Outcome::error)
    }

    fn kept(&mut self, text: String) -> Outcome {
        let kept = self.outputs.keep(text, self.bytes_max);
        Outcome { file: kept.file, ..Outcome::said(kept.text) }
    }

    /// What stands in the place of a command that the job's rules do not let run: a question. One that is
    /// denied is an error.
    fn asked_first(&self, command: &str) -> Result<Option<Outcome>, String> {
        let Some(rules) = &self.rules else { return Ok(None) };
        let Verdict { decision, because, about } = rules.shell(command);
        match decision {
            Judged::Allow => Ok(None),
            Judged::Deny => Err(format!("not run: the job's rules deny it ({because})")),
            Judged::Ask if about.is_empty() || command.len() > QUESTION_BYTES_MAX => Err(format!(
                "not run: it needs a person's yes ({because}), and such a line is not asked for. Write plain, short \
                 commands"
            )),
            Judged::Ask => Ok(Some(Outcome::asks(question(QuestionKind::Command, about, command)))),
        }
    }

    /// Why a program may not be sent a text: some line of it is a command that may not be run either, whatever
    /// the program would do with it. Shells that read what they run are not started where there are rules.
    fn may_be_typed(&self, text: &str) -> Result<(), String> {
        let Some(rules) = &self.rules else { return Ok(()) };
        let refused = |line: &str| {
            let Verdict { decision, because, about } = rules.shell(line.trim());
            (decision == Judged::Deny || decision == Judged::Ask && !about.is_empty()).then_some(because)
        };
        match text.split(['\n', '\r']).find_map(refused) {
            Some(because) => Err(format!("not sent: the job's rules are about it ({because}). Run it as a command")),
            None => Ok(()),
        }
    }

    /// A question in words: the answer, where a person gave one.
    fn ask(&self, call: &Call) -> Result<Outcome, String> {
        let AskArgs { question: text } = args(call)?;
        if text.trim().is_empty() || text.len() > QUESTION_BYTES_MAX {
            return Err(format!("ask in full sentences, with at most {QUESTION_BYTES_MAX} bytes"));
        }
        let asked = question(QuestionKind::Words, Vec::new(), text.trim());
        Ok(match settled(&self.decisions, &asked) {
            Some(decision) => Outcome::said(decided(decision)),
            None => Outcome::asks(asked),
        })
    }

    /// The subtask is to be done in parts: the coordinator decides whether it may be.
    fn split(&self, call: &Call) -> Result<Outcome, String> {
        let parts = split::parse(call.input.object().to_string().as_bytes(), self.split_max)?;
        let words = "Your turn ends here: it is split, unless that cannot be, of which you are told.";
        Ok(Outcome { asks: Some(Wanted::Parts(parts)), ..Outcome::said(words) })
    }

    async fn exec(&mut self, call: &Call) -> Result<Outcome, String> {
        let args: ExecArgs = args(call)?;
        if let Some(question) = self.asked_first(&args.cmd)? {
            return Ok(question);
        }
        let folder = self.folder_of(args.workdir.as_deref())?;
        let command = Command {
            argv: ["sh", "-c", &args.cmd].map(Into::into).to_vec(),
            folder,
            writable: args.tty,
            file: self.outputs.next(),
            wait: wait(args.yield_time_ms),
            limit: None,
        };
        let ran = self.runs.start(command).await?;
        Ok(reported(&ran, self.bytes(args.max_output_tokens)))
    }

    /// What the model gets of an output, in bytes, where it asks for so many tokens.
    fn bytes(&self, tokens: Option<f64>) -> usize {
        bytes_of_tokens(tokens.map(|tokens| tokens as u64), self.bytes_max)
    }

    async fn write_stdin(&mut self, call: &Call) -> Result<Outcome, String> {
        let args: WriteArgs = args(call)?;
        self.may_be_typed(&args.chars)?;
        let ran = self.runs.look(args.session_id as u64, &args.chars, wait(args.yield_time_ms)).await?;
        Ok(Outcome { polled: true, ..reported(&ran, self.bytes(args.max_output_tokens)) })
    }

    async fn shell(&mut self, does: Does, call: &Call) -> Result<Outcome, String> {
        let args: ShellArgs = args(call)?;
        if args.restart {
            self.folder = self.place.root().to_owned();
        }
        let Some(command) = args.command.filter(|command| !command.trim().is_empty()) else {
            return if args.restart { Ok(Outcome::said("restarted")) } else { Err("no command".to_owned()) };
        };
        if let Some(question) = self.asked_first(&command)? {
            return Ok(question);
        }
        let (file, stays) = (self.outputs.next(), does == Does::Bash);
        let note = file.with_extension("pwd");
        let argv: Vec<std::ffi::OsString> = if stays {
            let script = ["bash", "-c", STAYING, "bash", &command].map(Into::into);
            script.into_iter().chain([self.folder.clone().into(), note.clone().into()]).collect()
        } else {
            ["sh", "-c", &command].map(Into::into).to_vec()
        };
        let folder = self.place.root().to_owned();
        let command = Command { argv, folder, writable: false, file, wait: COMMAND_MAX * 2, limit: Some(COMMAND_MAX) };
        let ran = self.runs.start(command).await?;
        if stays {
            let noted = self.outputs.read(&note).map(|path| path.trim_end().to_owned());
            let inside = noted.and_then(|path| self.place.to_read(&path).ok()).filter(|path| path.is_dir());
            self.folder = inside.unwrap_or_else(|| self.place.root().to_owned());
        }
        Ok(reported(&ran, self.bytes_max))
    }

    async fn search(&mut self, call: &Call) -> Result<Outcome, String> {
        let args: search::Search = args(call)?;
        if self.ripgrep {
            let command = Command {
                argv: search::argv(&self.place, &args)?,
                folder: self.place.root().to_owned(),
                writable: false,
                file: self.outputs.next(),
                wait: COMMAND_MAX * 2,
                limit: Some(COMMAND_MAX),
            };
            let ran = self.runs.start(command).await?;
            if ran.state == State::Ended(ProcessEnd::Exited(1)) && ran.output.is_empty() {
                return Ok(Outcome::said("nothing found"));
            }
            return Ok(reported(&ran, self.bytes_max));
        }
        let place = self.place.clone();
        let found = tokio::task::spawn_blocking(move || search::search(&place, &args)).await;
        Ok(self.kept(found.map_err(|error| error.to_string())??))
    }

    fn apply_patch(&mut self, call: &Call) -> Result<Outcome, String> {
        let object;
        let text = match &call.input {
            Input::Free(text) => text.as_str(),
            Input::Json(_) => {
                object = call.input.object();
                let text = ["input", "patch"].iter().find_map(|key| object[*key].as_str());
                text.ok_or("the patch belongs into `input`")?
            }
        };
        let before = |path: &str| self.place.text(path).ok().flatten();
        let with_text = |path: String| {
            let old = before(&path);
            (path, old)
        };
        let paths: Vec<(String, Option<String>)> = patched_paths(text).into_iter().map(with_text).collect();
        let changes = patch::apply(&self.place, text)?;
        let old = |path: &str| paths.iter().find(|(other, _)| other == path).and_then(|(_, text)| text.as_deref());
        let edits = changes.iter().map(|change| match change {
            Change::Write { path, content, .. } => edit_of(path, old(path), Some(content)),
            Change::Delete { path } => edit_of(path, old(path), None),
        });
        Ok(Outcome { edits: edits.collect(), ..Outcome::said(patch::summary(&changes)) })
    }

    fn text_editor(&mut self, call: &Call) -> Result<Outcome, String> {
        let args: editor::Args = args(call)?;
        match editor::wanted(&self.place, &args)? {
            editor::Wanted::Shown(text) => Ok(self.kept(text)),
            editor::Wanted::Written(text) => self.write(&args.path, &text),
        }
    }

    fn edit(&mut self, call: &Call) -> Result<Outcome, String> {
        let args: files::Edit = args(call)?;
        let text = files::edited(&self.place, &args)?;
        self.write(&args.path, &text)
    }

    fn write(&mut self, path: &str, text: &str) -> Result<Outcome, String> {
        let old = self.place.text(path)?;
        self.place.write(path, text)?;
        let edits = vec![edit_of(path, old.as_deref(), Some(text))];
        let said = if old.is_some() { format!("{path} is changed") } else { format!("{path} is made") };
        Ok(Outcome { edits, ..Outcome::said(said) })
    }

    fn view_image(&mut self, call: &Call) -> Result<Outcome, String> {
        let args: PathArgs = args(call)?;
        let bytes = self.place.read(&args.path)?.ok_or_else(|| format!("{}: no such file", args.path))?;
        let image = image::image(&args.path, &bytes)?;
        let words = Part::text(format!("{}, {} x {} pixels:", args.path, image.width, image.height));
        Ok(Outcome { parts: vec![words, Part::Image(image)], ..Outcome::default() })
    }

    /// The rules for commands say nothing of what servers do: the sandbox they run in does.
    async fn served(&mut self, call: &Call) -> Result<Outcome, String> {
        let answer = self.servers.call(&call.name, args(call)?).await?;
        let kept = self.kept(answer.text);
        let parts = kept.parts.into_iter().chain(answer.images.into_iter().map(Part::Image));
        Ok(Outcome { parts: parts.collect(), failed: answer.failed, wrong: answer.failed, ..kept })
    }

    fn folder_of(&self, workdir: Option<&str>) -> Result<PathBuf, String> {
        let Some(path) = workdir.filter(|path| !path.is_empty()) else { return Ok(self.place.root().to_owned()) };
        let folder = self.place.to_read(path)?;
        if folder.is_dir() { Ok(folder) } else { Err(format!("{path}: no such folder")) }
    }
}

fn question(kind: QuestionKind, prefix: Vec<String>, text: &str) -> Question {
    Question { kind: kind.into(), prefix, text: text.to_owned(), agent: String::new() }
}

/// The paths a patch names; what is no patch is refused when it is applied.
fn patched_paths(text: &str) -> Vec<String> {
    use super::super::patch::Hunk;
    let path = |hunk: Hunk| match hunk {
        Hunk::Add { path, .. } | Hunk::Delete { path } | Hunk::Update { path, to: None, .. } => vec![path],
        Hunk::Update { path, to: Some(to), .. } => vec![path, to],
    };
    super::super::patch::parse(text).unwrap_or_default().into_iter().flat_map(path).collect()
}

fn edit_of(path: &str, before: Option<&str>, after: Option<&str>) -> Edited {
    let hash = |text: Option<&str>| *blake3::hash(text.unwrap_or("\0gone").as_bytes()).as_bytes();
    Edited { path: path.to_owned(), before: hash(before), after: hash(after) }
}

/// The arguments of a call, or what is wrong with them, in words a model can act on.
fn args<T: DeserializeOwned>(call: &Call) -> Result<T, String> {
    let text = call.input.text();
    let value: serde_json::Value = if text.trim().is_empty() {
        serde_json::json!({})
    } else {
        serde_json::from_str(text).map_err(|error| format!("the arguments are not JSON ({error}); call it again"))?
    };
    serde_json::from_value(value).map_err(|error| format!("wrong arguments: {error}"))
}

fn wait(ms: Option<f64>) -> Duration {
    let asked = ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1_000.0).ok());
    asked.unwrap_or(YIELD_DEFAULT).min(YIELD_MAX)
}
