//! Graphs of ONNX that the program has run by ONNX Runtime's library, against ONNX Runtime in Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::oracle::Check;
use crate::served::serve;
use crate::{cache, shell};

pub(crate) fn suite() -> Vec<Check> {
    vec![("graphs of ONNX by ONNX Runtime's library", Box::new(check))]
}

fn check() -> Result<()> {
    let folder = shell::root().join("xtask/peers/onnxruntime");
    let python = cache::python("onnxruntime", &folder.join("requirements.txt"))?;
    let script = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command
            .arg(folder.join("graphs.py"))
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    let work = tempfile::tempdir().context("making a folder")?;
    let program = built(work.path())?;
    let library = shell::output(&mut script(&["library"]));
    let library = format!("--onnxruntime={library}");
    let onnx = "--framework=onnx";

    let models = work.path().join("models");
    shell::run(&mut script(&["make", &models.display().to_string()]))?;
    let server = serve(&program, &models, &[onnx, &library])?;
    shell::run(&mut script(&["ask", &format!("http://{}", server.http)]))?;

    let refused = work.path().join("refused");
    let told = shell::output(&mut script(&["refused", &refused.display().to_string()]));
    for line in told.lines() {
        let (name, said) = line.split_once('\t').context("expected a name and words")?;
        refuse(&program, &refused.join(name), &[onnx, &library], said)?;
    }
    let conv = models.join("convolution");
    refuse(&program, &conv, &[onnx], "`ai.onnx.Conv` in version 17")?;
    inspect(&program, &conv, &library)?;
    let nothing = "--onnxruntime=/nowhere.so";
    refuse(
        &program,
        &conv,
        &[onnx, nothing],
        "`/nowhere.so` cannot be used",
    )
}

/// Checks that a model is not served, for that reason.
fn refuse(program: &Path, model: &Path, flags: &[&str], said: &str) -> Result<()> {
    match serve(program, model, flags) {
        Ok(_) => bail!("{} is served", model.display()),
        Err(error) if format!("{error:#}").contains(said) => Ok(()),
        Err(error) => bail!("expected `{said}` about {}: {error:#}", model.display()),
    }
}

/// Checks that `sidegate model` knows a model by the library as well.
fn inspect(program: &Path, model: &Path, library: &str) -> Result<()> {
    let mut files = std::fs::read_dir(model)?;
    let file = files.next().context("expected a file")??.path();
    let inspect = |more: &[&str]| {
        let mut command = Command::new(program);
        command.args(["model", "inspect"]).arg(&file).args(more);
        command.output().context("starting the program")
    };
    let told = inspect(&[library])?;
    let said = String::from_utf8_lossy(&told.stdout);
    if !told.status.success() || !said.starts_with("graph of ONNX") {
        bail!("{said}{}", String::from_utf8_lossy(&told.stderr));
    }
    match inspect(&[])?.status.code() {
        Some(3) => Ok(()),
        other => bail!("without the library: {other:?}"),
    }
}

/// The program with the feature, aside: where cargo has put it the other tests expect the one without.
fn built(folder: &Path) -> Result<PathBuf> {
    let build = |feature: &[&str]| {
        shell::run(
            shell::cargo()
                .args(["build", "--quiet", "--package", "sidegate"])
                .args(feature),
        )
    };
    build(&["--features", "onnxruntime"])?;
    let program = folder.join("sidegate");
    std::fs::copy(shell::target().join("debug/sidegate"), &program)?;
    build(&[])?;
    Ok(program)
}
