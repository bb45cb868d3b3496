use super::super::lanes::{Open, Walker};
use super::*;

/// Numbers that look like chance (a linear congruential generator).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// Few, so that rows meet thresholds.
    fn value(&mut self) -> f64 {
        match self.below(12) {
            0 => -0.0,
            1 => f64::INFINITY,
            number => number as f64 / 4.0 - 1.5,
        }
    }
}

/// Splits of large trees, and rows: few where each step takes long.
const MANY: u64 = if cfg!(miri) { 20 } else { 200 };
const ROWS: u64 = if cfg!(miri) { 3 } else { 50 };

const WORDS: [u32; 2] = [0b1010, 1];

/// A tree of at most so many splits, each of a leaf that was there.
fn tree(chance: &mut Chance, splits: u64, columns: u64, general: bool) -> Vec<Fork<'static>> {
    let mut nodes = vec![Fork::Leaf { number: 0 }];
    for _ in 0..chance.below(splits + 1) {
        let at = chance.below(nodes.len() as u64) as usize;
        if matches!(nodes[at], Fork::Split { .. }) {
            continue;
        }
        let (yes, no) = (nodes.len(), nodes.len() + 1);
        nodes[at] = Fork::Split {
            feature: chance.below(columns) as usize,
            question: match general && chance.below(3) == 0 {
                true => Question::Among(&WORDS),
                false if chance.below(20) == 0 => Question::Never,
                false => Question::AtMost(chance.value()),
            },
            missing_yes: chance.below(2) == 0,
            zero_is_missing: general && chance.below(4) == 0,
            yes,
            no,
        };
        nodes.push(Fork::Leaf { number: yes as u32 });
        nodes.push(Fork::Leaf { number: no as u32 });
    }
    nodes
}

/// One step after the other, as a file says.
fn leaf(nodes: &[Fork<'_>], row: &[f64]) -> u32 {
    let mut at = 0;
    loop {
        let (feature, question, missing_yes, zero_is_missing, yes, no) = match nodes[at] {
            Fork::Leaf { number } => return number,
            Fork::Split {
                feature,
                question,
                missing_yes,
                zero_is_missing,
                yes,
                no,
            } => (feature, question, missing_yes, zero_is_missing, yes, no),
        };
        let value = row.get(feature).copied().unwrap_or(f64::NAN);
        let goes = if value.is_nan() || (zero_is_missing && value == 0.0) {
            missing_yes
        } else {
            match question {
                Question::AtMost(threshold) => value <= threshold,
                Question::Never => false,
                Question::Among(words) => {
                    let category = value as usize;
                    value > -1.0
                        && words
                            .get(category / 32)
                            .is_some_and(|word| word >> (category % 32) & 1 == 1)
                }
            }
        };
        at = if goes { yes } else { no };
    }
}

#[test]
fn walks_end_where_steps_in_turn_end() {
    let mut chance = Chance(7);
    for (columns, general) in [(3, false), (255, false), (256, false), (3, true)] {
        for count in [1, 2, 8, 9, 15, 16, 17, 40, 130] {
            let splits = if count % 2 == 0 { 6 } else { MANY };
            let trees: Vec<_> = (0..count)
                .map(|_| tree(&mut chance, splits, columns, general))
                .collect();
            let columns = columns as usize;
            for mut walk in [Walk::single(columns), Walk::double(columns, Cut::Whole)] {
                for nodes in &trees {
                    walk.add(nodes.len(), |index| Ok(nodes[index])).unwrap();
                }
                walk.finish();
                for missing in [0, 5] {
                    // A column less than there are is missing too.
                    let length = columns - usize::from(missing == 5);
                    let row: Vec<f64> = (0..length)
                        .map(|_| match missing > 0 && chance.below(missing) == 0 {
                            true => f64::NAN,
                            false => chance.value(),
                        })
                        .collect();
                    let mut found = Vec::new();
                    walk.leaves(&row, &mut Work::default(), &mut |before, numbers| {
                        assert_eq!(before, found.len());
                        found.extend_from_slice(numbers);
                    });
                    let expected: Vec<u32> = trees.iter().map(|nodes| leaf(nodes, &row)).collect();
                    assert_eq!(found, expected, "{columns} columns, {count} trees");
                }
            }
        }
    }
}

#[test]
fn sums_take_their_trees_in_turn() {
    let mut walk = Walk::single(1);
    for number in 0..20 {
        walk.add(1, |_| Ok(Fork::Leaf { number })).unwrap();
    }
    let mut sums = [0.0, 1000.0, 0.0];
    walk.add_up(&[0.0], &mut Work::default(), &mut sums, f64::from);
    assert_eq!(sums, [63.0, 1070.0, 57.0]);
    walk.truncate(2);
    let mut sum = [0.5];
    walk.add_up(&[0.0], &mut Work::default(), &mut sum, f64::from);
    assert_eq!(sum, [1.5]);
}

#[test]
fn registers_end_where_lanes_end() {
    let mut chance = Chance(11);
    for columns in [5, 40] {
        let mut walk = Walk::single(columns as usize);
        for _ in 0..100 {
            let nodes = tree(&mut chance, MANY, columns, false);
            walk.add(nodes.len(), |index| Ok(nodes[index])).unwrap();
        }
        let Nodes::Small(nodes) = &walk.nodes else {
            panic!("expected small nodes");
        };
        for _ in 0..ROWS {
            let value = |_| match chance.below(4) {
                0 => key32(f32::NAN),
                _ => key32(chance.value() as f32),
            };
            let mut row: Vec<u32> = (0..columns).map(value).collect();
            row.push(key32(f32::NAN));
            let walker = Walker::<_, MISSING> {
                trees: &walk,
                nodes,
                row: &row,
            };
            let (mut lanes, mut registers) = (Open::of(&walk.roots), Open::of(&walk.roots));
            while lanes.count > 0 {
                walker.advance(&mut lanes, 3);
                if !crate::kernels::wide::advance(&walker, &mut registers, 3) {
                    walker.advance(&mut registers, 3);
                }
                let open = |open: &Open| {
                    (
                        open.places[..open.count].to_vec(),
                        open.trees[..open.count].to_vec(),
                    )
                };
                assert_eq!(open(&lanes), open(&registers));
            }
            assert_eq!(lanes.numbers[..100], registers.numbers[..100]);
        }
    }
}

#[test]
fn ranks_end_where_thresholds_end() {
    let mut chance = Chance(13);
    let mut walk = Walk::double(4, Cut::Whole);
    let trees: Vec<_> = (0..60).map(|_| tree(&mut chance, 40, 4, false)).collect();
    for nodes in &trees {
        walk.add(nodes.len(), |index| Ok(nodes[index])).unwrap();
    }
    let before = walk.bytes();
    walk.finish();
    assert!(walk.ranks.is_some() && walk.bytes() < before);
    for _ in 0..ROWS {
        let row: Vec<f64> = (0..4)
            .map(|_| match chance.below(5) {
                0 => f64::NAN,
                1 => chance.value() + 1e-12,
                _ => chance.value(),
            })
            .collect();
        let mut found = Vec::new();
        let mut work = Work::default();
        walk.leaves(&row, &mut work, &mut |_, numbers| {
            found.extend_from_slice(numbers)
        });
        let expected: Vec<u32> = trees.iter().map(|nodes| leaf(nodes, &row)).collect();
        assert_eq!(found, expected);
    }
}
