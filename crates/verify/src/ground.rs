//! What rules do that are the same for many virtual hosts, with the cells of
//! their strings.

use std::cell::RefCell;
use std::rc::Rc;

use crate::engine::Engine;
use crate::fronts::FrontId;
use crate::globals::Globals;
use crate::paths::{Cell, Strings};
use crate::scope::Scope;
use crate::terms::Term;

/// Rules of a listener that are compiled once for several virtual hosts.
#[derive(Debug)]
pub(crate) struct Ground {
    /// Steps of the listener.
    steps: usize,
    scope: RefCell<Scope>,
    /// What divides paths.
    pub(crate) strings: Strings,
    globals: RefCell<Option<Rc<Globals>>>,
}

impl Ground {
    /// Terms by step of the listener, which has this many.
    pub(crate) fn new(steps: usize, scope: Scope) -> Self {
        let mut strings: Strings = std::iter::empty().collect();
        scope.strings(&mut strings);
        Self {
            steps,
            scope: RefCell::new(scope),
            strings,
            globals: RefCell::default(),
        }
    }

    /// The same with more terms.
    pub(crate) fn with(&self, terms: Vec<(usize, Term)>) -> Self {
        let mut scope = self.scope.borrow().more();
        for (step, term) in terms {
            scope.add(step, term);
        }
        Self::new(self.steps, scope)
    }

    /// What the rules do on a cell of a partition that knows all their strings.
    pub(crate) fn front(&self, engine: &mut Engine, cell: Cell<'_>) -> FrontId {
        self.scope.borrow_mut().front(engine, self.steps, cell)
    }

    /// The partition by their strings.
    pub(crate) fn globals(&self, engine: &mut Engine) -> Rc<Globals> {
        if let Some(known) = &*self.globals.borrow() {
            return Rc::clone(known);
        }
        let made = Rc::new(Globals::new(engine, [self, self]));
        self.globals.replace(Some(Rc::clone(&made)));
        made
    }

    /// Whether one of the rules looks at more of a path than where its cell is.
    pub(crate) fn looks_at_paths(&self, engine: &mut Engine) -> bool {
        self.scope.borrow().looks_at_paths(engine)
    }
}
