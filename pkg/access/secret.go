package access

import (
	"crypto/sha256"
	"encoding/hex"
)

// SecretPrefix begins a token's secret; 32 random bytes in base64url follow.
const SecretPrefix = "stj_"

// HashSecret gives the hex SHA-256 under which a token's secret is kept. 32 random bytes need no slow hash.
func HashSecret(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}
