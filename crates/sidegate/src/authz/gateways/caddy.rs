//! Caddy: `forward_auth` takes every 2xx for leave and passes all else on. Answers of the login that are 2xx are had from
//! the authorizer itself.

use std::fmt::Write as _;

use policy::Entrance;
use serde_json::Value;

use super::{Asking, title, word};

pub(super) fn file(asking: &Asking<'_>) -> Value {
    let mut out = String::new();
    let at = asking.authority();
    for side in asking.sides() {
        let _ = writeln!(out, "(sidegate-{}) {{", word(side));
        let login = asking.snapshot.login_paths();
        if side == Entrance::External && !login.is_empty() {
            let hosts = asking.platform_hosts();
            let hosts = match hosts.is_empty() {
                true => String::new(),
                false => format!("\t\thost {}\n", hosts.join(" ")),
            };
            let _ = write!(
                out,
                "\t@sidegate_login {{\n{hosts}\t\tpath {}\n\t}}\n\
                 \thandle @sidegate_login {{\n\
                 \t\trewrite * /answer/external{{uri}}\n\
                 \t\treverse_proxy {at}\n\
                 \t}}\n",
                login.join(" ")
            );
        }
        let _ = write!(
            out,
            "\tforward_auth {at} {{\n\
             \t\turi /forwarded/{}\n\
             \t\tcopy_headers {}\n\
             \t}}\n}}\n",
            word(side),
            ext_authz::handed().map(title).collect::<Vec<_>>().join(" ")
        );
    }
    asking.config_map("sidegate-caddy", vec![("sidegate.caddy".to_owned(), out)])
}
