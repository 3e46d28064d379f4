//! Our own loop around a model: look, plan, edit, run the checks, and again until they pass or a
//! limit ends it.
//!
//! The conversation is independent of the wire it goes over and is only appended to; tools are data
//! of the model's family; the window is kept below its limit for as long as it takes. What the loop
//! cannot know is whether the work is right: that is for the checks, and the gate after them.

mod client;
mod conversation;
mod history;
mod patch;
mod profile;
pub(crate) mod prompt;
mod reach;
mod session_file;
mod subagent;
mod summary;
mod tool;
mod turns;
mod window;
mod wire;

pub use client::{Client, Endpoint, OnDelta, Patience};
pub use conversation::{Conversation, Setup};
pub use history::{Call, CallResult, Entry, History, Image, Input, Item, Part};
pub use profile::{Does, Profile, names};
pub use subagent::Crew;
pub use summary::{Facts, Summary};
pub use tool::{Edited, Outcome, Wanted};
pub use turns::{Ending, Hands, Limits, Note, Turns};
pub use wire::{
    Answer, Api, CallError, Choice, Delta, Remedy, Request, Settings, Stop, Thinking, Tokens, ToolSpec, ToolSyntax,
    Traits,
};

pub(crate) use prompt::Manner;
pub(crate) use reach::Reach;
pub(crate) use session_file::SessionFile;
pub(crate) use tool::{Servers, Toolbox};
