package account_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/agent/account"
)

// tables writes a passwd, a group and a switch file.
func tables(t *testing.T, services string) account.Tables {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return account.Tables{
		Passwd: write("passwd", "root:x:0:0:root:/root:/bin/bash\nubuntu:x:1000:1000:,,,:/home/ubuntu:/bin/zsh\nplain:x:1001:100::/:\nbroken:x:one:1::/:\n"),
		Group:  write("group", "root:x:0:\nusers:x:100:\nadm:x:4:syslog,ubuntu\nsudo:x:27:ubuntu\nubuntu:x:1000:\nubuntuish:x:9:ubuntuish\n"),
		Switch: write("nsswitch.conf", "passwd: "+services+"\ngroup: "+services+" # as passwd\n"),
	}
}

func TestLookupReadsTheTables(t *testing.T) {
	got, err := tables(t, "files systemd").Lookup("ubuntu")
	if err != nil {
		t.Fatal(err)
	}
	want := account.Account{Name: "ubuntu", UID: 1000, GID: 1000, Groups: []uint32{1000, 4, 27}, Home: "/home/ubuntu", Shell: "/bin/zsh"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	plain, err := tables(t, "files").Lookup("plain")
	if err != nil || plain.Shell != "/bin/sh" {
		t.Errorf("an account without a shell: %+v, %v", plain, err)
	}
}

func TestLookupRefusesWhatNoAccountIs(t *testing.T) {
	for _, login := range []string{"nobody-here", "", "root:x", "-h", "../root", "ubuntu\n", "ubunt", "broken"} {
		if a, err := tables(t, "files").Lookup(login); err == nil {
			t.Errorf("%q is %+v", login, a)
		}
	}
}

func TestLookupAsksTheNameServiceOnlyWhereOneIsNamed(t *testing.T) {
	asked := 0
	tab := tables(t, "files sss")
	tab.Getent = func(database, key string) ([]byte, error) {
		asked++
		switch database + " " + key {
		case "passwd ada":
			return []byte("ada:*:5000:5000:Ada:/home/ada:/bin/bash\n"), nil
		case "initgroups ada":
			return []byte("ada                  5000 6000\n"), nil
		}
		return nil, nil
	}
	got, err := tab.Lookup("ada")
	if err != nil {
		t.Fatal(err)
	}
	want := account.Account{Name: "ada", UID: 5000, GID: 5000, Groups: []uint32{5000, 6000}, Home: "/home/ada", Shell: "/bin/bash"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	tab.Switch = tables(t, "files").Switch
	asked = 0
	if _, err := tab.Lookup("ada"); !errors.Is(err, account.ErrUnknown) || asked != 0 {
		t.Errorf("asked %d times, %v", asked, err)
	}
}

func TestAChildGetsTheGroupsThatTheSystemWouldGive(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("as another user than root only the own account is compared")
	}
	for _, login := range []string{"root", "daemon", "nobody", "www-data"} {
		a, err := account.Tables{}.Lookup(login)
		if errors.Is(err, account.ErrUnknown) || os.Getuid() != 0 && a.UID != uint32(os.Getuid()) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		want, err := exec.Command("id", "-G", login).Output()
		if err != nil {
			t.Fatal(err)
		}
		child := exec.Command("id", "-G")
		if os.Getuid() == 0 {
			child.SysProcAttr = &syscall.SysProcAttr{Credential: a.Credential()}
		}
		got, err := child.Output()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(strings.Fields(string(want)), strings.Fields(string(got))); d != "" {
			t.Errorf("%s: %s", login, d)
		}
	}
}
