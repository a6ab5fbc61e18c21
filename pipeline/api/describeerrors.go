package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// answeredCodes returns the codes that each operation may answer, besides those of generalCodes. The tests
// check each problem that they get against it.
func answeredCodes() map[string][]code {
	missing, list := []code{codeNotFound}, []code{codeCursor}
	action := []code{codeNotFound, codeState}
	all := operatorCodes()
	maps.Copy(all, map[string][]code{
		"upload-video": slices.Concat(admissionCodes(), fieldCodes(), sourceCodes(), formCodes(),
			[]code{codeFetchRefused, codeKeyReused, codeVideoDeleted}),
		"list-videos": list,
		"get-video":   slices.Concat(missing, limitCodes()),
		"change-video": slices.Concat(missing, []code{codePrecondition, codeMediaType, codeMetadata},
			shapeCodes()),
		"delete-video": {codeNotFound, codeVideoHeld},
		"cancel-video": action,
		"retry-video":  append(action, codeSourceGone),
		"retry-job":    append(action, codeSourceGone),
		"why":          missing,
		"list-outputs": missing,
		"list-jobs":    missing,
		"add-outputs": {
			codeNotFound, codeNotReady, codeSourceGone, codeRenditionExists, codeTooManyAdditions,
			codeParameters, codeQuotaExceeded, codeTooManyVideos, codeQueueFull,
		},
		"list-additions":  missing,
		"get-addition":    missing,
		"cancel-addition": action,
		"list-pipelines":  nil,
		"stats":           nil,
		"usage":           nil,

		"create-upload": slices.Concat(admissionCodes(), fieldCodes(), []code{
			codeMediaType, codeUploadTooLarge, codeUploadEmpty, codeKeyReused, codeTooManyUploads, codeUploadEnded,
			codeNoMultipart, codeUploadBusy, codeTokenUsed, codeTokenOrigin, codeUploadType,
		}),
		"list-uploads":  list,
		"get-upload":    missing,
		"cancel-upload": slices.Concat(action, []code{codeUploadBusy}),
		"presign-parts": partCodes(),
		"list-parts":    partCodes(),
		"complete-upload": slices.Concat(admissionCodes(), fieldCodes(), partCodes(),
			[]code{codePartsMissing, codeUploadTooLarge, codeVideoDeleted, codeUploadType}),
		"put-content": slices.Concat(admissionCodes(), fieldCodes(), sourceCodes(), pieceCodes(),
			[]code{codeUploadType}),
		"tus-create": slices.Concat(admissionCodes(), fieldCodes(), sourceCodes(), pieceCodes(),
			[]code{codeKeyReused, codeTokenUsed, codeTokenOrigin, codeUploadType}, tusCodes()),
		"tus-offset": slices.Concat(pieceCodes(), tusCodes()),
		"tus-append": slices.Concat(admissionCodes(), fieldCodes(), sourceCodes(), pieceCodes(), tusCodes(),
			[]code{codeUploadType}),
		"tus-terminate": slices.Concat(pieceCodes(), tusCodes(), []code{codeState}),

		"list-events":     slices.Concat(missing, limitCodes(), []code{codeCursorAhead}),
		"stream-events":   append(limitCodes(), codeCursorAhead),
		"websocket":       append(limitCodes(), codeWebSocket),
		"list-all-events": {codeCursorAhead},

		"create-signing-key": missing,
		"list-signing-keys":  nil,
		"get-signing-key":    missing,
		"revoke-signing-key": missing,
		"playback-urls":      missing,

		"play":           append(viewingCodes(), codeNotFound, codeRange),
		"play-head":      append(viewingCodes(), codeNotFound, codeRange),
		"thumbnail":      stillCodes(),
		"thumbnail-head": stillCodes(),
		"health":         nil,
		"ready":          nil,
		"openapi":        nil,
		"asyncapi":       nil,
		"docs":           nil,
		"docs-errors":    nil,
		"list-errors":    nil,
	})
	return all
}

// operatorCodes is the part of answeredCodes for queues, dead letters and webhook endpoints.
func operatorCodes() map[string][]code {
	missing, list := []code{codeNotFound}, []code{codeCursor}
	action := []code{codeNotFound, codeState}
	return map[string][]code{
		"list-worker-types": nil,
		"list-queues":       nil,
		"pause-queue":       missing,
		"resume-queue":      missing,

		"list-dead-letters":   list,
		"get-dead-letter":     missing,
		"redrive-dead-letter": append(action, codeSourceGone),
		"discard-dead-letter": missing,

		"create-dead-letter-run": {codeFieldUnknown},
		"list-dead-letter-runs":  nil,
		"get-dead-letter-run":    missing,
		"pause-dead-letter-run":  action,
		"resume-dead-letter-run": action,
		"cancel-dead-letter-run": action,

		"create-webhook-endpoint": {codeWebhookRefused, codeFieldTooLarge, codeState},
		"list-webhook-endpoints":  nil,
		"get-webhook-endpoint":    missing,
		"change-webhook-endpoint": {codeNotFound, codeWebhookRefused, codeFieldTooLarge},
		"delete-webhook-endpoint": missing,
		"rotate-webhook-secret":   action,
		"test-webhook-endpoint":   action,
		"list-webhook-deliveries": slices.Concat(missing, list),
		"get-webhook-delivery":    missing,
		"redeliver-webhook":       action,
		"redeliver-webhooks":      action,

		"create-key":          nil,
		"list-keys":           nil,
		"get-key":             missing,
		"revoke-key":          missing,
		"create-upload-token": nil,
		"create-read-token":   missing,

		"create-project": {codeProjectExists},
		"list-projects":  nil,
		"get-project":    missing,
		"change-project": {codeNotFound, codeWouldDelete},
		"delete-project": {codeNotFound, codeNotEmpty},
	}
}

// admissionCodes returns the codes with which the server refuses further videos for now.
func admissionCodes() []code {
	return []code{
		codeTooManyUploads, codeClientUploads, codeProjectUploads, codeTooManyVideos, codeQueueFull,
		codeQuotaExceeded,
	}
}

// limitCodes returns the codes with which the server refuses further subscribers.
func limitCodes() []code { return []code{codeTooManyStreams, codeClientStreams} }

// shapeCodes returns the codes for the form of fields.
func shapeCodes() []code { return []code{codeFieldUnknown, codeFieldTooLarge, codeFieldTooDeep} }

// fieldCodes returns the codes for what an upload asks for.
func fieldCodes() []code {
	return append(shapeCodes(), codeMetadata, codePipelineUnknown, codeStepInvalid, codeStepMissing,
		codeWebhookRefused,
		codeParameters)
}

// sourceCodes returns the codes for the bytes of a video.
func sourceCodes() []code {
	return []code{codeUploadTooLarge, codeUploadEmpty, codeUploadBroken, codeUploadTimeout, codeUploadSlow}
}

// formCodes returns the codes for a multipart form.
func formCodes() []code {
	return []code{codeMediaType, codeUploadMalformed, codeUploadFile, codeFieldRepeated, codePartHeader}
}

// pieceCodes returns the codes for an upload in pieces.
func pieceCodes() []code {
	return []code{
		codeNotFound, codeUploadEnded, codeUploadBusy, codeUploadLength, codeOffset, codeVideoDeleted,
		codeUploadMethod,
	}
}

// partCodes returns the codes for a multipart upload.
func partCodes() []code {
	return []code{codeNotFound, codeUploadEnded, codeUploadBusy, codeUploadMethod, codeCursor}
}

// stillCodes returns the codes of thumbnails.
func stillCodes() []code {
	return append(viewingCodes(),
		codeNotFound, codeRange, codeNotPlayable, codeClientStills, codeTooManyStills, codeParameters)
}

// viewingCodes returns the codes of playback without a permission.
func viewingCodes() []code {
	return []code{codePlaybackMissing, codePlaybackInvalid, codePlaybackExpired}
}

// keyCodes returns the codes that every POST may answer.
func keyCodes() []code { return []code{codeKeyReused, codeKeyBusy} }

// tusCodes returns the codes of the tus protocol.
func tusCodes() []code { return []code{codeTusVersion, codeTusInvalid, codeChecksum, codeMediaType} }

// generalCodes returns the codes that every operation may answer: those of wrong requests, and those of
// failures of the server.
func generalCodes() (wrong, failed []code) {
	return []code{
			codeInvalid, codeUnauthorized, codeScope, codeNotFound, codeCrossOrigin, codeHostUnknown,
			codeHeadersTooLarge, codeURITooLong, codeBodyTooLarge, codeTooManyRequests, codeMethod,
		}, []code{
			codeInternal, codeUnavailable, codeAuthUnavailable, codeReadModel, codeStorageFailed, codeDiskFull,
			codeDiskReadOnly, codeLogFull,
		}
}

// Names of the components of the document that have the general errors.
const (
	wrongRequest = "WrongRequest"
	failedServer = "FailedServer"
)

// describeErrors describes the errors of all operations, and has an example of each.
func (s *server) describeErrors(problem *huma.Schema) {
	doc, own := s.api.OpenAPI(), answeredCodes()
	wrong, failed := generalCodes()
	d := errorDescriber{problem, s.stepWorkers(), s.cfg.PublicURL, map[string]*huma.Example{}}
	doc.Components.Responses = map[string]*huma.Response{
		wrongRequest: d.response("The request is wrong, or comes too often", wrong),
		failedServer: d.response("The server failed, or cannot answer now", failed),
	}
	for _, op := range operations(doc) {
		dropErrors(op)
		op.Responses["4XX"] = &huma.Response{Ref: "#/components/responses/" + wrongRequest}
		op.Responses["default"] = &huma.Response{Ref: "#/components/responses/" + failedServer}
		byStatus := map[string][]code{}
		answered := own[op.OperationID]
		if op.Method == http.MethodPost {
			answered = append(answered, keyCodes()...)
		}
		for _, c := range answered {
			status := strconv.Itoa(codes[c].status)
			if !slices.Contains(byStatus[status], c) {
				byStatus[status] = append(byStatus[status], c)
			}
		}
		for status, answered := range byStatus {
			op.Responses[status] = d.response("", answered)
		}
	}
	doc.Components.Examples = d.examples
}

// dropErrors removes the errors that huma has described.
func dropErrors(op *huma.Operation) {
	for status := range op.Responses {
		if n, err := strconv.Atoi(status); err != nil || n >= 400 {
			delete(op.Responses, status)
		}
	}
}

// operations returns all operations of a document, without its webhooks, in the order of their addresses.
func operations(doc *huma.OpenAPI) (all []*huma.Operation) {
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		all = append(all, operationsOf(doc.Paths[path])...)
	}
	return all
}

// operationsOf returns the operations of an address.
func operationsOf(item *huma.PathItem) []*huma.Operation {
	return slices.DeleteFunc([]*huma.Operation{
		item.Get, item.Head, item.Post, item.Put, item.Patch, item.Delete,
	}, func(op *huma.Operation) bool { return op == nil })
}

// errorDescriber describes answers with problems.
type errorDescriber struct {
	problem  *huma.Schema
	workers  []string // the types that codes with a star are about
	public   string
	examples map[string]*huma.Example // of all codes that were described, by their names in the document
}

// response describes an answer that has one of some codes.
func (d errorDescriber) response(about string, answered []code) *huma.Response {
	examples, lines := map[string]*huma.Example{}, []string{}
	for _, c := range answered {
		for _, f := range exampleFailures(c, d.workers) {
			name := f.named(string(f.code))
			lines = append(lines, "`"+name+"`: "+f.named(codes[c].title))
			examples[name] = &huma.Example{Ref: "#/components/examples/problem_" + name}
			d.examples["problem_"+name] = d.example(f)
		}
	}
	if about != "" {
		about += ":\n\n"
	}
	r := &huma.Response{
		Description: about + "- " + strings.Join(lines, "\n- "),
		Headers:     map[string]*huma.Param{"X-Request-Id": {Schema: text("Also in the server's log")}},
		Content:     map[string]*huma.MediaType{problemType: {Schema: d.problem, Examples: examples}},
	}
	if slices.ContainsFunc(answered, func(c code) bool { return retryHeader(c) != "" }) {
		r.Headers["Retry-After"] = &huma.Param{Schema: &huma.Schema{
			Type: huma.TypeInteger, Description: "Seconds after which another try makes sense",
		}}
	}
	return r
}

// retryHeader returns the Retry-After that comes with a code, if any.
func retryHeader(c code) string {
	p := problemDocument{Code: c, Status: codes[c].status}
	return p.GetHeaders().Get("Retry-After")
}

// example returns an example of a problem.
func (d errorDescriber) example(f *failure) *huma.Example {
	ctx := context.WithValue(context.Background(), requestIDKey{}, "req_01kah3q6m4c5w8t2y7v9r1x0zb")
	return &huma.Example{
		Summary: f.named(codes[f.code].title), Value: f.document(withPublic(ctx, d.public)),
	}
}

// exampleFailures returns an example of a code; one for each worker type if the code has a star.
func exampleFailures(c code, workers []string) []*failure {
	if !strings.Contains(string(c), "*") {
		return []*failure{fail(c, "%s", causes[c])}
	}
	var all []*failure
	for _, w := range workers {
		f := fail(c, "%s", strings.ReplaceAll(causes[c], "*", w))
		f.worker = w
		all = append(all, f)
	}
	return all
}

// stepWorkers returns the worker types that codes with a star may be about.
func (s *server) stepWorkers() []string { return stepFields(s.cfg.Planner.Traits()) }

// finishHeaders describes the headers that every answer has.
func finishHeaders(op *huma.Operation) {
	for _, r := range op.Responses {
		if r.Ref != "" {
			continue
		}
		headers := map[string]*huma.Param{"X-Request-Id": {Schema: text("Also in the server's log")}}
		maps.Copy(headers, r.Headers)
		r.Headers = headers
	}
}
