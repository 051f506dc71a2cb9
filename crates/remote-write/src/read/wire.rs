//! Field numbers of remote read.

/// ReadRequest
pub(super) const QUERIES: u32 = 1;
pub(super) const ACCEPTED_TYPES: u32 = 2;
/// Query
pub(super) const START: u32 = 1;
pub(super) const END: u32 = 2;
pub(super) const MATCHERS: u32 = 3;
pub(super) const HINTS: u32 = 4;
/// LabelMatcher
pub(super) const MATCHER_TYPE: u32 = 1;
pub(super) const MATCHER_NAME: u32 = 2;
pub(super) const MATCHER_VALUE: u32 = 3;
/// ReadHints
pub(super) const HINT_STEP: u32 = 1;
pub(super) const HINT_FUNCTION: u32 = 2;
pub(super) const HINT_START: u32 = 3;
pub(super) const HINT_END: u32 = 4;
pub(super) const HINT_RANGE: u32 = 7;
/// ReadResponse
pub(super) const RESULTS: u32 = 1;
/// QueryResult; a TimeSeries is that of remote write
pub(super) const RESULT_SERIES: u32 = 1;
/// ChunkedReadResponse
pub(super) const CHUNKED_SERIES: u32 = 1;
pub(super) const QUERY_INDEX: u32 = 2;
/// ChunkedSeries; its labels are those of a TimeSeries
pub(super) const CHUNKS: u32 = 2;
/// Chunk
pub(super) const CHUNK_MIN_TIME: u32 = 1;
pub(super) const CHUNK_MAX_TIME: u32 = 2;
pub(super) const CHUNK_TYPE: u32 = 3;
pub(super) const CHUNK_DATA: u32 = 4;
/// Chunk.Encoding
pub(super) const XOR: u64 = 1;
