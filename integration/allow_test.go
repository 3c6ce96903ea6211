package integration_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/stile-dev/stile/integration/stand"
)

var (
	without = flag.String("without", "", "take this allow, as `role/sid/action`, out of every system's templates: some test must fail")
	uses    = flag.String("uses", "", "write what roles used of their allows, in all systems, to this `file`")
)

// withdraw takes from a system what -without says.
func withdraw(s *stand.System) error {
	if *without == "" {
		return nil
	}
	parts := strings.SplitN(*without, "/", 3)
	if len(parts) != 3 {
		return fmt.Errorf("-without %s: write role/sid/action", *without)
	}
	return s.Withdraw(stand.Allow{Role: parts[0], Sid: parts[1], Action: parts[2]})
}

// used is what roles used in the systems that were ended.
var used struct {
	sync.Mutex
	list []stand.Use
}

// remember keeps what roles used in the system.
func (s *system) remember() error {
	list, err := s.Uses()
	if os.IsNotExist(err) {
		return nil // it never came up
	}
	used.Lock()
	defer used.Unlock()
	used.list = append(used.list, list...)
	if err != nil || *uses == "" {
		return err
	}
	raw, err := json.Marshal(used.list)
	if err != nil {
		return err
	}
	return os.WriteFile(*uses, raw, 0o600)
}

// whole reports whether all tests ran.
func whole() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return *without == ""
}

// byAWS are allows that only AWS itself uses, with what does it; here that is done without asking.
var byAWS = map[string]string{
	"*/WriteLog/*":         "Lambda, and ECS, write what a program prints",
	"publish/FindStream/*": "Lambda's event source mapping looks for the stream",
	"relay/FindStream/*":   "so it does for the relay's",

	"delivery/PutRecords/firehose:PutRecordBatch": "EventBridge may put several events at once",
	"lake/ListLake/*":                        "Firehose looks at the bucket, and for what it left unfinished there",
	"lake/ReadTable/glue:GetTableVersion":    "Firehose may ask for one version of the table",
	"lake/WriteLake/s3:AbortMultipartUpload": "Firehose uploads large objects in parts",
	"lake/WriteLake/s3:GetObject":            "Firehose's own documentation asks for it",

	"query/KeepResults/s3:AbortMultipartUpload":       "Athena writes large results in parts",
	"query/KeepResults/s3:ListMultipartUploadParts":   "so it does",
	"query/ListResults/s3:ListBucketMultipartUploads": "Athena looks for what it left unfinished",
}

// byChance are allows, or values of them, that a run of the tests may or may not come to need, with when they are needed.
var byChance = map[string]string{
	"admin/GetState/dynamodb:GetItem order": "a change that revokes counts the orders that no publication has taken in yet",
	"admin/ListState/dynamodb:Query order":  "so it does when they are many",
	"query/GetRevoked/dynamodb:GetItem":     "a list of who is revoked is read when it is asked after one was made",
}

func exempt(a stand.Allow) bool {
	for pattern := range byAWS {
		parts := strings.SplitN(pattern, "/", 3)
		if (parts[0] == "*" || parts[0] == a.Role) && parts[1] == a.Sid && (parts[2] == "*" || parts[2] == a.Action) {
			return true
		}
	}
	return false
}

// idle fails the tests, once all have passed, for what roles are allowed and no test needed: a right without a use goes, or gets the
// test that shows its need. It also fails for an exception that was used after all.
func (s *system) idle() int {
	allowed, err := s.Allowed()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	found := idle(allowed, used.list)
	for _, line := range found {
		fmt.Fprintln(os.Stderr, line)
	}
	return min(1, len(found))
}

// idle lists the allows that no use needed, and of those that were used the values and resources that none did.
func idle(allowed map[stand.Allow]stand.Scope, used []stand.Use) (found []string) {
	resources, values := map[stand.Allow]map[string]bool{}, map[stand.Allow]map[string]bool{}
	for _, u := range used {
		if resources[u.Allow()] == nil {
			resources[u.Allow()], values[u.Allow()] = map[string]bool{}, map[string]bool{}
		}
		resources[u.Allow()][u.Resource], values[u.Allow()][u.Value] = true, true
	}
	for a, scope := range allowed {
		switch {
		case resources[a] == nil && !exempt(a) && byChance[fmt.Sprint(a)] == "":
			found = append(found, fmt.Sprintf("no test needed %s", a))
		case resources[a] != nil && exempt(a):
			found = append(found, fmt.Sprintf("%s is used after all: it needs no exception", a))
		case resources[a] == nil:
		case len(resources[a]) < scope.Resources:
			found = append(found, fmt.Sprintf("%s: of %d resources the tests needed %v", a, scope.Resources, slices.Sorted(maps.Keys(resources[a]))))
		default:
			for _, v := range scope.Values {
				if !values[a][v] && byChance[fmt.Sprint(a, " ", v)] == "" {
					found = append(found, fmt.Sprintf("%s: no test needed it for %s", a, v))
				}
			}
		}
	}
	slices.Sort(found)
	return found
}
