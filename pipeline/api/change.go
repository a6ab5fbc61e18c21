package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
)

// mergePatch is the media type of a change (RFC 7396). Plain JSON is taken for it.
const mergePatch = "application/merge-patch+json"

// labelFields are what a change may have.
func labelFields() []string {
	return []string{"title", "metadata", "passthrough", "playback_policy", "hold"}
}

// opChangeVideo returns the operation, of which each server has its own: finishDescription completes it.
func opChangeVideo() huma.Operation {
	return huma.Operation{
		OperationID: "change-video", Method: http.MethodPatch, Path: opGetVideo.Path, Tags: []string{"videos"},
		Summary: "Change title, metadata, passthrough, playback policy or legal hold of a video",
		Description: "A JSON merge patch (RFC 7396): what it leaves out stays. A key of `metadata` that is null " +
			"is removed; `null` for `metadata` removes all keys, for the others the text. A change is the event " +
			"`video.changed`; one that changes nothing writes none. Webhooks that follow have the new texts.\n\n" +
			"With `playback_policy` `signed`, whoever plays needs a token from then on, players that have begun " +
			"included; a cache in front of the server may answer what it has until that is a minute old.\n\n" +
			"With `hold`, such as `{\"reason\": \"case 7\"}`, the video has a legal hold: neither people nor rules " +
			"delete it or its source (`video_held`), until a change with `null` removes the hold. Both are events " +
			"(`video.held`, `video.released`), and need the scope `admin`.\n\n" +
			"With `If-Match`, the change is refused (412) when somebody else changed any of this, but for the hold, " +
			"since the ETag was read.",
		// huma reads the body as it is; changeVideo checks it. The schema is for readers.
		RequestBody: &huma.RequestBody{Content: map[string]*huma.MediaType{
			"application/json": {Schema: patchSchema()},
		}},
		SkipValidateBody: true,
	}
}

// patchSchema describes the body of a change.
func patchSchema() *huma.Schema {
	orNull := func(s *huma.Schema) *huma.Schema {
		return &huma.Schema{AnyOf: []*huma.Schema{s, {Type: "null"}}}
	}
	title, longest := text("At most 512 characters"), maxTitle
	title.MaxLength = &longest
	return &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{
			"title": orNull(title), "passthrough": orNull(text("")),
			"playback_policy": {
				Type: huma.TypeString, Enum: anyOf(policyNames()), Description: "Who may play the video",
			},
			"hold": orNull(&huma.Schema{
				Type: huma.TypeObject, AdditionalProperties: false,
				Properties: map[string]*huma.Schema{"reason": holdReasonSchema()},
			}),
			"metadata": orNull(&huma.Schema{
				Type: huma.TypeObject, AdditionalProperties: orNull(text("")),
			}),
		},
	}
}

func holdReasonSchema() *huma.Schema {
	reason, longest := text("For people; at most 512 characters"), pipeline.MaxHoldReason
	reason.MaxLength = &longest
	return reason
}

func policyNames() (names []string) {
	for _, p := range pipeline.PlaybackPolicies() {
		names = append(names, string(p))
	}
	return names
}

type changeVideoInput struct {
	ID          string `path:"id" doc:"The video's id"`
	IfMatch     string `header:"If-Match" doc:"The ETag of the video that the change is made for, or *"`
	ContentType string `header:"Content-Type" hidden:"true"`
	RawBody     []byte `contentType:"application/merge-patch+json"`
}

// etagOf returns the ETag of a label, in quotes.
func etagOf(l pipeline.Label) string { return `"` + l.Tag() + `"` }

func (s *server) changeVideo(ctx context.Context, in *changeVideoInput) (*videoOutput, error) {
	if err := checkVideo(in.ID); err != nil {
		return nil, err
	}
	patch, err := s.parsePatch(in.ContentType, in.RawBody)
	if err != nil {
		return nil, err
	}
	edit := func(l pipeline.Label) (pipeline.Label, error) {
		if !matches(in.IfMatch, etagOf(l)) {
			return l, failAt("/header/If-Match", codePrecondition, "The ETag of the video is %s.", etagOf(l))
		}
		return s.checkLabel(patch.apply(l))
	}
	if patch.Hold.set && !grantOf(ctx).Has(access.Admin) {
		return nil, scopeMissing(access.Admin)
	}
	e, err := pipeline.Change(ctx, s.cfg.Log, projectOf(ctx), in.ID, edit)
	if err == nil && patch.Hold.set {
		e, err = s.changeHold(ctx, in.ID, patch.Hold)
	}
	if err != nil {
		return nil, orUnavailable(err)
	}
	return s.videoAfter(ctx, in.ID, e)
}

// changeHold sets or removes the hold of a video.
func (s *server) changeHold(ctx context.Context, id string, h holdPatch) (pipeline.Event, error) {
	if h.remove {
		return pipeline.Release(ctx, s.cfg.Log, projectOf(ctx), id)
	}
	return pipeline.SetHold(ctx, s.cfg.Log, projectOf(ctx), id, h.reason)
}

// matches reports whether a list of ETags allows a change of a video with the tag etag (RFC 9110, 13.1.1).
// Weak tags never match.
func matches(ifMatch, etag string) bool {
	if ifMatch == "" {
		return true
	}
	for one := range strings.SplitSeq(ifMatch, ",") {
		if one = strings.TrimSpace(one); one == "*" || one == etag {
			return true
		}
	}
	return false
}

// labelPatch is a change. What is not set stays.
type labelPatch struct {
	Title, Passthrough replacement
	Policy             replacement
	Hold               holdPatch
	Metadata           struct {
		clear bool
		keys  map[string]*string // nil: the key is removed
	}
}

// holdPatch sets or removes a hold, if it is set.
type holdPatch struct {
	set, remove bool
	reason      string
}

// parseHold reads what a change says about the hold.
func parseHold(at string, raw json.RawMessage, null bool) (holdPatch, error) {
	if null {
		return holdPatch{set: true, remove: true}, nil
	}
	var fields map[string]json.RawMessage
	h := holdPatch{set: true}
	if json.Unmarshal(raw, &fields) != nil {
		return h, failAt(at, codeInvalid, `hold is neither an object, such as {"reason": "case 7"}, nor null.`)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if name != "reason" {
			return h, failAt(at+"/"+printable(name), codeFieldUnknown, "%s.",
				sentence(pipeline.Unknown("field", printable(name), []string{"reason"})))
		}
	}
	if reason, ok := fields["reason"]; ok && json.Unmarshal(reason, &h.reason) != nil {
		return h, failAt(at+"/reason", codeInvalid, "The reason of the hold is not a text.")
	}
	if err := pipeline.CheckHoldReason(h.reason); err != nil {
		return h, failAt(at+"/reason", codeFieldTooLarge, "%s.", sentence(err.Error()))
	}
	return h, nil
}

// replacement is a new text, if it is set.
type replacement struct {
	set  bool
	text string
}

func (r replacement) or(before string) string {
	if r.set {
		return r.text
	}
	return before
}

// apply returns the label after the change.
func (p labelPatch) apply(l pipeline.Label) pipeline.Label {
	l.Title, l.Passthrough = p.Title.or(l.Title), p.Passthrough.or(l.Passthrough)
	l.PlaybackPolicy = pipeline.PlaybackPolicy(p.Policy.or(string(l.PlaybackPolicy)))
	if p.Metadata.clear || l.Metadata == nil {
		l.Metadata = map[string]string{}
	}
	for key, value := range p.Metadata.keys {
		if value == nil {
			delete(l.Metadata, key)
		} else {
			l.Metadata[key] = *value
		}
	}
	return l
}

// parsePatch reads the body of a change.
func (s *server) parsePatch(contentType string, body []byte) (p labelPatch, err error) {
	media, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(media)) {
	case mergePatch, "application/json", "":
	default:
		f := failAt("/header/Content-Type", codeMediaType, "Content-Type is %.80q.", printable(contentType))
		f.remedy = "Send " + mergePatch + " or application/json."
		return p, f
	}
	var fields map[string]json.RawMessage
	if !utf8.Valid(body) || tooDeep(body) || json.Unmarshal(body, &fields) != nil || fields == nil {
		return p, failAt("/body", codeInvalid, "The body is not a JSON object in UTF-8 with %s.",
			strings.Join(labelFields(), ", "))
	}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		wrong = append(wrong, p.set(name, fields[name]))
	}
	return p, joinMistakes(wrong...)
}

// set takes one field of the body.
func (p *labelPatch) set(name string, raw json.RawMessage) error {
	at, null := pointer("body", name), string(raw) == "null"
	var value string
	switch name {
	case "title", "passthrough":
		if json.Unmarshal(raw, &value) != nil {
			return failAt(at, codeInvalid, "%s is neither a text nor null.", name)
		}
		if name == "title" {
			p.Title = replacement{true, value}
		} else {
			p.Passthrough = replacement{true, value}
		}
	case "playback_policy":
		if null || json.Unmarshal(raw, &value) != nil {
			return failAt(at, codeInvalid, "playback_policy is not a text; send public or signed.")
		}
		if err := pipeline.CheckPlaybackPolicy(pipeline.PlaybackPolicy(value)); err != nil {
			return failAt(at, codeInvalid, "%s.", sentence(err.Error()))
		}
		p.Policy = replacement{true, value}
	case "hold":
		hold, err := parseHold(at, raw, null)
		p.Hold = hold
		return err
	case "metadata":
		if p.Metadata.clear = null; json.Unmarshal(raw, &p.Metadata.keys) != nil {
			return failAt(at, codeMetadata, "metadata is not a JSON object of strings, or nulls for keys to remove.")
		}
	default:
		return failAt(at, codeFieldUnknown, "%s.", sentence(pipeline.Unknown("field", name, labelFields())))
	}
	return nil
}

// checkLabel refuses texts that are too long.
func (s *server) checkLabel(l pipeline.Label) (pipeline.Label, error) {
	long := func(field string, most int64) error {
		return failAt(pointer("body", field), codeFieldTooLarge, "%s would have more than %d bytes.", field, most)
	}
	var wrong []error
	if utf8.RuneCountInString(l.Title) > maxTitle {
		wrong = append(wrong, failAt("/body/title", codeFieldTooLarge,
			"title has more than %d characters.", maxTitle))
	}
	if len(l.Passthrough) > maxPassthrough {
		wrong = append(wrong, long("passthrough", maxPassthrough))
	}
	if most := s.cfg.Limits.MaxMetadata; sizeOf(l.Metadata) > most {
		wrong = append(wrong, long("metadata", most))
	}
	return l, joinMistakes(wrong...)
}

// sizeOf returns the bytes of all keys and values.
func sizeOf(metadata map[string]string) (size int64) {
	for key, value := range metadata {
		size += int64(len(key) + len(value))
	}
	return size
}
