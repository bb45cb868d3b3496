//! The web pages: what runs, how to call it, a form to try it, and API keys.
//!
//! Rendering only. The program gathers a [`PageView`], passes each request to [`Console::handle`]
//! and does what the [`Action`] says. Pages work without scripts and load nothing.
//!
//! `style/base.css` is the stylesheet of the whole product; the login page uses it too.

mod keys;
mod page;
mod route;
mod view;

#[cfg(test)]
mod tests;

pub use keys::{KeyChange, KeyView, KeysView, MadeKey};
pub use route::{Action, Console};
pub use view::{
    Access, ConfigView, FormToken, ListenerView, Mode, ModelDetail, ModelState, ModelView,
    PageView, UserView,
};
