package pipeline

// The error codes of videos and jobs. They never change their meaning; the catalogue below explains each.
const (
	CodeNotVideo          Code = "input_not_video"
	CodeMalformed         Code = "input_malformed"
	CodeCodec             Code = "input_unsupported_codec"
	CodeContainer         Code = "input_unsupported_container"
	CodeEncrypted         Code = "input_encrypted"
	CodeFetchFailed       Code = "input_fetch_failed"
	CodeFetchRefused      Code = "input_fetch_refused"
	CodeFetchPage         Code = "input_fetch_page"
	CodeSourceDamaged     Code = "source_damaged"
	CodeTooLong           Code = "input_too_long"
	CodeTooLarge          Code = "input_too_large"
	CodeNoVideoStream     Code = "input_no_video_stream"
	CodeLimits            Code = "input_outside_limits"
	CodePartlyUsed        Code = "input_partly_used"
	CodePolicyRejected    Code = "policy_rejected"
	CodeEncodeFailed      Code = "encode_failed"
	CodeJobTimeout        Code = "job_timeout"
	CodeJobStalled        Code = "job_stalled"
	CodeWorkerLost        Code = "worker_lost"
	CodeWorkerCrashed     Code = "worker_crashed"
	CodeEncoderCrashed    Code = "encoder_crashed"
	CodeOutOfMemory       Code = "out_of_memory"
	CodeDiskFull          Code = "disk_full"
	CodeDiskReadOnly      Code = "disk_read_only"
	CodeLogFull           Code = "log_full"
	CodeStorageFailed     Code = "storage_failed"
	CodeVerification      Code = "output_verification_failed"
	CodeWorkerTypeUnknown Code = "worker_type_unknown"
	CodeParameters        Code = "parameters_invalid"
	CodeWebhookRefused    Code = "webhook_refused"
	CodeWebhookFailed     Code = "webhook_failed"
	CodeWorkerPanicked    Code = "worker_panicked"
	CodeQuotaExceeded     Code = "quota_exceeded"
	CodeSourceGone        Code = "source_gone"
	CodeInternal          Code = "internal_error"
)

// CodeEntry explains a code.
type CodeEntry struct {
	Class  Class
	Title  string
	Cause  string // the likely cause
	Remedy string
}

var catalogue = map[Code]CodeEntry{
	CodeNotVideo: {Input, "The file is not a video",
		"It does not begin like any container that ReelMill knows; often it is text, a playlist or an archive.",
		"Upload a video file such as MP4, MOV, MKV, WebM, AVI or MPEG-TS."},
	CodeMalformed: {Input, "The file is damaged",
		"The container is known, but its index or streams cannot be read; often the file was cut short.",
		"Check that the file plays on your computer; then export or upload it again."},
	CodeCodec: {Input, "The codec is not supported",
		"ReelMill decodes only certain video and audio codecs, for safety; this one is not among them.",
		"Export the video as H.264, HEVC, VP9 or AV1 with AAC or Opus."},
	CodeContainer: {Input, "The container is not supported",
		"ReelMill reads only certain containers, for safety; this one is not among them.",
		"Remux it to MP4 or Matroska."},
	CodeEncrypted: {Input, "The video is encrypted",
		"Its video or audio is protected (CENC, DRM, scrambling) and cannot be read without the key.",
		"Upload the file without protection."},
	CodeFetchFailed: {Transient, "The source could not be read",
		"The object store lost the source or did not answer, or the server of its URL did not.",
		"Check the object store, or the server of the URL, then retry the job."},
	CodeFetchRefused: {Input, "The source cannot be fetched",
		"The server of the URL refuses the file or has none there, or the URL leads to an address that is not " +
			"public.",
		"Open the URL in a private window of a browser: it must begin a download without a login. A signed URL " +
			"may have expired. To allow private addresses, start servers and workers with --fetch-allow-private."},
	CodeFetchPage: {Input, "The URL leads to a web page",
		"The server answered HTML, often a page to log in, to confirm a download or to watch the video.",
		"Send the URL of the file itself, which needs no login."},
	CodeSourceDamaged: {Transient, "The source was damaged after its upload",
		"Its bytes differ from those that were uploaded: a disk, the network or the object store changed them, " +
			"or somebody replaced the object.",
		"The job is tried again; if the same bytes come twice, it ends. Check the disk or the object store, then " +
			"upload the file again."},
	CodeTooLong: {Input, "The video is too long", "It lasts longer than the server allows.",
		"Shorten it, or ask the operator to raise the limit."},
	CodeTooLarge: {Input, "The file is too large", "It has more bytes than the server allows.",
		"Compress it, or ask the operator to raise the limit."},
	CodeNoVideoStream: {Input, "There is no picture in the file",
		"It has audio only, or its only picture is a cover or a still image.",
		"Upload a file with a video stream."},
	CodeLimits: {Input, "The video is outside the limits",
		"Its size in pixels, frame rate, streams, channels, bit rate or aspect ratio exceeds a limit.",
		"Export it within the limits that the detail names."},
	CodePartlyUsed: {Input, "Not all of the source is used",
		"ReelMill has no use for a track, or cannot read a part of the file.",
		"The detail names it. If the video looks as you meant it, do nothing."},
	CodePolicyRejected: {Input, "The policy refused the video", "A rule of this server's policy matched.",
		"The detail names the rule."},
	CodeEncodeFailed: {Bug, "Encoding failed",
		"ffmpeg failed with an error that points to neither the input nor the machine.",
		"Read the end of ffmpeg's output; report it, with the input if you can."},
	CodeJobTimeout: {Transient, "The job took too long",
		"It exceeded its time limit; the machine may be overloaded.",
		"Give the step a longer timeout, or the machine fewer slots."},
	CodeJobStalled: {Transient, "The job stalled", "The encoder made no progress for a minute.",
		"Check the disk and the load of the machine."},
	CodeWorkerLost: {Transient, "The worker was lost",
		"The process that ran the job ended without reporting an outcome.",
		"Check the machine's logs for a kill or a crash."},
	CodeWorkerCrashed: {Transient, "The worker crashed",
		"The process that ran the job crashed; this job, or one that ran beside it, is the cause.",
		"The job is tried once more, alone. Read the crash text and report it, with the input if you can."},
	CodeEncoderCrashed: {Transient, "The encoder crashed",
		"A signal ended ffmpeg. The source triggers a bug in ffmpeg, or the machine has a fault.",
		"The job is tried twice. Read the end of ffmpeg's output; report it, with the input if you can."},
	CodeOutOfMemory: {Resource, "Out of memory",
		"The encoder was killed, most likely by the kernel because memory ran out, or the kernel refused " +
			"it memory.",
		"The job is tried once more, alone. Give the machine more memory, or ReelMill fewer --slots or --threads."},
	CodeDiskFull: {Resource, "The disk is full", "There was no room for scratch files or outputs.",
		"Free some space; jobs are retried automatically."},
	CodeDiskReadOnly: {Resource, "The disk is read-only",
		"The system mounted it so, often because the disk has faults.",
		"Look for faults of the disk in the system's log, and mount it for writing again; jobs are retried " +
			"automatically."},
	CodeLogFull: {Resource, "The event log is full",
		"It has reached its size limit; what is left is reserved for work under way and for deletions.",
		"Delete videos, which removes their events; or let the log grow, on the server: " +
			"`reelmill streams apply --events-max-bytes SIZE --yes`. Waiting work then continues by itself."},
	CodeStorageFailed: {Transient, "The object store failed", "A read or write was refused or lost.",
		"Check the object store; jobs are retried automatically."},
	CodeVerification: {Transient, "An output failed verification",
		"The output differs from the plan: missing or empty segments, wrong size, length or codec.",
		"The job is retried. If it fails again, read the detail and report it."},
	CodeWorkerTypeUnknown: {Bug, "The worker type is unknown",
		"The pipeline names a worker type that does not exist.",
		"Correct the pipeline, or start a worker of that type."},
	CodeParameters: {Bug, "The step's parameters are invalid",
		"The `with` of a step does not match the schema of its worker.",
		"Correct the pipeline; the detail names the field."},
	CodeWebhookRefused: {Input, "The webhook address is refused",
		"The address is malformed, answers 410 Gone, or leads to a private network.",
		"Correct the URL. To allow private addresses, start servers and workers with " +
			"--webhook-allow-private."},
	CodeWebhookFailed: {Transient, "The webhook was not accepted", "The receiver did not answer 2xx.",
		"Fix the receiver; ReelMill retries the delivery for 75 hours."},
	CodeWorkerPanicked: {Bug, "The worker panicked",
		"This video triggers a bug in the worker's code.",
		"The stack is in the log of the process; report it, with the input if you can."},
	CodeSourceGone: {Input, "The source was deleted",
		"The retention of the project says after how many days sources are deleted, and this one was older.",
		"Upload the video again. The operator can keep sources for longer: source_days of the project."},
	CodeQuotaExceeded: {Input, "A quota of the project is exceeded",
		"With this video the project would use more than its operator allows; nothing of it was encoded.",
		"The detail names the quota and when it renews. Delete videos, wait, or ask the operator to raise the " +
			"quota; then upload the video again."},
	CodeInternal: {Transient, "Internal error", "A failure without a code of its own.",
		"The full error is in the log of the process."},
}

// Describe returns the catalogue's entry for a code; that of CodeInternal for an unknown code.
func Describe(c Code) CodeEntry {
	if e, ok := catalogue[c]; ok {
		return e
	}
	return catalogue[CodeInternal]
}

// Codes returns every code of the catalogue, in no order.
func Codes() []Code {
	codes := make([]Code, 0, len(catalogue))
	for c := range catalogue {
		codes = append(codes, c)
	}
	return codes
}
