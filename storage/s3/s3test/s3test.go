// Package s3test starts a real S3 server for tests: versitygw on a folder, in a process of its own. It owns
// how that server is built (from deploy/tools, cached by the go command), started, awaited and stopped.
// Only tests import it.
//
// The server keeps its metadata in extended attributes. On a file system without them it uses a folder
// beside the data; there its own races are more frequent, and a Put may be lost to the Delete of a sibling.
package s3test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/storage/s3"
)

const (
	askTimeout = 30 * time.Second // of one readiness check; there are as many as it takes
	pollEvery  = 20 * time.Millisecond
)

// StartGateway starts an empty server on a loopback port and returns a Config for it: with a bucket name,
// CreateBucket and credentials. Several stores can share it with different Prefixes or Buckets. The server
// is stopped, and its folder removed, when the test ends.
func StartGateway(t testing.TB) s3.Config {
	t.Helper()
	binary, err := gateway()
	if err != nil {
		t.Fatalf("build the S3 server: %v", err)
	}
	// Another process may take the port before the server does, so try several times.
	var backend []string
	for try := 1; ; try++ {
		config, err := start(t, binary, backend)
		if err == nil {
			return config
		}
		if strings.Contains(err.Error(), "xattr check failed") {
			backend = []string{"--sidecar", t.TempDir()}
		}
		if try == 5 {
			t.Fatalf("start the S3 server: %v", err)
		}
		t.Logf("start the S3 server, try %d: %v", try, err)
	}
}

// gateway is the path of the server's binary. It builds the server if the build cache has none (.ci/install
// has built it). That takes a minute and a half on two idle cores, and only the test's own time-out limits
// it.
var gateway = sync.OnceValues(func() (string, error) {
	tools, err := toolsDir()
	if err != nil {
		return "", err
	}
	// "go tool -n" builds the tool into the build cache, which is safe for concurrent processes, and prints
	// its path. The caller's GOFLAGS (-mod, -race) are not meant for it.
	cmd := exec.Command("go", "-C", tools, "tool", "-n", "versitygw")
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
})

// toolsDir finds deploy/tools in or above the working directory, which go test sets to the package's
// folder.
func toolsDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		tools := filepath.Join(dir, "deploy", "tools")
		if _, err := os.Stat(filepath.Join(tools, "go.mod")); err == nil {
			return tools, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find deploy/tools: not in the working directory nor above it")
		}
		dir = parent
	}
}

// start runs the server once and waits until it answers. On success the server runs until the test ends.
func start(t testing.TB, binary string, backend []string) (s3.Config, error) {
	t.Helper()
	address, err := freePort()
	if err != nil {
		return s3.Config{}, err
	}
	config := s3.Config{
		Endpoint:     "http://" + address,
		Bucket:       "reelmill",
		PathStyle:    true,
		CreateBucket: true,
		AccessKey:    secret.New("test-access"),
		SecretKey:    secret.New("test-secret-0123456789"),
	}
	data := t.TempDir()
	// A random path, so that another server on the port cannot answer in its place.
	health := "/health-" + rand.Text()
	args := append([]string{"--port", address, "--health", health, "--quiet", "posix"}, backend...)
	cmd := exec.Command(binary, append(args, data)...)
	cmd.Dir = data
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + os.TempDir(),
		"ROOT_ACCESS_KEY=" + config.AccessKey.Reveal(), "ROOT_SECRET_KEY=" + config.SecretKey.Reveal(),
	}
	output := &bytes.Buffer{} // read only after Wait
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return s3.Config{}, err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	if err := waitReady(config.Endpoint+health, exited); err != nil {
		stop(cmd.Process, exited)
		return s3.Config{}, fmt.Errorf("%w\n%s", err, output)
	}
	t.Cleanup(func() {
		stop(cmd.Process, exited)
		if t.Failed() {
			t.Logf("S3 server: %s", output)
		}
	})
	return config, nil
}

// freePort returns a loopback address that is free now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// waitReady polls the server until it answers or exits. It puts back what it receives from exited.
func waitReady(url string, exited chan error) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: askTimeout}
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		if response, err := client.Get(url); err == nil {
			if err := response.Body.Close(); err != nil {
				return err
			}
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-exited:
			exited <- err
			return fmt.Errorf("server exited: %v", err)
		case <-poll.C:
		}
	}
}

// stop ends the process and waits for it: SIGTERM first, then SIGKILL after two seconds.
func stop(p *os.Process, exited chan error) {
	_ = p.Signal(syscall.SIGTERM) // fails if it has exited; the channel reports that
	select {
	case <-exited:
	case <-time.After(2 * time.Second):
		_ = p.Kill()
		<-exited
	}
}
