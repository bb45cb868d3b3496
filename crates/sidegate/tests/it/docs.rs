//! The commands of the documentation, as a reader would paste them.

use std::path::Path;
use std::process::Command;

use testkit::{Sidegate, Start};

use super::{SIDEGATE, example};

/// Indented command lines of a Markdown file, in order; a line that ends in a
/// backslash and here-documents go on.
pub(crate) fn commands(markdown: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut open_until: Option<&str> = None;
    // What stands between fences is what a command prints.
    let mut fenced = false;
    for line in markdown.lines() {
        fenced ^= line.starts_with("```");
        if fenced {
            continue;
        }
        let Some(line) = line.strip_prefix("    ") else {
            open_until = None;
            continue;
        };
        let goes_on = found.last().is_some_and(|last| last.ends_with('\\'));
        if goes_on || open_until.is_some() {
            let last = found.last_mut().unwrap();
            last.push('\n');
            last.push_str(line);
            if open_until == Some(line.trim()) {
                open_until = None;
            }
        } else if ["sidegate ", "cat <<EOF", "curl ", "echo "]
            .iter()
            .any(|c| line.starts_with(c))
        {
            open_until = line.contains("<<EOF").then_some("EOF");
            found.push(line.to_owned());
        }
    }
    found
}

fn bin_folder() -> &'static Path {
    Path::new(SIDEGATE).parent().unwrap()
}

/// A folder that a reader of the documentation is in: files of the examples are
/// where they are in the repository.
pub(crate) fn folder_with_examples() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    std::os::unix::fs::symlink(examples, folder.path().join("examples")).unwrap();
    folder
}

/// Runs a pasted command with `sidegate` on the path and the running program's data folder.
///
/// `verify`, `diff` and `fix` succeed by saying what is wrong, too: exit codes 1
/// and 2.
fn paste(program: &Sidegate, folder: &Path, command: &str) -> (bool, String) {
    let tells = ["sidegate verify ", "sidegate diff ", "sidegate fix "];
    let tells = tells.iter().any(|c| command.starts_with(c));
    let path = format!(
        "{}:{}",
        bin_folder().display(),
        std::env::var("PATH").unwrap()
    );
    let command = command
        .replace("http://127.0.0.1:8080", program.external())
        .replace("http://127.0.0.1:8081", program.local());
    let output = Command::new("sh")
        .args(["-c", &command])
        .current_dir(folder)
        .env("PATH", path)
        .env("SIDEGATE_DATA", program.data())
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let success = output.status.success() || tells && matches!(output.status.code(), Some(1 | 2));
    (success, text)
}

#[test]
fn the_walk_through_of_the_readme() {
    let program = Start::new(SIDEGATE).start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let readme = include_str!("../../../../README.md");
    let typed = commands(readme);
    let script: Vec<&String> = typed
        .iter()
        .filter(|c| c.starts_with("cat ") || c.starts_with("curl "))
        .collect();
    assert_eq!(script.len(), 2, "{typed:?}");
    let script = format!(
        "sidegate exec myapp-pod -- sh -c '{}\n{}'",
        script[0], script[1]
    );
    let (_, text) = paste(&program, folder.path(), &script);
    assert!(text.contains(r#"{"predictions":[1,1]}"#), "{text}");
}

/// Each command of these files is run against the example it names; `up` is
/// what the test itself starts.
#[test]
fn commands_of_the_docs() {
    for (name, text, start) in [
        (
            "docs/commands.md",
            include_str!("../../../../docs/commands.md"),
            example("seed"),
        ),
        (
            "docs/verify.md",
            include_str!("../../../../docs/verify.md"),
            example("seed-blog-fix"),
        ),
        (
            "docs/certificate.md",
            include_str!("../../../../docs/certificate.md"),
            example("seed"),
        ),
        (
            "docs/report.md",
            include_str!("../../../../docs/report.md"),
            example("seed-blog-fix"),
        ),
        (
            "docs/intents.md",
            include_str!("../../../../docs/intents.md"),
            example("seed"),
        ),
        (
            "docs/provider.md",
            include_str!("../../../../docs/provider.md"),
            example("seed"),
        ),
        (
            "docs/access.md",
            include_str!("../../../../docs/access.md"),
            example("seed"),
        ),
        (
            "examples/seed/README.md",
            include_str!("../../../../examples/seed/README.md"),
            example("seed"),
        ),
        (
            "docs/kubeflow.md",
            include_str!("../../../../docs/kubeflow.md"),
            example("kubeflow"),
        ),
        (
            "examples/kubeflow/README.md",
            include_str!("../../../../examples/kubeflow/README.md"),
            example("kubeflow"),
        ),
    ] {
        let program = start.start().unwrap();
        let folder = folder_with_examples();
        let typed = commands(text);
        assert!(!typed.is_empty(), "{name} has no commands");
        for command in typed.iter().filter(|c| !c.starts_with("sidegate up")) {
            let (success, output) = paste(&program, folder.path(), command);
            assert!(success, "{name}: {command}\n{output}");
        }
    }
}

/// The server of docs/runtime.md on the ports that it names by default would meet others: it gets free ones.
#[test]
fn the_model_server_of_the_docs() {
    let folder = folder_with_examples();
    let typed = commands(include_str!("../../../../docs/runtime.md"));
    let [serve, ask] = typed.as_slice() else {
        panic!("{typed:?}")
    };
    let args: Vec<&str> = serve.split(' ').skip(2).collect();
    let server = super::runtime::Server::start_in(folder.path(), &args);
    let ask = ask.replace("http://127.0.0.1:8080", &server.url(""));
    let output = Command::new("sh").args(["-c", &ask]).output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout);
    assert_eq!(answer, r#"{"predictions":[1]}"#);
}

/// Each question of docs/questions.md has a command, and each quoted line is in
/// what the command before it says.
#[test]
fn questions_and_their_answers() {
    let program = example("seed").start().unwrap();
    let folder = folder_with_examples();
    let text = include_str!("../../../../docs/questions.md");
    let mut said = String::new();
    let (mut questions, mut quoted) = (0, 0);
    for line in text.lines() {
        if line.starts_with("**") {
            questions += 1;
            assert!(line.starts_with(&format!("**{questions}. ")), "{line}");
            said.clear();
        } else if let Some(command) = line.strip_prefix("    sidegate ") {
            said = paste(&program, folder.path(), &format!("sidegate {command}")).1;
        } else if let Some(expected) = line.strip_prefix("> ") {
            assert!(said.contains(expected), "{expected}\n---\n{said}");
            quoted += 1;
        }
    }
    assert_eq!(questions, 15);
    assert!(quoted >= 20);
}

/// The story's three stages, each under the example its section starts.
#[test]
fn the_story_of_the_seed() {
    let story = include_str!("../../../../examples/seed/README.md");
    for (name, expected) in [
        ("seed-broken", "302"),
        ("seed-blog-fix", "200"),
        ("seed", "200"),
    ] {
        assert!(
            story.contains(&format!("sidegate up --example {name}")),
            "{name}"
        );
        let program = example(name).start().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("http://{}{}", super::LOCAL_HOST, super::PREDICT);
        let command = format!(
            "sidegate exec myapp-pod -- curl -s -o /dev/null -w '%{{http_code}}' {url} -d '{}'",
            super::IRIS
        );
        assert_eq!(
            paste(&program, folder.path(), &command).1,
            expected,
            "{name}"
        );
    }
}
