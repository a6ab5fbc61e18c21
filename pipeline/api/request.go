package api

import (
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// Bounds of what an upload may ask for, in bytes. Metadata and files have theirs in Limits.
const (
	maxTitle       = 512 // characters
	maxPassthrough = 4 << 10
	maxWebhookURL  = 2048
	maxText        = 8 << 10 // of any other field
)

// request is what an upload asks for, whatever way it comes in. The zero request asks for the default
// pipeline and nothing else. The document of an upload keeps it as JSON.
type request struct {
	Pipeline    string                    `json:"pipeline,omitempty"`        // its name
	Priority    pipeline.Priority         `json:"priority,omitempty"`        // of the video among others
	Title       string                    `json:"title,omitempty"`           // of the video
	Metadata    map[string]string         `json:"metadata,omitempty"`        // returned as given
	Passthrough string                    `json:"passthrough,omitempty"`     // returned as given, in webhooks too
	Webhook     string                    `json:"webhook_url,omitempty"`     // empty: the server's own, if it has one
	Params      map[string]map[string]any `json:"params,omitempty"`          // by worker type (pipeline.UploadField)
	Policy      pipeline.PlaybackPolicy   `json:"playback_policy,omitempty"` // empty: the project's
}

// fields are those that every upload has.
func fields() []string {
	return []string{
		"file", "pipeline", "priority", "title", "metadata", "passthrough", "webhook_url", "playback_policy",
	}
}

// stepFields returns the worker types that take a field of the upload, which is named after them.
func stepFields(traits map[string]pipeline.Traits) []string {
	var names []string
	for worker, t := range traits {
		if t.Upload != nil {
			names = append(names, worker)
		}
	}
	slices.Sort(names)
	return names
}

// fields returns the names of all fields that the upload may have.
func (in *intake) fields() []string { return append(fields(), stepFields(in.traits)...) }

// known reports whether the upload may have a field.
func (in *intake) known(field string) bool { return slices.Contains(in.fields(), field) }

// takesFile reports whether a file may come in the field of a worker type.
func (in *intake) takesFile(worker string) bool {
	field := in.traits[worker].Upload
	return field != nil && field.Asset != ""
}

// limit returns how many bytes the text of a field may have.
func (in *intake) limit(field string) int64 {
	switch field {
	case "metadata":
		return in.cfg.Limits.MaxMetadata
	case "title":
		return maxTitle * utf8.UTFMax
	case "passthrough":
		return maxPassthrough
	case "webhook_url":
		return maxWebhookURL
	}
	return maxText
}

// tooLong is the failure of a field that has more bytes than its limit.
func (in *intake) tooLong(field string) *failure {
	return in.fail(field, codeFieldTooLarge, "%s has more than %d bytes.", field, in.limit(field))
}

// failStep returns a failure of the field of a worker type.
func (in *intake) failStep(worker string, c code, format string, args ...any) *failure {
	f := in.fail(worker, c, format, args...)
	f.worker = worker
	if c == codeStepInvalid {
		f.remedy = "Send " + takes(in.traits[worker].Upload) + "."
	}
	return f
}

// takes says what an upload may send in the field of a worker type.
func takes(field *pipeline.UploadField) string {
	var ways []string
	if field.Asset != "" {
		ways = append(ways, "a file ("+formatNames(field.Formats)+")")
	}
	if field.Short != "" {
		ways = append(ways, field.Short+":...")
	}
	return oneOf(append(ways, "a JSON object of parameters"))
}

func formatNames(formats []pipeline.Format) string {
	var names []string
	for _, f := range formats {
		names = append(names, f.Name)
	}
	return oneOf(names)
}

// oneOf lists alternatives: a, b or c.
func oneOf(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// parse reads the text of a field into req. check and accept judge the values.
func (in *intake) parse(req *request, field string, text []byte) (err error) {
	if !utf8.Valid(text) {
		return in.fail(field, codeInvalid, "%s is not UTF-8.", field)
	}
	plain := []string{"pipeline", "priority", "title", "passthrough", "webhook_url", "playback_policy"}
	if !slices.Contains(plain, field) && tooDeep(text) {
		return in.fail(field, codeFieldTooDeep, "%s has more than %d levels of JSON.", field, maxDepth)
	}
	switch value := string(text); field {
	case "pipeline":
		req.Pipeline = value
	case "priority":
		req.Priority = pipeline.Priority(value)
	case "metadata":
		req.Metadata, err = in.parseMetadata(text)
	case "title":
		req.Title = value
	case "passthrough":
		req.Passthrough = value
	case "webhook_url":
		req.Webhook = value
	case "playback_policy":
		req.Policy = pipeline.PlaybackPolicy(value)
	default:
		if req.Params == nil {
			req.Params = map[string]map[string]any{}
		}
		req.Params[field], err = in.parseParams(field, value)
	}
	return err
}

// parseMetadata decodes a JSON object of strings.
func (in *intake) parseMetadata(raw []byte) (map[string]string, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var values map[string]*string
	if err := json.Unmarshal(raw, &values); err != nil || values == nil {
		return nil, in.fail("metadata", codeMetadata, "metadata is not a JSON object of strings.")
	}
	metadata := make(map[string]string, len(values))
	for key, value := range values {
		if value == nil {
			return nil, in.fail("metadata", codeMetadata, "The value of %.40q is null, not a string.", key)
		}
		metadata[key] = *value
	}
	return metadata, nil
}

// parseParams reads parameters for the steps of a worker type: a JSON object, or the short form.
func (in *intake) parseParams(worker, value string) (map[string]any, error) {
	field := in.traits[worker].Upload
	if field == nil {
		return nil, in.unknown(worker)
	}
	if text, ok := strings.CutPrefix(value, field.Short+":"); ok && field.Short != "" {
		if strings.TrimSpace(text) == "" {
			return nil, in.failStep(worker, codeStepInvalid, "Nothing follows %s: in %s.", field.Short, worker)
		}
		return map[string]any{field.Short: text}, nil
	}
	if strings.TrimSpace(value) == "" {
		return nil, in.failStep(worker, codeStepInvalid, "The field %s is empty.", worker)
	}
	var params map[string]any
	if err := json.Unmarshal([]byte(value), &params); err != nil || params == nil {
		return nil, in.failStep(worker, codeStepInvalid, "The text in %s is not %s.", worker,
			takes(&pipeline.UploadField{Short: field.Short}))
	}
	return params, in.checkParams(worker, params)
}

// unknown is the failure of a field that no upload has.
func (in *intake) unknown(field string) *failure { return in.unknownIn(field, in.fields()) }

// unknownIn is the failure of a field that is none of the known ones.
func (in *intake) unknownIn(field string, known []string) *failure {
	return in.fail(field, codeFieldUnknown, "%s.", sentence(pipeline.Unknown("field", field, known)))
}

// checkParams refuses parameters for a type that takes none, and the parameter that only the intake sets.
func (in *intake) checkParams(worker string, params map[string]any) error {
	field := in.traits[worker].Upload
	if field == nil {
		return in.unknown(worker)
	}
	if _, named := params[field.Asset]; named && field.Asset != "" {
		f := in.failStep(worker, codeStepInvalid, "%s names a file, but an upload sends the file itself.",
			field.Asset)
		f.pointer += "/" + field.Asset
		f.remedy = "Leave " + field.Asset + " out and send the file in the field " + worker + "."
		return f
	}
	return nil
}

// check refuses mistakes in the request so far, so that they cost no upload. It checks what depends on the
// pipeline only if the request names one.
func (in *intake) check(req request) error {
	if err := in.checkFields(req); err != nil || req.Pipeline == "" {
		return err
	}
	doc, err := in.document(req)
	if err != nil {
		return err
	}
	_, err = in.requested(doc, req)
	return err
}

// checkFields checks what does not depend on the pipeline, and answers all mistakes at once.
func (in *intake) checkFields(req request) error {
	var wrong []error
	switch req.Priority {
	case "", pipeline.Normal, pipeline.High, pipeline.Bulk:
	default:
		wrong = append(wrong, in.fail("priority", codeInvalid, "%s.",
			sentence(pipeline.Unknown("priority", string(req.Priority), []string{"high", "normal", "bulk"}))))
	}
	if utf8.RuneCountInString(req.Title) > maxTitle {
		wrong = append(wrong, in.fail("title", codeFieldTooLarge, "title has more than %d characters.", maxTitle))
	}
	if err := pipeline.CheckPlaybackPolicy(req.Policy); err != nil && req.Policy != "" {
		wrong = append(wrong, in.fail("playback_policy", codeInvalid, "%s.", sentence(err.Error())))
	}
	sizes := map[string]int64{
		"metadata":    sizeOf(req.Metadata),
		"passthrough": int64(len(req.Passthrough)),
		"webhook_url": int64(len(req.Webhook)),
	}
	for _, field := range slices.Sorted(maps.Keys(sizes)) {
		if sizes[field] > in.limit(field) {
			wrong = append(wrong, in.tooLong(field))
		}
	}
	for _, worker := range slices.Sorted(maps.Keys(req.Params)) {
		wrong = append(wrong, in.checkParams(worker, req.Params[worker]))
	}
	return joinMistakes(append(wrong, in.checkWebhook(req.Webhook))...)
}

func (in *intake) checkWebhook(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || !isWeb(u) {
		return in.fail("webhook_url", codeWebhookRefused, "The address (%.80q) is not an http(s) address.",
			secret.Place(address))
	}
	if err := in.cfg.CheckWebhookURL(address); err != nil {
		return in.fail("webhook_url", codeWebhookRefused, "%.300s", printable(err.Error()))
	}
	return nil
}

// document returns the pipeline that a request names.
func (in *intake) document(req request) (pipeline.Pipeline, error) {
	name := req.Pipeline
	if name == "" {
		name = pipeline.DefaultPipeline
	}
	doc, ok := in.cfg.Pipelines[name]
	if !ok {
		known := slices.Collect(maps.Keys(in.cfg.Pipelines))
		return doc, in.fail("pipeline", codePipelineUnknown, "%s.",
			sentence(pipeline.Unknown("pipeline", name, known)))
	}
	return doc, nil
}

// requested returns the upload's own parameters by step, with the names of its assets; nil when it has none.
func (in *intake) requested(doc pipeline.Pipeline, req request) (map[string]map[string]any, error) {
	var requested map[string]map[string]any
	for _, worker := range stepFields(in.traits) {
		own, asked := req.Params[worker]
		_, sent := in.assets[worker]
		if !asked && !sent {
			continue
		}
		params := map[string]any{}
		maps.Copy(params, own)
		if sent {
			params[in.traits[worker].Upload.Asset] = worker
		}
		step, err := doc.StepOf(worker, params, in.cfg.Planner)
		if err != nil {
			return nil, in.refusedParams(doc, worker, err)
		}
		if requested == nil {
			requested = map[string]map[string]any{}
		}
		requested[step] = params
	}
	return requested, nil
}

// refusedParams says why a pipeline does not take parameters. A missing worker is not the client's fault.
func (in *intake) refusedParams(doc pipeline.Pipeline, worker string, err error) error {
	if errors.Is(err, pipeline.ErrNoStep) {
		return in.failStep(worker, codeStepMissing, "The pipeline %s has no step of the worker %s.",
			doc.Name, worker)
	}
	detail := err.Error()
	if e, ok := errors.AsType[*pipeline.Error](err); ok {
		if e.Code == pipeline.CodeWorkerTypeUnknown {
			return fail(codeUnavailable, "The server knows no worker %s.", worker).because(err)
		}
		detail = e.Detail
	}
	return in.failStep(worker, codeStepInvalid, "%.500s", printable(detail))
}
