package resource

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// SecretPrefix begins a token's secret; 32 random bytes in base64url follow.
const SecretPrefix = "stj_"

// IsSecret reports whether s has the form of a token's secret.
func IsSecret(s string) bool {
	text, ok := strings.CutPrefix(s, SecretPrefix)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return ok && err == nil && len(raw) == 32
}

// HashSecret returns the hex SHA-256 under which a token's secret is stored. A secret of 32 random bytes needs no slow hash.
func HashSecret(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}
