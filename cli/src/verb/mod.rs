//! The verbs, a file each (small ones of a kind share one).

mod completions;
mod config;
mod control;
mod diff;
mod doctor;
mod fleet;
mod init;
mod inspect;
mod list;
mod logs;
mod plan;
mod report;
mod run;
mod serve;
mod talk;
mod token;
mod verify;
mod watch;
mod worker;

use crate::args::{Cli, Verb};
use crate::context::Context;
use crate::exit::Exit;

/// Carries out the verb.
pub async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let context = Context::new(&cli.global)?;
    match cli.verb {
        Verb::Init(args) => init::init(&args),
        Verb::Plan(args) => plan::plan(&context, &args).await,
        Verb::Run(args) => run::run(&context, &args).await,
        Verb::Resume(args) => Box::pin(run::resume(&context, &args)).await,
        Verb::List(args) => list::list(&context, &args).await,
        Verb::Status(args) => inspect::status(&context, &args).await,
        Verb::Show(args) => inspect::show(&context, &args).await,
        Verb::Explain(args) => inspect::explain(&context, &args).await,
        Verb::Watch(args) => watch::watch(&context, &args).await,
        Verb::Diff(args) => diff::diff(&context, &args).await,
        Verb::Logs(args) => logs::logs(&context, &args).await,
        Verb::Approve(args) => control::approve(&context, args).await,
        Verb::Reject(args) => control::reject(&context, args).await,
        Verb::Pause(args) => control::pause(&context, args).await,
        Verb::Cancel(args) => control::cancel(&context, args).await,
        Verb::Retry(args) => control::retry(&context, args).await,
        Verb::Revert(args) => control::revert(&context, args).await,
        Verb::Report(args) => report::report(&context, &args).await,
        Verb::Verify(args) => verify::verify(&context, &args).await,
        Verb::Export(args) => verify::export(&context, &args).await,
        Verb::Attach(args) => talk::attach(&context, &args).await,
        Verb::Answer(args) => control::answer(&context, args).await,
        Verb::Steer(args) => talk::steer(&context, args).await,
        Verb::Workers => fleet::workers(&context).await,
        Verb::Drain(args) => fleet::drain(&context, args).await,
        Verb::Release(args) => fleet::release(&context, args).await,
        Verb::Serve(args) => serve::serve(&context, args).await,
        Verb::Worker(args) => worker::worker(&context, args).await,
        Verb::Token(args) => token::token(&context, &args),
        Verb::Config(args) => config::config(&context, &args),
        Verb::Schema => plan::schema(),
        Verb::Doctor => doctor::doctor(&context).await,
        Verb::Completions(args) => completions::completions(&args),
        Verb::Shim => unreachable!("the shim is started before the command line is read"),
    }
}
