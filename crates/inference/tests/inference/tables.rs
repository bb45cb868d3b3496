//! Models of named columns with text, and of texts; `examples/models/train.py` makes them. A booster of XGBoost 2.1, and one of
//! LightGBM 4.6 with categories of text.

use crate::requests::post;
use inference::{Model, Options};
use std::sync::Arc;

#[test]
fn columns_of_text_are_found_by_name() {
    let file = include_bytes!("../models/mixed.joblib");
    let model = Model::load("mixed", "model.joblib", file, &Options::default()).unwrap();
    let ask = |instances: &str| {
        let body = format!("{{\"instances\":{instances}}}");
        post(&model.clone().into(), "/v1/models/mixed:predict", &body)
    };
    let expected = (200, r#"{"predictions":["warm","cold","cold"]}"#.to_owned());
    let records = r#"[[{"size":2.0,"colour":"red"},{"colour":"violet","size":null},{"colour":"blue","size":9}]]"#;
    assert_eq!(ask(records), expected);
    let columns = r#"[{"colour":["red","violet","blue"],"size":[2.0,null,9]}]"#;
    assert_eq!(ask(columns), expected);
    let (status, text) = ask(r#"[[{"colour":"red"}]]"#);
    assert_eq!(status, 400);
    assert!(text.contains("`size` is missing"), "{text}");
    let (status, text) = ask(r#"[[{"colour":"red","size":"large"}]]"#);
    assert_eq!(status, 400);
    assert!(
        text.contains("could not convert string to float: 'large'"),
        "{text}"
    );
}

#[test]
fn texts_are_rows() {
    let file = include_bytes!("../models/words.joblib");
    let model = Model::load("words", "model.joblib", file, &Options::default()).unwrap();
    let ask = |body: &str| post(&model.clone().into(), "/v1/models/words:predict", body);
    let (status, text) = ask(r#"{"instances":["a very good plot","bad","unseen"]}"#);
    assert_eq!(
        (status, text.as_str()),
        (200, r#"{"predictions":["+","-","-"]}"#)
    );
    let (status, text) = ask(r#"{"instances":[[1.0,2.0]]}"#);
    assert_eq!(status, 400);
    assert!(
        text.contains("TfidfVectorizer expects one text for each row"),
        "{text}"
    );
    let body = inference::example_input(&model);
    assert_eq!(ask(&body).0, 200, "{body}");
}

#[test]
fn boosters_of_xgboost_answer_as_in_python() {
    let file = include_bytes!("../models/booster.ubj");
    // The name says one format and the content is another, as KServe's server allows.
    let model = Arc::new(Model::load("booster", "model.bst", file, &Options::default()).unwrap());
    let ask = |instances: &str| {
        let body = format!("{{\"instances\":{instances}}}");
        post(&model, "/v1/models/booster:predict", &body)
    };
    let first = "[0.19654859602451324,0.6076110005378723,0.19584043323993683]";
    let second = "[0.20445562899112701,0.5905718803405762,0.20497247576713562]";
    let answered = ask("[[0.5,-1.0,0.25,2.0],[-0.5,1.0,0.0,null]]");
    assert_eq!(
        answered,
        (200, format!("{{\"predictions\":[{first},{second}]}}"))
    );
    // Columns left out at the end are missing.
    assert_eq!(
        ask("[[0.5,-1.0,0.25]]"),
        (200, format!("{{\"predictions\":[{first}]}}"))
    );
    let (status, text) = ask("[[1,2,3,4,5]]");
    assert_eq!(status, 400);
    assert!(
        text.contains("X has 5 features, but Booster is expecting 4"),
        "{text}"
    );
    assert_eq!(ask("[[1,2,3,1e39]]").0, 400);
    let body = inference::example_input(&model);
    assert_eq!(
        post(&model, "/v1/models/booster:predict", &body).0,
        200,
        "{body}"
    );
}

#[test]
fn categories_of_text_are_mapped_as_in_training() {
    let file = include_bytes!("../models/colours.bst");
    let model = Arc::new(Model::load("colours", "model.bst", file, &Options::default()).unwrap());
    let ask = |instances: &str| {
        let body = format!("{{\"instances\":{instances}}}");
        post(&model, "/v1/models/colours:predict", &body)
    };
    let text = r#"[[{"size":0.5,"colour":"red"},{"colour":"😀","size":-1.0},{"size":null,"colour":null},{"size":0.5,"colour":"unseen"}]]"#;
    let expected = r#"{"predictions":[0.6532545215469816,0.38799057991741975,0.38799057991741975,0.5676701409710284]}"#;
    assert_eq!(ask(text), (200, expected.to_owned()));
    // Numbers are the codes of the categories, as KServe's server takes them.
    let codes = (
        200,
        r#"{"predictions":[0.6532545215469816,0.38799057991741975]}"#.to_owned(),
    );
    assert_eq!(ask("[[0.5,1.0],[-1,2]]"), codes);
    let (status, text) = ask(r#"[[{"size":"large","colour":"red"}]]"#);
    assert_eq!(status, 400);
    assert!(
        text.contains("could not convert string to float: 'large'"),
        "{text}"
    );
    let (status, text) = ask("[[1,2,3]]");
    assert_eq!(status, 400);
    assert!(
        text.contains("X has 3 features, but Booster is expecting 2"),
        "{text}"
    );
}
