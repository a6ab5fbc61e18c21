package bus

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestMajorityOfAGroupOfServers(t *testing.T) {
	there := &jetstream.PeerInfo{Active: time.Second}
	silent := &jetstream.PeerInfo{Active: peerSilence}
	offline := &jetstream.PeerInfo{Offline: true}
	for name, c := range map[string]struct {
		group *jetstream.ClusterInfo
		ok    bool
	}{
		"no cluster":    {nil, true},
		"alone":         {&jetstream.ClusterInfo{Leader: "a"}, true},
		"all of three":  {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{there, there}}, true},
		"two of three":  {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{there, silent}}, true},
		"one of three":  {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{offline, silent}}, false},
		"nobody leads":  {&jetstream.ClusterInfo{Replicas: []*jetstream.PeerInfo{there, there, there}}, false},
		"two of four":   {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{there, silent, offline}}, false},
		"three of five": {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{there, there, silent, offline}}, true},
	} {
		if err := majorityOf(c.group); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
