package broker

import (
	"strings"
	"testing"
)

// TestBrokersAreShownWithoutPasswords checks one address and several.
func TestBrokersAreShownWithoutPasswords(t *testing.T) {
	for addresses, want := range map[string]string{
		"nats://10.0.0.5:4222":                        "nats://10.0.0.5:4222",
		"tls://me:secret@a:1":                         "tls://me:xxxxx@a:1",
		"nats://me:secret@a:1,nats://you:secret@b:2":  "nats://me:xxxxx@a:1,nats://you:xxxxx@b:2",
		"nats://10.0.0.5:4222, nats://10.0.0.6:4222":  "nats://10.0.0.5:4222,nats://10.0.0.6:4222",
		"nats://[::1]:4222,ws://c.example.org/broker": "nats://[::1]:4222,ws://c.example.org/broker",
	} {
		if err := CheckAddresses(addresses); err != nil {
			t.Errorf("%s: %v", addresses, err)
		}
		if got := WithoutPassword(addresses); got != want {
			t.Errorf("%s is shown as %s", addresses, got)
		}
	}
	if err := CheckAddresses("me:secret@a:1"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("refused with %v", err)
	}
}
