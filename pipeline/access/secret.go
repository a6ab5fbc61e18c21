package access

import (
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"math/big"
	"strings"

	"github.com/reelmill/reelmill/pipeline/secret"
)

// A secret is secretPrefix, 256 random bits and the CRC-32 (IEEE) of both, the numbers in base 62 with
// leading zeros. So a program that looks for leaked secrets finds it by its form, and knows a false alarm
// by the sum.
const (
	secretPrefix  = "rm_live_"
	secretDigits  = 43
	secretCheck   = 6
	secretLength  = len(secretPrefix) + secretDigits + secretCheck
	base62Letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// newSecret returns a new secret.
func newSecret() secret.Text {
	var random [32]byte
	rand.Read(random[:]) // never fails: crypto/rand.Read ends the program instead
	text := secretPrefix + base62(new(big.Int).SetBytes(random[:]), secretDigits)
	return secret.New(text + checkOf(text))
}

// WellFormed reports whether s has the form and the check sum of a secret. A typing error has not.
func WellFormed(s string) bool {
	if len(s) != secretLength || !strings.HasPrefix(s, secretPrefix) ||
		strings.Trim(s[len(secretPrefix):], base62Letters) != "" {
		return false
	}
	body := s[:secretLength-secretCheck]
	return s[len(body):] == checkOf(body)
}

func checkOf(text string) string {
	return base62(big.NewInt(int64(crc32.ChecksumIEEE([]byte(text)))), secretCheck)
}

// base62 writes n with so many digits.
func base62(n *big.Int, digits int) string {
	out := make([]byte, digits)
	rest, base, digit := new(big.Int).Set(n), big.NewInt(int64(len(base62Letters))), new(big.Int)
	for i := digits - 1; i >= 0; i-- {
		rest.DivMod(rest, base, digit)
		out[i] = base62Letters[digit.Int64()]
	}
	return string(out)
}

// sumOf returns what a secret is found by.
func sumOf(s string) [32]byte { return sha256.Sum256([]byte(s)) }
