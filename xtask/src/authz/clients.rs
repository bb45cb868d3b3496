//! The table of clients, asked through Envoy.

use anyhow::Result;
use testkit::clients::{self, ROUTES, Token};

use super::rows::{Gate, Rows};

impl Rows {
    /// Each client on each kind of route.
    pub(super) fn clients(&mut self) -> Result<()> {
        let theirs = format!("Bearer {}", self.mesh.token("shop")?);
        for client in clients::clients()? {
            for route in &ROUTES {
                let authorization = match route.token {
                    Token::Own => None,
                    Token::Wrong => Some("Bearer a.b.c"),
                    Token::OfAnother => Some(&*theirs),
                };
                let gate = match route.inside {
                    true => Gate::Local,
                    false => Gate::External,
                };
                let args = client.curl(authorization);
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                let seen = self.ask(gate, route.host, &client.target(route), &args)?;
                let wrong = client.differs(route, &seen.answer, seen.arrived.is_some());
                self.count(wrong);
            }
        }
        Ok(())
    }
}
