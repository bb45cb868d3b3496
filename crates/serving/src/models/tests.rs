use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::{Output, StorageSettings};

/// A registry whose models are the text of their files. `bad` cannot be read,
/// `panic` brings the reader down.
struct Shop {
    models: Models<String>,
    folder: TempDir,
    reads: Arc<AtomicUsize>,
}

impl Shop {
    fn new() -> Self {
        let reads = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&reads);
        let models = Models::with_loader(
            ModelsSettings {
                retry_after: Duration::from_millis(1),
                ..ModelsSettings::default()
            },
            Storage::new(StorageSettings::default()),
            Handle::current(),
            Box::new(move |_, file| {
                counter.fetch_add(1, Ordering::Relaxed);
                match std::str::from_utf8(&file.bytes) {
                    Ok("panic") => panic!("a reader that panics"),
                    Ok("bad") | Err(_) => Err("`sklearn.Unknown` is not supported".to_owned()),
                    Ok(text) => Ok(text.to_owned()),
                }
            }),
        );
        Self {
            models,
            folder: tempfile::tempdir().unwrap(),
            reads,
        }
    }

    /// Writes a model file and returns what serves it.
    fn model(&self, name: &str, folder: &str, text: &str) -> DesiredModel {
        let folder = self.folder.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("model.joblib"), text).unwrap();
        desired(name, &folder)
    }

    async fn check(&self, expected: &[(&str, &str)]) {
        self.models.settled().await;
        let seen: Vec<_> = self
            .models
            .list()
            .into_iter()
            .map(|s| {
                let state = match s.state {
                    ModelState::Loading => "loading".to_owned(),
                    ModelState::Ready(text) => text.to_string(),
                    ModelState::Failed(reason) => format!("failed: {reason}"),
                };
                let update = match s.update {
                    Update::None => String::new(),
                    Update::Loading => " (loading)".to_owned(),
                    Update::Failed(reason) => format!(" (update failed: {reason})"),
                };
                let folder = self.folder.path().display().to_string();
                (
                    s.desired.name.clone(),
                    format!("{state}{update}").replace(&folder, "DIR"),
                )
            })
            .collect();
        let seen: Vec<_> = seen.iter().map(|(n, s)| (n.as_str(), s.as_str())).collect();
        assert_eq!(seen, expected);
    }
}

fn desired(name: &str, folder: &Path) -> DesiredModel {
    DesiredModel {
        namespace: "ns".into(),
        name: name.into(),
        format: "sklearn".into(),
        storage_uri: Some(format!("file://{}", folder.display())),
        output: Output::Prediction,
        refused: None,
    }
}

#[tokio::test]
async fn models_start_change_and_stop() {
    let shop = Shop::new();
    let one = shop.model("one", "a", "first");
    let two = shop.model("two", "b", "second");
    shop.models.reconcile(vec![one.clone(), two.clone()]);
    assert!(matches!(
        shop.models.get("ns", "one"),
        Some(ModelState::Loading)
    ));
    shop.check(&[("one", "first"), ("two", "second")]).await;
    assert!(shop.models.get("other", "one").is_none());

    let three = shop.model("one", "c", "third");
    shop.models.reconcile(vec![three.clone()]);
    assert!(
        shop.models.get("ns", "two").is_none(),
        "a removed model stops at once"
    );
    shop.check(&[("one", "third")]).await;

    shop.models.reconcile(vec![]);
    shop.check(&[]).await;
}

#[tokio::test]
async fn unchanged_models_are_left_alone() {
    let shop = Shop::new();
    let one = shop.model("one", "a", "first");
    shop.models.reconcile(vec![one.clone()]);
    shop.check(&[("one", "first")]).await;
    let Some(ModelState::Ready(before)) = shop.models.get("ns", "one") else {
        panic!("not ready")
    };
    shop.models
        .reconcile(vec![one.clone(), shop.model("two", "b", "second")]);
    shop.check(&[("one", "first"), ("two", "second")]).await;
    let Some(ModelState::Ready(after)) = shop.models.get("ns", "one") else {
        panic!("not ready")
    };
    assert!(Arc::ptr_eq(&before, &after));
    assert_eq!(shop.reads.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_failed_change_keeps_the_version_that_answers() {
    let shop = Shop::new();
    shop.models.reconcile(vec![shop.model("one", "a", "first")]);
    shop.check(&[("one", "first")]).await;
    shop.models.reconcile(vec![shop.model("one", "b", "bad")]);
    assert!(matches!(
        shop.models.get("ns", "one"),
        Some(ModelState::Ready(_))
    ));
    shop.check(&[(
        "one",
        "first (update failed: `sklearn.Unknown` is not supported)",
    )])
    .await;
    shop.models.reconcile(vec![shop.model("one", "c", "third")]);
    shop.check(&[("one", "third")]).await;
}

#[tokio::test]
async fn a_model_that_cannot_be_served_says_why() {
    let shop = Shop::new();
    let mut tensorflow = shop.model("tensorflow", "a", "x");
    tensorflow.format = "tensorflow".into();
    let mut refused = shop.model("refused", "a", "x");
    refused.refused = Some("`storageUri` is missing".into());
    let mut nowhere = desired("nowhere", Path::new("/"));
    nowhere.storage_uri = Some("ftp://host/m".into());
    shop.models.reconcile(vec![
        shop.model("bad", "b", "bad"),
        shop.model("crash", "c", "panic"),
        desired("missing", &shop.folder.path().join("none")),
        nowhere,
        refused,
        tensorflow,
    ]);
    shop.check(&[
        ("bad", "failed: `sklearn.Unknown` is not supported"),
        ("crash", "failed: reading the model file failed inside"),
        ("missing", "failed: `file://DIR/none` does not exist"),
        (
            "nowhere",
            "failed: storageUri `ftp://host/m` is not supported: expected `gs://`, `s3://`, \
             `pvc://`, `file://`, `http://`, `https://` or an absolute path",
        ),
        ("refused", "failed: `storageUri` is missing"),
        (
            "tensorflow",
            "failed: model format `tensorflow` is not supported: expected `sklearn`, `xgboost`, `lightgbm`, `catboost` or `onnx`",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_file_that_appears_later_is_found() {
    let shop = Shop::new();
    shop.models
        .reconcile(vec![desired("late", &shop.folder.path().join("late"))]);
    shop.models.settled().await;
    let mut changed = shop.models.changed();
    shop.model("late", "late", "here");
    while !matches!(shop.models.get("ns", "late"), Some(ModelState::Ready(_))) {
        changed.changed().await.unwrap();
    }
    shop.check(&[("late", "here")]).await;
}

#[tokio::test]
async fn a_changed_file_is_read_again_on_demand() {
    let shop = Shop::new();
    shop.models.reconcile(vec![shop.model("one", "a", "first")]);
    shop.check(&[("one", "first")]).await;
    shop.model("one", "a", "second");
    assert!(shop.models.reload("ns", "one"));
    shop.check(&[("one", "second")]).await;
    assert!(!shop.models.reload("ns", "none"));
}

#[tokio::test]
async fn of_many_quick_changes_the_last_wins() {
    let shop = Shop::new();
    for turn in 0..20 {
        let text = format!("version {turn}");
        shop.models
            .reconcile(vec![shop.model("one", &format!("v{turn}"), &text)]);
        if turn % 5 == 4 {
            shop.models.reconcile(vec![]);
        }
    }
    shop.models.reconcile(vec![
        shop.model("one", "last", "last"),
        shop.model("one", "twice", "no"),
    ]);
    shop.check(&[("one", "last")]).await;
}

/// What a registry of real models answers to a V1 predict of `ns/iris`.
async fn predict(folder: &Path, output: Output, instances: &str) -> (http::StatusCode, String) {
    let models = Models::new(
        ModelsSettings::default(),
        Storage::new(StorageSettings::default()),
        Handle::current(),
    );
    models.reconcile(vec![DesiredModel {
        output,
        ..desired("iris", folder)
    }]);
    models.settled().await;
    let (parts, ()) = http::Request::post("/v1/models/iris:predict")
        .body(())
        .unwrap()
        .into_parts();
    let body = format!("{{\"instances\":{instances}}}");
    let answer = crate::answer(&models.get("ns", "iris").unwrap(), parts, body.into());
    let text = std::str::from_utf8(answer.body()).unwrap().to_owned();
    (answer.status(), text)
}

#[tokio::test]
async fn a_model_file_in_a_folder_answers() {
    let iris = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/models/sklearn-iris")
        .canonicalize()
        .unwrap();
    let (status, text) = predict(
        &iris,
        Output::Prediction,
        "[[6.8,2.8,4.8,1.4],[6.0,3.4,4.5,1.6]]",
    )
    .await;
    assert_eq!(
        (status, text.as_str()),
        (http::StatusCode::OK, "{\"predictions\":[1,1]}")
    );
}

#[tokio::test]
async fn probabilities_are_answered_where_they_are_asked_for() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/1.5.2");
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(
        golden.join("svc-rbf-proba-4.p3.pkl"),
        dir.path().join("model.pkl"),
    )
    .unwrap();
    for (output, columns) in [(Output::Prediction, None), (Output::Probabilities, Some(4))] {
        let (status, text) = predict(dir.path(), output, "[[0,1,2,3,4,5,6,7]]").await;
        assert_eq!(status, http::StatusCode::OK, "{text}");
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            answer["predictions"][0].as_array().map(Vec::len),
            columns,
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_estimator_that_is_not_known_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("model.pkl"),
        b"csklearn.magic\nOracle\n(tR.",
    )
    .unwrap();
    let (status, text) = predict(dir.path(), Output::Prediction, "[[1]]").await;
    assert_eq!(status, http::StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("`sklearn.magic.Oracle`"), "{text}");
}
