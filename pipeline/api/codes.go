package api

import "github.com/reelmill/reelmill/pipeline"

// code names a kind of error of the API. Codes never change their meaning.
type code string

// The codes that the API adds to those of package pipeline.
const (
	codeNotFound        code = "not_found"
	codeMethod          code = "method_not_allowed"
	codeUnauthorized    code = "unauthorized"
	codeScope           code = "insufficient_scope"
	codeAuthUnavailable code = "auth_unavailable"
	codeProjectExists   code = "project_exists"
	codeNotEmpty        code = "project_not_empty"
	codeHostUnknown     code = "host_unknown"
	codeCrossOrigin     code = "cross_origin"
	codeHeadersTooLarge code = "headers_too_large"
	codeURITooLong      code = "uri_too_long"
	codeBodyTooLarge    code = "body_too_large"
	codeTooManyRequests code = "too_many_requests"
	codeInvalid         code = "request_invalid"
	codeCursor          code = "cursor_invalid"
	codeCursorAhead     code = "cursor_ahead"
	codeWebSocket       code = "websocket_required"
	codeRange           code = "range_not_satisfiable"
	codeMediaType       code = "media_type_unsupported"
	codeUploadMalformed code = "upload_malformed"
	codeUploadBroken    code = "upload_interrupted"
	codeUploadTimeout   code = "upload_timeout"
	codeUploadSlow      code = "upload_too_slow"
	codeUploadTooLarge  code = "upload_too_large"
	codeUploadEmpty     code = "upload_empty"
	codeUploadFile      code = "upload_file_missing"
	codeFieldUnknown    code = "field_unknown"
	codeFieldRepeated   code = "field_repeated"
	codeFieldTooLarge   code = "field_too_large"
	codeFieldTooDeep    code = "field_too_deep"
	codePartHeader      code = "part_header_too_large"
	codeMetadata        code = "metadata_invalid"
	codePipelineUnknown code = "pipeline_unknown"
	codeStepInvalid     code = "*_invalid"     // * is a worker type: watermark_invalid
	codeStepMissing     code = "*_unsupported" // likewise
	codeKeyReused       code = "idempotency_key_reused"
	codeKeyBusy         code = "idempotency_key_in_use"
	codeVideoDeleted    code = "video_deleted"
	codeNotReady        code = "video_not_ready"
	codeRenditionExists code = "rendition_exists"

	codeTooManyAdditions code = "too_many_additions"

	codeVideoHeld       code = "video_held"
	codeWouldDelete     code = "retention_unconfirmed"
	codeUploadEnded     code = "upload_ended"
	codeUploadBusy      code = "upload_busy"
	codeUploadLength    code = "upload_length_mismatch"
	codeOffset          code = "offset_mismatch"
	codeUploadMethod    code = "upload_method_mismatch"
	codeNoMultipart     code = "multipart_unsupported"
	codePartsMissing    code = "parts_missing"
	codeChecksum        code = "checksum_mismatch"
	codeTokenUsed       code = "upload_token_used"
	codeTokenOrigin     code = "token_origin_refused"
	codeUploadType      code = "upload_type_refused"
	codeTusVersion      code = "tus_version_unsupported"
	codeTusInvalid      code = "tus_request_invalid"
	codeTooManyUploads  code = "too_many_uploads"
	codeTooManyStreams  code = "too_many_streams"
	codeClientUploads   code = "too_many_client_uploads"
	codeProjectUploads  code = "too_many_project_uploads"
	codeClientStreams   code = "too_many_client_streams"
	codeTooManyVideos   code = "too_many_videos"
	codeTooManyStills   code = "too_many_thumbnails"
	codeClientStills    code = "too_many_client_thumbnails"
	codeNotPlayable     code = "not_playable"
	codePlaybackMissing code = "playback_token_missing"
	codePlaybackInvalid code = "playback_token_invalid"
	codePlaybackExpired code = "playback_token_expired"
	codeQueueFull       code = "queue_full"
	codeState           code = "state_conflict"
	codePrecondition    code = "precondition_failed"
	codeUnavailable     code = "unavailable"
	codeReadModel       code = "read_model_damaged"
	codeWebhookRefused       = code(pipeline.CodeWebhookRefused)
	codeFetchRefused         = code(pipeline.CodeFetchRefused)
	codeParameters           = code(pipeline.CodeParameters)
	codeDiskFull             = code(pipeline.CodeDiskFull)
	codeDiskReadOnly         = code(pipeline.CodeDiskReadOnly)
	codeLogFull              = code(pipeline.CodeLogFull)
	codeQuotaExceeded        = code(pipeline.CodeQuotaExceeded)
	codeSourceGone           = code(pipeline.CodeSourceGone)
	codeStorageFailed        = code(pipeline.CodeStorageFailed)
	codeInternal             = code(pipeline.CodeInternal)
)

// codeEntry says what a code means on HTTP.
type codeEntry struct {
	status    int
	title     string
	retryable bool // whether the same request may succeed later
	remedy    string
}

// codes is the table of all errors that the API answers.
var codes = map[code]codeEntry{
	codeNotFound: {404, "Not found", false, "Check the address and the id. The video may have been deleted."},
	codeMethod:   {405, "The method is not allowed here", false, "Use a method that the Allow header lists."},
	codeUnauthorized: {401, "Not authorized", false,
		"Send a valid API key in the header: Authorization: Bearer rm_live_... (commands: REELMILL_KEY or " +
			"--key-file). `reelmill keys create` makes one."},
	codeScope: {403, "The credential lacks a scope", false,
		"Use a credential with the scope that the detail names."},
	codeAuthUnavailable: {503, "Credentials cannot be checked now", true,
		"Try again later. If it lasts, check the connection of the server to its broker."},
	codeProjectExists: {409, "The project exists", false, "Use it, or choose another name."},
	codeNotEmpty: {409, "The project is not empty", false,
		"Delete its videos and webhook endpoints, cancel its uploads and revoke its keys, then delete it again."},
	codeHostUnknown: {421, "The host is unknown", false,
		"If the name leads to this server, start it with --allow-host (or REELMILL_ALLOW_HOST) and the name."},
	codeCrossOrigin: {403, "The request comes from another site", false,
		"If the page is yours, start the server with --allow-origin and its origin."},
	codeHeadersTooLarge: {431, "The header is too large", false, "Send fewer and shorter headers."},
	codeURITooLong:      {414, "The address is too long", false, "Send a shorter one, with fewer parameters."},
	codeBodyTooLarge:    {413, "The body is too large", false, "Send a smaller body, or none."},
	codeTooManyRequests: {429, "Too many requests from one address", true,
		"Send fewer requests a second. If a proxy sends them for many people, name it with --trusted-proxies, or " +
			"raise --max-client-rate."},
	codeInvalid: {422, "The request is invalid", false, "Correct what errors[] names."},
	codeCursor: {422, "The cursor is invalid", false,
		"Send next_cursor of the previous page unchanged, or leave cursor out for the first page."},
	codeCursorAhead: {409, "The cursor is beyond the event log", false,
		"Forget the cursor and what you have seen, since the log is another one now. Then begin without a cursor."},
	codeWebSocket: {426, "The address is that of a WebSocket", false,
		"Open it as a WebSocket. Without one, follow GET /v1/events/stream."},
	codeRange: {416, "The range is not satisfiable", false,
		"Ask for a range within the size that Content-Range gives."},
	codeMediaType: {415, "The media type is not supported", false,
		"Send multipart/form-data with the video in a part named file, or application/json with the url of the " +
			"video."},
	codeUploadMalformed: {400, "The form is malformed", false, "Send a multipart/form-data body (RFC 7578)."},
	codeUploadBroken: {400, "The upload was cut short", true,
		"Send it again. With the same Idempotency-Key it becomes one video."},
	codeUploadTimeout: {408, "The upload stalled", true,
		"Send it again over a steadier connection. With the same Idempotency-Key it becomes one video."},
	codeUploadSlow: {408, "The upload is too slow", true,
		"Send it over a faster connection, or lower --min-upload-rate on the server. With the same " +
			"Idempotency-Key it becomes one video."},
	codeUploadTooLarge: {413, "The upload is too large", false,
		"Send a smaller file, or raise --max-upload on the server."},
	codeUploadEmpty: {422, "The file is empty", false, "Check the file, then send it again."},
	codeUploadFile: {422, "There is no file", false,
		"Send the video in a part named file, with a filename."},
	codeFieldUnknown: {422, "A field is unknown", false,
		"Correct the name or leave the field out. /openapi.json describes every field."},
	codeFieldRepeated: {422, "A field appears twice", false, "Send it once."},
	codeFieldTooLarge: {413, "A field is too large", false, "Shorten it."},
	codeFieldTooDeep:  {422, "The JSON in a field is nested too deep", false, "Send JSON with fewer levels."},
	codePartHeader: {413, "The header of a part is too large", false,
		"Send only Content-Disposition and Content-Type, with a shorter file name."},
	codeMetadata: {422, "The metadata is invalid", false,
		`Send a JSON object of strings, such as {"title":"Cats"}.`},
	codePipelineUnknown: {422, "The pipeline is unknown", false, "Use a pipeline that GET /v1/pipelines lists."},
	codeStepInvalid:     {422, "The * is invalid", false, "Correct what the detail names."},
	codeStepMissing: {422, "The pipeline has no *", false,
		"Use a pipeline with a step of the worker *, or leave the * out."},
	codeKeyReused: {422, "The Idempotency-Key belongs to another request", false,
		"Use a new key for each request, and the same key for every try of it."},
	codeKeyBusy: {409, "A request with this Idempotency-Key is under way", true,
		"Wait for its answer, or send the same request again in some seconds."},
	codeVideoDeleted: {410, "The video was deleted", false,
		"Use a new Idempotency-Key to upload it again."},
	codeNotReady: {409, "The video is not ready", false,
		"Wait until it is ready: GET /v1/videos/{id}?wait=60s tells. An errored or canceled video can be retried."},
	codeRenditionExists: {409, "The video has the rendition", false,
		"Leave out what the detail names. GET /v1/videos/{id}/outputs lists what the video has, and " +
			"/v1/videos/{id}/additions what is under way."},
	codeTooManyAdditions: {409, "The video has too many additions", false,
		"Ask for several steps in one request. To go on, upload the video again with all of them in a pipeline."},
	codeVideoHeld: {409, "The video has a legal hold", false,
		`Remove the hold first: PATCH /v1/videos/{id} with {"hold": null}, or reelmill videos release. That ` +
			"needs the scope admin."},
	codeSourceGone: {409, "The source of the video is gone", false,
		pipeline.Describe(pipeline.CodeSourceGone).Remedy},
	codeWouldDelete: {409, "The rule would delete something now", false,
		"Look with ?dry_run=true how much that is. To set the rule, send the same request with ?dry_run=false."},
	codeUploadEnded: {410, "The upload has ended", false, "Create another upload with POST /v1/uploads."},
	codeUploadBusy: {423, "Another request works on the upload", true,
		"Ask for the offset with HEAD, and go on from there. Send one request for an upload at a time."},
	codeUploadLength: {422, "The length differs from that of the upload", false,
		"Send as many bytes as the upload was created for, or create another one with the right size."},
	codeOffset: {409, "The offset is not that of the upload", true,
		"Ask for the offset with HEAD, or in GET /v1/uploads/{id}, and send what comes after it."},
	codeUploadMethod: {409, "The upload takes its bytes another way", false,
		"Send the bytes as the answer that made the upload says: to its url or content_url or, of a multipart " +
			"upload, in parts."},
	codeNoMultipart: {422, "The server has no multipart uploads", false,
		"Leave method out, and send the bytes by tus, which goes on after a broken connection, too. Only a " +
			"server whose --store is a bucket of S3 has multipart uploads."},
	codePartsMissing: {409, "Parts of the upload are missing", true,
		"Send the missing parts, for which POST parts_url answers URLs. GET parts_url lists those that have " +
			"arrived. Then complete the upload again."},
	codeChecksum: {460, "The checksum differs", true,
		"Send the same bytes again: they were changed on the way, or the checksum is of others."},
	codeTokenUsed: {409, "The upload token is used", false,
		"Ask your site for another token: each makes one upload. To go on with its upload, send the same request."},
	codeTokenOrigin: {403, "The token is for pages of another origin", false,
		"Send the request from a page of that origin, or make a token for yours (origin), or for any."},
	codeUploadType: {422, "The type of the file is not allowed", false,
		"Choose a file of a type that the detail names, or make a token that allows it (content_types)."},
	codeTusVersion: {412, "The version of tus is not supported", false,
		"Use a client for tus 1.0, which sends Tus-Resumable: 1.0.0."},
	codeTusInvalid: {400, "The tus request is malformed", false,
		"Use a client for tus 1.0 (https://tus.io), or correct what the detail names."},
	codeTooManyUploads: {503, "Too many uploads are under way", true, "Try again after Retry-After seconds."},
	codeTooManyStreams: {503, "Too many event streams are open", true,
		"Try again after Retry-After seconds, or raise --max-streams on the server."},
	codeClientUploads: {429, "Too many uploads from one address are under way", true,
		"Wait until some have ended. If a proxy sends them for many people, name it with --trusted-proxies, or " +
			"raise --max-client-uploads."},
	codeProjectUploads: {429, "Too many uploads of the project are under way", true,
		"Wait until some have ended, or ask the operator to raise the limit uploads_at_once of the project."},
	codeQuotaExceeded: {403, "A quota of the project is exceeded", false,
		"The detail names the quota and when it renews. Wait until then, delete videos if it is minutes_stored, " +
			"or ask the operator to raise it. GET /v1/usage tells how the project stands."},
	codeClientStreams: {429, "Too many event streams are open to one address", true,
		"Close some. If a proxy opens them for many people, name it with --trusted-proxies."},
	codeTooManyVideos: {429, "The project has too many videos under way", true,
		"Wait until some videos end, or cancel some. Try again after Retry-After seconds."},
	codeTooManyStills: {503, "Too many thumbnails are being made", true,
		"Try again after Retry-After seconds. A thumbnail that was made is kept for a day."},
	codeClientStills: {429, "One address waits for too many thumbnails", true,
		"Ask for fewer at once, or show the storyboard, which has all of them in one image. If a proxy asks for " +
			"many people, name it with --trusted-proxies."},
	codePlaybackMissing: {403, "The video plays with a token only", false,
		"Ask the site that shows the video for an address with a token (?token=...). POST /v1/signing_keys " +
			"makes the key that signs such tokens."},
	codePlaybackInvalid: {403, "The token does not play this", false,
		"Sign a token for this video with a signing key of its project; the detail names what is wrong."},
	codePlaybackExpired: {403, "The permission to play has ended", false,
		"Load the page again, or ask the site that shows the video for a new token."},
	codeNotPlayable: {409, "The video has no picture at this time yet", true,
		"Wait until the video is playable, or ready: GET /v1/videos/{id}?wait=30s&until=playable tells."},
	codeQueueFull: {503, "The server has too many videos under way", true,
		"Try again after Retry-After seconds. More workers shorten the queue."},
	codeState: {409, "The state does not allow that", false,
		"Only errored jobs can be retried. If the video was canceled, retry the video; if the server rejected " +
			"the file, upload another."},
	codePrecondition: {412, "The video was changed meanwhile", false,
		"Read the video again, and send the change with its new ETag."},
	codeUnavailable: {503, "The server cannot do that now", true,
		"Try again later. The server's log names the part that failed."},
	codeReadModel: {503, "The read model is damaged", true,
		"Restart the server: it makes the read model anew from the event log. `reelmill rebuild` does the same " +
			"while the server is stopped."},
	codeWebhookRefused: {422, "The webhook address is refused", false,
		"Send an http(s) address that the server may call."},
	codeFetchRefused: {422, "The URL of the source is refused", false,
		"Send the http(s) URL of a file that the server may fetch. To allow private addresses, start servers and " +
			"workers with --fetch-allow-private."},
	codeParameters: {422, "The parameters are invalid", false, "Correct the field that the detail names."},
	codeDiskReadOnly: {503, "The disk is read-only", true,
		"Mount the disk of the server for writing again. The server then takes uploads again by itself."},
	codeDiskFull: {507, "The disk is full", true,
		"Free space on the server. It then takes uploads again by itself."},
	codeLogFull: {507, "The event log is full", true, pipeline.Describe(pipeline.CodeLogFull).Remedy},
	codeStorageFailed: {503, "The object store failed", true,
		"Try again. If that fails too, check the object store."},
	codeInternal: {500, "Internal error", true,
		"Look for this request_id in the server's log, which has the whole error."},
}
