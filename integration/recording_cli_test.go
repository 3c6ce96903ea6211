package integration_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/integration/stand"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/recording"
)

// The meddler is an AWS role that the policy of the recordings' bucket doesn't bind, as whoever may change that policy could
// have made it.
const (
	meddler     = "env.meddler"
	meddlerRole = "IntegrationMeddler"
)

// admitMeddler adds the meddler to a system that was not started yet.
func admitMeddler(s *stand.System) error {
	err := s.Admit(stand.Guest{Env: meddler, Role: meddlerRole, Session: "meddler"})
	return errors.Join(err, s.ChangeTemplate("StileData", func(t map[string]any) error {
		resources := t["Resources"].(map[string]any)
		resources["IntegrationMeddler"] = map[string]any{
			"Type": "AWS::IAM::Role",
			"Properties": map[string]any{
				"RoleName": meddlerRole,
				"AssumeRolePolicyDocument": map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
					"Effect": "Allow", "Principal": map[string]any{"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole",
				}}},
				"Policies": []any{map[string]any{"PolicyName": "meddle", "PolicyDocument": map[string]any{
					"Version": "2012-10-17", "Statement": []any{map[string]any{
						"Effect": "Allow", "Resource": "*", "Action": []any{
							"s3:ListAllMyBuckets", "s3:ListBucket", "s3:ListBucketVersions", "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion",
						},
					}},
				}}},
			},
		}
		freed := 0
		policy := resources["BucketRecordingsPolicy"].(map[string]any)["Properties"].(map[string]any)["PolicyDocument"].(map[string]any)
		for _, item := range policy["Statement"].([]any) {
			statement := item.(map[string]any)
			if sid := statement["Sid"]; sid != "WriteOnce" && sid != "DeleteNothing" {
				continue
			}
			condition, _ := statement["Condition"].(map[string]any)
			if condition == nil {
				condition = map[string]any{}
			}
			condition["ArnNotEquals"] = map[string]any{"aws:PrincipalArn": "arn:aws:iam::111122223333:role/" + meddlerRole}
			statement["Condition"] = condition
			freed++
		}
		if freed != 2 {
			return fmt.Errorf("the bucket's policy has %d statements to free the meddler from", freed)
		}
		return nil
	}))
}

// exchange runs a command on node-1 that waits for a line after it has shown so many bytes, and returns what came and the
// session's id, which the command writes to its standard error.
func (p *person) exchange(t *testing.T, command string, before int) (shown []byte, session string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := p.Command(ctx, "stile", "ssh", "node-1", "--", command)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, before)
	if _, err := io.ReadFull(out, first); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "\n"); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	session = strings.TrimSpace(errs.String())
	p.complete(t, session)
	return append(first, rest...), session
}

// show runs a command on node-1 to its end, and returns what came, whose first line is the session's id.
func (p *person) show(t *testing.T, command string) (shown, session string) {
	t.Helper()
	r := p.run(t, nil, "ssh", "node-1", "--", `echo "$STILE_SESSION_ID"; `+command)
	if r.status != 0 {
		t.Fatalf("ended with %d: %s", r.status, r.err)
	}
	session, _, _ = strings.Cut(r.out, "\n")
	p.complete(t, session)
	return r.out, session
}

func TestSomebodyReadsTheirOwnRecordingsByTheCommandLine(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	word := "word-" + strings.ToLower(rand.Text())
	text, session := p.show(t, "echo first; echo the "+word+"; printf 'no end'")

	var list []map[string]any
	p.reads(t, &list, "recording", "ls", "--since", "1h", "--target", "node-1", "--format", "json")
	at := slices.IndexFunc(list, func(r map[string]any) bool { return r["id"] == session })
	if at < 0 {
		t.Fatalf("%s isn't in the list: %v", session, list)
	}
	fields := []string{"bytes", "chunks", "ended", "id", "login", "node", "session_id", "started", "state", "user"}
	if got := slices.Sorted(maps.Keys(list[at])); !slices.Equal(got, fields) {
		t.Errorf("an entry has %v, want %v", got, fields)
	}
	for _, name := range []string{"started", "ended"} {
		if _, err := time.Parse(time.RFC3339, fmt.Sprint(list[at][name])); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, args := range map[string][]string{
		"of others":          {"--user", "bob"},
		"of other targets":   {"--target", "node/none"},
		"of an earlier time": {"--since", "3h", "--until", "2h"},
	} {
		if out := p.must(t, append([]string{"recording", "ls"}, args...)...); strings.Contains(out, session) {
			t.Errorf("it is among those %s:\n%s", name, out)
		}
	}

	if got := p.must(t, "recording", "play", session, "--format", "text"); got != text+"\n" { // a line has an end
		t.Errorf("it plays as %q, shown was %q", got, text)
	}
	for n, line := range strings.Split(strings.TrimSpace(p.must(t, "recording", "play", session, "--format", "json")), "\n") {
		var e struct {
			At           *float64
			Kind, Stream string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.At == nil || e.Kind != "output" || e.Stream != "stdout" && e.Stream != "stderr" {
			t.Errorf("line %d is %s: %v", n, line, err)
		}
	}
	found := p.must(t, "recording", "search", word, "--target", "node-1", "--since", "1h", "--format", "json")
	var match struct {
		SessionID string `json:"session_id"`
		Time      time.Time
		Line      string
	}
	if err := json.Unmarshal([]byte(found), &match); err != nil || match.SessionID != session || match.Line != "the "+word || time.Since(match.Time) > time.Minute || time.Since(match.Time) < 0 {
		t.Errorf("found %s: %v", found, err)
	}
	if got := p.must(t, "recording", "search", strings.ToUpper(word), "-i", "--target", "node-1", "--since", "1h"); !strings.HasPrefix(got, session+" ") || !strings.Contains(got, "alice@node-1: the "+word+"\n") {
		t.Errorf("found %q", got)
	}
	if got := p.must(t, "recording", "verify", session); !strings.HasSuffix(got, "\nThe recording is whole, and as it was made\n") {
		t.Error(got)
	}
	var types []audit.Type
	for line := range strings.SplitSeq(strings.TrimSpace(p.must(t, "audit", "ls", "--session", session, "--format", "ndjson")), "\n") {
		e, err := audit.Parse([]byte(line))
		if err != nil || e.SessionID != session {
			t.Errorf("%v: %s", err, line)
		}
		types = append(types, e.Type)
	}
	for _, want := range []audit.Type{audit.SessionStart, audit.RecordingChunk, audit.RecordingEnd, audit.SessionEnd, audit.RecordingRead} {
		if !slices.Contains(types, want) {
			t.Errorf("no %s among the events %v", want, types)
		}
	}
}

func TestAnExportIsWhatTheClientGotByteForByte(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	const random = 1 << 20
	shown, session := p.exchange(t, fmt.Sprintf(`echo "$STILE_SESSION_ID" >&2; head -c %d /dev/urandom; printf '\360\237'; read line; printf '\230\200'`, random), random+2)
	if len(shown) != random+4 || string(shown[random:]) != "😀" {
		t.Fatalf("%d bytes came, which end with %q", len(shown), shown[max(0, len(shown)-4):])
	}
	if got := p.must(t, "recording", "export", session, "--format", "raw", "--stream", "stdout"); got != string(shown) {
		t.Errorf("%d bytes are exported, %d came", len(got), len(shown))
	}
	if got := p.must(t, "recording", "export", session, "--format", "raw", "--stream", "stderr"); got != session+"\n" {
		t.Errorf("standard error is exported as %q", got)
	}
	if got := p.must(t, "recording", "export", session, "--format", "raw"); len(got) != len(shown)+len(session)+1 {
		t.Errorf("%d bytes are exported of both streams", len(got))
	}
	file := filepath.Join(t.TempDir(), "session.cast")
	p.must(t, "recording", "export", session, "--output", file)
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cast := p.must(t, "recording", "export", session, "--format", "cast")
	if string(written) != cast || !strings.HasPrefix(cast, `{"version":2,`) || !strings.Contains(cast, "😀") {
		t.Errorf("%d bytes in the file and %d on the standard output, which begin with %.100q", len(written), len(cast), cast)
	}
	p.run(t, nil, "recording", "export", session, "--output", file).refused(t, 7, "exists")
}

// mallory is another user with the role access, until the test ends.
func (p *person) mallory(t *testing.T) *person {
	t.Helper()
	p.create(t, "kind: iam_mapping\nmetadata: {name: meddlers}\nspec:\n"+
		"  match: {partition: aws, account: \"111122223333\", role: "+meddlerRole+"}\n  user: mallory\n  roles: [access]\n  traits: {logins: ["+userName()+"]}\n")
	t.Cleanup(func() { p.run(t, nil, "rm", "iam_mapping/meddlers") })
	other := shared.person(t, meddler)
	eventually(t, 20*time.Second, func() string { return other.run(t, nil, "login", "--iam").err })
	return other
}

func TestNobodyReadsTheRecordingOfSomebodyElse(t *testing.T) {
	p, boss := shared.person(t, engineer).login(t), shared.person(t, admin).login(t)
	_, session := p.show(t, "echo a secret of mine")
	other := boss.mallory(t)
	var own string
	eventually(t, 20*time.Second, func() string { // the node hears of the mapping a moment later
		r := other.run(t, nil, "ssh", "node-1", "--", `echo "$STILE_SESSION_ID"`)
		own = strings.TrimSpace(r.out)
		return r.err
	})
	other.complete(t, own)
	if list := other.must(t, "recording", "ls"); !strings.Contains(list, own) || strings.Contains(list, session) {
		t.Errorf("the list is\n%s", list)
	}
	if got := other.must(t, "recording", "play", own); got != own+"\n" {
		t.Errorf("their own plays as %q", got)
	}
	for _, args := range [][]string{{"play"}, {"play", "--format", "json"}, {"export"}, {"export", "--format", "raw"}, {"verify"}} {
		r := other.run(t, nil, append(append([]string{"recording"}, args...), session)...)
		r.refused(t, 5, session, "stile recording ls", "decision: dec_")
		if r.out != "" {
			t.Errorf("%v gave %q", args, r.out)
		}
	}
	tried := boss.events(t, "--since", "5m", "--type", string(audit.RequestRefused), "--actor", "user/mallory", "--target", "recording/"+session)
	if len(tried) == 0 || tried[0].Standing != "proven" || tried[0].SessionID != session || tried[0].DecisionID == "" {
		t.Errorf("the tries are told as %+v", tried)
	}
	if r := other.run(t, nil, "recording", "search", "secret", "--user", "alice"); r.status != 0 || r.out != "" {
		t.Errorf("the search ended with %d and found %q", r.status, r.out)
	}
	if r := other.run(t, nil, "audit", "ls", "--session", session); r.status != 0 || strings.Count(r.out, "\n") != len(tried) || strings.Count(r.out, "request.refused") != len(tried) {
		t.Errorf("the audit log gave %d %q %q", r.status, r.out, r.err)
	}
}

// Without any program of ours: S3's objects, zstd and a player.
func TestTheObjectsOfARecordingPlayInAsciinema(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	const command = `printf '\033[1mbold\033[0m\r\n'; echo '😀 "quoted" \back'; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo "line $i"; done; head -c 20000 /dev/urandom`
	_, session := p.show(t, command)
	got := p.tape(t, session)
	var text strings.Builder
	for _, l := range got.lines {
		if l.Kind == 'o' {
			text.WriteString(l.Text)
		}
	}
	unzstd := exec.CommandContext(t.Context(), "zstd", "-dc")
	unzstd.Stdin = bytes.NewReader(bytes.Join(got.chunks, nil))
	cast, err := unzstd.Output()
	if err != nil {
		t.Fatalf("zstd (Debian package zstd): %v", err)
	}
	// The export goes to the line's beginning at each line feed, as the session's terminal did, and differs in nothing else.
	var exported strings.Builder
	_, rest, err := recording.ReadHead([]byte(p.must(t, "recording", "export", session, "--format", "cast")))
	if err != nil {
		t.Fatal(err)
	}
	for l, err := range recording.Lines(rest) {
		if err != nil {
			t.Fatal(err)
		}
		if l.Kind == 'o' {
			exported.WriteString(l.Text)
		}
	}
	if want := strings.ReplaceAll(strings.ReplaceAll(text.String(), "\r\n", "\n"), "\n", "\r\n"); exported.String() != want {
		t.Errorf("the export shows %d bytes, the recording %d with carriage returns", exported.Len(), len(want))
	}
	file := filepath.Join(t.TempDir(), "session.cast")
	if err := os.WriteFile(file, cast, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var errs bytes.Buffer
	play := p.Command(ctx, "asciinema", "play", "--speed", "1000", file)
	play.Stderr = &errs
	shown, err := play.Output()
	if err != nil {
		t.Fatalf("asciinema (Debian package asciinema): %v\n%s", err, errs.String())
	}
	if string(shown) != text.String() {
		t.Errorf("asciinema shows %d bytes, the recording has %d", len(shown), text.Len())
	}
}

// vault is a bucket in the hands of the meddler.
type vault struct {
	s3     *s3.Client
	bucket string
}

// vault is the recordings' bucket.
func (s *system) vault(t *testing.T) vault {
	t.Helper()
	return s.vaultOf(t, "recordings")
}

func (s *system) vaultOf(t *testing.T, bucket string) vault {
	t.Helper()
	v := vault{s3: s3.NewFromConfig(s.person(t, meddler).AWS(), func(o *s3.Options) { o.UsePathStyle = true })}
	all, err := v.s3.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all.Buckets {
		if strings.Contains(strings.ToLower(aws.ToString(b.Name)), bucket) {
			v.bucket = aws.ToString(b.Name)
		}
	}
	if v.bucket == "" {
		t.Fatalf("no bucket %s among %d", bucket, len(all.Buckets))
	}
	return v
}

// put makes a version of an object.
func (v vault) put(t *testing.T, key string, body []byte) {
	t.Helper()
	if _, err := v.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &v.bucket, Key: &key, Body: bytes.NewReader(body)}); err != nil {
		t.Fatal(err)
	}
}

// hide puts a delete marker on an object.
func (v vault) hide(t *testing.T, key string) {
	t.Helper()
	if _, err := v.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &v.bucket, Key: &key}); err != nil {
		t.Fatal(err)
	}
}

// destroy deletes all versions and markers of what begins with a key, for good.
func (v vault) destroy(t *testing.T, key string) {
	t.Helper()
	all, err := v.s3.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &v.bucket, Prefix: &key})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]*string{}
	for _, o := range all.Versions {
		ids[aws.ToString(o.VersionId)] = o.Key
	}
	for _, o := range all.DeleteMarkers {
		ids[aws.ToString(o.VersionId)] = o.Key
	}
	for id, key := range ids {
		if _, err := v.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &v.bucket, Key: key, VersionId: &id}); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever gets round the policy of the bucket, and around its versions, is found by stile recording verify, in words.
func TestWhateverIsDoneToARecordingInS3IsFound(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	v := shared.vault(t)
	const much = "head -c 3000000 /dev/urandom"
	_, session := p.show(t, much)
	_, another := p.show(t, much)
	tape, others := p.tape(t, session), p.tape(t, another)
	if len(tape.chunks) < 3 || len(others.chunks) < 3 {
		t.Fatalf("%d and %d chunks are too few to change any", len(tape.chunks), len(others.chunks))
	}
	prefix, err := recording.Prefix(session)
	if err != nil {
		t.Fatal(err)
	}
	chunk := func(n int) string { return prefix + recording.ChunkName(n) }
	manifest, last := prefix+recording.ManifestName, len(tape.chunks)-1
	sealed := func(s recording.Signed) []byte {
		b, err := json.Marshal(map[string]any{"manifest": json.RawMessage(s.Body), "certificate": s.Certificate, "signature": s.Signature})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	forger, forge := shared.forger(t, p)
	flipped := bytes.Clone(tape.chunks[1])
	flipped[len(flipped)/2] ^= 1
	replace := func(t *testing.T, key string, body []byte) {
		v.destroy(t, key)
		v.put(t, key, body)
	}

	original := func(t *testing.T) {
		t.Helper()
		v.destroy(t, prefix)
		for n, c := range tape.chunks {
			v.put(t, chunk(n), c)
		}
		v.put(t, manifest, sealed(tape.manifest))
		if r := p.run(t, nil, "recording", "verify", session); r.status != 0 || !strings.HasSuffix(r.out, "\nThe recording is whole, and as it was made\n") {
			t.Fatalf("the sound recording ends with %d\n%s%s", r.status, r.out, r.err)
		}
	}
	original(t)
	for _, c := range []struct {
		name   string
		meddle func(*testing.T)
		want   []string
	}{
		{
			"a byte is another in a new version", func(t *testing.T) { v.put(t, chunk(1), flipped) },
			[]string{"00000001.zst has 2 versions that differ"},
		},
		{
			"a byte is another, and the version before is gone", func(t *testing.T) { replace(t, chunk(1), flipped) },
			[]string{"chunk 1 ", "chunk 1 isn't the one that the audit log has the hash of"},
		},
		{
			"a chunk is deleted", func(t *testing.T) { v.hide(t, chunk(1)) },
			[]string{"somebody marked 00000001.zst as deleted, at 20"},
		},
		{
			"a chunk is gone for good", func(t *testing.T) { v.destroy(t, chunk(1)) },
			[]string{"chunk 1 is missing, and nothing says why", "chunk 1 was recorded, as the audit log proves, and is not there"},
		},
		{
			"the last chunk is gone for good", func(t *testing.T) { v.destroy(t, chunk(last)) },
			[]string{fmt.Sprintf("chunk %d is missing, and nothing says why", last)},
		},
		{
			"two chunks are swapped", func(t *testing.T) { replace(t, chunk(0), tape.chunks[1]); replace(t, chunk(1), tape.chunks[0]) },
			[]string{"chunk 0 says that it is chunk 1", "chunk 1 says that it is chunk 0"},
		},
		{
			"a chunk is one of another session", func(t *testing.T) { replace(t, chunk(1), others.chunks[1]) },
			[]string{"chunk 1 is one of another session, " + another},
		},
		{
			"the manifest is that of another session", func(t *testing.T) { replace(t, manifest, sealed(others.manifest)) },
			[]string{"the manifest is that of another session, " + another},
		},
		{
			"the manifest is a new version", func(t *testing.T) { v.put(t, manifest, sealed(others.manifest)) },
			[]string{"manifest.json has 2 versions that differ"},
		},
		{
			"another agent signed the manifest", func(t *testing.T) { replace(t, manifest, forge(tape.manifest.Manifest)) },
			[]string{"the manifest names agent " + tape.manifest.Manifest.Agent + ", and agent " + forger + " signed it"},
		},
		{"another agent signed the manifest as its own", func(t *testing.T) {
			m := tape.manifest.Manifest
			m.Agent = forger
			replace(t, manifest, forge(m))
		}, []string{"agent " + forger + " signed the manifest, but doesn't serve node/node-1"}},
		{"the manifest was changed", func(t *testing.T) {
			s := tape.manifest
			s.Body = bytes.Replace(s.Body, []byte(`"user":"alice"`), []byte(`"user":"carol"`), 1)
			replace(t, manifest, sealed(s))
		}, []string{"the manifest isn't signed by the key of its certificate"}},
		{
			"the manifest is deleted", func(t *testing.T) { v.hide(t, manifest) },
			[]string{"somebody marked manifest.json as deleted"},
		},
		{
			"the manifest is gone for good", func(t *testing.T) { v.destroy(t, manifest) },
			[]string{"the manifest is gone: the recording was complete once"},
		},
		{
			"everything is gone for good", func(t *testing.T) { v.destroy(t, prefix) },
			[]string{"the manifest is gone: the recording was complete once"},
		},
		{
			"a chunk too many", func(t *testing.T) { v.put(t, chunk(last+1), tape.chunks[last]) },
			[]string{"more than the "},
		},
		{
			"something else lies there", func(t *testing.T) { v.put(t, prefix+"evil.zst", []byte("x")) },
			[]string{"evil.zst is not one of a recording's objects"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer original(t)
			c.meddle(t)
			r := p.run(t, nil, "recording", "verify", session)
			if r.status != 1 || !strings.HasSuffix(r.out, "\nThe recording is not as it was made\n") {
				t.Errorf("it ends with %d\n%s%s", r.status, r.out, r.err)
			}
			for _, want := range c.want {
				if !regexp.MustCompile(`(?m)^wrong .*` + regexp.QuoteMeta(want)).MatchString(r.out) {
					t.Errorf("it doesn't say %q:\n%s", want, r.out)
				}
			}
			var report struct{ Wrong, Whole bool }
			r = p.run(t, nil, "recording", "verify", session, "--format", "json")
			if err := json.Unmarshal([]byte(r.out), &report); err != nil || r.status != 1 || !report.Wrong || report.Whole {
				t.Errorf("in JSON it is %d %s: %v", r.status, r.out, err)
			}
		})
	}
}

// forger is an agent of another node whose keys somebody has; it signs manifests.
func (s *system) forger(t *testing.T, p *person) (id string, forge func(recording.Manifest) []byte) {
	t.Helper()
	a := s.agent(t, enrol{name: "node-forger"})
	eventually(t, 30*time.Second, p.online(t, "node-forger", true))
	_ = a.cmd.Process.Kill()
	<-a.ended
	keys, credential := left(t, a.state)
	return credential.ID, func(m recording.Manifest) []byte {
		b, err := m.Sign(rand.Reader, keys.TLS, credential.TLSCertificate)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// pane is a terminal that shows what a person sees.
type pane struct {
	person *person
	socket string
}

// pane opens a terminal in which a shell waits.
func (p *person) pane(t *testing.T, width, height string) pane {
	t.Helper()
	o := pane{p, filepath.Join(t.TempDir(), "tmux")}
	o.tmux(t, "new-session", "-d", "-x", width, "-y", height, "PS1='ready> ' exec sh")
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", o.socket, "kill-server").Run() })
	o.until(t, "ready>")
	return o
}

func (o pane) tmux(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var errs bytes.Buffer
	cmd := o.person.Command(ctx, "tmux", append([]string{"-S", o.socket, "-f", "/dev/null"}, args...)...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tmux %v (Debian package tmux): %v\n%s", args, err, errs.String())
	}
	return string(out)
}

// modes are the terminal's that a recording could change.
func (o pane) modes(t *testing.T) string {
	t.Helper()
	return o.tmux(t, "display-message", "-p", "screen #{alternate_on} mouse #{mouse_any_flag}#{mouse_sgr_flag} cursor #{cursor_flag} keys #{keypad_cursor_flag}#{keypad_flag} insert #{insert_flag} origin #{origin_flag} wrap #{wrap_flag} region #{scroll_region_upper}-#{scroll_region_lower}")
}

// typed sends a line.
func (o pane) typed(t *testing.T, line string) { o.tmux(t, "send-keys", line, "Enter") }

// until waits for a text on the screen, and gives what it shows and what went out of it at the top.
func (o pane) until(t *testing.T, want string) (shown string) {
	t.Helper()
	eventually(t, 30*time.Second, func() string {
		if shown = o.tmux(t, "capture-pane", "-p", "-S", "-100"); !strings.Contains(shown, want) {
			return "no " + want + " on the screen:\n" + shown
		}
		return ""
	})
	return shown
}

func TestAPlayThatIsInterruptedLeavesTheTerminalAsItWas(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	wide := p.pane(t, "200", "50")
	wide.typed(t, `stile ssh -tt node-1 -- 'printf "\033[?1049h\033[?1000h\033[?1006h\033[?2004h\033[?1h\033[?25l\033[?7l\033[4h\033[3;9r\033[?6h\033[1;31mfull screen of $STILE_SESSION_ID"; read line; printf "\033[?1049l"; echo gone'; stty sane; reset; echo over`)
	session := regexp.MustCompile(`ses_[0-9a-z]{26}`).FindString(wide.until(t, "full screen of ses_"))
	wide.typed(t, "")
	wide.until(t, "over")
	p.complete(t, session)

	for _, how := range []struct{ name, command, key string }{
		{"Ctrl-C", "stile recording play " + session + " --speed 0.1", "C-c"},
		{"q", "stile recording play " + session + " --speed 0.1", "q"},
		{"Ctrl-C without a keyboard", "stile recording play " + session + " --speed 0.1 </dev/null", "C-c"},
	} {
		t.Run(how.name, func(t *testing.T) {
			o := p.pane(t, "80", "24")
			saved := filepath.Join(t.TempDir(), "before")
			o.typed(t, "stty -g > "+saved+"; echo kept")
			o.until(t, "\nkept")
			before := o.modes(t)
			o.typed(t, how.command)
			o.until(t, "full screen of "+session)
			if during := o.modes(t); !strings.Contains(during, "screen 1 mouse 00") || !strings.Contains(during, "cursor 0") || !strings.Contains(during, "keys 00") {
				t.Errorf("while it plays the terminal is in %s", during)
			}
			o.tmux(t, "send-keys", how.key)
			o.until(t, "this one has 80x24")
			o.typed(t, "stty -g | cmp - "+saved+" && echo the sa''me")
			shown := o.until(t, "the same") // what is typed while the shell writes its prompt comes to stand before it
			if !strings.Contains(strings.Join(strings.Fields(shown), " "), "stile: warning: the recording is of a terminal of 200x50, and this one has 80x24") || !strings.Contains(shown, "ready>") {
				t.Errorf("the screen is\n%s", shown)
			}
			if after := o.modes(t); after != before {
				t.Errorf("it was in %s and is in %s", before, after)
			}
		})
	}
}
