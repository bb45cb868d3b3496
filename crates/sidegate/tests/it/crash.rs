//! kill -9 at any moment: what was acknowledged stays, the next start is clean.

use super::{example, log_in};

#[test]
fn sessions_survive_kill_9() {
    let data = tempfile::tempdir().unwrap();
    let jar = tempfile::NamedTempFile::new().unwrap();
    let start = || example("seed").data(data.path()).start().unwrap();
    let program = start();
    assert_eq!(log_in(&program, jar.path(), "12341234").status, 200);
    let token = super::token(&program, "kserve-test");
    program.kill().unwrap();

    let program = start();
    let jar = jar.path().display().to_string();
    let page = testkit::curl(["-b", &jar, &format!("{}/", program.external())]).unwrap();
    assert!(
        page.status == 200 && page.body.contains("user@example.com"),
        "{page:?}"
    );
    let bearer = format!("authorization: Bearer {token}");
    let answer = super::outside(
        &program,
        super::OUTSIDE_HOST,
        super::PREDICT,
        &["-H", &bearer, "-d", super::IRIS],
    );
    assert_eq!(answer.status, 200, "keys survive as well");
}

/// Logins are under way, and files are being written, when the power goes.
#[test]
fn a_start_after_kill_9_in_the_middle_of_logins_is_clean() {
    let data = tempfile::tempdir().unwrap();
    for round in 0..6u64 {
        let program = example("seed").data(data.path()).start().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let jar = tempfile::NamedTempFile::new().unwrap();
                    let jar = jar.path().display().to_string();
                    let url = format!("{}/", program.external());
                    // Cut off at any point; only the next start matters.
                    let form = testkit::curl([
                        "-c",
                        &jar,
                        "-b",
                        &jar,
                        "-L",
                        "-H",
                        "accept: text/html",
                        "-o",
                        "/dev/null",
                        "-w",
                        "%{url_effective}",
                        &url,
                    ]);
                    if let Ok(form) = form {
                        let login = [
                            "-c",
                            &jar,
                            "-b",
                            &jar,
                            "-L",
                            "-d",
                            "login=user@example.com",
                            "-d",
                            "password=12341234",
                            &form.body,
                        ];
                        drop(testkit::curl(login));
                    }
                });
            }
            let pid = program.pid();
            scope.spawn(move || {
                // A different moment each round, from form to session.
                std::thread::sleep(std::time::Duration::from_millis(40 + 120 * round));
                let killed = std::process::Command::new("kill")
                    .args(["-9", &pid.to_string()])
                    .status();
                assert!(killed.unwrap().success());
            });
        });
    }
    let program = example("seed").data(data.path()).start().unwrap();
    let jar = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(log_in(&program, jar.path(), "12341234").status, 200);
}
