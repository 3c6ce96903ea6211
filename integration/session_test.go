package integration_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/integration/stand"
)

func TestTwentyMegabytesComeBackAsTheyWent(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	sent := make([]byte, 20<<20)
	if _, err := rand.Read(sent); err != nil {
		t.Fatal(err)
	}
	r := p.run(t, bytes.NewReader(sent), "ssh", "node-1", "--", "cat")
	if r.status != 0 || r.err != "" {
		t.Fatalf("ended with %d, %q", r.status, r.err)
	}
	if !bytes.Equal([]byte(r.out), sent) {
		t.Errorf("%d bytes came back, not the %d that went", len(r.out), len(sent))
	}
}

func TestTheExitStatusIsTheCommands(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	for command, want := range map[string]int{"true": 0, "false": 1, "exit 42": 42, "exit 255": 255, "kill -TERM $$": 128 + 15} {
		if r := p.run(t, nil, "ssh", "node-1", "--", command); r.status != want {
			t.Errorf("%s: ended with %d, want %d\n%s", command, r.status, want, r.err)
		}
	}
}

func TestStandardOutputAndErrorStaySeparate(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	r := p.run(t, strings.NewReader("in"), "ssh", "node-1", "--", "cat; echo err >&2; printf 'a\\000b\\377'")
	if r.status != 0 || r.out != "ina\x00b\xff" || r.err != "err\n" {
		t.Errorf("got %d, %q and %q", r.status, r.out, r.err)
	}
}

func TestTheEndOfTheInputEndsTheCommand(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	if r := p.run(t, strings.NewReader("1\n2\n3\n"), "ssh", "node-1", "--", "wc -l"); strings.TrimSpace(r.out) != "3" {
		t.Errorf("got %q, %q", r.out, r.err)
	}
}

func TestACommandWhoseOutputNobodyReadsEnds(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := p.Command(ctx, "bash", "-c", "set -o pipefail; stile ssh node-1 -- yes | head -n 3")
	out, err := cmd.Output()
	if string(out) != "y\ny\ny\n" || ctx.Err() != nil {
		t.Errorf("got %q, %v", out, err)
	}
}

// As root the agent becomes the login's user wholly: the same groups as a login on the machine itself has.
func TestTheSessionHasTheGroupsOfItsUser(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	p := shared.person(t, engineer).login(t)
	want, err := exec.Command("id", "-G", me.Username).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := p.must(t, "ssh", me.Username+"@node-1", "--", "id -G"); got != string(want) {
		t.Errorf("%s has groups %q in the session and %q on the machine", me.Username, got, want)
	}
	if me.Uid != "0" {
		return
	}
	other := systemUser(t)
	boss := shared.person(t, admin).login(t)
	boss.create(t, "kind: role\nmetadata: {name: id-groups}\nspec:\n  allow: {logins: ["+other+"], node_labels: {'*': '*'}}\n")
	t.Cleanup(func() {
		boss.must(t, "create", "--replace", "-f", boss.file(t, engineers(me.Username)))
		boss.must(t, "rm", "role/id-groups")
	})
	boss.must(t, "create", "--replace", "-f", boss.file(t, mapping("engineers", "access, id-groups", me.Username)))
	again := shared.person(t, engineer).login(t)
	if want, err = exec.Command("id", "-G", other).Output(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() string {
		r := again.run(t, nil, "ssh", other+"@node-1", "--", "id -G; id -un")
		if got := r.out; got != string(want)+other+"\n" {
			return "groups of " + other + ": " + got + r.err
		}
		return ""
	})
}

// systemUser finds a user other than this one who has a shell and a second group if there is one.
func systemUser(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 7 && f[2] != "0" && (strings.HasSuffix(f[6], "/bash") || strings.HasSuffix(f[6], "/sh")) {
			return f[0]
		}
	}
	t.Fatal("no other user with a shell: add one with useradd -m -s /bin/bash -G users tester")
	return ""
}

func TestLsShowsLabelsKindAndReachability(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	var nodes []struct {
		Kind, Name string
		Labels     map[string]string
		Online     bool
		Logins     []string
	}
	p.reads(t, &nodes, "ls", "--format", "json")
	for _, n := range nodes {
		if n.Name == "node-1" {
			if n.Kind != "node" || !n.Online || n.Labels["env"] != "demo" || n.Labels["role"] != "shell" || len(n.Logins) == 0 {
				t.Errorf("got %+v", n)
			}
			return
		}
	}
	t.Errorf("node-1 is not among %+v", nodes)
}

func TestWhoMayReachNothingSeesAnEmptyArray(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	if got := strings.TrimSpace(boss.must(t, "ls", "--format", "json")); !strings.HasPrefix(got, "[") {
		t.Errorf("got %q, which is no array", got)
	}
}

func TestOutputFollowsTheTerminalsSize(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	r := p.run(t, nil, "ssh", "-tt", "node-1", "--", "stty size; test -t 0 && test -t 1 && echo terminal")
	if r.status != 0 || !strings.Contains(r.out, "24 80") || !strings.Contains(r.out, "terminal") {
		t.Errorf("got %d, %q, %q", r.status, r.out, r.err)
	}
}

// create creates resources from YAML.
func (p *person) create(t *testing.T, yaml string) {
	t.Helper()
	r := p.run(t, strings.NewReader(yaml), "create", "-f", "-")
	if r.status != 0 {
		t.Fatalf("creating ended with %d: %s\n%s", r.status, r.err, yaml)
	}
}

// file writes a file of the person's and gives its path.
func (p *person) file(t *testing.T, content string) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "resource-*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// mapping is an iam_mapping of the engineers' AWS role.
func mapping(name, roles, login string) string {
	return "kind: iam_mapping\nmetadata: {name: " + name + "}\nspec:\n" +
		"  match: {partition: aws, account: \"111122223333\", role: " + stand.EngineerRole + "}\n" +
		"  roles: [" + roles + "]\n  traits: {logins: [" + login + "]}\n"
}

// engineers is the mapping as account.yaml has it.
func engineers(login string) string { return mapping("engineers", "access", login) }
