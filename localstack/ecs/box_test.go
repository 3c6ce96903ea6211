package ecs_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/ecr"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/process"
	"github.com/stile-dev/stile/localstack/resource"
)

// shelf is a registry of one image.
type shelf struct {
	image ecr.Pulled
	fails error
	asked []string // who pulled what
	ready func() bool
	early bool // it was pulled before it was ready
}

func (s *shelf) Pull(who *iam.Principal, reference string) (ecr.Pulled, error) {
	s.asked = append(s.asked, who.RoleName+" "+reference)
	s.early = s.early || s.ready != nil && !s.ready()
	return s.image, s.fails
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// image packs the test's container, and what else change adds to it.
func image(t *testing.T, change func(w *tar.Writer, config map[string]any)) ecr.Pulled {
	t.Helper()
	program, err := os.ReadFile(filepath.Join(bin, "stile-task"))
	if err != nil {
		t.Fatal(err)
	}
	config := map[string]any{"architecture": runtime.GOARCH, "os": "linux"}
	config["config"] = map[string]any{"User": "65532:65532", "Entrypoint": []string{"/task"}, "Volumes": map[string]any{"/var/lib/task": map[string]any{}}}
	var layer, z bytes.Buffer
	w := tar.NewWriter(&layer)
	add(t, w, tar.Header{Name: "task", Typeflag: tar.TypeReg, Mode: 0o555, Size: int64(len(program))}, program)
	add(t, w, tar.Header{Name: "var/lib/task/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 65532, Gid: 65532}, nil)
	if change != nil {
		change(w, config)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	g := gzip.NewWriter(&z)
	_, err = g.Write(layer.Bytes())
	if err := errors.Join(err, g.Close()); err != nil {
		t.Fatal(err)
	}
	if config["rootfs"] == nil {
		config["rootfs"] = map[string]any{"type": "layers", "diff_ids": []string{digest(layer.Bytes())}}
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return ecr.Pulled{Digest: digest(raw), Config: raw, Layers: [][]byte{z.Bytes()}, Types: []string{"application/vnd.oci.image.layer.v1.tar+gzip"}}
}

func add(t *testing.T, w *tar.Writer, h tar.Header, content []byte) {
	t.Helper()
	err := w.WriteHeader(&h)
	if err == nil {
		_, err = w.Write(content)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestSec_S80_ATaskHasItsImageAndNothingElseOfThisMachine(t *testing.T) {
	w := newWorld(t)
	a := w.deploy(t, "1")[0]
	if diff := cmp.Diff([]string{"/etc/hosts", "/etc/ssl/cert.pem", "/task"}, a.Files); diff != "" {
		t.Errorf("it sees (-want +got):\n%s", diff)
	}
	if want := 65532; a.UID != want {
		t.Errorf("it runs as %d, want %d", a.UID, want)
	}
	if !slices.Contains(a.Wrote, "/var/lib/task") || os.Geteuid() == 0 && len(a.Wrote) != 1 {
		t.Errorf("it can write to %v", a.Wrote)
	}
	if diff := cmp.Diff([]string{"execution image"}, w.images.asked); diff != "" {
		t.Errorf("who pulled what (-want +got):\n%s", diff)
	}
}

// The local API's certificate is of no public authority, so tasks get its root as a file. Without it no call succeeds:
// nothing else in the task's root makes one trusted.
func TestWhatATaskTrustsIsInItsRoot(t *testing.T) {
	api := httptest.NewTLSServer(http.NotFoundHandler())
	defer api.Close()
	url := map[string]any{"Name": "TLS_URL", "Value": api.URL}
	w := newWorld(t)
	if got := w.deploy(t, "1", url)[0].TLS; !strings.Contains(got, "unknown authority") {
		t.Errorf("without the root: %s", got)
	}
	w = newWorld(t)
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
	if err := os.WriteFile(w.trust, root, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := w.deploy(t, "1", url)[0].TLS; got != "404 Not Found" {
		t.Errorf("with the root: %s", got)
	}
}

func TestAnotherImageReplacesTheTaskAndItsFiles(t *testing.T) {
	w := newWorld(t)
	before := w.deploy(t, "1")[0]
	if again := w.deploy(t, "1")[0]; again.PID != before.PID {
		t.Errorf("the same image started process %d for %d", again.PID, before.PID)
	}
	w.images.image = image(t, func(tw *tar.Writer, _ map[string]any) {
		add(t, tw, tar.Header{Name: "a/b/more", Typeflag: tar.TypeReg, Mode: 0o644, Size: 1}, []byte("x"))
	})
	after := w.deploy(t, "1")[0]
	if after.PID == before.PID || !slices.Contains(after.Files, "/a/b/more") {
		t.Errorf("process %d after %d sees %v", after.PID, before.PID, after.Files)
	}
	if kept, err := os.ReadDir(filepath.Join(w.home, "proxy-1")); err != nil || len(kept) != 1 {
		t.Errorf("%v, roots %v", err, kept)
	}
	if kept, err := os.ReadDir(filepath.Join(w.home, "proxy-0")); err != nil || len(kept) != 0 {
		t.Errorf("%v, roots that a task left which has ended: %v", err, kept)
	}
}

func TestSec_S80_AHostileImageIsRefused(t *testing.T) {
	entry := func(h tar.Header) func(*tar.Writer, map[string]any) {
		return func(w *tar.Writer, _ map[string]any) { add(t, w, h, nil) }
	}
	config := func(name string, v any) func(*tar.Writer, map[string]any) {
		return func(_ *tar.Writer, c map[string]any) {
			if _, outer := c[name]; outer || name == "rootfs" {
				c[name] = v
			} else {
				c["config"].(map[string]any)[name] = v
			}
		}
	}
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	zeros := make([]byte, 1<<20)
	for name, c := range map[string]struct {
		change func(*tar.Writer, map[string]any)
		want   string
	}{
		"a name above the root":    {entry(tar.Header{Name: "../x", Typeflag: tar.TypeReg}), "leads out"},
		"an absolute name":         {entry(tar.Header{Name: "/x", Typeflag: tar.TypeReg}), "leads out"},
		"a symbolic link":          {entry(tar.Header{Name: "x", Linkname: "/etc", Typeflag: tar.TypeSymlink}), "not supported"},
		"a hard link":              {entry(tar.Header{Name: "x", Linkname: "../y", Typeflag: tar.TypeLink}), "not supported"},
		"a device":                 {entry(tar.Header{Name: "x", Typeflag: tar.TypeChar}), "not supported"},
		"a file twice":             {entry(tar.Header{Name: "task", Typeflag: tar.TypeReg}), "exists"},
		"root":                     {config("User", "0:0"), "user"},
		"a user without a group":   {config("User", "65532"), "user"},
		"nobody":                   {config("User", ""), "user"},
		"another architecture":     {config("architecture", other), "exec format error"},
		"another system":           {config("os", "windows"), "exec format error"},
		"a relative entrypoint":    {config("Entrypoint", []string{"task"}), "entrypoint"},
		"no entrypoint":            {config("Entrypoint", []string{}), "entrypoint"},
		"what isn't known here":    {config("Env", []string{"A=b"}), "unknown field"},
		"another digest":           {config("rootfs", map[string]any{"type": "layers", "diff_ids": []string{digest(nil)}}), "it unpacks to sha256:"},
		"layers without a digest":  {config("rootfs", map[string]any{"type": "layers", "diff_ids": []string{}}), "digests of 0"},
		"what unpacks to too much": {func(w *tar.Writer, _ map[string]any) { addZeros(t, w, zeros, 512) }, "unpacks to more than"},
		"too many entries":         {func(w *tar.Writer, _ map[string]any) { addMany(t, w, 10_000) }, "more than 10000 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.images.image = image(t, c.change)
			task := w.put(t, "AWS::ECS::TaskDefinition", container())
			_, err := w.Provision(resource.Resource{Type: "AWS::ECS::Service", Begun: true, Properties: map[string]any{"ServiceName": "proxy", "Cluster": "c", "DeploymentConfiguration": rolling, "TaskDefinition": task.Ref}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			left, err := filepath.Glob(filepath.Join(w.home, "proxy-0", strings.Repeat("[0-9a-f]", 16)))
			if err != nil || len(left) != 0 {
				t.Errorf("%v, left %v", err, left)
			}
		})
	}
}

func addZeros(t *testing.T, w *tar.Writer, zeros []byte, times int) {
	t.Helper()
	err := w.WriteHeader(&tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Size: int64(len(zeros) * times)})
	for range times {
		if err == nil {
			_, err = w.Write(zeros)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func addMany(t *testing.T, w *tar.Writer, n int) {
	t.Helper()
	for range n {
		add(t, w, tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
}

func TestWhereNothingCanBeConfinedATaskRunsFromItsUnpackedImage(t *testing.T) {
	w := newWorld(t)
	got := w.Unconfined(process.Spec{Path: "/task", Dir: "/", Env: []string{"A=b"}, Jail: &process.Jail{Root: "/home/root", UID: 1, GID: 1}})
	want := process.Spec{Path: "/home/root/task", Dir: "/home/root", Env: []string{"A=b", "SSL_CERT_FILE=/home/root/etc/ssl/cert.pem"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestATaskWhoseImageMayNotBePulledFails(t *testing.T) {
	w := newWorld(t)
	w.images.fails = errors.New("CannotPullContainerError")
	task := w.put(t, "AWS::ECS::TaskDefinition", container())
	service := resource.Resource{Type: "AWS::ECS::Service", Begun: true, Properties: map[string]any{"ServiceName": "proxy", "Cluster": "c", "DeploymentConfiguration": rolling, "TaskDefinition": task.Ref}}
	if _, err := w.Provision(service); err == nil || !strings.Contains(err.Error(), "CannotPullContainerError") {
		t.Errorf("error %v", err)
	}
	foreign := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	if _, err := w.authority.PutRole(iam.Role{Name: "execution", Trust: json.RawMessage(foreign)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Provision(service); err == nil || !strings.Contains(err.Error(), "cannot be assumed to pull") {
		t.Errorf("error %v", err)
	}
}

func TestAServiceOutlastsTheTimeThatItsRolesPoliciesNeed(t *testing.T) {
	w := newWorld(t)
	document := json.RawMessage(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}]}`)
	if _, err := w.authority.PutRoleSlowly(iam.Role{Name: "execution", Trust: json.RawMessage(taskTrust), Inline: map[string]iam.Inline{"p": {Document: document}}}); err != nil {
		t.Fatal(err)
	}
	w.images.ready = func() bool { return w.authority.Unsettled(execution) == 0 }
	if w.images.ready() {
		t.Fatal("the role's policies have settled at once")
	}
	w.deploy(t, "1")
	if len(w.images.asked) == 0 || w.images.early {
		t.Errorf("the image was pulled by %v, before the role's policies had settled", w.images.asked)
	}
}
