//! What the engine says of concrete requests: to hold it against the decision.

use policy::{RequestHead, Snapshot};

use crate::analysis::{Analysis, Outcome};
use crate::cells::{Partition, Side, Wanted};
use crate::decided::Decided;
use crate::engine::Engine;
use crate::universe::AUTHORITY;

/// What the engine says becomes of concrete requests of strangers; `None` where
/// it does not know. Its answers are those of [`decision`](crate::decision), or
/// one of the two is wrong.
pub fn predict(snapshot: &Snapshot, heads: &[RequestHead]) -> Vec<Option<Decided>> {
    let mut engine = Engine::new(&[snapshot]);
    let analysis = Analysis::new(&mut engine, snapshot);
    let predicted = heads.iter().map(|head| one(&mut engine, &analysis, head));
    let predicted = predicted.collect();
    // What was given up may change any of them.
    match engine.given_up.is_empty() {
        true => predicted,
        false => vec![None; heads.len()],
    }
}

fn one(engine: &mut Engine, analysis: &Analysis<'_>, head: &RequestHead) -> Option<Decided> {
    let listener = analysis.listeners.iter().find(|l| l.view.is_where(head))?;
    // Without a virtual host nothing is reached: not looked at further.
    let host = listener.select(&head.authority)?;
    let part = analysis.host(engine, listener.view.index(), host)?;
    let globals = part.ground.globals(engine);
    let partition = Partition {
        own: &part.strings,
        globals: &globals,
    };
    let cell = partition.cell_of(&head.path)?;
    let placed = (listener, &*part);
    // As the questions are answered: by the piece that stands for the cell.
    let side = Side::of(engine, placed, cell);
    let own = |text| partition.own.cell_of(text).map(|own| own.text);
    let pieces = analysis.pieces(engine, placed, partition, Wanted::All);
    let mut pieces = pieces.iter().filter(|p| p.sides.contains(&side));
    let piece = pieces
        .clone()
        .find(|piece| piece.cell == cell)
        .or_else(|| pieces.find(|piece| own(piece.cell.text) == own(cell.text)));
    debug_assert!(piece.is_some(), "no piece stands for {cell:?}");
    let flows = analysis.flows(engine, placed, piece?.cell, &side);
    let flow = flows.into_iter().find(|flow| {
        let class = |dim| match dim {
            AUTHORITY => analysis.class_of(placed, host, &head.authority),
            dim => engine.universe.class_of(dim, head),
        };
        engine.sets.contains(flow.set, class) == Some(true)
    })?;
    Some(match flow.outcome {
        Outcome::Reaches(destination) => Decided::Reaches(destination.clone()),
        Outcome::Answered => Decided::Answered,
        Outcome::Login => Decided::Login,
        Outcome::Token => Decided::Token,
        Outcome::Authorizer => Decided::Authorizer,
        Outcome::Denied => Decided::Denied,
        Outcome::NoRoute => Decided::NoRoute,
        Outcome::Unknown | Outcome::Inside(_) => return None,
    })
}
