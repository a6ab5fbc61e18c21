package s3

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/storage"
)

// Defaults of Config, and limits of the protocol (S3 user guide, "Multipart upload limits").
const (
	DefaultEndpoint = "https://s3.amazonaws.com"
	DefaultRegion   = "us-east-1"
	DefaultPartSize = 16 << 20

	minPartSize = 5 << 20
	maxPartSize = 5 << 30
	maxParts    = 10_000
	maxPrefix   = 255 // leaves a key of storage.MaxKey well below the 1,024 bytes of S3
)

// Config says where the bucket is and who we are. Only Bucket, AccessKey and SecretKey are required.
type Config struct {
	// Endpoint is the server's URL, http or https, without a path. Default: DefaultEndpoint.
	Endpoint string
	// PublicEndpoint is the URL at which browsers reach the same server. Presigned URLs use it, since the
	// signature includes the host. Default: Endpoint.
	PublicEndpoint string
	// Region in the signature. Default: DefaultRegion, which most servers other than AWS expect.
	Region string
	// Bucket that holds the objects.
	Bucket string
	// Prefix of all keys in the bucket: a valid key of at most 255 bytes, so without a slash at either end.
	// Default: none.
	Prefix string
	// PathStyle puts the bucket into the path instead of the host name. Default: by the endpoint (host for
	// AWS and the like, else path).
	PathStyle bool
	// CreateBucket lets Open create a missing bucket.
	CreateBucket bool
	// PartSize is how many bytes Put sends at a time and holds in memory: 5 MiB to 5 GiB. Default:
	// DefaultPartSize.
	PartSize int64

	// AccessKey, SecretKey and, for temporary credentials, SessionToken. They are never part of a URL: the
	// caller takes them from the environment or a file.
	AccessKey    secret.Text
	SecretKey    secret.Text
	SessionToken secret.Text

	// Transport sends the requests; a test or a fault injector wraps it. Default: minio-go's, with a limit
	// of one minute to the first byte of an answer. Store.Close closes the default one.
	Transport http.RoundTripper
}

// ParseURL reads a Config, without the credentials, from a URL such as
//
//	s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=us-east-1&path_style=true
//
// The other parameters are public_endpoint, create_bucket (true or false) and part_size (bytes). Unknown
// and repeated parameters are errors, and so is a user name in the URL. No error repeats the URL, since it
// might hold a password.
func ParseURL(raw string) (Config, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return Config{}, fmt.Errorf("parse storage URL: %w", withoutURL(err))
	}
	switch {
	case u.Scheme != "s3":
		return Config{}, fmt.Errorf("parse storage URL: scheme %q, want s3", u.Scheme)
	case u.User != nil:
		return Config{}, errors.New("parse storage URL: credentials belong in the environment, not in the URL")
	case u.Fragment != "" || u.Opaque != "":
		return Config{}, errors.New("parse storage URL: want s3://bucket/prefix?parameters")
	}
	c := Config{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Config{}, fmt.Errorf("parse storage URL: parameters: %w", err)
	}
	for name, values := range query {
		if len(values) != 1 {
			return Config{}, fmt.Errorf("parse storage URL: parameter %q is given %d times", name, len(values))
		}
		if err := c.set(name, values[0]); err != nil {
			return Config{}, fmt.Errorf("parse storage URL: parameter %q: %w", name, err)
		}
	}
	if err := c.withDefaults().validatePlace(); err != nil {
		return Config{}, fmt.Errorf("parse storage URL: %w", err)
	}
	return c, nil
}

// withoutURL returns the reason of a url.Error, without the URL.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// set applies one parameter of the URL.
func (c *Config) set(name, value string) (err error) {
	switch name {
	case "endpoint":
		c.Endpoint = value
	case "public_endpoint":
		c.PublicEndpoint = value
	case "region":
		c.Region = value
	case "path_style":
		c.PathStyle, err = strconv.ParseBool(value)
	case "create_bucket":
		c.CreateBucket, err = strconv.ParseBool(value)
	case "part_size":
		c.PartSize, err = strconv.ParseInt(value, 10, 64)
	default:
		return errors.New("unknown; " +
			"there are endpoint, public_endpoint, region, path_style, create_bucket and part_size")
	}
	return err
}

// withDefaults returns a copy with every field that has a default set.
func (c Config) withDefaults() Config {
	if c.Endpoint == "" {
		c.Endpoint = DefaultEndpoint
	}
	if c.PublicEndpoint == "" {
		c.PublicEndpoint = c.Endpoint
	}
	if c.Region == "" {
		c.Region = DefaultRegion
	}
	if c.PartSize == 0 {
		c.PartSize = DefaultPartSize
	}
	return c
}

// validate names the first bad field.
func (c Config) validate() error {
	if err := c.validatePlace(); err != nil {
		return err
	}
	if c.AccessKey.Empty() || c.SecretKey.Empty() {
		return errors.New("access key or secret key is missing: set both in the environment")
	}
	return nil
}

// validatePlace validates all but the credentials.
func (c Config) validatePlace() error {
	// The library has rules of its own for host names. This sends nothing.
	if _, err := newClient(c, c.Endpoint); err != nil {
		return fmt.Errorf("endpoint: %w", err)
	}
	if _, err := newClient(c, c.PublicEndpoint); err != nil {
		return fmt.Errorf("public endpoint: %w", err)
	}
	if err := s3utils.CheckValidBucketNameStrict(c.Bucket); err != nil {
		return fmt.Errorf("bucket %q: %w", c.Bucket, err)
	}
	if strings.ContainsFunc(c.Region, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' }) {
		return fmt.Errorf("region %q: want printable characters without a slash", c.Region)
	}
	if c.Prefix != "" {
		if err := storage.ValidKey(c.Prefix); err != nil {
			return fmt.Errorf("prefix: %w", err)
		}
		if len(c.Prefix) > maxPrefix {
			return fmt.Errorf("prefix of %d bytes, at most %d are allowed", len(c.Prefix), maxPrefix)
		}
	}
	if c.PartSize < minPartSize || c.PartSize > maxPartSize {
		return fmt.Errorf("part size %d: want %d to %d bytes", c.PartSize, minPartSize, int64(maxPartSize))
	}
	return nil
}

// parseEndpoint parses the URL of a server.
func parseEndpoint(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, withoutURL(err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("scheme %q, want http:// or https://", u.Scheme)
	case u.User != nil:
		return nil, errors.New("credentials belong in the environment")
	case u.Hostname() == "":
		return nil, errors.New("host is missing")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("want no path and no parameters")
	}
	return u, nil
}

// partSizeFor returns the part size for an object of size bytes (0 or less: unknown): the configured one,
// or as many whole MiB as keep the number of parts within the limit.
func (c Config) partSizeFor(size int64) int64 {
	const mib = 1 << 20
	if size <= c.PartSize*maxParts || size > math.MaxInt64-maxParts*mib {
		return c.PartSize
	}
	need := (size + maxParts - 1) / maxParts
	return min((need+mib-1)/mib*mib, maxPartSize)
}
