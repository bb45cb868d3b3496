use super::*;

/// Checks one file beside a map that knows `crates/policy`, and expects what is
/// found in it to begin so.
fn finds(path: &str, text: &str, expected: &[(usize, &str)]) {
    let files = [
        File {
            path: "ARCHITECTURE.md".into(),
            text: "`crates/policy` `crates/models` `crates/gateway`\n".into(),
        },
        File {
            path: path.into(),
            text: text.into(),
        },
    ];
    let found: Vec<_> = check(&files)
        .into_iter()
        .map(|f| (f.line, f.what))
        .collect();
    assert_eq!(found.len(), expected.len(), "{path} {text}: {found:?}");
    for ((line, what), (expected_line, expected_what)) in found.iter().zip(expected) {
        assert_eq!(line, expected_line, "{text}: {what}");
        assert!(what.starts_with(expected_what), "{text}: {what}");
    }
}

#[test]
fn pure_crates_stay_pure() {
    for (text, word) in [
        ("use std::fs;\n", "`std::fs`"),
        ("let x = std::time::SystemTime::now();\n", "`SystemTime`"),
        ("let x = y.await;\n", "`.await`"),
        ("async fn x() {}\n", "`async`"),
        ("use tokio::sync::Mutex;\n", "`tokio`"),
    ] {
        finds("crates/policy/src/x.rs", text, &[(1, word)]);
        finds("crates/gateway/src/x.rs", text, &[]);
        finds("crates/policy/src/tests.rs", text, &[]);
        finds(
            "crates/policy/src/x.rs",
            &format!("#[cfg(test)]\nmod tests {{\n    {text}}}\n"),
            &[],
        );
        finds(
            "crates/policy/src/x.rs",
            &format!("// {text}const X: &str = \"\n{text}\";\n"),
            &[],
        );
    }
    finds(
        "crates/models/src/x.rs",
        "\nuse std::net::TcpStream;\n",
        &[(2, "`std::net`")],
    );
}

#[test]
fn only_the_program_reads_the_environment() {
    finds(
        "crates/gateway/src/x.rs",
        "let x = std::env::var(y);\n",
        &[(1, "`std::env`"), (1, "`env::var`")],
    );
    finds("crates/gateway/src/x.rs", "let x = env!(y);\n", &[]);
}

#[test]
fn nothing_is_unsafe_skipped_or_left_out() {
    finds(
        "crates/gateway/src/x.rs",
        "unsafe { x() }\n",
        &[(1, "`unsafe`")],
    );
    finds("crates/models/src/kernels/x.rs", "unsafe { x() }\n", &[]);
    finds(
        "crates/gateway/tests/x.rs",
        concat!("#[test]\n#[ig", "nore]\nfn x() {}\n"),
        &[(2, "`#[")],
    );
    finds(
        "crates/gateway/src/x.rs",
        concat!("to", "do!()\n"),
        &[(1, "`to")],
    );
    finds("docs/x.md", concat!("a TO", "DO list\n"), &[(1, "`TO")]);
}

#[test]
fn only_policy_makes_permits() {
    for text in [
        "let p = Permit { x };\n",
        "let p = policy::Permit { x };\n",
        "f(Permit {});\n",
    ] {
        finds(
            "crates/gateway/src/x.rs",
            text,
            &[(1, "a Permit is made here")],
        );
        finds("crates/policy/src/x.rs", text, &[]);
    }
    for text in [
        "fn f() -> Permit {\n}\n",
        "fn f() -> policy::Permit {\n}\n",
        "impl Show for Permit {\n}\n",
        "match x { Verdict::Permit { a } => a }\n",
        "struct MyPermit {\n}\n",
        "fn f(p: Permit) {}\n",
    ] {
        finds("crates/gateway/src/x.rs", text, &[]);
    }
}

#[test]
fn files_are_of_a_size_and_name_that_can_be_read() {
    finds("crates/gateway/src/x.rs", &"\nx\n".repeat(300), &[]);
    finds(
        "crates/gateway/src/x.rs",
        &"\nx\n".repeat(301),
        &[(0, "602 lines")],
    );
    finds(
        "crates/gateway/src/utils.rs",
        "x\n",
        &[(0, "a name that collects strangers")],
    );
    finds(
        "crates/gateway/src/helpers/x.rs",
        "x\n",
        &[(0, "a name that collects strangers")],
    );
}

#[test]
fn white_space_ends_where_it_should() {
    finds(
        "docs/x.md",
        "a \nb\t\nc\n",
        &[(1, "white space"), (2, "white space")],
    );
    finds("docs/x.md", "a", &[(0, "no newline")]);
    finds("docs/x.md", "a\n\n", &[(0, "an empty line")]);
    finds("docs/x.bin", "a ", &[]);
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    for (text, found) in [
        (concat!("cd /ro", "ot/x\n"), true),
        (concat!("file:///wo", "rk/x\n"), true),
        (concat!("\"/ho", "me/me/x\"\n"), true),
        (concat!("mountPath: /ho", "me/jovyan\n"), false),
        (concat!("https://h/wo", "rk/x\n"), false),
        (concat!("target/wo", "rk/x\n"), false),
    ] {
        let expected: &[_] = if found { &[(1, "`/")] } else { &[] };
        finds("docs/x.md", text, expected);
    }
}

#[test]
fn links_lead_somewhere() {
    finds(
        "docs/x.md",
        "[a](../ARCHITECTURE.md#b) [c](https://x/y) [d](#e) [f](x.md) [g](../docs)\n",
        &[],
    );
    finds(
        "docs/x.md",
        "\n[a](ARCHITECTURE.md)\n",
        &[(2, "the link to `ARCHITECTURE.md`")],
    );
    finds("docs/x.md", "```\n[a](nowhere)\n```\n", &[]);
}

#[test]
fn crates_are_described_mapped_and_linted() {
    let lints = "[lints]\nworkspace = true\n";
    let description = "description = \"The access decision\"\n";
    finds(
        "crates/policy/Cargo.toml",
        &format!("{description}{lints}"),
        &[],
    );
    finds("crates/policy/Cargo.toml", lints, &[(0, "no description")]);
    finds("crates/policy/Cargo.toml", description, &[(0, "the lints")]);
    finds(
        "crates/policy/Cargo.toml",
        &format!("{description}{lints}[dependencies]\ntokio.workspace = true\n"),
        &[(5, "policy must not depend on tokio")],
    );
    finds(
        "crates/new/src/lib.rs",
        "x\n",
        &[(0, "`crates/new` is not in the code map")],
    );
}

#[test]
fn the_image_is_built_of_what_is_there() {
    let file = |path: &str, text: &str| File {
        path: path.into(),
        text: text.into(),
    };
    let found = |dockerfile: &str, manifest: &str| {
        let files = [
            file("deploy/Dockerfile", dockerfile),
            file("Cargo.toml", manifest),
            file("Cargo.lock", "name = \"hyper\"\n"),
            file("rust-toolchain.toml", "channel = \"1.95.0\"\n"),
            file("crates/sidegate/Cargo.toml", ""),
        ];
        let mut findings = Vec::new();
        image::check(&files, &mut findings);
        findings.into_iter().map(|f| f.what).collect::<Vec<_>>()
    };
    let dockerfile = "FROM rust:1.95-bookworm AS build\n\
        RUN cargo build --profile image --package sidegate --target x \\\n\
        && cp target/x/image/sidegate /sidegate\n";
    let manifest = "[profile.image]\n[profile.image.package]\nhyper = { opt-level = 3 }\n";
    assert_eq!(found(dockerfile, manifest), Vec::<String>::new());
    for (from, to, expected) in [
        (
            "1.95-",
            "1.94-",
            "rust 1.94 is not the version of rust-toolchain.toml",
        ),
        (
            "image ",
            "small ",
            "there is no profile `small` in the workspace's Cargo.toml",
        ),
        (
            "package sidegate",
            "package gate",
            "there is no crate `gate`",
        ),
        (
            "x/image",
            "x/release",
            "nothing copies `target/x/image/sidegate`",
        ),
        ("cargo build", "make", "there is no `cargo build`"),
        (
            "--target x",
            "",
            "expected `cargo build` with `--profile`, `--package` and `--target`",
        ),
    ] {
        let findings = found(&dockerfile.replace(from, to), manifest);
        assert!(findings.iter().any(|f| f == expected), "{findings:?}");
    }
    let findings = found(dockerfile, &manifest.replace("hyper", "hypre"));
    assert_eq!(findings, ["there is no package `hypre`"]);
    let base = "[profile.release]\n[profile.release.package]\nhyper = { opt-level = 3 }\n";
    let image = "[profile.image]\ninherits = \"release\"\n[profile.image.package]\n";
    let findings = found(dockerfile, &format!("{base}{image}"));
    let expected = "profile `image` has the level of `hyper` from `release`";
    assert_eq!(findings, [expected]);
    let all = format!("{base}{image}hyper = {{ opt-level = 1 }}\n");
    assert_eq!(found(dockerfile, &all), Vec::<String>::new());
}

#[test]
fn tests_that_the_documentation_names_exist() {
    let source = "#[test]\nfn held() {}\n\n#[tokio::test]\n#[cfg(unix)]\nasync fn held_later() {}\n\n\
        fn helper() {}\n";
    for (text, expected) in [
        ("`policy::held`\n", None),
        ("| a | `policy::held`; `policy::held_later` |\n", None),
        (
            "`policy::Thing` `std::held` `policy::` policy::none\n",
            None,
        ),
        ("\n`policy::gone`\n", Some((2, "`policy::gone` is no test"))),
        (
            "`policy::held` `policy::helper`\n",
            Some((1, "`policy::helper`")),
        ),
        ("`gateway::held`\n", Some((1, "`gateway::held`"))),
    ] {
        let file = |path: &str, text: &str| File {
            path: path.into(),
            text: text.into(),
        };
        let files = [
            file("crates/policy/src/tests.rs", source),
            file("crates/gateway/src/lib.rs", ""),
            file("docs/x.md", &format!("{text}`crate::test`\n")),
            file("docs/y.md", text),
        ];
        let mut found = Vec::new();
        promises::check(&files, &mut found);
        assert_eq!(
            found.len(),
            usize::from(expected.is_some()),
            "{text}: {found:?}"
        );
        if let (Some((line, what)), Some(first)) = (expected, found.first()) {
            assert_eq!(first.line, line, "{text}");
            assert!(first.what.starts_with(what), "{text}: {}", first.what);
        }
    }
}
