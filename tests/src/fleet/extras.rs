//! What the processes of a fleet are given beside what every fleet has.

use std::collections::BTreeMap;

use super::Guard;

/// Certificates and tokens, arguments and variables.
#[derive(Default)]
pub struct Extras {
    /// TLS, tokens and users on every link; `None` for an open fleet on loopback.
    pub guard: Option<Guard>,
    /// Further arguments of a member, by its name.
    pub arguments: BTreeMap<String, Vec<String>>,
    /// Further variables of a member, by its name.
    pub env: BTreeMap<String, Vec<(String, String)>>,
}

impl Extras {
    /// A guarded fleet.
    pub fn guarded(guard: Guard) -> Self {
        Self { guard: Some(guard), ..Self::default() }
    }

    /// With further arguments of one member.
    #[must_use]
    pub fn with(mut self, member: &str, arguments: &[&str]) -> Self {
        let further = arguments.iter().map(|&argument| argument.to_owned());
        self.arguments.entry(member.to_owned()).or_default().extend(further);
        self
    }

    pub(super) fn arguments_of(&self, member: &str) -> Vec<String> {
        let mut all = self.guard.as_ref().map(|guard| guard.arguments_of(member)).unwrap_or_default();
        all.extend(self.arguments.get(member).cloned().unwrap_or_default());
        all
    }

    pub(super) fn env_of(&self, member: &str) -> Vec<(String, String)> {
        self.env.get(member).cloned().unwrap_or_default()
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.guard.is_some() { "https" } else { "http" }
    }

    pub(super) fn nats_url(&self, plain: String) -> String {
        if self.guard.is_some() { plain.replacen("nats://", "tls://", 1) } else { plain }
    }
}
