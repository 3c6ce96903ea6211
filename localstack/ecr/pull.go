package ecr

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/stile-dev/stile/localstack/iam"
)

// Pulled is an image as a task gets it: every digest has been verified.
type Pulled struct {
	Digest string
	Config []byte
	Layers [][]byte // from the lowest, as they are stored
	Types  []string // the layers' media types
}

// pulling are the actions that a pull takes, after ecr:GetAuthorizationToken.
var pulling = []string{"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}

// Pull fetches an image, named <registry>/<repository>@<digest>, for a task's execution role.
func (s *Service) Pull(who *iam.Principal, reference string) (Pulled, error) {
	name, wanted, byDigest := strings.Cut(reference, "@")
	repository, ours := strings.CutPrefix(name, s.host()+"/")
	if !ours || !byDigest || !digestForm.MatchString(wanted) {
		return Pulled{}, fmt.Errorf("image %s: only one of %s/… by its digest can be pulled here", reference, s.host())
	}
	if err := s.may(who, "ecr:GetAuthorizationToken", "*"); err != nil {
		return Pulled{}, err
	}
	for _, action := range pulling {
		if err := s.may(who, action, s.arn(repository)); err != nil {
			return Pulled{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repositories[repository]
	if r == nil || r.Images[wanted] == nil {
		return Pulled{}, fmt.Errorf("image %s: CannotPullContainerError: not found", reference)
	}
	return s.load(repository, wanted, r.Images[wanted].Manifest)
}

func (s *Service) may(who *iam.Principal, action, resource string) error {
	if d := s.config.Authority.Decide(who, iam.Query{Action: action, Resource: resource}); !d.Allowed {
		return fmt.Errorf("CannotPullContainerError: %s is not authorized to perform %s on %s %s", who.String(), action, resource, d.Reason)
	}
	return nil
}

// load reads an image's blobs, each once however often it is named, and holds it against its digest.
func (s *Service) load(repository, wanted, text string) (Pulled, error) {
	if got := digest([]byte(text)); got != wanted {
		return Pulled{}, fmt.Errorf("image %s: its manifest has the digest %s", wanted, got)
	}
	var m manifest
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return Pulled{}, fmt.Errorf("image %s: reading its manifest: %w", wanted, err)
	}
	if err := m.bounded(); err != nil {
		return Pulled{}, fmt.Errorf("image %s: %w", wanted, err)
	}
	blobs := map[string][]byte{}
	for _, p := range m.parts() {
		if blobs[p.Digest] != nil {
			continue
		}
		content, err := s.read(repository, p)
		if err != nil {
			return Pulled{}, fmt.Errorf("image %s: %w", wanted, err)
		}
		blobs[p.Digest] = content
	}
	out := Pulled{Digest: wanted, Config: blobs[m.Config.Digest]}
	for _, l := range m.Layers {
		out.Layers, out.Types = append(out.Layers, blobs[l.Digest]), append(out.Types, l.MediaType)
	}
	return out, nil
}

// read reads a blob. More of it than the manifest says makes it another.
func (s *Service) read(repository string, p descriptor) ([]byte, error) {
	f, err := os.Open(s.blob(repository, p.Digest))
	if err != nil {
		return nil, fmt.Errorf("reading a layer: %w", err)
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, p.Size+1))
	if err != nil {
		return nil, fmt.Errorf("reading a layer: %w", err)
	}
	if got := digest(content); got != p.Digest {
		return nil, fmt.Errorf("layer %s has the digest %s", p.Digest, got)
	}
	return content, nil
}
