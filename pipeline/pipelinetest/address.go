package pipelinetest

import (
	"net"
	"testing"
)

// FreeAddress returns a loopback address, host:port, that nobody listens on. Another process may take it at
// any time.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}
