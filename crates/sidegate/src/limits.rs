//! `--limit NAME=NUMBER`: bounds of the gateway.

use std::time::Duration;

use gateway::Limits;

use crate::output::BadInput;

const NAMES: &str =
    "header-bytes, headers, body-bytes, connections, header-seconds, idle-seconds or stall-seconds";

/// The defaults with what the command line changes.
pub(crate) fn parse(arguments: &[String]) -> anyhow::Result<Limits> {
    let mut limits = Limits::default();
    for text in arguments {
        set(&mut limits, text).ok_or_else(|| {
            BadInput(vec![format!(
                "`--limit {text}`: expected NAME=NUMBER with a number above 0 and a name of {NAMES}"
            )])
        })?;
    }
    Ok(limits)
}

fn set(limits: &mut Limits, text: &str) -> Option<()> {
    let (name, number) = text.split_once('=')?;
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    match name {
        "header-bytes" => limits.header_bytes = number.try_into().ok()?,
        "headers" => limits.headers = number.try_into().ok()?,
        "body-bytes" => limits.body_bytes = number,
        "connections" => limits.connections = number.try_into().ok()?,
        "header-seconds" => limits.header_timeout = Duration::from_secs(number),
        "idle-seconds" => limits.idle_timeout = Duration::from_secs(number),
        "stall-seconds" => limits.stall_timeout = Duration::from_secs(number),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let limits = parse(&["body-bytes=10".into(), "header-seconds=2".into()]).unwrap();
        assert_eq!(
            (limits.body_bytes, limits.header_timeout),
            (10, Duration::from_secs(2))
        );
        for text in [
            "body-bytes",
            "body-bytes=x",
            "body-bytes=0",
            "body=1",
            "header-bytes=99999999999",
        ] {
            assert!(parse(&[text.into()]).is_err(), "{text}");
        }
    }
}
