//! Models of named columns with text, and of texts; `examples/models/train.py` makes them.

use crate::requests::post;
use inference::{Model, Options};

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
