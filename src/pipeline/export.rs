//! placeholder
use super::{BuildError, image::WholeImage};
use crate::event::Events;
use crate::exec::Layers;
use crate::request::BuildRequest;
pub(super) async fn write(_r: &BuildRequest, _l: &Layers, _e: &Events, _i: &WholeImage) -> Result<(), BuildError> { Ok(()) }
