//! RequestAuthentications, and tokens for them.

use serde_json::{Value, json};

use super::words::NAMESPACES;
use super::{Dice, Maker};
use crate::oracle::world::{Alteration, Place, Token};

const ISSUERS: &[&str] = &[
    "https://iss1",
    "https://iss1",
    "https://iss2",
    "plain",
    "a/b",
];

/// Headers that rules put claims into.
const OUTPUTS: &[&str] = &["x-claim", "x-payload", "x-user", "x-token"];

impl Maker<'_> {
    pub(super) fn tokens(&mut self) {
        for number in 0..self.dice.below(4) {
            let rules: Vec<Value> = (0..self.dice.up_to(2)).map(|_| self.token_rule()).collect();
            let namespace = self.dice.pick(NAMESPACES);
            let metadata = self.metadata(&format!("ra{number}"), namespace);
            let mut spec = json!({"jwtRules": rules});
            match self.dice.below(10) {
                0 => spec["selector"] = json!({"matchLabels": {"app": "other"}}),
                1 => spec["selector"] = json!({}),
                2 => {
                    spec["targetRefs"] = json!([{"group": "gateway.networking.k8s.io",
                        "kind": "Gateway", "name": "kubeflow-gateway"}]);
                }
                3..=6 => spec["selector"] = json!({"matchLabels": {"istio": "ingressgateway"}}),
                _ => {}
            }
            self.objects.push(
                json!({"apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication",
                    "metadata": metadata, "spec": spec}),
            );
        }
    }

    fn token_rule(&mut self) -> Value {
        let key = self.dice.pick(&["k1", "k1", "k1", "k2"]);
        let mut rule = json!({"issuer": self.dice.pick(ISSUERS), "jwks": format!("JWKS:{key}")});
        if self.dice.percent(5) {
            rule["issuer"] = json!("");
            rule["jwksUri"] = json!("http://127.0.0.1:1/keys");
        }
        if self.dice.percent(35) {
            rule["audiences"] = json!(self.dice.some(&["a1", "a2", "https://a1/", "http://a3"], 2));
        }
        if self.dice.percent(35) {
            let from: Vec<Value> = (0..self.dice.up_to(2))
                .map(|_| self.token_header())
                .collect();
            rule["fromHeaders"] = json!(from);
        }
        if self.dice.percent(20) {
            rule["fromParams"] = json!(self.dice.some(&["token", "access_token", "q"], 2));
        }
        if self.dice.percent(15) {
            rule["fromCookies"] = json!(self.dice.some(&["session", "s"], 2));
        }
        if self.dice.percent(40) {
            rule["forwardOriginalToken"] = json!(true);
        }
        if self.dice.percent(20) {
            rule["outputPayloadToHeader"] = json!(self.dice.pick(OUTPUTS));
        }
        if self.dice.percent(30) {
            let outputs: Vec<Value> = (0..self.dice.up_to(2))
                .map(|_| {
                    let claim = self.dice.pick(&[
                        "sub", "groups", "nested.a", "nested", "admin", "scope", "iss", "absent",
                        "exp", "empty",
                    ]);
                    json!({"header": self.dice.pick(OUTPUTS), "claim": claim})
                })
                .collect();
            rule["outputClaimToHeaders"] = json!(outputs);
        }
        if self.dice.percent(15) {
            rule["spaceDelimitedClaims"] =
                json!(self.dice.some(&["groups", "sub", "iss", "empty"], 2));
        }
        rule
    }

    fn token_header(&mut self) -> Value {
        let mut from = json!({"name": self.dice.pick(&["x-token", "Authorization", "X-Token"])});
        if self.dice.percent(70) {
            from["prefix"] = json!(
                self.dice
                    .pick(&["Bearer ", "Bearer", "Token ", "e", "Bearer  "])
            );
        }
        from
    }

    pub(super) fn request_principals(&mut self) -> Vec<String> {
        self.dice.some(
            &[
                "*",
                "https://iss1/u1",
                "https://iss1/*",
                "https://*",
                "*/u1",
                "*1",
                "plain/u1",
                "plain/*",
                "a/b/u1",
                "a/b/*",
                "pl*",
                "https://iss1/u*",
                "*/a/b",
                "*iss1/u1",
                "plain/",
                "plain",
                "https://iss1/a/b",
            ],
            2,
        )
    }

    /// A condition on what a token says.
    pub(super) fn claim(&mut self) -> (String, Vec<String>) {
        match self.dice.below(8) {
            0 => ("request.auth.principal".into(), self.request_principals()),
            1 => (
                "request.auth.audiences".into(),
                self.dice.some(&["a1", "a2", "*", "a*", "http*"], 2),
            ),
            2 => (
                "request.auth.presenter".into(),
                self.dice.some(&["p1", "*", "p2", "*1"], 1),
            ),
            3 => (
                format!(
                    "request.auth.claims{}",
                    self.dice.pick(&[
                        "[nested][a]",
                        "[nested][l]",
                        "[nested][b][c]",
                        "[nested]",
                        "[groups][a]",
                        "[nested.a]",
                    ])
                ),
                self.dice.some(&["x", "*", "y", "deep"], 2),
            ),
            4 if self.features.on("odd-policies") => (
                format!(
                    "request.auth.{}",
                    self.dice.pick(&[
                        "claims",
                        "claims[",
                        "claims[]",
                        "claims[a[b]]",
                        "claimsgroups",
                        "other"
                    ])
                ),
                vec!["*".into()],
            ),
            _ => (
                format!(
                    "request.auth.claims[{}]",
                    self.dice.pick(&[
                        "groups",
                        "groups",
                        "admin",
                        "scope",
                        "nested.a",
                        "iss",
                        "sub",
                        "aud",
                        "exp",
                        "empty",
                        "permission",
                    ])
                ),
                self.dice.some(
                    &[
                        "g1",
                        "g2",
                        "*",
                        "g*",
                        "true",
                        "read",
                        "g1 g2",
                        "https://iss1",
                        "a1",
                        "u1",
                    ],
                    2,
                ),
            ),
        }
    }

    /// A claim that a route wants, or does not want.
    pub(super) fn claim_match(&mut self) -> (String, Value) {
        let name = self.dice.pick(&[
            "@request.auth.claims.groups",
            "@request.auth.claims[groups]",
            "@request.auth.claims.sub",
            "@Request.Auth.Claims.nested.a",
            "@request.auth.claims[nested][a]",
            "@request.auth.claims[nested.a]",
            "@request.auth.claims.scope",
            "@request.auth.claims[admin]",
        ]);
        let value = match self.dice.below(4) {
            0 => json!({"prefix": self.dice.pick(&["g", "u", "r"])}),
            1 => json!({"regex": self.dice.pick(&["g[12]", ".*", "u.", "x|read"])}),
            _ => json!({"exact": self.dice.pick(&["g1", "u1", "x", "read", "true", "g2"])}),
        };
        (name.to_owned(), value)
    }
}

/// The tokens of one request, none for half of them; what they bring takes the
/// place of other headers of that name.
pub(super) fn sent(dice: &mut Dice, headers: &mut Vec<(String, String)>) -> Vec<Token> {
    let count = match dice.below(10) {
        0..=4 => 0,
        5..=7 => 1,
        8 => 2,
        _ => 3,
    };
    let tokens: Vec<Token> = (0..count).map(|_| token(dice)).collect();
    let mut authorizations = 0;
    let tokens: Vec<Token> = tokens
        .into_iter()
        .filter(|token| match &token.place {
            Place::Header { name, .. } if name == "authorization" => {
                authorizations += 1;
                authorizations == 1
            }
            Place::Cookie(_) => {
                authorizations += 10;
                authorizations < 20
            }
            _ => true,
        })
        .collect();
    headers.retain(|(name, _)| {
        !tokens.iter().any(|token| match &token.place {
            Place::Header { name: taken, .. } => taken.eq_ignore_ascii_case(name),
            Place::Cookie(_) => name.eq_ignore_ascii_case("cookie"),
            Place::Parameter(_) => false,
        })
    });
    if dice.percent(20) {
        headers.push((dice.pick(OUTPUTS).to_owned(), "forged".to_owned()));
    }
    tokens
}

fn token(dice: &mut Dice) -> Token {
    let mut claims = json!({"iss": dice.pick(ISSUERS)});
    if dice.percent(4) {
        claims = json!({});
    }
    if dice.percent(90) {
        claims["sub"] = json!(dice.pick(&["u1", "u1", "u2", "", "a/b", "u1 x"]));
    }
    if dice.percent(60) {
        claims["aud"] = match dice.below(5) {
            0 => json!(["a1", "a3"]),
            1 => json!([]),
            _ => json!(dice.pick(&["a1", "a2", "a3", "https://a1", "a1/", "http://a2/"])),
        };
    }
    match dice.below(40) {
        0..=2 => claims["exp"] = json!(1_000_000_000),
        3 => claims["exp"] = json!(0),
        4 | 5 => claims["nbf"] = json!(4_000_000_000_u64),
        6 => claims["exp"] = json!("soon"),
        7 => claims["aud"] = json!([1]),
        8 => claims["iss"] = json!(7),
        9 => claims["exp"] = json!(-5),
        10 => claims["exp"] = json!(4_000_000_000.5),
        _ => {}
    }
    if dice.percent(50) {
        claims["groups"] = match dice.below(6) {
            0 => json!("g1"),
            1 => json!("g1 g2"),
            2 => json!([["g1"], {"a": "g1"}]),
            3 => json!({"a": "g1"}),
            _ => json!(["g1", "g2"]),
        };
    }
    if dice.percent(35) {
        claims["nested"] = match dice.below(4) {
            0 => json!({"l": ["x", "y"]}),
            1 => json!({"b": {"c": "deep"}}),
            2 => json!([{"a": "x"}]),
            _ => json!({"a": "x"}),
        };
    }
    if dice.percent(20) {
        claims["nested.a"] = json!("x");
    }
    if dice.percent(25) {
        claims["admin"] = match dice.below(5) {
            0 => json!(true),
            1 => json!(7),
            2 => json!(1.5),
            3 => Value::Null,
            _ => json!("true"),
        };
    }
    if dice.percent(20) {
        claims["scope"] = json!(dice.pick(&["read write", "read", " ", ""]));
    }
    if dice.percent(10) {
        claims["permission"] = json!("read g1");
    }
    if dice.percent(20) {
        claims["azp"] = match dice.below(3) {
            0 => json!(["p1", "p2"]),
            _ => json!("p1"),
        };
    }
    if dice.percent(10) {
        claims["empty"] = json!(dice.pick(&["", " "]));
    }
    let header = |name: &str, prefix: &str| Place::Header {
        name: name.into(),
        prefix: prefix.into(),
    };
    let place = match dice.below(14) {
        0 | 1 => Place::Parameter(dice.pick(&["access_token", "token", "q"]).into()),
        2 => Place::Cookie(dice.pick(&["session", "s"]).into()),
        3 | 4 => header("x-token", dice.pick(&["", "Bearer ", "Token "])),
        5 => header(
            "authorization",
            dice.pick(&[
                "bearer ",
                "Token ",
                "Basic x, Bearer ",
                "",
                "Bearer  ",
                "Bearer \"",
            ]),
        ),
        _ => header("authorization", "Bearer "),
    };
    let alteration = match dice.below(30) {
        0 | 1 => Some(Alteration::Signature),
        2 => Some(Alteration::Trailing),
        3 => Some(Alteration::Short),
        _ => None,
    };
    Token {
        key: dice
            .pick(&["k1", "k1", "k1", "k1", "k1", "k2", "k3"])
            .into(),
        claims,
        place,
        alteration,
    }
}
