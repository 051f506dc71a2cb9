//! Strict configuration files: YAML with positions, all problems at once, each with what to do.
//!
//! A section of a file decodes itself from a [`Node`]: it asks its [`Mapping`] for every key it knows, reports what is
//! wrong where it stands, and calls [`Mapping::finish`], which names every key nobody asked for. Problems gather in the
//! [`Document`]; [`Document::finish`] hands them out sorted by line.
//!
//! ```
//! use config::{Document, Node};
//! struct Server { port: u64 }
//! impl Server {
//!     fn decode(node: &Node<'_>) -> Option<Self> {
//!         let fields = node.mapping()?;
//!         let port = fields.required("port").and_then(|n| n.u64());
//!         fields.finish();
//!         Some(Self { port: port? })
//!     }
//! }
//! let document = Document::parse("server.yml".as_ref(), "prot: 80\n").unwrap();
//! assert!(Server::decode(&document.root()).is_none());
//! let problems = document.finish().unwrap_err();
//! assert!(problems.to_string().contains(r#"server.yml:1:1: unknown key "prot"; did you mean "port"?"#));
//! ```
//!
//! Why not serde: it stops at the first problem, and a validated value has lost its line (docs/decisions/003).
//! Invariants: a scalar keeps its text (`regex: 010` is "010"); `null` counts as absent; no input panics.

mod document;
mod global;
mod mapping;
mod node;
mod problem;
mod secret;

#[cfg(test)]
mod tests;

pub use document::Document;
pub use global::Global;
pub use mapping::Mapping;
pub use node::Node;
pub use problem::{Problem, Problems};
pub use secret::{Secret, SecretError, SecretSource};
