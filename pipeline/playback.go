package pipeline

import "fmt"

// PlaybackPolicy says who may play a video. Empty, as in events and views of earlier versions, is
// PlaybackPublic. What this version does not know counts as signed: rather too few may play than too many.
type PlaybackPolicy string

// The policies.
const (
	PlaybackPublic PlaybackPolicy = "public" // whoever knows the id of the video
	PlaybackSigned PlaybackPolicy = "signed" // whoever has a token for it (package playback)
)

// PlaybackPolicies lists all policies; the first is the default.
func PlaybackPolicies() []PlaybackPolicy { return []PlaybackPolicy{PlaybackPublic, PlaybackSigned} }

// Signed reports whether a token is needed.
func (p PlaybackPolicy) Signed() bool { return p.OrPublic() != PlaybackPublic }

// OrPublic returns p, or PlaybackPublic when p is empty.
func (p PlaybackPolicy) OrPublic() PlaybackPolicy {
	if p == "" {
		return PlaybackPublic
	}
	return p
}

// stored returns p as video.uploaded and tags have it: the default is empty, as in those of earlier versions.
func (p PlaybackPolicy) stored() PlaybackPolicy {
	if p.Signed() {
		return p
	}
	return ""
}

// CheckPlaybackPolicy returns why p is no policy that somebody may ask for, or nil.
func CheckPlaybackPolicy(p PlaybackPolicy) error {
	names := []string{}
	for _, known := range PlaybackPolicies() {
		if p == known {
			return nil
		}
		names = append(names, string(known))
	}
	return fmt.Errorf("%s", Unknown("playback policy", string(p), names))
}
