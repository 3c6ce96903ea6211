// Package paste writes the commands that install an agent on a server: a script for user data, and a call of AWS Systems
// Manager that runs it. They are pasted into root's shells, so nothing in a value may become a command.
//
// It calls nothing and decides nothing about tokens. Its entry point is [New].
package paste

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/stile-dev/stile/pkg/fault"
)

// Source is where servers get the agent for an architecture from, and what it must be.
type Source struct {
	URL string
	Sum string // hex SHA-256
}

// Below is the source of each architecture in a directory with stile-agent-linux-amd64 and stile-agent-linux-arm64.
func Below(directory string, sums map[string]string) map[string]Source {
	all := map[string]Source{}
	for _, arch := range Architectures {
		all[arch] = Source{strings.TrimSuffix(directory, "/") + "/stile-agent-linux-" + arch, sums[arch]}
	}
	return all
}

// Agent is what the server is to be told.
type Agent struct {
	API    string
	Token  string
	Secret string   // of method token; "" for iam
	Extra  []string // further arguments of stile-agent install, such as --label, team=web
}

// Script is the shell script of an installation.
type Script struct{ text string }

// Architectures are those that there is an agent for.
var Architectures = []string{"amd64", "arm64"}

var sum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// New fails when there is no source for an architecture, or a value can't be a word of a command.
func New(sources map[string]Source, a Agent) (Script, error) {
	for _, arch := range Architectures {
		s := sources[arch]
		u, err := url.Parse(s.URL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" || !inert(s.URL) {
			return Script{}, fault.Newf(fault.BadInput, "name the directory of the binaries, such as https://downloads.example/stile", "%q must be an http or https URL", s.URL)
		}
		if !sum.MatchString(s.Sum) {
			return Script{}, fault.Newf(fault.BadInput, "use SHA256SUMS as make packages writes it", "there is no SHA-256 of stile-agent-linux-%s", arch)
		}
	}
	args := append([]string{"install", "--api", a.API, "--token", a.Token}, a.Extra...)
	if a.Secret != "" {
		args = append(args, "--method", "token", "--secret-file", secretFile)
	}
	for _, word := range append(slices.Clone(args), a.Secret) {
		if strings.ContainsRune(word, 0) {
			return Script{}, fault.New(fault.BadInput, "a value has a NUL, which no command can be given", "remove it")
		}
	}
	for i, word := range args {
		args[i] = quote(word)
	}
	keep := ""
	if a.Secret != "" {
		keep = fmt.Sprintf("mkdir -p /etc/stile\n(umask 077; printf '%%s\\n' %s >%s)\n", quote(a.Secret), secretFile)
	}
	return Script{fmt.Sprintf(template, quote(sources["amd64"].URL), sources["amd64"].Sum, quote(sources["arm64"].URL), sources["arm64"].Sum, keep, strings.Join(args, " "))}, nil
}

// inert reports whether a URL has only characters of which neither a terminal takes one for an order, nor what
// carries the script replaces any, as it would ${…}, {{…}} or %{…}.
func inert(rawURL string) bool {
	return !strings.ContainsFunc(rawURL, func(r rune) bool { return r < ' ' || r > '~' || r == '{' || r == '}' })
}

const secretFile = "/etc/stile/join.secret"

// template has no ${, {{ or %{, which CloudFormation, Systems Manager and Terraform would replace.
const template = `#!/bin/sh
# Installs the agent of Stile on this machine and waits until it has joined. What is downloaded runs only if it has the
# SHA-256 that is written here, from wherever it comes.
set -eu
case $(uname -m) in
  x86_64)
    from=%s
    sum=%s
    ;;
  aarch64 | arm64)
    from=%s
    sum=%s
    ;;
  *) echo "stile: there is no agent for $(uname -m)" >&2; exit 1 ;;
esac
mkdir -p /usr/local/bin
dir=$(mktemp -d /usr/local/bin/.stile-XXXXXX)
trap 'rm -rf "$dir"' EXIT
fetch() {
  if command -v curl >/dev/null; then
    curl -fsSL --proto =http,https --connect-timeout 10 --max-time 300 -o "$dir/stile-agent" "$from"
  else
    wget -q -T 30 -O "$dir/stile-agent" "$from"
  fi
}
# At the first boot this may run before the network is there.
tries=1
until fetch; do
  [ "$tries" -lt 30 ] || { echo "stile: the agent can't be downloaded from $from: see whether that is reached from here, and print the command again if it has ended" >&2; exit 1; }
  tries=$((tries + 1))
  sleep 2
done
echo "$sum *$dir/stile-agent" | sha256sum -c - >/dev/null 2>&1 || { echo "stile: what $from has is not this agent: its SHA-256 differs" >&2; exit 1; }
chmod 0755 "$dir/stile-agent"
mv -f "$dir/stile-agent" /usr/local/bin/stile-agent
%s/usr/local/bin/stile-agent %s
`

// quote makes one word of a POSIX shell, in which nothing has a meaning.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// UserData is the script as an instance's user data.
func (s Script) UserData() string { return s.text }

var instanceID = regexp.MustCompile(`^m?i-[0-9a-f]{8,17}$`)

// SSM is a command line that has Systems Manager run the script on instances. The script goes in base64, because Systems
// Manager replaces {{ssm:…}} in what it is given, wherever it stands.
func (s Script) SSM(instances []string) (string, error) {
	if len(instances) == 0 {
		return "", fault.New(fault.BadInput, "no instance was named", "name each by --instance i-…")
	}
	for _, id := range instances {
		if !instanceID.MatchString(id) {
			return "", fault.Newf(fault.BadInput, "name each by --instance i-…", "%q must be an instance's id", id)
		}
	}
	// Were base64 missing, a pipe into a shell would run nothing and succeed. The script may hold a secret, and everybody on
	// the server can read what a program's arguments are: it is no argument of another shell.
	run := "script=$(printf %s " + base64.StdEncoding.EncodeToString([]byte(s.text)) + " | base64 -d) && test -n \"$script\" || exit 1; eval \"$script\""
	parameters, err := json.Marshal(map[string][]string{"commands": {run}})
	if err != nil {
		return "", fmt.Errorf("writing the parameters: %w", err)
	}
	return "aws ssm send-command --document-name AWS-RunShellScript --instance-ids " + strings.Join(instances, " ") + " --parameters " + quote(string(parameters)) + "\n", nil
}

// ReadSums reads the sums of the agent's binaries from a file as sha256sum writes it.
func ReadSums(text string) map[string]string {
	sums := map[string]string{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		for _, arch := range Architectures {
			if len(f) == 2 && strings.TrimPrefix(f[1], "*") == "stile-agent-linux-"+arch {
				sums[arch] = f[0]
			}
		}
	}
	return sums
}
