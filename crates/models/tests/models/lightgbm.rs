//! Text files of LightGBM that are damaged, one line at a time.

use crate::boosted::{limits, refusal};
use models::{Matrix, Output, Precision, load};

/// A model of two features with a tree of three leaves, a categorical split above a numeric one.
const MODEL: &str = "tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=binary sigmoid:0.5
feature_names=a b=c
feature_infos=0:1:2 [0:1]
tree_sizes=1

Tree=0
num_leaves=3
num_cat=1
split_feature=0 1
threshold=0 0.5
decision_type=1 6
left_child=-1 -2
right_child=1 -3
leaf_value=1 2 -4
cat_boundaries=0 1
cat_threshold=5
is_linear=0
shrinkage=1


end of trees
";

fn answer(model: &str, row: [f64; 2]) -> f64 {
    let model = load(model.as_bytes(), &limits()).unwrap();
    let row = Matrix::new(row.to_vec(), 1, 2, Precision::Double).unwrap();
    match model.predict(&row).unwrap() {
        Output::Values(values, Precision::Double) => values[0],
        other => panic!("{other:?}"),
    }
}

#[test]
fn splits_go_as_they_are_written() {
    let sigmoid = |sum: f64| 1.0 / (1.0 + (-0.5 * sum).exp());
    let check = |row: [f64; 2], leaf: f64| assert_eq!(answer(MODEL, row), sigmoid(leaf), "{row:?}");
    for category in [0.0, 0.9, -0.9, 2.0] {
        check([category, 9.0], 1.0);
    }
    for category in [1.0, 3.0, 64.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
        check([category, 0.25], 2.0);
        check([category, 0.75], -4.0);
        // Zero is missing and goes to the left, like NaN.
        check([category, f64::NAN], 2.0);
        check([category, 1e-36], 2.0);
    }
    let right = MODEL.replace("decision_type=1 6", "decision_type=1 4");
    assert_eq!(answer(&right, [1.0, -1e-36]), sigmoid(-4.0));
    assert_eq!(answer(&right, [1.0, -1.0]), sigmoid(2.0));
    // Where nothing may be missing, NaN is zero.
    let none = MODEL.replace("decision_type=1 6", "decision_type=1 0");
    assert_eq!(answer(&none, [1.0, f64::NAN]), sigmoid(2.0));
    let below = none.replace("threshold=0 0.5", "threshold=0 -0.5");
    assert_eq!(answer(&below, [1.0, f64::NAN]), sigmoid(-4.0));
}

#[test]
fn lines_that_do_not_hold_together_are_refused() {
    let check = |line: &str, other: &str, what: &str| {
        assert!(MODEL.contains(line), "{line}");
        let found = refusal(MODEL.replacen(line, other, 1).as_bytes());
        assert!(
            found.starts_with("not a readable LightGBM model: "),
            "{found}"
        );
        assert!(found.contains(what), "{found}");
    };
    check(
        "version=v4",
        "version=v9",
        "a version other than v2, v3 and v4 at line",
    );
    check(
        "num_class=1",
        "num_class=2",
        "expected a tree for each class",
    );
    check(
        "num_tree_per_iteration=1",
        "num_tree_per_iteration=0",
        "expected a tree for each class",
    );
    check(
        "max_feature_idx=1",
        "max_feature_idx=2",
        "expected a name for each feature",
    );
    check(
        "objective=binary sigmoid:0.5",
        "objective=binary sigmoid:0",
        "no positive number",
    );
    check(
        "objective=binary sigmoid:0.5",
        "objective=multiclass num_class:3",
        "is not that of the model",
    );
    check(
        "objective=binary sigmoid:0.5",
        "objective=mine",
        "the objective `mine` is not supported",
    );
    check("tree_sizes=1", "tree_sizes=1 1", "expected tree 1 of 2");
    check(
        "tree_sizes=1",
        "tree_sizes=",
        "expected the end of the trees",
    );
    check("Tree=0", "Tree=1", "expected tree 0 of 1");
    check(
        "num_leaves=3",
        "num_leaves=0",
        "tree 0: a tree without leaves",
    );
    check(
        "num_leaves=3",
        "num_leaves=4",
        "expected 4 numbers in `leaf_value`, found 3",
    );
    check(
        "num_cat=1",
        "num_cat=9999999",
        "expected 10000000 numbers in `cat_boundaries`",
    );
    check(
        "split_feature=0 1",
        "split_feature=0 2",
        "node 1 looks at a feature that does not exist",
    );
    check(
        "split_feature=0 1",
        "split_feature=0",
        "expected 2 numbers in `split_feature`",
    );
    check(
        "threshold=0 0.5",
        "threshold=0 nan",
        "node 1 has no threshold",
    );
    check(
        "threshold=0 0.5",
        "threshold=1 0.5",
        "node 0 has no categories",
    );
    check(
        "decision_type=1 6",
        "decision_type=1 1",
        "node 1 has no categories",
    );
    check(
        "decision_type=1 6",
        "decision_type=1 12",
        "node 1 has an unknown type",
    );
    check(
        "threshold=0 0.5\ndecision_type=1 6",
        "threshold=0 0\ndecision_type=1 1",
        "splits that share categories",
    );
    check(
        "right_child=1 -3",
        "right_child=1 1",
        "node 1 is in a cycle",
    );
    check(
        "left_child=-1 -2",
        "left_child=2 -2",
        "node 0 has a child that does not exist",
    );
    check(
        "left_child=-1 -2",
        "left_child=-4 -2",
        "in a cycle or has no children",
    );
    check(
        "cat_boundaries=0 1",
        "cat_boundaries=0 2",
        "expected 2 numbers in `cat_threshold`",
    );
    check(
        "cat_boundaries=0 1",
        "cat_boundaries=1 0",
        "expected 0 numbers in `cat_threshold`",
    );
    check(
        "leaf_value=1 2 -4",
        "leaf_value=1 2 x",
        "expected numbers in `leaf_value`",
    );
    check("is_linear=0", "is_linear=1", "expected `leaf_const`");
    check("end of trees", "end", "expected the end of the trees");
    let linear =
        "is_linear=1\nleaf_const=0 0 0\nnum_features=1 0 1\nleaf_coeff=1 1\nleaf_features=";
    check(
        "is_linear=0",
        &format!("{linear}0 2"),
        "a leaf looks at a feature that does not exist",
    );
    check(
        "is_linear=0",
        &format!("{linear}0"),
        "expected 2 numbers in `leaf_features`",
    );
    check(
        "shrinkage=1\n",
        &"x=1\n".repeat(99),
        "a section of too many lines",
    );
    check("shrinkage=1\n", "shrinkage\n", "expected a name and `=`");
    check(
        "end of trees\n",
        "end of trees\npandas_categorical:[[\"a\"",
        "in `pandas_categorical`",
    );
}
