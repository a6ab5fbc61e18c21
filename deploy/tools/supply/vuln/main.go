// The program vuln runs govulncheck on a module, and tells the cases apart in which it has no database.
//
// usage: vuln [-db URL] [-required] DIR PATTERN...
//
//  1. It asks the database for its index. If nobody answers (no network, no name, no connection), it says
//     that the check did not run, and succeeds; with -required it fails.
//  2. A connection that TLS refuses, and an answer that is no index, are errors: the database, or a proxy
//     before it, is broken, or is not what it says.
//  3. It runs govulncheck. A vulnerability in a function that the module calls fails; one in code that is
//     only linked or required is printed.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/vuln/scan"
)

// publicDB is govulncheck's own default.
const publicDB = "https://vuln.go.dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	flags := flag.NewFlagSet("vuln", flag.ContinueOnError)
	db := flags.String("db", publicDB, "address of the vulnerability database: https://, http:// or file://")
	required := flags.Bool("required", false, "fail when the database cannot be reached")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() < 2 {
		return errors.New("usage: vuln [-db URL] [-required] DIR PATTERN...")
	}
	err := ask(ctx, *db)
	if absent, ok := errors.AsType[unreachable](err); ok && !*required {
		fmt.Fprintf(out, "NOT CHECKED for known vulnerabilities: %s cannot be reached: %v\n"+
			"Run make vuln where it can be, or on a copy: make vuln VULNDB=file:///copy\n", *db, absent.error)
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask the vulnerability database %s: %w", *db, err)
	}
	cmd := scan.Command(ctx, append([]string{"-db", *db, "-C", flags.Arg(0)}, flags.Args()[1:]...)...)
	cmd.Stdout, cmd.Stderr = out, errOut
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start govulncheck: %w", err)
	}
	return cmd.Wait() // with what it found on out
}

// unreachable: nobody answered at the address of the database.
type unreachable struct{ error }

// patience is how long a database may take to answer.
const patience = 30 * time.Second

// ask reads the index of the database. The error is unreachable if nobody answers.
func ask(ctx context.Context, db string) error {
	address, err := url.Parse(db)
	if err != nil {
		return err
	}
	if address.Scheme == "file" {
		index, err := os.ReadFile(filepath.Join(filepath.FromSlash(address.Path), "index", "db.json"))
		if err != nil {
			return err
		}
		return readIndex(index)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	index := strings.TrimSuffix(db, "/") + "/index/db.json"
	handshake := make(chan error, 1)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			select {
			case handshake <- err:
			default: // a further try
			}
		},
	})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, index, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return failed(err, handshake)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answered %s", answer.Status)
	}
	said, err := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	if err != nil {
		return fmt.Errorf("read its answer: %w", err)
	}
	return readIndex(said)
}

// failed returns the error of a request without an answer. It is unreachable unless somebody answered in time
// whom TLS refused.
func failed(err error, handshake <-chan error) error {
	select {
	case refused := <-handshake:
		if refused != nil && !timeout(refused) {
			return fmt.Errorf("somebody answers there, but TLS refuses the connection: %w. Check the clock and the "+
				"certificates of this machine, and whether a proxy replaces certificates", err)
		}
	default: // nobody answered
	}
	return unreachable{err}
}

// timeout reports whether an error only says that nobody answered in time, as behind a firewall that drops
// what a connection carries.
func timeout(err error) bool {
	var failed net.Error
	return errors.As(err, &failed) && failed.Timeout()
}

// readIndex checks that the answer is an index, not the page of a proxy that wants a login.
func readIndex(index []byte) error {
	var said struct{ Modified time.Time }
	if err := json.Unmarshal(index, &said); err != nil || said.Modified.IsZero() {
		return fmt.Errorf("its index is %.80q, not a time of change", index)
	}
	return nil
}
