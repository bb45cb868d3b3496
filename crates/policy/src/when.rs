//! The `when` conditions of AuthorizationPolicy rules.

use resources::istio::Condition;

use crate::claims::in_brackets;
use crate::matcher::Matcher;
use crate::peer::{Identity, Reading, net};
use crate::rules::{Attribute, BadValue, Constraint, Value, both, port, principal};
use crate::settings::IstioVersion;

/// `None` when the key is unknown.
pub(crate) fn of_condition(
    condition: &Condition,
    reading: Reading<'_>,
    bad: &mut Vec<BadValue>,
) -> Option<Vec<Constraint>> {
    let version = reading.version;
    let bracket = |prefix: &str| condition.key.strip_prefix(prefix)?.strip_suffix(']');
    let mut all = Vec::new();
    let (values, not_values) = (&condition.values, &condition.not_values);
    let not = format!("{} notValues", condition.key);
    let fields = [condition.key.as_str(), &not];
    if let Some(name) = bracket("request.headers[") {
        let name = name.to_ascii_lowercase();
        let attribute = if version.headers_individually() || name.starts_with(':') {
            Attribute::Header(name)
        } else {
            Attribute::JoinedHeader(name)
        };
        both(&mut all, fields, &attribute, values, not_values, bad, |v| {
            Ok(Value::Text(Matcher::of_policy_header(v)))
        });
        return Some(all);
    }
    match condition.key.as_str() {
        "source.ip" | "remote.ip" | "destination.ip" => {
            let attribute = match condition.key.as_str() {
                "source.ip" => Attribute::PeerIp,
                "remote.ip" => Attribute::RemoteIp,
                _ => Attribute::LocalIp,
            };
            both(&mut all, fields, &attribute, values, not_values, bad, net);
        }
        "destination.port" => both(
            &mut all,
            fields,
            &Attribute::Port,
            values,
            not_values,
            bad,
            port,
        ),
        "request.auth.principal" => {
            both(
                &mut all,
                fields,
                &Attribute::RequestPrincipal,
                values,
                not_values,
                bad,
                |text| principal(text, version),
            );
        }
        key if key.starts_with("request.auth.") => {
            let Some(attribute) = claim(key, version) else {
                bad.push(BadValue(format!("unknown condition key `{key}`")));
                return None;
            };
            match attribute {
                Ok(attribute) => {
                    let text = |v: &str| Matcher::of_policy_string(v).map(Value::Text);
                    both(&mut all, fields, &attribute, values, not_values, bad, text);
                }
                Err(message) => bad.push(BadValue(format!("`{key}`: {message}"))),
            }
        }
        key if key == "connection.sni" || key.starts_with("experimental.envoy.filters.") => {
            let attribute = match key {
                "connection.sni" => Attribute::Sni,
                _ => Attribute::Absent,
            };
            let text = |v: &str| Matcher::of_policy_string(v).map(Value::Text);
            both(&mut all, fields, &attribute, values, not_values, bad, text);
        }
        key if let Some(identity) = Identity::of_key(key, version) => {
            identity.both(&mut all, fields, [values, not_values], reading, bad);
        }
        key => {
            bad.push(BadValue(format!("unknown condition key `{key}`")));
            return None;
        }
    }
    Some(all)
}

/// The claim that a key other than `request.auth.principal` speaks of.
fn claim(key: &str, version: IstioVersion) -> Option<Result<Attribute, String>> {
    let one = |name: &str| Attribute::Claim([name.to_owned()].into());
    Some(match key {
        "request.auth.audiences" if version.audiences_listed() => Ok(one("aud")),
        "request.auth.audiences" => Ok(Attribute::ClaimText("aud".to_owned())),
        "request.auth.presenter" => Ok(one("azp")),
        key => in_brackets(key.strip_prefix("request.auth.claims")?).map(Attribute::Claim),
    })
}
