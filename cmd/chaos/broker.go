package main

import (
	"context"
	"errors"
	"flag"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/reelmill/reelmill/pipeline/bus/embedded"
)

// runBroker runs the broker of the distributed phase: a NATS server in a process of its own, which can be
// killed. It syncs every write, as the embedded one does.
func runBroker(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("chaos broker", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder of the streams")
	port := flags.Int("port", 0, "port on loopback")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "chaos", Host: "127.0.0.1", Port: *port, NoSigs: true, MaxPayload: embedded.MaxPayload,
		JetStream: true, StoreDir: *dir, SyncAlways: true,
		JetStreamMaxStore: 1 << 40, JetStreamMaxMemory: 1 << 30,
	})
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		return errors.New("the broker did not start")
	}
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}
