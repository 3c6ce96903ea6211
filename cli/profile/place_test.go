package profile_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stile-dev/stile/cli/profile"
	"github.com/stile-dev/stile/pkg/fault"
)

func TestAHomeThatCannotBeWrittenIsNamedBeforeTheLogin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, home := range []string{"/proc/stile", file, filepath.Join(file, "deeper"), "/dev/null"} {
		p, err := profile.Open(home, api)
		if err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{
			"prepare": second(p.Prepare()),
			"save":    p.Save(credential(t, time.Now())),
			"proxies": p.SetProxies([]string{"a:443"}),
			"keep":    p.Keep(nil),
		} {
			f := fault.From(err)
			if f == nil || f.Code != fault.BadInput || !strings.Contains(f.Message, home) || !strings.Contains(f.Hint, "STILE_HOME") {
				t.Errorf("%s in %s: got %v", what, home, err)
			}
		}
	}
}

func TestAFullDiskIsNamed(t *testing.T) {
	err := fmt.Errorf("writing: %w", errors.Join(&fs.PathError{Op: "write", Path: "/h/x", Err: syscall.ENOSPC}, fs.ErrClosed))
	f := fault.From(profile.Unusable("/h", err))
	if f.Code != fault.BadInput || f.Message != "there is no space left on the disk that holds /h" || !strings.Contains(f.Hint, "free some space") {
		t.Errorf("got %v %q, hint %q", f.Code, f.Message, f.Hint)
	}
	other := errors.New("other")
	if got := profile.Unusable("/h", other); !errors.Is(got, other) || fault.Is(got, fault.BadInput) {
		t.Errorf("got %v", got)
	}
}

func TestALoginThatFailsLeavesNoDirectories(t *testing.T) {
	p, home := open(t)
	undo, err := p.Prepare()
	if err != nil {
		t.Fatal(err)
	}
	if len(tree(t, home)) != 0 {
		t.Errorf("files were left: %v", tree(t, home))
	}
	undo()
	if _, err := os.Stat(home); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the home is still there: %v", err)
	}
	if undo, err = p.Prepare(); err != nil {
		t.Fatal(err)
	}
	if err := p.Save(credential(t, time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	undo()
	if _, err := p.Current(time.Now()); err != nil {
		t.Errorf("undo took the credential: %v", err)
	}
}

func second(_ func(), err error) error { return err }
