package ecr

import (
	"encoding/json"
	"fmt"
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

// load reads an image's blobs and holds each against its digest.
func (s *Service) load(repository, wanted, text string) (Pulled, error) {
	if got := digest([]byte(text)); got != wanted {
		return Pulled{}, fmt.Errorf("image %s: its manifest has the digest %s", wanted, got)
	}
	var m manifest
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return Pulled{}, fmt.Errorf("image %s: reading its manifest: %w", wanted, err)
	}
	out := Pulled{Digest: wanted}
	for i, p := range append([]descriptor{m.Config}, m.Layers...) {
		content, err := os.ReadFile(s.blob(repository, p.Digest))
		if err != nil {
			return Pulled{}, fmt.Errorf("image %s: reading a layer: %w", wanted, err)
		}
		if got := digest(content); got != p.Digest {
			return Pulled{}, fmt.Errorf("image %s: layer %s has the digest %s", wanted, p.Digest, got)
		}
		if i == 0 {
			out.Config = content
			continue
		}
		out.Layers, out.Types = append(out.Layers, content), append(out.Types, p.MediaType)
	}
	return out, nil
}
