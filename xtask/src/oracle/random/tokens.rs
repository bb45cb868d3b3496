//! RequestAuthentications, and tokens for them.

use serde_json::{Value, json};

use super::words::NAMESPACES;
use super::{Dice, Maker};
use crate::oracle::world::{Place, Token};

const ISSUERS: &[&str] = &["https://iss1", "https://iss2", "plain"];

impl Maker<'_> {
    pub(super) fn tokens(&mut self) {
        for number in 0..self.dice.below(3) {
            let rules: Vec<Value> = (0..self.dice.up_to(2)).map(|_| self.token_rule()).collect();
            let namespace = self.dice.pick(NAMESPACES);
            let metadata = self.metadata(&format!("ra{number}"), namespace);
            let mut spec = json!({"jwtRules": rules});
            if self.dice.percent(50) {
                spec["selector"] = json!({"matchLabels": {"istio": "ingressgateway"}});
            }
            self.objects.push(
                json!({"apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication",
                    "metadata": metadata, "spec": spec}),
            );
        }
    }

    fn token_rule(&mut self) -> Value {
        let key = self.dice.pick(&["k1", "k1", "k2"]);
        let mut rule = json!({"issuer": self.dice.pick(ISSUERS), "jwks": format!("JWKS:{key}")});
        if self.dice.percent(30) {
            rule["audiences"] = json!(self.dice.some(&["a1", "a2"], 2));
        }
        if self.dice.percent(25) {
            let name = self.dice.pick(&["x-token", "Authorization"]);
            let mut from = json!({"name": name});
            if self.dice.percent(60) {
                from["prefix"] = json!(self.dice.pick(&["Bearer ", "Token "]));
            }
            rule["fromHeaders"] = json!([from]);
        }
        if self.dice.percent(15) {
            rule["fromParams"] = json!([self.dice.pick(&["token", "access_token"])]);
        }
        if self.dice.percent(40) {
            rule["forwardOriginalToken"] = json!(true);
        }
        if self.dice.percent(15) {
            rule["outputPayloadToHeader"] = json!("x-payload");
        }
        if self.dice.percent(20) {
            let claim = self.dice.pick(&["sub", "groups", "nested.a", "admin"]);
            rule["outputClaimToHeaders"] = json!([{"header": "x-claim", "claim": claim}]);
        }
        rule
    }

    /// A condition on what a token says.
    pub(super) fn claim(&mut self) -> (String, Vec<String>) {
        match self.dice.below(5) {
            0 => (
                "request.auth.principal".into(),
                self.dice.some(
                    &["https://iss1/u1", "*", "https://iss1/*", "*/u1", "plain/u1"],
                    2,
                ),
            ),
            1 => (
                "request.auth.audiences".into(),
                self.dice.some(&["a1", "a2", "*"], 2),
            ),
            2 => (
                "request.auth.presenter".into(),
                self.dice.some(&["p1", "*"], 1),
            ),
            3 => (
                "request.auth.claims[nested][a]".into(),
                self.dice.some(&["x", "*"], 1),
            ),
            _ => (
                format!(
                    "request.auth.claims[{}]",
                    self.dice.pick(&["groups", "admin", "scope", "nested.a"])
                ),
                self.dice.some(&["g1", "g2", "*", "g*", "true", "read"], 2),
            ),
        }
    }
}

/// A token for one request in three.
pub(super) fn token(dice: &mut Dice) -> Option<Token> {
    if dice.percent(65) {
        return None;
    }
    let mut claims = json!({"iss": dice.pick(ISSUERS)});
    if dice.percent(90) {
        claims["sub"] = json!(dice.pick(&["u1", "u2", "", "a/b"]));
    }
    if dice.percent(60) {
        claims["aud"] = match dice.below(3) {
            0 => json!(["a1", "a3"]),
            _ => json!(dice.pick(&["a1", "a2", "a3"])),
        };
    }
    if dice.percent(8) {
        claims["exp"] = json!(1_000_000_000);
    }
    if dice.percent(5) {
        claims["nbf"] = json!(4_000_000_000_u64);
    }
    if dice.percent(40) {
        claims["groups"] = match dice.below(3) {
            0 => json!("g1"),
            1 => json!("g1 g2"),
            _ => json!(["g1", "g2"]),
        };
    }
    if dice.percent(30) {
        claims["nested"] = json!({"a": "x"});
    }
    if dice.percent(20) {
        claims["admin"] = match dice.below(3) {
            0 => json!(true),
            1 => json!(7),
            _ => json!("true"),
        };
    }
    if dice.percent(20) {
        claims["scope"] = json!("read write");
    }
    if dice.percent(20) {
        claims["azp"] = json!("p1");
    }
    let place = match dice.below(10) {
        0 => Place::Parameter(dice.pick(&["access_token", "token"]).into()),
        1 => Place::Header {
            name: "x-token".into(),
            prefix: String::new(),
        },
        2 => Place::Header {
            name: "authorization".into(),
            prefix: dice
                .pick(&["bearer ", "Token ", "Basic x, Bearer ", ""])
                .into(),
        },
        _ => Place::Header {
            name: "authorization".into(),
            prefix: "Bearer ".into(),
        },
    };
    Some(Token {
        key: dice.pick(&["k1", "k1", "k1", "k2", "k3"]).into(),
        claims,
        place,
    })
}
