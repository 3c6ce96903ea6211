package conformance_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What an account was seen doing is what the local AWS is held against, whatever the tests expect.
func TestTheLocalAWSIsHeldAgainstTheRecord(t *testing.T) {
	if onAWS() {
		return // it tests the suite, not AWS
	}
	t.Parallel()
	f := newFake(t)
	for _, c := range []struct{ id, seen, test, want string }{
		{"apigateway/path/plus", "resource /v1/item/{name}\npath /v1/item/a b", "TestAPIGatewayPaths", "an account was seen doing otherwise"},
		{"kms/mac", notHeld, "TestMacs", "an account was seen where it does not"},
		{"kms/mac", held, "TestMacs", ""},
	} {
		dir := t.TempDir()
		service, _, _ := strings.Cut(c.id, "/")
		raw, err := json.Marshal(map[string]string{c.id: c.seen})
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, service+".golden"), raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		run, out := suite(t, f, "-goldens", dir, "-test.run", "^"+c.test)
		err = run.Run()
		if (err == nil) != (c.want == "") || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s, recorded as %q: %v: %s", c.id, c.seen, err, out)
		}
	}
}

func TestARecordIsShownAsSuch(t *testing.T) {
	text := markdown(map[string]string{"kms/mac": held})
	if !strings.Contains(text, ": 1 recorded,") || !strings.Contains(text, "| `kms/mac` | A message has one MAC, which verifies; another message does not. | recorded | does so |") {
		t.Error("a row that was recorded is not shown as such")
	}
}
