package resource

import (
	"crypto/sha256"
	"encoding/hex"
)

// SecretPrefix begins a token's secret; 32 random bytes in base64url follow.
const SecretPrefix = "stj_"

// HashSecret returns the hex SHA-256 under which a token's secret is stored. A secret of 32 random bytes needs no slow hash.
func HashSecret(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}
