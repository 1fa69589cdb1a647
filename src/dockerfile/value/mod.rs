//! Values with a syntax of their own: modes, ports, signals, durations, sizes.
//!
//! All are checked where they are written if they use no variables, and again after expansion.

mod chmod;
mod duration;
mod port;
mod signal;
mod size;

pub use chmod::{Chmod, ParseChmodError, parse_chmod};
pub use duration::{ParseDurationError, parse_duration};
pub use port::{ParsePortError, PortSpec, Protocol, parse_port_spec};
pub use signal::{ParseSignalError, parse_signal};
pub(crate) use size::parse_size;
