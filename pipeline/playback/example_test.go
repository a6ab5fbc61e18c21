package playback_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// PlaybackToken returns a token that plays a video until a time. private is the private key of a signing key with
// the algorithm ES256, as `reelmill signing-keys create` prints it, and kid the id of that key.
func PlaybackToken(private []byte, kid, video string, ends time.Time) (string, error) {
	block, _ := pem.Decode(private)
	if block == nil {
		return "", errors.New("the private key is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: key},
		(&jose.SignerOptions{}).WithHeader("kid", kid),
	)
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(jwt.Claims{
		Subject: video, Audience: jwt.Audience{"playback"}, Expiry: jwt.NewNumericDate(ends),
	}).Serialize()
}

// A site signs a token for each viewer, and puts it into the address of the playlist.
func Example() {
	token, err := PlaybackToken(newPrivateKey(), "sgk_01jxample", "vid_01jxample", time.Now().Add(2*time.Hour))
	if err != nil {
		fmt.Println(err)
		return
	}
	address := "https://video.example.com/play/vid_01jxample/master.m3u8?token=" + token
	fmt.Println(address[:60])
	// Output: https://video.example.com/play/vid_01jxample/master.m3u8?tok
}

// newPrivateKey makes a key as the server does.
func newPrivateKey() []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}
