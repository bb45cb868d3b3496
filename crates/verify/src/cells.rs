//! The cells of a virtual host that have to be looked at: those of its own
//! strings, and of those in between that it shares with others one of each kind.

use std::rc::Rc;

use crate::engine::Engine;
use crate::fronts::FrontId;
use crate::globals::{Globals, parents};
use crate::listener::ListenerPart;
use crate::mdd::Set;
use crate::parts::HostPart;
use crate::paths::{Cell, Strings};

/// A cell, with what rules and routes do there in one configuration or in two.
#[derive(Debug)]
pub(crate) struct Piece<'p> {
    pub(crate) cell: Cell<'p>,
    pub(crate) sides: [Side; 2],
}

/// What rules and routes do at a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) front: FrontId,
    /// What the routes that can match there ask for, in their order.
    pub(crate) routes: Rc<[(usize, Set)]>,
}

/// The partition of paths for one virtual host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partition<'p> {
    pub(crate) own: &'p Strings,
    pub(crate) globals: &'p Globals,
}

impl<'p> Partition<'p> {
    /// Listed strings properly below a text.
    pub(crate) fn below(self, text: &'p str) -> impl Iterator<Item = &'p str> {
        let own = self.own.below(text);
        own.chain(self.globals.strings_below(text))
    }

    /// All listed strings.
    pub(crate) fn texts(self) -> impl Iterator<Item = &'p str> {
        self.own.iter().chain(self.globals.strings_below("/"))
    }

    /// The cell that a path is in.
    pub(crate) fn cell_of(self, path: &'p str) -> Option<Cell<'p>> {
        let own = self.own.cell_of(path)?;
        let global = self.globals.cell_of(path);
        Some(match global {
            Some(global) if own.region && global.text.len() > own.text.len() => global,
            Some(global) if !global.region => global,
            _ => own,
        })
    }
}

/// A virtual host on its listener.
pub(crate) type Placed<'a, 's> = (&'a ListenerPart<'s>, &'a HostPart<'s>);

/// Which cells are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    All,
    /// All of a virtual host's own strings, and of those in between where a
    /// route matches.
    Routed,
}

/// All cells that differ in something; `partition` knows the strings of all
/// sides.
pub(crate) fn pieces<'p>(
    engine: &mut Engine,
    partition: Partition<'p>,
    sides: [Placed<'_, '_>; 2],
    wanted: Wanted,
) -> Vec<Piece<'p>> {
    let texts: Vec<&str> = partition.own.iter().collect();
    let mut children: Vec<Vec<&str>> = vec![Vec::new(); texts.len()];
    for (text, parent) in texts.iter().zip(parents(texts.iter().copied())) {
        if let Some(list) = parent.and_then(|parent| children.get_mut(parent)) {
            list.push(text);
        }
    }
    let same = std::ptr::eq(sides[0].1, sides[1].1);
    let both = |engine: &mut Engine, cell: Cell<'_>| -> [Local; 2] {
        let [first, second] = sides;
        let one = Local::of(engine, first, cell);
        let other = if same {
            one.clone()
        } else {
            Local::of(engine, second, cell)
        };
        [one, other]
    };
    let mut out = Vec::new();
    for (text, longer) in texts.iter().copied().zip(&children) {
        for region in [false, true] {
            let cell = Cell { text, region };
            let local = both(engine, cell);
            let grounds = match partition.globals.at(cell) {
                Some(grounds) => grounds,
                None => sides.map(|(_, part)| part.ground.front(engine, cell)),
            };
            let [a, b] = &local;
            let [x, y] = grounds;
            let first = a.at(engine, x, cell);
            let second = if same {
                first.clone()
            } else {
                b.at(engine, y, cell)
            };
            out.push(Piece {
                cell,
                sides: [first, second],
            });
            let is_routed = a.is_routed || b.is_routed;
            if !region || wanted == Wanted::Routed && !is_routed {
                continue;
            }
            let further = sides.iter().any(|(_, part)| part.looks_further);
            let each = a.about_paths || b.about_paths || further;
            for (cell, [x, y]) in partition.globals.inside(text, longer, each) {
                let first = a.at(engine, x, cell);
                let second = if same {
                    first.clone()
                } else {
                    b.at(engine, y, cell)
                };
                out.push(Piece {
                    cell,
                    sides: [first, second],
                });
            }
        }
    }
    out
}

/// What a virtual host's own rules and routes do in a cell of its own strings.
#[derive(Clone)]
struct Local {
    front: FrontId,
    routes: Rc<[(usize, Set)]>,
    /// A route matches there, perhaps only once tokens were looked at.
    is_routed: bool,
    routes_about_paths: bool,
    about_paths: bool,
}

impl Local {
    fn of(engine: &mut Engine, (listener, part): Placed<'_, '_>, cell: Cell<'_>) -> Self {
        let steps = listener.steps.len();
        let front = part.scope.borrow_mut().front(engine, steps, cell);
        let routes: Rc<[(usize, Set)]> = part.matches.in_order(engine, cell).into();
        let routes_about_paths = routes.iter().any(|(_, set)| engine.looks_at_path(*set));
        let again = part.again.as_ref();
        Self {
            front,
            is_routed: !routes.is_empty() || again.is_some_and(|again| !again.is_empty_at(cell)),
            routes,
            routes_about_paths,
            about_paths: routes_about_paths || engine.fronts.is_about_paths(front),
        }
    }

    /// The same in a cell inside it, where rules that are shared do `ground`.
    fn at(&self, engine: &mut Engine, ground: FrontId, cell: Cell<'_>) -> Side {
        let ground = engine.settle_front(ground, cell);
        let own = engine.settle_front(self.front, cell);
        let routes = if self.routes_about_paths {
            settled(engine, &self.routes, cell).into()
        } else {
            Rc::clone(&self.routes)
        };
        Side {
            front: engine.join(ground, own),
            routes,
        }
    }
}

impl Side {
    /// What rules and routes do in one cell of a partition that knows all
    /// their strings.
    pub(crate) fn of(engine: &mut Engine, placed: Placed<'_, '_>, cell: Cell<'_>) -> Self {
        let local = Local::of(engine, placed, cell);
        let ground = placed.1.ground.front(engine, cell);
        local.at(engine, ground, cell)
    }
}

fn settled(engine: &mut Engine, routes: &[(usize, Set)], cell: Cell<'_>) -> Vec<(usize, Set)> {
    let settled = routes
        .iter()
        .map(|(route, set)| (*route, engine.settle(*set, cell)));
    settled.filter(|(_, set)| !set.is_none()).collect()
}
