package bus

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/reelmill/reelmill/pipeline/access"
)

// TestSecretIsKeptOnce: of servers that start at once, one makes the secret, and all have that one. It is there
// after a restart of the broker.
func TestSecretIsKeptOnce(t *testing.T) {
	s := newBroker(t)
	const servers = 6
	kept := make([][]byte, servers)
	var starting sync.WaitGroup
	for i := range servers {
		b := s.open(Config{})
		starting.Go(func() {
			var err error
			if kept[i], err = b.KeepSecret(soon(t), "root", fmt.Appendf(nil, "of server %d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	for i, k := range kept {
		if len(k) == 0 || !bytes.Equal(k, kept[0]) {
			t.Errorf("server %d has %q, server 0 has %q", i, k, kept[0])
		}
	}
	s.stop()
	s.start()
	again, err := s.open(Config{}).KeepSecret(soon(t), "root", []byte("another"))
	if must(t, err); !bytes.Equal(again, kept[0]) {
		t.Errorf("after a restart it is %q, before %q", again, kept[0])
	}
}

// TestRemovedSecretIsMadeAnew: an operator who deletes the secret with the tools of NATS gets another one.
func TestRemovedSecretIsMadeAnew(t *testing.T) {
	b := newBus(t, Config{})
	first, err := access.OpenRoot(soon(t), b)
	must(t, err)
	_, err = b.publish(soon(t), removalOf(secretPrefix+"root"))
	must(t, err)
	second, err := access.OpenRoot(soon(t), b)
	must(t, err)
	third, err := access.OpenRoot(soon(t), b)
	must(t, err)
	if p := access.ForPlayback; bytes.Equal(first.Key(p), second.Key(p)) || !bytes.Equal(second.Key(p), third.Key(p)) {
		t.Error("the secret after its removal is the removed one, or differs each time")
	}
}
