//! Routes that nobody has to log in for: what claims to be somebody's identity is gone on them, too, whatever its spelling.

use anyhow::Result;

use super::rows::{DASHBOARD, Gate, Rows};

/// What upstreams of the platform and of other login services take for an identity.
const NAMES: [&str; 12] = [
    "kubeflow-userid",
    "kubeflow-groups",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-remote-user",
    "remote-user",
    "remote-groups",
    "x-sidegate-identity",
];

impl Rows {
    pub(super) fn exempt(&mut self) -> Result<()> {
        for name in NAMES {
            for spelling in spellings(name) {
                let header = format!("{spelling}: victim@example.com");
                let forged = ["-H", &header];
                for path in ["/dex/auth?client_id=victimless", "/dex/keys"] {
                    self.mesh.peers.arrived_elsewhere();
                    let seen = self.ask(Gate::External, DASHBOARD, path, &forged)?;
                    let there = self.mesh.peers.arrived_elsewhere();
                    let wrong = match there.as_slice() {
                        [got] if got.target != path => Some("it arrives as another".to_owned()),
                        [got] => forged_in(&got.headers),
                        got => Some(format!("the provider gets {got:?}")),
                    };
                    let status = seen.answer.status;
                    self.count(wrong.map(|what| format!("{header} at {path}: {status}: {what}")));
                }
                if self.mesh.has_open_assets() {
                    let what = format!("{header} at assets");
                    let path = "/assets/app.js";
                    let seen = self.through(&what, Gate::External, DASHBOARD, path, &forged)?;
                    let headers = seen.arrived.iter().flat_map(|got| &got.headers);
                    let forged: Vec<_> = headers.cloned().collect();
                    self.expect(&what, forged_in(&forged).is_none(), &seen);
                }
            }
        }
        Ok(())
    }
}

fn forged_in(headers: &[(String, String)]) -> Option<String> {
    let forged = headers.iter().find(|(_, value)| value.contains("victim@"));
    forged.map(|(name, value)| format!("`{name}: {value}` arrives"))
}

/// As it is written, in capitals, as a title, with underscores for some or all dashes.
fn spellings(name: &str) -> Vec<String> {
    let titled: Vec<String> = name
        .split('-')
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        })
        .collect();
    let mut all = vec![
        name.to_owned(),
        name.to_ascii_uppercase(),
        titled.join("-"),
        name.replace('-', "_"),
        titled.join("_"),
        name.replacen('-', "_", 1),
    ];
    if let Some((start, end)) = name.rsplit_once('-') {
        all.push(format!("{start}_{end}"));
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_spellings() {
        let all = spellings("x-remote-user");
        for expected in [
            "x_remote-user",
            "x-remote_user",
            "X_Remote_User",
            "X-REMOTE-USER",
        ] {
            assert!(all.iter().any(|known| known == expected), "{all:?}");
        }
        assert!(spellings("remote-user").len() >= 5);
    }
}
