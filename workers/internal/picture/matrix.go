package picture

import "github.com/reelmill/reelmill/pipeline"

// Matrix names how the source's YUV was made, in ffmpeg's words: as all outputs take it. Untagged
// video is BT.709 when HD and BT.601 (smpte170m) below, as every player assumes.
func Matrix(v pipeline.VideoTrack) string { return matrix(v) }
