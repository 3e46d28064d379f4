//! `scripted-model --script F [--port N] [--port-file F] [--log F] [--cwd D]`: a model on
//! 127.0.0.1 that answers from a script, until it is ended. It says its address on stdout.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use longhaul_tests::model::{Script, ScriptedModel};

#[derive(Default)]
struct Options {
    script: PathBuf,
    port: u16,
    port_file: Option<PathBuf>,
    log: Option<PathBuf>,
    cwd: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = options(std::env::args().skip(1))?;
    let text = std::fs::read_to_string(&options.script)
        .with_context(|| format!("cannot read {}", options.script.display()))?;
    let script = Script::within(&text, &options.cwd).with_context(|| options.script.display().to_string())?;
    let model = ScriptedModel::start_at(script, options.port).await?;
    if let Some(file) = &options.port_file {
        // Whoever waits for the file reads a whole number.
        let made = file.with_extension("new");
        std::fs::write(&made, model.port().to_string())?;
        std::fs::rename(made, file)?;
    }
    println!("{}", model.url());
    std::io::stdout().flush()?;
    let mut log = options.log.map(|log| std::fs::File::options().create(true).append(true).open(log)).transpose()?;
    for written in 0.. {
        model.wait_for_count(written + 1).await;
        if let (Some(log), Some(request)) = (&mut log, model.requests().get(written)) {
            writeln!(log, "{}", serde_json::to_string(request)?)?;
        }
    }
    Ok(())
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options::default();
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--script" => options.script = value.into(),
            "--port" => options.port = value.parse().context("--port is a number")?,
            "--port-file" => options.port_file = Some(value.into()),
            "--log" => options.log = Some(value.into()),
            "--cwd" => options.cwd = value.into(),
            _ => bail!("unknown option {name}; known: --script --port --port-file --log --cwd"),
        }
    }
    if options.script.as_os_str().is_empty() {
        bail!("--script is missing");
    }
    Ok(options)
}
