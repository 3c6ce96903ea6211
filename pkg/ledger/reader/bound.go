package reader

import (
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Bounds of what is read of an item. Whoever may write a partition can put 400 KB into each of its items, and what reads many of
// them holds them all at once.
const (
	mostSignature = 128 // bytes; one by a P-256 key has 72 at most
	clipped       = 256 // bytes that are kept of what is too long to be an event
)

// digestShape is how a certificate is named. Another name is none, and may be longer than DynamoDB takes for a key.
var digestShape = regexp.MustCompile(`^[0-9a-f]{64}$`)

// bounded is what readers look at of an event's item. What is longer than an event can be is cut so that it is none.
func bounded(i table.Item) table.Item {
	out := table.Item{}
	for _, name := range []string{names.PK, names.SK, "event", "received_ms"} {
		if v, there := i[name]; there {
			out[name] = v
		}
	}
	if body := i.Text("event"); len(body) > audit.MaxSize {
		out["event"] = table.String(strings.ToValidUTF8(strings.Clone(body[:clipped]), "") + "…")
	}
	if s := i.Bytes("signature"); len(s) > 0 && len(s) <= mostSignature {
		out["signature"] = i["signature"]
	} else if len(s) > 0 {
		out["signature"] = table.Bytes(append([]byte{}, s[:mostSignature]...)) // which verifies nothing
	}
	if digest := i.Text("certificate"); digestShape.MatchString(digest) {
		out["certificate"] = &types.AttributeValueMemberS{Value: digest}
	}
	return out
}

// keyed reports whether DynamoDB takes a key that an item names: one that it doesn't take makes a read fail, and not only miss.
func keyed(k table.Key) bool {
	return k.PK != "" && len(k.PK) <= 2*mostKey && k.SK != "" && len(k.SK) <= mostKey
}
