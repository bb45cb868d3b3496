//! Configuration changes while requests come in.

use super::{SIDEGATE, outside};

const CLUSTER: &str = include_str!("../../../../examples/seed/cluster.yaml");
const OURS: &str = include_str!("../../../../examples/seed/sidegate.yaml");

#[test]
fn a_change_takes_effect_and_a_broken_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.yaml");
    let write = |text: &str| {
        let new = folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    let good = format!("{CLUSTER}\n---\n{OURS}");
    write(&good);
    let program = testkit::Start::new(SIDEGATE)
        .arg(folder.path())
        .start()
        .unwrap();
    let shop = |host: &str| outside(&program, host, "/cart", &[]).status;
    assert_eq!(shop("shop.example.com"), 200);
    assert_eq!(shop("store.example.com"), 401);

    let moved = good.replace("- shop.example.com", "- store.example.com");
    write(&moved);
    program
        .wait_until("the new host", || {
            Ok((shop("store.example.com") == 200).then_some(()))
        })
        .unwrap();
    assert_eq!(shop("shop.example.com"), 401);

    write("kind: [");
    program
        .wait_for_stderr("the changed configuration is not used")
        .unwrap();
    assert!(
        program.stderr().contains("not YAML"),
        "{}",
        program.stderr()
    );
    assert_eq!(shop("store.example.com"), 200, "the old one stays in force");

    write(&good);
    program
        .wait_until("the healed configuration", || {
            Ok((shop("shop.example.com") == 200).then_some(()))
        })
        .unwrap();
}
