//! nginx: `auth_request` knows leave (2xx), 401 and 403 alone. It asks for a verdict, and where that is 401 the answer
//! that the client gets is asked for by itself.

use std::fmt::Write as _;

use policy::Entrance;
use serde_json::Value;

use super::{Asking, title, word};

/// Files to include.
pub(super) fn files(asking: &Asking<'_>) -> Value {
    let mut files = vec![("http.conf".to_owned(), http(asking))];
    for side in asking.sides() {
        files.push((format!("{}.conf", word(side)), server(side)));
    }
    files.push(("ask.conf".to_owned(), ask()));
    asking.config_map("sidegate-nginx", files)
}

fn http(asking: &Asking<'_>) -> String {
    format!(
        "\
# In `http`.
upstream sidegate {{
    server {};
    keepalive 32;
}}
# What models tell pages of other origins, or what the upstream says.
map $sidegate_origin $sidegate_allow_origin {{
    \"\"      $upstream_http_access_control_allow_origin;
    default $sidegate_origin;
}}
map $http_upgrade $sidegate_connection {{
    \"\"      \"\";
    default upgrade;
}}
",
        asking.authority()
    )
}

/// Of a check: the request's line and headers, its path behind a prefix that no client can change.
fn check(out: &mut String, form: &str, side: Entrance) {
    let _ = write!(
        out,
        "
    auth_request off;
    proxy_pass http://sidegate/{form}/{}$request_uri;
    proxy_method $request_method;
    proxy_pass_request_body off;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Connection \"\";
    proxy_set_header Content-Length \"\";
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_connect_timeout 2s;
    proxy_read_timeout 10s;
    proxy_buffer_size 64k;
    proxy_buffers 4 64k;
    proxy_busy_buffers_size 64k;
    proxy_intercept_errors off;
}}
",
        word(side)
    );
}

fn server(side: Entrance) -> String {
    let mut out = "\
# In each `server` of this side. Of several on one port the first one's `underscores_in_headers` counts.
underscores_in_headers off;
ignore_invalid_headers on;
merge_slashes off;
# Upstreams would get what no check has seen.
if ($request_uri ~ \"#\") {
    return 400;
}
location = /_sidegate/verdict {
    internal;"
        .to_owned();
    check(&mut out, "verdict", side);
    out.push_str("location @sidegate_answer {");
    check(&mut out, "answer", side);
    out
}

fn ask() -> String {
    let mut out = "\
# In each `location` that leads to an upstream. nginx inherits no `proxy_set_header` where there is another one: set more
# of them beside these, in the same `location`.
auth_request /_sidegate/verdict;
error_page 401 = @sidegate_answer;
auth_request_set $sidegate_origin $upstream_http_access_control_allow_origin;
proxy_hide_header Access-Control-Allow-Origin;
add_header Access-Control-Allow-Origin $sidegate_allow_origin always;
proxy_http_version 1.1;
proxy_set_header Host $http_host;
grpc_set_header Host $http_host;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $sidegate_connection;
# An empty value removes the client's.
"
    .to_owned();
    for name in ext_authz::handed() {
        let variable = name.replace('-', "_");
        let header = title(name);
        let _ = write!(
            out,
            "auth_request_set $sidegate_{variable} $upstream_http_{variable};\n\
             proxy_set_header {header} $sidegate_{variable};\n\
             grpc_set_header {header} $sidegate_{variable};\n"
        );
    }
    out
}
