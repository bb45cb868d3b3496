use std::path::PathBuf;

use proptest::prelude::*;

use super::{File, load, parse, parse_layers, read_files};

fn file(name: &str, text: &str) -> File {
    (name.into(), text.to_owned())
}

const NAMED: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: team}\n";

#[test]
fn every_error_is_told_at_once_in_order() {
    let errors = parse(&[
        file("1", "a: [\n---\napiVersion: v1\n"),
        file("2", &format!("{NAMED}spec: 7\n")),
    ])
    .unwrap_err();
    let places: Vec<_> = errors
        .errors
        .iter()
        .map(|e| (e.file.as_ref(), e.line))
        .collect();
    assert_eq!(places.len(), 3, "{errors}");
    assert_eq!(places[1..], [("1", 3), ("2", 4)], "{errors}");
    assert_eq!(places[0].0, "1");
}

#[test]
fn duplicates_name_both_places() {
    let errors = parse(&[file("1", NAMED), file("2", NAMED)]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "2:1: Service team/a: is already at 1:1, expected it once"
    );
}

#[test]
fn later_layers_override_and_delete() {
    let external = format!("{NAMED}spec: {{type: ExternalName}}\n");
    let delete = NAMED.replace(
        "namespace: team}",
        "namespace: team, annotations: {sidegate.dev/delete: \"true\"}}",
    );
    let layers = |texts: &[&str]| {
        let layers: Vec<_> = texts.iter().map(|t| vec![file("f", t)]).collect();
        parse_layers(&layers)
    };
    let over = layers(&[NAMED, &external]).unwrap();
    assert_eq!(over.services.len(), 1);
    assert_eq!(over.services[0].spec.kind.as_deref(), Some("ExternalName"));
    assert!(layers(&[NAMED, &delete]).unwrap().services.is_empty());
    assert_eq!(
        layers(&[NAMED, &delete, NAMED]).unwrap().services.len(),
        1,
        "a deleted object can come back"
    );
    let errors = layers(&[&delete]).unwrap_err();
    assert!(
        errors.to_string().contains("no earlier input has it"),
        "{errors}"
    );
}

#[test]
fn items_of_a_list_have_their_own_lines() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: a}\n- apiVersion: v1\n  kind: Service\n  metadata: {name: b}\n  spec:\n    ports: x\n";
    let errors = parse(&[file("l", text)]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "l:11: Service default/b: spec.ports: expected a sequence, found string \"x\""
    );
    let cluster = parse(&[file("l", &text.replace("ports: x", "ports: []"))]).unwrap();
    let lines: Vec<_> = cluster.services.iter().map(|s| s.source.line).collect();
    assert_eq!(lines, [4, 7]);
}

#[test]
fn what_no_controller_reads_is_counted() {
    let cluster = parse(&[file(
        "f",
        "- op: remove\n  path: /spec\n---\nspec: {a: 1}\n---\nkind: Kustomization\nresources: []\n---\napiVersion: batch/v1\nkind: Job\n",
    )])
    .unwrap();
    let expected = [("(no kind)", 2), ("Kustomization", 1), ("Job.batch", 1)];
    assert_eq!(
        cluster.unknown_kinds,
        expected.map(|(kind, n)| (kind.to_owned(), n))
    );
}

#[test]
fn content_beside_a_document_marker_is_read() {
    let text = format!(
        "%YAML 1.2\n--- # first\n{NAMED}--- {{apiVersion: v1, kind: Service, metadata: {{name: b}}}}\n...\n"
    );
    let cluster = parse(&[file("f", &text)]).unwrap();
    let names: Vec<_> = cluster
        .services
        .iter()
        .map(|s| (s.meta.name.as_str(), s.source.line))
        .collect();
    assert_eq!(names, [("a", 3), ("b", 6)]);
}

#[test]
fn line_ends_marks_and_lists() {
    let dos = NAMED.replace('\n', "\r\n");
    let bom = format!("\u{feff}{NAMED}");
    let both = format!("\u{feff}{dos}---\r\n{}", dos.replace("name: a", "name: b"));
    let typed =
        "apiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n";
    for (text, expected) in [
        (dos.as_str(), [1].as_slice()),
        (&bom, &[1]),
        (&both, &[1, 5]),
        (typed, &[4, 5]),
        (
            "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"a\"}}]}",
            &[1],
        ),
    ] {
        let cluster = parse(&[file("f", text)]).unwrap_or_else(|e| panic!("{text}: {e}"));
        let lines: Vec<u32> = cluster.services.iter().map(|s| s.source.line).collect();
        assert_eq!(lines, expected, "{text}");
    }
    // Errors of such files name lines all the same.
    for text in [
        format!("{dos}spec:\r\n  ports: x\r\n"),
        format!("\u{feff}{NAMED}spec:\n  ports: x\n"),
    ] {
        let errors = parse(&[file("f", &text)]).unwrap_err().to_string();
        assert_eq!(
            errors,
            "f:5: Service team/a: spec.ports: expected a sequence, found string \"x\""
        );
    }
    let tab = parse(&[file("f", "a:\n\tb: 1\n")]).unwrap_err().to_string();
    assert!(tab.starts_with("f:2: not YAML"), "{tab}");
}

/// As much as is read at all: many objects in one file, in bounded time.
#[test]
fn fifty_megabytes() {
    let rules = "  - to: [{operation: {paths: [/a, /b, /c], hosts: [x.example.com]}}]\n".repeat(40);
    let line = format!("    {}\n", "some text ".repeat(20));
    let page = line.repeat(2_000);
    let mut text = String::new();
    let mut count = 0;
    while text.len() + rules.len() + page.len() + 400 < 50 << 20 {
        text.push_str(&format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{count}, namespace: team}}\nspec:\n  rules:\n{rules}---\n\
             apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: p{count}, namespace: team}}\ndata:\n  page: |\n{page}---\n"
        ));
        count += 1;
    }
    let began = std::time::Instant::now();
    let cluster = parse(&[file("f", &text)]).unwrap();
    assert!(text.len() > 49 << 20);
    assert_eq!(cluster.authorization_policies.len(), count);
    assert!(began.elapsed().as_secs() < 120, "{:?}", began.elapsed());
    text.push_str(&"# more\n".repeat(20 << 20));
    let errors = parse(&[file("f", &text)]).unwrap_err().to_string();
    assert_eq!(errors, "f: the file is longer than 50 MiB");
}

#[test]
fn json_is_read_and_tabs_may_indent_it() {
    let text = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Service\",\n\t\"metadata\": {\"name\": \"a\"}\n}\n";
    assert_eq!(parse(&[file("f", text)]).unwrap().services.len(), 1);
}

#[test]
fn folders_are_read_in_order_and_links_do_not_loop() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("sub")).unwrap();
    std::fs::write(at("sub/z.yml"), NAMED).unwrap();
    std::fs::write(at("b.yaml"), "kind: B\napiVersion: x/v1\n").unwrap();
    std::fs::write(at("notes.txt"), "not: [yaml").unwrap();
    std::fs::write(at(".hidden.yaml"), "not: [yaml").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path(), at("sub/loop")).unwrap();
    let files = read_files(&[folder.path().to_owned()]).unwrap();
    let names: Vec<_> = files
        .iter()
        .map(|(name, _)| PathBuf::from(name.as_ref()))
        .collect();
    assert_eq!(names, [at("b.yaml"), at("sub/z.yml")]);
    assert_eq!(load(&[folder.path().to_owned()]).unwrap().services.len(), 1);
    let errors = load(&[at("missing.yaml")]).unwrap_err();
    assert!(errors.to_string().contains("cannot be read"), "{errors}");
}

#[test]
fn garbage_ends_quickly() {
    let began = std::time::Instant::now();
    for unit in ["x", "[", "{a: ", "- ", "&a ", "*a ", "\0", "a: b: ", "'"] {
        let text = unit.repeat((5 << 20) / unit.len());
        assert!(parse(&[file("f", &text)]).is_err(), "{unit:?}");
    }
    assert!(
        began.elapsed().as_secs() < 60,
        "{:?} for 45 MiB",
        began.elapsed()
    );
}

proptest! {
    #[test]
    fn no_text_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&[file("f", &String::from_utf8_lossy(&bytes))]);
    }

    #[test]
    fn no_yaml_like_text_panics(text in "([a-z]{1,3}(: |:\n|\n)|- |  |\\[|\\]|\\{|\\}|&a|\\*a|---\n|\\||>|'|\"|#){0,60}") {
        let _ = parse(&[file("f", &text)]);
    }

    #[test]
    fn no_value_of_a_known_kind_panics(spec in "(\\{|\\}|\\[|\\]|, |http: |match: |hosts: |rules: |port: |null|1|x|~){0,30}") {
        for (api, kind) in [
            ("networking.istio.io/v1", "VirtualService"),
            ("security.istio.io/v1", "AuthorizationPolicy"),
            ("serving.kserve.io/v1beta1", "InferenceService"),
            ("v1", "Service"),
        ] {
            let text = format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n");
            let _ = parse(&[file("f", &text)]);
        }
    }
}
