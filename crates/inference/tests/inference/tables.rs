//! Models of named columns with text, and of texts; `examples/models/train.py` makes them. A booster of XGBoost 2.1, and one of
//! LightGBM 4.6 and one of CatBoost 1.2 with categories of text.

use crate::requests::{post, send};
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
    // In V2 numbers are those of Python: one that has no value is missing, as null is.
    let tensor = |value: &str| {
        let body = format!(
            r#"{{"id":"1","inputs":[{{"name":"x","datatype":"FP32","shape":[1,4],"data":[-0.5,1.0,0.0,{value}]}}]}}"#
        );
        post(&model, "/v2/models/booster/infer", &body)
    };
    assert!(
        tensor("NaN")
            .1
            .ends_with(&format!("\"data\":{second}}}]}}"))
    );
    assert_eq!(tensor("NaN"), tensor("null"));
    let infinite = tensor("Infinity").1;
    assert!(infinite.contains("inf"), "{infinite}");
    assert_eq!(tensor("1e400").1, infinite);
    assert_eq!(tensor("nan").0, 422);
    assert_eq!(ask("[[0.5,-1.0,0.25,NaN]]").0, 400);
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

const TEXTS: [&str; 3] = ["a very good plot", "bad", "unseen ☃"];

fn words() -> Arc<Model> {
    let file = include_bytes!("../models/words.joblib");
    Arc::new(Model::load("words", "model.joblib", file, &Options::default()).unwrap())
}

#[test]
fn texts_come_in_tensors_of_json_and_of_bytes() {
    let model = words();
    let expected = r#""outputs":[{"name":"output-0","shape":[3],"datatype":"BYTES","parameters":null,"data":["+","-","-"]}]}"#;
    for (shape, data) in [
        ("[3]", r#"["a very good plot","bad","unseen ☃"]"#),
        ("[3,1]", r#"[["a very good plot"],["bad"],["unseen ☃"]]"#),
        ("[-1]", r#"["a very good plot","bad","unseen ☃"]"#),
    ] {
        // The datatype may follow the data.
        let body = format!(
            r#"{{"id":"1","inputs":[{{"data":{data},"name":"x","shape":{shape},"datatype":"BYTES"}}]}}"#
        );
        let (status, text) = post(&model, "/v2/models/words/infer", &body);
        assert!(status == 200 && text.ends_with(expected), "{status} {text}");
    }
    let bytes: Vec<u8> = TEXTS
        .iter()
        .flat_map(|text| {
            let length = u32::try_from(text.len()).unwrap();
            [&length.to_le_bytes(), text.as_bytes()].concat()
        })
        .collect();
    let send = |bytes: &[u8]| {
        let json = format!(
            r#"{{"id":"1","inputs":[{{"name":"x","shape":[3],"datatype":"BYTES","parameters":{{"binary_data_size":{}}}}}]}}"#,
            bytes.len()
        );
        let headers = [(
            "inference-header-content-length".to_owned(),
            json.len().to_string(),
        )];
        let body = [json.as_bytes(), bytes].concat();
        let response = send(&model, "POST", "/v2/models/words/infer", &headers, &body);
        let text = String::from_utf8_lossy(response.body()).into_owned();
        (response.status().as_u16(), text)
    };
    let (status, text) = send(&bytes);
    assert!(status == 200 && text.ends_with(expected), "{status} {text}");
    // Cut off anywhere, and lengths that lie.
    for end in 0..bytes.len() {
        assert_eq!(send(&bytes[..end]).0, 400, "{end}");
    }
    let mut lies = bytes.clone();
    lies[3] = 0xff;
    assert_eq!(send(&lies).0, 400);
    let mut broken = bytes;
    broken[4] = 0xff;
    assert!(send(&broken).1.contains("not UTF-8"));
    let mixed = r#"{"inputs":[{"name":"x","shape":[2],"datatype":"BYTES","data":["bad",1]}]}"#;
    assert_eq!(post(&model, "/v2/models/words/infer", mixed).0, 400);
}

#[test]
fn columns_of_text_come_in_tensors_by_name() {
    let file = include_bytes!("../models/mixed.joblib");
    let model = Arc::new(Model::load("mixed", "model.joblib", file, &Options::default()).unwrap());
    let ask = |inputs: &str| {
        let body =
            format!(r#"{{"id":"1","parameters":{{"content_type":"pd"}},"inputs":[{inputs}]}}"#);
        post(&model, "/v2/models/mixed/infer", &body)
    };
    let size = r#"{"name":"size","shape":[3,1],"datatype":"FP64","data":[2.0,null,9]}"#;
    let colour =
        r#"{"name":"colour","shape":[3],"datatype":"BYTES","data":["red","violet","blue"]}"#;
    let (status, text) = ask(&format!("{size},{colour}"));
    assert_eq!(status, 200, "{text}");
    assert!(text.contains(r#""data":["warm","cold","cold"]"#), "{text}");
    let (status, text) = ask(size);
    assert!(
        status == 400 && text.contains("`colour` is missing"),
        "{text}"
    );
    let (status, text) = ask(&format!(
        "{size},{}",
        r#"{"name":"colour","shape":[2],"datatype":"BYTES","data":["red","violet"]}"#
    ));
    assert!(status == 400 && text.contains("same length"), "{text}");
}

#[test]
fn categories_of_catboost_are_text() {
    let file = include_bytes!("../models/colours.cbm");
    let options = Options {
        predict_proba: true,
        ..Options::default()
    };
    let text = r#"{"instances":[[{"size":0.5,"colour":"red"},{"colour":"😀","size":-1.0},{"size":null,"colour":"red"},{"size":0.5,"colour":"unseen"}]]}"#;
    let classes = r#"{"predictions":["big","small","big","small"]}"#;
    let probabilities = "{\"predictions\":[[0.808506433621148,0.19149356637885195],[0.17764113413010207,0.8223588658698979],\
         [0.5825311954256688,0.4174688045743312],[0.17764113413010207,0.8223588658698979]]}";
    for (options, expected) in [(Options::default(), classes), (options, probabilities)] {
        let model = Arc::new(Model::load("colours", "model.cbm", file, &options).unwrap());
        let answer = post(&model, "/v1/models/colours:predict", text);
        assert_eq!(answer, (200, expected.to_owned()));
        let (status, text) = post(
            &model,
            "/v1/models/colours:predict",
            r#"{"instances":[[0.5,0.25]]}"#,
        );
        assert_eq!(status, 400);
        assert!(text.contains("expected text or a whole number"), "{text}");
    }
}
