package pipeline

// The error codes of videos and jobs. They never change their meaning; the catalogue below explains each.
const (
	CodeNotVideo          Code = "input_not_video"
	CodeMalformed         Code = "input_malformed"
	CodeCodec             Code = "input_unsupported_codec"
	CodeContainer         Code = "input_unsupported_container"
	CodeEncrypted         Code = "input_encrypted"
	CodeFetchFailed       Code = "input_fetch_failed"
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
	CodeLogFull           Code = "log_full"
	CodeStorageFailed     Code = "storage_failed"
	CodeVerification      Code = "output_verification_failed"
	CodeWorkerTypeUnknown Code = "worker_type_unknown"
	CodeParameters        Code = "parameters_invalid"
	CodeMaxAttempts       Code = "max_attempts_exceeded"
	CodeWebhookRefused    Code = "webhook_refused"
	CodeWebhookFailed     Code = "webhook_failed"
	CodeWorkerPanicked    Code = "worker_panicked"
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
		"The first bytes are of no container that ReelMill knows; often text, a playlist or an archive.",
		"Upload a video file such as MP4, MOV, MKV, WebM, AVI or MPEG-TS."},
	CodeMalformed: {Input, "The file is damaged",
		"The container is known, but its index or streams cannot be read; often it was cut short.",
		"Play the file locally; export or upload it again."},
	CodeCodec: {Input, "The codec is not supported",
		"The picture or sound is in a format outside the list of decoders that may see untrusted input.",
		"Export the video as H.264, HEVC, VP9 or AV1 with AAC or Opus."},
	CodeContainer: {Input, "The container is not supported",
		"The file is media, but not in a container that may see untrusted input.",
		"Remux it to MP4 or Matroska."},
	CodeEncrypted: {Input, "The video is encrypted",
		"Its picture or sound is protected (CENC, DRM, scrambling), and only who has the key can read it.",
		"Upload the file as it was before it was protected, or one exported without protection."},
	CodeFetchFailed: {Transient, "The source could not be read",
		"The object store lost the source, or did not answer.",
		"Check the object store; then retry the job."},
	CodeTooLong: {Input, "The video is too long", "It lasts longer than the server allows.",
		"Cut it, or have the limit raised."},
	CodeTooLarge: {Input, "The file is too large", "It has more bytes than the server allows.",
		"Compress it, or have the limit raised."},
	CodeNoVideoStream: {Input, "There is no picture in the file",
		"It has sound only, or its only picture is a cover or a still.",
		"Upload a file with a video stream."},
	CodeLimits: {Input, "The video is outside the limits",
		"Its size in pixels, frame rate, streams, channels, bit rate or aspect ratio is beyond what is accepted.",
		"Export it within the limits that the detail names."},
	CodePartlyUsed: {Input, "Not all of the source is used",
		"A track is of a kind that nothing is made of, or a part of the file cannot be read.",
		"The detail names it. Nothing needs to be done where the video is as it was meant."},
	CodePolicyRejected: {Input, "The policy refused the video", "A rule of this server's policy matched.",
		"The detail names the rule."},
	CodeEncodeFailed: {Bug, "Encoding failed",
		"ffmpeg ended with an error that points to neither the input nor the machine.",
		"Read the stderr tail; report it with the input if you can."},
	CodeJobTimeout: {Transient, "The job took too long",
		"It ran past its time limit; the machine may be overloaded.",
		"Give the step a longer timeout or the machine fewer slots."},
	CodeJobStalled: {Transient, "The job stalled", "The encoder made no progress for a minute.",
		"Check the machine's disk and load."},
	CodeWorkerLost: {Transient, "The worker was lost", "The process that ran the job ended without an outcome.",
		"Check the logs of that machine for a kill or a crash."},
	CodeWorkerCrashed: {Transient, "The worker crashed",
		"The process that ran the job came down by itself; this job, or one that ran beside it, is the cause.",
		"It is tried once more, alone. Read the crash text and report it with the input if you can."},
	CodeEncoderCrashed: {Transient, "The encoder crashed",
		"ffmpeg was ended by a signal. The source brings out a fault in it, or the machine has one.",
		"It is tried twice. Read the stderr tail; report it with the input if you can."},
	CodeOutOfMemory: {Resource, "Out of memory",
		"The encoder was killed, most likely by the kernel for want of memory.",
		"Give the machine more memory or fewer slots."},
	CodeDiskFull: {Resource, "The disk is full", "There was no room for scratch or outputs.",
		"Free space; jobs are tried again."},
	CodeLogFull: {Resource, "The event log is full",
		"It is as large as it may become, but for what is kept free for work under way and for deletions.",
		"Delete videos, which takes their events out of it; or let it grow, on the server: " +
			"`reelmill streams apply --events-max-bytes SIZE --yes`. What waits then goes on by itself."},
	CodeStorageFailed: {Transient, "The object store failed", "It refused or lost a read or write.",
		"Check the object store; jobs are tried again."},
	CodeVerification: {Transient, "An output failed verification",
		"What was made is not what was planned: missing or empty segments, wrong size, length or codec.",
		"It is made again; when it stays, read the detail and report it."},
	CodeWorkerTypeUnknown: {Bug, "The worker type is unknown",
		"The pipeline names a worker type that nobody registered.",
		"Correct the pipeline, or start a worker of that type."},
	CodeParameters: {Bug, "The step's parameters are invalid",
		"The `with` of a step does not fit its worker's schema.",
		"Correct the pipeline; the detail names the field."},
	CodeMaxAttempts: {Bug, "No attempts are left", "Every attempt failed or was lost.",
		"Look at the attempts' errors in the events of the video; then retry the job."},
	CodeWebhookRefused: {Input, "The webhook address is refused",
		"The address is malformed, answers 410 Gone, or leads to a private network.",
		"Correct the URL; where private addresses are meant, start servers and workers with " +
			"--webhook-allow-private."},
	CodeWebhookFailed: {Transient, "The webhook was not accepted", "The receiver did not answer 2xx.",
		"Mend the receiver; delivery is tried again for 75 hours."},
	CodeWorkerPanicked: {Bug, "The worker panicked",
		"The worker's code has a mistake that this video brings out.",
		"The log of the process has the stack; report it with the input if you can."},
	CodeInternal: {Transient, "Internal error", "Something failed that has no code of its own.",
		"The log of the process has the whole error."},
}

// Describe returns what the catalogue says of a code; an unknown code reads as CodeInternal.
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
