package playback

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
)

// Mark begins the element of a path that is a pass: /play/<video>/~<pass>/720p/index.m3u8.
const Mark = "~"

// A pass is version, end in seconds since 1970, issuer, what it is bound to, and HMAC, joined by points. What
// is empty is nothing.
const (
	passVersion = "1"
	nothing     = "-"
	macBytes    = 16 // of the HMAC-SHA-256
	maxPass     = 1 << 10
)

// maxGrid is the coarsest grid of ends.
const maxGrid = 1024 * time.Second

// Until returns when a pass ends that is made now for a permission that ends at end: rounded up on a grid of
// a power of two of seconds, at most a tenth of what is left and at most 1,024 s, and at least 1 s.
func Until(end, now time.Time) time.Time {
	grid := time.Second
	for limit := min(end.Sub(now)/10, maxGrid); grid*2 <= limit; {
		grid *= 2
	}
	step := int64(grid / time.Second)
	seconds := end.Unix()
	if end.Nanosecond() > 0 {
		seconds++
	}
	return time.Unix((seconds+step-1)/step*step, 0)
}

// NewPass returns the pass for a permit of which the end is rounded by Until, and that end.
func (j *Judge) NewPass(p Permit) (string, time.Time) {
	p.Expires = Until(p.Expires, j.now())
	return j.pass(p), p.Expires
}

// pass writes a pass. Its parts have letters that may stand in a path as they are.
func (j *Judge) pass(p Permit) string {
	bound := nothing
	if p.IP.IsValid() || p.Path != "" {
		ip := ""
		if p.IP.IsValid() {
			ip = p.IP.String()
		}
		bound = base64.RawURLEncoding.EncodeToString([]byte(ip + "\n" + p.Path))
	}
	issuer := p.Issuer
	if issuer == "" {
		issuer = nothing
	}
	body := strings.Join([]string{passVersion, strconv.FormatInt(p.Expires.Unix(), 10), issuer, bound}, ".")
	mac := hmac.New(sha256.New, j.key)
	fmt.Fprintf(mac, "%s\n%s", p.Video, body)
	return body + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:macBytes])
}

// Pass judges a pass. ErrInvalid, ErrExpired, or access.ErrStale.
func (j *Judge) Pass(ctx context.Context, a Asked, pass string) (Permit, error) {
	p, ok := parsePass(pass)
	p.Video = a.Video
	if !ok || subtle.ConstantTimeCompare([]byte(j.pass(p)), []byte(pass)) != 1 {
		return Permit{}, fmt.Errorf("%w: this server did not make the pass in the address for this video",
			ErrInvalid)
	}
	if err := p.fits(a); err != nil {
		return Permit{}, err
	}
	if !p.Expires.After(j.now()) {
		return Permit{}, fmt.Errorf("%w: the pass in the address ended at %s", ErrExpired,
			p.Expires.UTC().Format(time.RFC3339))
	}
	if err := j.stillIssues(ctx, a.Project, p.Issuer); err != nil {
		return Permit{}, err
	}
	return p, nil
}

// stillIssues returns why what an issuer has allowed has ended, or nil.
func (j *Judge) stillIssues(ctx context.Context, project, issuer string) error {
	if issuer == "" {
		return nil
	}
	if access.IsSigningKey(issuer) {
		_, err := j.signingKey(ctx, project, issuer)
		return err
	}
	active := false
	err := j.keys.Read(ctx, func(s *access.State) {
		for _, owner := range []string{project, access.Operator} {
			k, ok := s.Key(owner, issuer)
			active = active || ok && k.Active(j.now())
		}
	})
	if err == nil && !active {
		err = fmt.Errorf("%w: the API key that the pass was made with is revoked or expired", ErrInvalid)
	}
	return err
}

// parsePass reads the parts of a pass. It does not verify them, and is not strict: Pass compares the text.
func parsePass(text string) (p Permit, ok bool) {
	parts := strings.Split(text, ".")
	if len(text) > maxPass || len(parts) != 5 || parts[0] != passVersion {
		return p, false
	}
	end, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || end <= 0 {
		return p, false
	}
	p.Expires = time.Unix(end, 0)
	if parts[2] != nothing {
		if p.Issuer = parts[2]; !pipeline.ValidName(p.Issuer) {
			return p, false
		}
	}
	if parts[3] == nothing {
		return p, true
	}
	bound, err := base64.RawURLEncoding.DecodeString(parts[3])
	if err != nil {
		return p, false
	}
	ip, path, _ := strings.Cut(string(bound), "\n")
	if p.Path = path; ip == "" {
		return p, true
	}
	p.IP, err = netip.ParsePrefix(ip)
	return p, err == nil
}
