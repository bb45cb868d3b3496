//! What a developer or CI runs: test, tidy, deny, oracle, bench.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for people at a terminal"
)]

mod answers;
mod authz;
mod bench;
mod browser;
mod cache;
mod child;
mod clients;
mod cluster;
mod conformance;
mod crash;
mod deny;
mod dex;
mod directory;
mod faults;
mod flood;
mod fuzz;
mod graphs;
mod http;
mod image;
mod miri;
mod models;
mod oracle;
mod person;
mod protos;
mod redis;
mod relying;
mod schemas;
mod served;
mod shell;
mod test;
mod tidy;
mod visitor;

use std::process::ExitCode;

const USAGE: &str = "\
What a developer or CI runs.

Usage: cargo xtask <COMMAND>

Commands:
  test [ARGS]  Build the program, then run all tests (or `cargo test ARGS`);
               the last line is `N passed, N failed`
  tidy         Check the rules of this repository
  directory    Let people log in by OpenLDAP's server (Debian's packages, unpacked)
  redis [NAME | --logins N]
               Two replicas of the identity provider on Debian's redis-server: races,
               kills, outages, all or those with that in their name; with N, a storm of
               that many logins (builds nothing)
  deny         Check licences, bans and sources of all dependencies, and
               advisories where their database can be fetched
  image        Build the program as deploy/Dockerfile does, without Docker; it has to stand
               alone and fit into an image of 25 MB
  miri         Run the unit tests of the kernels, which alone have unsafe code, under
               Miri, which a nightly toolchain has
  conformance [--cases FILE]
               Decide every case of a file, a line per case; by default those
               of crates/policy/tests/conformance.yaml
  oracle --cases FILE | --random | --dir DIR --request LINE | --fixtures DIR | --seed |
         --suite
               Compare with Istio's control plane and Envoy (docs/conformance.md)
  authz [NAME | --demo]
               Ask the authorizer from Envoy as Istio configures it, from Envoy alone,
               nginx and Caddy, in all forms or those with that in their name (as
               `test` does; builds nothing); or show what it changes for the original
               cluster
  faults [NAME]
               Have whoever the authorizer asks be away, busy or silent, and kill it behind
               Envoy, all or those with that in their name (as `test` does; builds nothing)
  relying [NAME]
               Let relying parties of others log in at the provider, all or those
               with that in their name (as `test` does; builds nothing)
  record       Write down anew what Istio and Envoy answer under the policies of
               Istio's own test data, and which fields its objects have
               (--check: compare with what is written; --schemas: the fields alone)
  record --models [--check]
               Make models by real scikit-learn, XGBoost, LightGBM, CatBoost, ONNX
               Runtime and skops, in every version, and the table of docs/models.md
  record --clients [--check]
               Write down what clients find at other servers, docs/clients.md
  record --cluster [--check]
               Write down what Kubernetes' API server answers, built from its sources:
               who may see which model by Roles, whose a token is, keys and errors
               (--check: compare, and have `sidegate authz` ask it; builds nothing else)
  record --dex PROGRAM [--check]
               Write down what Dex answers, built from its sources, docs/dex.md
  crash [--logins N] [--seed S] [--program FILE]
               Kill the identity provider again and again while people log in and
               applications refresh: nothing answered is lost, nothing used is taken
               again; by default 10,000 logins and the release build
  flood [authz] [--requests N] [--program FILE]
               Ask the identity provider, or the authorizer, as strangers, a million
               times: nothing is written for them, and memory does not grow
  fuzz TARGET  Throw made-up input at `configuration` (YAML to Snapshot), `decide`,
               `matchers`, `models` (files of every format, `models/onnx` of one) or
               `requests` (V1, V2, gRPC; `requests/v2` one of them) or `provider`
               (its endpoints; `provider/authorization`, `/token`, `/forms` of them,
               and `/configuration`), `check` (what gateways ask), `cookie`, `jwt`,
               `compat` (configurations of other login services)
               (--minutes N, --seed S, --only NUMBER)
  bench        Measure beside KServe's Python server, and write
               docs/benchmarks.md (--quick: shorter, writes nothing)
  bench verify Time parsing, compiling, deciding and all questions, from 100 to
               50,000 routes, and write docs/benchmarks.md and docs/growth.svg
  bench models [--quick]
               Time models for rows, servers under load, starts, loading and memory
               beside scikit-learn, XGBoost, LightGBM, ONNX Runtime, KServe and
               MLServer, and write docs/benchmarks.md and docs/kernels.svg
  bench provider [--quick]
               Time the identity provider's keys, refreshes, logins and token checks,
               its starts and memory, and write docs/benchmarks.md
  bench authz [--quick | --soak MINUTES | --only KIND...]
               Time checks of the authorizer, alone and behind one worker of Envoy, with
               few and with many sessions, keys and issuers, beside oauth2-proxy, and write
               docs/benchmarks.md; or watch its memory for so long; or time some kinds of
               checks alone (`--only session-http token-grpc`), which writes nothing
  bench solvers
               Put questions about small clusters to z3 and cvc5 too, compare the
               answers, and write docs/benchmarks.md (--quick: a few, as `test`
               asks them; writes nothing)

Peers and tools are installed below $XDG_CACHE_HOME/sidegate or ~/.cache/sidegate.
Exit codes: 0 all is well, 1 it is not, 2 the command is not understood.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["test", rest @ ..] => test::run(rest),
        ["tidy"] => tidy::run(),
        ["redis", rest @ ..] => redis::command(rest),
        ["deny"] => deny::run(),
        ["directory"] => directory::run(),
        ["image"] => image::run(),
        ["miri"] => miri::run(),
        ["conformance"] => conformance::run(None),
        ["conformance", file] | ["conformance", "--cases", file] => {
            conformance::run(Some(std::path::Path::new(file)))
        }
        ["record"] => record(false),
        ["record", "--check"] => record(true),
        ["record", "--clients"] => clients::record().map(|count| println!("{count} calls")),
        ["record", "--clients", "--check"] => {
            clients::compare().map(|count| println!("{count} calls, none differs"))
        }
        ["record", "--cluster"] => cluster::record(),
        ["record", "--cluster", "--check"] => cluster::check(),
        ["record", "--dex", program] => dex::record(program.as_ref()),
        ["record", "--dex", program, "--check"] => dex::compare(program.as_ref()),
        ["record", "--models"] => models::record().map(|_| ()),
        ["record", "--models", "--check"] => models::check().map(|(all, same)| {
            println!("{all} archives made anew, {same} as recorded, all answered alike");
        }),
        ["record", "--schemas"] => schemas::record(false).map(|_| ()),
        ["oracle", rest @ ..] => oracle::run(rest),
        ["crash", rest @ ..] => crash::command(rest),
        ["authz"] => authz::run(None),
        ["authz", name] => authz::run(Some(name)),
        ["faults"] => faults::run(None),
        ["faults", name] => faults::run(Some(name)),
        ["relying"] => relying::run(None),
        ["relying", name] => relying::run(Some(name)),
        ["flood", rest @ ..] => flood::command(rest),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["bench"] => bench::run(bench::Length::Full),
        ["bench", "--quick"] => bench::run(bench::Length::Quick),
        ["bench", "verify"] => bench::verify::run(),
        ["bench", "models"] => bench::models::run(bench::Length::Full),
        ["bench", "models", "--quick"] => bench::models::run(bench::Length::Quick),
        ["bench", "provider"] => bench::provider::run(bench::Length::Full),
        ["bench", "provider", "--quick"] => bench::provider::run(bench::Length::Quick),
        ["bench", "authz"] => bench::authz::run(bench::Length::Full),
        ["bench", "authz", "--quick"] => bench::authz::run(bench::Length::Quick),
        ["bench", "authz", "--only", kinds @ ..] => bench::authz::only(kinds),
        ["bench", "authz", "--soak", minutes] => match minutes.parse() {
            Ok(minutes) => bench::authz::soak(minutes),
            Err(_) => Err(anyhow::anyhow!("`--soak {minutes}`: expected minutes")),
        },
        ["bench", "solvers"] => bench::solvers::run(bench::Length::Full),
        ["bench", "solvers", "--quick"] => bench::solvers::run(bench::Length::Quick),
        ["help" | "-h" | "--help"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn record(check: bool) -> anyhow::Result<()> {
    let count = oracle::record(check)?;
    println!("{count} answers of Istio and Envoy");
    let count = schemas::record(check)?;
    println!("{count} kinds with their fields");
    Ok(())
}
