//! An SMS provider described by how it is called over HTTP: its settings, checked and compiled. What
//! compiles where settings are stored compiles where messages are sent.

mod escape;
mod origin;
mod pattern;
mod shape;

pub use escape::component;
pub use origin::Origin;
pub use pattern::{Field, Fields, Pattern};
pub use shape::{Reading, Shape, Words, Wrong};
