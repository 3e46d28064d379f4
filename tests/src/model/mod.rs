//! A model server that answers from a script, over real HTTP on loopback.
//!
//! It speaks OpenAI Responses, Chat Completions, Anthropic Messages and Gemini, streaming and not.
//! The answer is chosen from the request alone: the turn is the number of prompts in it, the step
//! the number of tool rounds since the last. So an agent that was killed, resumed or forked gets
//! the right answer, and the server keeps nothing but its record. Every step can also fail: see
//! [`Step`]. Limits: it counts tokens with o200k whatever the model, and its images are not seen.

mod answer;
mod body;
mod chat;
mod gemini;
mod messages;
mod outside;
mod place;
mod record;
mod responses;
mod script;
mod server;
mod side;

pub use outside::ModelProcess;
pub use place::Format;
pub use record::{Cache, Recorded, common_prefix};
pub use script::{Call, Script, Sides, Step, Usage};
pub use server::ScriptedModel;
