package pipeline

import "embed"

// schemas holds one JSON Schema (2020-12) for each event type. They are generated from the Go types by
// `go test ./pipeline -run TestSchemas -update`, and committed, so that a change of an event shows in review.
//
//go:embed schemas/*.json
var schemas embed.FS

// Schema returns the JSON Schema of the whole CloudEvents document of an event of type t; nil for a type
// that is in neither EventTypes nor AccessEventTypes. Unknown fields are allowed everywhere: within a
// version, data only grows.
func Schema(t EventType) []byte {
	raw, err := schemas.ReadFile("schemas/" + string(t) + ".json")
	if err != nil {
		return nil
	}
	return raw
}
