//! Figures of the authorizer as people read them.

use std::fmt::Write as _;
use std::path::Path;

use super::behind::Both;
use super::{Figures, ISSUERS, KEYS, Length, Measured, SESSIONS, STREAMS};
use crate::bench::report;

/// The table with its circumstances, in Markdown.
pub(super) fn table(figures: &Figures, length: Length) -> String {
    let mut out = format!(
        "`sidegate authz` as it starts by default, its log to `/dev/null`; what asks shares the machine. Over gRPC {} connections \
         with {STREAMS} checks under way on each, over HTTP {} connections with one; each check as Envoy sends it, with the headers of a \
         browser or a program, every answer looked at. *CPU* is the program's own time for a check, from `/proc`.\n\n\
         | check | wanted | CPU | checks/s | CPU, full store | checks/s, full store |\n|---|---|---:|---:|---:|---:|\n",
        super::CONNECTIONS,
        super::OVER_HTTP,
    );
    let (few, full) = (&figures.few, &figures.full);
    let mut row = |what: &str, wanted: &str, few: &Measured, full: &Measured| {
        let cell =
            |measured: &Measured| format!("{:.1} µs | {:.0}", measured.cpu, measured.per_second);
        let _ = writeln!(
            out,
            "| {what} | {wanted} | {} | {} |",
            cell(few),
            cell(full)
        );
    };
    let (grpc, http) = ("18 µs, 45,000/s", "12 µs, 80,000/s");
    row("session, gRPC", grpc, &few.session_grpc, &full.session_grpc);
    row("session, HTTP", http, &few.session_http, &full.session_http);
    row(
        "any session of all, gRPC",
        "",
        &few.any_session,
        &full.any_session,
    );
    row(
        "token seen before, gRPC",
        grpc,
        &few.token_grpc,
        &full.token_grpc,
    );
    row(
        "token seen before, HTTP",
        http,
        &few.token_http,
        &full.token_http,
    );
    row("API key, gRPC", grpc, &few.key_grpc, &full.key_grpc);
    row("API key, HTTP", http, &few.key_http, &full.key_http);
    row(
        "RS256 token for the first time, gRPC",
        "60 µs",
        &few.fresh,
        &full.fresh,
    );
    row(
        "an answer over HTTP without a look at the check",
        "",
        &few.floor,
        &full.floor,
    );
    let sessions = match length {
        Length::Full => SESSIONS,
        Length::Quick => SESSIONS / 20,
    };
    let _ = writeln!(
        out,
        "\nA full store has {sessions} sessions, {KEYS} API keys and {ISSUERS} issuers with a key each. A hundred sessions are used again and again; \
         where it is any of all, nearly each is read from the file, as 10,000 are held in memory. Resident: {} \
         after the start and {} after all of this with a few, {} and {} with a full store (wanted: 60 MB).\n",
        report::mebibytes(few.idle_kib),
        report::mebibytes(few.loaded_kib),
        report::mebibytes(full.idle_kib),
        report::mebibytes(full.loaded_kib),
    );
    let behind = &figures.behind;
    let _ = writeln!(
        out,
        "Behind one worker of Envoy, which answers itself what passes, with the filters that `sidegate authz manifests` prints:\n\n\
         | Envoy asks | wanted | requests/s | CPU of Envoy | CPU of Sidegate | p50 at 2,000/s | p99 at 2,000/s | p99 added |\n\
         |---|---|---:|---:|---:|---:|---:|---:|"
    );
    let mut row = |what: &str, wanted: &str, both: &Both| {
        let Both { most, paced } = both;
        let _ = writeln!(
            out,
            "| {what} | {wanted} | {:.0} | {:.1} µs | {:.1} µs | {:.2} ms | {:.2} ms | {:.2} ms |",
            most.per_second,
            most.gateway,
            most.cpu,
            paced.p50 / 1e3,
            paced.p99 / 1e3,
            (paced.p99 - behind.none.paced.p99) / 1e3,
        );
    };
    row("nobody", "", &behind.none);
    row("over gRPC", "12,000/s, 1 ms added", &behind.grpc);
    row("over HTTP", "", &behind.http);
    row("over gRPC, with the fast path", "25,000/s", &behind.fast);
    let peer = &figures.peer;
    let ours = &few.session_http;
    let _ = writeln!(
        out,
        "\noauth2-proxy as Kubeflow sets it up, asked as its gateways ask (HEAD, a session in a cookie of {} bytes; ours has 43): {:.0} µs for a \
         check, {:.0} checks/s, {} resident. That is {:.0} times the time of ours over HTTP.\n",
        peer.cookie_bytes,
        peer.asked.cpu,
        peer.asked.per_second,
        report::mebibytes(peer.resident_kib),
        peer.asked.cpu / ours.cpu,
    );
    let machine = report::Machine::this(Path::new("python3"), "pip");
    let _ = write!(
        out,
        "Machine: {}, {} cores, {}. Versions: {}, Envoy 1.40, oauth2-proxy 7.15.6.",
        machine.cpu, machine.cores, machine.kernel, machine.versions
    );
    out
}
