package pipeline_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
)

var update = flag.Bool("update", false, "write schemas/ anew from the Go types")

// schemaOf has the type of the data of each event type, and the optional fields that the type always has.
var schemaOf = map[pipeline.EventType]struct {
	data     any
	required []string
}{
	pipeline.VideoUploaded:         {pipeline.Upload{}, nil},
	pipeline.VideoInspected:        {pipeline.Inspected{}, nil},
	pipeline.VideoPlayable:         {pipeline.Playable{}, nil},
	pipeline.VideoReady:            {pipeline.Finish{}, nil},
	pipeline.VideoErrored:          {pipeline.Finish{}, []string{"problem"}},
	pipeline.VideoRejected:         {pipeline.Finish{}, []string{"problem"}},
	pipeline.VideoCanceled:         {pipeline.Finish{}, nil},
	pipeline.VideoReopened:         {pipeline.Finish{}, nil},
	pipeline.VideoChanged:          {pipeline.Label{}, nil},
	pipeline.VideoOutputsRequested: {pipeline.Addition{}, nil},
	pipeline.VideoOutputsAdded:     {pipeline.AdditionEnd{}, nil},
	pipeline.VideoOutputsFailed:    {pipeline.AdditionEnd{}, nil},
	pipeline.VideoOutputsReopened:  {pipeline.AdditionEnd{}, nil},
	pipeline.VideoHeld:             {pipeline.Held{}, nil},
	pipeline.VideoReleased:         {struct{}{}, nil},
	pipeline.VideoSourceDeleted:    {pipeline.Deletion{}, []string{"reason", "rule", "days", "ended_at"}},
	pipeline.VideoSourcePurged:     {struct{}{}, nil},
	pipeline.VideoDeleted:          {pipeline.Deletion{}, nil},
	pipeline.VideoPurged:           {pipeline.Purged{}, nil},
	pipeline.JobStarted:            {pipeline.JobEvent{}, nil},
	pipeline.JobCompleted:          {pipeline.JobEvent{}, []string{"result"}},
	pipeline.JobRetrying:           {pipeline.JobEvent{}, []string{"problem", "retry_at"}},
	pipeline.JobInterrupted:        {pipeline.JobEvent{}, nil},
	pipeline.JobErrored:            {pipeline.JobEvent{}, []string{"problem"}},
	pipeline.JobCanceled:           {pipeline.JobEvent{}, nil},
	pipeline.JobRequeued:           {pipeline.JobEvent{}, nil},
	pipeline.ProjectCreated:        {access.Settings{}, nil},
	pipeline.ProjectChanged:        {access.Settings{}, nil},
	pipeline.ProjectDeleted:        {struct{}{}, nil},
	pipeline.KeyCreated:            {access.KeyData{}, nil},
	pipeline.KeyRevoked:            {struct{}{}, nil},
	pipeline.QuotaWarned:           {access.QuotaData{}, nil},
	pipeline.QuotaExceeded:         {access.QuotaData{}, nil},

	pipeline.SigningKeyCreated: {access.SigningKeyData{}, nil},
	pipeline.SigningKeyRevoked: {struct{}{}, nil},
}

// allTypes are the event types that have a schema.
var allTypes = slices.Concat(pipeline.EventTypes, pipeline.AccessEventTypes)

type object = map[string]any

// generate makes the schema of an event type from the Go types.
func generate(t *testing.T, et pipeline.EventType) []byte {
	t.Helper()
	defs := huma.NewMapRegistry("#/$defs/", huma.DefaultSchemaNamer)
	envelope := plain(t, huma.SchemaFromType(defs, reflect.TypeFor[pipeline.Event]()))
	data := plain(t, huma.SchemaFromType(defs, reflect.TypeOf(schemaOf[et].data)))
	required, _ := data["required"].([]any)
	for _, r := range schemaOf[et].required {
		required = append(required, r)
	}
	if len(required) > 0 {
		data["required"] = required
	}
	properties := envelope["properties"].(object)
	if state, ok := strings.CutPrefix(string(et), "video."); ok && et != pipeline.VideoReopened && reflect.TypeOf(schemaOf[et].data) ==
		reflect.TypeFor[pipeline.Finish]() {
		data["properties"].(object)["state"] = object{"const": state}
	}
	properties["data"] = data
	properties["type"] = object{"const": et}
	properties["specversion"] = object{"const": "1.0"}
	properties["datacontenttype"] = object{"const": "application/json"}
	properties["eventversion"] = object{"const": 1}
	envelope["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	envelope["$id"] = "urn:reelmill:event:" + string(et) + ":1"
	envelope["title"] = et
	if used := definitions(t, envelope, defs.Map()); len(used) > 0 {
		envelope["$defs"] = used
	}
	raw, err := json.MarshalIndent(envelope, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(raw, '\n')
}

// plain turns a schema into JSON values, and drops what forbids unknown fields.
func plain(t *testing.T, s *huma.Schema) object {
	t.Helper()
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	loosen(o)
	return o
}

func loosen(v any) {
	switch v := v.(type) {
	case object:
		if v["additionalProperties"] == false {
			delete(v, "additionalProperties")
		}
		for _, inner := range v {
			loosen(inner)
		}
	case []any:
		for _, inner := range v {
			loosen(inner)
		}
	}
}

// definitions returns all definitions that root refers to, directly or not.
func definitions(t *testing.T, root any, all map[string]*huma.Schema) object {
	t.Helper()
	used := object{}
	var visit func(any)
	visit = func(v any) {
		switch v := v.(type) {
		case object:
			ref, _ := v["$ref"].(string)
			name := strings.TrimPrefix(ref, "#/$defs/")
			if _, seen := used[name]; ref != "" && !seen {
				used[name] = plain(t, all[name])
				visit(used[name])
			}
			for _, inner := range v {
				visit(inner)
			}
		case []any:
			for _, inner := range v {
				visit(inner)
			}
		}
	}
	visit(root)
	return used
}

func TestSchemasAreGenerated(t *testing.T) {
	for _, et := range allTypes {
		want := generate(t, et)
		if *update {
			if err := os.WriteFile(filepath.Join("schemas", string(et)+".json"), want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !bytes.Equal(pipeline.Schema(et), want) {
			t.Errorf("schemas/%s.json does not match the Go types; run go test ./pipeline -run TestSchemas -update",
				et)
		}
	}
	files, err := os.ReadDir("schemas")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		et, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok || !slices.Contains(allTypes, pipeline.EventType(et)) {
			t.Errorf("schemas/%s belongs to no event type", f.Name())
		}
	}
	if len(schemaOf) != len(allTypes) || pipeline.Schema("video.unknown") != nil {
		t.Error("Schema does not know exactly the event types")
	}
}

// compiled holds every schema, ready to validate, including formats such as dates.
var compiled = sync.OnceValues(func() (map[pipeline.EventType]*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	all := map[pipeline.EventType]*jsonschema.Schema{}
	for _, et := range allTypes {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(pipeline.Schema(et)))
		if err != nil {
			return nil, err
		}
		if err := c.AddResource(string(et)+".json", doc); err != nil {
			return nil, err
		}
		if all[et], err = c.Compile(string(et) + ".json"); err != nil {
			return nil, err
		}
	}
	return all, nil
})

// valid validates a document against the schema of an event type.
func valid(t fataler, et pipeline.EventType, document []byte) error {
	t.Helper()
	all, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	return all[et].Validate(value)
}

// mustBeValid fails the test for each event that does not match its schema.
func mustBeValid(t fataler, events ...pipeline.Event) {
	t.Helper()
	for _, e := range events {
		document, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := valid(t, e.Type, document); err != nil {
			t.Errorf("%s does not fit its schema: %v\n%s", e.Type, err, document)
		}
	}
}

func TestSchemasRefuse(t *testing.T) {
	w := newWorld(t, ladder())
	w.accept(uploadOf(ladder().pipeline()))
	w.run("inspect", accepted())
	task, _ := w.tasks.take("thumbnail")
	w.write(pipeline.JobRetrying, task, retrying())
	for _, e := range w.log.events {
		document := func(change func(doc, data object)) []byte {
			raw, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			var doc object
			if err := json.Unmarshal(raw, &doc); err != nil {
				t.Fatal(err)
			}
			change(doc, doc["data"].(object))
			if raw, err = json.Marshal(doc); err != nil {
				t.Fatal(err)
			}
			return raw
		}
		// Fields that a later release may add are allowed.
		more := document(func(doc, data object) { doc["dataschema"], data["later"] = "urn:x", object{"a": 1} })
		if err := valid(t, e.Type, more); err != nil {
			t.Errorf("%s with more fields: %v", e.Type, err)
		}
		for name, change := range map[string]func(doc, data object){
			"no data":        func(doc, _ object) { delete(doc, "data") },
			"data no object": func(doc, _ object) { doc["data"] = "x" },
			"other type":     func(doc, _ object) { doc["type"] = "video.other" },
			"other version":  func(doc, _ object) { doc["eventversion"] = 2 },
			"no id":          func(doc, _ object) { delete(doc, "id") },
			"time no date":   func(doc, _ object) { doc["time"] = "yesterday" },
			"no first field": func(_, data object) { delete(data, firstRequired[e.Type]) },
			"wrong field":    func(_, data object) { data[firstRequired[e.Type]] = []any{1} },
		} {
			if valid(t, e.Type, document(change)) == nil {
				t.Errorf("%s with %s is valid", e.Type, name)
			}
		}
	}
}

// firstRequired is a field that the data of the event type always has.
var firstRequired = map[pipeline.EventType]string{
	pipeline.VideoUploaded: "source", pipeline.VideoInspected: "verdict", pipeline.JobStarted: "attempt",
	pipeline.JobCompleted: "result", pipeline.JobRetrying: "retry_at",
}
