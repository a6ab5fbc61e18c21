package api

import (
	"maps"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// describeUploads describes the routes of uploads that are not huma's.
func (s *server) describeUploads() {
	if s.pieces == nil {
		return
	}
	view := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[uploadView](), true, "")
	json := map[string]*huma.MediaType{"application/json": {Schema: view}}
	for _, op := range []*huma.Operation{
		s.describeOrder(json), describePut(json), describeComplete(json), describeTusCreation(),
	} {
		s.api.OpenAPI().AddOperation(op)
	}
	for method, about := range map[string][2]string{
		http.MethodHead:   {"tus-offset", "Ask how many bytes of an upload the server keeps (tus 1.0)"},
		http.MethodPatch:  {"tus-append", "Send bytes of an upload, from its offset on (tus 1.0)"},
		http.MethodDelete: {"tus-terminate", "Cancel an upload (tus 1.0)"},
	} {
		s.api.OpenAPI().AddOperation(describeTus(method, about[0], about[1]))
	}
}

// describeOrder describes POST /v1/uploads.
func (s *server) describeOrder(json map[string]*huma.MediaType) *huma.Operation {
	body := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false, Properties: s.orderFields()}
	return &huma.Operation{
		OperationID: "create-upload", Method: http.MethodPost, Path: "/v1/uploads", Tags: []string{"uploads"},
		Summary: "Create an upload, and send its bytes later",
		Description: "The answer has the id that the video will have, and URLs for the bytes: `url` for clients " +
			"of tus 1.0, which go on after a broken connection, and `content_url` for one PUT. They hold a token, " +
			"need no other credential, and take requests of web pages of any origin. With `method: multipart`, the " +
			"answer has `parts_url` and `complete_url` instead: the client asks for the URLs of parts, PUTs each " +
			"part of `part_size` bytes to the bucket, and completes the upload. Whatever can be refused is " +
			"refused here, before the first byte. The upload expires when no byte comes for 24 hours " +
			"(--upload-expires).",
		Parameters: []*huma.Param{
			{
				Name: "Idempotency-Key", In: "header", Schema: text(""),
				Description: "Use one key for every try of the request: later ones get the same upload with " +
					"Idempotency-Replayed. Another request with the key is refused. The key is forgotten with the upload, " +
					"24 hours after its end.",
			},
			{Name: "traceparent", In: "header", Schema: text(""), Description: "W3C Trace Context of the video"},
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: body},
		}},
		Responses: map[string]*huma.Response{"201": {
			Description: "Created", Content: json, Headers: map[string]*huma.Param{
				"Location":             {Schema: text("The address of the upload")},
				"Idempotency-Replayed": {Schema: text("true when an earlier request made the upload")},
			},
		}},
	}
}

// orderFields describes the fields of the body of POST /v1/uploads.
func (s *server) orderFields() map[string]*huma.Schema {
	one, most := 1.0, float64(s.cfg.Limits.MaxUpload)
	fields := s.formFields()
	delete(fields, bodyField)
	for worker := range s.cfg.Planner.Traits() {
		if fields[worker] != nil {
			fields[worker] = &huma.Schema{
				Description: "For the step of the worker " + worker + ".",
				OneOf:       []*huma.Schema{text("Text"), {Type: huma.TypeObject, Description: "Parameters"}},
			}
		}
	}
	maps.Copy(fields, map[string]*huma.Schema{
		"metadata": {
			Type: huma.TypeObject, AdditionalProperties: text(""), Description: "Strings, returned as given",
		},
		"filename": text("As the uploader calls the file"),
		"size": {
			Type: huma.TypeInteger, Format: "int64", Minimum: &one, Maximum: &most,
			Description: "Bytes of the file, if known; multipart needs them",
		},
		"method": {
			Type: huma.TypeString, Enum: []any{string(byTus), string(byMultipart)}, Default: string(byTus),
			Description: "How the bytes come. tus: to `url` by tus 1.0, or to `content_url` with one PUT. " +
				"multipart: in parts, straight to the bucket of the server, which must be one of S3 (`parts_url`).",
		},
	})
	return fields
}

func tokenParam() *huma.Param {
	return &huma.Param{
		Name: "token", In: "path", Required: true, Schema: text(""),
		Description: "From the URL in the answer to POST",
	}
}

// describePut describes PUT content.
func describePut(json map[string]*huma.MediaType) *huma.Operation {
	return &huma.Operation{
		OperationID: "put-content", Method: http.MethodPut, Path: "/v1/uploads/{token}/content",
		Tags: []string{"uploads"}, Summary: "Send the bytes of an upload in one request",
		Description: "As `curl -T film.mp4 URL` does, with or without a Content-Length. A request that broke " +
			"begins anew, or goes on with Content-Range from the offset. When it is answered, the video exists.",
		Parameters: []*huma.Param{
			tokenParam(),
			{Name: "Content-Range", In: "header", Schema: text(""), Example: "bytes 1000-1999/2000"},
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"*/*": {Schema: binary("The video")},
		}},
		Responses: map[string]*huma.Response{"200": {Description: "The upload", Content: json}},
	}
}

// describeTusCreation describes POST /v1/tus.
func describeTusCreation() *huma.Operation {
	return &huma.Operation{
		OperationID: "tus-create", Method: http.MethodPost, Path: "/v1/tus", Tags: []string{"uploads"},
		Summary: "Create an upload (tus 1.0)",
		Description: "For clients of tus (https://tus.io) that create their uploads themselves. Upload-Metadata " +
			"has the fields of POST /v1/uploads; metadata is a JSON object. The extensions are creation, " +
			"creation-with-upload, creation-defer-length, expiration, termination and checksum (sha1, sha256, md5); " +
			"OPTIONS tells.",
		Parameters: []*huma.Param{
			tusResumable(),
			{Name: "Upload-Length", In: "header", Schema: text("Bytes of the file")},
			{Name: "Upload-Defer-Length", In: "header", Schema: text("1: the length comes later")},
			{Name: "Upload-Metadata", In: "header", Schema: text("Keys, and values in base64")},
			{Name: "Idempotency-Key", In: "header", Schema: text("As for POST /v1/uploads")},
		},
		Responses: map[string]*huma.Response{"201": {
			Description: "Created", Headers: map[string]*huma.Param{
				"Location":       {Schema: text("The URL of the upload, with its token")},
				"Upload-Expires": {Schema: text("When the upload ends if no further byte comes")},
			},
		}},
	}
}

func tusResumable() *huma.Param {
	return &huma.Param{Name: "Tus-Resumable", In: "header", Required: true, Schema: text("1.0.0")}
}

// describeTus describes a request to the URL of an upload.
func describeTus(method, id, summary string) *huma.Operation {
	op := &huma.Operation{
		OperationID: id, Method: method, Path: "/v1/tus/{token}", Tags: []string{"uploads"}, Summary: summary,
		Parameters: []*huma.Param{tokenParam()},
		Responses: map[string]*huma.Response{"204": {
			Description: "Done", Headers: map[string]*huma.Param{
				"Upload-Offset":  {Schema: text("Bytes that the server keeps")},
				"Upload-Expires": {Schema: text("When the upload ends if no further byte comes")},
			},
		}},
	}
	switch method {
	case http.MethodDelete:
		op.Description = "As POST /v1/uploads/{id}/cancel does: the bytes are removed."
	case http.MethodHead:
		op.Description = "`Upload-Offset` is where the client goes on, after a restart of the server, too."
		op.Responses["200"] = op.Responses["204"]
		delete(op.Responses, "204")
		return op
	case http.MethodPatch:
		op.Description = "The 204 that follows the last byte means that the video exists and cannot be lost. " +
			"Errors that may pass are 423, 409 and 5xx: ask for the offset and go on."
		op.Parameters = append(op.Parameters,
			&huma.Param{Name: "Upload-Offset", In: "header", Required: true, Schema: text("Where the bytes begin")},
			&huma.Param{
				Name: "Upload-Checksum", In: "header", Schema: text("Algorithm and sum of the bytes, in base64"),
			})
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			tusBytes: {Schema: binary("Bytes of the video")},
		}}
	}
	op.Parameters = append(op.Parameters, tusResumable())
	return op
}

// describeComplete describes POST complete.
func describeComplete(json map[string]*huma.MediaType) *huma.Operation {
	return &huma.Operation{
		OperationID: "complete-upload", Method: http.MethodPost, Path: "/v1/uploads/{id}/complete",
		Tags: []string{"uploads"}, Summary: "Complete a multipart upload: its parts become the video",
		Description: "The server asks the bucket for the parts, joins them, and reads all bytes once. When it is " +
			"answered, the video exists and cannot be lost. It may be repeated, also while the server still works " +
			"on it (`upload_busy`), and answers the same after the end. When parts are missing, the error names them.",
		Parameters: []*huma.Param{{
			Name: "id", In: "path", Required: true, Schema: text(""),
			Description: "The upload's id, or the token in its complete_url",
		}},
		Responses: map[string]*huma.Response{"200": {Description: "The upload", Content: json}},
	}
}
