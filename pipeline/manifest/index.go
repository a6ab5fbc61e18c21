package manifest

import (
	"encoding/json"
	"fmt"

	"github.com/reelmill/reelmill/pipeline"
)

// Run describes consecutive segments of one rendition in an index. A job that makes segments leaves one
// index, a JSON array of its runs, since outputs have no room for the sizes and keyframes, of which there
// may be thousands.
type Run struct {
	Rendition string `json:"rendition"` // the folder of its files, such as 720p
	Track     Track  `json:"track"`
}

// indexName is the name of every index.
const indexName = "index"

// IndexOutput returns the output that holds a job's index, before it is published.
func IndexOutput(job string) pipeline.Output {
	return pipeline.Output{Name: indexName, Kind: pipeline.KindIndex, Path: "index/" + job + ".json"}
}

// IsIndex reports whether o holds an index. Other workers may keep what they like under their own names.
func IsIndex(o pipeline.Output) bool { return o.Kind == pipeline.KindIndex && o.Name == indexName }

// EncodeIndex returns the index of a job that made these runs.
func EncodeIndex(runs ...Run) ([]byte, error) {
	data, err := json.Marshal(runs)
	if err != nil {
		return nil, fmt.Errorf("encode index: %w", err)
	}
	return data, nil
}

// DecodeIndex returns the runs of an index.
func DecodeIndex(data []byte) ([]Run, error) {
	var runs []Run
	if err := json.Unmarshal(data, &runs); err != nil {
		return nil, fmt.Errorf("decode index: %w", err)
	}
	return runs, nil
}
