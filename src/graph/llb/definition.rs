//! Vertices, their digests, and the envelope around them.

use std::sync::Arc;

use bollard_buildkit_proto::pb;
use prost::Message as _;

use crate::dockerfile::Source;
use crate::graph::Place;
use crate::image::Platform;
use crate::layer::Digest;

/// The first output of a vertex, which is the only one that is ever used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    vertex: Digest,
}

/// Collects the vertices of a definition, inputs first.
#[derive(Debug)]
pub(super) struct DefinitionWriter {
    platform: pb::Platform,
    use_cache: bool,
    definition: pb::Definition,
    sources: Vec<Arc<Source>>,
    places: pb::Source,
}

/// The description that progress displays show.
const CUSTOM_NAME: &str = "llb.customname";

impl DefinitionWriter {
    pub(super) fn new(platform: &Platform, use_cache: bool) -> Self {
        Self {
            platform: platform_of(platform),
            use_cache,
            definition: pb::Definition::default(),
            sources: Vec::new(),
            places: pb::Source::default(),
        }
    }

    /// Adds a vertex for the definition's platform; one that is there already is not added again.
    pub(super) fn vertex(
        &mut self,
        inputs: &[Output],
        op: pb::op::Op,
        name: &str,
        place: Option<&Place>,
    ) -> Output {
        let platform = self.platform.clone();
        self.vertex_for(inputs, op, name, place, platform)
    }

    /// Adds a vertex for a platform.
    pub(super) fn vertex_for(
        &mut self,
        inputs: &[Output],
        op: pb::op::Op,
        name: &str,
        place: Option<&Place>,
        platform: pb::Platform,
    ) -> Output {
        let inputs = inputs.iter().map(Output::to_input).collect();
        let op = pb::Op { inputs, op: Some(op), platform: Some(platform), constraints: None };
        let bytes = op.encode_to_vec();
        let vertex = Digest::of(&bytes);
        let key = vertex.to_string();
        if !self.definition.metadata.contains_key(&key) {
            self.definition.def.push(bytes);
            let description = [(CUSTOM_NAME.to_owned(), name.to_owned())].into();
            let ignore_cache = !self.use_cache && place.is_some();
            let metadata = pb::OpMetadata { description, ignore_cache, ..pb::OpMetadata::default() };
            self.definition.metadata.insert(key.clone(), metadata);
        }
        if let Some(place) = place {
            let location = self.location(place);
            self.places.locations.entry(key).or_default().locations.push(location);
        }
        Output { vertex }
    }

    /// The place in the Dockerfile, so that a failing daemon can show the line.
    fn location(&mut self, place: &Place) -> pb::Location {
        let known = self.sources.iter().position(|source| Arc::ptr_eq(source, &place.source));
        let index = known.unwrap_or_else(|| {
            self.sources.push(Arc::clone(&place.source));
            self.places.infos.push(pb::SourceInfo {
                filename: place.source.name().to_owned(),
                data: place.source.text().as_bytes().to_vec(),
                definition: None,
                language: "Dockerfile".to_owned(),
            });
            self.sources.len() - 1
        });
        let position = |offset| {
            let place = place.source.line_column(offset);
            let line = i32::try_from(place.line).unwrap_or(i32::MAX);
            Some(pb::Position { line, character: 0 })
        };
        let range = pb::Range { start: position(place.span.start), end: position(place.span.end) };
        pb::Location { source_index: i32::try_from(index).unwrap_or(i32::MAX), ranges: vec![range] }
    }

    /// The marshalled definition whose result is `result`.
    pub(super) fn finish(mut self, result: &Output) -> Vec<u8> {
        let last = pb::Op { inputs: vec![result.to_input()], ..pb::Op::default() };
        self.definition.def.push(last.encode_to_vec());
        self.definition.source = Some(self.places);
        self.definition.encode_to_vec()
    }
}

impl Output {
    fn to_input(&self) -> pb::Input {
        pb::Input { digest: self.vertex.to_string(), index: 0 }
    }
}

pub(super) fn platform_of(platform: &Platform) -> pb::Platform {
    pb::Platform {
        architecture: platform.architecture().to_owned(),
        os: platform.os().to_owned(),
        variant: platform.variant().unwrap_or_default().to_owned(),
        os_version: String::new(),
        os_features: Vec::new(),
    }
}
