package ecs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/ecr"
	"github.com/stile-dev/stile/localstack/iam"
)

// rootsPath is where programs look for root certificates last (https://go.dev/src/crypto/x509/root_linux.go).
const rootsPath = "etc/ssl/cert.pem"

// hostsPath is where programs look for names first.
const hostsPath = "etc/hosts"

// imageConfig is the part of an image's configuration that is understood; anything else in it is refused.
type imageConfig struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Config       struct {
		User       string
		Entrypoint []string
		Volumes    map[string]struct{}
		WorkingDir string
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// box is an unpacked image, and how its program is started in it.
type box struct {
	root       string
	entrypoint []string
	dir        string
	uid, gid   int
}

// unpack pulls a task's image as its execution role, into the task's own directory, unless it is there.
func (h *Host) unpack(name string, t taskDefinition) (box, error) {
	_, puller, err := h.Authority.Assume(iam.AssumeRequest{
		Caller: iam.ServicePrincipal("ecs-tasks.amazonaws.com"), RoleARN: t.execution, Session: name, Duration: 15 * time.Minute,
		Context: map[string][]string{"aws:SourceAccount": {h.Authority.Account()}, "aws:SourceArn": {h.arn("ecs", "task/"+name)}},
	})
	if err != nil {
		return box{}, fmt.Errorf("role %s cannot be assumed to pull the image: %w", t.execution, err)
	}
	image, err := h.Registry.Pull(puller, t.container.Image)
	if err != nil {
		return box{}, err
	}
	config, b, err := readConfig(image.Config)
	if err != nil {
		return box{}, fmt.Errorf("image %s: %w", image.Digest, err)
	}
	b.root = filepath.Join(h.HomeDir, name, strings.TrimPrefix(image.Digest, "sha256:")[:16])
	if _, err := os.Stat(b.root); errors.Is(err, os.ErrNotExist) {
		if err := fill(b.root, image, config, t.container.MountPoints); err != nil {
			return box{}, fmt.Errorf("image %s: %w", image.Digest, err)
		}
	}
	return b, h.equip(b.root)
}

// readConfig refuses an image that would not start here or on Fargate, or whose program would be root.
func readConfig(raw []byte) (imageConfig, box, error) {
	var c imageConfig
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, box{}, fmt.Errorf("reading its configuration: %w", err)
	}
	if c.OS != "linux" || c.Architecture != runtime.GOARCH {
		return c, box{}, fmt.Errorf("it is for %s/%s, and tasks run on linux/%s here: exec format error", c.OS, c.Architecture, runtime.GOARCH)
	}
	if len(c.Config.Entrypoint) == 0 || !path.IsAbs(c.Config.Entrypoint[0]) {
		return c, box{}, fmt.Errorf("its entrypoint is %q, which is no absolute path", c.Config.Entrypoint)
	}
	b := box{entrypoint: c.Config.Entrypoint, dir: c.Config.WorkingDir}
	if b.dir == "" {
		b.dir = "/"
	}
	user, group, _ := strings.Cut(c.Config.User, ":")
	var faults [2]error
	b.uid, faults[0] = strconv.Atoi(user)
	b.gid, faults[1] = strconv.Atoi(group)
	if err := errors.Join(faults[:]...); err != nil || b.uid < 1 || b.gid < 1 || b.uid > 1<<31-1 || b.gid > 1<<31-1 {
		return c, box{}, fmt.Errorf("its user is %q: the local AWS starts only what has a number of its own, as in 65532:65532", c.Config.User)
	}
	return c, b, nil
}

// fill unpacks the layers into an empty directory and makes the places of volumes. What fails leaves nothing behind.
func fill(root string, image ecr.Pulled, config imageConfig, mounts []mountSpec) error {
	fresh := root + ".new"
	if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(fresh, 0o755), os.Chmod(fresh, 0o755)); err != nil {
		return fmt.Errorf("making its root: %w", err)
	}
	r, err := os.OpenRoot(fresh)
	if err != nil {
		return fmt.Errorf("making its root: %w", err)
	}
	defer func() { _ = r.Close() }()
	if len(image.Layers) != len(config.RootFS.DiffIDs) {
		return fmt.Errorf("it has %d layers, and digests of %d", len(image.Layers), len(config.RootFS.DiffIDs))
	}
	left := int64(maxUnpacked)
	for i, layer := range image.Layers {
		if err := extract(r, layer, image.Types[i], config.RootFS.DiffIDs[i], &left); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
	}
	for _, m := range mounts {
		if err := mount(r, m.ContainerPath, config); err != nil {
			return err
		}
	}
	if err := os.Rename(fresh, root); err != nil {
		return fmt.Errorf("making its root: %w", err)
	}
	return nil
}

// mount makes the place of a volume. It is as in the image if the image declares a volume there, and root's elsewhere
// (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bind-mounts.html).
func mount(r *os.Root, at string, config imageConfig) error {
	name := strings.TrimPrefix(path.Clean(at), "/")
	_, declared := config.Config.Volumes[path.Clean(at)]
	if info, err := r.Stat(name); err == nil && declared && info.IsDir() {
		return nil
	}
	err := mkdirs(r, name)
	if err == nil {
		err = r.Chmod(name, 0o755)
	}
	if err == nil && os.Geteuid() == 0 {
		err = r.Chown(name, 0, 0)
	}
	if err != nil {
		return fmt.Errorf("making the place of a volume: %w", err)
	}
	return nil
}

// equip adds two files to a task's root: /etc/hosts, as Fargate does, and the root certificate of the local API, which no
// image can have.
func (h *Host) equip(root string) error {
	pem, err := os.ReadFile(h.TrustFile)
	if err != nil {
		return fmt.Errorf("giving the task the API's root certificate: %w", err)
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("giving the task its files: %w", err)
	}
	defer func() { _ = r.Close() }()
	for name, content := range map[string][]byte{hostsPath: []byte("127.0.0.1 localhost\n"), rootsPath: pem} {
		err := mkdirs(r, path.Dir(name))
		if err == nil {
			err = r.WriteFile(name, content, 0o644)
		}
		if err == nil {
			err = r.Chmod(name, 0o644)
		}
		if err != nil {
			return fmt.Errorf("giving the task the file /%s: %w", name, err)
		}
	}
	return nil
}

// tidy removes what earlier tasks of the name unpacked; keep is the root that is in use, "" for none.
func (h *Host) tidy(name, keep string) error {
	entries, err := os.ReadDir(filepath.Join(h.HomeDir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("tidying up after task %s: %w", name, err)
	}
	for _, e := range entries {
		if dir := filepath.Join(h.HomeDir, name, e.Name()); dir != keep {
			if err := os.RemoveAll(dir); err != nil {
				return fmt.Errorf("tidying up after task %s: %w", name, err)
			}
		}
	}
	return nil
}

// inside reports whether a path of a container is absolute, and not its root.
func inside(p string) bool { return path.IsAbs(p) && path.Clean(p) == p && p != "/" }
