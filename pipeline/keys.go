package pipeline

import (
	"strconv"
	"strings"
)

// The keys of a video's objects in the store:
//
//	videos/<video>/source/<name>         the source, and the assets of the upload
//	videos/<video>/<job>/<token>/<path>  an output of one attempt at a job
//	videos/<video>/stills.cache/<name>   a still image that was asked for; the janitor removes it after a day
const (
	videosPrefix = "videos/"
	sourceFolder = "source"       // no step or job has this name: its outputs would lie beside the source
	stillsFolder = "stills.cache" // no step or job can have this name
)

// videoPrefix returns the prefix of every key of a video.
func videoPrefix(video string) string { return videosPrefix + video + "/" }

// SourceKey returns the key of an uploaded file. The server chooses the name ("original.mp4"); the user's
// file name belongs in metadata.
func SourceKey(video, name string) string { return videoPrefix(video) + sourceFolder + "/" + name }

// StillsPrefix returns the prefix of the still images that were asked for, which may be deleted at any time.
func StillsPrefix(video string) string { return videoPrefix(video) + stillsFolder + "/" }

// JobPrefix returns the prefix of every output of a job, whichever attempt made it.
func JobPrefix(video, job string) string { return videoPrefix(video) + job + "/" }

// AttemptPrefix returns the prefix of the outputs of one attempt at a job. The token is the attempt's fence:
// two attempts never share a prefix, so all outputs of a losing attempt can be deleted at once.
func AttemptPrefix(video, job string, token uint64) string {
	return JobPrefix(video, job) + strconv.FormatUint(token, 10) + "/"
}

// Location is a parsed key of an object.
type Location struct {
	Video string
	Job   string // empty for what was uploaded
	Token uint64 // of the attempt at the job; 0 when the key has none
}

// Locate parses the key of an object; false when the key is not a video's.
func Locate(key string) (Location, bool) {
	parts := strings.SplitN(key, "/", 5)
	if len(parts) < 3 || parts[0]+"/" != videosPrefix || !ValidName(parts[1]) {
		return Location{}, false
	}
	at := Location{Video: parts[1]}
	if len(parts) < 5 {
		return at, true
	}
	at.Job = parts[2]
	if token, err := strconv.ParseUint(parts[3], 10, 64); err == nil {
		at.Token = token
	}
	return at, true
}
