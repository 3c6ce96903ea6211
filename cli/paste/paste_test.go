package paste_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stile-dev/stile/cli/paste"
	"github.com/stile-dev/stile/pkg/fault"
)

// served is what the stand-in for the agent is: it writes its arguments down.
const served = "#!/bin/sh\nprintf '%s\\0' \"$@\" >\"$NOTES/args\"\n"

// bench is a directory with stand-ins for the programs that reach out, in which the script runs.
type bench struct{ dir string }

func newBench(t *testing.T) bench {
	t.Helper()
	b := bench{t.TempDir()}
	b.put(t, "served", served)
	b.put(t, "bin/curl", "#!/bin/sh\nfor url; do :; done\nprintf %s \"$url\" >\"$NOTES/url\"\nwhile [ \"$1\" != -o ]; do shift; done\ncp \"$NOTES/served\" \"$2\"\n")
	b.put(t, "bin/uname", "#!/bin/sh\necho aarch64\n")
	b.put(t, "bin/sleep", "#!/bin/sh\n")
	b.put(t, "bin/aws", "#!/bin/sh\nprintf '%s\\0' \"$@\" >\"$NOTES/aws\"\n")
	return b
}

func (b bench) put(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// run runs a shell with the script moved below the bench, and returns what it said.
func (b bench) run(shell ...string) (string, error) {
	_ = os.Remove(filepath.Join(b.dir, "args"))
	cmd := exec.Command(shell[0], shell[1:]...)
	cmd.Dir = b.dir
	cmd.Env = []string{"PATH=" + filepath.Join(b.dir, "bin") + ":/usr/bin:/bin", "NOTES=" + b.dir}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (b bench) words(name string) []string {
	text, _ := os.ReadFile(filepath.Join(b.dir, name))
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}

// moved is the script with its places below the bench; no value that a test draws names them.
func (b bench) moved(script string) string {
	return strings.NewReplacer("/usr/local/bin", b.dir+"/local", "/etc/stile", b.dir+"/etc").Replace(script)
}

func source() map[string]paste.Source {
	sum := sha256.Sum256([]byte(served))
	return paste.Below("https://downloads.example/it's/$(touch pwned)/", map[string]string{"amd64": strings.Repeat("0", 64), "arm64": hex.EncodeToString(sum[:])})
}

var hostile = []string{"'", "'; touch pwned; '", "$(touch pwned)", "`touch pwned`", "\ntouch pwned\n", "\\", "\\'", "\"", "${HOME}", "{{ssm:secret}}", "%s%n", "#", "!!", "-e", "*", "~", " ", "\r\n", "EOF", "&& touch pwned", "a=b"}

func TestSec_S88_NothingInAValueBecomesACommand(t *testing.T) {
	b := newBench(t)
	rapid.Check(t, func(t *rapid.T) {
		one := rapid.OneOf(rapid.SampledFrom(hostile), rapid.String())
		text := rapid.Custom(func(t *rapid.T) string {
			return strings.ReplaceAll(strings.Join(rapid.SliceOfN(one, 1, 3).Draw(t, "parts"), ""), "\x00", "0")
		})
		a := paste.Agent{API: text.Draw(t, "api"), Token: text.Draw(t, "token"), Secret: "s" + text.Draw(t, "secret"), Extra: []string{"--label", text.Draw(t, "label")}}
		want := []string{"install", "--api", a.API, "--token", a.Token, "--label", a.Extra[1], "--method", "token", "--secret-file", b.dir + "/etc/join.secret"}
		s, err := paste.New(source(), a)
		if err != nil {
			t.Fatal(err)
		}
		check := func(out string, err error) {
			if d := cmp.Diff(want, b.words("args")); err != nil || d != "" {
				t.Fatalf("%v: %s\n%s", err, d, out)
			}
			if kept, err := os.ReadFile(filepath.Join(b.dir, "etc/join.secret")); err != nil || string(kept) != a.Secret+"\n" {
				t.Fatalf("the secret is %q, %v", kept, err)
			}
			if found, _ := filepath.Glob(filepath.Join(b.dir, "pwned")); len(found) > 0 {
				t.Fatalf("a command was run from a value: %q", s.UserData())
			}
		}
		check(b.run("dash", "-eu", "-c", b.moved(s.UserData())))
		if url, _ := os.ReadFile(filepath.Join(b.dir, "url")); string(url) != "https://downloads.example/it's/$(touch pwned)/stile-agent-linux-arm64" {
			t.Fatalf("downloaded from %s", url)
		}
		for _, found := range []string{"${", "{{", "%{"} {
			if bare, _ := paste.New(source(), paste.Agent{API: "a", Token: "b"}); strings.Contains(bare.UserData(), found) {
				t.Fatalf("what carries user data would replace %s", found)
			}
		}
	})
}

func TestSec_S88_SystemsManagerRunsTheScriptAsItIs(t *testing.T) {
	b := newBench(t)
	s, err := paste.New(source(), paste.Agent{API: "https://api.example/prod", Token: "web", Extra: []string{"--label", strings.Join(hostile, "")}})
	if err != nil {
		t.Fatal(err)
	}
	line, err := s.SSM([]string{"i-0123456789abcdef0", "mi-0123456789abcdef0"})
	if err != nil || strings.Contains(line, "{{") {
		t.Fatalf("%v\n%s", err, line)
	}
	if out, err := b.run("sh", "-c", line); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	words := b.words("aws")
	want := []string{"ssm", "send-command", "--document-name", "AWS-RunShellScript", "--instance-ids", "i-0123456789abcdef0", "mi-0123456789abcdef0", "--parameters"}
	if d := cmp.Diff(want, words[:len(words)-1]); d != "" {
		t.Fatal(d)
	}
	var parameters map[string][]string
	if err := json.Unmarshal([]byte(words[len(words)-1]), &parameters); err != nil || len(parameters["commands"]) != 1 || len(parameters) != 1 {
		t.Fatalf("%v: %v", err, parameters)
	}
	// The script stands in base64, so a base64 of the test's moves its places.
	b.put(t, "bin/base64", fmt.Sprintf("#!/bin/sh\n/usr/bin/base64 -d | sed 's#/usr/local/bin#%[1]s/local#g'\n", b.dir))
	if out, err := b.run("sh", "-c", parameters["commands"][0]); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if d := cmp.Diff([]string{"install", "--api", "https://api.example/prod", "--token", "web", "--label", strings.Join(hostile, "")}, b.words("args")); d != "" {
		t.Error(d)
	}
	b.put(t, "bin/base64", "#!/bin/sh\nexit 127\n")
	if out, err := b.run("sh", "-c", parameters["commands"][0]); err == nil {
		t.Errorf("without base64 it succeeds: %s", out)
	}
	for _, ids := range [][]string{nil, {"i-1"}, {"i-0123456789abcdef0; reboot"}, {"$(id)"}} {
		if _, err := s.SSM(ids); fault.From(err).Code != fault.BadInput {
			t.Errorf("%q: %v", ids, err)
		}
	}
}

// Everybody on a server can read the arguments of its programs, and the script waits for minutes.
func TestSec_S88_ASecretIsNoProgramsArgument(t *testing.T) {
	b := newBench(t)
	b.put(t, "bin/base64", fmt.Sprintf("#!/bin/sh\n/usr/bin/base64 -d | sed 's#/usr/local/bin#%[1]s/local#g; s#/etc/stile#%[1]s/etc#g'\n", b.dir))
	b.put(t, "served", "#!/bin/sh\ncat /proc/$PPID/cmdline /proc/$$/cmdline >\"$NOTES/cmdlines\"\n")
	from, sum := source(), sha256.Sum256([]byte("#!/bin/sh\ncat /proc/$PPID/cmdline /proc/$$/cmdline >\"$NOTES/cmdlines\"\n"))
	from["arm64"] = paste.Source{URL: from["arm64"].URL, Sum: hex.EncodeToString(sum[:])}
	s, err := paste.New(from, paste.Agent{API: "https://api.example/prod", Token: "web", Secret: "stile-secret"})
	if err != nil {
		t.Fatal(err)
	}
	line, err := s.SSM([]string{"i-0123456789abcdef0"})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := b.run("sh", "-c", line); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	words := b.words("aws")
	var parameters map[string][]string
	if err := json.Unmarshal([]byte(words[len(words)-1]), &parameters); err != nil {
		t.Fatal(err)
	}
	if out, err := b.run("sh", "-c", parameters["commands"][0]); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seen, err := os.ReadFile(filepath.Join(b.dir, "cmdlines"))
	if err != nil || !strings.Contains(string(seen), "--secret-file") || strings.Contains(string(seen), "stile-secret") {
		t.Errorf("the arguments are %q, %v", seen, err)
	}
}

func TestSec_S88_WhatIsNotTheAgentIsNotRun(t *testing.T) {
	b := newBench(t)
	s, err := paste.New(source(), paste.Agent{API: "https://api.example/prod", Token: "web"})
	if err != nil {
		t.Fatal(err)
	}
	b.put(t, "served", served+"touch pwned\n")
	out, err := b.run("dash", "-eu", "-c", b.moved(s.UserData()))
	if err == nil || !strings.Contains(out, "SHA-256 differs") {
		t.Errorf("%v\n%s", err, out)
	}
	if left, _ := filepath.Glob(b.dir + "/local/*"); len(left) > 0 || b.words("args")[0] != "" {
		t.Errorf("it is left as %q, or was run", left)
	}
	b.put(t, "bin/curl", "#!/bin/sh\nexit 6\n")
	if out, err := b.run("dash", "-eu", "-c", b.moved(s.UserData())); err == nil || !strings.Contains(out, "can't be downloaded") {
		t.Errorf("without a network: %v\n%s", err, out)
	}
	b.put(t, "bin/uname", "#!/bin/sh\necho riscv64\n")
	if out, err := b.run("dash", "-eu", "-c", b.moved(s.UserData())); err == nil || !strings.Contains(out, "no agent for riscv64") {
		t.Errorf("another machine: %v\n%s", err, out)
	}
}

func TestEachArchitectureHasASourceWithAURLAndASum(t *testing.T) {
	for _, change := range []func(map[string]paste.Source){
		func(s map[string]paste.Source) { delete(s, "amd64") },
		func(s map[string]paste.Source) {
			s["arm64"] = paste.Source{"ftp://downloads.example/a", s["arm64"].Sum}
		},
		func(s map[string]paste.Source) {
			s["arm64"] = paste.Source{"https://ada:secret@downloads.example/a", s["arm64"].Sum}
		},
		func(s map[string]paste.Source) { s["arm64"] = paste.Source{"", s["arm64"].Sum} },
		func(s map[string]paste.Source) { s["arm64"] = paste.Source{s["arm64"].URL, ""} },
		func(s map[string]paste.Source) { s["arm64"] = paste.Source{s["arm64"].URL, "$(id)"} },
	} {
		s := source()
		change(s)
		if _, err := paste.New(s, paste.Agent{}); fault.From(err).Code != fault.BadInput {
			t.Errorf("%+v: %v", s, err)
		}
	}
	// What carries the script would replace a part of it, or a terminal would obey it.
	for _, part := range []string{"${AWS::Region}", "{{ssm:secret}}", "%{if true}", "}", "\u009b2J", "\u202e", "\u00a0", "\xff", "ü"} {
		s := source()
		s["amd64"] = paste.Source{"https://downloads.example/agent?" + part, s["amd64"].Sum}
		if _, err := paste.New(s, paste.Agent{}); fault.From(err) == nil || fault.From(err).Code != fault.BadInput {
			t.Errorf("%q: %v", part, err)
		}
	}
	signed := paste.Source{URL: "http://s3.example/b/agent?X-Amz-Credential=a%2Fb&X-Amz-Signature=0", Sum: strings.Repeat("a", 64)}
	if _, err := paste.New(map[string]paste.Source{"amd64": signed, "arm64": signed}, paste.Agent{}); err != nil {
		t.Errorf("a signed URL: %v", err)
	}
	if _, err := paste.New(source(), paste.Agent{API: "a\x00b"}); fault.From(err).Code != fault.BadInput {
		t.Errorf("a NUL: %v", err)
	}
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	if d := cmp.Diff(map[string]string{"amd64": a, "arm64": b}, paste.ReadSums(a+"  stile-agent-linux-amd64\n"+b+" *stile-agent-linux-arm64\n"+b+"  stile_1_amd64.deb\n")); d != "" {
		t.Error(d)
	}
}
