package identity

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// NewID makes an identifier <kind>_<ulid in lower case>, such as crt_01hv…; kinds are crt, agt, prx, ses,
// dec, lck, req. It panics when entropy runs out, which crypto/rand.Reader never does.
func NewID(kind string, entropy io.Reader, now time.Time) string {
	id, err := ulid.New(ulid.Timestamp(now), entropy)
	if err != nil {
		panic(fmt.Sprintf("identity: making an id: %v", err))
	}
	return kind + "_" + strings.ToLower(id.String())
}

// ValidID reports whether id is an identifier of the kind.
func ValidID(kind, id string) bool {
	return idShape.MatchString(id) && strings.HasPrefix(id, kind+"_")
}
