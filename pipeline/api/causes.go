package api

import "github.com/reelmill/reelmill/pipeline"

// causes says for each code of the table codes what the likely cause is. * is a worker type.
var causes = map[code]string{
	codeNotFound: "There is no such address, or no such thing of this project: the id is mistyped, or what it " +
		"named was deleted.",
	codeMethod: "The address exists, but not for this method.",
	codeUnauthorized: "The request has no Authorization header, or its key or token is mistyped, unknown, " +
		"expired or revoked, or of a project that does not exist. The answer does not tell which.",
	codeScope: "The key was made for other things; or the request names a project in X-Reelmill-Project, " +
		"which only a key of the operator may; or a token for a browser is used for something else.",
	codeAuthUnavailable: "The server has not heard from its event log for two seconds, so a key may have been " +
		"revoked meanwhile. Or the key of a JSON Web Token is unknown, and its issuer does not answer.",
	codeTokenUsed: "Each upload token makes one upload, and this one did so with another file, or other fields.",
	codeTokenOrigin: "The token was made for pages of one origin, and the request has another Origin header, " +
		"or none.",
	codeUploadType: "The upload token lists the types that the file may have, and its name, its declared type " +
		"or its first bytes are of another one.",
	codeProjectExists: "There is a project of this name.",
	codeNotEmpty:      "The project has something that would be out of reach without it.",
	codeHostUnknown: "The Host header has a name that is none of the server's: neither a loopback name, nor " +
		"an IP address, nor one of --listen, --public-url and --allow-host. A proxy or a DNS name is new, or a " +
		"page tries DNS rebinding.",
	codeCrossOrigin: "The browser says that a page of another origin sends the request. The page may be " +
		"yours, or one that abuses the visitor's access to the server.",
	codeHeadersTooLarge: "There are too many headers, or too long ones: often cookies of other sites on the " +
		"same host.",
	codeURITooLong:   "Path and query have more than 8 KiB, or the query has more than 64 parameters.",
	codeBodyTooLarge: "The body has more than 64 KiB at an address that takes no upload.",
	codeTooManyRequests: "One address sends more than --max-client-rate requests a second, or one project or " +
		"key more than its requests_per_second: a loop without a pause, or a proxy that the server does not know " +
		"as one.",
	codeInvalid: "A parameter, header or field has a value of the wrong form, or has a name that the " +
		"operation does not know.",
	codeCursor: "The cursor is of another list, was cut, or was made by the client.",
	codeCursorAhead: "The event log was replaced by another one, or the cursor is of " +
		"another server, or was made by the client.",
	codeWebSocket: "A client that speaks plain HTTP called the address, or a proxy dropped the Upgrade header.",
	codeRange:     "The Range header is malformed, or begins beyond the end of the file.",
	codeMediaType: "The Content-Type is missing, or not one that the operation takes.",
	codeUploadMalformed: "The body is no form with the boundary that Content-Type names; often a client sets " +
		"the header by hand.",
	codeUploadBroken: "The connection ended before the whole body had arrived: the client stopped, or the " +
		"network or a proxy cut it.",
	codeUploadTimeout: "No byte came for a minute: the network stalls, or the client has stopped without " +
		"saying so.",
	codeUploadSlow:     "Fewer bytes a second came on average than --min-upload-rate.",
	codeUploadTooLarge: "The file has more bytes than --max-upload allows.",
	codeUploadEmpty: "The file has no bytes; often the path is wrong, or another program has not yet written " +
		"it.",
	codeUploadFile: "The form has no part named file, or that part has no filename.",
	codeFieldUnknown: "The request has a field with a name that the server does not know; often a typing " +
		"error.",
	codeFieldRepeated:   "The form has two parts of one name.",
	codeFieldTooLarge:   "The value of a field is longer than the field may be.",
	codeFieldTooDeep:    "The JSON of a field has more than 16 levels.",
	codePartHeader:      "The header of a part of the form has more than 16 KiB.",
	codeMetadata:        "metadata is no JSON object, or one of its values is no string.",
	codePipelineUnknown: "The configuration of the server has no pipeline of this name.",
	codeStepInvalid:     "What came for the * is neither a file of a known format nor valid parameters.",
	codeStepMissing:     "The upload has something for the *, but no step of its pipeline uses it.",
	codeKeyReused: "The key was used for another request: one to another address, or with another file or " +
		"other fields.",
	codeKeyBusy: "A client sends a request again while the server still works on it, or two clients have one " +
		"key. After a crash of the server, the key is free in two minutes.",
	codeVideoHeld: "Somebody has set a legal hold on the video, so that neither people nor rules delete it or " +
		"its source. `hold` of the video says who, when and why.",
	codeWouldDelete: "Some videos of the project ended longer ago than the new rule of retention keeps them " +
		"or their sources.",
	codeVideoDeleted: "The video that was made with this Idempotency-Key, or by this upload, was deleted. The " +
		"key does not make it again.",
	codeNotReady: "The video is processed, or processed again, or has ended otherwise. Only ready videos get " +
		"further outputs.",
	codeSourceGone: "Somebody, or a rule of the operator, deleted the source from the object store after the " +
		"video was ready.",
	codeRenditionExists:  "A rung of the ladder is one that the video has, or that another addition makes now.",
	codeTooManyAdditions: "Each request is an addition, also one that failed, and a video has a limit.",
	codeUploadEnded: "The upload was completed, canceled or refused, or has expired: no byte came for " +
		"--upload-expires.",
	codeUploadBusy: "Another request for the same upload is under way, perhaps one whose connection is dead.",
	codeUploadMethod: "A client sends bytes by tus or with a PUT to a multipart upload, or asks for parts of " +
		"an upload that has none.",
	codeNoMultipart: "The objects of the server are in a folder, to which clients cannot send anything " +
		"themselves.",
	codePartsMissing: "A PUT of a part failed, or is still under way, or was never sent.",
	codeUploadLength: "More or fewer bytes came than the upload was created for, or than the request " +
		"announced.",
	codeOffset: "The request begins at another byte than the one after the last that is kept. An earlier " +
		"request was cut, or its answer was lost.",
	codeChecksum:       "The bytes that arrived do not have the sum that Upload-Checksum gives.",
	codeTusVersion:     "The request has no Tus-Resumable header, or one of another version.",
	codeTusInvalid:     "A header of the tus protocol is missing or malformed.",
	codeTooManyUploads: "As many uploads are under way, or have not ended, as the server takes.",
	codeTooManyStreams: "As many clients follow events as the server allows (--max-streams).",
	codeClientUploads:  "One address sends more than --max-client-uploads uploads at once.",
	codeProjectUploads: "More requests of one project send bytes of uploads to one server process than " +
		"uploads_at_once of the project allows.",
	codeQuotaExceeded: "The project has used up what its operator allows it to upload on a day, to store, or " +
		"to have encoded in a month, or the upload is larger than what is left.",
	codeClientStreams: "One address has three quarters of all event streams; often pages that do not close " +
		"theirs.",
	codeTooManyVideos: "More videos of the project wait or are processed than one project may have.",
	codeQueueFull: "More videos wait or are processed than the server takes: workers are too few, or " +
		"stopped.",
	codeTooManyStills: "More thumbnails are asked for than the machine makes; often a page asks for many at " +
		"once, each for the first time.",
	codeClientStills: "One address asks for many thumbnails at once, each for the first time.",
	codePlaybackMissing: "The policy of the video is signed, and the address was copied without its token, or " +
		"a player drops the query, or the cookie was set for another path or site.",
	codePlaybackInvalid: "The token is for another video, path or address, was changed, or its signing key is " +
		"unknown, revoked or of another project.",
	codePlaybackExpired: "The page was open for longer than its token lasts, or somebody uses an old address.",
	codeNotPlayable: "The video is still processed and this part of it is not done, or it has failed, or its " +
		"pipeline makes no renditions.",
	codeState: "The video, job, upload or dead letter is in a state that does not allow the action. The " +
		"detail names the state.",
	codePrecondition: "Somebody else changed the video after its ETag was read.",
	codeUnavailable: "The server starts or stops, or a part that it needs, such as the event log, does not " +
		"answer in time.",
	codeReadModel: "The file of the read model (catalog.db) is damaged; often a disk or a power cut is the " +
		"cause.",
	codeWebhookRefused: pipeline.Describe(pipeline.CodeWebhookRefused).Cause,
	codeFetchRefused: "The URL is no http or https address of a file, or leads to an address that is not " +
		"public.",
	codeParameters:   "A parameter of a step does not match the schema of its worker.",
	codeDiskFull:     "The disk of the object store has little room left; some is kept for work under way.",
	codeDiskReadOnly: pipeline.Describe(pipeline.CodeDiskReadOnly).Cause,
	codeLogFull:      pipeline.Describe(pipeline.CodeLogFull).Cause,
	codeStorageFailed: "The object store, a disk or an S3 server, refuses reads or writes, or does not " +
		"answer.",
	codeInternal: "The server has a fault that has no code of its own.",
}
